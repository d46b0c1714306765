//! What every runtime counts of its requests and its store, under the same names. Every series is made at the start, but
//! those of error statuses, each at its first error: counting is an atomic addition, by no name and without a lock.

mod durations;
mod text;
mod tusd;

use std::{sync::OnceLock, time::Duration};

pub use prometheus_client;
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
pub use text::{classic, negotiated};
use tus_proto::{ErrorCode, Event, Failure, Reason};

use self::{durations::Durations, tusd::Tusd};
use crate::hooks::Hook;

/// The methods that are told apart; any other is the last of them. Methods come from outside, series must not.
pub const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "other"];

/// What a connection or an exchange waits for by the clock.
pub const REASONS: [&str; 9] =
    ["head", "idle", "body", "response", "linger", "lock_renewal", "checkpoint", "checkpoint_wait", "expiry"];

/// Room for every code.
const CODES: usize = 64;

/// The counters of requests, of their hooks, and of the store.
#[derive(Debug)]
pub struct RequestMetrics {
    requests: [Counter; METHODS.len()],
    errors: Errors,
    created: Tusd,
    finished: Tusd,
    terminated: Tusd,
    received: Tusd,
    durations: Durations,
    expired: Counter,
    deadlines: [Counter; REASONS.len()],
    commit_seconds: Histogram,
    commit_changes: Histogram,
    /// Locks that another request held when they were asked for.
    pub lock_waits: Counter,
    /// Locks that were not let go in time.
    pub lock_timeouts: Counter,
    lock_yields: Counter,
    store_errors: [Counter; 3],
    stale: Counter,
    hook_calls: [Counter; Hook::ALL.len()],
    hook_failures: [Counter; Hook::ALL.len()],
    hook_timeouts: [Counter; Hook::ALL.len()],
    hook_invocations: [Option<Counter>; Hook::ALL.len()],
    hook_errors: [Option<Counter>; Hook::ALL.len()],
    outbox: Gauge,
}

impl RequestMetrics {
    /// All at 0, and registered there: those that tusd has as `tusd_...`, the others as `tus_...`.
    pub fn new(registry: &mut Registry) -> Self {
        let tusd = registry.sub_registry_with_prefix("tusd");
        let requests = labelled(tusd, "requests", "Requests, by method", "method", METHODS);
        let errors = Errors::new(tusd);
        let created = tusd::counter(tusd, "uploads_created", "Uploads created");
        let finished = tusd::counter(tusd, "uploads_finished", "Uploads that became complete");
        let terminated = tusd::counter(tusd, "uploads_terminated", "Uploads deleted by their clients");
        let received = tusd::counter(tusd, "bytes_received", "Bytes of uploads committed");
        let hook_invocations = hook_types(tusd, "hook_invocations", "Calls of hooks, by type");
        let hook_errors = hook_types(tusd, "hook_errors", "Calls of hooks that failed, by type");
        let tus = registry.sub_registry_with_prefix("tus");
        let durations = Durations::default();
        let help = "Time from a request's head to its answer";
        tus.register_with_unit("request_duration", help, Unit::Seconds, durations.clone());
        let outbox = Gauge::default();
        tus.register("outbox_entries", "Events that no hook has taken note of yet", outbox.clone());
        Self {
            requests,
            errors,
            created,
            finished,
            terminated,
            received,
            durations,
            expired: counter(tus, "uploads_expired", "Uploads removed because their time was over"),
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
            outbox,
        }
    }

    /// A request came; `None` where its method can't be told.
    pub fn request(&self, method: Option<&str>) {
        let index = METHODS.iter().position(|known| Some(*known) == method);
        inc(&self.requests, index.unwrap_or(METHODS.len() - 1));
    }

    /// A request was answered.
    pub fn answered(&self, status: u16, code: Option<ErrorCode>) {
        self.errors.count(status, code);
    }

    /// A request was answered so long after its head came.
    pub fn took(&self, time: Duration) {
        self.durations.observe(time);
    }

    /// What an exchange tells of an upload.
    pub fn event(&self, event: Event) {
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
    pub fn finished(&self, uploads: u64) {
        self.finished.inc_by(uploads);
    }

    /// So many uploads had expired and were removed.
    pub fn swept(&self, uploads: usize) {
        self.expired.inc_by(uploads as u64);
    }

    /// The store failed a call.
    pub fn store_failed(&self, failure: Failure) {
        let index = match failure {
            Failure::NoSpace => 0,
            Failure::Io => 1,
            Failure::Unavailable => 2,
            // It works as it should.
            Failure::Fenced => return,
        };
        inc(&self.store_errors, index);
    }

    /// A hook is called.
    pub fn hook_called(&self, hook: Hook) {
        inc(&self.hook_calls, hook as usize);
        count(&self.hook_invocations, hook);
    }

    /// A hook has failed, or could not be called.
    pub fn hook_failed(&self, hook: Hook) {
        inc(&self.hook_failures, hook as usize);
        count(&self.hook_errors, hook);
    }

    /// Nobody waits for a hook any more.
    pub fn hook_timed_out(&self, hook: Hook) {
        inc(&self.hook_timeouts, hook as usize);
        count(&self.hook_errors, hook);
    }

    /// A group was committed, or failed as a whole.
    pub fn committed(&self, changes: usize, time: Duration) {
        self.commit_seconds.observe(time.as_secs_f64());
        self.commit_changes.observe(changes as f64);
    }

    /// Another request held a lock that was asked for.
    pub fn lock_waited(&self) {
        self.lock_waits.inc();
    }

    /// A lock was not let go in time.
    pub fn lock_timed_out(&self) {
        self.lock_timeouts.inc();
    }

    /// A deadline of these [`REASONS`] passed.
    pub fn deadline_passed(&self, reason: &str) {
        let index = REASONS.iter().position(|known| *known == reason);
        inc(&self.deadlines, index.unwrap_or(REASONS.len()));
    }

    /// A deadline of an exchange passed.
    pub fn exchange_deadline_passed(&self, reason: Reason) {
        self.deadline_passed(match reason {
            Reason::Renew => "lock_renewal",
            Reason::Checkpoint => "checkpoint",
            Reason::CheckpointWait => "checkpoint_wait",
            Reason::Expiry => "expiry",
        });
    }

    /// So many events are in the outbox.
    pub fn set_outbox(&self, entries: u64) {
        self.outbox.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }
}

fn inc(counters: &[Counter], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.inc();
    }
}

/// Rejections by status and code. Which there are shows as they come.
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

    fn count(&self, status: u16, code: Option<ErrorCode>) {
        if !(400..600).contains(&status) {
            return;
        }
        let series = || {
            let name = code.map_or("", ErrorCode::name).to_owned();
            self.family.get_or_create_owned(&[("code", name), ("status", status.to_string())])
        };
        // A hook may give a rejection another status.
        let usual = code.filter(|code| code.status() == status);
        match usual.and_then(|code| self.by_code.get(code as usize)) {
            Some(slot) => slot.get_or_init(series).inc(),
            None => series().inc(),
        };
    }
}

/// Registers a counter; its name gets `_total` appended.
pub fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// Registers one counter for each value of a label.
pub fn labelled<const N: usize>(
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

fn count(counters: &[Option<Counter>], hook: Hook) {
    if let Some(Some(counter)) = counters.get(hook as usize) {
        counter.inc();
    }
}

/// One counter for each hook.
fn hooks(registry: &mut Registry, name: &str, help: &str) -> [Counter; Hook::ALL.len()] {
    labelled(registry, name, help, "hook", Hook::ALL.map(Hook::name))
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
