//! New connections: accepted by one loop, handed out to all. Where there are too many, the next one waits, and
//! one that is idle makes room for it.

use std::{io, os::fd::AsRawFd, sync::atomic::Ordering, time::Duration};

use mio::{Interest, Registry, Token, unix::SourceFd};

use super::{
    ConnectionId,
    connection::Connection,
    event_loop::{EventLoop, GENERATION_SHIFT, Slot, TOKEN_HALF},
    mailbox::Message,
    socket::{Accepted, Socket},
};
use crate::http1::Conn;

/// How long a new connection has for its first request before it counts as idle.
pub(super) const WELCOME: Duration = Duration::from_secs(1);

/// How long to wait before accepting again where the system could not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl EventLoop {
    /// Accepts what waits on any listener.
    pub(super) fn accept_all(&mut self) {
        (0..self.listeners.len()).for_each(|index| self.accept(index));
    }

    /// Accepts what waits on a listener.
    pub(super) fn accept(&mut self, index: usize) {
        while let Some(socket) = self.next_socket(index) {
            if !self.one_more() {
                self.held = Some(socket);
                // Where nobody is idle now, somebody may be then.
                self.accept_later(WELCOME);
                let mailboxes = &self.shared.mailboxes;
                if let Some(mailbox) = mailboxes.get(self.accept_to) {
                    mailbox.post(Message::MakeRoom(mailboxes.len()));
                }
                return;
            }
            self.hand_out(socket);
        }
    }

    /// The one that waits for room, or the next of the listener.
    fn next_socket(&mut self, index: usize) -> Option<Accepted> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        loop {
            let error = match self.listeners.get(index)?.accept() {
                Ok(accepted) => {
                    self.shared.metrics.accepted.inc();
                    return Some(accepted);
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::WouldBlock => return None,
                // The peer went away before we came: the next one may be there.
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                _ => {
                    tracing::warn!(%error, "a connection can't be accepted; trying again");
                    self.accept_later(ACCEPT_PAUSE);
                    return None;
                }
            }
        }
    }

    /// Counts a connection in, if there is room. Where there is none, the next one to end says so.
    fn one_more(&self) -> bool {
        let count = || {
            let below = |count: usize| (count < self.shared.max_connections).then_some(count + 1);
            self.shared.connections.fetch_update(Ordering::SeqCst, Ordering::SeqCst, below).is_ok()
        };
        if count() {
            return true;
        }
        self.shared.full.store(true, Ordering::SeqCst);
        // One may have ended in this very moment, and not have seen that we wait for it.
        count()
    }

    /// Counts a connection out.
    pub(super) fn one_less(&self) {
        self.shared.connections.fetch_sub(1, Ordering::SeqCst);
        if self.shared.full.swap(false, Ordering::SeqCst)
            && let Some(mailbox) = self.shared.mailboxes.first()
        {
            mailbox.post(Message::AcceptAgain);
        }
    }

    fn hand_out(&mut self, accepted: Accepted) {
        if let Err(error) = accepted.socket.send_at_once() {
            tracing::debug!(%error, "a connection keeps Nagle's algorithm");
        }
        let to = self.accept_to;
        self.accept_to = (to + 1) % self.shared.mailboxes.len();
        match self.shared.mailboxes.get(to).filter(|_| to != self.index) {
            Some(mailbox) => mailbox.post(Message::Accepted(accepted)),
            None => self.admit(accepted),
        }
    }

    /// Closes a connection that nobody would miss: the one idle longest between requests, or one that never
    /// sent any. Where this loop has none, the next one may.
    pub(super) fn make_room(&mut self, tries: usize) {
        let connections = self.slots.iter().filter_map(|slot| slot.connection.as_ref());
        let idle = connections.filter(|connection| {
            let new = !connection.served && self.now.monotonic.since(connection.since) < WELCOME;
            connection.request.is_none() && connection.http.is_idle() && !new
        });
        let longest = idle.min_by_key(|connection| connection.http.deadline().map(|(at, _)| at));
        if let Some(id) = longest.map(|connection| connection.id) {
            self.with_connection(id, |_, connection| connection.http.reset());
        } else if tries > 1 {
            let next = (self.index + 1) % self.shared.mailboxes.len();
            if let Some(mailbox) = self.shared.mailboxes.get(next) {
                mailbox.post(Message::MakeRoom(tries - 1));
            }
        }
    }

    /// Takes a new connection up.
    pub(super) fn admit(&mut self, mut accepted: Accepted) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        // Generation 0 is the listeners'.
        entry.generation = if entry.generation as usize == TOKEN_HALF { 1 } else { entry.generation + 1 };
        let id = ConnectionId { slot, generation: entry.generation };
        if let Err(error) = register(self.poll.registry(), &mut accepted.socket, id) {
            tracing::warn!(%error, "a connection can't be watched");
            self.free.push(slot);
            return self.one_less();
        }
        let mut http = Conn::new(self.shared.http.clone(), self.now.monotonic);
        if self.is_draining() {
            http.shutdown_within(self.now.monotonic, WELCOME);
        }
        let since = self.now.monotonic;
        self.slots[slot as usize].connection = Some(Box::new(Connection::new(id, accepted, http, since)));
        self.with_connection(id, |_, _| {});
    }
}

fn register(registry: &Registry, socket: &mut Socket, id: ConnectionId) -> io::Result<()> {
    registry.register(socket, token(id), Interest::READABLE | Interest::WRITABLE)
}

/// Tells of a connection's input, or not: nobody needs to hear of it while a worker reads. What came meanwhile is
/// told when this begins again.
pub(super) fn listen_for_input(
    registry: &Registry,
    socket: &Socket,
    id: ConnectionId,
    input: bool,
) -> io::Result<()> {
    let interest = if input { Interest::READABLE | Interest::WRITABLE } else { Interest::WRITABLE };
    registry.reregister(&mut SourceFd(&socket.as_raw_fd()), token(id), interest)
}

fn token(id: ConnectionId) -> Token {
    Token((id.generation as usize) << GENERATION_SHIFT | id.slot as usize)
}
