//! Where a body ends: `Content-Length` and `Transfer-Encoding`, RFC 9112 section 6.

use super::{Case, End, HIDDEN, POST};
use tus_proto::ErrorCode::{BadRequest, UnknownCoding};

/// A request with these fields and no byte of a body.
fn head(fields: &str) -> String {
    format!("{POST}{fields}\r\n\r\n")
}

pub(super) fn cases() -> Vec<Case> {
    let bad = MALFORMED.iter().map(|fields| Case::refused(&head(fields)));
    let unknown = UNKNOWN_CODINGS.iter().map(|fields| Case::with(&head(fields), UnknownCoding));
    let of_five = FIVE.iter().map(|fields| Case::goes(&(head(fields) + "hello"), &["POST /files hello"]));
    let in_chunks = CHUNKED
        .iter()
        .map(|fields| Case::goes(&(head(fields) + "5\r\nhello\r\n0\r\n\r\n"), &["POST /files hello"]));
    bad.chain(unknown).chain(of_five).chain(in_chunks).chain(before_http11()).chain(whole()).collect()
}

const MALFORMED: &[&str] = &[
    // RFC 9110 section 8.6: digits, nothing else.
    "Content-Length:",
    "Content-Length: \t",
    "Content-Length: -1",
    "Content-Length: -0",
    "Content-Length: +1",
    "Content-Length: 1.0",
    "Content-Length: 1e1",
    "Content-Length: 0x1",
    "Content-Length: 0b1",
    "Content-Length: a",
    "Content-Length: 5a",
    "Content-Length: 1_0",
    "Content-Length: 1'0",
    "Content-Length: 1 0",
    "Content-Length: 1\t0",
    "Content-Length: \"5\"",
    "Content-Length: =5",
    "Content-Length: 5=",
    "Content-Length: 5;",
    "Content-Length: 5;5",
    "Content-Length: 5:5",
    "Content-Length: 5/5",
    "Content-Length: (5)",
    "Content-Length: %35",
    "Content-Length: \u{b2}",
    "Content-Length: \u{a0}5",
    "Content-Length: 5\u{85}",
    "Content-Length: \u{d9}\u{a1}",
    "Content-Length: 5\0",
    "Content-Length: \u{b}5",
    "Content-Length: 5\u{c}",
    "Content-Length: 5\r",
    "Content-Length: NaN",
    "Content-Length: chunked",
    // A number that some reader's does not hold.
    "Content-Length: 9223372036854775808",
    "Content-Length: 18446744073709551615",
    "Content-Length: 18446744073709551616",
    "Content-Length: 18446744073709551621",
    "Content-Length: 340282366920938463463374607431768211461",
    "Content-Length: 99999999999999999999999999999999999999999999999999",
    // RFC 9112 section 6.3, rule 5: repeated, but for the same value.
    "Content-Length: 5,",
    "Content-Length: ,5",
    "Content-Length: ,",
    "Content-Length: 5,,5",
    "Content-Length: 5, 6",
    "Content-Length: 5, 5, 6",
    "Content-Length: 0, 5",
    "Content-Length: 5 5",
    "Content-Length: 5, -5",
    "Content-Length: 5, a",
    "Content-Length: 18446744073709551621, 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 6\r\nContent-Length: 5",
    "Content-Length: 0\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length:",
    "Content-Length:\r\nContent-Length: 5",
    "Content-Length: 5\r\nA: b\r\ncontent-length: 6",
    "Content-Length: 5\r\nCONTENT-LENGTH: +5",
    "Content-Length: 5\r\nContent-Length: 5, 6",
    // Rule 3: both.
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Transfer-Encoding: chunked\r\nContent-Length: 0",
    "Content-Length: 0\r\ntransfer-encoding: chunked",
    "Content-Length: 5\r\nA: b\r\nTransfer-Encoding: CHUNKED",
    "Content-Length: 5\r\nTransfer-Encoding:",
    "Content-Length: 5\r\nTransfer-Encoding: identity",
    "Content-Length: 5\r\nTransfer-Encoding: gzip",
    "Content-Length: 5\r\nTransfer-Encoding: xchunked",
    "Content-Length: 5\r\nTransfer-Encoding: \u{e9}",
    "Transfer-Encoding: gzip, chunked\r\nContent-Length: 0",
    "Content-Length: a\r\nTransfer-Encoding: chunked",
    "Content-Length:\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
    // Section 6.1: chunked comes last, once, and is spelt so.
    "Transfer-Encoding:",
    "Transfer-Encoding: ,",
    "Transfer-Encoding: , ,",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: chunked, ",
    "Transfer-Encoding: , chunked",
    "Transfer-Encoding: ,chunked,",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nA: b\r\ntransfer-encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: chunked, cow",
    "Transfer-Encoding: gzip, chunked, chunked",
    "Transfer-Encoding: chunked, gzip, chunked",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: none",
    "Transfer-Encoding: cow",
    "Transfer-Encoding: x",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: chunke",
    "Transfer-Encoding: x-chunked",
    "Transfer-Encoding: chun ked",
    "Transfer-Encoding: chunked gzip",
    "Transfer-Encoding: gzip chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: (chunked)",
    "Transfer-Encoding: [chunked]",
    "Transfer-Encoding: chunked;",
    "Transfer-Encoding: chunked;a=b",
    "Transfer-Encoding: chunked ;q=1",
    "Transfer-Encoding: ;chunked",
    "Transfer-Encoding: =chunked",
    "Transfer-Encoding: :chunked",
    "Transfer-Encoding: /chunked",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: \0chunked",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: chunked\u{c}",
    "Transfer-Encoding: chunked\u{7f}",
    "Transfer-Encoding: chunked\r",
    "Transfer-Encoding: \rchunked",
    "Transfer-Encoding: chunked\n",
    "Transfer-Encoding: \u{a0}chunked",
    "Transfer-Encoding: chunked\u{85}",
    "Transfer-Encoding: \u{ff}chunked",
];

/// Section 6.1: a coding that we lack, well-formed.
const UNKNOWN_CODINGS: &[&str] = &[
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: gzip,chunked",
    "Transfer-Encoding: gzip;q=1 , CHUNKED",
    "Transfer-Encoding: gzip\r\ntransfer-encoding: chunked",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: deflate, gzip, chunked",
    "Transfer-Encoding: xchunked, chunked",
];

/// The same five bytes for every reader.
const FIVE: &[&str] = &[
    "Content-Length: 5",
    "Content-Length:5",
    "Content-Length: \t5 \t",
    "cONTENT-lENGTH: 5",
    "Content-Length: 05",
    "Content-Length: 0000000000000000000000005",
    "Content-Length: 5, 5",
    "Content-Length: 5,5 ,\t5",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\nA: b\r\nCONTENT-LENGTH: 5,05",
    "Content-Length: 5\r\nTransfer_Encoding: chunked",
    "Content-Length: 5\r\nX-Transfer-Encoding: chunked",
    "Content-Length: 5\r\nTE: chunked",
    "Content-Length: 5\r\nTrailer: Transfer-Encoding",
    "Content-Length: 5\r\nContent-Encoding: chunked",
    // Connection options name what a proxy takes out; that changes no framing here.
    "Content-Length: 5\r\nConnection: Content-Length",
    "Content-Length: 5\r\nConnection: keep-alive, Transfer-Encoding",
];

const CHUNKED: &[&str] = &[
    "Transfer-Encoding:chunked",
    "Transfer-Encoding: \t chunked\t ",
    "tRANSFER-eNCODING: cHUNKED",
    "TRANSFER-ENCODING: CHUNKED",
    "Transfer-Encoding: chunked\r\nContent_Length: 5",
    "Transfer-Encoding: chunked\r\nX-Content-Length: 5",
    "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
    "Transfer-Encoding: chunked\r\nTrailer: Content-Length",
];

/// Section 6.1: HTTP/1.0 knows no codings; who sends one may not understand it.
fn before_http11() -> Vec<Case> {
    let head = |fields: &str| {
        format!("POST /files HTTP/1.0\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n{fields}\r\n\r\n")
    };
    vec![
        Case::refused(&head("Transfer-Encoding: chunked")),
        Case::refused(&head("Transfer-Encoding: identity")),
        Case::refused(&head("Transfer-Encoding: gzip, chunked")),
        Case::refused(&head("Transfer-Encoding:")),
        Case::refused(&head("Connection: keep-alive\r\nTransfer-Encoding: chunked")),
        Case::refused(&head("Content-Length: 5\r\nTransfer-Encoding: chunked")),
        Case::refused(&head("Content-Length: 5\r\nContent-Length: 6")),
        Case::closes(&(head("Content-Length: 5") + "hello"), &["POST /files hello"]),
        Case::goes(&(head("Content-Length: 5\r\nConnection: keep-alive") + "hello"), &["POST /files hello"]),
        // Section 6.3, rule 7: without either there is no body.
        Case::closes(&(head("A: b") + "hello"), &["POST /files"]),
    ]
}

/// Bodies that hold requests, and requests whose bodies end elsewhere than an attacker says.
fn whole() -> Vec<Case> {
    let hidden = HIDDEN.escape_default().to_string();
    let length = HIDDEN.len();
    vec![
        Case::goes(
            &(head(&format!("Content-Length: {length}")) + HIDDEN),
            &[&format!("POST /files {hidden}")],
        ),
        Case::goes(
            &(head("Transfer-Encoding: chunked") + &format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n")),
            &[&format!("POST /files {hidden}")],
        ),
        // A body where none is usual is a body all the same.
        Case::goes("GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", &["GET /x hello"])
            .closes_early(),
        Case::goes("HEAD /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", &["HEAD /x hello"])
            .closes_early(),
        Case::goes("DELETE /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", &["DELETE /x hello"])
            .closes_early(),
        Case::goes("OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", &["OPTIONS * hello"]),
        Case::goes("GET /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &["GET /x"])
            .closes_early(),
        // Rule 7: no length, no body; what follows is the next request, well-formed or not.
        Case::goes(&format!("{POST}\r\n"), &["POST /files"]),
        Case::new(&format!("{POST}\r\nhello "), &["POST /files"], End::Rejected(BadRequest)),
        // The rest becomes part of the next request's method: a good one, but no longer the one that was hidden.
        Case::closes(&(head("Content-Length: 3\r\nConnection: close") + "hello"), &["POST /files hel"]),
        Case::goes(
            &(head("Content-Length: 3") + "helX /y HTTP/1.1\r\nHost: h\r\n\r\n"),
            &["POST /files hel", "X /y"],
        ),
        Case::new(
            &(head("Content-Length: 5") + "hello\r\n\r\n\r\n"),
            &["POST /files hello"],
            End::Rejected(BadRequest),
        ),
        Case::goes(&(head("Content-Length: 5") + "hello\r\n"), &["POST /files hello"]),
        Case::goes(&(head("Content-Length: 5") + "\r\n\r\n\0"), &["POST /files \\r\\n\\r\\n\\x00"]),
        Case::new(&(head("Content-Length: 50") + "hello"), &[], End::Waits),
        Case::new(&(head("Content-Length: 9223372036854775807") + "hello"), &[], End::Waits),
        Case::new(&format!("{POST}Transfer-Enc"), &[], End::Waits),
        Case::new(&format!("{POST}\r"), &[], End::Waits),
    ]
}
