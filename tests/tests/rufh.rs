//! The IETF's resumable uploads as Apple's URLSession speaks them, over TCP: answers before the final one, a cut in the
//! middle, and an append that repeats `Upload-Length`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use tests::{Answer, Request, client::Client, server::Running};

/// A request of URLSession, by a version of the drafts.
fn request(version: u64, method: &str, target: &str) -> Request {
    Request::bare(method, target)
        .with("Upload-Draft-Interop-Version", version)
        .with("User-Agent", "App/1 CFNetwork/1568.100.1 Darwin/24.0.0")
        .with("Accept", "*/*")
}

/// What it says of an upload task: it sends all of it.
fn complete(request: Request, version: u64) -> Request {
    match version {
        3 => request.with("Upload-Incomplete", "?0"),
        _ => request.with("Upload-Complete", "?1"),
    }
}

/// The path in a `Location`.
fn path(answer: &Answer) -> String {
    let location = answer.value("Location").expect("a Location");
    let at = location.find("/files/").expect("below the base path");
    location[at..].to_owned()
}

fn send(server: &Running, request: &Request) -> Answer {
    let mut client = Client::connect(server.address());
    client.request(request);
    client.answer(request.method == "HEAD").unwrap()
}

/// The offset that a HEAD is told, once what was sent has arrived.
fn offset(server: &Running, version: u64, upload: &str, least: u64) -> u64 {
    for _ in 0..100_000 {
        let answer = send(server, &request(version, "HEAD", upload));
        assert_eq!(answer.status, 204, "{answer:?}");
        let offset: u64 = answer.value("Upload-Offset").unwrap().parse().unwrap();
        if offset >= least {
            return offset;
        }
        std::thread::yield_now();
    }
    panic!("what was sent does not arrive");
}

#[test]
fn urlsession_goes_on_after_a_cut() {
    let server = Running::start(|_| {});
    for version in [3, 5, 6, 8] {
        let creation =
            complete(request(version, "POST", "/files"), version).with("Content-Type", "image/heic");
        let creation = if version == 3 { creation } else { creation.with("Upload-Length", 12) };
        let mut client = Client::connect(server.address());
        client.request(&creation.announcing(12, "hello"));
        let interim = client.wait_for_interim().unwrap();
        assert_eq!(interim.status, 104, "{version}");
        assert_eq!(interim.value("Upload-Draft-Interop-Version"), Some(&*version.to_string()));
        let upload = path(&interim);
        client.reset();

        let offset = offset(&server, version, &upload, 5);
        assert_eq!(offset, 5, "{version}");
        let append = complete(request(version, "PATCH", &upload), version).with("Upload-Offset", offset);
        let append = if version == 3 { append } else { append.with("Upload-Length", 12) };
        let append =
            if version > 5 { append.with("Content-Type", "application/partial-upload") } else { append };
        let answer = send(&server, &append.sized(" world!"));
        assert_eq!(answer.status, 200, "{version}: {answer:?}");
        let (field, value) =
            if version == 3 { ("Upload-Incomplete", "?0") } else { ("Upload-Complete", "?1") };
        assert_eq!(answer.value(field), Some(value), "{version}");
    }
}

#[test]
fn a_104_comes_before_100_and_the_final_answer_and_tells_the_same_location() {
    let server = Running::start(|_| {});
    let creation = complete(request(9, "POST", "/files"), 9).with("Expect", "100-continue");
    let mut client = Client::connect(server.address());
    client.request(&creation.announcing(5, ""));
    let interim = client.wait_for_interim().unwrap();
    client.wait_for_continue().unwrap();
    client.write(b"hello");
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, answer.value("Upload-Complete")), (200, Some("?1")));
    assert_eq!(answer.value("Location"), interim.value("Location"));
    // The connection lives on, and who names no version gets none.
    client.request(&Request::bare("POST", "/files").with("Upload-Complete", "?1").sized("hello"));
    assert_eq!(client.answer(false).unwrap().status, 200);
    assert_eq!((client.interims.len(), client.continues), (0, 0));
}

#[test]
fn requests_are_counted_by_protocol() {
    let server = Running::start(|_| {});
    send(&server, &Request::bare("POST", "/files").with("Upload-Complete", "?1").sized("hello"));
    send(&server, &Request::post().with("Upload-Length", 5));
    let text = String::from_utf8(send(&server, &Request::bare("GET", "/metrics")).body).unwrap();
    for protocol in ["tus", "ietf"] {
        let line = format!("tus_requests_answered_total{{protocol=\"{protocol}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}
