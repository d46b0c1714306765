//! The answer to a request, and the headers that every answer carries. They are added here and nowhere else,
//! so that no path, an early rejection included, can forget one.

use alloc::{borrow::Cow, string::String};
use core::fmt::{self, Write as _};

use crate::{Amendment, ErrorCode, Rejection, WallTime, header::is_token};

/// The media type of what the server says by itself.
const TEXT: &str = "text/plain; charset=utf-8";

/// The line that every answer of the protocol begins with.
const TUS_RESUMABLE: &str = "Tus-Resumable: 1.0.0\r\n";

/// What the framing sets, or the protocol for every answer, whatever a hook would like.
const OURS: [&str; 11] = [
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Date",
    "Keep-Alive",
    "Location",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "X-Content-Type-Options",
    "X-Request-ID",
];

/// How the names begin of what the protocol and the cross-origin rules set.
const OURS_BEGIN: [&str; 3] = ["Access-Control-", "Tus-", "Upload-"];

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
        /// The one after the last.
        to: u64,
    },
    /// Nothing: the request was a HEAD, and the answer to a GET would bring as much.
    Omitted {
        /// In bytes.
        length: u64,
    },
}

impl Body {
    /// Its length in bytes: what `Content-Length` says.
    pub fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Upload { from, to } => to.saturating_sub(*from),
            Self::Omitted { length } => *length,
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
    code: Option<ErrorCode>,
    /// What becomes of the connection.
    pub connection: Connection,
}

impl Response {
    /// A response without a body, with the headers every response carries.
    pub fn new(status: u16, wall: WallTime) -> Self {
        Self::with_cache_control(status, wall, "no-store")
    }

    /// As [`new`](Self::new), of something that may be kept, but not used again without asking: an upload may be
    /// deleted, and a hook may decide who sees it.
    pub(crate) fn cacheable(status: u16, wall: WallTime) -> Self {
        Self::with_cache_control(status, wall, "no-cache")
    }

    fn with_cache_control(status: u16, wall: WallTime, cache_control: &'static str) -> Self {
        let headers = String::with_capacity(256);
        let (body, connection) = (Body::Text(Cow::Borrowed("")), Connection::KeepAlive);
        let mut response = Self { status, headers, body, code: None, connection };
        response.headers.push_str(TUS_RESUMABLE);
        response.headers.push_str("Cache-Control: ");
        response.headers.push_str(cache_control);
        response.headers.push_str("\r\nX-Content-Type-Options: nosniff\r\n");
        response.push("Date", wall.imf_fixdate());
        response
    }

    /// The response that tells `code`. It closes the connection: whoever knows that the request was read to
    /// its end says so afterwards.
    pub fn error(code: ErrorCode, wall: WallTime) -> Self {
        let mut response = Self::new(code.status(), wall);
        response.code = Some(code);
        if code == ErrorCode::UnsupportedVersion {
            response.push("Tus-Version", "1.0.0");
        }
        let mut body = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(body, "{}: {}", code.name(), code.text());
        response.set_body(TEXT, body);
        response.connection = Connection::Close;
        response
    }

    /// An error in the form of RFC 9457.
    pub(crate) fn problem(code: ErrorCode, status: u16, body: String, wall: WallTime) -> Self {
        let mut response = Self::new(status, wall).not_tus();
        response.code = Some(code);
        response.set_body("application/problem+json", body);
        response.connection = Connection::Close;
        response
    }

    /// The answer with which a hook rejects. `code` gives the body where the hook has none.
    pub(crate) fn rejection(rejection: Rejection, code: ErrorCode, wall: WallTime) -> Self {
        let status = if rejection.is_error() { rejection.status } else { 500 };
        let Rejection { headers, body, .. } = rejection;
        let mut response = if body.is_empty() { Self::error(code, wall) } else { Self::new(500, wall) };
        response.status = status;
        response.code = Some(code);
        response.connection = Connection::Close;
        response.add(&headers, body);
        response
    }

    /// What a hook adds to the answer of a request that did well.
    pub(crate) fn amend(&mut self, amendment: Amendment) {
        let Amendment { status, headers, body } = amendment;
        if let Some(status) = status.filter(|status| (200..600).contains(status)) {
            self.status = status;
        }
        if !body.is_empty() && matches!(self.status, 204 | 205 | 304) {
            self.status = 200;
        }
        if self.status >= 400 {
            // Clients take an error's offset for that of a conflict.
            self.remove("Upload-Offset");
        }
        self.add(&headers, body);
    }

    /// Adds the headers that a hook may set, and its body, if it has one; without one the body stays as it is.
    fn add(&mut self, headers: &[(String, String)], body: String) {
        let mut typed = body.is_empty();
        for (name, value) in headers {
            let content_type = name.eq_ignore_ascii_case("Content-Type");
            if is_theirs(name, value) && !(typed && content_type) {
                typed |= content_type;
                self.push_line(name, value);
            }
        }
        if !typed {
            self.set_body(TEXT, body);
        } else if !body.is_empty() {
            self.body = Body::Text(body.into());
        }
    }

    /// Adds a header. `value` must not contain a line break; every caller's is a number, a date, a constant
    /// or text checked when it came in, and a stray CR or LF is left out all the same.
    pub fn push(&mut self, name: &'static str, value: impl fmt::Display) {
        self.push_line(name, value);
    }

    fn push_line(&mut self, name: &str, value: impl fmt::Display) {
        struct OneLine<'a>(&'a mut String);
        impl fmt::Write for OneLine<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n')) {
                    self.0.extend(text.chars().filter(|c| !matches!(c, '\r' | '\n')));
                } else {
                    self.0.push_str(text);
                }
                Ok(())
            }
        }
        self.headers.push_str(name);
        self.headers.push_str(": ");
        let _ = write!(OneLine(&mut self.headers), "{value}");
        self.headers.push_str("\r\n");
    }

    fn remove(&mut self, name: &str) {
        let kept = self.headers.split_inclusive("\r\n");
        let kept = kept.filter(|line| line.split_once(": ").is_none_or(|(field, _)| field != name));
        self.headers = kept.collect();
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

    /// What a rejection is about, a hook's included; none in every other answer.
    pub fn code(&self) -> Option<ErrorCode> {
        self.code
    }

    /// The header section as it goes over the wire: `Name: value` lines, each ended by CR LF, without the
    /// empty line after them.
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
            Body::Upload { .. } | Body::Omitted { .. } => "",
        }
    }

    /// What follows the header section.
    pub fn content(&self) -> &Body {
        &self.body
    }

    /// The same response without what makes it one of tus: for what a server says beside it.
    pub fn not_tus(mut self) -> Self {
        if self.headers.starts_with(TUS_RESUMABLE) {
            self.headers.drain(..TUS_RESUMABLE.len());
        }
        self
    }

    /// The same response without its body, but with its length where that is an upload's.
    pub(crate) fn head_alone(mut self) -> Self {
        match self.body {
            Body::Upload { from, to } => self.body = Body::Omitted { length: to.saturating_sub(from) },
            Body::Text(_) | Body::Omitted { .. } => return self.without_body(),
        }
        self
    }

    /// The same response without its body, as a HEAD gets it.
    pub(crate) fn without_body(mut self) -> Self {
        self.body = Body::Text(Cow::Borrowed(""));
        self
    }
}

/// Whether a hook may set this header: it is well-formed, and not one of ours.
fn is_theirs(name: &str, value: &str) -> bool {
    let begins =
        |prefix: &&str| name.get(..prefix.len()).is_some_and(|text| text.eq_ignore_ascii_case(prefix));
    // RFC 9110 section 5.5: no control characters but the tab.
    let well_formed = is_token(name)
        && mutation!("split-answer", value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f)), true);
    well_formed && !OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) && !OURS_BEGIN.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn rejection(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let rejection = Rejection { status, headers, body: body.into() };
        Response::rejection(rejection, ErrorCode::UploadRejected, WallTime::default())
    }

    #[test]
    fn a_hook_says_status_headers_and_body() {
        let response = rejection(401, &[("WWW-Authenticate", "Basic"), ("Retry-After", "3")], "who?");
        assert_eq!((response.status(), response.body()), (401, "who?"));
        assert_eq!(response.header("www-authenticate"), Some("Basic"));
        assert_eq!(response.header("Retry-After"), Some("3"));
        assert_eq!(response.header("Content-Type"), Some(TEXT));
        assert_eq!(response.header("Tus-Resumable"), Some("1.0.0"));
        assert_eq!(response.connection, Connection::Close);
    }

    #[test]
    fn the_body_of_a_hook_may_be_of_another_type() {
        let types = [("content-type", "application/json"), ("Content-Type", "text/html")];
        let response = rejection(422, &types, "{}");
        let told: Vec<_> = response.headers().filter(|(name, _)| name.len() == 12).collect();
        assert_eq!(told, [("content-type", "application/json")]);
        assert_eq!(response.body(), "{}");
        // Our own text is not of its type.
        let response = rejection(422, &types, "");
        let told: Vec<_> = response.headers().filter(|(name, _)| name.len() == 12).collect();
        assert_eq!(told, [("Content-Type", TEXT)]);
        assert!(response.body().starts_with("ERR_UPLOAD_REJECTED: "));
    }

    #[test]
    fn a_hook_can_break_neither_protocol_nor_framing() {
        let plain = rejection(400, &[], "no");
        let ours = ["content-length", "Transfer-Encoding", "connection", "Date", "location", "Cache-Control"];
        let more = ["upload-offset", "Upload-Expires", "TUS-Resumable", "Tus-Extension", "X-Request-Id"];
        let malformed = ["", "a b", "a:", "a\r\nb", "\u{e9}"];
        for name in ours.into_iter().chain(more).chain(malformed) {
            assert_eq!(rejection(400, &[(name, "1")], "no"), plain, "{name:?}");
        }
        for value in ["a\r\nSet-Cookie: b", "a\nb", "a\0", "\u{7f}"] {
            assert_eq!(rejection(400, &[("X-A", value)], "no"), plain, "{value:?}");
        }
        assert_eq!(rejection(400, &[("Content-Type", "a\nb")], "no"), plain);
        for status in [0, 100, 200, 399, 600, u16::MAX] {
            assert_eq!(rejection(status, &[], "no").status(), 500);
        }
        assert_eq!(rejection(599, &[], "no").status(), 599);
    }

    #[test]
    fn a_hook_adds_to_an_answer_and_breaks_nothing() {
        let amended = |status, headers: &[(&str, &str)], body: &str| {
            let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let mut response = Response::new(204, WallTime::default());
            response.push("Upload-Offset", 5);
            response.amend(Amendment { status, headers, body: body.into() });
            response
        };
        let response = amended(Some(202), &[("X-A", "1"), ("Upload-Offset", "9")], "");
        assert_eq!((response.status(), response.header("X-A")), (202, Some("1")));
        assert_eq!((response.header("Upload-Offset"), response.body()), (Some("5"), ""));
        let response = amended(None, &[("Content-Type", "application/json")], "{}");
        assert_eq!((response.status(), response.body()), (200, "{}"), "204 has no body");
        assert_eq!(response.header("Content-Type"), Some("application/json"));
        assert_eq!(amended(Some(100), &[("a b", "1")], "").status(), 204);
        let response = amended(Some(422), &[], "virus");
        assert_eq!((response.status(), response.header("Upload-Offset")), (422, None));
    }

    #[test]
    fn a_refusal_says_its_code_and_bears_the_common_headers() {
        let response = Response::error(ErrorCode::UnsupportedVersion, WallTime::default());
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
