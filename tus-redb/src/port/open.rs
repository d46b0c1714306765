//! Opening a store on any runtime of the driver's: what it does is counted where its requests are, and logged.

use std::time::Duration;

use tus_driver::{OpenStore, StoreRuntime};
use tus_proto::WallTime;

use crate::{
    maintenance::sweep::Swept,
    port::{RedbStore, observer::Observer},
    store::Store,
};

impl OpenStore for Store {
    type Store = RedbStore;

    fn open(self, runtime: StoreRuntime) -> RedbStore {
        let (executor, interval) = (runtime.executor.clone(), runtime.cleanup_interval);
        RedbStore::start(self, executor, Box::new(Reported(runtime)), interval)
    }

    fn time(&self) -> Option<WallTime> {
        Self::time(self)
    }
}

/// Has the runtime count and log what the store does.
struct Reported(StoreRuntime);

impl Observer for Reported {
    fn committed(&self, changes: usize, took: Duration) {
        self.0.counters.committed(changes, took);
    }

    fn finals_finished(&self, count: u64) {
        self.0.counters.finished(count);
    }

    fn swept(&self, swept: &Swept) {
        self.0.counters.swept(swept.expired + swept.finished);
    }

    fn error(&self, text: &str) {
        self.0.report_error(text);
    }
}
