//! One turn of one connection, as an event loop has it: everything that can be done for it without waiting, or
//! as much of it as the run likes.

use tus_mio_server::http1::{Eof, Event, Reason};
use tus_proto::{Cut, ErrorCode};

use super::{Connection, Server, body::cut};
use crate::sim::{env::Env, network::Read};

impl Server {
    pub(super) fn turn(&mut self, env: &mut Env, connection: &mut Connection) {
        if connection.paused.is_some() {
            return;
        }
        loop {
            let ran = self.run_session(env, connection);
            let pumped = self.pump_body(env, connection);
            let read = connection.request.is_none() && self.read(env, connection);
            let written = self.write(env, connection);
            let sent = self.pump_download(env, connection);
            if !(ran || pumped || read || written || sent) {
                return;
            }
            if env.choice.one_in(8) {
                connection.again = true;
                return;
            }
        }
    }

    /// What is due by the clock is done.
    pub(super) fn on_time(&mut self, env: &mut Env, connection: &mut Connection) {
        let now = env.now;
        if let Some(until) = connection.paused {
            if until <= now.monotonic {
                env.note(|| format!("{:?} goes on", connection.link));
                connection.paused = None;
            }
            return;
        }
        match connection.http.expired(now.monotonic) {
            Some(Reason::Head) => self.refuse(env, connection, ErrorCode::HeadTimeout),
            Some(Reason::Body) => cut(now, connection, Cut::TooSlow),
            Some(Reason::Idle | Reason::Response | Reason::Linger) | None => {}
        }
        if let Some(request) = &mut connection.request
            && request.session.deadline().is_some_and(|(at, _)| at <= now.monotonic)
        {
            request.session.timeout(now);
            let next = request.session.deadline();
            assert!(next.is_none_or(|(at, _)| at > now.monotonic), "a deadline does not advance: {next:?}");
        }
    }

    /// Reads once, any number of bytes.
    pub(super) fn receive(&mut self, env: &mut Env, connection: &mut Connection, most: usize) -> Read {
        let Some(link) = env.links.get_mut(&connection.link) else { return Read::Broken };
        let arrived = link.up.arrived().min(most).max(1) as u64;
        let read = link.read_up(env.choice.part(arrived) as usize);
        match &read {
            Read::Bytes(bytes) => connection.taken += bytes.len() as u64,
            Read::Nothing | Read::End => {
                link.up.news = false;
                connection.readable = false;
            }
            Read::Broken => link.up.news = false,
        }
        read
    }

    /// Between requests: takes the next head, or forgets what is left of the last body.
    fn read(&mut self, env: &mut Env, connection: &mut Connection) -> bool {
        let now = env.now.monotonic;
        if !connection.unread.is_empty() {
            let unread = std::mem::take(&mut connection.unread);
            let rest = self.parse(env, connection, &unread);
            connection.unread = unread[unread.len() - rest..].to_vec();
            return rest < unread.len() || connection.request.is_some();
        }
        if connection.ended {
            let before = connection.http.is_closed();
            return connection.http.eof(now) == Eof::Closed && !before;
        }
        if !connection.readable || !connection.http.wants_read() {
            return false;
        }
        match self.receive(env, connection, usize::MAX) {
            Read::Bytes(bytes) => {
                let rest = self.parse(env, connection, &bytes);
                connection.unread.extend_from_slice(&bytes[bytes.len() - rest..]);
            }
            Read::Nothing => {}
            Read::End => {
                connection.ended = true;
                connection.http.eof(now);
            }
            Read::Broken => connection.give_up(),
        }
        true
    }

    /// Gives input to the connection's HTTP, and tells how much of it is left.
    fn parse(&mut self, env: &mut Env, connection: &mut Connection, input: &[u8]) -> usize {
        let mut rest = input;
        loop {
            match connection.http.next(env.now.monotonic, &mut rest) {
                Some(Event::Head) => {
                    self.begin_request(env, connection);
                    return rest.len();
                }
                Some(Event::Rejected(code)) => self.refuse(env, connection, code),
                Some(Event::Body(_) | Event::End(_)) => {}
                None => return rest.len(),
            }
        }
    }

    fn refuse(&mut self, env: &mut Env, connection: &mut Connection, code: ErrorCode) {
        env.note(|| format!("{:?} is refused: {code:?}", connection.link));
        let refusal = env.plan.config.refusal(code, connection.http.refused_field("Origin"), env.now.wall);
        connection.http.respond(env.now.monotonic, &refusal);
    }

    /// Writes what there is to write, as much of it as the network takes.
    fn write(&mut self, env: &mut Env, connection: &mut Connection) -> bool {
        let Some(link) = env.links.get_mut(&connection.link) else { return false };
        let now = env.now.monotonic;
        let mut progress = false;
        if connection.http.wants_write() {
            if link.broken {
                if connection.request.is_none() && !connection.gone {
                    connection.give_up();
                    return true;
                }
                return false;
            }
            let output = connection.http.output();
            let room = link.down.room().min(output.len());
            if room > 0 {
                let count = env.choice.part(room as u64) as usize;
                link.down.send(&output[..count]);
                connection.http.sent(now, count);
                progress = true;
            }
        }
        if connection.http.wants_shutdown_write() {
            link.down.finish();
            connection.http.write_shut();
            progress = true;
        }
        progress
    }
}
