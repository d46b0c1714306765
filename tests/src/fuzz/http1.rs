//! A connection must not care how its input is cut: network packets end where they like.

use std::sync::Arc;

use tus_mio_server::http1::{Conn, Event, Settings};
use tus_proto::{Framing, Instant, Response, WallTime};

/// What a connection made of its input.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reading {
    events: Vec<String>,
    body: Vec<u8>,
    output: Vec<u8>,
    closed: bool,
}

/// Reads `data` whole, byte by byte, and cut where its own first bytes say, and sees that each reading is the
/// same.
///
/// # Panics
/// If two readings differ: that is the finding.
pub fn chunking(data: &[u8]) {
    let (cuts, stream) = data.split_at(data.len().min(8));
    let whole = read(stream, &mut std::iter::once(stream.len()));
    let bytewise = read(stream, &mut std::iter::repeat(1));
    assert_eq!(whole, bytewise, "byte by byte");
    if !cuts.is_empty() {
        let cut = read(stream, &mut cuts.iter().cycle().map(|cut| usize::from(*cut) + 1));
        assert_eq!(whole, cut, "cut by {cuts:?}");
    }
}

/// A driver that answers each request at its end, as the module of the connection prescribes.
fn read(stream: &[u8], pieces: &mut dyn Iterator<Item = usize>) -> Reading {
    let now = Instant::from_micros(0);
    let mut conn = Conn::new(Arc::new(Settings::default()), now);
    let mut reading = Reading::default();
    let (mut given, mut input) = (0, Vec::new());
    loop {
        let mut rest = input.as_slice();
        while step(&mut conn, &mut rest, &mut reading) {}
        input = rest.to_vec();
        if given == stream.len() || conn.is_closed() {
            reading.closed = conn.is_closed();
            return reading;
        }
        let piece = pieces.next().unwrap_or(stream.len()).min(stream.len() - given);
        input.extend_from_slice(&stream[given..given + piece]);
        given += piece;
    }
}

/// One event, answered; whether there may be another.
fn step(conn: &mut Conn, rest: &mut &[u8], reading: &mut Reading) -> bool {
    let now = Instant::from_micros(0);
    let before = rest.len();
    let answer = match conn.next(now, rest) {
        None => {
            let written = conn.output().len();
            reading.output.extend_from_slice(conn.output());
            if written > 0 {
                conn.sent(now, written);
            }
            return written > 0 || rest.len() < before && !rest.is_empty();
        }
        Some(Event::Head) => {
            let head = conn.with_head(false, |head| {
                assert!(head.fields.len() <= 100, "more fields than are allowed");
                assert!(matches!(
                    head.framing,
                    Framing::Chunked | Framing::Length(0..=0x7fff_ffff_ffff_ffff)
                ));
                format!("{head:?}")
            });
            reading.events.push(head.unwrap());
            None
        }
        Some(Event::Body(bytes)) => {
            assert!(!bytes.is_empty());
            reading.body.extend_from_slice(bytes);
            None
        }
        Some(Event::End(trailers)) => {
            reading.events.push(format!("{trailers:?} after {}", reading.body.len()));
            Some(Response::new(204, WallTime::default()))
        }
        Some(Event::Refused(code)) => {
            reading.events.push(format!("{code:?}"));
            Some(Response::refusal(code, WallTime::default()))
        }
    };
    if let Some(answer) = answer {
        conn.respond(now, &answer);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests, and what an attacker would make of them.
    const SEEDS: [&[u8]; 6] = [
        b"\x01\x02\x03\x04\x05\x06\x07\x08PATCH /files/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloHEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x03\x00\x09\x01\x30\x02\x07\x01POST /files HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"aaaaaaaaGET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"bbbbbbbb\r\n\r\nOPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\nOPTIONS * HTTP/1.0\r\n\r\n",
        b"cccccccc\n\n\n\r\r\rGET",
        b"dddddddd",
    ];

    #[test]
    fn readings_agree_on_damaged_requests() {
        // xorshift: reproducible, and random enough to damage text.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for round in 0..4_000 {
            let mut data = SEEDS[round % SEEDS.len()].to_vec();
            for _ in 0..random(4) {
                let at = random(data.len());
                match random(3) {
                    0 => data[at] = random(256) as u8,
                    1 => drop(data.remove(at)),
                    _ => data.insert(at, b"\r\n :,;0\0"[random(8)]),
                }
                if data.is_empty() {
                    data.push(0);
                }
            }
            chunking(&data);
        }
    }
}
