//! What is counted, wherever it is: the families of [`metrics`](crate), with the feature `metrics`, in a registry of the
//! application's. Without the feature, or without a registry, nothing is counted.

#[cfg(feature = "metrics")]
use std::sync::Arc;
use std::time::Duration;

use tus_proto::{ErrorCode, Event, Failure, Reason};

use crate::hooks::Hook;
#[cfg(feature = "metrics")]
use crate::metrics::{RequestMetrics, prometheus_client::registry::Registry};

/// Counters, or nothing. A clone counts in the same place.
#[derive(Clone, Debug, Default)]
pub struct Counters(#[cfg(feature = "metrics")] Option<Arc<RequestMetrics>>);

#[cfg(feature = "metrics")]
impl Counters {
    /// Registers all families there, and counts in them.
    pub fn new(registry: &mut Registry) -> Self {
        Arc::new(RequestMetrics::new(registry)).into()
    }
}

#[cfg(feature = "metrics")]
impl From<Arc<RequestMetrics>> for Counters {
    fn from(metrics: Arc<RequestMetrics>) -> Self {
        Self(Some(metrics))
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*);)*) => {
        impl Counters {$(
            $(#[$doc])*
            pub fn $name(&self, $($argument: $kind),*) {
                #[cfg(feature = "metrics")]
                if let Some(metrics) = &self.0 {
                    metrics.$name($($argument),*);
                }
                #[cfg(not(feature = "metrics"))]
                let _ = ($($argument,)*);
            }
        )*}
    };
}

counters! {
    /// A request came; `None` if its method can't be told.
    request(method: Option<&str>);
    /// A request was answered.
    answered(status: u16, code: Option<ErrorCode>);
    /// A request was answered so long after its head came.
    took(time: Duration);
    /// What an exchange tells of an upload.
    event(event: Event);
    /// The store failed a call.
    store_failed(failure: Failure);
    /// Another request held a lock that was asked for.
    lock_waited();
    /// A lock was not let go in time.
    lock_timed_out();
    /// A deadline of a connection passed: see `metrics::REASONS`.
    deadline_passed(reason: &str);
    /// A deadline of an exchange passed.
    exchange_deadline_passed(reason: Reason);
    /// A hook is called.
    hook_called(hook: Hook);
    /// A hook has failed, or could not be called.
    hook_failed(hook: Hook);
    /// A hook took longer than its deadline.
    hook_timed_out(hook: Hook);
    /// A group of changes was committed, or failed as a whole.
    committed(changes: usize, took: Duration);
    /// So many uploads became complete in addition to the one that was written to.
    finished(uploads: u64);
    /// So many uploads had expired and were removed.
    swept(uploads: usize);
}
