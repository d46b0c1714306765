//! How a runtime opens the store that it is given.

use std::{fmt, sync::Arc, time::Duration};

use tus_proto::WallTime;

use crate::{Counters, Executor, MemoryStore, Store};

/// What a runtime's store is made of, once there is an [`Executor`] to do its work.
///
/// Any function that makes a [`Store`] of an `Executor` is one; [`MemoryStore`] is one, and `tus_redb::Store`.
pub trait OpenStore {
    /// The store.
    type Store: Store;

    /// Opens it.
    fn open(self, runtime: StoreRuntime) -> Self::Store;

    /// How far the lives of uploads had come when the store was open last. `None` if it does not know.
    fn time(&self) -> Option<WallTime> {
        None
    }
}

/// What a store gets of its runtime.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreRuntime {
    /// Where its work is to be done.
    pub executor: Arc<dyn Executor>,
    /// How often it is to look for expired uploads.
    pub cleanup_interval: Duration,
    /// Where its commits are counted.
    pub counters: Counters,
}

impl StoreRuntime {
    /// A runtime of these parts.
    pub fn new(executor: Arc<dyn Executor>, cleanup_interval: Duration, counters: Counters) -> Self {
        Self { executor, cleanup_interval, counters }
    }

    /// Logs what went wrong in the store's own work, for operators.
    pub fn report_error(&self, text: &str) {
        tracing::error!("the store: {text}");
    }
}

impl<S: Store, F: FnOnce(Arc<dyn Executor>) -> S> OpenStore for F {
    type Store = S;

    fn open(self, runtime: StoreRuntime) -> S {
        self(runtime.executor)
    }
}

impl OpenStore for MemoryStore {
    type Store = Self;

    fn open(self, _: StoreRuntime) -> Self {
        self
    }
}

impl fmt::Debug for StoreRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRuntime")
            .field("cleanup_interval", &self.cleanup_interval)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
