//! Deletion on a running server: the exchange of a client's DELETE, with its lock, its fencing number and its event, in the
//! thread of the administrator's request. What the configuration forbids to clients it allows, and no hook is asked.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tus_driver::{Answer, Arrival, Clock, Effect, Inbox, Inlet, Locks, Session, Store, Ticket};
use tus_proto::{Config, Event, Framing, Head, HookReply, Instant, LockEvent, Owner, UploadId};

use super::{AdminError, Deleted};

/// What stands in an owner's number in place of an event loop: no server has so many.
pub(crate) const LOOP: usize = 255;

/// The deletions under way: where what is told to each arrives.
pub(crate) struct Waiters<S: Store> {
    addresses: Mutex<HashMap<Owner, Arc<Arrivals<S>>>>,
    serial: AtomicU32,
}

struct Arrivals<S: Store> {
    arrived: Mutex<VecDeque<Arrival<S>>>,
    news: Condvar,
}

/// Where one deletion's arrivals are posted.
struct Address<S: Store>(Arc<Arrivals<S>>);

impl<S: Store> Inlet<S> for Address<S> {
    fn post(&self, arrival: Arrival<S>) {
        lock(&self.0.arrived).push_back(arrival);
        self.0.news.notify_all();
    }
}

impl<S: Store> Default for Waiters<S> {
    fn default() -> Self {
        Self { addresses: Mutex::default(), serial: AtomicU32::new(0) }
    }
}

impl<S: Store> Inbox for Waiters<S> {
    fn post(&self, owner: Owner, event: LockEvent) {
        let address = lock(&self.addresses).get(&owner).cloned();
        if let Some(arrivals) = address {
            Address(arrivals).post(Arrival::Lock(event));
        }
    }
}

/// What a deletion needs of its server.
pub(crate) struct Deleter<'a, S: Store> {
    pub store: &'a S,
    pub locks: &'a Locks,
    /// Where all requests are told what the locks bring about.
    pub inbox: &'a dyn Inbox,
    pub waiters: &'a Waiters<S>,
    pub clock: Clock,
    /// Makes the number of a request of [`LOOP`].
    pub owner: fn(u32) -> Owner,
    /// The server's rules.
    pub config: &'a Config,
    /// Counts what is worth counting.
    pub notify: &'a dyn Fn(Event),
}

impl<S: Store> Deleter<'_, S> {
    /// Deletes an upload.
    pub(crate) fn delete(&self, id: &UploadId) -> Result<Deleted, AdminError> {
        let bytes = self.bytes(id)?;
        let owner = (self.owner)(self.waiters.serial.fetch_add(1, Ordering::Relaxed));
        let arrivals = Arc::new(Arrivals { arrived: Mutex::default(), news: Condvar::new() });
        lock(&self.waiters.addresses).insert(owner, arrivals.clone());
        let status = self.run(id, owner, &arrivals);
        lock(&self.waiters.addresses).remove(&owner);
        match status {
            Some(204) => Ok(Deleted { deleted: id.to_string(), bytes }),
            Some(404) => Err(AdminError::unknown(id.as_str())),
            Some(410) => {
                Err(AdminError::Unknown(format!("upload {id} has expired: the next sweep removes it")))
            }
            Some(423) => {
                Err(AdminError::Busy(format!("a writer has upload {id} and does not yield: try again later")))
            }
            _ => Err(AdminError::Failed(format!("upload {id} can't be deleted: the log says why"))),
        }
    }

    /// How many bytes are there.
    fn bytes(&self, id: &UploadId) -> Result<u64, AdminError> {
        let slot = Arc::new((Mutex::new(None), Condvar::new()));
        let later = || {
            let slot = slot.clone();
            Ticket::new(move |loaded| {
                *lock(&slot.0) = Some(loaded);
                slot.1.notify_all();
            })
        };
        let loaded = match self.store.load(id, later) {
            Answer::Now(loaded) => loaded,
            Answer::Later => {
                let mut loaded = lock(&slot.0);
                loop {
                    match loaded.take() {
                        Some(loaded) => break loaded,
                        None => loaded = slot.1.wait(loaded).unwrap_or_else(PoisonError::into_inner),
                    }
                }
            }
        };
        use tus_driver::LookupError;
        match loaded {
            Ok(record) => Ok(record.offset),
            Err(LookupError::Missing) => Err(AdminError::unknown(id.as_str())),
            // Its deletion has an answer of its own.
            Err(LookupError::Gone) => Ok(0),
            Err(error) => Err(AdminError::Failed(error.to_string())),
        }
    }

    /// Carries the exchange out, and returns the status of its answer.
    fn run(&self, id: &UploadId, owner: Owner, arrivals: &Arc<Arrivals<S>>) -> Option<u16> {
        let target = format!("{}/{id}", self.config.base_path());
        let fields: [(&str, &[u8]); 1] = [("Tus-Resumable", b"1.0.0")];
        let head = Head {
            method: "DELETE",
            target: &target,
            fields: &fields,
            framing: Framing::Length(0),
            secure: false,
            direct: true,
        };
        let config = Arc::new(self.config.for_operator());
        // Nothing is created, so no id is drawn.
        let mut session: Session<S> = Session::new(config, &head, [0; 10], self.clock.now());
        let mut status = None;
        loop {
            let now = self.clock.now();
            let arrival = lock(&arrivals.arrived).pop_front();
            if let Some(arrival) = arrival {
                session.handle(now, arrival);
            } else if let Some(effect) = session.poll(now, self.store, &|| Address(arrivals.clone())) {
                match effect {
                    Effect::Lock(op, call) => {
                        self.locks.call(now.monotonic, owner, op, call, |owner, event| {
                            self.inbox.post(owner, event);
                        });
                    }
                    Effect::Hook(op, _) => session.handle(now, Arrival::Hook(op, HookReply::Proceed)),
                    Effect::Respond(response) => status = Some(response.status()),
                    Effect::Notify(event) => (self.notify)(event),
                    Effect::Continue | Effect::Interim(_) | Effect::Failed(_) => {}
                    Effect::Done => return status,
                }
            } else if session.deadline().is_some_and(|(at, _)| at <= now.monotonic) {
                session.timeout(now);
            } else {
                let locks = self.locks.timeout(now.monotonic, |owner, event| self.inbox.post(owner, event));
                arrivals
                    .wait(now.monotonic, session.deadline().map(|(at, _)| at).into_iter().chain(locks).min());
            }
        }
    }
}

impl<S: Store> Arrivals<S> {
    fn wait(&self, now: Instant, until: Option<Instant>) {
        let arrived = lock(&self.arrived);
        if !arrived.is_empty() {
            return;
        }
        match until {
            Some(until) => drop(self.news.wait_timeout(arrived, until.since(now))),
            None => drop(self.news.wait(arrived)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
