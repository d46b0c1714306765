//! The connection by its behaviour, on a virtual clock and without sockets. [`Peer`] is a driver as small as
//! one can be: it answers every request at its end, or as a test tells it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use tus_proto::{Connection, ErrorCode, Framing, Instant, Response, Trailers, WallTime};

use super::{Conn, Eof, Event, Reason, Settings};

mod answers;
mod chunks;
mod clock;
mod corpus;
mod downloads;
mod ends;
mod reading;

/// `millis` after the start of the clock.
fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

/// What a connection told, with body slices joined.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Head(String, Framing),
    Body(Vec<u8>),
    End(Vec<(String, String)>),
    Rejected(ErrorCode),
}

fn end() -> Seen {
    Seen::End(Vec::new())
}

/// How a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 200, body `ok`, when the request was read to its end.
    AtEnd,
    /// As above, but the test calls [`Peer::answer`] itself.
    ByHand,
}

struct Peer {
    conn: Conn,
    now: Instant,
    answer: Answer,
    /// What has come and was not taken yet.
    input: Vec<u8>,
    seen: Vec<Seen>,
    /// Everything that was written.
    written: Vec<u8>,
}

impl Peer {
    fn new() -> Self {
        Self::with(Settings::default(), Answer::AtEnd)
    }

    fn by_hand() -> Self {
        Self::with(Settings::default(), Answer::ByHand)
    }

    fn with(settings: Settings, answer: Answer) -> Self {
        let conn = Conn::new(Arc::new(settings), at(0));
        Self { conn, now: at(0), answer, input: Vec::new(), seen: Vec::new(), written: Vec::new() }
    }

    /// Gives input to the connection, and does what it asks for until it waits.
    fn feed(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.input.extend_from_slice(bytes.as_ref());
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        loop {
            let event = self.conn.next(self.now, &mut rest);
            let ends = match event {
                None => break,
                Some(event) => self.note(event),
            };
            if ends && self.answer == Answer::AtEnd {
                self.answer(200, Connection::KeepAlive);
            }
        }
        self.input = rest.to_vec();
        self
    }

    /// Keeps what was told. True where an answer is due.
    fn note(&mut self, event: Event<'_>) -> bool {
        let seen = match event {
            Event::Head => {
                let look = |head: &tus_proto::Head<'_>| {
                    Seen::Head(format!("{} {}", head.method, head.target), head.framing)
                };
                self.conn.with_head(false, look).expect("a head was just told")
            }
            Event::Body(data) => {
                assert!(!data.is_empty());
                if let Some(Seen::Body(before)) = self.seen.last_mut() {
                    before.extend_from_slice(data);
                    return false;
                }
                Seen::Body(data.to_vec())
            }
            Event::End(trailers) => Seen::End(pairs(&trailers)),
            Event::Rejected(code) => Seen::Rejected(code),
        };
        let ends = matches!(seen, Seen::End(_) | Seen::Rejected(_));
        self.seen.push(seen);
        ends
    }

    fn answer(&mut self, status: u16, connection: Connection) -> &mut Self {
        self.respond(status, connection).flush()
    }

    /// Answers, but leaves the output where it is.
    fn respond(&mut self, status: u16, connection: Connection) -> &mut Self {
        let mut answer = Response::error(ErrorCode::NotFound, WallTime::default());
        if status == 200 || status == 204 {
            answer = Response::new(status, WallTime::default());
        }
        answer.connection = connection;
        self.conn.respond(self.now, &answer);
        self
    }

    /// Writes all output, in pieces.
    fn flush(&mut self) -> &mut Self {
        while self.conn.wants_write() {
            let some = self.conn.output().len().min(7);
            self.written.extend_from_slice(&self.conn.output()[..some]);
            self.conn.sent(self.now, some);
        }
        self
    }

    fn wait(&mut self, millis: u64) -> &mut Self {
        self.now = Instant::from_micros(self.now.as_micros() + millis * 1_000);
        self
    }

    /// What was written, without the headers that every tus answer carries.
    fn wire(&self) -> String {
        const COMMON: [&str; 4] = ["Tus-Resumable", "Cache-Control", "X-Content-Type-Options", "Date"];
        let text = String::from_utf8(self.written.clone()).unwrap();
        let lines = text.split_inclusive("\r\n");
        lines.filter(|line| !COMMON.iter().any(|name| line.starts_with(name))).collect()
    }
}

fn pairs(trailers: &Trailers) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    trailers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
}

/// What is told of `bytes`, and written, however they are cut: whole, in two at every place, and one by one.
fn read_in_every_cut(bytes: &[u8]) -> (Vec<Seen>, String) {
    let run = |pieces: &[&[u8]]| {
        let mut peer = Peer::new();
        for piece in pieces {
            peer.feed(piece);
        }
        (peer.seen.clone(), peer.wire())
    };
    let whole = run(&[bytes]);
    for cut in 1..bytes.len() {
        let (front, back) = bytes.split_at(cut);
        assert_eq!(run(&[front, back]), whole, "cut at {cut} of {:?}", String::from_utf8_lossy(bytes));
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(run(&single), whole, "byte by byte: {:?}", String::from_utf8_lossy(bytes));
    whole
}

const GET: &str = "GET /files/x HTTP/1.1\r\nHost: h\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST /files HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// Marsaglia's xorshift with fixed seeds: the same bodies at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn damage(&mut self, body: &mut Vec<u8>) {
        let place = self.below(body.len());
        let byte = self.pick(b"\r\n \t;=\"\\:0159afg-_x\0\x7f\xe9");
        match self.below(4) {
            0 => body[place] = byte,
            1 => body.insert(place, byte),
            2 if body.len() > 1 => drop(body.remove(place)),
            // Never to nothing, so that there is a place to damage next.
            _ => body.truncate(place + 1),
        }
    }
}
