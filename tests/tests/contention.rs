//! Requests that meet at one upload, in an order that only a virtual clock can give: a writer that hangs, a
//! HEAD that waits for it, a newcomer that gives up, a lock that is lost, a shutdown.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tests::{Request, drive::Drive};
use tus_proto::{Config, Owner, Response};

const TTL: Duration = Duration::from_secs(60);

fn drive() -> Drive {
    let config = Config::builder().lock_wait(Duration::from_secs(5)).lock_ttl(TTL).build().unwrap();
    Drive::new(config)
}

fn at(location: &str, request: Request) -> Request {
    Request { target: request.target.replace("{upload}", location), ..request }
}

#[track_caller]
fn done(drive: &mut Drive, request: &Request) -> Response {
    let owner = drive.start(request);
    drive.response(owner).expect("there should be a response")
}

fn create(drive: &mut Drive) -> String {
    let response = done(drive, &Request::post().with("Upload-Length", 9));
    response.header("Location").unwrap().to_owned()
}

/// A writer that has staged "hello" of nine bytes, and then hangs.
fn stuck(drive: &mut Drive, location: &str) -> Owner {
    let writer = drive.start(&at(location, Request::patch(0).announcing(9, "hello")));
    drive.get_stuck(writer);
    writer
}

#[track_caller]
fn tells(drive: &mut Drive, location: &str, offset: &str) {
    let response = done(drive, &at(location, Request::head()));
    assert_eq!((response.status(), response.header("Upload-Offset")), (200, Some(offset)));
}

#[track_caller]
fn is(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status(), response.body().split(':').next()), (status, Some(code)));
}

#[test]
fn a_newcomer_does_not_wait_for_ever() {
    let mut drive = drive();
    let location = create(&mut drive);
    let writer = stuck(&mut drive, &location);
    for request in [Request::patch(0).sized("hello"), Request::delete()] {
        let before = drive.now();
        is(&done(&mut drive, &at(&location, request)), 423, "ERR_UPLOAD_LOCKED");
        assert_eq!(drive.now().since(before), Duration::from_secs(5));
    }
    drive.get_unstuck(writer);
    is(&drive.response(writer).unwrap(), 400, "ERR_UPLOAD_INTERRUPTED");
    tells(&mut drive, &location, "0");
}

#[test]
fn a_newcomer_gets_the_lock_as_soon_as_the_writer_lets_go() {
    let mut drive = drive();
    let location = create(&mut drive);
    let writer = stuck(&mut drive, &location);
    let newcomer = drive.start(&at(&location, Request::patch(0).sized("HELLO")));
    drive.pass(Duration::from_secs(4));
    drive.get_unstuck(writer);
    is(&drive.response(writer).unwrap(), 400, "ERR_UPLOAD_INTERRUPTED");
    let response = drive.response(newcomer).unwrap();
    assert_eq!((response.status(), response.header("Upload-Offset")), (204, Some("5")));
}

#[test]
fn a_head_waits_a_second_for_a_stuck_writer_and_tells_what_is_committed() {
    let mut drive = drive();
    let location = create(&mut drive);
    let writer = drive.start(&at(&location, Request::patch(0).announcing(9, "hello")));
    tells(&mut drive, &location, "5");
    drive.arrive(writer, b"yo");
    drive.get_stuck(writer);
    let before = drive.now();
    tells(&mut drive, &location, "5");
    assert_eq!(drive.now().since(before), Duration::from_secs(1));
    drive.get_unstuck(writer);
    tells(&mut drive, &location, "7");
}

#[test]
fn a_writer_that_hangs_longer_than_its_lock_lives_loses_it_and_spoils_nothing() {
    let mut drive = drive();
    let location = create(&mut drive);
    let writer = drive.start(&at(&location, Request::patch(0).announcing(9, "he")));
    tells(&mut drive, &location, "2");
    drive.arrive(writer, b"XX");
    drive.get_stuck(writer);
    drive.pass(TTL);
    let newcomer = done(&mut drive, &at(&location, Request::patch(2).sized("llo")));
    assert_eq!((newcomer.status(), newcomer.header("Upload-Offset")), (204, Some("5")));
    drive.arrive(writer, b"YYYYY");
    drive.get_unstuck(writer);
    is(&drive.response(writer).unwrap(), 400, "ERR_UPLOAD_INTERRUPTED");
    let last = done(&mut drive, &at(&location, Request::patch(5).sized("you!")));
    assert_eq!((last.status(), last.header("Upload-Offset")), (204, Some("9")));
    assert_eq!(drive.stored(&location), b"helloyou!");
}

#[test]
fn a_writer_renews_its_lock_for_as_long_as_it_writes() {
    let mut drive = drive();
    let location = create(&mut drive);
    let writer = drive.start(&at(&location, Request::patch(0).announcing(9, "hello")));
    drive.pass(TTL * 10);
    drive.arrive(writer, b"you!");
    assert_eq!(drive.response(writer).unwrap().status(), 204);
    tells(&mut drive, &location, "9");
}

#[test]
fn a_body_is_committed_when_its_time_has_come() {
    let mut drive = drive();
    let location = create(&mut drive);
    let writer = drive.start(&at(&location, Request::patch(0).announcing(9, "hello")));
    drive.pass(Duration::from_secs(3));
    // The commit is there without a HEAD that asks: a stuck writer answers none.
    drive.get_stuck(writer);
    tells(&mut drive, &location, "5");
}

#[test]
fn a_shutdown_commits_what_arrived_and_says_so() {
    let mut drive = drive();
    let location = create(&mut drive);
    let writer = drive.start(&at(&location, Request::patch(0).announcing(9, "hello")));
    drive.shut_down();
    is(&drive.response(writer).unwrap(), 503, "ERR_SERVER_SHUTDOWN");
    tells(&mut drive, &location, "5");
}

#[test]
fn a_shutdown_frees_those_who_wait_for_a_lock() {
    let mut drive = drive();
    let location = create(&mut drive);
    stuck(&mut drive, &location);
    let newcomer = drive.start(&at(&location, Request::patch(0).sized("HELLO")));
    let before = drive.now();
    drive.shut_down();
    is(&drive.response(newcomer).unwrap(), 503, "ERR_SERVER_SHUTDOWN");
    assert_eq!(drive.now(), before);
}

#[test]
fn a_peer_that_is_gone_gets_no_response() {
    let mut drive = drive();
    let location = create(&mut drive);
    let writer = drive.start(&at(&location, Request::patch(0).announcing(9, "hello")));
    drive.ends(writer, tests::row::End::Reset);
    assert!(drive.response(writer).is_none());
    tells(&mut drive, &location, "5");
}
