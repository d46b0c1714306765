//! The decoder of chunked bodies against a second one that is slow and plain, on random bodies, valid and
//! damaged, cut at random.

use super::*;

/// What a reader makes of some bytes.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Data, trailers, and what follows the body.
    Complete(Vec<u8>, Vec<(String, String)>, Vec<u8>),
    Incomplete,
    Bad,
}

/// The plain reader: everything at once, one line or one byte after the other.
fn plain(input: &[u8]) -> Verdict {
    let mut rest = input.to_vec();
    match plain_body(&mut rest) {
        Ok((data, trailers)) => Verdict::Complete(data, trailers, rest),
        Err(verdict) => verdict,
    }
}

type Body = (Vec<u8>, Vec<(String, String)>);

fn plain_body(rest: &mut Vec<u8>) -> Result<Body, Verdict> {
    let mut data = Vec::new();
    loop {
        let line = plain_line(rest, false)?;
        let digits: String = line.chars().take_while(char::is_ascii_hexdigit).collect();
        if digits.is_empty() || digits.len() > 16 || !plain_extensions(&line[digits.len()..]) {
            return Err(Verdict::Bad);
        }
        let size = u128::from_str_radix(&digits, 16).unwrap();
        if size > i64::MAX as u128 {
            return Err(Verdict::Bad);
        }
        if size == 0 {
            return Ok((data, plain_trailers(rest)?));
        }
        for _ in 0..size {
            data.push(plain_byte(rest)?);
        }
        if plain_byte(rest)? != b'\r' || plain_byte(rest)? != b'\n' {
            return Err(Verdict::Bad);
        }
    }
}

fn plain_byte(rest: &mut Vec<u8>) -> Result<u8, Verdict> {
    if rest.is_empty() { Err(Verdict::Incomplete) } else { Ok(rest.remove(0)) }
}

/// A line as Latin-1, without its end. In a trailer section it must not begin with a blank.
fn plain_line(rest: &mut Vec<u8>, unfolded: bool) -> Result<String, Verdict> {
    let mut line = String::new();
    loop {
        match plain_byte(rest)? {
            b'\r' if plain_byte(rest)? == b'\n' => return Ok(line),
            b' ' | b'\t' if unfolded && line.is_empty() => return Err(Verdict::Bad),
            byte if byte < 32 && byte != b'\t' || byte == 127 => return Err(Verdict::Bad),
            byte => line.push(char::from(byte)),
        }
    }
}

fn is_plain_token(text: &str) -> bool {
    let special = |c| "()<>@,;:\\\"/[]?={} \t".contains(c);
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !special(c))
}

fn plain_extensions(text: &str) -> bool {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == ';' && !quoted {
            parts.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        parts.last_mut().unwrap().push(c);
    }
    let blanks = [' ', '\t'];
    let ends_blank = text.ends_with(blanks);
    let well_formed = |part: &String| {
        let part = part.trim_matches(blanks);
        match part.split_once('=') {
            None => is_plain_token(part),
            Some((name, value)) => {
                let value = value.trim_matches(blanks);
                is_plain_token(name.trim_matches(blanks)) && (is_plain_token(value) || is_plain_quoted(value))
            }
        }
    };
    !quoted && !ends_blank && parts[0].trim_matches(blanks).is_empty() && parts[1..].iter().all(well_formed)
}

/// A quoted string is one quote, anything with escapes taken out that has no quote, one quote.
fn is_plain_quoted(text: &str) -> bool {
    let mut unescaped = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            if chars.next().is_none() {
                return false;
            }
            unescaped.push('x');
        } else {
            unescaped.push(c);
        }
    }
    let inner = unescaped.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

fn plain_trailers(rest: &mut Vec<u8>) -> Result<Vec<(String, String)>, Verdict> {
    let mut lines = vec![plain_line(rest, false)?];
    while lines.last().is_some_and(|line| !line.is_empty()) {
        lines.push(plain_line(rest, true)?);
    }
    lines.pop();
    let mut trailers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Verdict::Bad)?;
        if !is_plain_token(name) || name == "Host" {
            return Err(Verdict::Bad);
        }
        let latin: Vec<u8> = value.chars().map(|c| c as u8).collect();
        let value = String::from_utf8_lossy(&latin);
        trailers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Ok(trailers)
}

/// What the connection makes of the same bytes, cut at the places `cuts` chooses.
fn ours(input: &[u8], mut cuts: impl FnMut(usize) -> usize) -> Verdict {
    let mut peer = Peer::by_hand();
    peer.feed(chunked(""));
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(1 + cuts(rest.len()));
        peer.feed(piece);
        rest = later;
    }
    let mut data = Vec::new();
    for seen in &peer.seen[1..] {
        match seen {
            Seen::Body(bytes) => data.extend_from_slice(bytes),
            Seen::End(trailers) => return Verdict::Complete(data, trailers.clone(), peer.input),
            Seen::Rejected(_) => return Verdict::Bad,
            Seen::Head(..) => panic!("no second head was sent"),
        }
    }
    Verdict::Incomplete
}

impl Random {
    fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        let extensions = ["", "", ";a", " ; b = c", ";q=\"x;\\\"y\"", ";q=\"\"", "\t;\tn=\"=\";m"];
        for _ in 0..self.below(4) {
            let size = 1 + self.below(20);
            let extension = self.pick(&extensions);
            body.extend_from_slice(format!("{:0>1$x}{extension}\r\n", size, 1 + self.below(3)).as_bytes());
            body.extend((0..size).map(|_| self.pick(b"ab\r\n0;\0\xff")));
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(self.pick(&["0", "00", "0;a"]).as_bytes());
        body.extend_from_slice(b"\r\n");
        for _ in 0..self.below(3) {
            body.extend_from_slice(
                self.pick(&["A: b\r\n", "C:\t d e \r\n", "F:\r\n", "g:\u{e9}\r\n"]).as_bytes(),
            );
        }
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(self.pick(&["", "GET / HTTP/1.1\r\n"]).as_bytes());
        body
    }
}

#[test]
fn both_readers_agree_on_random_bodies() {
    let mut counts = [0_usize; 3];
    for seed in 1..=20_000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut body = random.body();
        for _ in 0..random.below(4) {
            random.damage(&mut body);
        }
        let expected = plain(&body);
        let seen = ours(&body, |most| random.below(most.min(9)));
        assert_eq!(seen, expected, "seed {seed}: {:?}", String::from_utf8_lossy(&body));
        counts[match expected {
            Verdict::Complete(..) => 0,
            Verdict::Incomplete => 1,
            Verdict::Bad => 2,
        }] += 1;
    }
    assert!(counts.iter().all(|count| *count > 1_000), "the inputs try every verdict: {counts:?}");
}
