//! The driver's [`Store`](tus_driver::Store): each call is answered at once, or made a job.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use tus_driver::{
    Answer, AppendGrant, Change as PortChange, Changed, Class, DueEvents, EventKinds, EventQuery, FirstBytes,
    Loaded, LookupError, Opened, Ticket,
};
use tus_proto::{Algorithm, Completion, Digest, Failure, Fence, Hasher, UploadId};

use crate::{
    error::Rejected,
    files::sink::{Sink, Syncer},
    mutex::lock,
    port::{RedbStore, Reply, Shared},
    store::{change::Change, source::Source},
};

impl Shared {
    /// Looks into the records: at once, for that takes microseconds; but while they are compacted, which takes seconds,
    /// on a thread that may wait.
    fn look<T: Send + 'static>(
        self: &Arc<Self>,
        id: &UploadId,
        later: impl FnOnce() -> Ticket<T>,
        look: impl FnOnce(&Self, &UploadId) -> T + Send + 'static,
    ) -> Answer<T> {
        if !self.engine.is_compacting() {
            return Answer::Now(look(self, id));
        }
        let (shared, id, ticket) = (self.clone(), id.clone(), later());
        self.executor.run(Class::Blocking, Box::new(move || ticket.answer(look(&shared, &id))));
        Answer::Later
    }

    fn load(&self, id: &UploadId) -> Loaded {
        Ok(self.engine.look_up(id)?)
    }
}

impl tus_driver::Store for RedbStore {
    type Sink = Sink;
    type Staged = Syncer;
    type Source = Source;

    fn first_fence(&self) -> Fence {
        self.0.engine.first_fence()
    }

    fn load(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Loaded>) -> Answer<Loaded> {
        self.0.look(id, later, Shared::load)
    }

    fn append(
        &self,
        lease: AppendGrant,
        later: impl FnOnce() -> Ticket<Opened<Sink>>,
    ) -> Answer<Opened<Sink>> {
        let AppendGrant { id, fence, at, rotate, .. } = lease;
        if !rotate {
            return self.0.look(&id, later, move |shared, id| {
                shared.engine.append(id, fence, at).map_err(LookupError::from)
            });
        }
        // It waits in the store's own group: a strong reference would keep a store that is dropped meanwhile for ever.
        let (weak, ticket) = (Arc::downgrade(&self.0), later());
        let change = Change::NewExtent { id: id.clone(), fence, at };
        let open = move |changed: Changed| {
            let Some(shared) = weak.upgrade() else {
                return ticket.answer(Err(LookupError::Failed(Failure::Unavailable)));
            };
            ticket.answer(match changed.completion {
                Completion::Committed { .. } => {
                    shared.engine.append(&id, fence, at).map_err(LookupError::from)
                }
                Completion::Conflict { offset } => Err(LookupError::Conflict { offset }),
                Completion::Missing => Err(LookupError::Missing),
                Completion::Failed(failure) => Err(LookupError::Failed(failure)),
                _ => Err(LookupError::Failed(Failure::Io)),
            });
        };
        self.0.submit(change, Reply::Append(Box::new(open)));
        Answer::Later
    }

    fn reserve(&self, bytes: u64) -> Option<FirstBytes> {
        self.0.engine.reserve(bytes)
    }

    fn change(&self, change: PortChange<Syncer>, later: impl FnOnce() -> Ticket<Changed>) -> Answer<Changed> {
        let ticket = later();
        let change = match change {
            PortChange::Commit(commit) => {
                self.0.commit_change(commit, ticket);
                return Answer::Later;
            }
            PortChange::Discard { id, fence } => {
                let shared = self.0.clone();
                let job = move || ticket.answer(shared.engine.discard(&id, fence).into());
                self.0.executor.run(Class::Blocking, Box::new(job));
                return Answer::Later;
            }
            PortChange::Postpone { id, number, until } => Change::Postpone { id, number, until },
            PortChange::Acknowledge { id, number } => Change::Acknowledge { id, number },
            PortChange::Create { record, first } => {
                if let Some(why) = self.0.quota.refuses(&record, self.0.engine.free_space()) {
                    self.0.observer.refused(why);
                    ticket.answer(Completion::Failed(Failure::NoSpace).into());
                    return Answer::Later;
                }
                Change::Create { record, first: first.filter(|first| !first.is_empty()) }
            }
            PortChange::Concat { record, parts, max, delete_parts } => {
                Change::Concat { record, parts, max, delete_parts }
            }
            PortChange::Delete { id, fence } => Change::Delete { id, fence },
        };
        self.0.submit(change, Reply::Ticket(ticket));
        Answer::Later
    }

    fn digest(
        &self,
        staged: &Syncer,
        range: (u64, u64),
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, Failure>>,
    ) -> Answer<Result<Digest, Failure>> {
        let (shared, syncer, ticket) = (self.0.clone(), staged.clone(), later());
        let job = move || shared.digest_on(syncer, range, Box::new(Hasher::new(algorithm)), ticket);
        self.0.executor.run(Class::Compute, Box::new(job));
        Answer::Later
    }

    fn hash(
        &self,
        id: &UploadId,
        to: u64,
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, LookupError>>,
    ) -> Answer<Result<Digest, LookupError>> {
        let Some(losses) = self.0.engine.losses() else {
            return Answer::Now(Err(LookupError::Failed(Failure::Io)));
        };
        let source = match self.0.engine.open_source(id) {
            Ok(source) => source,
            Err(rejected) => return Answer::Now(Err(rejected.into())),
        };
        let (shared, ticket) = (self.0.clone(), later());
        let hasher = Box::new(Hasher::new(algorithm));
        let job = move || shared.hash_on(source, (0, to), (hasher, losses), ticket);
        self.0.executor.run(Class::Compute, Box::new(job));
        Answer::Later
    }

    fn open(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Opened<Source>>) -> Answer<Opened<Source>> {
        self.0.look(id, later, |shared, id| shared.engine.open_source(id).map_err(LookupError::from))
    }

    fn due_events(
        &self,
        query: EventQuery,
        later: impl FnOnce() -> Ticket<Result<DueEvents, Failure>>,
    ) -> Answer<Result<DueEvents, Failure>> {
        let (shared, ticket) = (self.0.clone(), later());
        let job = move || ticket.answer(shared.engine.due_events(&query));
        self.0.executor.run(Class::Blocking, Box::new(job));
        Answer::Later
    }

    fn keep_events(&self, events: EventKinds, wake: Box<dyn Fn() + Send + Sync>) {
        self.0.engine.keep_events(events);
        *lock(&self.0.wake) = Some(Arc::from(wake));
    }

    fn pending_events(&self) -> Option<u64> {
        self.0.engine.outbox_len().ok()
    }

    fn files(&self, id: &UploadId) -> Result<Vec<(PathBuf, u64)>, Failure> {
        self.0.engine.paths(id)
    }

    fn flush(&self, ticket: Ticket<Result<(), Failure>>) {
        let shared = self.0.clone();
        let job = move || {
            // What could not be synced is rolled back by the flush.
            let _ = shared.engine.flush_data();
            let flushed = shared.engine.flush();
            shared.wake_outbox();
            ticket.answer(flushed);
        };
        self.0.executor.run(Class::Commit, Box::new(job));
    }

    fn housekeep(&self, ticket: Ticket<Result<(), Failure>>) {
        let shared = self.0.clone();
        let job = move || ticket.answer(shared.housekeep());
        self.0.executor.run(Class::Idle, Box::new(job));
    }

    fn close(&self, ticket: Ticket<Result<(), Failure>>) {
        self.0.closing.store(true, Ordering::Release);
        let shared = self.0.clone();
        let job = move || {
            let flushed = shared.engine.flush();
            // No housekeeping comes that would.
            shared.tell_trouble();
            ticket.answer(flushed);
        };
        self.0.executor.run(Class::Commit, Box::new(job));
    }

    fn free_space(&self) -> Option<u64> {
        self.0.engine.free_space()
    }

    fn health(&self) -> Result<(), Failure> {
        if self.0.engine.is_full() {
            Err(Failure::NoSpace)
        } else if self.0.is_failing() {
            Err(Failure::Io)
        } else {
            Ok(())
        }
    }
}

impl From<Rejected> for LookupError {
    fn from(refused: Rejected) -> Self {
        match refused {
            Rejected::Missing => Self::Missing,
            Rejected::Gone => Self::Gone,
            Rejected::Lost(record) => Self::Lost(record),
            Rejected::Conflict { offset } => Self::Conflict { offset },
            Rejected::Failed(failure) => Self::Failed(failure),
        }
    }
}
