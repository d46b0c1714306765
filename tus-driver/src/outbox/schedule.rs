//! The schedule of deliveries: a state machine that reads no clock and no store, and calls nobody. Its runtime carries out
//! each [`Action`] and says what became of it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tus_proto::{Failure, Instant, Now, UploadId, WallTime};

use crate::{Change, DueEvents, EventQuery, OutboxEvent};

/// How long a delivery that failed rests.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// After the first failure. It doubles with each further one.
    pub first: Duration,
    /// At the most.
    pub longest: Duration,
}

impl Pauses {
    /// These pauses; `first` is at least a millisecond, and `longest` at least `first`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        Self { first, longest: longest.max(first) }
    }

    /// The pause after so many failures.
    pub fn after(self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Read the outbox ([`Store::due_events`](crate::Store::due_events)); [`Schedule::on_read`] is next.
    Read(EventQuery),
    /// Deliver an event; [`Schedule::on_delivered`] is next.
    Deliver(OutboxEvent),
    /// Have the store acknowledge this event of this upload, or put it off; [`Schedule::on_settled`] is next.
    Settle(Settlement),
}

/// What the store is to be told of an event whose delivery has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The event's upload.
    pub id: UploadId,
    /// The event's number.
    pub number: u64,
    /// Until when it is put off; `None` if it was delivered.
    pub until: Option<WallTime>,
}

impl Settlement {
    /// The change that records it in the store.
    pub fn change<T>(self) -> Change<T> {
        let Self { id, number, until } = self;
        match until {
            None => Change::Acknowledge { id, number },
            Some(until) => Change::Postpone { id, number, until },
        }
    }
}

/// The schedule of deliveries from one outbox.
#[derive(Debug)]
pub struct Schedule {
    pauses: Pauses,
    /// How many deliveries may run at once.
    limit: usize,
    /// The uploads of which an event is under way.
    busy: BTreeMap<UploadId, UnderWay>,
    actions: VecDeque<Action>,
    /// There may be due events that were not read.
    news: bool,
    reading: bool,
    /// When the next event is due that was put off.
    next: Option<WallTime>,
    /// The store failed: when to ask it again, and how often it has.
    blocked: Option<(Instant, u32)>,
    /// What the store could not be told, and when to try again.
    again: BTreeSet<(Instant, UploadId)>,
    stopped: bool,
}

/// An event under way.
#[derive(Debug)]
struct UnderWay {
    number: u64,
    /// How often it was put off before.
    attempts: u32,
    /// It has ended, and the store is to be told this.
    settlement: Option<Settlement>,
    /// How often that failed.
    failures: u32,
}

impl Schedule {
    /// A schedule of at most `limit` deliveries at once. It begins by looking what is there.
    pub fn new(limit: usize, pauses: Pauses) -> Self {
        Self {
            pauses,
            limit: limit.max(1),
            busy: BTreeMap::new(),
            actions: VecDeque::new(),
            news: true,
            reading: false,
            next: None,
            blocked: None,
            again: BTreeSet::new(),
            stopped: false,
        }
    }

    /// There may be new events.
    pub fn on_news(&mut self) {
        self.news = true;
    }

    /// Begins no further delivery.
    pub fn stop(&mut self) {
        self.stopped = true;
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Deliver(event) => drop(self.busy.remove(&event.record.id)),
                other => self.actions.push_back(other),
            }
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.busy.is_empty()
    }

    /// When [`poll`](Self::poll) has something to do by the clock alone.
    pub fn deadline(&self, now: Now) -> Option<Instant> {
        let again = self.again.first().map(|(at, _)| *at);
        let read = match self.blocked {
            _ if self.stopped || self.reading || self.busy.len() >= self.limit => None,
            Some((at, _)) => Some(at),
            None => self.next.map(|next| {
                let left = next.as_micros().saturating_sub(now.wall.as_micros());
                now.monotonic.after(Duration::from_micros(left))
            }),
        };
        again.into_iter().chain(read).min()
    }

    /// What is to be done next.
    pub fn poll(&mut self, now: Now) -> Option<Action> {
        while self.again.first().is_some_and(|(at, _)| *at <= now.monotonic)
            && let Some((_, id)) = self.again.pop_first()
        {
            let settlement = self.busy.get(&id).and_then(|delivery| delivery.settlement.clone());
            self.actions.extend(settlement.map(Action::Settle));
        }
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let due = self.news || self.next.is_some_and(|next| next <= now.wall);
        let blocked = self.blocked.is_some_and(|(at, _)| at > now.monotonic);
        if self.stopped || self.reading || blocked || !due || self.busy.len() >= self.limit {
            return None;
        }
        (self.reading, self.news, self.next) = (true, false, None);
        // The first events of busy uploads are among what is due.
        Some(Action::Read(EventQuery { now: now.wall, limit: self.limit, upload: None }))
    }

    /// The outbox was read.
    pub fn on_read(&mut self, now: Now, read: Result<DueEvents, Failure>) {
        self.reading = false;
        let Ok(DueEvents { events, next }) = read else {
            let failures = self.blocked.map_or(0, |(_, failures)| failures) + 1;
            self.blocked = Some((now.monotonic.after(self.pauses.after(failures)), failures));
            self.news = true;
            return;
        };
        self.blocked = None;
        self.next = next;
        // There may be more than were asked for. They are read when there is room for them.
        self.news |= events.len() >= self.limit;
        for event in events {
            if self.stopped || self.busy.len() >= self.limit || self.busy.contains_key(&event.record.id) {
                continue;
            }
            let (number, attempts) = (event.number, event.attempts);
            let delivery = UnderWay { number, attempts, settlement: None, failures: 0 };
            self.busy.insert(event.record.id.clone(), delivery);
            self.actions.push_back(Action::Deliver(event));
        }
    }

    /// The delivery of an upload's event has ended.
    pub fn on_delivered(&mut self, now: Now, id: &UploadId, delivered: bool) {
        let Some(delivery) = self.busy.get_mut(id) else { return };
        let pause = self.pauses.after(delivery.attempts.saturating_add(1));
        let until = (!delivered).then(|| now.wall.after(pause));
        let settlement = Settlement { id: id.clone(), number: delivery.number, until };
        delivery.settlement = Some(settlement.clone());
        self.actions.push_back(Action::Settle(settlement));
    }

    /// The store was told what became of an upload's event, or failed.
    pub fn on_settled(&mut self, now: Now, id: &UploadId, settled: Result<(), Failure>) {
        let Some(delivery) = self.busy.get_mut(id) else { return };
        if settled.is_err() {
            // Reading it again would deliver it again.
            delivery.failures = delivery.failures.saturating_add(1);
            let at = now.monotonic.after(self.pauses.after(delivery.failures));
            self.again.insert((at, id.clone()));
            return;
        }
        self.busy.remove(id);
        self.news = true;
    }
}

#[cfg(test)]
mod tests;
