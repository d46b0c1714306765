//! The thread that delivers events to hooks: it lets the driver's [`Delivery`] do what is due, and hands the calls to a
//! pool of threads of their own.

use std::{sync::Arc, time::Duration};

use tus_driver::{
    Store,
    hooks::{HookCalls, HookRunner},
    outbox::{Delivery, DeliveryHandle, Pauses, Turn},
    park, thread_waker,
};
use tus_proto::{Failure, Instant};

use super::{Shared, hook_pool::HookPool};

/// Speaks to the thread, and has what it needs.
#[derive(Debug)]
pub(crate) struct Deliverer {
    hooks: HookCalls,
    pool: HookPool,
    /// How many deliveries run at once, and how long one rests that failed.
    bounds: (usize, Pauses),
    handle: DeliveryHandle,
}

impl Deliverer {
    pub(crate) fn new(hooks: Arc<dyn HookRunner>, pool: HookPool, bounds: (usize, Pauses)) -> Self {
        // No request waits for these.
        let hooks = HookCalls::new(hooks, Arc::new(pool.clone()), Duration::MAX);
        Self { hooks, pool, bounds, handle: DeliveryHandle::default() }
    }

    /// Lets the threads of hooks go.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    /// There may be new events in the outbox.
    pub(crate) fn wake(&self) {
        self.handle.wake();
    }

    /// Ends [`run`](Self::run) once no hook is running, or at this time.
    pub(crate) fn stop(&self, end: Instant) {
        self.handle.stop(end);
    }

    /// The thread's body.
    pub(crate) fn run<S: Store>(&self, shared: &Arc<Shared<S>>) {
        // Weak: a hook that never returns would keep the store open.
        let store = Arc::downgrade(shared);
        let files = move |id: &_| store.upgrade().ok_or(Failure::Unavailable)?.store.files(id);
        let hooks = (self.hooks.clone(), shared.attributions.clone());
        let counters = shared.metrics.counters();
        let mut delivery = Delivery::new(&self.handle, hooks, counters, Arc::new(files), self.bounds);
        let waker = thread_waker();
        while let Turn::Waits(until) = delivery.turn(shared.clock.now(), &shared.store, &waker) {
            park(shared.clock.now().monotonic, until);
        }
    }
}
