//! A body on its way from the network to the store: decoded here, or moved beside the connection by a worker.

use tus_mio_server::http1::{Eof, Event};
use tus_proto::{Abort, AppendEnd, Completion, Digest, Failure, Hasher, Input, Now, OpId, Trailers};
use tus_redb::Sink;

use super::{
    Connection, Server,
    jobs::{BodyDone, Job, MoveEnd, Work},
};
use crate::sim::{env::Env, network::Read};

/// How much decoded data goes to a worker at once, at the most.
const WRITE_MAX: usize = 8 << 10;

/// An open Append.
#[derive(Debug)]
pub(super) struct Body {
    op: OpId,
    /// None while a worker has it, and where no byte is welcome.
    intake: Option<Intake>,
    max: u64,
    at_work: bool,
    staged: u64,
    pub(super) stopped: bool,
    ending: Option<Ending>,
    checkpoint: Option<Checkpoint>,
}

/// Where a body's bytes go, hashed on the way where the head names a checksum.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) sink: Sink,
    pub(super) hasher: Option<Hasher>,
}

/// How far a HEAD's question has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checkpoint {
    Asked,
    /// It goes to the exchange when this many bytes have been taken, and staged.
    At(u64),
}

/// How a body ended.
#[derive(Debug)]
enum Ending {
    Complete(Trailers),
    Overflow,
    Stopped,
    Cut(Abort),
    Failed(Failure),
}

impl Body {
    pub(super) fn new(op: OpId, intake: Option<Intake>, max: u64, stopped: bool) -> Self {
        let (at_work, ending, checkpoint) = (false, None, None);
        Self { op, intake, max, at_work, staged: 0, stopped, ending, checkpoint }
    }

    /// Whether nothing has ended it yet.
    pub(super) fn goes_on(&self) -> bool {
        !self.stopped && self.ending.is_none()
    }
}

impl Server {
    /// Moves a body on as far as it goes without waiting. Tells whether it did anything.
    pub(super) fn pump_body(&mut self, env: &mut Env, connection: &mut Connection) -> bool {
        let Some(body) = connection.body().filter(|body| !body.at_work) else { return false };
        if body.stopped {
            body.ending.get_or_insert(Ending::Stopped);
        }
        aim_checkpoint(env, connection);
        let mut progress = tell_checkpoint(env.now, connection);
        if !progress && !waits_for_commit(env.now, connection) {
            self.take_in(env, connection);
            progress = tell_checkpoint(env.now, connection);
        }
        let Some(body) = connection.body().filter(|body| !body.at_work) else { return true };
        if let Some(ending) = body.ending.take() {
            end_body(env.now, connection, ending);
            progress = true;
        }
        progress
    }

    /// Takes in what is there: decodes it, or lets a worker move it.
    fn take_in(&mut self, env: &mut Env, connection: &mut Connection) {
        if connection.unread.is_empty() && !connection.readable && connection.http.raw_credit() > 0 {
            return;
        }
        let mut data = Vec::new();
        let unread = std::mem::take(&mut connection.unread);
        decode(connection, &unread, &mut data, env.now);
        while data.len() < WRITE_MAX && connection.readable {
            let credit = connection.http.raw_credit();
            let headroom = connection.request.as_ref().map_or(0, |request| request.exchange.headroom());
            let Some(body) = connection.body().filter(|body| body.ending.is_none()) else { break };
            let credit = credit.min(body.max - body.staged).min(headroom);
            if credit > 0 && data.is_empty() && env.choice.one_in(2) {
                let limit = env.choice.part(credit);
                return self.lend(env, connection, |intake| Work::Move { intake, limit });
            }
            match self.receive(env, connection, WRITE_MAX) {
                Read::Bytes(bytes) => decode(connection, &bytes, &mut data, env.now),
                Read::Nothing => {}
                Read::End => on_body_eof(env.now, connection),
                Read::Broken => cut(connection, Abort::PeerGone),
            }
        }
        if !data.is_empty() {
            self.lend(env, connection, |intake| Work::Write { intake, data });
        }
    }

    fn lend(&mut self, env: &mut Env, connection: &mut Connection, work: impl FnOnce(Intake) -> Work) {
        let link = connection.link;
        let request = connection.request.as_mut();
        let Some((owner, body)) = request.and_then(|request| Some((request.owner, request.body.as_mut()?)))
        else {
            return;
        };
        let Some(intake) = body.intake.take() else { return };
        body.at_work = true;
        self.jobs.push(Job { link: Some(link), owner: Some(owner), op: Some(body.op), work: work(intake) });
        // From here on it is we who are not reading.
        connection.http.set_reading(env.now.monotonic, false);
    }

    /// A worker brings the intake back.
    pub(super) fn on_body_done(&mut self, env: &mut Env, connection: &mut Connection, done: BodyDone) {
        let now = env.now;
        connection.http.moved(now.monotonic, done.taken);
        connection.taken += done.taken;
        let Some(request) = &mut connection.request else { return };
        let Some(body) = &mut request.body else { return };
        body.at_work = false;
        let staged = done.intake.sink.staged();
        body.intake = Some(done.intake);
        if let MoveEnd::Failed(failure) = done.end {
            body.ending = Some(Ending::Failed(failure));
        }
        if staged > body.staged {
            body.staged = staged;
            let op = body.op;
            request.tell(now, Input::Staged(op, staged));
        }
        match done.end {
            MoveEnd::Done | MoveEnd::Failed(_) => {}
            MoveEnd::Eof => on_body_eof(now, connection),
            MoveEnd::Reset => cut(connection, Abort::PeerGone),
        }
    }
}

/// Where the network is faster than the disk, the body waits for its commits.
fn waits_for_commit(now: Now, connection: &mut Connection) -> bool {
    let waits = connection.request.as_ref().is_some_and(|request| {
        let open = request.body.as_ref().is_some_and(|body| body.ending.is_none());
        open && request.exchange.headroom() == 0
    });
    connection.http.set_reading(now.monotonic, !waits);
    waits
}

fn on_body_eof(now: Now, connection: &mut Connection) {
    connection.ended = true;
    if connection.http.eof(now.monotonic) == Eof::HalfClosed {
        cut(connection, Abort::HalfClosed);
    }
}

/// A HEAD asks for the true offset. Tells whether there is an open Append; what has arrived by then is staged
/// first.
pub(super) fn begin_checkpoint(connection: &mut Connection) -> bool {
    let Some(body) = connection.body() else { return false };
    body.checkpoint = Some(Checkpoint::Asked);
    true
}

/// Sees how much must be staged before a checkpoint.
fn aim_checkpoint(env: &Env, connection: &mut Connection) {
    let taken = connection.taken;
    let waiting = env.links.get(&connection.link).map_or(0, |link| link.up.arrived() as u64);
    if let Some(body) = connection.body().filter(|body| body.checkpoint == Some(Checkpoint::Asked)) {
        body.checkpoint = Some(Checkpoint::At(taken + waiting));
        connection.readable = true;
    }
}

/// Passes the question on once all of that is staged. Tells whether it did.
fn tell_checkpoint(now: Now, connection: &mut Connection) -> bool {
    let (taken, readable, pending) = (connection.taken, connection.readable, !connection.unread.is_empty());
    let Some(body) = connection.body().filter(|body| !body.at_work && body.ending.is_none()) else {
        return false;
    };
    let Some(Checkpoint::At(target)) = body.checkpoint else { return false };
    if pending || (readable && taken < target) {
        return false;
    }
    body.checkpoint = None;
    if let Some(request) = &mut connection.request {
        request.tell(now, Input::Checkpoint);
    }
    true
}

/// Completes the Append, then says how the body ended.
fn end_body(now: Now, connection: &mut Connection, ending: Ending) {
    connection.http.set_reading(now.monotonic, false);
    let Some(request) = &mut connection.request else { return };
    let Some(body) = request.body.take() else { return };
    let (end, follows) = match ending {
        Ending::Complete(trailers) => (AppendEnd::BodyEnd, Some(Input::BodyEnd(trailers))),
        Ending::Overflow => (AppendEnd::Overflow, None),
        Ending::Stopped => (AppendEnd::Stopped, None),
        Ending::Cut(abort) => (AppendEnd::Stopped, Some(Input::Abort(abort))),
        Ending::Failed(failure) => (AppendEnd::Failed(failure), None),
    };
    let digest: Option<Digest> = body.intake.and_then(|intake| intake.hasher).map(Hasher::finish);
    request.watch.body_whole = end == AppendEnd::BodyEnd;
    let completion = Completion::Appended { total: body.staged, end, digest };
    request.tell(now, Input::Store(body.op, completion));
    if let Some(input) = follows {
        request.tell(now, input);
    }
    if body.checkpoint.is_some() {
        request.tell(now, Input::Checkpoint);
    }
}

/// Decodes body bytes into `data`. What lies behind the body's end is kept for the next request.
fn decode(connection: &mut Connection, input: &[u8], data: &mut Vec<u8>, now: Now) {
    let mut rest = input;
    if let Some(body) = connection.request.as_mut().and_then(|request| request.body.as_mut()) {
        while body.ending.is_none() {
            match connection.http.next(now.monotonic, &mut rest) {
                Some(Event::Body(bytes)) => {
                    let room = (body.max - body.staged - data.len() as u64).min(bytes.len() as u64);
                    data.extend_from_slice(&bytes[..room as usize]);
                    if (room as usize) < bytes.len() {
                        body.ending = Some(Ending::Overflow);
                    }
                }
                Some(Event::End(trailers)) => body.ending = Some(Ending::Complete(trailers)),
                Some(Event::Refused(_)) => body.ending = Some(Ending::Cut(Abort::BadFraming)),
                Some(Event::Head) | None => break,
            }
        }
    }
    connection.unread.extend_from_slice(rest);
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
