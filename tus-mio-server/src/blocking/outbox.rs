//! Telling hooks of events in the thread that calls: when a request has made some, and when housekeeping is done.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use tus_driver::{
    Answer, Change, Class, EventQuery, OutboxEvent, Store,
    hooks::{HookEvent, HookRunner},
};
use tus_proto::{Failure, UploadId};

use super::{
    Shared,
    calls::{ask, lock},
};

/// How many events are read at once.
const PAGE: usize = 64;

/// Hooks, and which uploads' events a thread is telling: an upload's events are told one after another, also where a hook
/// itself sends a request at its upload.
pub(super) struct Outbox {
    hooks: Arc<dyn HookRunner>,
    busy: Mutex<BTreeSet<UploadId>>,
}

impl Outbox {
    pub(super) fn new(hooks: Arc<dyn HookRunner>) -> Self {
        Self { hooks, busy: Mutex::default() }
    }

    pub(super) fn hooks(&self) -> &Arc<dyn HookRunner> {
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
        let Some(outbox) = self.outbox.as_ref().filter(|outbox| outbox.hooks.delivers()) else {
            return Ok(());
        };
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
        let (id, number) = (event.record.id.clone(), event.number);
        let files = match HookEvent::has_files(event.kind) {
            true => self.store.files(&id),
            false => Ok(Vec::new()),
        };
        let Ok(files) = files else { return false };
        let event = HookEvent::new(event, files);
        let told = ask(&self.queue, Class::Background, |later| {
            outbox.hooks.deliver(event, later());
            Answer::Later
        });
        if told {
            // One that can't be removed is told again.
            let change = Change::Acknowledge { id, number };
            ask(&self.queue, Class::Background, |later| self.store.change(change, later));
        }
        told
    }
}
