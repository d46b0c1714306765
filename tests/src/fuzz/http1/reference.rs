//! Where messages begin and end, by a slow reading of RFC 9112 that has all of the input before it.

use tus_proto::Framing;

use super::Message;

/// Sees that what was read of a stream is what is there: each message begins where the one before it ends.
pub(super) fn check(stream: &[u8], messages: &[Message], refused: bool) {
    let mut at = 0;
    for message in messages {
        while stream[at..].starts_with(b"\r\n") {
            at += 2;
        }
        let end = find(stream, at, b"\r\n\r\n").expect("a head was read that has no end");
        let head: Vec<&[u8]> = lines(&stream[at..end + 2]);
        let line = format!("{} {} HTTP/1.", message.method, message.target);
        assert!(head[0].starts_with(line.as_bytes()), "no request {line:?} begins at {at}");
        let framing = framing(&head[1..]);
        assert_eq!(message.framing, framing);
        at = end + 4;
        let (body, rest) = match framing {
            Framing::Length(length) => with_length(stream, at, length),
            Framing::Chunked => chunked(stream, at),
        };
        if refused && !message.complete {
            // More is rejected than this reading knows of: extensions, trailers, limits.
            assert!(message.skipped || body.starts_with(&message.body));
        } else if !message.skipped {
            assert_eq!((message.complete, &message.body), (rest.is_some(), &body));
        }
        match rest {
            Some(rest) => at = rest,
            None => break,
        }
    }
}

pub(super) fn find(stream: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    (from..stream.len()).find(|at| stream[*at..].starts_with(what))
}

fn lines(section: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(end) = find(section, at, b"\r\n") {
        lines.push(&section[at..end]);
        at = end + 2;
    }
    lines
}

/// RFC 9112 section 6.3, for heads that were accepted.
fn framing(fields: &[&[u8]]) -> Framing {
    let values = |wanted: &str| {
        let mut values = Vec::new();
        for field in fields {
            let field = String::from_utf8_lossy(field).into_owned();
            let (name, value) = field.split_once(':').unwrap();
            if name.eq_ignore_ascii_case(wanted) {
                values.extend(value.split(',').map(|value| value.trim().to_owned()));
            }
        }
        values
    };
    let (lengths, codings) = (values("Content-Length"), values("Transfer-Encoding"));
    assert!(lengths.is_empty() || codings.is_empty(), "two framings");
    if codings.is_empty() {
        let lengths: Vec<u64> = lengths.iter().map(|length| length.parse().unwrap()).collect();
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
        return Framing::Length(lengths.first().copied().unwrap_or(0));
    }
    assert!(codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked"), "{codings:?}");
    Framing::Chunked
}

/// The body as far as it is there, and what follows it.
fn with_length(stream: &[u8], at: usize, length: u64) -> (Vec<u8>, Option<usize>) {
    let there = stream[at..].len() as u64;
    let end = at + length.min(there) as usize;
    (stream[at..end].to_vec(), (there >= length).then_some(end))
}

/// RFC 9112 section 7.1: the data as far as it is there and its framing is as it should be, and what follows.
fn chunked(stream: &[u8], mut at: usize) -> (Vec<u8>, Option<usize>) {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(stream, at, b"\r\n") else { return (body, None) };
        let Some(size) = chunk_size(&stream[at..end]) else { return (body, None) };
        at = end + 2;
        if size == 0 {
            return (body, trailers(stream, at));
        }
        let (data, rest) = with_length(stream, at, size);
        body.extend(data);
        match rest {
            Some(rest) if stream[rest..].starts_with(b"\r\n") => at = rest + 2,
            _ => return (body, None),
        }
    }
}

/// The size that begins a chunk's line: hexadecimal digits, then nothing or an extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = String::from_utf8_lossy(line).into_owned();
    let (digits, extension) =
        line.find(|c: char| !c.is_ascii_hexdigit()).map_or((&*line, ""), |at| line.split_at(at));
    let well_formed = extension.is_empty() || extension.trim_start_matches([' ', '\t']).starts_with(';');
    u64::from_str_radix(digits, 16).ok().filter(|_| well_formed)
}

fn trailers(stream: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let end = find(stream, at, b"\r\n")?;
        if end == at {
            return Some(end + 2);
        }
        at = end + 2;
    }
}
