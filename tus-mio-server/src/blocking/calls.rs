//! How a thread that blocks hears: what arrives for its request, and what it asks a store, is waited for here, while the
//! thread works off the store's jobs.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tus_driver::{Answer, Arrival, Class, Inbox, Inlet, JobQueue, Locks, Store, Ticket};
use tus_proto::{Instant, LockCall, LockEvent, OpId, Owner, UploadId};

/// What has arrived for one request.
pub(super) struct Letters<S: Store> {
    arrived: Mutex<VecDeque<Arrival<S>>>,
    queue: Arc<JobQueue>,
}

/// Where to post for one request.
pub(super) struct Address<S: Store>(Arc<Letters<S>>);

impl<S: Store> Clone for Address<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Inlet<S> for Address<S> {
    fn post(&self, arrival: Arrival<S>) {
        lock(&self.0.arrived).push_back(arrival);
        self.0.queue.notify();
    }
}

/// The requests under way, by number: the lock service's way to them.
pub(super) struct Requests<S: Store>(Mutex<Registry<S>>);

struct Registry<S: Store> {
    addresses: BTreeMap<Owner, Address<S>>,
    last: u64,
}

impl<S: Store> Default for Requests<S> {
    fn default() -> Self {
        Self(Mutex::new(Registry { addresses: BTreeMap::new(), last: 0 }))
    }
}

impl<S: Store> Inbox for Requests<S> {
    fn post(&self, owner: Owner, event: LockEvent) {
        let address = lock(&self.0).addresses.get(&owner).cloned();
        if let Some(address) = address {
            address.post(Arrival::Lock(event));
        }
    }
}

#[cfg(test)]
impl<S: Store> Requests<S> {
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).addresses.is_empty()
    }
}

/// A request's place among the others. What it holds, or waits for, at the lock service goes with it.
pub(super) struct Seat<'a, S: Store> {
    locks: &'a Locks,
    requests: &'a Requests<S>,
    owner: Owner,
    address: Address<S>,
    /// The call by which it came to hold, or to wait for, the lock of this upload.
    claim: Option<(OpId, UploadId)>,
    now: &'a dyn Fn() -> Instant,
}

impl<'a, S: Store> Seat<'a, S> {
    pub(super) fn new(
        locks: &'a Locks,
        requests: &'a Requests<S>,
        queue: &Arc<JobQueue>,
        now: &'a dyn Fn() -> Instant,
    ) -> Self {
        let address = Address(Arc::new(Letters { arrived: Mutex::default(), queue: queue.clone() }));
        let mut registry = lock(&requests.0);
        registry.last += 1;
        let owner = Owner(registry.last);
        registry.addresses.insert(owner, address.clone());
        drop(registry);
        Self { locks, requests, owner, address, claim: None, now }
    }

    pub(super) fn address(&self) -> &Address<S> {
        &self.address
    }

    /// What came first and was not taken yet.
    pub(super) fn arrival(&self) -> Option<Arrival<S>> {
        lock(&self.address.0.arrived).pop_front()
    }

    /// Makes a lock call. Its reply, if it is here at once, is the last arrival.
    pub(super) fn call(&mut self, op: OpId, call: LockCall) {
        match &call {
            LockCall::Acquire { key, .. } | LockCall::Checkpoint { key } => {
                self.claim = Some((op, key.clone()))
            }
            LockCall::Release { .. } => self.claim = None,
            LockCall::Renew { .. } | LockCall::Checkpointed { .. } => {}
        }
        let requests = self.requests;
        self.locks.call((self.now)(), self.owner, op, call, |owner, event| requests.post(owner, event));
    }

    /// Lets the locks' time run out: those who wait keep it, for it is for them that it does.
    pub(super) fn keep_time(&self) -> Option<Instant> {
        let requests = self.requests;
        self.locks.timeout((self.now)(), |owner, event| requests.post(owner, event))
    }
}

impl<S: Store> Drop for Seat<'_, S> {
    fn drop(&mut self) {
        // Only a request whose reader has panicked leaves something here.
        if let Some((op, key)) = self.claim.take() {
            self.call(op, LockCall::Release { key });
        }
        lock(&self.requests.0).addresses.remove(&self.owner);
    }
}

/// Makes a call of the store, and waits for its answer: with jobs up to the class `last`, which must be that of the
/// store's own for it.
pub(super) fn ask<T: Send + 'static>(
    queue: &Arc<JobQueue>,
    last: Class,
    call: impl FnOnce(&dyn Fn() -> Ticket<T>) -> Answer<T>,
) -> T {
    let slot: Arc<Mutex<Option<T>>> = Arc::new(Mutex::new(None));
    let later = || {
        let (slot, queue) = (slot.clone(), queue.clone());
        Ticket::new(move |answer| {
            *lock(&slot) = Some(answer);
            queue.notify();
        })
    };
    if let Answer::Now(answer) = call(&later) {
        return answer;
    }
    loop {
        let seen = queue.seen();
        if let Some(answer) = lock(&slot).take() {
            return answer;
        }
        if !queue.run_one(last) {
            queue.wait(seen, None);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
