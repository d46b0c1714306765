//! The lock table of threads that block: what it tells an owner waits in the owner's inbox, for the next time its
//! thread looks.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Condvar, Mutex, PoisonError},
};

use tus_proto::{Fence, Instant, LockCall, LockEvent, LockTable, OpId, Owner, UploadId};

use crate::runtime::{Clock, lock};

/// The locks of all requests.
pub(super) struct Locks {
    state: Mutex<State>,
    /// Something came for somebody. Only requests that meet at an upload wait for it, and those are few.
    news: Condvar,
}

struct State {
    table: LockTable,
    inboxes: BTreeMap<Owner, VecDeque<LockEvent>>,
    last_owner: u64,
}

/// A request's place at the table. What it holds or waits for goes with it.
pub(super) struct Seat<'a> {
    locks: &'a Locks,
    clock: Clock,
    owner: Owner,
    /// The call by which it came to hold, or to wait for, something of this upload.
    claim: Option<(OpId, UploadId)>,
}

impl Locks {
    pub(super) fn new(first: Fence) -> Self {
        let state = State { table: LockTable::new(first), inboxes: BTreeMap::new(), last_owner: 0 };
        Self { state: Mutex::new(state), news: Condvar::new() }
    }

    pub(super) fn seat(&self, clock: Clock) -> Seat<'_> {
        let mut state = lock(&self.state);
        state.last_owner += 1;
        let owner = Owner(state.last_owner);
        state.inboxes.insert(owner, VecDeque::new());
        Seat { locks: self, clock, owner, claim: None }
    }
}

impl State {
    /// Puts what the table tells into the inboxes. Tells whether there was anything.
    fn deliver(&mut self) -> bool {
        let mut news = false;
        while let Some((owner, event)) = self.table.poll() {
            if let Some(inbox) = self.inboxes.get_mut(&owner) {
                inbox.push_back(event);
                news = true;
            }
        }
        news
    }

    fn take(&mut self, owner: Owner) -> Option<LockEvent> {
        self.inboxes.get_mut(&owner)?.pop_front()
    }
}

impl Seat<'_> {
    /// Makes a call. Its reply, if it is there at once, is the last in the inbox.
    pub(super) fn call(&mut self, op: OpId, call: LockCall) {
        match &call {
            LockCall::Acquire { key, .. } | LockCall::Checkpoint { key } => {
                self.claim = Some((op, key.clone()))
            }
            LockCall::Release { .. } => self.claim = None,
            LockCall::Renew { .. } | LockCall::Checkpointed { .. } => {}
        }
        let mut state = lock(&self.locks.state);
        state.table.call(self.clock.now().monotonic, self.owner, op, call);
        if state.deliver() {
            self.locks.news.notify_all();
        }
    }

    /// What came first and was not taken yet.
    pub(super) fn event(&self) -> Option<LockEvent> {
        lock(&self.locks.state).take(self.owner)
    }

    /// Waits for an event, at most until then.
    pub(super) fn wait(&self, until: Option<Instant>) -> Option<LockEvent> {
        let mut state = lock(&self.locks.state);
        loop {
            let now = self.clock.now().monotonic;
            // Whoever waits keeps the table's time, too: it is for those who wait that time runs out.
            state.table.timeout(now);
            if state.deliver() {
                self.locks.news.notify_all();
            }
            let event = state.take(self.owner);
            if event.is_some() || until.is_some_and(|until| until <= now) {
                return event;
            }
            let next = until.into_iter().chain(state.table.deadline()).min();
            let news = &self.locks.news;
            state = match next {
                Some(at) => news.wait_timeout(state, at.since(now)).unwrap_or_else(PoisonError::into_inner).0,
                None => news.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        // Only a request whose reader has panicked leaves something here.
        if let Some((op, key)) = self.claim.take() {
            self.call(op, LockCall::Release { key });
        }
        lock(&self.locks.state).inboxes.remove(&self.owner);
    }
}

#[cfg(test)]
impl Locks {
    /// Whether nothing is left of anybody.
    pub(super) fn is_empty(&self) -> bool {
        let state = lock(&self.state);
        state.table.is_empty() && state.inboxes.is_empty()
    }
}
