//! What the measuring client reads of HTTP/1.1: small responses, in order, over connections that stay open.

use std::fmt;

/// The most fields a response may have.
const FIELDS: usize = 64;

/// A response, in the buffer it was read into. Its body is passed over.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// No other response follows on this connection.
    pub(crate) closes: bool,
    fields: [httparse::Header<'a>; FIELDS],
}

/// Bytes that are no response this client can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(&'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an unreadable response: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

impl<'a> Reply<'a> {
    /// The first final response in `bytes` and how long it is, with its body and the interim responses before it;
    /// none where some of it is missing. `to_head`: it answers a HEAD, so has no body whatever its fields say.
    ///
    /// # Errors
    /// It is no response, or its body ends with the connection.
    pub(crate) fn parse(bytes: &'a [u8], to_head: bool) -> Result<Option<(Self, usize)>, Unreadable> {
        let mut start = 0;
        loop {
            let rest = bytes.get(start..).unwrap_or_default();
            let mut fields = [httparse::EMPTY_HEADER; FIELDS];
            let mut head = httparse::Response::new(&mut fields);
            let length = match head.parse(rest) {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(_) => return Err(Unreadable("malformed head")),
            };
            start += length;
            let (status, version) = (head.code.unwrap_or(0), head.version.unwrap_or(0));
            if (100..200).contains(&status) {
                continue;
            }
            let mut reply = Self { status, closes: false, fields };
            let connection = reply.field("Connection").unwrap_or_default();
            reply.closes = if version == 0 {
                !connection.eq_ignore_ascii_case("keep-alive")
            } else {
                connection.eq_ignore_ascii_case("close")
            };
            let rest = bytes.get(start..).unwrap_or_default();
            let body =
                if to_head || matches!(status, 204 | 304) { Some(0) } else { reply.body_length(rest)? };
            let end = body.map(|body| start + body).filter(|end| *end <= bytes.len());
            return Ok(end.map(|end| (reply, end)));
        }
    }

    /// The value of the first field of this name, where it is text.
    pub(crate) fn field(&self, name: &str) -> Option<&'a str> {
        let field = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok().map(str::trim)
    }

    /// How long the body that begins `rest` is, framing included; `None` if it can't be told yet.
    fn body_length(&self, rest: &[u8]) -> Result<Option<usize>, Unreadable> {
        if let Some(length) = self.field("Content-Length") {
            return length.parse().map(Some).map_err(|_| Unreadable("malformed Content-Length"));
        }
        if self.field("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return chunked_length(rest);
        }
        Err(Unreadable("a body without a length"))
    }
}

fn chunked_length(rest: &[u8]) -> Result<Option<usize>, Unreadable> {
    let mut at = 0;
    loop {
        match httparse::parse_chunk_size(rest.get(at..).unwrap_or_default()) {
            // No server measured here sends trailers: an empty line follows.
            Ok(httparse::Status::Complete((line, 0))) => return Ok(Some(at + line + 2)),
            Ok(httparse::Status::Complete((line, size))) => {
                let size = usize::try_from(size).map_err(|_| Unreadable("a huge chunk"))?;
                at = at.saturating_add(line).saturating_add(size).saturating_add(2);
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Unreadable("malformed chunk")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The reply and its length, which must be told at its last byte and not before.
    fn read(text: &str, to_head: bool) -> (Reply<'_>, usize) {
        let bytes = text.as_bytes();
        let (reply, length) = Reply::parse(bytes, to_head).unwrap().unwrap();
        for cut in 0..length {
            assert!(Reply::parse(&bytes[..cut], to_head).unwrap().is_none(), "told at {cut} of {length}");
        }
        (reply, length)
    }

    #[test]
    fn a_reply_ends_where_its_length_says() {
        let text = "HTTP/1.1 201 Created\r\nlocation:  /files/a \r\nContent-Length: 3\r\n\r\nabcHTTP/1.1";
        let (reply, length) = read(text, false);
        assert_eq!((reply.status, reply.closes, length), (201, false, text.len() - "HTTP/1.1".len()));
        assert_eq!(reply.field("Location"), Some("/files/a"));
        assert_eq!(reply.field("Upload-Offset"), None);
    }

    #[test]
    fn some_replies_have_no_body() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n";
        assert_eq!(read(text, true).1, text.len());
        let text = "HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(read(text, false).1, text.len());
    }

    #[test]
    fn chunks_and_interim_replies_are_passed_over() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n";
        let (reply, length) = read(text, false);
        assert_eq!((reply.status, length), (404, text.len()));
    }

    #[test]
    fn the_last_reply_of_a_connection_says_so() {
        let closes = |text| read(text, false).0.closes;
        assert!(closes("HTTP/1.1 204 x\r\nConnection: Close\r\n\r\n"));
        assert!(closes("HTTP/1.0 204 x\r\n\r\n"));
        assert!(!closes("HTTP/1.0 204 x\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn what_it_cannot_read_is_an_error() {
        for text in
            ["SMTP ready\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
        {
            assert!(Reply::parse(text.as_bytes(), false).is_err(), "{text}");
        }
    }
}
