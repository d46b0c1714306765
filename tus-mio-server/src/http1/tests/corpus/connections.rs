//! Whether a connection goes on, and what it can't be turned into: RFC 9112 section 9.3, RFC 9110 sections 7.6.1,
//! 7.8, 9.3.6 and 10.1.1.

use super::{Case, End, HIDDEN, POST};
use tus_proto::ErrorCode::{BadRequest, HttpVersion};

fn get(fields: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n")
}

fn old(fields: &str) -> String {
    format!("GET /x HTTP/1.0\r\n{fields}\r\n\r\n")
}

pub(super) fn cases() -> Vec<Case> {
    let close = CLOSE.iter().map(|fields| Case::closes(&get(fields), &["GET /x"]));
    let keep = KEEP.iter().map(|fields| Case::goes(&get(fields), &["GET /x"]));
    let old_close = OLD_CLOSE.iter().map(|fields| Case::closes(&old(fields), &["GET /x"]));
    let old_keep = OLD_KEEP.iter().map(|fields| Case::goes(&old(fields), &["GET /x"]));
    close.chain(keep).chain(old_close).chain(old_keep).chain(tunnels()).chain(pipelines()).collect()
}

const CLOSE: &[&str] = &[
    "Connection: close",
    "connection: CLOSE",
    "Connection:close",
    "Connection: \t close \t ",
    "Connection: close, keep-alive",
    "Connection: keep-alive, close",
    "Connection: , close,",
    "Connection: x, y ,close",
    "Connection: keep-alive\r\nConnection: close",
    "Connection: close\r\nConnection: keep-alive",
    "Connection: \u{e9}, close",
];

const KEEP: &[&str] = &[
    "Connection: keep-alive",
    "Connection:",
    "Connection: ,",
    "Connection: closed",
    "Connection: \"close\"",
    "Connection: close;q=1",
    "Connection: x close",
    "Connection: Host",
    "Connection: \u{ff}",
    "Proxy-Connection: close",
    "Keep-Alive: timeout=0, max=0",
    // Section 7.8: an Upgrade is an offer, and we take none.
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    "Upgrade: h2c",
    "Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/2.0",
    "Connection: Upgrade\r\nUpgrade:",
];

/// Before HTTP/1.1 a connection goes on only where that is asked for.
const OLD_CLOSE: &[&str] = &[
    "A: b",
    "Connection: x",
    "Connection: keep-alive, close",
    "Connection: close\r\nConnection: keep-alive",
    "Connection: keepalive",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
];

const OLD_KEEP: &[&str] = &[
    "Connection: keep-alive",
    "Connection: Keep-Alive",
    "Connection: x, keep-alive\r\nKeep-Alive: timeout=5",
];

/// What follows a CONNECT may be meant for a tunnel that there is not, whoever let it through.
fn tunnels() -> Vec<Case> {
    vec![
        Case::closes("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", &["CONNECT h:80"]),
        Case::closes("CONNECT [::1]:443 HTTP/1.1\r\nHost: h\r\n\r\n", &["CONNECT [::1]:443"]),
        Case::closes(
            "CONNECT h:80 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
            &["CONNECT h:80 hello"],
        ),
        Case::new(
            "GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &["GET /x"],
            End::Rejected(HttpVersion),
        ),
        Case::new(
            "GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\u{81}\u{5}hello",
            &["GET /x"],
            End::Rejected(BadRequest),
        ),
    ]
}

/// One request after the other, and what of them is still read where one is rejected.
fn pipelines() -> Vec<Case> {
    let post: &str = &format!("{POST}Content-Length: 2\r\n\r\nab");
    let chunked: &str = &format!("{POST}Transfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n");
    let (x, y) = ("POST /files ab", "POST /files c");
    let refused = |sent: String, read: &[&str]| Case::new(&sent, read, End::Rejected(BadRequest));
    vec![
        Case::goes(&[post, chunked].concat(), &[x, y]),
        Case::goes(&[chunked, post].concat(), &[y, x]),
        Case::goes(&[post, "\r\n", post].concat(), &[x, x]),
        Case::goes(&[chunked, "\r\n\r\n", post].concat(), &[y, x]),
        Case::goes(&[HIDDEN, HIDDEN].concat(), &["GET /hidden", "GET /hidden"]),
        refused([post, "\n"].concat(), &[x]),
        refused([post, " "].concat(), &[x]),
        refused([post, "\0"].concat(), &[x]),
        refused([chunked, "0\r\n\r\n"].concat(), &[y]),
        refused([chunked, "\r\n\r\n\r\n"].concat(), &[y]),
        refused([post, "GET /z HTTP/1.1\r\n\r\n"].concat(), &[x]),
        refused([post, &chunked.replace("\r\n1\r\n", "\r\nx\r\n")].concat(), &[x]),
        refused([post, &chunked.replace("c\r\n", "cd\r\n")].concat(), &[x]),
        refused(
            [post, chunked, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 2\r\n\r\n"].concat(),
            &[x, y],
        ),
        refused(
            [
                chunked,
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ]
            .concat(),
            &[y],
        ),
        Case::closes(&[post, &get("Connection: close")].concat(), &[x, "GET /x"]),
        Case::closes(&[post, &old("A: b")].concat(), &[x, "GET /x"]),
        Case::goes(&[&old("Connection: keep-alive"), post].concat(), &["GET /x", x]),
        // RFC 9110 section 10.1.1: a body that did not wait is read like any other.
        Case::goes(&post.replace("Host", "Expect: 100-continue\r\nHost"), &[x]).closes_early(),
        Case::goes(&chunked.replace("Host", "Expect: 100-Continue\r\nHost"), &[y]).closes_early(),
        Case::goes(&get("Expect: 100-continue"), &["GET /x"]),
    ]
}
