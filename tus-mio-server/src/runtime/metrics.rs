//! What the server counts, and the text that a scrape reads. Every series is made when the server is, but those of
//! error statuses, each at its first error: counting is an atomic addition, by no name and without a lock.

use std::{
    sync::{OnceLock, atomic::Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::text as openmetrics,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use tus_proto::{Code, Event, Failure, Protocol};

use self::{durations::Durations, process::Process, tusd::Tusd};
use super::eviction::Cheap;
use crate::{hooks::Hook, http1};

/// The methods that are told apart; any other is the last of them. Methods come from outside, series must not.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "other"];

/// Room for every code.
const CODES: usize = 64;

/// All counters of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: [Counter; METHODS.len()],
    protocols: [Counter; 2],
    errors: Errors,
    created: Tusd,
    finished: Tusd,
    terminated: Tusd,
    received: Tusd,
    durations: Durations,
    expired: Counter,
    pub(super) accepted: Counter,
    pub(super) refused_by_address: Counter,
    pub(super) accept_failures: Counter,
    evicted: [Counter; Cheap::ALL.len()],
    /// Connections with a request under way.
    pub(super) busy: Gauge,
    idle: Gauge,
    deadlines: [Counter; REASONS.len()],
    commit_seconds: Histogram,
    commit_changes: Histogram,
    pub(super) lock_waits: Counter,
    pub(super) lock_timeouts: Counter,
    lock_yields: Counter,
    store_errors: [Counter; 3],
    stale: Counter,
    hook_calls: [Counter; Hook::ALL.len()],
    hook_failures: [Counter; Hook::ALL.len()],
    hook_timeouts: [Counter; Hook::ALL.len()],
    hook_invocations: [Option<Counter>; Hook::ALL.len()],
    hook_errors: [Option<Counter>; Hook::ALL.len()],
    outbox: Gauge,
    log_drops: Counter,
    log_lines_dropped: Option<fn() -> u64>,
}

/// What a connection or an exchange waited for in vain, or until it had to do something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expired {
    Http(http1::Reason),
    Exchange(tus_proto::Reason),
}

const REASONS: [&str; 9] =
    ["head", "idle", "body", "response", "linger", "lock_renewal", "checkpoint", "checkpoint_wait", "expiry"];

impl Expired {
    fn index(self) -> usize {
        match self {
            Self::Http(http1::Reason::Head) => 0,
            Self::Http(http1::Reason::Idle) => 1,
            Self::Http(http1::Reason::Body) => 2,
            Self::Http(http1::Reason::Response) => 3,
            Self::Http(http1::Reason::Linger) => 4,
            Self::Exchange(tus_proto::Reason::Renew) => 5,
            Self::Exchange(tus_proto::Reason::Checkpoint) => 6,
            Self::Exchange(tus_proto::Reason::CheckpointWait) => 7,
            Self::Exchange(tus_proto::Reason::Expiry) => 8,
        }
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let tusd = registry.sub_registry_with_prefix("tusd");
        let requests = labelled(tusd, "requests", "Requests, by method", "method", METHODS);
        let errors = Errors::new(tusd);
        let created = tusd::counter(tusd, "uploads_created", "Uploads created");
        let finished = tusd::counter(tusd, "uploads_finished", "Uploads that became complete");
        let terminated = tusd::counter(tusd, "uploads_terminated", "Uploads deleted by their clients");
        let received = tusd::counter(tusd, "bytes_received", "Bytes of uploads committed");
        let hook_invocations = hook_types(tusd, "hook_invocations", "Calls of hooks, by type");
        let hook_errors = hook_types(tusd, "hook_errors", "Calls of hooks that failed, by type");
        registry.register_collector(Box::new(Process));
        let tus = registry.sub_registry_with_prefix("tus");
        let [busy, idle] = connections(tus);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        tus.register("build", "The version of this server", build);
        let help = "Requests answered, by the protocol they speak";
        let protocols = labelled(tus, "requests_answered", help, "protocol", ["tus", "ietf"]);
        let durations = Durations::default();
        let help = "Time from a request's head to its answer";
        tus.register_with_unit("request_duration", help, Unit::Seconds, durations.clone());
        Self {
            requests,
            protocols,
            errors,
            created,
            finished,
            terminated,
            received,
            durations,
            expired: counter(tus, "uploads_expired", "Uploads removed because their time was over"),
            accepted: counter(tus, "connections_accepted", "Connections accepted"),
            refused_by_address: counter(
                tus,
                "connections_refused",
                "Connections closed because their address had too many",
            ),
            accept_failures: counter(
                tus,
                "accept_failures",
                "Times the system could not accept a connection",
            ),
            evicted: labelled(
                tus,
                "connections_evicted",
                "Connections ended to make room, by what they were",
                "state",
                ["idle", "head", "linger", "slow"],
            ),
            busy,
            idle,
            deadlines: labelled(tus, "deadlines", "Deadlines that passed, by reason", "reason", REASONS),
            commit_seconds: histogram(
                tus,
                ("commit_duration", "Time to commit a group of changes", Some(Unit::Seconds)),
                exponential_buckets(0.000_5, 2.0, 14),
            ),
            commit_changes: histogram(
                tus,
                ("commit_group_size", "Changes committed as one group", None),
                exponential_buckets(1.0, 2.0, 9),
            ),
            lock_waits: counter(
                tus,
                "lock_waits",
                "Locks that another request held when they were asked for",
            ),
            lock_timeouts: counter(tus, "lock_timeouts", "Locks that were not let go in time"),
            lock_yields: counter(tus, "lock_yields", "Writers that gave way to a newer request"),
            store_errors: labelled(
                tus,
                "store_errors",
                "Commands that the store could not carry out, by cause",
                "cause",
                ["no_space", "io", "unavailable"],
            ),
            stale: counter(tus, "stale_inputs", "Completions that nothing waited for any more"),
            hook_calls: hooks(tus, "hook_calls", "Calls of hooks"),
            hook_failures: hooks(tus, "hook_failures", "Calls of hooks that failed"),
            hook_timeouts: hooks(tus, "hook_timeouts", "Calls of hooks that took too long"),
            hook_invocations,
            hook_errors,
            outbox: {
                let outbox = Gauge::default();
                let help = "Events that no hook has taken note of yet";
                tus.register("outbox_entries", help, outbox.clone());
                outbox
            },
            log_drops: counter(tus, "log_lines_dropped", "Lines of the log that nobody took in time"),
            log_lines_dropped: None,
            registry,
        }
    }

    /// The same, which ask this for how many lines of the log were dropped.
    pub(crate) fn counting_log_drops(mut self, dropped: Option<fn() -> u64>) -> Self {
        self.log_lines_dropped = dropped;
        self
    }

    /// A request came; `None` where its method can't be told.
    pub(super) fn request(&self, method: Option<&str>) {
        let index = METHODS.iter().position(|known| Some(*known) == method);
        self.requests[index.unwrap_or(METHODS.len() - 1)].inc();
    }

    /// A request was answered.
    pub(super) fn answered(&self, status: u16, code: Option<Code>) {
        self.errors.count(status, code);
    }

    /// A request of this protocol was answered so long after its head came.
    pub(super) fn took(&self, protocol: Protocol, time: Duration) {
        self.protocols[usize::from(protocol == Protocol::Ietf)].inc();
        self.durations.observe(time);
    }

    /// What an exchange tells of an upload.
    pub(crate) fn event(&self, event: Event) {
        match event {
            Event::Created => self.created.inc_by(1),
            Event::Finished => self.finished.inc_by(1),
            Event::Terminated => self.terminated.inc_by(1),
            Event::Received(bytes) => self.received.inc_by(bytes),
            Event::Yielded => drop(self.lock_yields.inc()),
            Event::Stale => drop(self.stale.inc()),
        }
    }

    /// So many uploads became complete beside the one that was written to.
    pub(super) fn finished(&self, uploads: u64) {
        self.finished.inc_by(uploads);
    }

    /// A deadline passed.
    pub(super) fn expired(&self, what: Expired) {
        self.deadlines[what.index()].inc();
    }

    /// A connection had to make room.
    pub(super) fn evicted(&self, what: Cheap) {
        self.evicted[what as usize].inc();
    }

    /// So many uploads had expired and were removed.
    pub(super) fn swept(&self, uploads: usize) {
        self.expired.inc_by(uploads as u64);
    }

    pub(super) fn store_failed(&self, failure: Failure) {
        let index = match failure {
            Failure::NoSpace => 0,
            Failure::Io => 1,
            Failure::Unavailable => 2,
            // It works as it should.
            Failure::Fenced => return,
        };
        self.store_errors[index].inc();
    }

    /// A hook is called.
    pub(super) fn hook_called(&self, hook: Hook) {
        self.hook_calls[hook as usize].inc();
        count(&self.hook_invocations[hook as usize]);
    }

    /// A hook has failed, or could not be called.
    pub(super) fn hook_failed(&self, hook: Hook) {
        self.hook_failures[hook as usize].inc();
        count(&self.hook_errors[hook as usize]);
    }

    /// Nobody waits for a hook any more.
    pub(super) fn hook_timed_out(&self, hook: Hook) {
        self.hook_timeouts[hook as usize].inc();
        count(&self.hook_errors[hook as usize]);
    }

    /// A group was committed, or failed as a whole.
    pub(super) fn committed(&self, changes: usize, time: Duration) {
        self.commit_seconds.observe(time.as_secs_f64());
        self.commit_changes.observe(changes as f64);
    }

    /// All series as text, when so many connections are open and so many events in the outbox.
    pub(super) fn text(&self, open: usize, outbox: u64) -> String {
        self.outbox.set(i64::try_from(outbox).unwrap_or(i64::MAX));
        let open = i64::try_from(open).unwrap_or(i64::MAX);
        if let Some(dropped) = self.log_lines_dropped {
            self.log_drops.inner().store(dropped(), Ordering::Relaxed);
        }
        self.idle.set((open - self.busy.get()).max(0));
        let mut text = String::with_capacity(8 << 10);
        // Writing to a string can't fail.
        let _ = openmetrics::encode(&mut text, &self.registry);
        text
    }
}

/// Refusals by status and code. Which there are shows as they come.
#[derive(Debug)]
struct Errors {
    family: Family<ErrorLabels, Counter>,
    by_code: [OnceLock<Counter>; CODES],
}

type ErrorLabels = [(&'static str, String); 2];

impl Errors {
    fn new(registry: &mut Registry) -> Self {
        let family = Family::default();
        registry.register("errors", "Requests answered with an error, by status and code", family.clone());
        Self { family, by_code: [const { OnceLock::new() }; CODES] }
    }

    fn count(&self, status: u16, code: Option<Code>) {
        if !(400..600).contains(&status) {
            return;
        }
        let series = || {
            let name = code.map_or("", Code::name).to_owned();
            self.family.get_or_create_owned(&[("code", name), ("status", status.to_string())])
        };
        // A hook may give a refusal another status.
        let usual = code.filter(|code| code.status() == status);
        match usual.and_then(|code| self.by_code.get(code as usize)) {
            Some(slot) => slot.get_or_init(series).inc(),
            None => series().inc(),
        };
    }
}

/// A counter; its name gets `_total` behind it.
fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// One counter for each value of a label.
fn labelled<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Counter; N] {
    let family = Family::<[(&str, &str); 1], Counter>::default();
    registry.register(name, help, family.clone());
    values.map(|value| family.get_or_create_owned(&[(label, value)]))
}

/// One counter for each hook that tusd's users know, and `pre-request`.
fn hook_types(registry: &mut Registry, name: &str, help: &str) -> [Option<Counter>; Hook::ALL.len()] {
    let family = Family::<[(&str, &str); 1], Counter>::default();
    registry.register(name, help, family.clone());
    let counter = |name| family.get_or_create_owned(&[("hooktype", name)]);
    Hook::ALL.map(|hook| hook.event_name().map(counter))
}

fn count(counter: &Option<Counter>) {
    if let Some(counter) = counter {
        counter.inc();
    }
}

/// One counter for each hook.
fn hooks(registry: &mut Registry, name: &str, help: &str) -> [Counter; Hook::ALL.len()] {
    labelled(registry, name, help, "hook", Hook::ALL.map(Hook::name))
}

fn connections(registry: &mut Registry) -> [Gauge; 2] {
    let family = Family::<[(&str, &str); 1], Gauge>::default();
    let help = "Connections open, by whether they have an upload's request under way";
    registry.register("connections", help, family.clone());
    ["busy", "idle"].map(|state| family.get_or_create_owned(&[("state", state)]))
}

fn histogram(
    registry: &mut Registry,
    (name, help, unit): (&str, &str, Option<Unit>),
    buckets: impl Iterator<Item = f64>,
) -> Histogram {
    let histogram = Histogram::new(buckets);
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, histogram.clone()),
        None => registry.register(name, help, histogram.clone()),
    }
    histogram
}

mod durations;
mod process;
pub(super) mod text;
mod tusd;

#[cfg(test)]
mod tests;
