//! The outbox: the events that are kept until they are acknowledged.
//!
//! With eventual durability an event is shown only when it is durable. So nothing outside of the store acts on an event that
//! then falls back; and what a flush has to take back was not shown before.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use redb::{ReadTransaction, ReadableDatabase, ReadableTable};
use tus_driver::{DueEvents, EventKind, EventKinds as Events, EventQuery, OutboxEvent};
use tus_proto::{Completion, Failure, UploadId, WallTime};

use crate::{
    error::Error,
    mutex::lock,
    options::Durability,
    records::database::{DUE_EVENTS, EVENTS},
    store::{Store, change::Change},
    tables::event_codec::{Stored, damaged, stored},
};

impl Store {
    /// The first event of each upload that is due at `now`, the longest due first; of one upload only if the query names one.
    /// The completion of an upload that is to be put into one file is held back until it is, unless there is no space for
    /// that: hooks want one file. Waits for a commit that is under way.
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
            // A damaged event must not delay the others.
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

    /// At most `limit` events in the order of their numbers, due or not, after number `after`. Reads the whole outbox, so it
    /// is for inspection. Waits for a commit that is under way.
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

    /// Keeps these events from now on, whatever the options say: for callers that learn only after opening which events will
    /// be acknowledged.
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

    /// Removes a complete upload, for example once it is published, and keeps no event of the removal. Returns whether there
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
        // Another holder of the writer's lock meets the same error, and reopens the records.
        let Ok(mut writer) = self.writer.try_lock() else { return Err(failure) };
        self.reopen(&mut writer)?;
        lock(&self.live).events().map_err(|trouble| self.staging.note(trouble))
    }
}
