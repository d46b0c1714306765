//! Events: what became of uploads, kept until somebody has been told of it.
//!
//! An event is written in the transaction that makes it true, so it is there exactly when that is. Its number says
//! in which order things came true. No number is given twice, also where an event falls back with the power: the
//! numbers of an opening are above those of all openings before, as its data files' and fencing numbers are.
//!
//! With eventual durability an event is shown only when it is durable. So whoever acts on it, outside of the store,
//! never acts on what then falls back; and what a flush has to take back was not shown before.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use redb::{ReadTransaction, ReadableDatabase, ReadableTable};
use tus_driver::{DueEvents, EventQuery};
pub use tus_driver::{EventKind, EventKinds as Events, OutboxEvent};
use tus_proto::{Completion, Concat, Failure, Record, UploadId, WallTime};

use crate::{
    admin::finding::Finding,
    error::Error,
    records::{
        apply::{Outcome, Tables, changed, unchanged},
        change::Change,
        codec::{Decoder, Encoder},
        database::{self, DUE_EVENTS, EVENTS},
        record::{Row, decode_explicit, encode_explicit},
    },
    store::{Durability, Store, lock},
};

/// An event in its table: from when on it is due, how often it was put off, what it is, and its note.
struct Stored {
    due: u64,
    attempts: u32,
    event: OutboxEvent,
    note: Option<Vec<u8>>,
}

impl Store {
    /// The first event of each upload that is due at `now`, the longest due first; of one upload alone if one is named. An
    /// upload that is about to be put into one file has none before it is, unless there is no space for that: whoever
    /// consumes it wants one file. Waits for a commit that is under way.
    pub(crate) fn due_events(&self, query: &EventQuery) -> Result<DueEvents, Failure> {
        let full = self.is_full();
        self.read_outbox(|this, txn| match &query.upload {
            Some(id) => this.due_event_of(txn, id, query.now, full),
            None => this.all_due_events(txn, query, full),
        })
    }

    fn all_due_events(
        &self,
        txn: &ReadTransaction,
        query: &EventQuery,
        full: bool,
    ) -> Result<DueEvents, Error> {
        let (events, mut due) = (txn.open_table(EVENTS)?, DueEvents::default());
        for entry in txn.open_table(DUE_EVENTS)?.iter()? {
            let (key, id) = entry?;
            let (from, number) = key.value();
            if from > query.now.as_micros() {
                due.next = Some(WallTime::from_micros(from));
                break;
            }
            let bytes = events.get((id.value(), number))?;
            due.events.extend(self.offered(
                number,
                bytes.map(|bytes| stored(number, bytes.value())),
                full,
            )?);
            if due.events.len() >= query.limit {
                break;
            }
        }
        Ok(due)
    }

    fn due_event_of(
        &self,
        txn: &ReadTransaction,
        id: &UploadId,
        now: WallTime,
        full: bool,
    ) -> Result<DueEvents, Error> {
        let events = txn.open_table(EVENTS)?;
        let first = events.range((id.as_str(), 0)..=(id.as_str(), u64::MAX))?.next().transpose()?;
        let Some((key, bytes)) = first else { return Ok(DueEvents::default()) };
        let (_, number) = key.value();
        let stored = stored(number, bytes.value());
        if let Some(Stored { due, .. }) = &stored
            && *due > now.as_micros()
        {
            return Ok(DueEvents { events: Vec::new(), next: Some(WallTime::from_micros(*due)) });
        }
        let events = self.offered(number, Some(stored), full)?.into_iter().collect();
        Ok(DueEvents { events, next: None })
    }

    /// An event that is due, if it may be shown already.
    fn offered(
        &self,
        number: u64,
        stored: Option<Option<Stored>>,
        full: bool,
    ) -> Result<Option<OutboxEvent>, Error> {
        if number > self.shown_up_to() {
            return Ok(None);
        }
        let Some(Some(Stored { event, attempts, .. })) = stored else {
            // It must not stand in the way of the others.
            self.staging.note(damaged(number));
            return Ok(None);
        };
        let awaits_one_file =
            event.kind == EventKind::Completed && !full && self.awaits_one_file(&event.record.id)?;
        Ok((!awaits_one_file).then_some(OutboxEvent { attempts, ..event }))
    }

    /// Up to which number events are shown: those that are not durable yet come with the next flush.
    fn shown_up_to(&self) -> u64 {
        match self.options.durability {
            Durability::Strict => u64::MAX,
            Durability::Eventual => self.settled.load(Ordering::Acquire),
        }
    }

    /// At most `limit` events in the order of their numbers, due or not, after number `after`. Reads the whole outbox: for
    /// who looks into a store. Waits for a commit that is under way.
    pub fn outbox(&self, after: u64, limit: usize) -> Result<Vec<OutboxEvent>, Failure> {
        let until = self.shown_up_to();
        self.read_outbox(|this, txn| {
            let mut first = BTreeMap::new();
            for entry in txn.open_table(EVENTS)?.iter()? {
                let (key, bytes) = entry?;
                let (_, number) = key.value();
                if number <= after || number > until {
                    continue;
                }
                match stored(number, bytes.value()) {
                    Some(Stored { event, attempts, .. }) => {
                        first.insert(number, OutboxEvent { attempts, ..event });
                        if first.len() > limit {
                            first.pop_last();
                        }
                    }
                    None => drop(this.staging.note(damaged(number))),
                }
            }
            Ok(first.into_values().collect())
        })
    }

    fn read_outbox<T>(
        &self,
        read: impl FnOnce(&Self, &ReadTransaction) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        let found = database.begin_read().map_err(Error::from).and_then(|txn| read(self, &txn));
        found.map_err(|trouble| self.give_up(&mut writer, database, trouble))
    }

    /// The time now: from when on the events of what is committed next are due.
    pub(crate) fn tell_time(&self, now: WallTime) {
        self.now.fetch_max(now.as_micros(), Ordering::Relaxed);
    }

    /// Keeps these events from now on, whatever the options say: for who learns only then which ones somebody will
    /// acknowledge.
    pub fn keep_events(&self, events: Events) {
        *lock(&self.events) = events;
    }

    /// Whether an event is shown as soon as it is committed; otherwise with the next flush.
    pub(crate) fn shows_events_at_once(&self) -> bool {
        self.options.durability == Durability::Strict
    }

    /// Gives an event a note, in place of the one it may have, that is kept as long as the event is. Once this returns,
    /// the note survives a power cut, in either durability. Returns whether there is such an event.
    pub fn annotate(&self, id: &UploadId, number: u64, note: &[u8]) -> Result<bool, Failure> {
        let change = Change::Annotate { id: id.clone(), number, note: note.to_owned() };
        match self.commit(&[change]).pop() {
            Some(Completion::Exists) => {
                if self.options.durability == Durability::Eventual {
                    self.flush()?;
                }
                Ok(true)
            }
            Some(Completion::Failed(failure)) => Err(failure),
            _ => Ok(false),
        }
    }

    /// The note of an event; `None` if there is no such event, or it has none.
    pub fn note(&self, id: &UploadId, number: u64) -> Result<Option<Vec<u8>>, Failure> {
        self.read_outbox(|_, txn| {
            let events = txn.open_table(EVENTS)?;
            let bytes = events.get((id.as_str(), number))?;
            Ok(bytes.and_then(|bytes| stored(number, bytes.value())?.note))
        })
    }

    /// Removes a complete upload that the server has made something of, and keeps no event of that. Returns whether there
    /// was one.
    pub fn consume(&self, id: &UploadId) -> Result<bool, Failure> {
        match self.commit(&[Change::Consume { id: id.clone() }]).pop() {
            Some(Completion::Deleted) => Ok(true),
            Some(Completion::Failed(failure)) => Err(failure),
            _ => Ok(false),
        }
    }

    /// How many completion events are kept, counted up to `most` events; `None` while the records are compacted. Waits for
    /// no commit.
    ///
    /// # Errors
    /// The disk's.
    pub fn count_completions(&self, most: u64) -> Result<Option<u64>, Failure> {
        if self.is_compacting() {
            return Ok(None);
        }
        let count = || {
            let snapshot = self.snapshot()?;
            let (mut count, mut seen) = (0, 0);
            for entry in snapshot.transaction.open_table(EVENTS)?.iter()? {
                let (key, bytes) = entry?;
                let event = stored(key.value().1, bytes.value()).map(|stored| stored.event);
                count += u64::from(event.is_some_and(|event| event.kind == EventKind::Completed));
                seen += 1;
                if seen == most {
                    break;
                }
            }
            Ok(Some(count))
        };
        count().map_err(|trouble: Error| self.staging.note(trouble))
    }

    /// How many events are kept, shown or not. As cheap as [`Self::load`].
    pub fn outbox_len(&self) -> Result<u64, Failure> {
        let counted = lock(&self.live).events();
        let failure = match counted {
            Ok(count) => return Ok(count),
            Err(trouble) => self.staging.note(trouble),
        };
        // Whoever holds the writer's lock will meet the same trouble, and reopen the records.
        let Ok(mut writer) = self.writer.try_lock() else { return Err(failure) };
        self.reopen(&mut writer)?;
        lock(&self.live).events().map_err(|trouble| self.staging.note(trouble))
    }
}

impl Tables<'_> {
    /// Writes an event, if it is of a kind that is kept.
    pub(crate) fn post(&mut self, kind: EventKind, id: &UploadId, row: &Row) -> Result<(), Error> {
        let kept = match kind {
            EventKind::Created => self.keeps.events.created,
            EventKind::Completed => self.keeps.events.completed,
            EventKind::Terminated => self.keeps.events.terminated,
        };
        if kept {
            let number = database::next_event(self.txn)?;
            let event = OutboxEvent { number, kind, record: row.record(id), attempts: 0 };
            self.put_event(&event, self.keeps.now)?;
            self.effects.events.push(id.clone());
            self.note_more();
        }
        Ok(())
    }

    /// Adds an event that is due from `due` on; but not before those of its upload that are there already.
    pub(crate) fn put_event(&mut self, event: &OutboxEvent, due: u64) -> Result<(), Error> {
        let (id, number) = (event.record.id.as_str(), event.number);
        let is_first = self.first_event(&event.record.id)?.is_none();
        self.txn.open_table(EVENTS)?.insert((id, number), encode(due, event).as_slice())?;
        if is_first {
            self.txn.open_table(DUE_EVENTS)?.insert((due, number), id)?;
        }
        Ok(())
    }

    /// Number and bytes of an upload's first event.
    pub(crate) fn first_event(&self, id: &UploadId) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let events = self.txn.open_table(EVENTS)?;
        let first = events.range((id.as_str(), 0)..=(id.as_str(), u64::MAX))?.next().transpose()?;
        Ok(first.map(|(key, bytes)| (key.value().1, bytes.value().to_vec())))
    }

    pub(crate) fn acknowledge(&mut self, id: &UploadId, number: u64) -> Result<Outcome, Error> {
        if !self.remove_event(id, number)? {
            return Ok(unchanged(Completion::Missing));
        }
        self.note_more();
        Ok(changed(Completion::Deleted))
    }

    /// The same for who knows the number alone, in a journal of format 3.
    pub(crate) fn acknowledge_number(&mut self, number: u64) -> Result<Outcome, Error> {
        let mut id = None;
        for entry in self.txn.open_table(EVENTS)?.iter()? {
            let (key, _) = entry?;
            if key.value().1 == number {
                id = UploadId::new(key.value().0);
                break;
            }
        }
        id.map_or(Ok(unchanged(Completion::Missing)), |id| self.acknowledge(&id, number))
    }

    pub(crate) fn annotate(&mut self, id: &UploadId, number: u64, note: &[u8]) -> Result<Outcome, Error> {
        let mut events = self.txn.open_table(EVENTS)?;
        let before = events.get((id.as_str(), number))?.map(|bytes| stored(number, bytes.value()));
        let Some(before) = before else { return Ok(unchanged(Completion::Missing)) };
        let Stored { due, attempts, event, .. } = before.ok_or_else(|| damaged(number))?;
        let bytes = noted(encode(due, &OutboxEvent { attempts, ..event }), Some(note));
        events.insert((id.as_str(), number), bytes.as_slice())?;
        drop(events);
        self.note_more();
        Ok(changed(Completion::Exists))
    }

    /// Lets an upload's first event rest.
    pub(crate) fn postpone(&mut self, id: &UploadId, number: u64, until: WallTime) -> Result<Outcome, Error> {
        let first = self.first_event(id)?.filter(|(first, _)| *first == number);
        let Some(Stored { due, attempts, event, note }) = first.and_then(|(_, bytes)| stored(number, &bytes))
        else {
            return Ok(unchanged(Completion::Missing));
        };
        let event = OutboxEvent { attempts: attempts.saturating_add(1), ..event };
        let until = until.as_micros();
        let bytes = noted(encode(until, &event), note.as_deref());
        self.txn.open_table(EVENTS)?.insert((id.as_str(), number), bytes.as_slice())?;
        let mut by_time = self.txn.open_table(DUE_EVENTS)?;
        by_time.remove((due, number))?;
        by_time.insert((until, number), id.as_str())?;
        self.note_more();
        Ok(changed(Completion::Committed { offset: event.record.offset }))
    }

    /// Removes an event; the upload's next one takes its place. Returns whether it was there.
    pub(crate) fn remove_event(&mut self, id: &UploadId, number: u64) -> Result<bool, Error> {
        let mut events = self.txn.open_table(EVENTS)?;
        let removed = events.remove((id.as_str(), number))?.map(|bytes| bytes.value().to_vec());
        drop(events);
        let Some(bytes) = removed else { return Ok(false) };
        let mut by_time = self.txn.open_table(DUE_EVENTS)?;
        if let Some(due) = due_of(&bytes) {
            by_time.remove((due, number))?;
        }
        if let Some((next, bytes)) = self.first_event(id)?
            && let Some(due) = due_of(&bytes)
        {
            by_time.insert((due, next), id.as_str())?;
        }
        Ok(true)
    }

    /// Removes the damaged events that were found, and makes the index of due events anew if it was wrong.
    pub(crate) fn correct_events(&mut self, findings: &[Finding]) -> Result<(), Error> {
        let is_event = |finding: &&Finding| {
            matches!(finding, Finding::DamagedEvent { .. } | Finding::WrongDueEvent { .. })
        };
        let damaged: Vec<_> = findings.iter().filter(is_event).collect();
        if damaged.is_empty() {
            return Ok(());
        }
        let mut events = self.txn.open_table(EVENTS)?;
        events.retain(|(_, number), _| {
            !damaged
                .iter()
                .any(|finding| matches!(finding, Finding::DamagedEvent { number: of } if *of == number))
        })?;
        let mut by_time = self.txn.open_table(DUE_EVENTS)?;
        by_time.retain(|_, _| false)?;
        let mut last = None;
        for entry in events.iter()? {
            let (key, bytes) = entry?;
            let (id, number) = key.value();
            if last.as_deref() != Some(id)
                && let Some(due) = due_of(bytes.value())
            {
                by_time.insert((due, number), id)?;
                last = Some(id.to_owned());
            }
        }
        Ok(())
    }

    /// Takes back, of the events after number `settled`, those that say that the uploads which fell back in this
    /// transaction are complete.
    pub(crate) fn retract(&mut self, settled: u64) -> Result<(), Error> {
        for id in std::mem::take(&mut self.effects.fallen) {
            let mut untrue = Vec::new();
            let events = self.txn.open_table(EVENTS)?;
            for entry in events.range((id.as_str(), settled.saturating_add(1))..=(id.as_str(), u64::MAX))? {
                let (key, bytes) = entry?;
                let (_, number) = key.value();
                let event = stored(number, bytes.value()).map(|stored| stored.event);
                if event.is_some_and(|event| event.kind == EventKind::Completed) {
                    untrue.push(number);
                }
            }
            drop(events);
            for number in untrue {
                self.remove_event(&id, number)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn damaged(number: u64) -> Error {
    Error::damaged(&format!("event {number}"))
}

/// In an event's kind: its record has [`Explicit`](tus_proto::Explicit).
const EXPLICIT: u8 = 0x80;

/// Before what an event is: from when on it is due, and how often it was put off.
fn encode(due: u64, OutboxEvent { kind, record, attempts, .. }: &OutboxEvent) -> Vec<u8> {
    let mut bytes = Encoder::default();
    bytes.number(due).number((*attempts).into());
    let explicit = if record.explicit.is_some() { EXPLICIT } else { 0 };
    bytes.byte(
        explicit
            | match kind {
                EventKind::Completed => 0,
                EventKind::Terminated => 1,
                EventKind::Created => 2,
            },
    );
    bytes.text(record.id.as_str()).number(record.created.as_micros()).number(record.offset);
    bytes.optional(record.length).text(&record.metadata).optional(record.expires.map(WallTime::as_micros));
    match &record.concat {
        None => bytes.byte(0),
        Some(Concat::Partial) => bytes.byte(1),
        Some(Concat::Final(header)) => {
            bytes.byte(2).text(header);
            &mut bytes
        }
    };
    if let Some(explicit) = &record.explicit {
        encode_explicit(explicit, &mut bytes);
    }
    bytes.0
}

/// From when on an event is due.
fn due_of(bytes: &[u8]) -> Option<u64> {
    Decoder(bytes).number()
}

/// `None` if the bytes are damaged.
fn stored(number: u64, bytes: &[u8]) -> Option<Stored> {
    let mut bytes = Decoder(bytes);
    let (due, attempts) = (bytes.number()?, u32::try_from(bytes.number()?).ok()?);
    let (event, note) = split(number, bytes.0)?;
    Some(Stored { due, attempts, event, note: note.map(<[u8]>::to_vec) })
}

/// An event's bytes with a note after them.
fn noted(event: Vec<u8>, note: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Encoder(event);
    if let Some(note) = note {
        bytes.bytes(note);
    }
    bytes.0
}

/// Whether the bytes are an event's, and from when on it is due.
pub(crate) fn check(number: u64, bytes: &[u8]) -> Option<u64> {
    stored(number, bytes).map(|stored| stored.due)
}

/// What an event is. `None` if the bytes are damaged.
pub(crate) fn decode(number: u64, bytes: &[u8]) -> Option<OutboxEvent> {
    split(number, bytes).map(|(event, _)| event)
}

/// What an event is, and the note after it, if it has one.
fn split(number: u64, bytes: &[u8]) -> Option<(OutboxEvent, Option<&[u8]>)> {
    let mut bytes = Decoder(bytes);
    let tag = bytes.byte()?;
    let explicit = tag & EXPLICIT != 0;
    let kind = match tag & !EXPLICIT {
        0 => EventKind::Completed,
        1 => EventKind::Terminated,
        2 => EventKind::Created,
        _ => return None,
    };
    let mut record = Record {
        id: UploadId::new(bytes.text()?)?,
        created: WallTime::from_micros(bytes.number()?),
        offset: bytes.number()?,
        length: bytes.optional()?,
        metadata: bytes.text()?.to_owned(),
        expires: bytes.optional()?.map(WallTime::from_micros),
        concat: match bytes.byte()? {
            0 => None,
            1 => Some(Concat::Partial),
            2 => Some(Concat::Final(bytes.text()?.to_owned())),
            _ => return None,
        },
        explicit: None,
    };
    if explicit {
        record.explicit = Some(decode_explicit(&mut bytes)?);
    }
    let note = if bytes.is_empty() { None } else { Some(bytes.bytes()?) };
    bytes.is_empty().then_some((OutboxEvent { number, kind, record, attempts: 0 }, note))
}
