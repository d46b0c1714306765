//! How other threads reach an event loop: a list of messages and one wake for as many as are in it.

use std::{
    cell::Cell,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::Waker;
use tus_driver::{Arrival, Store};
use tus_proto::{HookReply, Instant, LockEvent, OpId, Owner};

use super::{
    ConnectionId,
    egress::worker::{ReadAhead, Sent},
    eviction::class::Search,
    socket::Accepted,
    workers::job::BodyDone,
};
use crate::sync::lock;

/// Something for an event loop to do.
#[derive(Debug)]
pub(crate) enum Message<S: Store> {
    /// A new connection to serve.
    Accepted(Accepted),
    /// There may be room for new connections again.
    AcceptAgain,
    /// New connections wait: close those that nobody would miss.
    MakeRoom(Search),
    /// The head of a connection takes too much memory: the one that must be complete by then.
    RejectHead(ConnectionId, Instant),
    /// What the lock service tells one of the loop's exchanges.
    Lock(Owner, LockEvent),
    /// Something has arrived for one of the loop's sessions.
    Arrived(Owner, Arrival<S>),
    /// A hook that one of the loop's exchanges has asked has decided.
    HookReplied(Owner, OpId, HookReply),
    /// The store has more bytes for a connection's download, or takes more of its body.
    StoreReady(ConnectionId),
    /// A worker brings back what it was lent.
    Body(ConnectionId, BodyDone<S>),
    Sent(ConnectionId, Sent<S>),
    /// A worker has read a stretch of a download that must be encrypted.
    Read(ConnectionId, ReadAhead<S>),
    /// The server drains, or ends at once.
    Shutdown,
}

/// The messages for one event loop. It needs no bound of its own: messages answer what requests have asked for, of which
/// each has one command and one job at a time, and new connections are counted before they are told.
#[derive(Debug)]
pub(crate) struct Mailbox<S: Store> {
    messages: Mutex<Vec<Message<S>>>,
    waker: Waker,
    /// A message was left by a thread that wakes the loop only later: see [`hold_wakes`].
    held: AtomicBool,
}

thread_local! {
    static HOLDS_WAKES: Cell<bool> = const { Cell::new(false) };
}

/// Does something that leaves many messages, and wakes each loop once after it in place of once a message.
pub(super) fn hold_wakes<S: Store, T>(mailboxes: &[Mailbox<S>], work: impl FnOnce() -> T) -> T {
    HOLDS_WAKES.set(true);
    let done = work();
    HOLDS_WAKES.set(false);
    for mailbox in mailboxes {
        if mailbox.held.swap(false, Ordering::AcqRel) {
            mailbox.wake();
        }
    }
    done
}

impl<S: Store> Mailbox<S> {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { messages: Mutex::default(), waker, held: AtomicBool::new(false) }
    }

    /// Leaves a message, and wakes the loop if it was not woken already.
    pub(crate) fn post(&self, message: Message<S>) {
        let mut queue = lock(&self.messages);
        let was_empty = queue.is_empty();
        queue.push(message);
        drop(queue);
        if HOLDS_WAKES.get() {
            self.held.store(true, Ordering::Release);
        } else if was_empty || self.held.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            // The poll it wakes is broken: the loop has failed on its own and says so itself.
            tracing::error!(%error, "an event loop can't be woken");
        }
    }

    /// Takes all messages, leaving `empty` in their place.
    pub(crate) fn take(&self, empty: &mut Vec<Message<S>>) {
        std::mem::swap(&mut *lock(&self.messages), empty);
    }
}
