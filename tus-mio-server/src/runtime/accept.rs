//! New connections: accepted by one loop, handed out to all. Where there are too many, the next one waits, and
//! those that nobody would miss make room for it.

use std::{io, net::IpAddr, os::fd::AsRawFd, time::Duration};

use mio::{Interest, Registry, Token, unix::SourceFd};
use tus_driver::Store;

use super::{
    ConnectionId,
    admission::Entry,
    connection::{Connection, WELCOME},
    event_loop::{EventLoop, GENERATION_SHIFT, Slot, TOKEN_HALF},
    mailbox::Message,
    socket::{Accepted, Socket},
};
use crate::http1::Conn;

/// How many connections are accepted in one turn.
const ACCEPTS: usize = 64;

/// How long to wait before accepting again where the system could not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl<S: Store> EventLoop<S> {
    /// Accepts what waits on any listener.
    pub(super) fn accept_all(&mut self) {
        (0..self.listeners.len()).for_each(|index| self.accept(index));
    }

    /// Accepts what waits on a listener, but for so many that others would have to wait.
    pub(super) fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS {
            let Some(accepted) = self.next_socket(index) else { return };
            match self.shared.admission.enter(accepted.peer) {
                Entry::Admitted => self.hand_out(accepted),
                Entry::TooMany => {
                    self.shared.metrics.refused_by_address.inc();
                }
                Entry::Full => {
                    self.held = Some(accepted);
                    // Where nobody can go now, somebody may be able to then.
                    self.accept_later(WELCOME);
                    return self.ask_for_room();
                }
            }
        }
        self.accept_later(Duration::ZERO);
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
                    self.accept_fails = false;
                    return Some(accepted);
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::WouldBlock => return None,
                // The peer went away before we came: the next one may be there.
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                // Most likely there are no descriptors left: a connection that is closed gives one back.
                _ => {
                    self.shared.metrics.accept_failures.inc();
                    if !std::mem::replace(&mut self.accept_fails, true) {
                        tracing::warn!(%error, "connections can't be accepted; trying again");
                    }
                    self.ask_for_room();
                    self.accept_later(ACCEPT_PAUSE);
                    return None;
                }
            }
        }
    }

    /// The server ends: the connection that waits for room is the last one.
    pub(super) fn accept_last(&mut self) {
        if let Some(held) = self.held.take() {
            self.shared.admission.enter_last(held.peer);
            self.hand_out(held);
        }
    }

    /// Counts a connection out.
    pub(super) fn one_less(&self, peer: Option<IpAddr>) {
        if self.shared.admission.leave(peer)
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
            return self.one_less(accepted.peer);
        }
        let mut http = Conn::new(self.shared.http.clone(), self.now.monotonic);
        if self.is_draining() {
            http.shutdown_within(self.now.monotonic, WELCOME);
        }
        let since = self.now.monotonic;
        let until = since.after(self.shared.http.head_timeout);
        let tls = accepted.peer.and(self.shared.tls.as_ref()).map(|tls| tls.session(until));
        let mut connection = Box::new(Connection::new(id, accepted, http, since));
        match tls {
            None => {}
            Some(None) => connection.give_up(),
            Some(Some(session)) => connection.tls = Some(Box::new(session)),
        }
        self.slots[slot as usize].connection = Some(connection);
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
