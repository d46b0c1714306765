//! The lock table of the process, and how an owner's number finds its event loop.

use std::sync::Mutex;

use tus_proto::{Fence, Instant, LockCall, LockEvent, LockTable, OpId, Owner};

use super::mailbox::{Mailbox, Message, lock};

/// An owner's number: its loop in the upper 8 bits, the connection's slot in the next 24, and in the lower 32
/// a serial number, so that what is late for one exchange can't reach the next of the same connection.
const LOOP_SHIFT: u32 = 56;
const SLOT_SHIFT: u32 = 32;
const SLOT_MASK: u64 = (1 << (LOOP_SHIFT - SLOT_SHIFT)) - 1;

/// The locks that the event loops share.
#[derive(Debug)]
pub(crate) struct Locks {
    table: Mutex<LockTable>,
}

/// The number of an exchange.
pub(super) fn owner(loop_index: usize, slot: u32, serial: u32) -> Owner {
    Owner((loop_index as u64) << LOOP_SHIFT | (u64::from(slot) & SLOT_MASK) << SLOT_SHIFT | u64::from(serial))
}

/// The slot of the connection whose exchange this is.
pub(super) fn slot_of(owner: Owner) -> u32 {
    u32::try_from(owner.0 >> SLOT_SHIFT & SLOT_MASK).unwrap_or(u32::MAX)
}

impl Locks {
    pub(crate) fn new(first: Fence) -> Self {
        Self { table: Mutex::new(LockTable::new(first)) }
    }

    /// Makes a call, delivers what it brings about, and returns when [`timeout`](Self::timeout) is due.
    /// What concerns the calling loop's own exchanges goes to `own`.
    pub(super) fn call(
        &self,
        now: Instant,
        (owner, op, call): (Owner, OpId, LockCall),
        mailboxes: &[Mailbox],
        own: &mut impl Extend<(Owner, LockEvent)>,
    ) -> Option<Instant> {
        let mut table = lock(&self.table);
        table.call(now, owner, op, call);
        deliver(&mut table, loop_of(owner), mailboxes, own);
        table.deadline()
    }

    /// Lets waits and grants run out, for the loop of this index.
    pub(super) fn timeout(
        &self,
        now: Instant,
        loop_index: usize,
        mailboxes: &[Mailbox],
        own: &mut impl Extend<(Owner, LockEvent)>,
    ) -> Option<Instant> {
        let mut table = lock(&self.table);
        table.timeout(now);
        deliver(&mut table, loop_index, mailboxes, own);
        table.deadline()
    }
}

fn loop_of(owner: Owner) -> usize {
    usize::try_from(owner.0 >> LOOP_SHIFT).unwrap_or(usize::MAX)
}

/// Delivers under the table's lock: two calls' events for one exchange must not overtake each other.
fn deliver(
    table: &mut LockTable,
    own_index: usize,
    mailboxes: &[Mailbox],
    own: &mut impl Extend<(Owner, LockEvent)>,
) {
    while let Some((owner, event)) = table.poll() {
        let index = loop_of(owner);
        if index == own_index {
            own.extend([(owner, event)]);
        } else if let Some(mailbox) = mailboxes.get(index) {
            mailbox.post(Message::Lock(owner, event));
        }
    }
}
