//! Disks that fill up, fail or lose their power, under requests: what was acknowledged is there, what was not is
//! told honestly, and the server goes on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use tests::{Request, drive::Drive};
use tus_proto::{Config, Response};
use tus_redb::sim::{Crash, Fault};

const BODY: &str = "hello, world";

fn drive() -> Drive {
    Drive::new(Config::default())
}

fn at(location: &str, request: Request) -> Request {
    Request { target: request.target.replace("{upload}", location), ..request }
}

#[track_caller]
fn done(drive: &mut Drive, request: &Request) -> Response {
    let owner = drive.start(request);
    drive.response(owner).expect("there should be a response")
}

fn create(drive: &mut Drive, length: usize) -> String {
    let response = done(drive, &Request::post().with("Upload-Length", length));
    response.header("Location").unwrap().to_owned()
}

fn offset(drive: &mut Drive, location: &str) -> usize {
    let response = done(drive, &at(location, Request::head()));
    assert_eq!(response.status(), 200);
    response.header("Upload-Offset").unwrap().parse().unwrap()
}

/// Sends what is missing of `body`, and holds what is stored against it.
#[track_caller]
fn completes(drive: &mut Drive, location: &str, body: &str) {
    let from = offset(drive, location);
    let response = done(drive, &at(location, Request::patch(from as u64).sized(&body[from..])));
    assert_eq!(response.status(), 204, "{}", response.body());
    assert!(drive.stored(location) == body.as_bytes(), "other bytes are stored than were sent");
}

#[test]
fn a_full_disk_keeps_what_fitted_and_everything_else_goes_on() {
    let mut drive = drive();
    let body = "0123456789abcdef".repeat(64 << 10);
    let location = create(&mut drive, body.len());
    let other = create(&mut drive, 5);
    drive.disk().set_free(Some(256 << 10));
    let response = done(&mut drive, &at(&location, Request::patch(0).sized(&body)));
    assert_eq!((response.status(), response.header("Upload-Offset")), (507, None));
    assert!(response.body().starts_with("ERR_INSUFFICIENT_STORAGE: "));
    let kept = offset(&mut drive, &location);
    assert!((1..body.len()).contains(&kept), "{kept}");
    // The log has its space, and the reserve is there for the records: a creation that is acknowledged stays.
    let response = done(&mut drive, &Request::post().with("Upload-Length", 5));
    match (response.status(), response.header("Location")) {
        (201, Some(location)) => assert_eq!(offset(&mut drive, location), 0),
        other => assert_eq!(other, (507, None)),
    }
    assert_eq!(offset(&mut drive, &other), 0);
    assert_eq!(done(&mut drive, &at(&other, Request::delete())).status(), 204);
    drive.disk().set_free(None);
    completes(&mut drive, &location, &body);
}

#[test]
fn without_descriptors_a_body_waits_for_better_times_and_head_and_delete_work() {
    let mut drive = drive();
    let body = "0123456789abcdef".repeat(4 << 10);
    let location = create(&mut drive, body.len());
    let other = create(&mut drive, 5);
    let open = drive.disk().open_files();
    drive.disk().limit_open_files(Some(open));
    let response = done(&mut drive, &at(&location, Request::patch(0).sized(&body)));
    assert_eq!((response.status(), response.header("Upload-Offset")), (503, None));
    assert!(response.body().starts_with("ERR_STORE_UNAVAILABLE: "));
    offset(&mut drive, &location);
    assert_eq!(done(&mut drive, &at(&other, Request::delete())).status(), 204);
    drive.disk().limit_open_files(None);
    completes(&mut drive, &location, &body);
}

/// How many calls a PATCH of [`BODY`] makes on the disk, from when on.
fn calls_of_a_patch() -> std::ops::Range<u64> {
    let mut drive = drive();
    let location = create(&mut drive, BODY.len());
    let before = drive.disk().calls();
    completes(&mut drive, &location, BODY);
    before..drive.disk().calls()
}

#[test]
fn whichever_call_fails_in_a_patch_it_is_answered_honestly_and_can_be_repeated() {
    let calls = calls_of_a_patch();
    assert!(calls.end - calls.start > 5);
    let mut failed = 0;
    for (call, fault) in calls.flat_map(|call| [(call, Fault::Io), (call, Fault::Full)]) {
        let mut drive = drive();
        let location = create(&mut drive, BODY.len());
        drive.disk().fail(call..call + 1, fault);
        let response = done(&mut drive, &at(&location, Request::patch(0).sized(BODY)));
        drive.disk().heal();
        match response.status() {
            204 => assert_eq!(offset(&mut drive, &location), BODY.len()),
            500 | 507 => {
                failed += 1;
                assert_eq!(response.header("Upload-Offset"), None);
            }
            other => panic!("call {call}, {fault:?}: {other} {}", response.body()),
        }
        if offset(&mut drive, &location) < BODY.len() {
            completes(&mut drive, &location, BODY);
        }
        assert!(drive.stored(&location) == BODY.as_bytes(), "call {call}, {fault:?}");
    }
    assert!(failed > 3, "only {failed} faults were felt");
}

#[test]
fn a_head_is_never_answered_5xx() {
    let mut drive = drive();
    let location = create(&mut drive, BODY.len());
    drive.disk().fail(0..u64::MAX, Fault::Io);
    // A failed commit makes the store read its records anew.
    let failed = done(&mut drive, &at(&location, Request::patch(0).sized(BODY)));
    assert_eq!(failed.status(), 500);
    let response = done(&mut drive, &at(&location, Request::head()));
    assert!([200, 423].contains(&response.status()), "{}", response.status());
    assert_eq!(response.body(), "");
    drive.disk().heal();
    completes(&mut drive, &location, BODY);
}

#[test]
fn whenever_the_power_goes_in_a_patch_what_was_acknowledged_is_there() {
    for call in calls_of_a_patch() {
        for left in 0..8 {
            let mut drive = drive();
            let location = create(&mut drive, BODY.len());
            drive.disk().die_at(call);
            let response = done(&mut drive, &at(&location, Request::patch(0).sized(BODY)));
            drive.crash(Crash::Machine(left));
            let kept = offset(&mut drive, &location);
            assert!(response.status() != 204 || kept == BODY.len(), "call {call}: {kept} is left");
            if kept < BODY.len() {
                completes(&mut drive, &location, BODY);
            }
            assert!(drive.stored(&location) == BODY.as_bytes(), "call {call}, left {left}");
        }
    }
}

#[test]
fn a_process_that_is_killed_in_a_long_body_loses_what_came_since_the_last_checkpoint() {
    let mut drive = drive();
    let location = create(&mut drive, BODY.len());
    let writer = drive.start(&at(&location, Request::patch(0).announcing(BODY.len() as u64, &BODY[..5])));
    drive.pass(std::time::Duration::from_secs(3));
    drive.arrive(writer, &BODY.as_bytes()[5..9]);
    drive.crash(Crash::Process);
    assert_eq!(offset(&mut drive, &location), 5);
    completes(&mut drive, &location, BODY);
}
