//! Who holds which lock, as the lock service has told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tus_proto::{Fence, Instant, LockCall, LockEvent, LockReply, Owner, UploadId};

/// All locks.
#[derive(Debug, Default)]
pub(in crate::sim) struct Locks(BTreeMap<UploadId, Lock>);

#[derive(Debug, Default)]
struct Lock {
    highest: Fence,
    holder: Option<(Owner, Instant)>,
    /// Whose grant ran out, and who have not released it.
    overdue: BTreeSet<Owner>,
    /// How long whoever asks wants to hold it.
    asked: BTreeMap<Owner, Duration>,
    /// Who has been told that its predecessor may still be writing.
    warned: BTreeSet<Owner>,
}

impl Locks {
    pub(in crate::sim) fn on_call(&mut self, now: Instant, owner: Owner, call: &LockCall) {
        match call {
            LockCall::Acquire { key, ttl, .. } => {
                self.0.entry(key.clone()).or_default().asked.insert(owner, *ttl);
            }
            LockCall::Release { key } => {
                let lock = self.0.entry(key.clone()).or_default();
                lock.asked.remove(&owner);
                lock.overdue.remove(&owner);
                lock.holder.take_if(|(holder, _)| *holder == owner);
            }
            LockCall::Renew { key, ttl } => {
                if let Some((holder, until)) = &mut self.0.entry(key.clone()).or_default().holder
                    && *holder == owner
                {
                    *until = now.after(*ttl);
                }
            }
            LockCall::Checkpoint { .. } | LockCall::Checkpointed { .. } => {}
        }
    }

    pub(in crate::sim) fn on_event(&mut self, now: Instant, owner: Owner, event: &LockEvent) {
        let LockEvent::Reply(_, LockReply::Granted { fence, rotate }) = event else { return };
        let asked = self.0.iter_mut().find_map(|(key, lock)| Some((key, lock.asked.remove(&owner)?)));
        let Some((key, ttl)) = asked else { panic!("{owner:?} was granted what it did not ask for") };
        let key = key.clone();
        let Some(lock) = self.0.get_mut(&key) else { return };
        if let Some((holder, until)) = lock.holder.take() {
            assert!(until <= now, "{key}: {holder:?} and {owner:?} hold the same lock");
            lock.overdue.insert(holder);
        }
        assert!(*rotate || lock.overdue.is_empty(), "{key}: {:?} may still be writing", lock.overdue);
        assert!(*fence > lock.highest || lock.highest == Fence(0), "{key}: a fencing number came again");
        if *rotate {
            lock.warned.insert(owner);
        }
        lock.highest = *fence;
        lock.holder = Some((owner, now.after(ttl)));
    }

    /// A writer is about to write. One that was warned keeps out of its predecessor's way.
    pub(in crate::sim) fn on_append(&self, id: &UploadId, owner: Owner, rotate: bool) {
        let warned = self.0.get(id).is_some_and(|lock| lock.warned.contains(&owner));
        assert!(rotate || !warned, "{id}: {owner:?} writes where another may still be writing");
    }

    /// The lock service begins anew, with numbers above all others.
    pub(in crate::sim) fn begin_anew(&mut self) {
        for lock in self.0.values_mut() {
            *lock = Lock { highest: lock.highest, ..Lock::default() };
        }
    }
}
