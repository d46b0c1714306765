//! Counters with tusd's names, which have no `_total`: OpenMetrics knows none such, so they are `unknown` there, and
//! the older text makes counters of them again.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::MetricType,
    registry::Registry,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Tusd(Arc<AtomicU64>);

impl Tusd {
    pub(super) fn inc_by(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

impl EncodeMetric for Tusd {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        // A gauge's sample is its name and its value, as these are.
        encoder.encode_gauge(&i64::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(i64::MAX))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Unknown
    }
}

pub(super) fn counter(registry: &mut Registry, name: &str, help: &str) -> Tusd {
    let counter = Tusd::default();
    registry.register(name, help, counter.clone());
    counter
}
