//! A body on its way from the network to its session: decoded here, or moved past the connection by a worker.

use tus_driver::HashingSink;
use tus_mio_server::http1::{Eof, Event};
use tus_proto::{Cut, Now, Trailers};
use tus_redb::Sink;

use super::{
    Connection, Server,
    jobs::{BodyDone, Job, MoveEnd, Work},
};
use crate::sim::{env::Env, network::Read};

/// How much decoded data goes to a worker at once, at the most.
const WRITE_MAX: usize = 8 << 10;

/// The network's half of a body.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// A HEAD waits: its question goes to the session when this many bytes have been taken.
    drain_until: Option<u64>,
}

/// How a body ended.
#[derive(Debug)]
enum End {
    Complete(Trailers),
    Overflow,
    Cut(Cut),
}

impl Server {
    /// Moves a body on as far as it goes without waiting. Returns whether it did anything.
    pub(super) fn pump_body(&mut self, env: &mut Env, connection: &mut Connection) -> bool {
        let now = env.now;
        let Some(request) = connection.request.as_ref().filter(|request| !request.session.is_lent()) else {
            return false;
        };
        if !request.session.is_receiving() {
            connection.http.set_reading(now.monotonic, false);
            return false;
        }
        aim_checkpoint(env, connection);
        if tell_checkpoint(now, connection) {
            return true;
        }
        if !waits_for_commit(now, connection) {
            self.take_in(env, connection);
            if tell_checkpoint(now, connection) {
                return true;
            }
        }
        !connection.request.as_ref().is_some_and(|request| request.session.is_receiving())
    }

    /// Takes in what is there: decodes it, or lets a worker move it.
    fn take_in(&mut self, env: &mut Env, connection: &mut Connection) {
        if connection.unread.is_empty() && !connection.readable && connection.http.raw_credit() > 0 {
            return;
        }
        let mut data = Vec::new();
        let unread = std::mem::take(&mut connection.unread);
        let mut end = decode(connection, &unread, &mut data, env.now);
        while end.is_none() && data.len() < WRITE_MAX && connection.readable {
            let Some(request) = &connection.request else { break };
            let credit = connection.http.raw_credit();
            let credit = credit.min(request.session.welcome()).min(request.session.headroom());
            if credit > 0 && data.is_empty() && env.choice.one_in(2) {
                let limit = env.choice.part(credit);
                return self.lend(env, connection, |sink| Work::Move { sink, limit });
            }
            end = match self.receive(env, connection, WRITE_MAX) {
                Read::Bytes(bytes) => decode(connection, &bytes, &mut data, env.now),
                Read::Nothing => None,
                Read::End => on_body_eof(env.now, connection).map(End::Cut),
                Read::Broken => Some(End::Cut(Cut::PeerGone)),
            };
        }
        if !data.is_empty() {
            self.hand_over(env, connection, data);
        }
        let Some(request) = &mut connection.request else { return };
        match end {
            None => {}
            Some(End::Complete(trailers)) => {
                request.watch.body_whole |= request.session.has_open_body();
                request.session.end_body(env.now, trailers);
            }
            Some(End::Overflow) => request.session.overflow(env.now),
            Some(End::Cut(why)) => cut(env.now, connection, why),
        }
    }

    /// Writes what stays in memory at once, at times; lets a worker write all else.
    fn hand_over(&mut self, env: &mut Env, connection: &mut Connection, data: Vec<u8>) {
        let Some(request) = &mut connection.request else { return };
        if request.session.blocks(data.len()) || env.choice.one_in(2) {
            return self.lend(env, connection, |sink| Work::Write { sink, data });
        }
        request.watch.on_staged(data.len() as u64);
        request.session.write(env.now, &mut &*data);
    }

    fn lend(
        &mut self,
        env: &mut Env,
        connection: &mut Connection,
        work: impl FnOnce(HashingSink<Sink>) -> Work,
    ) {
        let Some(request) = &mut connection.request else { return };
        let Some(sink) = request.session.lend() else { return };
        let (link, owner) = (Some(connection.link), Some(request.owner));
        self.jobs.push(Job { link, owner, work: work(sink) });
        // The worker, not the client, is now the bottleneck.
        connection.http.set_reading(env.now.monotonic, false);
    }

    /// A worker brings the sink back.
    pub(super) fn on_body_done(&mut self, env: &mut Env, connection: &mut Connection, done: BodyDone) {
        let now = env.now;
        connection.http.moved(now.monotonic, done.taken);
        connection.taken += done.taken;
        let Some(request) = &mut connection.request else { return };
        let result = if let MoveEnd::Failed(failure) = done.end { Err(failure) } else { Ok(()) };
        request.watch.on_staged_in_all(done.sink.len());
        request.session.give_back(now, done.sink, result);
        match done.end {
            MoveEnd::Done | MoveEnd::Failed(_) => {}
            MoveEnd::Eof => {
                if let Some(why) = on_body_eof(now, connection) {
                    cut(now, connection, why);
                }
            }
            MoveEnd::Reset => cut(now, connection, Cut::PeerGone),
        }
    }
}

/// Where the network is faster than the disk, the body waits for its commits.
fn waits_for_commit(now: Now, connection: &mut Connection) -> bool {
    let waits = connection.request.as_ref().is_some_and(|request| request.session.headroom() == 0);
    connection.http.set_reading(now.monotonic, !waits);
    waits
}

fn on_body_eof(now: Now, connection: &mut Connection) -> Option<Cut> {
    connection.ended = true;
    (connection.http.eof(now.monotonic) == Eof::HalfClosed).then_some(Cut::HalfClosed)
}

/// Sees how much must be staged before a HEAD is answered.
fn aim_checkpoint(env: &Env, connection: &mut Connection) {
    let waiting = env.links.get(&connection.link).map_or(0, |link| link.up.arrived() as u64);
    let Some(request) = &mut connection.request else { return };
    if !request.session.wants_drain() {
        request.body.drain_until = None;
    } else if request.body.drain_until.is_none() {
        request.body.drain_until = Some(connection.taken + waiting);
        connection.readable = true;
    }
}

/// Passes the question on once all of that is staged. Returns whether it did.
fn tell_checkpoint(now: Now, connection: &mut Connection) -> bool {
    let (taken, readable, pending) = (connection.taken, connection.readable, !connection.unread.is_empty());
    let Some(request) = &mut connection.request else { return false };
    let Some(target) = request.body.drain_until else { return false };
    if !request.session.is_receiving() || pending || (readable && taken < target) {
        return false;
    }
    request.body.drain_until = None;
    request.watch.on_checkpoint();
    request.session.drained(now);
    true
}

/// Decodes body bytes into `data`, and says how the body ended, if it did. What follows its end is kept for the next
/// request.
fn decode(connection: &mut Connection, input: &[u8], data: &mut Vec<u8>, now: Now) -> Option<End> {
    let welcome = connection.request.as_ref().map_or(0, |request| request.session.welcome());
    let mut rest = input;
    let mut end = None;
    while end.is_none() {
        match connection.http.next(now.monotonic, &mut rest) {
            Some(Event::Body(bytes)) => {
                let room = (welcome - data.len() as u64).min(bytes.len() as u64);
                data.extend_from_slice(&bytes[..room as usize]);
                if (room as usize) < bytes.len() {
                    end = Some(End::Overflow);
                }
            }
            Some(Event::End(trailers)) => end = Some(End::Complete(trailers)),
            Some(Event::Rejected(_)) => end = Some(End::Cut(Cut::BadFraming)),
            Some(Event::Head) | None => break,
        }
    }
    connection.unread.extend_from_slice(rest);
    end
}

/// The body will not go on.
pub(super) fn cut(now: Now, connection: &mut Connection, why: Cut) {
    if why == Cut::PeerGone {
        connection.give_up();
    }
    if let Some(request) = &mut connection.request {
        request.session.cut_body(now, why);
    }
}
