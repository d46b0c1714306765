//! Malformed input: every ambiguity is refused, with the same verdict however the input is cut, and the
//! connection ends with the answer.

use super::*;

/// Asserts that the last thing told of `text` is this refusal, and that its answer closes the connection.
fn check(text: &[u8], code: Code) {
    let (seen, wire) = read_in_every_cut(text);
    let shown = String::from_utf8_lossy(text);
    assert_eq!(seen.last(), Some(&Seen::Refused(code)), "{shown:?}");
    assert!(wire.ends_with("Connection: close\r\n\r\n"), "{shown:?}: {wire}");
    let mut peer = Peer::new();
    peer.feed(text).feed(GET);
    assert_eq!(peer.seen.len(), seen.len(), "nothing is read behind {shown:?}");
    assert_eq!(peer.conn.eof(at(0)), Eof::Closed);
}

#[test]
fn request_lines() {
    use Code::{BadRequest, HttpVersion};
    for (line, code) in [
        ("GET /", BadRequest),
        ("GET", BadRequest),
        ("GET  / HTTP/1.1", BadRequest),
        ("GET /  HTTP/1.1", BadRequest),
        ("GET / HTTP/1.1 ", BadRequest),
        (" GET / HTTP/1.1", BadRequest),
        ("GET\t/ HTTP/1.1", BadRequest),
        ("GET / x HTTP/1.1", BadRequest),
        ("GET HTTP/1.1", BadRequest),
        ("G(T / HTTP/1.1", BadRequest),
        ("G\u{e9}T / HTTP/1.1", BadRequest),
        ("GET /\u{e9} HTTP/1.1", BadRequest),
        ("GET /\u{7f} HTTP/1.1", BadRequest),
        ("GET /\0 HTTP/1.1", BadRequest),
        ("GET /a\tb HTTP/1.1", BadRequest),
        ("GET x HTTP/1.1", BadRequest),
        ("GET * HTTP/1.1", BadRequest),
        ("GET h:80 HTTP/1.1", BadRequest),
        ("GET /x#y HTTP/1.1", BadRequest),
        ("GET http:/h/x HTTP/1.1", BadRequest),
        ("GET http:///x HTTP/1.1", BadRequest),
        ("GET http://:80/x HTTP/1.1", BadRequest),
        ("GET http://u@h/x HTTP/1.1", BadRequest),
        ("GET http://h/x#y HTTP/1.1", BadRequest),
        ("GET ftp://h/x HTTP/1.1", BadRequest),
        ("CONNECT / HTTP/1.1", BadRequest),
        ("CONNECT http://h/ HTTP/1.1", BadRequest),
        ("GET / http/1.1", BadRequest),
        ("GET / HTTP/1", BadRequest),
        ("GET / HTTP/1.", BadRequest),
        ("GET / HTTP/1.11", BadRequest),
        ("GET / HTTP/11.1", BadRequest),
        ("GET / HTTP/1,1", BadRequest),
        ("GET / HTTP/x.1", BadRequest),
        ("GET / HTTPS/1.1", BadRequest),
        ("GET / HTTP/0.9", HttpVersion),
        ("GET / HTTP/2.0", HttpVersion),
        ("PRI * HTTP/2.0", HttpVersion),
    ] {
        check(format!("{line}\r\nHost: h\r\n\r\n").as_bytes(), code);
    }
}

#[test]
fn line_ends_and_control_characters() {
    for text in [
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\rX",
        "GET / HTTP/1.1\rHost: h\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\x01c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\x0bc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\x7fc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\x1b[2Jc\r\n\r\n",
        "\x16\x03\x01\x02",
    ] {
        check(text.as_bytes(), Code::BadRequest);
    }
}

#[test]
fn field_lines() {
    for line in [
        "A : b",
        "A\t: b",
        ": b",
        "A",
        "A b: c",
        " A: b",
        "\tA: b",
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A:\r\n ",
        "A(: b",
        "\u{e9}: b",
        "A\"B: c",
        "A,B: c",
        "A/B: c",
        "A@B: c",
        "[A]: b",
        "{A}: b",
        "A=B: c",
    ] {
        check(format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n").as_bytes(), Code::BadRequest);
    }
    check(b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", Code::BadRequest);
}

#[test]
fn host() {
    let missing = "GET / HTTP/1.1\r\n\r\n";
    check(missing.as_bytes(), Code::BadRequest);
    for host in [
        "h\r\nHost: h",
        "h\r\nhost: g",
        "a b",
        "a/b",
        "u@h",
        "h:x",
        "h:80:90",
        "h:-1",
        "h:123456",
        ":80",
        "[::1",
        "::1",
        "[]",
        "[::1]x",
        "[::1]80",
        "a\"b",
        "a%4",
        "a%zz",
        "h?x",
        "h#x",
        "\u{e9}",
        "a\\b",
        "<a>",
    ] {
        for version in ["1.0", "1.1"] {
            check(format!("GET / HTTP/{version}\r\nHost: {host}\r\n\r\n").as_bytes(), Code::BadRequest);
        }
    }
    for host in ["", "h", "h:", "h:80", "1.2.3.4:65535", "[::1]", "[fe80::1%25e]:1", "a-b_c.~d", "%41%5a"] {
        let host = host.replace("%25e", "");
        let (seen, _) = read_in_every_cut(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(seen.len(), 2, "{host}");
    }
    let (seen, _) = read_in_every_cut(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(seen.len(), 2, "before HTTP/1.1 there was none");
}

#[test]
fn message_length() {
    use Code::{BadRequest, UnknownCoding};
    for (fields, code) in [
        ("Content-Length:", BadRequest),
        ("Content-Length: -1", BadRequest),
        ("Content-Length: +1", BadRequest),
        ("Content-Length: 1.0", BadRequest),
        ("Content-Length: 0x1", BadRequest),
        ("Content-Length: 1_0", BadRequest),
        ("Content-Length: 1 0", BadRequest),
        ("Content-Length: \u{661}", BadRequest),
        ("Content-Length: 5,", BadRequest),
        ("Content-Length: ,5", BadRequest),
        ("Content-Length: 5, 6", BadRequest),
        ("Content-Length: 5;5", BadRequest),
        ("Content-Length: 5\r\nContent-Length: 6", BadRequest),
        ("Content-Length: 5\r\nContent-Length:", BadRequest),
        ("Content-Length: 9223372036854775808", BadRequest),
        ("Content-Length: 18446744073709551616", BadRequest),
        ("Content-Length: 18446744073709551621, 5", BadRequest),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", BadRequest),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", BadRequest),
        ("Transfer-Encoding: gzip, chunked\r\nContent-Length: 0", BadRequest),
        ("Transfer-Encoding:", BadRequest),
        ("Transfer-Encoding: ,", BadRequest),
        ("Transfer-Encoding: chunked,", BadRequest),
        ("Transfer-Encoding: , chunked", BadRequest),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding:", BadRequest),
        ("Transfer-Encoding: chunked, chunked", BadRequest),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BadRequest),
        ("Transfer-Encoding: chunked, gzip", BadRequest),
        ("Transfer-Encoding: gzip", BadRequest),
        ("Transfer-Encoding: identity", BadRequest),
        ("Transfer-Encoding: xchunked", BadRequest),
        ("Transfer-Encoding: \"chunked\"", BadRequest),
        ("Transfer-Encoding: chunked;a=b", BadRequest),
        ("Transfer-Encoding: chunked gzip", BadRequest),
        ("Transfer-Encoding: chun ked", BadRequest),
        ("Transfer-Encoding: \u{b}chunked", BadRequest),
        ("Transfer-Encoding: gzip, chunked, chunked", BadRequest),
        ("Transfer-Encoding: gzip, chunked", UnknownCoding),
        ("Transfer-Encoding: gzip;q=1 , CHUNKED", UnknownCoding),
        ("Transfer-Encoding: gzip\r\ntransfer-encoding: chunked", UnknownCoding),
        ("Transfer-Encoding: identity, chunked", UnknownCoding),
    ] {
        check(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n").as_bytes(), code);
    }
    check(b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", BadRequest);
}

#[test]
fn chunks_and_trailers() {
    for body in [
        "\r\n",
        "x\r\n",
        " 5\r\n",
        "5 \r\n",
        "+5\r\n",
        "-5\r\n",
        "0x5\r\n",
        "5_0\r\n",
        "5,5\r\n",
        ";a\r\n",
        "5\n",
        "5\rx",
        "5\r\r\n",
        "\n5\r\n",
        "\r\n5\r\n",
        "8000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000000\r\n",
        "00000000000000001\r\n",
        "5;\r\n",
        "5; \r\n",
        "5;;a\r\n",
        "5;a=\r\n",
        "5;a=\"b\r\n",
        "5;a=\"b\\\"\r\n",
        "5;a b\r\n",
        "5;a=b c\r\n",
        "5;a \r\n",
        "5;=b\r\n",
        "5;a\n",
        "5;a=\"\n\"\r\n",
        "5;a=\"\0\"\r\n",
        "5 a\r\n",
        "5;a=\"b\"c\r\n",
        "5;\u{e9}\r\n",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\rb",
        "1\r\na\r\n\r\n",
        "1\r\na1\r\n",
        "2\r\na\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\nA: b\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\n A: b\r\n\r\n",
        "0\r\nA: b\r\n c\r\n",
        "0\r\nA\r\n\r\n",
        "0\r\n: b\r\n\r\n",
        "0\r\nA: \0\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\nHOST: h\r\n\r\n",
        "0\r\nTrailer: x\r\n\r\n",
        "0\r\nAuthorization: x\r\n\r\n",
        "0\r\nA: b\r\nTE: x\r\n\r\n",
        "0\r\nConnection: close\r\n\r\n",
        "0\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
    ] {
        check(chunked(body).as_bytes(), Code::BadRequest);
    }
}

#[test]
fn a_head_refused_in_its_middle_needs_no_more_of_it() {
    let mut peer = Peer::new();
    peer.feed("GET / HTTP/1.1\r\nHost: h\r\nA: b\n");
    assert_eq!(peer.seen, [Seen::Refused(Code::BadRequest)]);
    assert!(peer.conn.wants_shutdown_write());
}
