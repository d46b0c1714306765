//! What a service counts: the families of [`tus_driver::metrics`](tus_driver), with the feature `metrics`, in a registry of
//! the application's. Without it, or without a registry, nothing is.

#[cfg(feature = "metrics")]
use std::sync::Arc;
use std::time::Duration;

use tus_driver::hooks::Hook;
#[cfg(feature = "metrics")]
use tus_driver::metrics::RequestMetrics;
use tus_proto::{ErrorCode, Event, Failure, Reason};

#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(#[cfg(feature = "metrics")] pub(crate) Option<Arc<RequestMetrics>>);

macro_rules! counters {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        impl Counters {$(
            // Those of the store are for one that a feature brings.
            #[allow(dead_code)]
            pub(crate) fn $name(&self, $($argument: $kind),*) {
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
    request(method: Option<&str>);
    answered(status: u16, code: Option<ErrorCode>);
    took(time: Duration);
    event(event: Event);
    store_failed(failure: Failure);
    lock_waited();
    lock_timed_out();
    deadline_passed(reason: &str);
    exchange_deadline_passed(reason: Reason);
    hook_called(hook: Hook);
    hook_failed(hook: Hook);
    hook_timed_out(hook: Hook);
    committed(changes: usize, took: Duration);
    finished(uploads: u64);
    swept(uploads: usize);
}
