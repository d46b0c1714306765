//! What the oracle knows of events.

use tus_redb::{EventKind, OutboxEvent};

use super::Oracle;

impl Oracle {
    /// Somebody is told of an event. It is true, whatever comes.
    pub(in crate::sim) fn on_event(&mut self, entry: &OutboxEvent) {
        let (id, kind) = (&entry.record.id, entry.kind);
        let whole = Some(self.length(id));
        let completes = kind == EventKind::Completed;
        let known = self.events.contains(&(id.clone(), completes));
        let Some(upload) = self.uploads.get_mut(id) else { panic!("{kind:?} of {id}, which nobody made") };
        match kind {
            EventKind::Completed => {
                assert!(!entry.record.is_partial(), "{id} is a part, and is told of as complete");
                let ended = self.events.contains(&(id.clone(), false));
                assert!(known || !ended, "{id}: its end was told before its completion");
                assert!(
                    upload.now.contains(&whole) || upload.was_gone,
                    "{id} is not complete, and told to be"
                );
                for states in [&mut upload.now, &mut upload.since_flush, &mut upload.since_flushing] {
                    states.retain(|state| state.is_none() || *state == whole);
                }
            }
            EventKind::Created => panic!("{id}: nobody keeps creations"),
            EventKind::Terminated => {
                assert!(upload.now.contains(&None), "{id} was not removed, and is told to be");
                let completed = upload.completed && !upload.partial;
                let first = self.events.contains(&(id.clone(), true));
                assert!(first || !completed, "{id} was complete, and its end is told first");
                upload.settle(None);
                (upload.since_flush, upload.since_flushing) = ([None].into(), [None].into());
            }
        }
        self.events.insert((id.clone(), completes));
    }

    /// All events were told: what has become complete is among them.
    pub(in crate::sim) fn check_events(&self) {
        for (id, upload) in self.uploads.iter().filter(|_| self.keeps_events && !self.eventual) {
            let told = self.events.contains(&(id.clone(), true));
            assert!(told || !upload.completed || upload.partial, "{id} is complete, and nobody was told");
        }
    }
}
