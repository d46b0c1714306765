//! Commits as jobs: staged bytes are synced, their change joins a group, and all changes of a group are answered together.

use std::sync::{Arc, atomic::Ordering};

use tus_driver::{Changed, Class, Commit, Ticket};
use tus_proto::{Completion, Failure};

use crate::{
    files::sink::Syncer,
    mutex::lock,
    port::{Entry, Reply, Shared},
    store::{change::Change, commit::Done},
};

impl Shared {
    pub(super) fn submit(self: &Arc<Self>, change: Change, reply: Reply) {
        let cost = match &change {
            Change::Concat { parts, .. } => parts.len().max(1),
            _ => 1,
        };
        if lock(&self.group).push(Entry { change, reply }, cost) {
            self.schedule();
        }
    }

    fn schedule(self: &Arc<Self>) {
        let this = self.clone();
        self.executor.run(Class::Commit, Box::new(move || this.commit_group()));
    }

    fn commit_group(self: &Arc<Self>) {
        let entries = lock(&self.group).take();
        if !entries.is_empty() {
            self.commit(entries);
        }
        if lock(&self.group).done() {
            self.schedule();
        }
        self.look_for_chores();
    }

    fn commit(&self, entries: Vec<Entry>) {
        let begun = self.executor.now();
        let finals = self.engine.finals_finished();
        let (changes, replies): (Vec<_>, Vec<_>) =
            entries.into_iter().map(|Entry { change, reply }| (change, reply)).unzip();
        self.engine.tell_time(begun.wall);
        let before = self.quota.measures().then(|| {
            changes.iter().map(|change| self.quota.before(&self.engine, change)).collect::<Vec<_>>()
        });
        let done = self.engine.commit_with_events(&changes);
        for ((change, done), before) in changes.iter().zip(&done).zip(before.iter().flatten()) {
            self.quota.changed(&self.engine, change, &done.completion, before.as_ref());
        }
        self.observer.committed(done.len(), self.executor.now().monotonic.since(begun.monotonic));
        let finals = self.engine.finals_finished() - finals;
        if finals > 0 {
            self.observer.finals_finished(finals);
        }
        self.learn(done.iter().map(|done| &done.completion));
        let mut eventful = false;
        for ((change, reply), Done { completion, events }) in changes.into_iter().zip(replies).zip(done) {
            eventful |= !events.is_empty();
            self.observer.changed(&change, &completion);
            drop(change);
            reply.tell(Changed::new(completion, events));
        }
        if eventful && self.engine.shows_events_at_once() {
            self.wake_outbox();
        }
    }

    pub(super) fn wake_outbox(&self) {
        let wake = lock(&self.wake).clone();
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Notes from a group's completions whether the disk works. A group that committed nothing says nothing about it.
    pub(super) fn learn<'a>(&self, completions: impl Iterator<Item = &'a Completion> + Clone) {
        let done = |completion: &Completion| {
            matches!(
                completion,
                Completion::Created
                    | Completion::Concatenated(_)
                    | Completion::Committed { .. }
                    | Completion::Deleted
            )
        };
        let failed = |completion: &Completion| {
            matches!(completion, Completion::Failed(Failure::Io | Failure::Unavailable))
        };
        if completions.clone().any(done) {
            self.failing.store(false, Ordering::Relaxed);
        } else if completions.into_iter().any(failed) {
            self.failing.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn commit_change(self: &Arc<Self>, mut commit: Commit<Syncer>, ticket: Ticket<Changed>) {
        if commit.staged.is_none() && commit.finish {
            // An upload that becomes complete by its length may have garbage past its end too.
            let sink = self.engine.append(&commit.id, commit.fence, commit.from);
            commit.staged = sink.ok().map(|sink| sink.syncer());
        }
        // What is in memory goes to the disk with the record.
        if commit.staged.as_ref().is_some_and(Syncer::needs_disk) {
            let this = self.clone();
            self.executor.run(Class::Blocking, Box::new(move || this.sync_and_submit(commit, ticket)));
        } else {
            self.sync_and_submit(commit, ticket);
        }
    }

    /// Syncs what a commit needs, then lets it join a group.
    fn sync_and_submit(self: &Arc<Self>, commit: Commit<Syncer>, ticket: Ticket<Changed>) {
        let Commit { id, fence, from, to, length, expires, finish, staged: syncer } = commit;
        let synced = syncer.as_ref().map_or(Ok(()), |syncer| syncer.sync(finish.then_some(to)));
        let change = Change::Commit { id, fence, from, to, length, expires, finish, syncer };
        match synced {
            Ok(()) => self.submit(change, Reply::Ticket(ticket)),
            Err(failure) => {
                let failed = Completion::Failed(failure);
                self.observer.changed(&change, &failed);
                ticket.answer(failed.into());
            }
        }
    }
}
