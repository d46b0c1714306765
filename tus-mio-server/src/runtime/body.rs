//! A body on its way from the socket to the store: the runtime's half of an Append. Large stretches of plain
//! data are moved by a worker from socket to store; the rest is decoded here and written by a worker.

use tus_proto::{Abort, AppendEnd, Completion, Failure, Input, Now, OpId, Trailers};

use super::{
    accept::listen_for_input,
    buffers::BUFFER,
    connection::{Connection, ReadEnd},
    event_loop::EventLoop,
    intake::Intake,
    workers::{Address, BodyDone, Job, MoveEnd},
};
use crate::http1::{Eof, Event};

/// From this much plain data on, a worker reads the socket itself.
const MOVE_FROM: u64 = 64 << 10;

/// How much decoded data goes to a worker at once, at the most: a read may find that much.
const WRITE_MAX: usize = 2 * BUFFER;

/// How often a body is read in one turn: a sender of tiny chunks must not keep others waiting.
const READS: usize = 16;

/// An open Append.
#[derive(Debug)]
pub(super) struct Body {
    pub op: OpId,
    /// None while a worker has it, and where no byte is welcome.
    pub intake: Option<Intake>,
    pub max: u64,
    /// A worker is at work for this body.
    pub at_work: bool,
    pub staged: u64,
    /// The exchange wants no more.
    pub stopped: bool,
    /// How the body ended; told when the last byte is staged.
    pub ending: Option<Ending>,
    /// Others waited for the buffer this body gave back: it takes the next one in this round at the earliest.
    pub not_before: u64,
    /// A HEAD waits.
    pub checkpoint: Option<Checkpoint>,
}

/// How far a HEAD's question has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Checkpoint {
    Asked,
    /// It goes to the exchange when this many bytes have been taken from the socket, and staged.
    At(u64),
}

/// How a body ended.
#[derive(Debug)]
pub(super) enum Ending {
    Complete(Trailers),
    Overflow,
    Stopped,
    Cut(Abort),
    Failed(Failure),
}

impl Body {
    pub(super) fn new(op: OpId, intake: Option<Intake>, max: u64) -> Self {
        let (at_work, stopped, ending, checkpoint) = (false, false, None, None);
        Self { op, intake, max, at_work, staged: 0, stopped, ending, not_before: 0, checkpoint }
    }
}

impl EventLoop {
    /// Moves a body on as far as it goes without waiting. Tells whether it did anything.
    pub(super) fn pump_body(&mut self, connection: &mut Connection) -> bool {
        let Some(body) = connection.body().filter(|body| !body.at_work) else { return false };
        if body.stopped {
            body.ending.get_or_insert(Ending::Stopped);
        }
        self.aim_checkpoint(connection);
        let mut progress = self.tell_checkpoint(connection);
        if !progress && !self.waits_for_commit(connection) {
            self.take_in(connection);
            progress = self.tell_checkpoint(connection);
        }
        let Some(body) = connection.body().filter(|body| !body.at_work) else { return true };
        if let Some(ending) = body.ending.take() {
            self.end_body(connection, ending);
            progress = true;
        }
        progress
    }

    /// Where the network is faster than the disk, the body waits for its commits: a crash must not cost more
    /// than the exchange allows.
    fn waits_for_commit(&mut self, connection: &mut Connection) -> bool {
        let waits = connection.request.as_ref().is_some_and(|request| {
            let open = request.body.as_ref().is_some_and(|body| body.ending.is_none());
            open && request.exchange.headroom() == 0
        });
        connection.http.set_reading(self.now.monotonic, !waits);
        waits
    }

    /// Takes in what is there: decodes it, and gives it to a worker.
    fn take_in(&mut self, connection: &mut Connection) {
        if connection.body().is_some_and(|body| body.not_before > self.round) {
            return;
        }
        // Without credit the end may need no byte more.
        if connection.unread.is_empty() && !connection.readable && connection.http.raw_credit() > 0 {
            return;
        }
        let Some(mut data) = self.buffers.take(connection.id) else {
            connection.http.set_reading(self.now.monotonic, false);
            return;
        };
        let unread = std::mem::take(&mut connection.unread);
        decode(connection, unread.as_slice(), &mut data, self.now);
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut reads = 0;
        while data.len() + BUFFER <= WRITE_MAX && connection.readable && reads < READS {
            reads += 1;
            let credit = connection.http.raw_credit();
            let Some(body) = connection.body().filter(|body| body.ending.is_none()) else { break };
            let credit = credit.min(body.max - body.staged);
            if credit >= MOVE_FROM && connection.tls.is_none() {
                if data.is_empty() {
                    let headroom =
                        connection.request.as_ref().map_or(0, |request| request.exchange.headroom());
                    self.move_beside(connection, credit.min(headroom));
                }
                break;
            }
            match connection.read(&mut scratch) {
                ReadEnd::Bytes(count) => decode(connection, &scratch[..count], &mut data, self.now),
                ReadEnd::Nothing if connection.broken => cut(connection, Abort::PeerGone),
                ReadEnd::Nothing => {}
                ReadEnd::Eof => self.on_body_eof(connection),
                ReadEnd::Broken => cut(connection, Abort::PeerGone),
            }
        }
        self.scratch = scratch;
        if data.is_empty() {
            self.recycle(data);
        } else if self.takes_at_once(connection, &data) {
            self.write_at_once(connection, data);
        } else {
            self.write_beside(connection, data);
        }
        if reads == READS {
            self.again.push(connection.id);
        }
    }

    fn on_body_eof(&mut self, connection: &mut Connection) {
        connection.ended = true;
        if connection.http.eof(self.now.monotonic) == Eof::HalfClosed {
            cut(connection, Abort::HalfClosed);
        }
    }

    fn address(&self, connection: &Connection) -> Address {
        Address { loop_index: self.index, connection: connection.id }
    }

    fn move_beside(&mut self, connection: &mut Connection, limit: u64) {
        let (to, socket) = (self.address(connection), connection.socket.clone());
        // Where this fails, the loop is woken for nothing.
        let _ = listen_for_input(self.poll.registry(), &socket, connection.id, false);
        connection.muted = true;
        self.lend(connection, |intake| Job::Move { to, socket, intake, limit });
    }

    fn write_beside(&mut self, connection: &mut Connection, data: Vec<u8>) {
        let to = self.address(connection);
        self.lend(connection, |intake| Job::Write { to, intake, data });
    }

    /// A small body goes into the records: until it is committed it stays in memory.
    fn takes_at_once(&self, connection: &mut Connection, data: &[u8]) -> bool {
        let intake = connection.body().and_then(|body| body.intake.as_ref());
        intake.is_some_and(|intake| intake.takes_at_once(data.len()))
    }

    fn write_at_once(&mut self, connection: &mut Connection, data: Vec<u8>) {
        let Some(mut intake) = connection.body().and_then(|body| body.intake.take()) else { return };
        let end = intake.write(&data).map_or_else(MoveEnd::Failed, |()| MoveEnd::Done);
        self.on_body_done(connection, BodyDone { intake, data: Some(data), taken: 0, end });
    }

    fn lend(&mut self, connection: &mut Connection, job: impl FnOnce(Intake) -> Job) {
        let Some((body, intake)) =
            connection.body().and_then(|body| body.intake.take().map(|intake| (body, intake)))
        else {
            return;
        };
        body.at_work = true;
        connection.readable_again = false;
        // From here on it is we who are not reading.
        connection.http.set_reading(self.now.monotonic, false);
        self.shared.workers.submit(job(intake));
    }

    /// A worker brings the intake back.
    pub(super) fn on_body_done(&mut self, connection: &mut Connection, done: BodyDone) {
        let waited_for = done.data.is_some_and(|buffer| self.recycle(buffer));
        let now = self.now;
        connection.http.moved(now.monotonic, done.taken);
        connection.taken += done.taken;
        self.unmute(connection);
        if done.end == MoveEnd::WouldBlock && !connection.readable_again {
            connection.readable = false;
        }
        let Some(request) = &mut connection.request else { return };
        let Some(body) = &mut request.body else { return };
        body.at_work = false;
        if waited_for {
            body.not_before = self.round + 1;
            self.again.push(connection.id);
        }
        let staged = done.intake.staged();
        body.intake = Some(done.intake);
        if let MoveEnd::Failed(failure) = done.end {
            body.ending = Some(Ending::Failed(failure));
        }
        if staged > body.staged {
            body.staged = staged;
            request.exchange.handle(now, Input::Staged(body.op, staged));
        }
        match done.end {
            MoveEnd::Done | MoveEnd::WouldBlock | MoveEnd::Failed(_) => {}
            MoveEnd::Eof => self.on_body_eof(connection),
            MoveEnd::Reset => cut(connection, Abort::PeerGone),
        }
    }

    /// A worker has stopped reading: from here on the loop hears of input again, of what came by now as well.
    fn unmute(&self, connection: &mut Connection) {
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

    /// Gives a buffer back; who waits for one has its turn. Tells whether anybody does.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) -> bool {
        let before = self.again.len();
        self.again.extend(self.buffers.give_back(buffer));
        self.again.len() > before
    }

    /// A HEAD asks for the true offset. Tells whether there is an open Append; what lies in the receive buffer
    /// then is staged first.
    pub(super) fn begin_checkpoint(&mut self, connection: &mut Connection) -> bool {
        let Some(body) = connection.body() else { return false };
        body.checkpoint = Some(Checkpoint::Asked);
        true
    }

    /// Sees how much must be staged before a checkpoint: not while a worker is reading, who may have taken
    /// some of it already.
    fn aim_checkpoint(&mut self, connection: &mut Connection) {
        let taken = connection.taken;
        let Some(body) = connection.body().filter(|body| matches!(body.checkpoint, Some(Checkpoint::Asked)))
        else {
            return;
        };
        body.checkpoint = Some(Checkpoint::At(taken));
        if let Ok(waiting) = rustix::io::ioctl_fionread(&*connection.socket)
            && let Some(body) = connection.body()
        {
            body.checkpoint = Some(Checkpoint::At(taken.saturating_add(waiting)));
            connection.readable = true;
        }
    }

    /// Passes the question on once all of that is staged. Tells whether it did.
    fn tell_checkpoint(&mut self, connection: &mut Connection) -> bool {
        let (taken, readable, pending) =
            (connection.taken, connection.readable, !connection.unread.is_empty());
        let Some(body) = connection.body().filter(|body| !body.at_work && body.ending.is_none()) else {
            return false;
        };
        let Some(Checkpoint::At(target)) = body.checkpoint else { return false };
        if pending || (readable && taken < target) {
            return false;
        }
        body.checkpoint = None;
        let now = self.now;
        if let Some(request) = &mut connection.request {
            request.exchange.handle(now, Input::Checkpoint);
        }
        true
    }

    /// Completes the Append, then says how the body ended.
    fn end_body(&mut self, connection: &mut Connection, ending: Ending) {
        let now = self.now;
        connection.http.set_reading(now.monotonic, false);
        let Some(request) = &mut connection.request else { return };
        let Some(body) = request.body.take() else { return };
        let (end, follows) = match ending {
            Ending::Complete(trailers) => (AppendEnd::BodyEnd, Some(Input::BodyEnd(trailers))),
            Ending::Overflow => (AppendEnd::Overflow, None),
            Ending::Stopped => (AppendEnd::Stopped, None),
            Ending::Cut(abort) => (AppendEnd::Stopped, Some(Input::Abort(abort))),
            Ending::Failed(failure) => {
                self.shared.metrics.store_failed(failure);
                (AppendEnd::Failed(failure), None)
            }
        };
        let digest = body.intake.and_then(Intake::digest);
        let completion = Completion::Appended { total: body.staged, end, digest };
        request.exchange.handle(now, Input::Store(body.op, completion));
        if let Some(input) = follows {
            request.exchange.handle(now, input);
        }
        if body.checkpoint.is_some() {
            request.exchange.handle(now, Input::Checkpoint);
        }
    }
}

/// Decodes body bytes into `data`. What lies behind the body's end is kept for the next request.
fn decode(connection: &mut Connection, input: &[u8], data: &mut Vec<u8>, now: Now) {
    let mut rest = input;
    if let Some(body) = connection.request.as_mut().and_then(|request| request.body.as_mut()) {
        while body.ending.is_none() {
            match connection.http.next(now.monotonic, &mut rest) {
                Some(Event::Body(bytes)) => {
                    let room = body.max - body.staged - data.len() as u64;
                    let welcome = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
                    data.extend_from_slice(&bytes[..welcome]);
                    if welcome < bytes.len() {
                        body.ending = Some(Ending::Overflow);
                    }
                }
                Some(Event::End(trailers)) => body.ending = Some(Ending::Complete(trailers)),
                Some(Event::Refused(_)) => body.ending = Some(Ending::Cut(Abort::BadFraming)),
                Some(Event::Head) | None => break,
            }
        }
    }
    connection.unread.push(rest);
}

/// The body will not go on.
pub(super) fn cut(connection: &mut Connection, abort: Abort) {
    if abort == Abort::PeerGone {
        connection.give_up();
    }
    if let Some(body) = connection.body() {
        body.ending.get_or_insert(Ending::Cut(abort));
    }
}
