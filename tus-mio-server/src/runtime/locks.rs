//! The locks that the event loops share, and how an owner's number finds its event loop.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tus_proto::{Fence, Instant, LockCall, LockEvent, LockTable, OpId, Owner};

use super::mailbox::{Mailbox, Message, lock};
use crate::locks::{Caller, Inbox, LockService};

/// An owner's number: its loop in the upper 8 bits, the connection's slot in the next 24, and in the lower 32
/// a serial number, so that what is late for one exchange can't reach the next of the same connection.
const LOOP_SHIFT: u32 = 56;
const SLOT_SHIFT: u32 = 32;
const SLOT_MASK: u64 = (1 << (LOOP_SHIFT - SLOT_SHIFT)) - 1;

/// Who grants locks.
pub(crate) enum Locks {
    /// This process alone. What a loop's call brings about for its own exchanges needs no mailbox.
    Table(Mutex<LockTable>),
    /// A service, which speaks to the loops by their mailboxes.
    Service(Arc<dyn LockService>, Arc<dyn Inbox>),
}

/// The number of an exchange.
pub(super) fn owner(loop_index: usize, slot: u32, serial: u32) -> Owner {
    Owner((loop_index as u64) << LOOP_SHIFT | (u64::from(slot) & SLOT_MASK) << SLOT_SHIFT | u64::from(serial))
}

/// The slot of the connection whose exchange this is.
pub(super) fn slot_of(owner: Owner) -> u32 {
    u32::try_from(owner.0 >> SLOT_SHIFT & SLOT_MASK).unwrap_or(u32::MAX)
}

/// The mailboxes of all loops.
struct Loops(Arc<[Mailbox]>);

impl Inbox for Loops {
    fn post(&self, owner: Owner, event: LockEvent) {
        if let Some(mailbox) = self.0.get(loop_of(owner)) {
            mailbox.post(Message::Lock(owner, event));
        }
    }
}

impl Locks {
    /// Those of this process, or a service's, whose first grant has at least this number.
    pub(crate) fn new(
        first: Fence,
        service: Option<Arc<dyn LockService>>,
        mailboxes: &Arc<[Mailbox]>,
    ) -> Self {
        let Some(service) = service else { return Self::Table(Mutex::new(LockTable::new(first))) };
        service.start(first);
        Self::Service(service, Arc::new(Loops(mailboxes.clone())))
    }

    /// Whether a lock that is free is granted within the call that asks for it.
    pub(super) fn grants_at_once(&self) -> bool {
        matches!(self, Self::Table(_))
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
        let table = match self {
            Self::Table(table) => table,
            Self::Service(service, inbox) => {
                service.call(&Caller::new(owner, inbox.clone()), op, call);
                return None;
            }
        };
        let mut table = lock(table);
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
        let Self::Table(table) = self else { return None };
        let mut table = lock(table);
        table.timeout(now);
        deliver(&mut table, loop_index, mailboxes, own);
        table.deadline()
    }
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => table.fmt(f),
            Self::Service(service, _) => service.fmt(f),
        }
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
