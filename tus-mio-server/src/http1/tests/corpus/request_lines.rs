//! Request lines: RFC 9112 sections 2.3 and 3.

use super::Case;
use tus_proto::ErrorCode::HttpVersion;

/// One request line before a head that is otherwise well-formed.
fn head(line: &str) -> String {
    format!("{line}\r\nHost: h\r\n\r\n")
}

pub(super) fn cases() -> Vec<Case> {
    let bad = MALFORMED.iter().map(|line| Case::refused(&head(line)));
    let versions = OTHER_VERSIONS.iter().map(|line| Case::with(&head(line), HttpVersion));
    let good = WELL_FORMED.iter().map(|(line, read)| Case::goes(&head(line), &[read]));
    bad.chain(versions).chain(good).chain(whole()).collect()
}

const MALFORMED: &[&str] = &[
    // Section 3: three words, one space between each two.
    "GET /",
    "GET",
    "",
    "GET  / HTTP/1.1",
    "GET /  HTTP/1.1",
    "GET / HTTP/1.1 ",
    "GET / HTTP/1.1\t",
    " GET / HTTP/1.1",
    "\tGET / HTTP/1.1",
    "GET\t/ HTTP/1.1",
    "GET /\tHTTP/1.1",
    "GET\u{a0}/ HTTP/1.1",
    "GET / x HTTP/1.1",
    "GET /a b HTTP/1.1",
    "GET / HTTP/1.1 x",
    "GET / HTTP/1.1 HTTP/1.1",
    "GET HTTP/1.1",
    "GET / HTTP/1.1,",
    "GET /HTTP/1.1",
    // RFC 9110 section 9.1: a method is a token.
    "G(T / HTTP/1.1",
    "G\u{e9}T / HTTP/1.1",
    "GET: / HTTP/1.1",
    "\"GET\" / HTTP/1.1",
    "GET,POST / HTTP/1.1",
    "G/T / HTTP/1.1",
    "G@T / HTTP/1.1",
    "[GET] / HTTP/1.1",
    "{GET} / HTTP/1.1",
    "G=T / HTTP/1.1",
    "G;T / HTTP/1.1",
    "G\\T / HTTP/1.1",
    "\u{fe}\u{ff}GET / HTTP/1.1",
    // Section 3.2: targets.
    "GET /\u{e9} HTTP/1.1",
    "GET /\u{ff} HTTP/1.1",
    "GET /\u{7f} HTTP/1.1",
    "GET /\0 HTTP/1.1",
    "GET /a\tb HTTP/1.1",
    "GET /\u{b}b HTTP/1.1",
    "GET /\u{1b}[2J HTTP/1.1",
    "GET x HTTP/1.1",
    "GET \\x HTTP/1.1",
    "GET ../x HTTP/1.1",
    "GET ?x HTTP/1.1",
    "GET %2Fx HTTP/1.1",
    "GET * HTTP/1.1",
    "POST * HTTP/1.1",
    "options * HTTP/1.1",
    "OPTIONS ** HTTP/1.1",
    "OPTIONS *?x HTTP/1.1",
    "OPTIONS /* /* HTTP/1.1",
    "GET h:80 HTTP/1.1",
    "GET //h/x#y HTTP/1.1",
    "GET /x#y HTTP/1.1",
    "GET /# HTTP/1.1",
    "GET http:/h/x HTTP/1.1",
    "GET http:h/x HTTP/1.1",
    "GET http:// HTTP/1.1",
    "GET http:///x HTTP/1.1",
    "GET http://?x HTTP/1.1",
    "GET http://:80/x HTTP/1.1",
    "GET http://h:x/ HTTP/1.1",
    "GET http://h:65536/ HTTP/1.1",
    "GET http://h:80:80/ HTTP/1.1",
    "GET http://[::1/x HTTP/1.1",
    "GET http://[h]/x HTTP/1.1",
    "GET http://::1/x HTTP/1.1",
    "GET http://h\\x/ HTTP/1.1",
    "GET http://h%0/ HTTP/1.1",
    "GET http://u@h/x HTTP/1.1",
    "GET http://u:p@h/x HTTP/1.1",
    "GET http://h@/x HTTP/1.1",
    "GET http://h/x#y HTTP/1.1",
    "GET ftp://h/x HTTP/1.1",
    "GET ://h/x HTTP/1.1",
    "GET file:///etc/passwd HTTP/1.1",
    "GET javascript:x HTTP/1.1",
    // RFC 9110 section 9.3.6: CONNECT names a host and a port.
    "CONNECT / HTTP/1.1",
    "CONNECT h HTTP/1.1",
    "CONNECT h: HTTP/1.1",
    "CONNECT :80 HTTP/1.1",
    "CONNECT h:0x50 HTTP/1.1",
    "CONNECT h:65536 HTTP/1.1",
    "CONNECT u@h:80 HTTP/1.1",
    "CONNECT h:80/ HTTP/1.1",
    "CONNECT [::1] HTTP/1.1",
    "CONNECT http://h/ HTTP/1.1",
    "CONNECT * HTTP/1.1",
    // Section 2.3: the version is case-sensitive, and two digits.
    "GET / http/1.1",
    "GET / Http/1.1",
    "GET / HTTP/1",
    "GET / HTTP/1.",
    "GET / HTTP/.1",
    "GET / HTTP/",
    "GET / HTTP",
    "GET / HTTP 1.1",
    "GET / HTTP/1.11",
    "GET / HTTP/11.1",
    "GET / HTTP/01.1",
    "GET / HTTP/1,1",
    "GET / HTTP/1.1.1",
    "GET / HTTP/+1.1",
    "GET / HTTP/x.1",
    "GET / HTTP/1.x",
    "GET / HTTP/1.\u{b9}",
    "GET / HTTPS/1.1",
    "GET / XHTTP/1.1",
    "GET / ICY/1.1",
    "GET / HTTP\\1.1",
    "GET / \0HTTP/1.1",
    "GET / HTTP/1.1\0",
];

const OTHER_VERSIONS: &[&str] = &[
    "GET / HTTP/0.9",
    "GET / HTTP/0.0",
    "GET / HTTP/2.0",
    "GET / HTTP/3.0",
    "GET / HTTP/9.9",
    "PRI * HTTP/2.0",
];

const WELL_FORMED: &[(&str, &str)] = &[
    ("GET /x HTTP/1.1", "GET /x"),
    ("GET /x HTTP/1.2", "GET /x"),
    ("GET /x HTTP/1.9", "GET /x"),
    ("GET //h/x HTTP/1.1", "GET //h/x"),
    ("GET /?a=b?c/../d HTTP/1.1", "GET /?a=b?c/../d"),
    // Browsers leave these in queries as they are; no reader takes them for an end.
    ("GET /?a={|}^`\\\"<> HTTP/1.1", "GET /?a={|}^`\\\"<>"),
    ("GET /%zz%00%0d%0a HTTP/1.1", "GET /%zz%00%0d%0a"),
    ("GET /HTTP/1.1 HTTP/1.1", "GET /HTTP/1.1"),
    ("get /x HTTP/1.1", "get /x"),
    ("!#$%&'*+-.^_`|~9 /x HTTP/1.1", "!#$%&'*+-.^_`|~9 /x"),
    ("OPTIONS * HTTP/1.1", "OPTIONS *"),
    // Section 3.2.2: the target's host counts, and `Host` is ignored, whatever it says.
    ("GET http://other/x HTTP/1.1", "GET http://other/x"),
    ("GET HTTP://other:8080?x HTTP/1.1", "GET HTTP://other:8080?x"),
    ("GET https://[::1]:443/x HTTP/1.1", "GET https://[::1]:443/x"),
    ("OPTIONS http://other HTTP/1.1", "OPTIONS http://other"),
];

/// Cases that are no line before a well-formed head.
fn whole() -> Vec<Case> {
    vec![
        // Section 2.2: some empty lines may come first, nothing else may.
        Case::goes("\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n", &["GET /x"]),
        Case::goes("\r\n\r\nGET /y HTTP/1.1\r\nHost: h\r\n\r\n", &["GET /y"]),
        Case::refused("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        Case::refused("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        Case::refused("\rGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        Case::refused("\0GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        Case::refused("GET / HTTP/1.1\nHost: h\r\n\r\n"),
        Case::refused("GET / HTTP/1.1\n\n"),
        Case::refused("GET / HTTP/1.1\rHost: h\r\n\r\n"),
        Case::refused("GET / HTTP/1.1\r\r\nHost: h\r\n\r\n"),
        Case::refused("GET / HTTP/1.1\u{85}Host: h\r\n\r\n"),
        Case::refused("GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
        Case::refused("GET / HTTP/1.1\r\n\r\n"),
        Case::refused("GET http://h/ HTTP/1.1\r\n\r\n"),
        Case::refused("GET /\r\n\r\n"),
        Case::refused("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}"),
        Case::refused("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        Case::refused("SSH-2.0-OpenSSH\r\n"),
        Case::with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HttpVersion),
        Case::with(&format!("GET /{}", "x".repeat(99_000)), tus_proto::ErrorCode::UriTooLong),
    ]
}
