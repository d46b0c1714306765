//! A connection must not care how its input is cut: network packets end where they like. What it reads is what a
//! slow reading of RFC 9112 reads, and its clock always goes on.

use std::{sync::Arc, time::Duration};

use tus_mio_server::http1::{Conn, Reason, Settings};
use tus_proto::{Connection, Framing, Instant};

use answers::Answer;
use driver::Driver;

mod answers;
mod driver;
mod reference;

/// How long an idle connection is left to a client when the server shuts down.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a connection made of its input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) messages: Vec<Message>,
    /// Why the last one was rejected.
    refused: Option<String>,
    answers: Vec<Answer>,
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

    /// The server is shutting down from the beginning.
    fn shuts_down(self) -> bool {
        self.0 & 64 != 0
    }

    /// The driver is held up each time it would send bytes of an upload.
    fn stalls(self) -> bool {
        self.0 & 128 != 0
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
    read(Habits(habits), stream, &mut sizes(), Duration::from_secs(1 + u64::from(habits) % 67));
}

/// As [`chunking`] reads it whole: each request answered at its end.
pub(super) fn read_whole(stream: &[u8]) -> Reading {
    read(Habits(0), stream, &mut std::iter::once(stream.len()), Duration::ZERO)
}

/// Drives a connection as its module prescribes. Before each piece of the input, and of an upload, `pause` passes.
fn read(habits: Habits, stream: &[u8], pieces: &mut dyn Iterator<Item = usize>, pause: Duration) -> Reading {
    let now = Instant::from_micros(0);
    let conn = Conn::new(Arc::new(habits.settings()), now);
    let reading = Reading::default();
    let mut driver = Driver { conn, habits, pieces, pause, now, owed: false, uploaded: 0, reading };
    if habits.shuts_down() {
        driver.conn.shutdown_within(now, PATIENCE);
        assert_eq!(driver.conn.deadline(), Some((now.after(PATIENCE), Reason::Idle)));
    }
    let (mut given, mut input) = (0, Vec::new());
    loop {
        let mut rest = input.as_slice();
        while driver.step(&mut rest) {}
        input = rest.to_vec();
        let closed = driver.conn.is_closed();
        assert!(closed || driver.conn.wants_read(), "it waits for nothing, and is not over");
        if closed || given == stream.len() {
            if habits.ends() {
                driver.end();
            }
            answers::check(&driver.reading.output, &driver.reading.answers, pause.is_zero());
            return driver.reading;
        }
        driver.pass();
        let piece = driver.piece().min(stream.len() - given);
        input.extend_from_slice(&stream[given..given + piece]);
        given += piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Choice;

    /// Requests, and what an attacker would make of them.
    const SEEDS: [&[u8]; 11] = [
        b"\0\x02\x03\x04\x05\x06\x07\x08PATCH /files/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloHEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\0\0\x09\x01\x30\x02\x07\x01POST /files HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"aaaaaaaaGET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"bbbbbbbb\r\n\r\nOPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\nOPTIONS * HTTP/1.0\r\n\r\n",
        b"\x10\x03\x01\x01\x01\x01\x01\x01POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3, 3\r\n\r\nabcGET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"cccccccc\n\n\n\r\r\rGET",
        b"dddddddd",
        // As many fields as are allowed, and one more.
        b"\x04\x03\0\0\0\0\0\0GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nA: b\r\nA: b\r\n\r\n",
        b"\x04\x03\0\0\0\0\0\0GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n",
        b"\x80\x03\x40\x01\x20\x02\x07\x01GET /d700 HTTP/1.1\r\nHost: h\r\n\r\nHEAD /d9 HTTP/1.1\r\nHost: h\r\n\r\nGET /304 HTTP/1.0\r\n\r\n",
        b"\xe1\x13\x10\x01\x20\x02\x07\x01POST /d200 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /404 HTTP/1.1\r\nHost: h\r\n\r\n",
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
