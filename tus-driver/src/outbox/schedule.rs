//! In which order, and when, hooks are told the events of the outbox. A state machine: it reads no clock, no outbox,
//! and calls nobody: its runtime carries out each [`Action`] and says what became of it.
//!
//! An upload's events are told one after another, the next when the one before is acknowledged; those of different
//! uploads side by side. An upload whose hook fails waits, twice as long each time. At most [`WINDOW`] events are in
//! memory, at most half of them of uploads that wait: one more that fails is **forgotten**, and found again by a
//! *pass* over all that was read before, in the outbox's order. Passes come after growing pauses, too, and beside them
//! what is new is read with room of its own, so that a million events of a broken hook delay nobody else's.
//!
//! Forgetting endangers the order: a later event of a forgotten upload must not be told first. Only the
//! termination of a complete upload has a predecessor. Where something is forgotten, such an event is left to
//! the pass, which comes by the earlier one before it, and puts those that it forgets into a Bloom filter. A false
//! positive waits for the next pass, whose filter has another seed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tus_proto::{Failure, Instant, UploadId};

use crate::{EventKind, OutboxEvent};

use super::bloom::Bloom;

/// How many events are in memory at the most.
const WINDOW: usize = 256;

/// How many of them may wait; and how many that do not wait may be there before no more are read that are new,
const WAITING: usize = WINDOW / 2;
const NEW: usize = WINDOW / 2;
/// and before a pass reads no more.
const OLD: usize = WINDOW / 4;

/// How long a failed hook is left alone.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// After its first failure. It doubles with each further one.
    pub first: Duration,
    /// At the most.
    pub longest: Duration,
}

impl Pauses {
    fn after(self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the outbox; [`Schedule::on_read`] is next.
    Read {
        /// Events after this number,
        after: u64,
        /// and so many at the most.
        limit: usize,
    },
    /// Tell a hook.
    Tell(OutboxEvent),
    /// Remove this event of this upload from the outbox.
    Acknowledge(UploadId, u64),
}

/// What became of telling a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has taken note.
    Done,
    /// It failed.
    Failed,
    /// It was not told, for the time has not come yet.
    NotYet,
}

/// The schedule of deliveries from one outbox.
#[derive(Debug)]
pub struct Schedule {
    pauses: Pauses,
    /// How many hooks may run at once.
    threads: usize,
    running: usize,
    acknowledging: usize,
    /// Everything up to this number was read once; there may be more.
    read: u64,
    more: bool,
    /// The outbox could not be read: when to try again, and how often it has failed.
    blocked: Option<(Instant, u32)>,
    lanes: BTreeMap<UploadId, Lane>,
    /// How many events are in the lanes, and how many in those of uploads that wait.
    held: usize,
    waiting: usize,
    ready: [VecDeque<UploadId>; 2],
    /// Whose turn it is, of the new and the old.
    turn: usize,
    due: BTreeSet<(Instant, UploadId)>,
    acknowledge: VecDeque<(UploadId, u64)>,
    pass: Pass,
    /// How many passes in a row have forgotten something.
    futile: u32,
    stopped: bool,
}

/// Looking again at what was read before.
#[derive(Debug)]
enum Pass {
    /// Nothing is forgotten.
    None,
    /// Something is; the next one begins then.
    At(Instant),
    /// What is up to `after` was looked at; `until` is the last.
    Under { after: u64, until: u64, forgotten: Bloom, forgot: bool },
}

/// The events of an upload that are in memory, the earliest that is not acknowledged first.
#[derive(Debug)]
struct Lane {
    entries: VecDeque<OutboxEvent>,
    failures: u32,
    /// The first one was told, but could not be acknowledged yet.
    told: bool,
    waits: bool,
    /// A later event was forgotten: those behind it must not come before it.
    torn: bool,
}

const NEWS: usize = 0;
const AGAIN: usize = 1;

impl Schedule {
    /// Begins with an outbox whose last number is `last`.
    pub fn new(now: Instant, last: u64, threads: usize, pauses: Pauses) -> Self {
        Self {
            pauses,
            threads,
            running: 0,
            acknowledging: 0,
            read: last,
            more: true,
            blocked: None,
            lanes: BTreeMap::new(),
            held: 0,
            waiting: 0,
            ready: Default::default(),
            turn: NEWS,
            due: BTreeSet::new(),
            acknowledge: VecDeque::new(),
            // What is left from before this process is as if forgotten: it was read by nobody.
            pass: Pass::At(now),
            futile: 0,
            stopped: false,
        }
    }

    /// There may be new events.
    pub fn on_news(&mut self) {
        self.more = true;
    }

    /// No hook is told any more.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.running == 0 && self.acknowledging == 0 && self.acknowledge.is_empty()
    }

    /// When [`poll`](Self::poll) has something to do by the clock.
    pub fn deadline(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        let pass = if let Pass::At(at) = self.pass { Some(at) } else { None };
        let blocked = self.blocked.map(|(at, _)| at);
        let reading = if blocked.is_some() { blocked } else { pass };
        due.into_iter().chain(reading.filter(|_| !self.stopped)).min()
    }

    /// What is to be done next.
    pub fn poll(&mut self, now: Instant) -> Option<Action> {
        while self.due.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, id)) = self.due.pop_first()
        {
            self.resume(id);
        }
        if let Some((id, number)) = self.acknowledge.pop_front() {
            self.acknowledging += 1;
            return Some(Action::Acknowledge(id, number));
        }
        if self.stopped {
            return None;
        }
        if self.running < self.threads
            && let Some(entry) = self.next_ready()
        {
            self.running += 1;
            return Some(Action::Tell(entry));
        }
        if let Pass::At(at) = self.pass
            && at <= now
        {
            self.pass = Pass::Under { after: 0, until: self.read, forgotten: Bloom::new(), forgot: false };
        }
        self.next_read(now)
    }

    fn next_ready(&mut self) -> Option<OutboxEvent> {
        // In turns: neither a flood of new events nor one of failures shuts the other out.
        let other = 1 - self.turn;
        let id = self.ready[self.turn].pop_front().or_else(|| self.ready[other].pop_front())?;
        self.turn = other;
        self.lanes.get(&id)?.entries.front().cloned()
    }

    fn next_read(&mut self, now: Instant) -> Option<Action> {
        if self.blocked.is_some_and(|(at, _)| at > now) {
            return None;
        }
        let active = self.held - self.waiting;
        if self.more && active < NEW {
            return Some(Action::Read { after: self.read, limit: NEW - active });
        }
        match self.pass {
            Pass::Under { after, .. } if active < OLD => Some(Action::Read { after, limit: OLD - active }),
            _ => None,
        }
    }

    /// The outbox was read as [`Action::Read`] wanted it.
    pub fn on_read(&mut self, now: Instant, from: u64, read: Result<Vec<OutboxEvent>, Failure>) {
        let Ok(entries) = read else {
            let failures = self.blocked.map_or(0, |(_, failures)| failures) + 1;
            self.blocked = Some((now.after(self.pauses.after(failures)), failures));
            return;
        };
        self.blocked = None;
        // Fewer than asked for may be a damaged one among them.
        let whole = entries.is_empty();
        if self.more && from == self.read {
            self.more = !whole;
            for entry in entries {
                self.read = entry.number;
                self.take_new(now, entry);
            }
            return;
        }
        let Pass::Under { until, .. } = self.pass else { return };
        let ended = whole || entries.last().is_some_and(|entry| entry.number >= until);
        for entry in entries.into_iter().filter(|entry| entry.number <= until) {
            if let Pass::Under { after, .. } = &mut self.pass {
                *after = entry.number;
            }
            self.take_old(now, entry);
        }
        if ended && let Pass::Under { forgot, .. } = self.pass {
            self.pass = Pass::None;
            if forgot {
                self.pass_later(now);
            } else {
                self.futile = 0;
            }
        }
    }

    fn take_new(&mut self, now: Instant, entry: OutboxEvent) {
        if self.lanes.contains_key(&entry.record.id) {
            self.follow(now, entry);
        } else if may_follow(&entry) && !matches!(self.pass, Pass::None) {
            // What it follows may be forgotten.
            self.forgot(now, None);
        } else {
            self.begin(entry, NEWS);
        }
    }

    fn take_old(&mut self, now: Instant, entry: OutboxEvent) {
        let Pass::Under { forgotten, forgot, .. } = &mut self.pass else { return };
        let is_held = |lane: &Lane| lane.entries.back().is_some_and(|last| last.number >= entry.number);
        if forgotten.has(&entry.record.id) {
            *forgot = true;
        } else if let Some(lane) = self.lanes.get(&entry.record.id) {
            if !is_held(lane) {
                self.follow(now, entry);
            }
        } else {
            self.begin(entry, AGAIN);
        }
    }

    fn begin(&mut self, entry: OutboxEvent, queue: usize) {
        let id = entry.record.id.clone();
        let lane =
            Lane { entries: VecDeque::from([entry]), failures: 0, told: false, waits: false, torn: false };
        self.lanes.insert(id.clone(), lane);
        self.held += 1;
        self.ready[queue].push_back(id);
    }

    /// A new event of an upload of which there are others.
    fn follow(&mut self, now: Instant, entry: OutboxEvent) {
        let Some(lane) = self.lanes.get_mut(&entry.record.id) else { return };
        lane.torn |= lane.waits && self.waiting == WAITING;
        if lane.torn {
            return self.forgot(now, None);
        }
        self.waiting += usize::from(lane.waits);
        self.held += 1;
        lane.entries.push_back(entry);
    }

    /// A hook was told the first event of this upload.
    pub fn on_told(&mut self, now: Instant, id: &UploadId, told: Told) {
        self.running -= 1;
        let Some(lane) = self.lanes.get_mut(id) else { return };
        match (told, lane.entries.front()) {
            (Told::Done, Some(entry)) => {
                lane.told = true;
                lane.failures = 0;
                self.acknowledge.push_back((id.clone(), entry.number));
            }
            (Told::Failed, _) => {
                lane.failures = lane.failures.saturating_add(1);
                self.wait(now, id);
            }
            (Told::NotYet, _) | (Told::Done, None) => self.wait(now, id),
        }
    }

    /// The first event of this upload is out of the outbox, or could not be removed.
    pub fn on_acknowledged(&mut self, now: Instant, id: &UploadId, done: bool) {
        self.acknowledging -= 1;
        let Some(lane) = self.lanes.get_mut(id) else { return };
        if !done {
            lane.failures = lane.failures.saturating_add(1);
            return self.wait(now, id);
        }
        lane.entries.pop_front();
        (lane.told, lane.failures) = (false, 0);
        self.held -= 1;
        if lane.entries.is_empty() {
            self.lanes.remove(id);
        } else {
            self.ready[NEWS].push_back(id.clone());
        }
    }

    /// Lets an upload wait, or forgets it where too many wait already.
    fn wait(&mut self, now: Instant, id: &UploadId) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let count = lane.entries.len();
        if self.waiting + count <= WAITING {
            lane.waits = true;
            self.waiting += count;
            let at = now.after(self.pauses.after(lane.failures));
            self.due.insert((at, id.clone()));
        } else {
            self.lanes.remove(id);
            self.held -= count;
            self.forgot(now, Some(id));
        }
    }

    /// An upload has waited long enough.
    fn resume(&mut self, id: UploadId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.waits = false;
        self.waiting -= lane.entries.len();
        match lane.entries.front() {
            Some(entry) if lane.told => self.acknowledge.push_back((id, entry.number)),
            _ => self.ready[AGAIN].push_back(id),
        }
    }

    /// An event is not in memory and not told: a pass must find it, after the one that is under way.
    fn forgot(&mut self, now: Instant, id: Option<&UploadId>) {
        match &mut self.pass {
            Pass::None => self.pass_later(now),
            Pass::At(_) => {}
            Pass::Under { forgotten, forgot, .. } => {
                *forgot = true;
                if let Some(id) = id {
                    forgotten.set(id);
                }
            }
        }
    }

    fn pass_later(&mut self, now: Instant) {
        self.futile = self.futile.saturating_add(1);
        self.pass = Pass::At(now.after(self.pauses.after(self.futile)));
    }
}

/// Whether there may be an earlier event of the same upload.
fn may_follow(entry: &OutboxEvent) -> bool {
    entry.kind == EventKind::Terminated && entry.record.is_complete()
}

#[cfg(test)]
mod tests;
