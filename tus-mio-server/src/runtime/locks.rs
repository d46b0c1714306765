//! How an owner's number finds its event loop, and how what the lock service says gets there.

use std::sync::Arc;

use tus_driver::{Inbox, Store};
use tus_proto::{LockEvent, Owner};

use super::mailbox::{Mailbox, Message};

/// An owner's number: its loop in the upper 8 bits, the connection's slot in the next 24, and in the lower 32
/// a serial number, so that what is late for one exchange can't reach the next of the same connection.
const LOOP_SHIFT: u32 = 56;
const SLOT_SHIFT: u32 = 32;
const SLOT_MASK: u64 = (1 << (LOOP_SHIFT - SLOT_SHIFT)) - 1;

/// The number of an exchange.
pub(crate) fn owner(loop_index: usize, slot: u32, serial: u32) -> Owner {
    Owner((loop_index as u64) << LOOP_SHIFT | (u64::from(slot) & SLOT_MASK) << SLOT_SHIFT | u64::from(serial))
}

/// The slot of the connection whose exchange this is.
pub(super) fn slot_of(owner: Owner) -> u32 {
    u32::try_from(owner.0 >> SLOT_SHIFT & SLOT_MASK).unwrap_or(u32::MAX)
}

/// The loop that has this exchange.
pub(super) fn loop_of(owner: Owner) -> usize {
    usize::try_from(owner.0 >> LOOP_SHIFT).unwrap_or(usize::MAX)
}

/// The mailboxes of all loops, and who takes what is for none of them.
pub(crate) struct Loops<S: Store>(pub(crate) Arc<[Mailbox<S>]>, pub(crate) Arc<dyn Inbox>);

impl<S: Store> Inbox for Loops<S> {
    fn post(&self, owner: Owner, event: LockEvent) {
        match self.0.get(loop_of(owner)) {
            Some(mailbox) => mailbox.post(Message::Lock(owner, event)),
            None => self.1.post(owner, event),
        }
    }
}
