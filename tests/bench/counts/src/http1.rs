//! HTTP/1.1 alone: the same answer to everything.

use std::{fmt::Write as _, hint::black_box, sync::Arc};

use tus_mio_server::http1::{Conn, Event, Settings};
use tus_proto::Response;

use crate::NOW;

/// A request as a browser's client sends it.
const REQUEST: &str = "HEAD /files/0HtFYqQyGJzWrKx3mNvBcDsT HTTP/1.1\r\n\
    Host: localhost:1080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Tus-Resumable: 1.0.0\r\n\
    Origin: https://example.com\r\n\
    Connection: keep-alive\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Site: same-origin\r\n\r\n";

/// How long each of the bodies is, bytes.
const BODY: usize = 64 << 10;

/// The bytes of a whole request go in, those of its answer come out.
pub(crate) fn request(times: u32) {
    run(times, REQUEST.as_bytes());
}

/// A body in chunks of 4 KiB.
pub(crate) fn large_chunks(times: u32) {
    run(times, chunked(4096).as_bytes());
}

/// A body in chunks of 16 bytes.
pub(crate) fn small_chunks(times: u32) {
    run(times, chunked(16).as_bytes());
}

fn chunked(size: usize) -> String {
    let mut text =
        "PATCH /files/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for _ in 0..BODY / size {
        // Writing to a string can't fail.
        let _ = write!(text, "{size:x}\r\n{}\r\n", "x".repeat(size));
    }
    text + "0\r\n\r\n"
}

fn run(times: u32, request: &[u8]) {
    let answer = Response::new(204, NOW.wall);
    let mut http = Conn::new(Arc::new(Settings::default()), NOW.monotonic);
    for _ in 0..times {
        let mut rest = black_box(request);
        while let Some(event) = http.next(NOW.monotonic, &mut rest) {
            match event {
                Event::Head => assert!(http.with_head(false, |head| !head.fields.is_empty()).is_some()),
                Event::End(_) => http.respond(NOW.monotonic, &answer),
                Event::Body(_) | Event::Rejected(_) => {}
            }
        }
        let sent = http.output().len();
        assert!(sent > 0);
        http.sent(NOW.monotonic, sent);
    }
}
