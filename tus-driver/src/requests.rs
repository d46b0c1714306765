//! The requests of a runtime without event loops: each has a mailbox, which wakes its task or thread, and finds the
//! locks from there. What a request holds at the lock service goes with it, however it ends.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tus_proto::{Cancel, Fence, Instant, LockCall, LockEvent, OpId, Owner, UploadId};

use crate::{Arrival, Executor, Inbox, Inlet, LockService, Locks, Store};

/// The requests under way, and the locks that they take.
pub struct Requests<S: Store> {
    registry: Arc<Registry<S>>,
    locks: Locks,
    executor: Arc<dyn Executor>,
}

struct Registry<S: Store>(Mutex<Table<S>>);

struct Table<S: Store> {
    mailboxes: HashMap<Owner, Mailbox<S>>,
    last: u64,
    /// Woken when the last request ends.
    empty: Vec<Waker>,
}

impl<S: Store> Requests<S> {
    /// No requests yet. The first grant of a lock has at least the number `first`; without a service, the locks are
    /// this process's alone.
    pub fn new(executor: Arc<dyn Executor>, first: Fence, service: Option<Arc<dyn LockService>>) -> Self {
        let table = Table { mailboxes: HashMap::new(), last: 0, empty: Vec::new() };
        let registry = Arc::new(Registry(Mutex::new(table)));
        let inbox: Arc<dyn Inbox> = registry.clone();
        let locks = Locks::new(first, service.map(|service| (service, inbox)));
        Self { registry, locks, executor }
    }

    /// A new request's place among the others.
    pub fn begin(self: &Arc<Self>) -> RequestHandle<S> {
        let mailbox = Mailbox::default();
        let mut table = lock(&self.registry.0);
        table.last += 1;
        let owner = Owner(table.last);
        table.mailboxes.insert(owner, mailbox.clone());
        drop(table);
        RequestHandle { requests: self.clone(), owner, mailbox, claim: None, waits: false }
    }

    /// Tells every request that it must end.
    pub fn cancel(&self, why: Cancel) {
        let mailboxes: Vec<_> = lock(&self.registry.0).mailboxes.values().cloned().collect();
        for mailbox in mailboxes {
            mailbox.post(Arrival::Cancel(why));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        lock(&self.registry.0).mailboxes.len()
    }

    /// Whether there are none, and none holds, or waits for, a lock of this process.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.locks.is_empty()
    }

    /// Whether the locks are granted within the call that asks for a free one.
    pub fn grants_at_once(&self) -> bool {
        self.locks.grants_at_once()
    }

    /// Waits until there are none.
    pub fn poll_empty(&self, cx: &Context<'_>) -> Poll<()> {
        let mut table = lock(&self.registry.0);
        if table.mailboxes.is_empty() {
            return Poll::Ready(());
        }
        table.empty.push(cx.waker().clone());
        Poll::Pending
    }
}

impl<S: Store> Inbox for Registry<S> {
    fn post(&self, owner: Owner, event: LockEvent) {
        let mailbox = lock(&self.0).mailboxes.get(&owner).cloned();
        if let Some(mailbox) = mailbox {
            mailbox.post(Arrival::Lock(event));
        }
    }
}

/// A request among others. Dropped, it is no longer found, and what it holds at the lock service is released.
pub struct RequestHandle<S: Store> {
    requests: Arc<Requests<S>>,
    owner: Owner,
    mailbox: Mailbox<S>,
    /// The call by which it came to hold, or to wait for, the lock of this upload.
    claim: Option<(OpId, UploadId)>,
    /// A lock call has no reply yet.
    waits: bool,
}

impl<S: Store> RequestHandle<S> {
    /// Where to post for this request: the [`Inlet`] of its session.
    pub fn mailbox(&self) -> &Mailbox<S> {
        &self.mailbox
    }

    /// What came first and was not taken yet. `None` if nothing is there: the waker is then woken when something is.
    pub fn take(&mut self, waker: &Waker) -> Option<Arrival<S>> {
        let mut letters = lock(&self.mailbox.0);
        let first = letters.arrived.pop_front();
        if first.is_none() && !letters.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            letters.waker = Some(waker.clone());
        }
        drop(letters);
        if matches!(first, Some(Arrival::Lock(LockEvent::Reply(..)))) {
            self.waits = false;
        }
        first
    }

    /// Whether something is there to [`take`](Self::take).
    pub fn has_mail(&self) -> bool {
        !lock(&self.mailbox.0).arrived.is_empty()
    }

    /// Makes a lock call. What it brings about is posted to whom it concerns.
    pub fn call(&mut self, op: OpId, call: LockCall) {
        match &call {
            LockCall::Acquire { key, .. } | LockCall::Checkpoint { key } => {
                self.claim = Some((op, key.clone()));
                self.waits = true;
            }
            LockCall::Release { .. } => self.claim = None,
            LockCall::Renew { .. } | LockCall::Checkpointed { .. } => {}
        }
        let Requests { registry, locks, executor } = &*self.requests;
        let now = executor.now().monotonic;
        locks.call(now, self.owner, op, call, |owner, event| registry.post(owner, event));
    }

    /// Whether a lock call of this request has no reply yet.
    pub fn waits_for_lock(&self) -> bool {
        self.waits
    }

    /// Lets the locks' time run out, and returns when that is due again: `None` if this request does not wait for one.
    /// Requests that wait keep the time, for it is for them that it passes.
    pub fn keep_time(&self, now: Instant) -> Option<Instant> {
        let Requests { registry, locks, .. } = &*self.requests;
        let due = self.waits.then(|| locks.deadline()).flatten()?;
        if due > now {
            return Some(due);
        }
        locks.timeout(now, |owner, event| registry.post(owner, event))
    }
}

impl<S: Store> Drop for RequestHandle<S> {
    fn drop(&mut self) {
        // Only a request that did not come to its end leaves something here.
        if let Some((op, key)) = self.claim.take() {
            self.call(op, LockCall::Release { key });
        }
        let mut table = lock(&self.requests.registry.0);
        table.mailboxes.remove(&self.owner);
        let woken = if table.mailboxes.is_empty() { std::mem::take(&mut table.empty) } else { Vec::new() };
        drop(table);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// What has arrived for one request. A clone is the same mailbox.
pub struct Mailbox<S: Store>(Arc<Mutex<Letters<S>>>);

struct Letters<S: Store> {
    arrived: VecDeque<Arrival<S>>,
    waker: Option<Waker>,
}

impl<S: Store> Default for Mailbox<S> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Letters { arrived: VecDeque::new(), waker: None })))
    }
}

impl<S: Store> Clone for Mailbox<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Inlet<S> for Mailbox<S> {
    fn post(&self, arrival: Arrival<S>) {
        let mut letters = lock(&self.0);
        letters.arrived.push_back(arrival);
        let waker = letters.waker.take();
        drop(letters);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Store> fmt::Debug for Requests<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("len", &self.len()).field("locks", &self.locks).finish()
    }
}

impl<S: Store> fmt::Debug for RequestHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHandle")
            .field("owner", &self.owner)
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

impl<S: Store> fmt::Debug for Mailbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
