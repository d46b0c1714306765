//! A connection must not care how its input is cut: network packets end where they like. What it reads is what a
//! slow reading of RFC 9112 reads, and its clock always goes on.

use std::{sync::Arc, time::Duration};

use tus_mio_server::http1::{Conn, Event, Settings};
use tus_proto::{Connection, Framing, Instant, Response, WallTime};

mod reference;

/// What a connection made of its input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) messages: Vec<Message>,
    /// Why the last one was refused.
    refused: Option<String>,
    output: Vec<u8>,
}

/// A request, as far as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) method: String,
    pub(super) target: String,
    framing: Framing,
    /// All of its head.
    head: String,
    pub(super) body: Vec<u8>,
    trailers: String,
    /// It was read to its end.
    pub(super) complete: bool,
    /// It was answered before that, so that its body was only skipped.
    skipped: bool,
}

/// How the driver of a connection behaves, by the bits of a byte.
#[derive(Clone, Copy)]
struct Habits(u8);

impl Habits {
    /// Requests are answered by their heads alone, the connection kept or closed.
    fn answers_early(self) -> Option<Connection> {
        [None, Some(Connection::Drain), Some(Connection::Close), None][usize::from(self.0 & 3)]
    }

    /// Limits that short inputs can reach.
    fn settings(self) -> Settings {
        let strict = Settings {
            head_bytes: 200,
            fields: 4,
            chunk_line_bytes: 12,
            trailer_bytes: 40,
            drain_bytes: 8,
            linger_bytes: 16,
            ..Settings::default()
        };
        if self.0 & 4 == 0 { Settings::default() } else { strict }
    }

    /// Clients that wait for `100 Continue` get it.
    fn continues(self) -> bool {
        self.0 & 8 == 0
    }

    /// Body bytes are moved beside the connection where that is allowed.
    fn moves(self) -> bool {
        self.0 & 16 != 0
    }

    /// The input's end is told.
    fn ends(self) -> bool {
        self.0 & 32 != 0
    }

    /// The server is shutting down from the first head on.
    fn shuts_down(self) -> bool {
        self.0 & 64 != 0
    }
}

/// Reads `data` whole, byte by byte, and cut where its own first bytes say, and sees that each reading is the
/// same, and right.
///
/// # Panics
/// If it is not: that is the finding.
pub fn chunking(data: &[u8]) {
    let (cuts, stream) = data.split_at(data.len().min(8));
    let (habits, cuts) = cuts.split_first().map_or((0, cuts), |(habits, cuts)| (*habits, cuts));
    let plain = Habits(habits & !16);
    let whole = read(plain, stream, &mut std::iter::once(stream.len()), Duration::ZERO);
    let bytewise = read(plain, stream, &mut std::iter::repeat(1), Duration::ZERO);
    assert_eq!(whole, bytewise, "byte by byte");
    let sizes = || cuts.iter().chain([&0]).cycle().map(|cut| usize::from(*cut) + 1);
    let cut = read(Habits(habits), stream, &mut sizes(), Duration::ZERO);
    assert_eq!(whole, cut, "cut by {cuts:?}");
    reference::check(stream, &whole.messages, whole.refused.is_some());
    // Slow peers are given up, and how depends on where they were slow.
    read(Habits(habits), stream, &mut sizes(), Duration::from_secs(1 + u64::from(habits)));
}

/// As [`chunking`] reads it whole: each request answered at its end.
pub(super) fn read_whole(stream: &[u8]) -> Reading {
    read(Habits(0), stream, &mut std::iter::once(stream.len()), Duration::ZERO)
}

/// Drives a connection as its module prescribes. Before each piece of the input `pause` passes.
fn read(habits: Habits, stream: &[u8], pieces: &mut dyn Iterator<Item = usize>, pause: Duration) -> Reading {
    let now = Instant::from_micros(0);
    let conn = Conn::new(Arc::new(habits.settings()), now);
    let mut driver = Driver { conn, habits, now, reading: Reading::default() };
    let (mut given, mut input) = (0, Vec::new());
    loop {
        let mut rest = input.as_slice();
        while driver.step(&mut rest) {}
        input = rest.to_vec();
        if driver.conn.is_closed() || given == stream.len() {
            if habits.ends() && !driver.conn.is_closed() {
                driver.conn.eof(driver.now);
            }
            return driver.reading;
        }
        driver.pass(pause);
        let piece = pieces.next().unwrap_or(stream.len()).min(stream.len() - given);
        input.extend_from_slice(&stream[given..given + piece]);
        given += piece;
    }
}

struct Driver {
    conn: Conn,
    habits: Habits,
    now: Instant,
    reading: Reading,
}

impl Driver {
    /// One event, answered; whether there may be another.
    fn step(&mut self, rest: &mut &[u8]) -> bool {
        let before = rest.len();
        if self.habits.moves() && self.move_beside(rest) {
            return true;
        }
        let answer = match self.conn.next(self.now, rest) {
            None => return self.send() || rest.len() < before && !rest.is_empty(),
            Some(Event::Head) => self.on_head(),
            Some(Event::Body(bytes)) => {
                assert!(!bytes.is_empty());
                self.message().body.extend_from_slice(bytes);
                None
            }
            Some(Event::End(trailers)) => {
                let message = self.message();
                assert!(!std::mem::replace(&mut message.complete, true), "it ends twice");
                message.trailers = format!("{trailers:?}");
                Some(Response::new(204, WallTime::default()))
            }
            Some(Event::Refused(code)) => {
                self.reading.refused = Some(code.name().into());
                Some(Response::refusal(code, WallTime::default()))
            }
        };
        if let Some(answer) = answer {
            self.conn.respond(self.now, &answer);
        }
        true
    }

    fn on_head(&mut self) -> Option<Response> {
        let limits = self.habits.settings();
        let message = self.conn.with_head(false, |head| {
            assert!(head.fields.len() <= limits.fields, "more fields than are allowed");
            let length = |(name, value): &(&str, &[u8])| name.len() + value.len();
            assert!(head.fields.iter().map(length).sum::<usize>() <= limits.head_bytes);
            assert!(matches!(head.framing, Framing::Chunked | Framing::Length(0..=0x7fff_ffff_ffff_ffff)));
            Message {
                method: head.method.into(),
                target: head.target.into(),
                framing: head.framing,
                head: format!("{head:?}"),
                body: Vec::new(),
                trailers: String::new(),
                complete: false,
                skipped: self.habits.answers_early().is_some(),
            }
        });
        self.reading.messages.push(message.unwrap());
        if self.habits.shuts_down() {
            self.conn.shutdown(self.now);
        }
        if self.habits.continues() {
            self.conn.send_continue(self.now);
            assert!(!self.conn.expects_continue());
        }
        let connection = self.habits.answers_early()?;
        let mut response = Response::new(204, WallTime::default());
        response.connection = connection;
        Some(response)
    }

    fn message(&mut self) -> &mut Message {
        self.reading.messages.last_mut().unwrap()
    }

    /// Takes body bytes away from the connection; whether there were some.
    fn move_beside(&mut self, rest: &mut &[u8]) -> bool {
        let credit = usize::try_from(self.conn.raw_credit()).unwrap_or(usize::MAX).min(rest.len());
        let (moved, left) = rest.split_at(credit);
        if moved.is_empty() {
            return false;
        }
        self.message().body.extend_from_slice(moved);
        *rest = left;
        self.conn.moved(self.now, credit as u64);
        true
    }

    /// Sends what there is to send, and ends what there is to end; whether there was something.
    fn send(&mut self) -> bool {
        let written = self.conn.output().len();
        self.reading.output.extend_from_slice(self.conn.output());
        if written > 0 {
            self.conn.sent(self.now, written);
        }
        let shut = self.conn.wants_shutdown_write();
        if shut {
            self.conn.write_shut();
            assert!(!self.conn.wants_shutdown_write());
        }
        written > 0 || shut
    }

    fn pass(&mut self, pause: Duration) {
        self.now = self.now.after(pause);
        if let Some(reason) = self.conn.expired(self.now) {
            let later = self.conn.deadline().is_none_or(|(at, _)| at > self.now);
            assert!(later, "{reason:?} has passed, and still is the deadline");
            let answer = Response::refusal(tus_proto::Code::ReadTimeout, WallTime::default());
            self.conn.respond(self.now, &answer);
            self.send();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Choice;

    /// Requests, and what an attacker would make of them.
    const SEEDS: [&[u8]; 7] = [
        b"\0\x02\x03\x04\x05\x06\x07\x08PATCH /files/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloHEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\0\0\x09\x01\x30\x02\x07\x01POST /files HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"aaaaaaaaGET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"bbbbbbbb\r\n\r\nOPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\nOPTIONS * HTTP/1.0\r\n\r\n",
        b"\x10\x03\x01\x01\x01\x01\x01\x01POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3, 3\r\n\r\nabcGET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"cccccccc\n\n\n\r\r\rGET",
        b"dddddddd",
    ];

    #[test]
    fn readings_agree_on_damaged_requests() {
        let mut choice = Choice::seeded(1);
        let mut complete = 0;
        for round in 0..10_000 {
            let mut data = SEEDS[round % SEEDS.len()].to_vec();
            for _ in 0..choice.index(4) {
                let at = choice.index(data.len());
                match choice.index(3) {
                    0 => data[at] = choice.below(256) as u8,
                    1 => drop(data.remove(at)),
                    _ => data.insert(at, choice.pick(b"\r\n :,;0\0")),
                }
                if data.is_empty() {
                    data.push(0);
                }
            }
            chunking(&data);
            complete += read_whole(&data[data.len().min(8)..]).messages.iter().filter(|m| m.complete).count();
        }
        assert!(complete > 3_000, "{complete} requests were read");
    }
}
