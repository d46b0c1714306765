//! A request's body, decoded as it comes: `Content-Length` or chunks (RFC 9112 section 7.1). The data is lent
//! from the input and never copied; only the lines between chunks and the trailers are collected.

use tus_proto::{Framing, Trailers};

use super::Settings;
use super::fields::{self, Malformed, is_token_byte};
use super::section::{Limits, Section, Until};

/// Where in the body the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes follow, and nothing else.
    Length(u64),
    /// In the line that begins a chunk.
    ChunkLine,
    /// So many bytes of the chunk follow.
    ChunkData(u64),
    /// In the line end after the data; whether its CR was there.
    ChunkEnd { cr: bool },
    /// In the trailer section.
    Trailers,
    /// Behind the end.
    Done,
}

/// A part of the body.
#[derive(Debug)]
pub(super) enum Piece<'i> {
    /// Data; never empty.
    Data(&'i [u8]),
    /// The end, exactly once.
    End(Trailers),
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::ChunkLine,
        }
    }

    pub(super) fn is_done(self) -> bool {
        self == Self::Done
    }

    /// How many of the next bytes are data and nothing else.
    pub(super) fn credit(self) -> u64 {
        match self {
            Self::Length(rest) | Self::ChunkData(rest) => rest,
            _ => 0,
        }
    }

    /// How many bytes of it are still to come on the wire, where that is known.
    pub(super) fn rest(self) -> Option<u64> {
        match self {
            Self::Length(rest) => Some(rest),
            Self::Done => Some(0),
            _ => None,
        }
    }

    /// `count` bytes of data, at most the credit, are no longer to come.
    pub(super) fn moved(&mut self, count: u64) {
        if let Self::Length(rest) | Self::ChunkData(rest) = self {
            debug_assert!(count <= *rest, "more was moved than the credit allows");
            *rest = rest.saturating_sub(count);
        }
    }

    /// The next piece at the front of `input`; none when it needs more. `section` is for incomplete lines.
    pub(super) fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        section: &mut Section,
        settings: &Settings,
    ) -> Result<Option<Piece<'i>>, Malformed> {
        loop {
            match *self {
                Self::Length(0) => {
                    *self = Self::Done;
                    return Ok(Some(Piece::End(Trailers::default())));
                }
                Self::ChunkData(0) => *self = Self::ChunkEnd { cr: false },
                Self::Length(_) | Self::ChunkData(_) => return Ok(self.data(input)),
                Self::ChunkLine => {
                    let limits = Limits { bytes: settings.chunk_line_bytes, lines: 1 };
                    if !section.collect(input, Until::Line, limits).map_err(|_| Malformed)? {
                        return Ok(None);
                    }
                    let size = chunk_size(section.bytes())?;
                    section.clear();
                    *self = if size == 0 {
                        Self::Trailers
                    } else {
                        Self::ChunkData(mutation!("chunk-size", size, size + 1))
                    };
                }
                Self::ChunkEnd { cr } => {
                    let Some((byte, rest)) = input.split_first() else { return Ok(None) };
                    *self = match (cr, byte) {
                        (false, b'\r') => Self::ChunkEnd { cr: true },
                        (true, b'\n') => Self::ChunkLine,
                        _ => return Err(Malformed),
                    };
                    *input = rest;
                }
                Self::Trailers => {
                    let limits = Limits { bytes: settings.trailer_bytes, lines: settings.fields };
                    if !section.collect(input, Until::EmptyLine, limits).map_err(|_| Malformed)? {
                        return Ok(None);
                    }
                    let trailers = trailers(section)?;
                    section.clear();
                    *self = Self::Done;
                    return Ok(Some(Piece::End(trailers)));
                }
                Self::Done => return Ok(None),
            }
        }
    }

    fn data<'i>(&mut self, input: &mut &'i [u8]) -> Option<Piece<'i>> {
        let count = usize::try_from(self.credit()).unwrap_or(usize::MAX).min(input.len());
        if count == 0 {
            return None;
        }
        let (data, rest) = input.split_at(count);
        *input = rest;
        self.moved(count as u64);
        Some(Piece::Data(data))
    }
}

/// RFC 9112 section 7.1: hexadecimal digits alone, here at most 16 of them and at most 2^63 - 1; then extensions.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let line = line.strip_suffix(b"\r\n").ok_or(Malformed)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at(digits);
    if !(1..=16).contains(&digits) {
        return Err(Malformed);
    }
    check_extensions(extensions)?;
    let size = str::from_utf8(size).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
    size.filter(|size| *size <= i64::MAX as u64).ok_or(Malformed)
}

/// RFC 9112 section 7.1.1: extensions are ignored, but not before they are seen to be some.
fn check_extensions(mut text: &[u8]) -> Result<(), Malformed> {
    while !text.is_empty() {
        text = skip_blanks(text).strip_prefix(b";").ok_or(Malformed)?;
        text = token(skip_blanks(text))?;
        if let Some(value) = skip_blanks(text).strip_prefix(b"=") {
            let value = skip_blanks(value);
            text = match value.strip_prefix(b"\"") {
                Some(quoted) => quoted_string(quoted)?,
                None => token(value)?,
            };
        }
    }
    Ok(())
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

/// What follows the token at the front.
fn token(text: &[u8]) -> Result<&[u8], Malformed> {
    let length = text.iter().take_while(|byte| is_token_byte(**byte)).count();
    if length == 0 { Err(Malformed) } else { Ok(&text[length..]) }
}

/// What follows the closing quote (RFC 9110 section 5.6.4). A collected line has no control characters but HTAB,
/// so that every byte but the quote and the backslash may stand for itself.
fn quoted_string(mut text: &[u8]) -> Result<&[u8], Malformed> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Ok(rest),
            [b'\\', _, rest @ ..] => rest,
            [b'\\'] | [] => return Err(Malformed),
            [_, rest @ ..] => rest,
        };
    }
}

fn trailers(section: &Section) -> Result<Trailers, Malformed> {
    let mut trailers = Trailers::default();
    for (name, value) in fields::parse(section.bytes(), section.lines())? {
        if is_forbidden_trailer(name) {
            return Err(Malformed);
        }
        trailers.push(name, value);
    }
    Ok(trailers)
}

/// RFC 9110 section 6.5.1: what says how to frame, route, authenticate or read a message comes too late behind it.
fn is_forbidden_trailer(name: &str) -> bool {
    const FORBIDDEN: [&str; 21] = [
        "Authorization",
        "Connection",
        "Content-Encoding",
        "Content-Length",
        "Content-Range",
        "Content-Type",
        "Cookie",
        "Expect",
        "Host",
        "Keep-Alive",
        "Max-Forwards",
        "Origin",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Range",
        "Set-Cookie",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "X-HTTP-Method-Override",
    ];
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}
