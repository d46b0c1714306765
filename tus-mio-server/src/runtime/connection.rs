//! One connection of an event loop: its socket, its HTTP state, and the request it is in.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Shutdown},
    sync::Arc,
    time::Duration,
};

use tus_driver::{Session, Store, hooks::Hook};
use tus_proto::{Cut, Instant, Now, OpId, Owner};

use super::{
    ConnectionId,
    access::Access,
    buffers::{BUFFER, Unread},
    egress::download::Download,
    ingress::state::Body,
    socket::{Accepted, Socket},
};
use crate::{http1::Conn, tls};

/// How long a new connection has for its first request before it counts as idle.
pub(super) const WELCOME: Duration = Duration::from_secs(1);

/// How much is read at once where a head is expected: bytes after the head wait in memory for their turn.
const HEAD_READ: usize = 16 << 10;

/// How much of a body is read at once where it must be decoded.
const BODY_READ: usize = BUFFER;

#[derive(Debug)]
pub(super) struct Connection<S: Store> {
    pub id: ConnectionId,
    pub socket: Arc<Socket>,
    /// The other end's address; none at a UNIX socket.
    pub peer: Option<IpAddr>,
    /// Between the socket and `http`, on a TLS connection.
    pub tls: Option<Box<tls::Session>>,
    pub http: Conn,
    /// What was read and `http` has not taken yet.
    pub unread: Unread,
    /// A request came on it: it is not one of those that only take up room.
    pub served: bool,
    /// When it was accepted.
    pub since: Instant,
    /// The socket may have input, may take output: true until a call says otherwise.
    pub readable: bool,
    pub writable: bool,
    /// Readiness was told while a worker was reading, or sending: what it found may be outdated.
    pub readable_again: bool,
    pub writable_again: bool,
    /// The store was waited for, and may have more now: see [`Download`] and [`Body`].
    pub store_ready: bool,
    /// The loop does not hear of input: a worker is reading.
    pub muted: bool,
    /// The peer has ended its side.
    pub ended: bool,
    /// The system says that the connection is broken. There may still be input.
    pub broken: bool,
    /// The connection is given up: nobody is left to answer.
    pub gone: bool,
    /// How much of the memory for large heads is counted as its.
    pub head_bytes: u32,
    /// How many bytes were read from the socket.
    pub taken: u64,
    /// Boxed, as is what follows: a connection that waits for one shall cost little.
    pub request: Option<Box<Request<S>>>,
    /// What the answer of the last request carries.
    pub download: Option<Box<Download<S>>>,
    /// The connection's earliest entry among the timers.
    pub scheduled: Option<Instant>,
}

/// The request under way.
#[derive(Debug)]
pub(super) struct Request<S: Store> {
    pub session: Session<S>,
    pub owner: Owner,
    /// What the network has of its body.
    pub body: Body,
    /// The hook that the exchange waits for.
    pub asked: Option<Asked>,
    pub begun: Instant,
    /// For the log, where it is told of each request; until it was.
    pub access: Option<Box<Access>>,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    Bytes(usize),
    Nothing,
    Eof,
    Broken,
}

impl<S: Store> Connection<S> {
    pub(super) fn new(id: ConnectionId, accepted: Accepted, http: Conn, since: Instant) -> Self {
        Self {
            id,
            socket: Arc::new(accepted.socket),
            peer: accepted.peer,
            tls: None,
            http,
            unread: Unread::default(),
            served: false,
            since,
            readable: true,
            writable: true,
            readable_again: false,
            writable_again: false,
            store_ready: false,
            muted: false,
            ended: false,
            broken: false,
            gone: false,
            head_bytes: 0,
            taken: 0,
            request: None,
            download: None,
            scheduled: None,
        }
    }

    /// When the handshake must be over; `None` if it is.
    pub(super) fn handshake_until(&self) -> Option<Instant> {
        self.tls.as_ref().and_then(|tls| tls.handshake_until())
    }

    /// How long its next request is waited for where the server would rather end it: one that has just connected
    /// is about to ask.
    pub(super) fn welcome(&self) -> Duration {
        if self.served { Duration::ZERO } else { WELCOME }
    }

    /// Nothing is owed any more, by either side.
    pub(super) fn is_over(&self) -> bool {
        self.request.is_none() && self.http.is_closed()
    }

    /// The hook that the request waits for.
    pub(super) fn asked(&self) -> Option<&Asked> {
        self.request.as_ref().and_then(|request| request.asked.as_ref())
    }

    /// The next point in time at which something must be done, and whether it is the exchange's.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let http = self.http.deadline().map(|(at, _)| at);
        let request = self.request.as_ref();
        let exchange = request.and_then(|request| request.session.deadline()).map(|(at, _)| at);
        let hook = self.asked().map(|asked| asked.until);
        http.into_iter().chain(exchange).chain(hook).chain(self.handshake_until()).min()
    }

    /// Reads once into `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> ReadEnd {
        // Behind the end of a body there may be more requests: bytes that would wait in memory.
        let room = match self.request {
            None => HEAD_READ,
            Some(_) => {
                usize::try_from(self.http.raw_credit()).unwrap_or(BODY_READ).clamp(HEAD_READ, BODY_READ)
            }
        };
        let room = room.min(buffer.len());
        loop {
            let read = match &mut self.tls {
                Some(tls) => tls.read(&self.socket, &mut buffer[..room]),
                None => (&mut &*self.socket).read(&mut buffer[..room]),
            };
            return match read {
                Ok(0) => {
                    self.readable = false;
                    ReadEnd::Eof
                }
                Ok(count) => {
                    self.taken += count as u64;
                    ReadEnd::Bytes(count)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    ReadEnd::Nothing
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => ReadEnd::Broken,
            };
        }
    }

    /// Writes what there is to write, and shuts the write side down where that is due. Returns whether it did
    /// anything.
    pub(super) fn write(&mut self, now: Now) -> bool {
        let mut progress = false;
        while self.writable && self.wants_write() {
            let written = match &mut self.tls {
                Some(tls) if !self.http.wants_write() => tls.flush(&self.socket).map(|()| 0),
                Some(tls) => tls.write(&self.socket, self.http.output()),
                None => (&mut &*self.socket).write(self.http.output()),
            };
            match written {
                Ok(count) => {
                    if count > 0 {
                        self.http.sent(now.monotonic, count);
                    }
                    progress = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    (self.broken, self.writable, self.readable) = (true, false, true);
                    return true;
                }
            }
        }
        if self.http.wants_shutdown_write() && self.say_goodbye() {
            // A peer that is gone needs no farewell.
            let _ = self.socket.shutdown(Shutdown::Write);
            self.http.write_shut();
            progress = true;
        }
        progress
    }

    fn wants_write(&self) -> bool {
        self.http.wants_write() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Tells a TLS peer that nothing more comes. Returns whether that is said, or can't be.
    pub(super) fn say_goodbye(&mut self) -> bool {
        let Some(tls) = &mut self.tls else { return true };
        match tls.close(&self.socket) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                false
            }
            _ => true,
        }
    }

    /// The connection is broken: what is under way ends without an answer.
    pub(super) fn give_up(&mut self) {
        self.gone = true;
        self.readable = false;
        self.unread = Unread::default();
        self.http.reset();
    }
}

/// A hook that an exchange waits for.
#[derive(Debug)]
pub(super) struct Asked {
    pub op: OpId,
    pub hook: Hook,
    /// How long it waits.
    pub until: Instant,
}

/// The body will not go on.
pub(super) fn cut<S: Store>(connection: &mut Connection<S>, now: Now, why: Cut) {
    if why == Cut::PeerGone {
        connection.give_up();
    }
    if let Some(request) = &mut connection.request {
        request.session.cut_body(now, why);
    }
}

#[cfg(test)]
mod tests {
    use tus_redb::RedbStore;

    use super::*;

    #[test]
    fn thousands_of_connections_may_wait() {
        assert!(size_of::<Connection<RedbStore>>() <= 320, "{}", size_of::<Connection<RedbStore>>());
        assert!(size_of::<Request<RedbStore>>() <= 648, "{}", size_of::<Request<RedbStore>>());
    }
}
