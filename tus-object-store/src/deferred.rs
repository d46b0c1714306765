//! The locks of a store that is not open yet: a server wants its lock service before it can give the store an executor.

use std::sync::OnceLock;

use tus_driver::{Caller, LockService};
use tus_proto::{Fence, LockCall, LockEvent, LockReply, OpId};

use crate::lease::LeaseLocks;

/// A lock service that passes calls on to [`LeaseLocks`] once [`set`](Self::set) has named them.
#[derive(Debug, Default)]
pub struct DeferredLocks(OnceLock<LeaseLocks>);

impl DeferredLocks {
    /// Names the locks. Call it once, before the server takes requests; later calls change nothing.
    pub fn set(&self, locks: LeaseLocks) {
        let _ = self.0.set(locks);
    }
}

impl LockService for DeferredLocks {
    fn start(&self, _: Fence) {
        // Fencing numbers are the records'.
    }

    fn call(&self, caller: &Caller, op: OpId, call: LockCall) {
        match self.0.get() {
            Some(locks) => locks.call(caller, op, call),
            None => caller.tell(LockEvent::Reply(op, LockReply::Unavailable)),
        }
    }
}
