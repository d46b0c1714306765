//! The locks of threads that block: what a request is told waits in its inbox, for the next time its thread looks.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tus_proto::{Fence, Instant, LockCall, LockEvent, LockTable, OpId, Owner, UploadId};

use crate::{
    locks::{Caller, Inbox, LockService},
    runtime::{Clock, lock},
};

/// Who grants locks.
pub(super) enum Locks {
    /// This process alone.
    Table(Table),
    Service(Arc<dyn LockService>),
}

/// The locks of all requests of this process.
pub(super) struct Table {
    state: Mutex<State>,
    /// Something came for somebody. Only requests that meet at an upload wait for it, and those are few.
    news: Condvar,
}

struct State {
    table: LockTable,
    inboxes: BTreeMap<Owner, VecDeque<LockEvent>>,
    last_owner: u64,
}

/// A request's place. What it holds or waits for goes with it.
pub(super) struct Seat<'a> {
    place: Place<'a>,
    clock: Clock,
    /// The call by which it came to hold, or to wait for, something of this upload.
    claim: Option<(OpId, UploadId)>,
}

enum Place<'a> {
    Table(&'a Table, Owner),
    Service(&'a dyn LockService, Arc<Letters>),
}

/// What a service has told a request.
#[derive(Default)]
struct Letters {
    events: Mutex<VecDeque<LockEvent>>,
    news: Condvar,
}

impl Inbox for Letters {
    fn post(&self, _: Owner, event: LockEvent) {
        lock(&self.events).push_back(event);
        self.news.notify_one();
    }
}

impl Letters {
    fn wait(&self, clock: Clock, until: Option<Instant>) -> Option<LockEvent> {
        let mut events = lock(&self.events);
        loop {
            let now = clock.now().monotonic;
            let event = events.pop_front();
            if event.is_some() || until.is_some_and(|until| until <= now) {
                return event;
            }
            events = wait(&self.news, events, until.map(|until| until.since(now)));
        }
    }
}

fn wait<'a, T>(news: &Condvar, guard: MutexGuard<'a, T>, time: Option<Duration>) -> MutexGuard<'a, T> {
    match time {
        Some(time) => news.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0,
        None => news.wait(guard).unwrap_or_else(PoisonError::into_inner),
    }
}

impl Locks {
    /// Those of this process, or a service's, whose first grant has at least this number.
    pub(super) fn new(first: Fence, service: Option<Arc<dyn LockService>>) -> Self {
        if let Some(service) = service {
            service.start(first);
            return Self::Service(service);
        }
        let state = State { table: LockTable::new(first), inboxes: BTreeMap::new(), last_owner: 0 };
        Self::Table(Table { state: Mutex::new(state), news: Condvar::new() })
    }

    pub(super) fn seat(&self, clock: Clock) -> Seat<'_> {
        let place = match self {
            Self::Table(table) => Place::Table(table, table.admit()),
            Self::Service(service) => Place::Service(&**service, Arc::default()),
        };
        Seat { place, clock, claim: None }
    }
}

impl Table {
    fn admit(&self) -> Owner {
        let mut state = lock(&self.state);
        state.last_owner += 1;
        let owner = Owner(state.last_owner);
        state.inboxes.insert(owner, VecDeque::new());
        owner
    }

    fn wait(&self, owner: Owner, clock: Clock, until: Option<Instant>) -> Option<LockEvent> {
        let mut state = lock(&self.state);
        loop {
            let now = clock.now().monotonic;
            // Whoever waits keeps the table's time, too: it is for those who wait that time runs out.
            state.table.timeout(now);
            if state.deliver() {
                self.news.notify_all();
            }
            let event = state.take(owner);
            if event.is_some() || until.is_some_and(|until| until <= now) {
                return event;
            }
            let next = until.into_iter().chain(state.table.deadline()).min();
            state = wait(&self.news, state, next.map(|at| at.since(now)));
        }
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
        match &self.place {
            Place::Table(table, owner) => {
                let mut state = lock(&table.state);
                state.table.call(self.clock.now().monotonic, *owner, op, call);
                if state.deliver() {
                    table.news.notify_all();
                }
            }
            // Each request has its own letters, and needs no number.
            Place::Service(service, letters) => {
                service.call(&Caller::new(Owner(0), letters.clone()), op, call);
            }
        }
    }

    /// What came first and was not taken yet.
    pub(super) fn event(&self) -> Option<LockEvent> {
        match &self.place {
            Place::Table(table, owner) => lock(&table.state).take(*owner),
            Place::Service(_, letters) => lock(&letters.events).pop_front(),
        }
    }

    /// Waits for an event, at most until then.
    pub(super) fn wait(&self, until: Option<Instant>) -> Option<LockEvent> {
        match &self.place {
            Place::Table(table, owner) => table.wait(*owner, self.clock, until),
            Place::Service(_, letters) => letters.wait(self.clock, until),
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        // Only a request whose reader has panicked leaves something here.
        if let Some((op, key)) = self.claim.take() {
            self.call(op, LockCall::Release { key });
        }
        if let Place::Table(table, owner) = &self.place {
            lock(&table.state).inboxes.remove(owner);
        }
    }
}

#[cfg(test)]
impl Locks {
    /// Whether nothing is left of anybody.
    pub(super) fn is_empty(&self) -> bool {
        let Self::Table(table) = self else { return true };
        let state = lock(&table.state);
        state.table.is_empty() && state.inboxes.is_empty()
    }
}
