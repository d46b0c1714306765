//! The answer to a request, and the headers that every answer bears. They are added here and nowhere else,
//! so that no path, an early refusal included, can forget one.

use alloc::{borrow::Cow, string::String};
use core::fmt::{self, Write as _};

use crate::{Code, WallTime};

/// What becomes of the connection once the answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The request was read to its end: the next one may follow.
    KeepAlive,
    /// The body was not wanted: read and forget a bounded rest of it, then the next request may follow;
    /// where the rest is too long, as [`Connection::Close`].
    Drain,
    /// Answer, shut down the write side, forget a bounded rest of what still arrives, close. A plain close
    /// would destroy the answer by a reset (RFC 9112 section 9.6).
    Close,
}

/// What follows the header section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Text; empty for most responses.
    Text(Cow<'static, str>),
    /// These bytes, `from` up to `to`, of the upload that [`Command::Open`](crate::Command::Open) holds.
    Upload {
        /// The first byte.
        from: u64,
        /// The one behind the last.
        to: u64,
    },
}

impl Body {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Upload { from, to } => to.saturating_sub(*from),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A complete response but for its framing: `Content-Length`, `Connection` and, to a HEAD, the absence of
/// the body are the runtime's, because they belong to the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: String,
    body: Body,
    /// What becomes of the connection.
    pub connection: Connection,
}

impl Response {
    /// A response without a body, with the headers every response bears.
    pub fn new(status: u16, wall: WallTime) -> Self {
        let mut headers = String::with_capacity(256);
        headers.push_str(
            "Tus-Resumable: 1.0.0\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
        );
        let mut response =
            Self { status, headers, body: Body::Text(Cow::Borrowed("")), connection: Connection::KeepAlive };
        response.push("Date", wall.imf_fixdate());
        response
    }

    /// The response that tells `code`. It closes the connection: whoever knows that the request was read to
    /// its end says so afterwards.
    pub fn refusal(code: Code, wall: WallTime) -> Self {
        let mut response = Self::new(code.status(), wall);
        if code == Code::UnsupportedVersion {
            response.push("Tus-Version", "1.0.0");
        }
        let mut body = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(body, "{}: {}", code.name(), code.text());
        response.set_body("text/plain; charset=utf-8", body);
        response.connection = Connection::Close;
        response
    }

    /// Adds a header. `value` must not contain a line break; every caller's is a number, a date, a constant
    /// or text checked when it came in, and a stray CR or LF is left out all the same.
    pub fn push(&mut self, name: &'static str, value: impl fmt::Display) {
        struct OneLine<'a>(&'a mut String);
        impl fmt::Write for OneLine<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.extend(text.chars().filter(|c| !matches!(c, '\r' | '\n')));
                Ok(())
            }
        }
        self.headers.push_str(name);
        self.headers.push_str(": ");
        let _ = write!(OneLine(&mut self.headers), "{value}");
        self.headers.push_str("\r\n");
    }

    /// Gives the response a body of this media type.
    pub fn set_body(&mut self, content_type: &'static str, body: impl Into<Cow<'static, str>>) {
        self.push("Content-Type", content_type);
        self.body = Body::Text(body.into());
    }

    /// Gives the response these bytes of the opened upload as its body, `from` up to `to`. What they are is
    /// said by headers of their own.
    pub fn set_upload(&mut self, from: u64, to: u64) {
        self.body = Body::Upload { from, to };
    }

    /// The status code, 200 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The header section as it goes over the wire: `Name: value` lines, each ended by CR LF, without the
    /// empty line behind them.
    pub fn header_section(&self) -> &str {
        &self.headers
    }

    /// Names and values, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.split_terminator("\r\n").filter_map(|line| line.split_once(": "))
    }

    /// The first value of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body's text; empty for most, and where the body is an upload's.
    pub fn body(&self) -> &str {
        match &self.body {
            Body::Text(text) => text,
            Body::Upload { .. } => "",
        }
    }

    /// What follows the header section.
    pub fn content(&self) -> &Body {
        &self.body
    }

    /// The same response without its body, as a HEAD gets it.
    pub(crate) fn without_body(mut self) -> Self {
        self.body = Body::Text(Cow::Borrowed(""));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_its_code_and_bears_the_common_headers() {
        let response = Response::refusal(Code::UnsupportedVersion, WallTime::default());
        assert_eq!(response.status(), 412);
        assert_eq!(response.header("tus-version"), Some("1.0.0"));
        assert_eq!(response.header("Tus-Resumable"), Some("1.0.0"));
        assert_eq!(response.header("Date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert!(response.body().starts_with("ERR_UNSUPPORTED_VERSION: "));
        assert!(response.body().ends_with('\n'));
    }

    #[test]
    fn a_value_cannot_start_another_header() {
        let mut response = Response::new(200, WallTime::default());
        response.push("Location", "/x\r\nSet-Cookie: y");
        assert_eq!(response.header("Location"), Some("/xSet-Cookie: y"));
        assert_eq!(response.header("Set-Cookie"), None);
    }
}
