//! Telling hooks of events in the thread that calls: those of a request's upload when it is carried out, all that
//! are left when housekeeping is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tus_proto::{Concat, Failure, HookCall, HookReply, Record, UploadId};
use tus_redb::{Change, Entry, Store};

use super::Shared;
use crate::{
    hooks::HookSet,
    runtime::{Marks, event, last_number, lock, may_follow},
};

/// How many events are read at once.
const PAGE: usize = 64;

/// Hooks, and who is telling them what.
pub(super) struct Telling {
    hooks: HookSet,
    /// A number below all events to come.
    tail: AtomicU64,
    /// The uploads whose events a thread is telling, and whether it is to look once more: an upload's events are told
    /// one after another, also where a hook itself sends a request at its upload.
    busy: Mutex<BTreeMap<UploadId, bool>>,
}

/// An upload of which a request has perhaps made an event.
pub(super) struct Made {
    id: UploadId,
    after: u64,
}

impl Telling {
    pub(super) fn new(hooks: HookSet, store: &Store) -> Self {
        // From the first on, where that can't be read now.
        let tail = AtomicU64::new(last_number(store).unwrap_or(0));
        Self { hooks, tail, busy: Mutex::default() }
    }

    pub(super) fn decide(&self, call: &HookCall) -> HookReply {
        self.hooks.decide(call)
    }

    /// Before a change that may make an event: what to tell afterwards. None where nobody is told of events.
    pub(super) fn made(&self, id: &UploadId) -> Option<Made> {
        let after = self.tail.load(Ordering::Acquire);
        self.hooks.tells().then(|| Made { id: id.clone(), after })
    }

    fn begin(&self, id: &UploadId) -> bool {
        let mut busy = lock(&self.busy);
        let is_new = !busy.contains_key(id);
        busy.insert(id.clone(), !is_new);
        is_new
    }

    /// Ends what was begun; not where somebody has come by meanwhile, unless it is to end whatever came.
    fn end(&self, id: &UploadId, whatever: bool) -> bool {
        let mut busy = lock(&self.busy);
        let again = busy.insert(id.clone(), false) == Some(true) && !whatever;
        if !again {
            busy.remove(id);
        }
        !again
    }
}

impl Shared {
    /// Tells the events of an upload, each once, and those of finals that became complete or went with it.
    pub(super) fn tell_made(&self, made: &Made) {
        let Some(telling) = &self.telling else { return };
        // An eventual store shows an event when it is durable.
        if self.store.needs_flush() && self.flush().is_err() {
            return;
        }
        let mut uploads = BTreeSet::new();
        let mut from = made.after;
        let read = self.each(made.after, |entry| {
            telling.tail.fetch_max(entry.number, Ordering::AcqRel);
            if concerns(&entry.record, &made.id) {
                if may_follow(&entry) {
                    from = 0;
                }
                uploads.insert(entry.record.id);
            }
        });
        // What can't be read now is told by housekeeping.
        if read.is_ok() {
            for id in uploads {
                self.tell_upload(telling, &id, from);
            }
        }
    }

    fn tell_upload(&self, telling: &Telling, id: &UploadId, from: u64) {
        if !telling.begin(id) {
            return;
        }
        loop {
            let mut own = Vec::new();
            let read = self.each(from, |entry| {
                if entry.record.id == *id {
                    own.push(entry);
                }
            });
            let told = read.is_ok() && own.into_iter().all(|entry| self.tell(telling, entry));
            if telling.end(id, !told) {
                return;
            }
        }
    }

    /// Tells all events in the outbox, each once; of an upload none behind one whose hook fails.
    pub(super) fn tell_all(&self) -> Result<(), Failure> {
        let Some(telling) = self.telling.as_ref().filter(|telling| telling.hooks.tells()) else {
            return Ok(());
        };
        // Of what failed only a mark is kept, however much it is: two may share one, and one of them waits then.
        let mut failed = Marks::new();
        self.each(0, |entry| {
            let id = entry.record.id.clone();
            if failed.has(&id) {
                return;
            }
            if !telling.begin(&id) {
                return failed.set(&id);
            }
            let number = entry.number;
            let told = self.tell(telling, entry);
            if !told {
                failed.set(&id);
            }
            if !telling.end(&id, !told) {
                telling.end(&id, true);
                self.tell_upload(telling, &id, number);
            }
        })
    }

    /// Tells one event, and removes it where the hook has taken note.
    fn tell(&self, telling: &Telling, entry: Entry) -> bool {
        let number = entry.number;
        let Ok(event) = event(&self.store, entry) else { return false };
        telling.hooks.tell(event) && {
            // One that can't be removed is told again.
            self.store.commit(&[Change::Acknowledge { number }]);
            true
        }
    }

    /// Goes through the outbox, behind this number.
    fn each(&self, mut after: u64, mut act: impl FnMut(Entry)) -> Result<(), Failure> {
        loop {
            let entries = self.store.outbox(after, PAGE)?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = last.number;
            entries.into_iter().for_each(&mut act);
        }
    }
}

/// Whether an event of this upload may come of a request at that one: its own, or a final's of which it is a part.
fn concerns(upload: &Record, id: &UploadId) -> bool {
    let names =
        |url: &str| url.rsplit('/').next().is_some_and(|last| last.split('?').next() == Some(id.as_str()));
    match &upload.concat {
        _ if upload.id == *id => true,
        Some(Concat::Final(value)) => value.split([' ', ';']).any(names),
        _ => false,
    }
}
