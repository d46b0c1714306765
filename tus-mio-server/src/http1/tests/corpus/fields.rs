//! Field lines, and `Host`: RFC 9112 sections 3.2 and 5, RFC 9110 sections 5 and 7.2.

use super::Case;
use tus_proto::ErrorCode::HeadTooLarge;

/// A head with this between `Host` and the empty line.
fn head(lines: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n")
}

pub(super) fn cases() -> Vec<Case> {
    let bad = MALFORMED.iter().map(|lines| Case::refused(&head(lines)));
    let good = WELL_FORMED.iter().map(|lines| Case::goes(&head(lines), &["GET /x"]));
    bad.chain(good).chain(ends()).chain(hosts()).chain(limits()).collect()
}

const MALFORMED: &[&str] = &[
    // RFC 9112 section 5.1: no blank before the colon.
    "A : b",
    "A\t: b",
    "A \t : b",
    "Content-Length : 5",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding\u{b}: chunked",
    "Transfer-Encoding\u{a0}: chunked",
    "Transfer-Encoding\0: chunked",
    "Transfer-Encoding\r: chunked",
    "Host : g",
    // RFC 9110 section 5.1: a name is a token, and not empty.
    ": b",
    ":",
    ": Transfer-Encoding: chunked",
    "A",
    "Transfer-Encoding",
    "Transfer-Encoding=chunked",
    "A b: c",
    "Transfer Encoding: chunked",
    "A(: b",
    "A): b",
    "\u{e9}: b",
    "A\u{ff}: b",
    "A\"B: c",
    "\"A\": c",
    "A,B: c",
    "A/B: c",
    "A@B: c",
    "A;B: c",
    "A\\B: c",
    "A?: c",
    "[A]: b",
    "{A}: b",
    "<A>: b",
    "A=B: c",
    "\u{7f}A: b",
    "A\u{1}: b",
    "\0: b",
    // RFC 9112 section 5.2: obs-fold.
    " A: b",
    "\tA: b",
    "A: b\r\n c",
    "A: b\r\n\tc",
    "A:\r\n b",
    "A: b\r\n ",
    "A: b\r\n \r\n c",
    "Content-Length:\r\n 5",
    "Transfer-Encoding:\r\n\tchunked",
    "Transfer-Encoding: chunked\r\n , identity",
    "A: b\r\n Transfer-Encoding: chunked",
    // RFC 9110 section 5.5: no control characters in values, and RFC 9112 section 2.2: no bare CR, no bare LF.
    "A: b\0c",
    "A: \0",
    "A: b\0",
    "A: b\u{1}c",
    "A: b\u{8}c",
    "A: b\u{b}c",
    "A: b\u{c}c",
    "A: b\u{1b}[2Jc",
    "A: b\u{7f}c",
    "A: b\rc",
    "A: b\r",
    "A: \r\rb",
    "A: b\nc",
    "A: b\n",
    "A: b\nTransfer-Encoding: chunked",
    "A: b\rTransfer-Encoding: chunked",
    "A: b\r\n\rTransfer-Encoding: chunked",
    "A: b\n\rTransfer-Encoding: chunked",
    "\nTransfer-Encoding: chunked",
    "\rTransfer-Encoding: chunked",
];

const WELL_FORMED: &[&str] = &[
    "A:b",
    "A:",
    "A: \t b \t ",
    "A: b: c:d",
    // Section 5.5: these octets are allowed, and no reader ends a line at them.
    "A: \u{80}\u{85}\u{a0}\u{ff}",
    "A: b\tc",
    "A: \"b, c\\\" d",
    "!#$%&'*+-.^_`|~09: b",
    // Other fields than those that frame, however alike they look.
    "Transfer_Encoding: chunked",
    "Content_Length: 5",
    "X-Transfer-Encoding: chunked",
    "Transfer-Encodin: chunked",
    "Content-Length-: 5",
    "TE: trailers, chunked",
    "Trailer: Transfer-Encoding",
    "A: Transfer-Encoding: chunked",
    "A: b%0d%0aTransfer-Encoding: chunked",
    "A: b\\r\\nTransfer-Encoding: chunked",
];

/// How lines and the head end.
fn ends() -> Vec<Case> {
    vec![
        Case::refused("GET / HTTP/1.1\r\nHost: h\n\r\n"),
        Case::refused("GET / HTTP/1.1\r\nHost: h\r\n\n"),
        Case::refused("GET / HTTP/1.1\r\nHost: h\n\n"),
        Case::refused("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n"),
        Case::refused("GET / HTTP/1.1\r\nHost: h\r\n\rX"),
        Case::refused("GET / HTTP/1.1\r\nHost: h\r\n\r\r\n"),
        Case::refused("GET / HTTP/1.1\r\nHost: h\r\n \r\n\r\n"),
        // The head does not end where its author thinks: the next one is in it.
        Case::refused("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n"),
        Case::refused("GET / HTTP/1.1\r\nHost: h\r\n\r"),
        Case::refused("GET / HTTP/1.1\r\nHost: h\r\nA: "),
    ]
}

const BAD_HOSTS: &[&str] = &[
    "h\r\nHost: h",
    "h\r\nhost: g",
    "h\r\nHOST:",
    "\r\nHost: h",
    "a b",
    "a, b",
    // Two lines that somebody has joined.
    "a,b",
    "h,h",
    "a/b",
    "h/",
    "u@h",
    "u:p@h",
    "@h",
    "http://h",
    "//h",
    "h:x",
    "h:80:90",
    "h: 80",
    "h :80",
    "h:-1",
    "h:+80",
    "h:80x",
    "h:65536",
    "h:99999",
    "h:123456",
    "h:4294967376",
    ":80",
    ":",
    "[::1",
    "::1]",
    "::1",
    "[]",
    "[]:80",
    "[::1]x",
    "[::1]80",
    "[::1]:x",
    "[::1]:80:80",
    "[::1][::1]",
    "[h]",
    "[1.2.3.4]",
    "[:::]",
    "[::g]",
    "[1:2:3:4:5:6:7:8:9]",
    "[::1%eth0]",
    "[v1.]",
    "[v.x]",
    "[vg.x]",
    "a\"b",
    "\"h\"",
    "a%4",
    "a%",
    "a%zz",
    "h?x",
    "h#x",
    "h\\x",
    "\u{e9}",
    "\u{ff}h",
    "<a>",
    "{a}",
    "a|b",
    "a^b",
    "a`b",
    "h\0",
    "h\u{7f}",
    "h\tg",
];

/// RFC 9112 section 3.2: exactly one, and well-formed; before HTTP/1.1 there may be none.
fn hosts() -> Vec<Case> {
    let mut cases = Vec::new();
    for host in BAD_HOSTS {
        cases.push(Case::refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")));
    }
    for host in ["h\r\nHost: h", "a b", "u@h", "h:65536", "[h]"] {
        cases.push(Case::refused(&format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n")));
        cases.push(Case::refused(&format!("GET http://h/ HTTP/1.1\r\nHost: {host}\r\n\r\n")));
    }
    for host in [
        "",
        "H",
        "h:",
        "h:80",
        "h:065535",
        "1.2.3.4:65535",
        "999.999.999.999",
        "[::1]",
        "[::1]:",
        "[fe80::1]:1",
        "[::ffff:1.2.3.4]",
        "[v1.a:b]",
        "a-b_c.~d",
        "%41%5a",
        "h!$&'()*+;=",
        " h \t ",
    ] {
        cases.push(Case::goes(&format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"), &["GET /x"]));
    }
    cases.push(Case::closes("GET /x HTTP/1.0\r\n\r\n", &["GET /x"]));
    cases.push(Case::closes("GET /x HTTP/1.0\r\nHost:\r\n\r\n", &["GET /x"]));
    cases
}

/// What is too large is rejected before its end is seen; what is just not goes on.
fn limits() -> Vec<Case> {
    let many = |count: usize| (1..count).map(|n| format!("\r\nA{n}: b")).collect::<String>();
    vec![
        Case::with(&head(&format!("A: {}", "b".repeat(99_000))), HeadTooLarge),
        Case::with(&head(&format!("{}: b", "A".repeat(99_000))), HeadTooLarge),
        Case::goes(&head(&format!("A: {}", "b".repeat(60_000))), &["GET /x"]),
        Case::with(&head(&format!("A: b{}", many(100))), HeadTooLarge),
        Case::goes(&head(&format!("A: b{}", many(99))), &["GET /x"]),
    ]
}
