//! A body on its way from the socket to the store: the runtime's half of an Append. Large stretches of plain
//! data are moved by a worker from socket to store; the rest is decoded here and written by a worker.

pub(super) mod state;
pub(super) mod worker;

use std::task::Poll;

use tus_driver::Store;
use tus_proto::{Cut, Now, Trailers};

use super::{
    accept::listen_for_input,
    buffers::BUFFER,
    connection::{Connection, ReadEnd, cut},
    event_loop::EventLoop,
    workers::{
        job::{Address, BodyDone, BodySink, Job, MoveEnd},
        waker,
    },
};
use crate::http1::{Eof, Event};

/// From this much plain data on, a worker reads the socket itself.
const MOVE_FROM: u64 = 64 << 10;

/// How much decoded data goes to a worker at once, at the most: a read may find that much.
const WRITE_MAX: usize = 2 * BUFFER;

/// How often a body is read in one turn: a sender of tiny chunks must not keep others waiting.
const READS: usize = 16;

/// How a body ended, as the connection's HTTP saw it. It is told when the bytes before it are on their way.
#[derive(Debug)]
enum End {
    Complete(Trailers),
    Overflow,
    Cut(Cut),
}

impl<S: Store> EventLoop<S> {
    /// Moves a body on as far as it goes without waiting. Returns whether it did anything.
    pub(super) fn pump_body(&mut self, connection: &mut Connection<S>) -> bool {
        let now = self.now;
        let Some(request) = connection.request.as_ref().filter(|request| !request.session.is_lent()) else {
            return false;
        };
        if !request.session.is_receiving() {
            connection.http.set_reading(now.monotonic, false);
            return false;
        }
        self.aim_checkpoint(connection);
        if self.tell_checkpoint(connection) {
            return true;
        }
        if !self.waits_for_commit(connection) {
            self.take_in(connection);
            if self.tell_checkpoint(connection) {
                return true;
            }
        }
        // Whatever ended the body, or took its sink, is to be seen to.
        !connection.request.as_ref().is_some_and(|request| request.session.is_receiving())
    }

    /// Where the network is faster than the disk, the body waits for its commits: a crash must not cost more
    /// than the exchange allows.
    fn waits_for_commit(&mut self, connection: &mut Connection<S>) -> bool {
        let waits = connection.request.as_ref().is_some_and(|request| request.session.headroom() == 0);
        connection.http.set_reading(self.now.monotonic, !waits);
        waits
    }

    /// Takes in what is there: decodes it, and gives it to a worker.
    fn take_in(&mut self, connection: &mut Connection<S>) {
        let Some(request) = &connection.request else { return };
        if request.body.not_before > self.round {
            return;
        }
        // Without credit the end may need no byte more.
        if connection.unread.is_empty() && !connection.readable && connection.http.raw_credit() > 0 {
            return;
        }
        let Some(room) = self.room(connection) else { return };
        let Some(mut data) = self.buffers.take(connection.id) else {
            connection.http.set_reading(self.now.monotonic, false);
            return;
        };
        let unread = std::mem::take(&mut connection.unread);
        let (first, rest) = unread.as_slice().split_at(unread.as_slice().len().min(room));
        let mut end = decode(connection, first, &mut data, self.now);
        connection.unread.push(rest);
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut reads = 0;
        while end.is_none()
            && connection.unread.is_empty()
            && data.len() + BUFFER <= WRITE_MAX
            && data.len() < room
            && connection.readable
            && reads < READS
            && let Some(request) = &connection.request
        {
            reads += 1;
            let credit = connection.http.raw_credit().min(request.session.welcome());
            if credit >= MOVE_FROM && connection.tls.is_none() {
                if data.is_empty() {
                    let headroom = request.session.headroom();
                    self.move_beside(connection, credit.min(headroom).min(room as u64));
                }
                break;
            }
            let most = scratch.len().min(room - data.len());
            end = match connection.read(&mut scratch[..most]) {
                ReadEnd::Bytes(count) => decode(connection, &scratch[..count], &mut data, self.now),
                ReadEnd::Nothing if connection.broken => Some(End::Cut(Cut::PeerGone)),
                ReadEnd::Nothing => None,
                ReadEnd::Eof => self.on_body_eof(connection).map(End::Cut),
                ReadEnd::Broken => Some(End::Cut(Cut::PeerGone)),
            };
        }
        self.scratch = scratch;
        if data.is_empty() {
            self.recycle(data);
        } else if self.takes_at_once(connection, &data) {
            self.write_at_once(connection, data);
        } else {
            self.write_beside(connection, data);
        }
        let more = end.is_none() && !connection.unread.is_empty();
        if let Some(end) = end {
            self.end_body(connection, end);
        }
        if reads == READS || more {
            self.again.push(connection.id);
        }
    }

    /// How many bytes the store takes now. `None` if it takes none: the loop is woken when it may.
    fn room(&self, connection: &mut Connection<S>) -> Option<usize> {
        let (now, to) = (self.now, self.address(connection));
        let request = connection.request.as_mut()?;
        match request.session.poll_room(now, &|| waker(&self.shared.mailboxes, to)) {
            Poll::Ready(room) => Some(room),
            Poll::Pending => {
                // Stop the body timer: the store, not the client, is the bottleneck.
                connection.http.set_reading(now.monotonic, false);
                None
            }
        }
    }

    fn end_body(&self, connection: &mut Connection<S>, end: End) {
        let now = self.now;
        let Some(request) = &mut connection.request else { return };
        match end {
            End::Complete(trailers) => request.session.end_body(now, trailers),
            End::Overflow => request.session.overflow(now),
            End::Cut(why) => cut(connection, now, why),
        }
    }

    /// The peer has ended its side; and whether the body will not be complete.
    fn on_body_eof(&mut self, connection: &mut Connection<S>) -> Option<Cut> {
        connection.ended = true;
        (connection.http.eof(self.now.monotonic) == Eof::HalfClosed).then_some(Cut::HalfClosed)
    }

    fn address(&self, connection: &Connection<S>) -> Address {
        Address { loop_index: self.index, connection: connection.id }
    }

    fn move_beside(&mut self, connection: &mut Connection<S>, limit: u64) {
        let (to, socket) = (self.address(connection), connection.socket.clone());
        // Where this fails, the loop is woken for nothing.
        let _ = listen_for_input(self.poll.registry(), &socket, connection.id, false);
        connection.muted = true;
        self.lend(connection, |sink| Job::Move { to, socket, sink, limit });
    }

    fn write_beside(&mut self, connection: &mut Connection<S>, data: Vec<u8>) {
        let to = self.address(connection);
        self.lend(connection, |sink| Job::Write { to, sink, data });
    }

    /// A small body goes into the records: until it is committed it stays in memory.
    fn takes_at_once(&self, connection: &Connection<S>, data: &[u8]) -> bool {
        connection.request.as_ref().is_some_and(|request| !request.session.blocks(data.len()))
    }

    fn write_at_once(&mut self, connection: &mut Connection<S>, data: Vec<u8>) {
        if let Some(request) = &mut connection.request {
            request.session.write(self.now, &mut &*data);
        }
        self.recycle(data);
    }

    fn lend(&mut self, connection: &mut Connection<S>, job: impl FnOnce(BodySink<S>) -> Job<S>) {
        let lent = connection.request.as_mut().and_then(|request| request.session.lend());
        let Some(sink) = lent else { return };
        connection.readable_again = false;
        // Stop the body timer: the worker, not the client, is now the bottleneck.
        connection.http.set_reading(self.now.monotonic, false);
        self.shared.workers.submit(job(sink));
    }

    /// A worker brings the sink back.
    pub(super) fn on_body_done(&mut self, connection: &mut Connection<S>, done: BodyDone<S>) {
        let BodyDone { sink, data, taken, end } = done;
        let waited_for = data.is_some_and(|buffer| self.recycle(buffer));
        let now = self.now;
        connection.http.moved(now.monotonic, taken);
        connection.taken += taken;
        self.unmute(connection);
        if end == MoveEnd::WouldBlock && !connection.readable_again {
            connection.readable = false;
        }
        let Some(request) = &mut connection.request else { return };
        if waited_for {
            request.body.not_before = self.round + 1;
            self.again.push(connection.id);
        }
        let result = if let MoveEnd::Failed(failure) = end { Err(failure) } else { Ok(()) };
        request.session.give_back(now, sink, result);
        let why = match end {
            MoveEnd::Done | MoveEnd::WouldBlock | MoveEnd::Failed(_) => None,
            MoveEnd::Eof => self.on_body_eof(connection),
            MoveEnd::Reset => Some(Cut::PeerGone),
        };
        if let Some(why) = why {
            cut(connection, now, why);
        }
    }

    /// A worker has stopped reading: from here on the loop hears of input again, of what came by now as well.
    fn unmute(&self, connection: &mut Connection<S>) {
        if !std::mem::take(&mut connection.muted) {
            return;
        }
        let registry = self.poll.registry();
        if let Err(error) = listen_for_input(registry, &connection.socket, connection.id, true) {
            tracing::warn!(%error, "a connection can't be watched any more");
            connection.broken = true;
            connection.readable_again = true;
        }
    }

    /// Gives a buffer back; a connection that waits for one has its turn. Returns whether anybody does.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) -> bool {
        let before = self.again.len();
        self.again.extend(self.buffers.give_back(buffer));
        self.again.len() > before
    }

    /// Sees how much must be staged before a HEAD is answered: not while a worker is reading, which may have taken
    /// some of it already.
    fn aim_checkpoint(&mut self, connection: &mut Connection<S>) {
        let Some(request) = &mut connection.request else { return };
        if !request.session.wants_drain() {
            request.body.drain_until = None;
            return;
        }
        if request.body.drain_until.is_some() {
            return;
        }
        let waiting = rustix::io::ioctl_fionread(&*connection.socket).ok();
        request.body.drain_until = Some(connection.taken.saturating_add(waiting.unwrap_or(0)));
        connection.readable |= waiting.is_some();
    }

    /// Passes the question on once all of that is staged. Returns whether it did.
    fn tell_checkpoint(&self, connection: &mut Connection<S>) -> bool {
        let (taken, readable, pending) =
            (connection.taken, connection.readable, !connection.unread.is_empty());
        let Some(request) = &mut connection.request else { return false };
        if !request.session.is_receiving() || !request.session.wants_drain() {
            return false;
        }
        let Some(target) = request.body.drain_until else { return false };
        if pending || (readable && taken < target) {
            return false;
        }
        request.body.drain_until = None;
        request.session.drained(self.now);
        true
    }
}

/// Decodes body bytes into `data`, and says how the body ended, if it did. What follows its end is kept for the next
/// request.
fn decode<S: Store>(
    connection: &mut Connection<S>,
    input: &[u8],
    data: &mut Vec<u8>,
    now: Now,
) -> Option<End> {
    let welcome = connection.request.as_ref().map_or(0, |request| request.session.welcome());
    let mut rest = input;
    let mut end = None;
    while end.is_none() {
        match connection.http.next(now.monotonic, &mut rest) {
            Some(Event::Body(bytes)) => {
                let room = usize::try_from(welcome - data.len() as u64).unwrap_or(usize::MAX);
                let welcome = room.min(bytes.len());
                data.extend_from_slice(&bytes[..welcome]);
                if welcome < bytes.len() {
                    end = Some(End::Overflow);
                }
            }
            Some(Event::End(trailers)) => end = Some(End::Complete(trailers)),
            Some(Event::Rejected(_)) => end = Some(End::Cut(Cut::BadFraming)),
            Some(Event::Head) | None => break,
        }
    }
    connection.unread.push(rest);
    end
}
