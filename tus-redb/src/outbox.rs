//! Events: what became of uploads, kept until somebody has been told of it.
//!
//! An event is written in the transaction that makes it true, so it is there exactly when that is. Its number says
//! in which order things came true. No number is given twice, also where an event falls back with the power: the
//! numbers of an opening are above those of all openings before, as its data files' and fencing numbers are.
//!
//! With eventual durability an event is shown only when it is durable. So whoever acts on it, outside of the store,
//! never acts on what then falls back; and what a flush has to take back was not shown before.

use std::{ops::Bound, sync::atomic::Ordering};

use redb::{ReadableDatabase, ReadableTable};
pub use tus_driver::{EventKind, EventKinds as Events, OutboxEvent as Entry};
use tus_proto::{Completion, Concat, Failure, Record, UploadId, WallTime};

use crate::{
    apply::{Outcome, Tables, changed, unchanged},
    codec::{Decoder, Encoder},
    database::{self, OUTBOX},
    error::Trouble,
    record::{Row, decode_explicit, encode_explicit},
    store::{Durability, Store, lock},
};

impl Store {
    /// At most `limit` events in their order, from the one behind number `after` on. Those that are not durable
    /// yet come with the next flush. Waits for a commit that is under way.
    pub fn outbox(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Failure> {
        let until = match self.options.durability {
            Durability::Strict => u64::MAX,
            Durability::Eventual => self.settled.load(Ordering::Acquire),
        };
        if after >= until {
            return Ok(Vec::new());
        }
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        let read = || {
            let table = database.begin_read()?.open_table(OUTBOX)?;
            let mut entries = Vec::new();
            for entry in table.range((Bound::Excluded(after), Bound::Included(until)))?.take(limit) {
                let (number, bytes) = entry?;
                match decode(number.value(), bytes.value()) {
                    Some(entry) => entries.push(entry),
                    // It must not stand in the way of the others.
                    None => drop(self.staging.note(damaged(number.value()))),
                }
            }
            Ok(entries)
        };
        let found = read();
        found.map_err(|trouble| self.give_up(&mut writer, database, trouble))
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
    pub(crate) fn post(&mut self, kind: EventKind, id: &UploadId, row: &Row) -> Result<(), Trouble> {
        let kept = match kind {
            EventKind::Completed => self.keeps.events.completed,
            EventKind::Terminated => self.keeps.events.terminated,
        };
        if kept {
            let number = database::next_event(self.txn)?;
            self.txn.open_table(OUTBOX)?.insert(number, encode(kind, &row.record(id)).as_slice())?;
            self.effects.events.push(id.clone());
            self.note_more();
        }
        Ok(())
    }

    pub(crate) fn acknowledge(&mut self, number: u64) -> Result<Outcome, Trouble> {
        let known = self.txn.open_table(OUTBOX)?.remove(number)?.is_some();
        self.note_more();
        Ok(if known { changed(Completion::Deleted) } else { unchanged(Completion::Missing) })
    }

    /// Takes back, of the events behind number `settled`, those that say that the uploads which fell back in this
    /// transaction are complete.
    pub(crate) fn retract(&mut self, settled: u64) -> Result<(), Trouble> {
        let fallen = std::mem::take(&mut self.effects.fallen);
        if fallen.is_empty() {
            return Ok(());
        }
        let mut table = self.txn.open_table(OUTBOX)?;
        let mut untrue = Vec::new();
        for entry in table.range((Bound::Excluded(settled), Bound::Unbounded))? {
            let (number, bytes) = entry?;
            let event = decode(number.value(), bytes.value());
            if event
                .is_some_and(|event| event.kind == EventKind::Completed && fallen.contains(&event.record.id))
            {
                untrue.push(number.value());
            }
        }
        for number in untrue {
            table.remove(number)?;
        }
        Ok(())
    }
}

pub(crate) fn damaged(number: u64) -> Trouble {
    Trouble::damaged(&format!("event {number}"))
}

fn encode(kind: EventKind, record: &Record) -> Vec<u8> {
    let mut bytes = Encoder::default();
    bytes.byte(match kind {
        EventKind::Completed => 0,
        EventKind::Terminated => 1,
    });
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

/// None where the bytes are damaged.
pub(crate) fn decode(number: u64, bytes: &[u8]) -> Option<Entry> {
    let mut bytes = Decoder(bytes);
    let kind = match bytes.byte()? {
        0 => EventKind::Completed,
        1 => EventKind::Terminated,
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
    if !bytes.is_empty() {
        record.explicit = Some(decode_explicit(&mut bytes)?);
    }
    bytes.is_empty().then_some(Entry { number, kind, record, attempts: 0 })
}
