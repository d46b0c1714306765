//! A checksum in the trailer of a chunked body, from a client that writes its own HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use tests::{Answer, Request, client::Client, server::Running};

const HELLO: &str = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=";
const NOTHING: &str = "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=";

fn create(server: &Running) -> String {
    let mut client = Client::connect(server.address());
    client.request(&Request::post().with("Upload-Length", 9));
    client.answer(false).unwrap().value("Location").unwrap().to_owned()
}

/// PATCHes `hello` in two chunks, with these fields in the header and in the trailer.
fn patch(server: &Running, location: &str, header: &str, trailer: &str) -> Answer {
    let mut client = Client::connect(server.address());
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n\
         Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n{header}\r\n"
    );
    client.write(format!("{head}2\r\nhe\r\n3\r\nllo\r\n0\r\n{trailer}\r\n").as_bytes());
    client.answer(false).unwrap()
}

fn offset(server: &Running, location: &str) -> String {
    let mut client = Client::connect(server.address());
    client.request(&Request { target: location.into(), ..Request::head() });
    client.answer(true).unwrap().value("Upload-Offset").unwrap().to_owned()
}

#[track_caller]
fn check(header: &str, trailer: &str, status: u16, code: &str, told: &str) {
    let server = Running::start(|_| {});
    let location = create(&server);
    let answer = patch(&server, &location, header, trailer);
    let body = String::from_utf8(answer.body.clone()).unwrap();
    assert_eq!((answer.status, body.split(':').next()), (status, Some(code)));
    assert_eq!(offset(&server, &location), told);
}

#[test]
fn the_right_one_is_as_good_as_in_the_header() {
    check("Trailer: Upload-Checksum\r\n", &format!("Upload-Checksum: {HELLO}\r\n"), 204, "", "5");
}

#[test]
fn the_wrong_one_leaves_no_trace() {
    let trailer = format!("Upload-Checksum: {NOTHING}\r\n");
    check("Trailer: Upload-Checksum\r\n", &trailer, 460, "ERR_CHECKSUM_MISMATCH", "0");
    check("", &trailer, 460, "ERR_CHECKSUM_MISMATCH", "0");
}

#[test]
fn one_that_was_announced_must_come() {
    check("Trailer: Upload-Checksum\r\n", "", 400, "ERR_INVALID_CHECKSUM", "0");
}

#[test]
fn one_that_was_not_announced_is_verified_all_the_same() {
    check("", &format!("Upload-Checksum: {HELLO}\r\n"), 204, "", "5");
}

#[test]
fn header_and_trailer_must_agree() {
    let header = format!("Upload-Checksum: {HELLO}\r\n");
    check(&header, &format!("Upload-Checksum: {HELLO}\r\n"), 204, "", "5");
    check(&header, &format!("Upload-Checksum: {NOTHING}\r\n"), 400, "ERR_INVALID_CHECKSUM", "0");
}
