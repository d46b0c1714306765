//! Chunked bodies: RFC 9112 section 7.1.

use super::{Case, End, POST};

/// A chunked request with this on the wire behind its head.
fn body(wire: &str) -> String {
    format!("{POST}Transfer-Encoding: chunked\r\n\r\n{wire}")
}

pub(super) fn cases() -> Vec<Case> {
    let sizes = SIZES.iter().map(|size| Case::refused(&body(&format!("{size}\r\nhello\r\n0\r\n\r\n"))));
    let extensions =
        EXTENSIONS.iter().map(|text| Case::refused(&body(&format!("5{text}\r\nhello\r\n0\r\n\r\n"))));
    let good = WELL_FORMED
        .iter()
        .map(|line| Case::goes(&body(&format!("{line}\r\nhello\r\n0\r\n\r\n")), &["POST /files hello"]));
    let wires = WIRES.iter().map(|wire| Case::refused(&body(wire)));
    let trailers = TRAILERS.iter().map(|lines| Case::refused(&body(&format!("0\r\n{lines}\r\n\r\n"))));
    let forbidden = FORBIDDEN.iter().map(|name| Case::refused(&body(&format!("0\r\n{name}: x\r\n\r\n"))));
    sizes.chain(extensions).chain(good).chain(wires).chain(trailers).chain(forbidden).chain(whole()).collect()
}

/// In place of `5`: hexadecimal digits, nothing else, and no more than a number holds.
const SIZES: &[&str] = &[
    "",
    "x",
    "g",
    "five",
    " 5",
    "\t5",
    "5 ",
    "5\t",
    "5 5",
    "5 x",
    "+5",
    "-5",
    "-0",
    "0x5",
    "0X5",
    "x5",
    "\\x5",
    "5h",
    "5_",
    "_5",
    "0_5",
    "5.0",
    "5,5",
    "5:5",
    "5=5",
    "5/5",
    "%35",
    "\"5\"",
    "(5)",
    "5\0",
    "\u{0}5",
    "\u{b}5",
    "5\u{c}",
    "5\r",
    "5\n",
    "\n5",
    "\r\n5",
    "\u{a0}5",
    "\u{b2}",
    "5\u{e9}",
    "\u{ff}5",
    "8000000000000000",
    "8000000000000005",
    "ffffffffffffffff",
    "FFFFFFFFFFFFFFFB",
    "10000000000000000",
    "10000000000000005",
    "100000005000000005",
    "00000000000000005",
    "00000000000000000000000000000000000000000000000000000000000000005",
];

/// Behind the `5`. Section 7.1.1: `*( BWS ";" BWS name [ BWS "=" BWS value ] )`.
const EXTENSIONS: &[&str] = &[
    ";",
    "; ",
    ";\t",
    ";;",
    ";;a",
    ";a;",
    ";a;;b",
    ";a ",
    ";a=",
    ";a= ",
    ";a==b",
    ";a=b=c",
    ";=b",
    ";a b",
    ";a=b c",
    ";a,b",
    ";a:b",
    ";a(b",
    ";a=(b)",
    ";a/b",
    ";a=b,",
    ";\u{e9}",
    ";a=\u{e9}",
    ";a\0",
    ";a=\"b",
    ";a=b\"",
    ";a=\"",
    ";a=\"b\\\"",
    ";a=\"b\\",
    ";a=\"b\"c",
    ";a=\"b\"\"c\"",
    ";a=\"\0\"",
    ";a=\"\u{7f}\"",
    ";a='b c'",
    ";\"a\"=b",
    // The line ends at a CR LF alone, and at the first, quoted or not.
    ";a\nX",
    ";a\n",
    ";a\rX",
    ";a=\"\n\"",
    ";a=\"\r\"",
    ";a=\"\r\n\"",
    "\nhello",
    "\rhello",
    ";\n0\r\n\r\nGET /hidden HTTP/1.1\r\nA: b",
];

/// In place of `5`: the same five bytes for every reader.
const WELL_FORMED: &[&str] = &[
    "5",
    "05",
    "0000000000000005",
    "5;a",
    "5;a=b",
    "5 ; a = b",
    "5\t;\ta\t=\tb",
    "5;a;b;c=d",
    "5;a=\"b c\"",
    "5;a=\"\"",
    "5;a=\"\\\"\"",
    "5;a=\"\\\\\"",
    "5;a=\";5;\"",
    "5;a=\"\u{e9}\t\";b",
    "5;6",
    "5;0x6=6",
    "5;!#$%&'*+-.^_`|~=~",
];

/// Whole bodies.
const WIRES: &[&str] = &[
    // Data ends where its size says, and with a CR LF.
    "1\r\nab",
    "1\r\na\n",
    "1\r\na\rb",
    "1\r\na\r\r\n",
    "1\r\na \r\n0\r\n\r\n",
    "1\r\na0\r\n\r\n",
    "1\r\na1\r\n",
    "1\r\na\r\n\r\n",
    "1\r\na\r\n\r\n0\r\n\r\n",
    "2\r\na\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n\n0\r\n\r\n",
    "5\r\nhello\r\n-1\r\n\r\n",
    "5\r\nhello\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    // The last chunk, and the empty line after it.
    "0\r\n\n",
    "0\n\r\n",
    "0\n\n",
    "0\r\r\n\r\n",
    "0\r\n\rX",
    "0\r\n\r\r\n",
    "0\r\n \r\n",
    "0\r\n\t\r\n\r\n",
    "0 \r\n\r\n",
    "0x0\r\n\r\n",
    "-0\r\n\r\n",
    "00000000000000000\r\n\r\n",
    "0;\r\n\r\n",
    "0;a=\"\r\n\r\n\"\r\n\r\n",
    "0\r\n\0\r\n",
    // Missing, so that the next request's first line stands there as a trailer.
    "",
    "0",
    "0\r\n",
    "0\r\nA: b\r\n",
    "5\r\nhello",
    "5\r\nhello\r\n",
];

/// Lines of a trailer section: the rules of fields.
const TRAILERS: &[&str] = &[
    "A",
    ": b",
    "A : b",
    "A\t: b",
    "A b: c",
    " A: b",
    "\tA: b",
    "A: b\r\n c",
    "A:\r\n\tb",
    "A: \0",
    "A: b\0c",
    "A: b\u{1b}c",
    "A: b\u{7f}",
    "A: b\rc",
    "A: b\nC: d",
    "A: b\n\r\n",
    "\nA: b",
    "\u{e9}: b",
    "A(: b",
    "\0: b",
    "A: b\r\n: c",
    "A: b\r\nC",
    "0\r\n",
    "5\r\nhello\r\n0",
    "content-length:5",
    "TRANSFER-ENCODING: chunked",
    "A: b\r\nTransfer-Encoding: chunked",
    "A: b\r\nhost: h\r\nC: d",
    "Content-Length : 5",
];

/// RFC 9110 section 6.5.1: what frames, routes, controls or authenticates can't come behind the content.
const FORBIDDEN: &[&str] = &[
    "Authorization",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Cookie",
    "Expect",
    "Host",
    "Keep-Alive",
    "Max-Forwards",
    "Origin",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Range",
    "Set-Cookie",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "X-HTTP-Method-Override",
];

fn whole() -> Vec<Case> {
    let lines = |count: usize| (0..count).map(|n| format!("A{n}: b\r\n")).collect::<String>();
    let five = |trailers: &str| body(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    vec![
        Case::goes(&body("0\r\n\r\n"), &["POST /files"]),
        Case::goes(&body("000;a=b\r\n\r\n"), &["POST /files"]),
        Case::goes(&body("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"), &["POST /files ab"]),
        Case::goes(&body("A\r\n0123456789\r\n0\r\n\r\n"), &["POST /files 0123456789"]),
        Case::goes(
            &body("a\r\n\r\n0\r\n\r\n\r\n\0\r\n0\r\n\r\n"),
            &["POST /files \\r\\n0\\r\\n\\r\\n\\r\\n\\x00"],
        ),
        Case::goes(&five("A: b\r\n"), &["POST /files hello"]),
        Case::goes(&five("A:\r\nB: \t c \t\r\n"), &["POST /files hello"]),
        Case::goes(&five("A: \u{ff}\r\n"), &["POST /files hello"]),
        Case::goes(&five("Upload-Checksum: sha1 x\r\n"), &["POST /files hello"]),
        // Unknown ones are read past, and never merged into the head.
        Case::goes(&five("Upload-Offset: 5\r\nTus-Resumable: 9\r\n"), &["POST /files hello"]),
        Case::goes(&five("Transfer_Encoding: chunked\r\nX-Content-Length: 5\r\n"), &["POST /files hello"]),
        Case::goes(&five(&lines(100)), &["POST /files hello"]),
        Case::refused(&five(&lines(101))),
        Case::goes(&five(&format!("A: {}\r\n", "b".repeat(8_000))), &["POST /files hello"]),
        Case::refused(&five(&format!("A: {}\r\n", "b".repeat(9_000)))),
        Case::refused(&five(&format!("{}: b\r\n", "A".repeat(9_000)))),
        Case::goes(&body(&format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(250))), &["POST /files hello"]),
        Case::refused(&body(&format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(251)))),
        Case::refused(&body(&format!("5;a=\"{}\"\r\nhello\r\n0\r\n\r\n", "b".repeat(20_000)))),
        Case::refused(&body(&format!("5{}\r\nhello\r\n0\r\n\r\n", ";a".repeat(200)))),
        Case::refused(&body(&"0".repeat(10_000))),
        Case::new(&body("7fffffffffffffff\r\nhello\r\n0\r\n\r\n"), &[], End::Waits),
        Case::new(&body("fe\r\nhello\r\n0\r\n\r\n"), &[], End::Waits),
        Case::new(&body("5\r\nhello\r"), &[], End::Waits),
        Case::new(&body("0\r\nA: b\r\n\r"), &[], End::Waits),
    ]
}
