//! The requests of a runtime that awaits or blocks: each has a mailbox, which wakes its task or thread, and finds the
//! locks from there. What a request holds at the lock service is released when the request is dropped.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use tus_proto::{Cancel, Fence, Instant, LockCall, LockEvent, OpId, Owner, UploadId};

use crate::{
    Arrival, Executor, Inbox, Inlet, LockService, Locks, Store,
    mailbox::{WakeQueue, lock},
};

/// The requests under way, and the locks that they take.
pub struct Requests<S: Store> {
    mailboxes: Arc<Mailboxes<S>>,
    locks: Arc<Locks>,
    /// Where lock events are posted: to `mailboxes`, unless other requests take the same locks.
    inbox: Arc<dyn Inbox>,
    executor: Arc<dyn Executor>,
}

/// The mailboxes of requests, by their owners' numbers.
pub struct Mailboxes<S: Store>(Mutex<Table<S>>);

struct Table<S: Store> {
    mailboxes: HashMap<Owner, Mailbox<S>>,
    last: u64,
    /// Woken when the last request ends.
    empty: Vec<Waker>,
}

impl<S: Store> Mailboxes<S> {
    /// None yet. The numbers of their owners begin after this one.
    pub fn new(after: Owner) -> Self {
        Self(Mutex::new(Table { mailboxes: HashMap::new(), last: after.0, empty: Vec::new() }))
    }
}

impl<S: Store> Requests<S> {
    /// No requests yet. The first grant of a lock has at least the number `first`; without a service, the locks are
    /// those of this process.
    pub fn new(executor: Arc<dyn Executor>, first: Fence, service: Option<Arc<dyn LockService>>) -> Self {
        let mailboxes = Arc::new(Mailboxes::new(Owner(0)));
        let inbox: Arc<dyn Inbox> = mailboxes.clone();
        let locks = Locks::new(first, service.map(|service| (service, inbox.clone())));
        Self::sharing(mailboxes, Arc::new(locks), inbox, executor)
    }

    /// Requests that take locks which others take too. `inbox` is where lock events for all of them are posted; it passes
    /// those for these requests on to `mailboxes`.
    pub fn sharing(
        mailboxes: Arc<Mailboxes<S>>,
        locks: Arc<Locks>,
        inbox: Arc<dyn Inbox>,
        executor: Arc<dyn Executor>,
    ) -> Self {
        Self { mailboxes, locks, inbox, executor }
    }

    /// Adds a request.
    pub fn begin(self: &Arc<Self>) -> RequestHandle<S> {
        let mailbox = Mailbox::default();
        let mut table = lock(&self.mailboxes.0);
        table.last += 1;
        let owner = Owner(table.last);
        table.mailboxes.insert(owner, mailbox.clone());
        drop(table);
        RequestHandle { requests: self.clone(), owner, mailbox, claim: None, waits: false }
    }

    /// Tells every request that it must end.
    pub fn cancel(&self, why: Cancel) {
        let mailboxes: Vec<_> = lock(&self.mailboxes.0).mailboxes.values().cloned().collect();
        for mailbox in mailboxes {
            mailbox.post(Arrival::Cancel(why));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        lock(&self.mailboxes.0).mailboxes.len()
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
        let mut table = lock(&self.mailboxes.0);
        if table.mailboxes.is_empty() {
            return Poll::Ready(());
        }
        table.empty.push(cx.waker().clone());
        Poll::Pending
    }
}

impl<S: Store> Inbox for Mailboxes<S> {
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

    /// Removes what came first. `None` if nothing is there: the waker is then woken when something is.
    pub fn take(&mut self, waker: &Waker) -> Option<Arrival<S>> {
        let first = self.mailbox.0.pop(waker);
        if matches!(first, Some(Arrival::Lock(LockEvent::Reply(..)))) {
            self.waits = false;
        }
        first
    }

    /// Whether something is there to [`take`](Self::take).
    pub fn has_mail(&self) -> bool {
        !self.mailbox.0.is_empty()
    }

    /// Makes a lock call. Its replies and events are posted to the requests that they are for.
    pub fn call(&mut self, op: OpId, call: LockCall) {
        match &call {
            LockCall::Acquire { key, .. } | LockCall::Checkpoint { key } => {
                self.claim = Some((op, key.clone()));
                self.waits = true;
            }
            LockCall::Release { .. } => self.claim = None,
            LockCall::Renew { .. } | LockCall::Checkpointed { .. } => {}
        }
        let Requests { inbox, locks, executor, .. } = &*self.requests;
        let now = executor.now().monotonic;
        locks.call(now, self.owner, op, call, |owner, event| inbox.post(owner, event));
    }

    /// Lets the locks' time run out, and returns when that is due again: `None` if this request does not wait for one.
    /// Only requests that wait need to do it.
    pub fn keep_time(&self, now: Instant) -> Option<Instant> {
        let Requests { inbox, locks, .. } = &*self.requests;
        let due = self.waits.then(|| locks.deadline()).flatten()?;
        if due > now {
            return Some(due);
        }
        locks.timeout(now, |owner, event| inbox.post(owner, event))
    }
}

impl<S: Store> Drop for RequestHandle<S> {
    fn drop(&mut self) {
        // Only a request that did not come to its end leaves something here.
        if let Some((op, key)) = self.claim.take() {
            self.call(op, LockCall::Release { key });
        }
        let mut table = lock(&self.requests.mailboxes.0);
        table.mailboxes.remove(&self.owner);
        let woken = if table.mailboxes.is_empty() { std::mem::take(&mut table.empty) } else { Vec::new() };
        drop(table);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// What has arrived for one request. A clone is the same mailbox.
pub struct Mailbox<S: Store>(WakeQueue<Arrival<S>>);

impl<S: Store> Default for Mailbox<S> {
    fn default() -> Self {
        Self(WakeQueue::default())
    }
}

impl<S: Store> Clone for Mailbox<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Inlet<S> for Mailbox<S> {
    fn post(&self, arrival: Arrival<S>) {
        self.0.push(arrival);
    }
}

impl<S: Store> fmt::Debug for Requests<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("len", &self.len()).field("locks", &self.locks).finish()
    }
}

impl<S: Store> fmt::Debug for Mailboxes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailboxes").field("len", &lock(&self.0).mailboxes.len()).finish()
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
