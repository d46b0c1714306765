//! Telling hooks of events in the thread that calls: when a request has made some, and when housekeeping is done.

use std::{collections::BTreeSet, sync::Mutex};

use tus_driver::{Change, Class, EventKind, EventQuery, OutboxEvent, Store};
use tus_proto::{Failure, UploadId};

use super::{
    Shared,
    calls::{ask, lock},
};
use crate::hooks::{Event, HookSet};

/// How many events are read at once.
const PAGE: usize = 64;

/// Hooks, and which uploads' events a thread is telling: an upload's events are told one after another, also where a hook
/// itself sends a request at its upload.
pub(super) struct Outbox {
    hooks: HookSet,
    busy: Mutex<BTreeSet<UploadId>>,
}

impl Outbox {
    pub(super) fn new(hooks: HookSet) -> Self {
        Self { hooks, busy: Mutex::default() }
    }

    pub(super) fn hooks(&self) -> &HookSet {
        &self.hooks
    }
}

impl<S: Store> Shared<S> {
    /// Tells what a request has made of these uploads. What can't be told now is told by housekeeping.
    pub(super) fn tell_events(&self, uploads: &[UploadId]) {
        // An eventual store shows an event when it is durable.
        if uploads.is_empty() || self.flush().is_err() {
            return;
        }
        for id in uploads {
            let _ = self.tell_due(Some(id));
        }
    }

    /// Tells all events in the outbox, each once; of an upload none after one whose hook fails.
    pub(super) fn tell_all(&self) -> Result<(), Failure> {
        self.tell_due(None)
    }

    fn tell_due(&self, upload: Option<&UploadId>) -> Result<(), Failure> {
        let Some(outbox) = self.outbox.as_ref().filter(|outbox| outbox.hooks.tells()) else { return Ok(()) };
        let mut failed = BTreeSet::new();
        loop {
            let query = EventQuery {
                now: self.clock.now().wall,
                limit: PAGE + failed.len(),
                upload: upload.cloned(),
            };
            let due = ask(&self.queue, Class::Background, |later| self.store.due_events(query, later))?;
            let mut told = false;
            for event in due.events {
                let id = event.record.id.clone();
                if failed.contains(&id) || !lock(&outbox.busy).insert(id.clone()) {
                    continue;
                }
                if self.tell(outbox, event) {
                    told = true;
                } else {
                    failed.insert(id.clone());
                }
                lock(&outbox.busy).remove(&id);
            }
            if !told {
                return Ok(());
            }
        }
    }

    /// Tells one event, and removes it if the hook has taken note.
    fn tell(&self, outbox: &Outbox, event: OutboxEvent) -> bool {
        let OutboxEvent { number, kind, record, .. } = event;
        let id = record.id.clone();
        let event = match kind {
            EventKind::Terminated => Event::Terminated(record),
            _ => match self.store.files(&id) {
                Ok(files) => Event::Completed(record, files),
                Err(_) => return false,
            },
        };
        outbox.hooks.tell(event) && {
            // One that can't be removed is told again.
            let change = Change::Acknowledge { id, number };
            ask(&self.queue, Class::Background, |later| self.store.change(change, later));
            true
        }
    }
}
