//! An answer as it goes over the wire: the status line, the framing, and what becomes of the connection are
//! added to what the exchange has said.

use std::io::Write as _;

use tus_proto::{Body, Interim, Response};

/// What the `Connection` field of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// Nothing: HTTP/1.1 stays open by default.
    Default,
    /// To an HTTP/1.0 client that asked for it.
    KeepAlive,
    /// No further request is read.
    Close,
}

/// Appends the answer to `out`; without its body where the request was a HEAD. Tells how many bytes of an upload
/// are to follow.
pub(super) fn write(out: &mut Vec<u8>, response: &Response, to_head: bool, persistence: Persistence) -> u64 {
    let status = response.status();
    out.reserve(response.header_section().len() + response.body().len() + 128);
    // Writing to a vector can't fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
    out.extend_from_slice(response.header_section().as_bytes());
    // RFC 9110 section 8.6: none on 1xx and 204; on 304 and to a HEAD it would have to be that of the answer to a GET.
    let framed = !to_head && status >= 200 && status != 204 && status != 304;
    let length = match response.content() {
        Body::Omitted { length } if to_head && status >= 200 => Some(*length),
        Body::Omitted { .. } => framed.then_some(0),
        body => framed.then(|| body.len()),
    };
    if let Some(length) = length {
        let _ = write!(out, "Content-Length: {length}\r\n");
    }
    out.extend_from_slice(match persistence {
        Persistence::Default => b"",
        Persistence::KeepAlive => b"Connection: keep-alive\r\n",
        Persistence::Close => b"Connection: close\r\n",
    });
    out.extend_from_slice(b"\r\n");
    match response.content() {
        Body::Text(text) if framed => out.extend_from_slice(text.as_bytes()),
        body @ Body::Upload { .. } if framed => return body.len(),
        _ => {}
    }
    0
}

/// Appends an answer before the final one to `out`. It has no body, and says nothing of the connection.
pub(super) fn write_interim(out: &mut Vec<u8>, interim: &Interim) {
    let status = interim.status();
    // Writing to a vector can't fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
    out.extend_from_slice(interim.header_section().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// RFC 9110 section 15, RFC 6585, and 460 of tus; empty for what a hook may have made up.
fn reason(status: u16) -> &'static str {
    match status {
        104 => "Upload Resumption Supported",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        423 => "Locked",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        460 => "Checksum Mismatch",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}
