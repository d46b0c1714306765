//! Events that somebody is still to be told of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tus_proto::{Completion, Record, UploadId, WallTime};

use crate::{DueEvents, EventKind, EventKinds, EventQuery, LookupError, OutboxEvent};

#[derive(Default)]
pub(super) struct Outbox {
    /// By number, each with the time until which it is put off.
    events: BTreeMap<u64, (OutboxEvent, WallTime)>,
    last_number: u64,
    /// Of which uploads events were posted since [`take_posted`](Self::take_posted).
    posted: Vec<UploadId>,
    pub kept: EventKinds,
    pub wake: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Outbox {
    /// The uploads of which events were posted by the last change.
    pub(super) fn take_posted(&mut self) -> Vec<UploadId> {
        std::mem::take(&mut self.posted)
    }

    /// Adds an event if its kind is kept. A part never tells that it is complete: its final does.
    pub(super) fn post(&mut self, kind: EventKind, record: &Record) {
        let kept = match kind {
            EventKind::Created => self.kept.created,
            EventKind::Completed => self.kept.completed && !record.is_partial(),
            EventKind::Terminated => self.kept.terminated,
        };
        if kept {
            self.last_number += 1;
            self.posted.push(record.id.clone());
            let (number, record) = (self.last_number, record.clone());
            let event = OutboxEvent { number, kind, record, attempts: 0 };
            self.events.insert(number, (event, WallTime::default()));
        }
    }

    pub(super) fn acknowledge(&mut self, id: &UploadId, number: u64) -> Result<Completion, LookupError> {
        self.event(id, number)?;
        self.events.remove(&number);
        Ok(Completion::Deleted)
    }

    pub(super) fn postpone(
        &mut self,
        id: &UploadId,
        number: u64,
        until: WallTime,
    ) -> Result<Completion, LookupError> {
        let (event, due) = self.event(id, number)?;
        event.attempts += 1;
        *due = until;
        Ok(Completion::Committed { offset: event.record.offset })
    }

    fn event(&mut self, id: &UploadId, number: u64) -> Result<&mut (OutboxEvent, WallTime), LookupError> {
        self.events.get_mut(&number).filter(|(event, _)| event.record.id == *id).ok_or(LookupError::Missing)
    }

    /// An upload's first event keeps back those after it, also while it is put off.
    pub(super) fn due(&self, query: &EventQuery) -> DueEvents {
        let EventQuery { now, limit, upload } = query;
        let mut uploads = BTreeSet::new();
        let firsts = self.events.values();
        let firsts = firsts.filter(|(event, _)| upload.as_ref().is_none_or(|id| *id == event.record.id));
        let firsts = firsts.filter(|(event, _)| uploads.insert(&event.record.id));
        let (due, later): (Vec<_>, Vec<_>) = firsts.partition(|(_, until)| until <= now);
        let next = later.iter().map(|(_, until)| *until).min().filter(|_| due.len() <= *limit);
        DueEvents { events: due.iter().take(*limit).map(|(event, _)| event.clone()).collect(), next }
    }
}
