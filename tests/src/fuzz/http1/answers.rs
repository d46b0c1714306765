//! What requests are answered with, and a slow reading of RFC 9112 of the answers on the wire: each is there once, in
//! its order, as long as it says, and the bytes of an upload are where they belong.

use tus_proto::{
    Body, Completion, Config, Exchange, Framing, Head, Input, Now, Output, Record, Response, UploadId,
    WallTime,
};

/// No longer than that, or small writes take too many steps.
const LONGEST_UPLOAD: u64 = 2_000;

/// An answer, as the connection was asked to give it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    /// Its content, which the answer to a HEAD has not. `None` if it is not known whether it was one.
    content: Option<Vec<u8>>,
    to_head: bool,
}

impl Answer {
    /// `method` is none where the request line can't be relied on.
    pub(super) fn of(response: &Response, method: Option<&str>) -> Self {
        let content = match response.content() {
            Body::Text(text) => text.as_bytes().to_vec(),
            Body::Upload { from, to } => upload(*from, *to),
            Body::Omitted { .. } => Vec::new(),
        };
        let to_head = method == Some("HEAD");
        Self { status: response.status(), content: method.is_some().then_some(content), to_head }
    }
}

/// These bytes of the upload that is sent.
pub(super) fn upload(from: u64, to: u64) -> Vec<u8> {
    (from..to).map(|at| (at % 251) as u8).collect()
}

/// A target says what it is answered with at its end: a status, or `d` and the length of an upload.
pub(super) fn to(target: &str) -> Response {
    let wanted = target.rsplit('/').next().unwrap_or_default();
    if let Some(length) = wanted.strip_prefix('d').and_then(|length| length.parse().ok()) {
        return download(LONGEST_UPLOAD.min(length));
    }
    let status = wanted.parse().ok().filter(|status| (200..600).contains(status));
    Response::new(status.unwrap_or(204), WallTime::default())
}

/// Only an exchange makes one.
fn download(length: u64) -> Response {
    let config = Config::builder().downloads(true).build().unwrap();
    let framing = Framing::Length(0);
    let head = Head { method: "GET", target: "/files/a", fields: &[], framing, secure: false, direct: false };
    let mut exchange = Exchange::new(config.into(), &head, [0; 10], Now::default());
    let record = Record {
        id: UploadId::new("a").unwrap(),
        created: WallTime::default(),
        offset: length,
        length: Some(length),
        metadata: String::new(),
        expires: None,
        concat: None,
        explicit: None,
    };
    loop {
        match exchange.poll() {
            Some(Output::Store(op, _)) => {
                exchange.handle(Now::default(), Input::Store(op, Completion::Opened(record.clone())));
            }
            Some(Output::Respond(response)) => return response,
            Some(_) => {}
            None => panic!("no answer: {exchange:?}"),
        }
    }
}

/// Sees that these answers are what was written, all of them where they are `complete`.
pub(super) fn check(mut output: &[u8], answers: &[Answer], complete: bool) {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut closed = false;
    for answer in answers {
        assert!(!closed, "{answer:?} after the last");
        output = output.strip_prefix(CONTINUE).unwrap_or(output);
        let Some(end) = super::reference::find(output, 0, b"\r\n\r\n") else {
            return assert!(!complete, "{answer:?} is missing");
        };
        let (head, rest) = output.split_at(end + 4);
        let head = String::from_utf8(head.to_vec()).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", answer.status)), "{head} for {answer:?}");
        let values = |wanted: &str| -> Vec<&str> {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.filter(|(name, _)| *name == wanted).map(|(_, value)| value).collect()
        };
        closed = values("Connection") == ["close"];
        let lengths: Vec<usize> =
            values("Content-Length").iter().map(|length| length.parse().unwrap()).collect();
        let length = lengths.iter().sum();
        // RFC 9112 section 6.3: none of these has content, whatever it says of a length.
        let bare = answer.to_head || [204, 304].contains(&answer.status);
        assert!(lengths.len() == usize::from(!bare) || answer.content.is_none(), "{head} for {answer:?}");
        let content = answer.content.as_deref().filter(|_| !bare).unwrap_or_default();
        assert!(length == content.len() || answer.content.is_none(), "{head} for {answer:?}");
        let there = &rest[..rest.len().min(length)];
        assert!(content.starts_with(there) || answer.content.is_none(), "{there:?} instead of {answer:?}");
        if there.len() < length {
            return assert!(!complete, "{answer:?} is not whole");
        }
        output = &rest[length..];
    }
    assert!(output.is_empty() || !closed && output == CONTINUE, "{output:?} was not asked for");
}
