//! New connections: accepted by one loop, handed out to all, refused by waiting while there are too many.

use std::{io, sync::atomic::Ordering};

use mio::{Interest, Registry, Token, net::TcpStream};

use super::{
    ConnectionId,
    connection::Connection,
    event_loop::{EventLoop, GENERATION_SHIFT, Slot},
    mailbox::Message,
};
use crate::http1::Conn;

impl EventLoop {
    /// Accepts what waits on a listener.
    pub(super) fn accept(&mut self, index: usize) {
        let Some(listener) = self.listeners.get(index) else { return };
        let mut accepted = Vec::new();
        loop {
            if self.shared.connections.load(Ordering::Acquire) >= self.shared.max_connections {
                self.shared.full.store(true, Ordering::SeqCst);
                // One may have ended in this very moment, and not have seen that we wait for it.
                if self.shared.connections.load(Ordering::SeqCst) >= self.shared.max_connections {
                    self.shared.mailboxes.iter().for_each(|mailbox| mailbox.post(Message::MakeRoom));
                    break;
                }
            }
            match listener.accept() {
                Ok((socket, _)) => {
                    self.shared.connections.fetch_add(1, Ordering::AcqRel);
                    accepted.push(socket);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The peer went away before we came: the next one may be there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    self.shared.full.store(true, Ordering::Release);
                    break;
                }
            }
        }
        for socket in accepted {
            // Answers are small and whole: there is nothing to wait for before one is sent.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps Nagle's algorithm");
            }
            let to = self.accept_to;
            self.accept_to = (to + 1) % self.shared.mailboxes.len();
            if to == self.index {
                self.admit(socket);
            } else {
                self.shared.mailboxes[to].post(Message::Accepted(socket));
            }
        }
    }

    /// Closes the connection that has been idle longest, if there is one: nobody would miss it.
    pub(super) fn make_room(&mut self) {
        let connections = self.slots.iter().filter_map(|slot| slot.connection.as_ref());
        let idle = connections.filter(|connection| connection.request.is_none() && connection.http.is_idle());
        if let Some(id) = idle
            .min_by_key(|connection| connection.http.deadline().map(|(at, _)| at))
            .map(|connection| connection.id)
        {
            self.with_connection(id, |_, connection| connection.http.reset());
        }
    }

    /// Takes a new connection up.
    pub(super) fn admit(&mut self, mut socket: TcpStream) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        // Generation 0 is the listeners'.
        entry.generation = entry.generation.checked_add(1).unwrap_or(1);
        let id = ConnectionId { slot, generation: entry.generation };
        if let Err(error) = register(self.poll.registry(), &mut socket, id) {
            tracing::warn!(%error, "a connection can't be watched");
            self.free.push(slot);
            self.shared.connections.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let mut http = Conn::new(self.shared.http.clone(), self.now.monotonic);
        if self.draining.is_some() {
            http.shutdown(self.now.monotonic);
        }
        entry.connection = Some(Box::new(Connection::new(id, socket, http)));
        self.with_connection(id, |_, _| {});
    }
}

fn register(registry: &Registry, socket: &mut TcpStream, id: ConnectionId) -> io::Result<()> {
    let token = Token((id.generation as usize) << GENERATION_SHIFT | id.slot as usize);
    registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)
}
