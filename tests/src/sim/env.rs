//! What all parts of a run share: the clock, the source of decisions, the network, the locks, the disk, and
//! those who look on.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tus_proto::{Instant, LockCall, LockEvent, LockReply, LockTable, Now, OpId, Owner, WallTime};
use tus_redb::sim::SimDisk;

use super::{Report, network::Link, oracle::Oracle, plan::Plan, trace};
use crate::choice::Choice;

/// Names a connection, in the order of their beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

#[derive(Debug)]
pub(super) struct Env {
    pub(super) plan: Plan,
    pub(super) choice: Choice,
    /// What decides which protocol a request speaks: apart from the rest, which so is the same in either.
    pub(super) dialect: Choice,
    pub(super) now: Now,
    pub(super) disk: SimDisk,
    pub(super) links: BTreeMap<LinkId, Link>,
    /// Who uses which connection: a client's index.
    pub(super) users: BTreeMap<LinkId, usize>,
    pub(super) locks: LockTable,
    /// What the lock service has told and nobody has heard yet.
    pub(super) lock_events: BTreeMap<Owner, VecDeque<LockEvent>>,
    pub(super) oracle: Oracle,
    pub(super) report: Report,
    /// The faults have ended: from here on everything must come to its end.
    pub(super) over: bool,
    /// How many of the disk's faults are in the report.
    pub(super) faults_counted: u64,
    /// The last step after which the disk had less room than everybody needs.
    pub(super) tight_at: u64,
    /// A thread of the store has hung: who waited for it may have been turned away meanwhile.
    pub(super) hung: bool,
    last_owner: u64,
    last_link: u64,
    traced: bool,
}

impl Env {
    pub(super) fn new(choice: Choice, plan: Plan, locks: LockTable, disk: SimDisk, traced: bool) -> Self {
        let oracle = Oracle::new(&plan);
        Self {
            plan,
            dialect: choice.clone(),
            choice,
            now: Now {
                monotonic: Instant::from_micros(0),
                wall: WallTime::from_micros(1_700_000_000_000_000),
                date: WallTime::from_micros(1_700_000_000_000_000),
            },
            disk,
            links: BTreeMap::new(),
            users: BTreeMap::new(),
            locks,
            lock_events: BTreeMap::new(),
            oracle,
            report: Report::default(),
            over: false,
            faults_counted: 0,
            tight_at: 0,
            hung: false,
            last_owner: 0,
            last_link: 0,
            traced,
        }
    }

    /// Adds a line to the trace, where there is one.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.traced {
            trace::add(&format!("{:>12} {}", self.now.monotonic.as_micros(), line()));
        }
    }

    /// Whether a fault happens that does so many times in a hundred.
    pub(super) fn fault(&mut self, percent: u64) -> bool {
        !self.over && percent > 0 && self.choice.percent(percent)
    }

    pub(super) fn new_owner(&mut self) -> Owner {
        self.last_owner += 1;
        Owner(self.last_owner)
    }

    pub(super) fn new_link(&mut self, client: usize) -> LinkId {
        self.last_link += 1;
        let id = LinkId(self.last_link);
        self.links.insert(id, Link::default());
        self.users.insert(id, client);
        id
    }

    /// Random bytes for an exchange, never the same twice.
    pub(super) fn entropy(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&(self.choice.below(1 << 16) as u16).to_be_bytes());
        bytes[2..].copy_from_slice(&self.last_owner.to_be_bytes());
        bytes
    }

    pub(super) fn set_clock(&mut self, at: Instant) {
        let passed = at.since(self.now.monotonic);
        self.now =
            Now { monotonic: at, wall: self.now.wall.after(passed), date: self.now.date.after(passed) };
    }

    /// Somebody sets the calendar: what lives by the time that passes takes no notice.
    pub(super) fn set_calendar(&mut self) {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let days = self.choice.below(40);
        // Never before the beginning of the run.
        self.now.date = self.now.wall.after(DAY * days as u32);
        self.report.faults += 1;
        self.note(|| format!("the calendar is {days} days ahead"));
    }

    /// The time so much later.
    pub(super) fn later(&self, by: Duration) -> Instant {
        self.now.monotonic.after(by)
    }

    /// Whether the server could know that this connection's client sends nothing more, and that it has not sent all.
    pub(super) fn has_left(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.cut_short && link.up.has_ended() && !link.broken)
    }

    /// Makes a lock call, if the service can be reached.
    pub(super) fn lock(&mut self, owner: Owner, op: OpId, call: LockCall) {
        let optional = matches!(call, LockCall::Acquire { .. } | LockCall::Renew { .. });
        if optional && self.fault(self.plan.faults.lockless) {
            self.note(|| format!("{owner:?} can't reach the lock service"));
            self.report.faults += 1;
            let unreachable = LockEvent::Reply(op, LockReply::Unavailable);
            return self.lock_events.entry(owner).or_default().push_back(unreachable);
        }
        self.oracle.locks.on_call(self.now.monotonic, owner, &call);
        self.locks.call(self.now.monotonic, owner, op, call);
        self.spread_lock_events();
    }

    /// Lets waits and grants run out.
    pub(super) fn expire_locks(&mut self) {
        if self.locks.deadline().is_some_and(|at| at <= self.now.monotonic) {
            self.locks.timeout(self.now.monotonic);
            assert!(
                self.locks.deadline().is_none_or(|at| at > self.now.monotonic),
                "the lock table's deadline does not advance"
            );
            self.spread_lock_events();
        }
    }

    fn spread_lock_events(&mut self) {
        while let Some((owner, event)) = self.locks.poll() {
            self.note(|| format!("{owner:?} shall hear {event:?}"));
            self.oracle.locks.on_event(self.now.monotonic, owner, &event);
            let unasked = !matches!(event, LockEvent::Reply(..));
            if unasked && self.plan.faults.remote_locks && !self.over && self.choice.one_in(3) {
                self.report.faults += 1;
                continue;
            }
            self.lock_events.entry(owner).or_default().push_back(event);
        }
    }
}
