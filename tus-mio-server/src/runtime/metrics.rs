//! What the server counts, and the text that a scrape reads: what every runtime counts of its requests
//! ([`RequestMetrics`]), and the connections. Every series is made when the server is.

use std::{
    ops::Deref,
    sync::{Arc, atomic::Ordering},
};

use prometheus_client::{
    encoding::text as openmetrics,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};
pub(super) use tus_driver::metrics::negotiated;
use tus_driver::{
    Counters,
    metrics::{RequestMetrics, counter, labelled},
};
use tus_proto::Protocol;

pub(crate) use self::host::{HostMetrics, Limit};
use self::process::Process;
use super::eviction::class::EvictionClass;
use crate::http1;

/// All counters of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Arc<RequestMetrics>,
    protocols: [Counter; 2],
    pub(super) accepted: Counter,
    pub(super) refused_by_address: Counter,
    /// Limits of the host, and what is published.
    pub(crate) host: HostMetrics,
    pub(super) accept_failures: Counter,
    evicted: [Counter; EvictionClass::ALL.len()],
    /// Requests whose body is received.
    pub(super) receiving: Gauge,
    open: Gauge,
    disk_free: Gauge,
    /// Connections with a request under way.
    pub(super) busy: Gauge,
    idle: Gauge,
    log_drops: Counter,
    log_lines_dropped: Option<fn() -> u64>,
}

/// What a connection or an exchange waited for in vain, or until it had to do something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expired {
    Http(http1::Reason),
    Exchange(tus_proto::Reason),
}

impl Deref for Metrics {
    type Target = RequestMetrics;

    fn deref(&self) -> &RequestMetrics {
        &self.requests
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Arc::new(RequestMetrics::new(&mut registry));
        let open = gauge(registry.sub_registry_with_prefix("tusd"), "connections_open", "Connections open");
        registry.register_collector(Box::new(Process));
        let tus = registry.sub_registry_with_prefix("tus");
        let [busy, idle] = connections(tus);
        let receiving = gauge(tus, "uploads_in_progress", "Requests whose body is being received");
        let disk_free = Gauge::default();
        let help = "Space that files can still take where uploads are kept; -1 if that is not known";
        tus.register_with_unit("disk_free", help, Unit::Bytes, disk_free.clone());
        let host = HostMetrics::new(tus);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        tus.register("build", "The version of this server", build);
        let help = "Requests answered, by the protocol they speak";
        let protocols = labelled(tus, "requests_answered", help, "protocol", ["tus", "ietf"]);
        Self {
            requests,
            protocols,
            accepted: counter(tus, "connections_accepted", "Connections accepted"),
            refused_by_address: counter(
                tus,
                "connections_refused",
                "Connections closed because their address had too many",
            ),
            host,
            accept_failures: counter(
                tus,
                "accept_failures",
                "Times the system could not accept a connection",
            ),
            receiving,
            open,
            disk_free,
            evicted: labelled(
                tus,
                "connections_evicted",
                "Connections ended to make room, by what they were",
                "state",
                ["idle", "head", "linger", "slow"],
            ),
            busy,
            idle,
            log_drops: counter(tus, "log_lines_dropped", "Lines of the log that nobody took in time"),
            log_lines_dropped: None,
            registry,
        }
    }

    /// Those of requests, for the driver.
    pub(super) fn counters(&self) -> Counters {
        self.requests.clone().into()
    }

    /// The same, which ask this for how many lines of the log were dropped.
    pub(crate) fn counting_log_drops(mut self, dropped: Option<fn() -> u64>) -> Self {
        self.log_lines_dropped = dropped;
        self
    }

    /// A request of this protocol was answered.
    pub(super) fn answered_in(&self, protocol: Protocol) {
        self.protocols[usize::from(protocol == Protocol::Ietf)].inc();
    }

    /// A deadline passed.
    pub(super) fn expired(&self, what: Expired) {
        self.requests.deadline_passed(match what {
            Expired::Http(http1::Reason::Head) => "head",
            Expired::Http(http1::Reason::Idle) => "idle",
            Expired::Http(http1::Reason::Body) => "body",
            Expired::Http(http1::Reason::Response) => "response",
            Expired::Http(http1::Reason::Linger) => "linger",
            Expired::Exchange(reason) => return self.requests.exchange_deadline_passed(reason),
        });
    }

    /// A connection had to make room.
    pub(super) fn evicted(&self, what: EvictionClass) {
        self.evicted[what as usize].inc();
    }

    /// So many bytes are free on the disk; `None` if that is not known.
    pub(super) fn disk_free(&self, bytes: Option<u64>) {
        self.disk_free.set(bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)));
    }

    /// All series as text, when so many connections are open and so many events in the outbox.
    pub(super) fn text(&self, open: usize, outbox: u64) -> String {
        self.requests.set_outbox(outbox);
        self.host.refresh();
        let open = i64::try_from(open).unwrap_or(i64::MAX);
        if let Some(dropped) = self.log_lines_dropped {
            self.log_drops.inner().store(dropped(), Ordering::Relaxed);
        }
        self.open.set(open);
        self.idle.set((open - self.busy.get()).max(0));
        let mut text = String::with_capacity(8 << 10);
        // Writing to a string can't fail.
        let _ = openmetrics::encode(&mut text, &self.registry);
        text
    }
}

/// A gauge.
fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn connections(registry: &mut Registry) -> [Gauge; 2] {
    let family = Family::<[(&str, &str); 1], Gauge>::default();
    let help = "Connections open, by whether they have an upload's request under way";
    registry.register("connections", help, family.clone());
    ["busy", "idle"].map(|state| family.get_or_create_owned(&[("state", state)]))
}

mod host;
mod process;

#[cfg(test)]
mod tests;
