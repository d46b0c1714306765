//! Events in the tables: what became of uploads, kept until it is acknowledged. Reading them is in `store/outbox.rs`.
//!
//! An event is written in the transaction that makes it true, so it is there exactly when that is. Its number says
//! in which order things came true. No number is given twice, also where an event falls back with the power: the
//! numbers of an opening are above those of all openings before, as its data files' and fencing numbers are.

use std::collections::BTreeSet;

use redb::ReadableTable;
use tus_driver::{EventKind, OutboxEvent};
use tus_proto::{Completion, UploadId, WallTime};

use crate::{
    error::Error,
    records::{
        database::{self, DUE_EVENTS, EVENTS},
        record::Row,
    },
    tables::{
        Outcome, Tables, changed,
        event_codec::{Stored, damaged, due_of, encode, noted, stored},
        unchanged,
    },
};

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

    /// The same where only the number is known, in a journal of format 3.
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

    /// Postpones an upload's first event.
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

    /// Removes the events with these numbers, which are damaged, and makes the index of due events anew.
    pub(crate) fn correct_events(&mut self, damaged: &BTreeSet<u64>) -> Result<(), Error> {
        let mut events = self.txn.open_table(EVENTS)?;
        events.retain(|(_, number), _| !damaged.contains(&number))?;
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
