//! Rows that only bytes on a connection can say: framing, limits of a head, versions of HTTP.

/// A case of framing: what is sent on a new connection, and what must come back.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The case of `docs/wire.md` that it shows.
    pub case: &'static str,
    /// What it says, uniquely.
    pub name: &'static str,
    /// What is sent, all at once.
    pub sent: String,
    /// The statuses of the answers, in order.
    pub statuses: &'static [u16],
    /// The code of the last one; `None` if it has no body.
    pub code: Option<&'static str>,
    /// Whether the server closes the connection behind it.
    pub closes: bool,
}

fn raw(case: &'static str, name: &'static str, sent: impl Into<String>) -> Raw {
    Raw { case, name, sent: sent.into(), statuses: &[204], code: None, closes: false }
}

impl Raw {
    fn refused(self, status: &'static [u16], code: &'static str) -> Self {
        Self { statuses: status, code: Some(code), closes: true, ..self }
    }

    fn answered(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    fn closing(self) -> Self {
        Self { closes: true, ..self }
    }
}

const OPTIONS: &str = "OPTIONS /files HTTP/1.1\r\nHost: h\r\n\r\n";

/// A POST with these lines, up to the end of its head.
fn post(lines: &str) -> String {
    format!("POST /files HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n{lines}\r\n")
}

/// All cases.
pub fn cases() -> Vec<Raw> {
    let mut cases = lengths();
    cases.extend(heads());
    cases.extend(limits());
    cases.extend(connections());
    cases
}

fn lengths() -> Vec<Raw> {
    let bad = |name, lines: &str| raw("F1", name, post(lines)).refused(&[400], "ERR_BAD_REQUEST");
    let chunked = |name, body: &str| {
        let lines = "Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n";
        raw("F3", name, post(lines) + body).refused(&[400], "ERR_BAD_REQUEST")
    };
    vec![
        bad("a negative Content-Length", "Content-Length: -1\r\n"),
        bad("a Content-Length with a sign", "Content-Length: +1\r\n"),
        bad("a Content-Length of letters", "Content-Length: five\r\n"),
        bad("an empty Content-Length", "Content-Length:\r\n"),
        bad("a Content-Length beyond all numbers", "Content-Length: 99999999999999999999\r\n"),
        bad("two different Content-Length", "Content-Length: 1\r\nContent-Length: 2\r\n"),
        bad("a list of different Content-Length", "Content-Length: 1, 2\r\n"),
        bad("Content-Length with Transfer-Encoding", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
        bad("a last coding other than chunked", "Transfer-Encoding: chunked, gzip\r\n"),
        bad("chunked twice", "Transfer-Encoding: chunked, chunked\r\n"),
        raw("F2", "a coding we lack before chunked", post("Transfer-Encoding: gzip, chunked\r\n"))
            .refused(&[501], "ERR_UNKNOWN_CODING"),
        chunked("a chunk size that is no number", "xyz\r\n"),
        chunked("an empty chunk size", "\r\nhello"),
        chunked("a chunk size beyond all numbers", "fffffffffffffffff\r\n"),
        chunked("a chunk that does not end where it says", "2\r\nhello\r\n0\r\n\r\n"),
        raw(
            "F4",
            "a chunk size with an extension, and a trailer",
            post("Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n")
                + "5;a=b\r\nhello\r\n0\r\nX-Y: z\r\n\r\n",
        )
        .answered(&[201]),
    ]
}

fn heads() -> Vec<Raw> {
    let bad = |name, head: &str| raw("F5", name, head).refused(&[400], "ERR_BAD_REQUEST");
    vec![
        bad("no Host", "OPTIONS /files HTTP/1.1\r\n\r\n"),
        bad("two Host", "OPTIONS /files HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        bad("a malformed Host", "OPTIONS /files HTTP/1.1\r\nHost: a b\r\n\r\n"),
        bad("a blank before a colon", "OPTIONS /files HTTP/1.1\r\nHost : a\r\n\r\n"),
        bad("a folded field", "OPTIONS /files HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
        bad("a line without a colon", "OPTIONS /files HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n"),
        bad("a NUL in a value", "OPTIONS /files HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"),
        bad("a request line of one word", "OPTIONS\r\n\r\n"),
        bad("no HTTP at all", "\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n"),
        raw("F8", "HTTP/2 in the request line", "OPTIONS /files HTTP/2.0\r\nHost: a\r\n\r\n")
            .refused(&[505], "ERR_HTTP_VERSION"),
    ]
}

fn limits() -> Vec<Raw> {
    let fields: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    vec![
        raw("F6", "a head that is too large", post(&format!("X: {}\r\n", "y".repeat(100_000))))
            .refused(&[431], "ERR_HEAD_TOO_LARGE"),
        raw("F6", "a head with too many fields", post(&fields)).refused(&[431], "ERR_HEAD_TOO_LARGE"),
        raw(
            "F7",
            "a request target that is too long",
            format!("OPTIONS /files/{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(100_000)),
        )
        .refused(&[414], "ERR_URI_TOO_LONG"),
        raw("F6", "a head of 90 KiB", post(&format!("X: {}\r\n", "y".repeat(90 << 10)))).answered(&[201]),
    ]
}

fn connections() -> Vec<Raw> {
    let ten = "OPTIONS /files HTTP/1.0\r\n";
    vec![
        raw("F9", "a connection is kept", OPTIONS),
        raw("F9", "requests may be pipelined", OPTIONS.repeat(3)).answered(&[204, 204, 204]),
        raw("F9", "pipelined requests behind a body", {
            let body = "Content-Type: application/offset+octet-stream\r\nContent-Length: 5\r\n";
            post(body) + "hello" + &post("") + OPTIONS
        })
        .answered(&[201, 201, 204]),
        raw(
            "F9",
            "pipelined requests behind an unwanted body",
            post("Content-Length: 5\r\n") + "hello" + OPTIONS,
        )
        .answered(&[201, 204]),
        raw("F9", "a malformed request behind a good one", OPTIONS.to_owned() + "x\r\n\r\n")
            .refused(&[204, 400], "ERR_BAD_REQUEST"),
        raw("F9", "Connection: close", "OPTIONS /files HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            .closing(),
        raw("F9", "HTTP/1.0 closes", format!("{ten}\r\n")).closing(),
        raw("F9", "HTTP/1.0 may ask to be kept", format!("{ten}Connection: keep-alive\r\n\r\n")),
        raw("F9", "empty lines before a request", format!("\r\n{OPTIONS}")),
        raw("O1", "OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
    ]
}
