//! Telling hooks of events in the thread that calls: when a request has made some, and when housekeeping is done.

use std::{
    collections::BTreeSet,
    sync::{MutexGuard, PoisonError},
};

use tus_driver::{
    Answer, Change, Class, EventKind, EventQuery, Executor as _, OutboxEvent, Store,
    hooks::{HookEvent, HookRunner},
};
use tus_proto::{Failure, UploadId};

use super::Shared;

/// How many events are read at once.
const PAGE: usize = 64;

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
        let hooks = self.service.hooks().map(|hooks| &**hooks.runner());
        let Some(hooks) = hooks.filter(|hooks| hooks.delivers()) else { return Ok(()) };
        let mut failed = BTreeSet::new();
        loop {
            let query = EventQuery {
                now: self.queue.now().wall,
                limit: PAGE + failed.len(),
                upload: upload.cloned(),
            };
            let due =
                self.queue.ask(Class::Background, |later| self.service.store().due_events(query, later))?;
            let mut told = false;
            for event in due.events {
                let id = event.record.id.clone();
                // A hook may still choose the answer to the request that completes an upload.
                let attributions = self.service.attributions();
                let held = event.kind == EventKind::Completed && attributions.is_finishing(&id);
                if held || failed.contains(&id) || !self.busy().insert(id.clone()) {
                    continue;
                }
                if self.tell(hooks, event) {
                    told = true;
                } else {
                    failed.insert(id.clone());
                }
                self.busy().remove(&id);
            }
            if !told {
                return Ok(());
            }
        }
    }

    fn busy(&self) -> MutexGuard<'_, BTreeSet<UploadId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells one event, and removes it if the hook has taken note.
    fn tell(&self, hooks: &dyn HookRunner, event: OutboxEvent) -> bool {
        let store = self.service.store();
        let (id, number) = (event.record.id.clone(), event.number);
        let files = match HookEvent::has_files(event.kind) {
            true => store.files(&id),
            false => Ok(Vec::new()),
        };
        let Ok(files) = files else { return false };
        let request = self.service.attributions().get(&id, event.kind);
        let event = HookEvent::new(event, files).with_request(request);
        let told = self.queue.ask(Class::Background, |later| {
            hooks.deliver(event, later());
            Answer::Later
        });
        if told {
            // One that can't be removed is told again.
            let change = Change::Acknowledge { id, number };
            self.queue.ask(Class::Background, |later| store.change(change, later));
        }
        told
    }
}
