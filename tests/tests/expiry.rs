//! An upload whose time is over, on a real server: told as such, and swept with its bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tests::{Answer, Request, client::Client, server::Running};

fn send(server: &Running, request: &Request) -> Answer {
    let mut client = Client::connect(server.address());
    client.request(request);
    client.answer(request.method == "HEAD").unwrap()
}

/// How many data files there are.
fn files(data_dir: &Path) -> usize {
    let Ok(dirs) = fs::read_dir(data_dir.join("data")) else { return 0 };
    dirs.map(|dir| fs::read_dir(dir.unwrap().path()).map_or(0, Iterator::count)).sum()
}

#[test]
fn it_is_410_at_its_time_and_swept_soon_after() {
    let server = Running::start(|settings| {
        let second = Duration::from_secs(1);
        settings.protocol = tus_proto::Config::builder().upload_expiry(Some(second)).build().unwrap();
        settings.cleanup_interval = second;
    });
    let body = |length: u64| Request::post().with("Upload-Length", length).upload_type().sized("hello");
    let unfinished = send(&server, &body(9));
    assert_eq!(unfinished.status, 201);
    assert!(unfinished.value("Upload-Expires").is_some());
    let finished = send(&server, &body(5));
    assert_eq!((finished.status, finished.value("Upload-Expires")), (201, None));
    let head =
        |answer: &Answer| Request { target: answer.value("Location").unwrap().into(), ..Request::head() };

    // A bound, not a measure: a server that never lets it expire fails here.
    let patience = Instant::now() + Duration::from_secs(60);
    while send(&server, &head(&unfinished)).status != 410 {
        assert!(Instant::now() < patience, "it lives on");
    }
    while files(server.data_dir()) > 1 {
        assert!(Instant::now() < patience, "its bytes stay");
    }
    let gone = Request { target: unfinished.value("Location").unwrap().into(), ..Request::patch(5) };
    assert_eq!(send(&server, &gone.sized("x")).status, 410);
    let there = send(&server, &head(&finished));
    assert_eq!((there.status, there.value("Upload-Offset")), (200, Some("5")));
}
