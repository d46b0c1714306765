//! Expiration: told on every answer about an upload that expires, moved on by every commit, and past it 410.

use std::time::Duration;

use tus_proto::{
    AppendEnd, Command, Completion, Config, Framing, LockCall, LockReply, Reason, Record, Trailers, WallTime,
};

use super::script::{Script, Sent, record};

const HOUR: Duration = Duration::from_secs(3600);

fn config() -> Config {
    Config::builder().upload_expiry(Some(HOUR)).build().unwrap()
}

fn at(seconds: u64) -> Option<WallTime> {
    Some(WallTime::from_micros(seconds * 1_000_000))
}

/// An upload of 10 bytes, 3 of which are there, that expires after so many seconds.
fn expiring(seconds: u64) -> Record {
    Record { expires: at(seconds), ..record(3, 10) }
}

#[test]
fn a_creation_tells_when_the_upload_expires_and_an_empty_one_never_does() {
    for (length, expires) in [("10", Some("Thu, 01 Jan 1970 01:00:00 GMT")), ("0", None)] {
        let mut script = Script::start_with(config(), &Sent::post().with("Upload-Length", length));
        let (op, command) = script.store();
        let Command::Create { record, .. } = command else { panic!("{command:?}") };
        assert_eq!(record.expires, expires.and(at(3600)));
        script.stored(op, Completion::Created);
        assert_eq!(script.responds().header("Upload-Expires"), expires);
    }
}

#[test]
fn each_commit_moves_it_on_and_the_last_one_takes_it_away() {
    let sent = Sent::patch(3, Framing::Length(4));
    let (mut script, grant) = Script::receiving(config(), &sent, &expiring(60));
    script.pass(Duration::from_secs(50));
    script.body_ends(grant, 4);
    assert_eq!(script.commits(3, 7).expires, at(3650));
    script.release();
    let response = script.responds();
    assert_eq!(response.header("Upload-Expires"), Some("Thu, 01 Jan 1970 01:00:50 GMT"));

    let sent = Sent::patch(3, Framing::Length(7));
    let (mut script, grant) = Script::receiving(config(), &sent, &expiring(60));
    script.body_ends(grant, 7);
    let asked = script.commits(3, 10);
    assert_eq!((asked.expires, asked.finish), (None, true));
    script.release();
    assert_eq!(script.responds().header("Upload-Expires"), None);
}

#[test]
fn errors_after_the_look_up_tell_it_too() {
    let mut script = Script::start_with(config(), &Sent::patch(1, Framing::Length(4)));
    script.load(&expiring(60));
    let response = script.refuses(409, "ERR_MISMATCHED_OFFSET");
    assert_eq!(response.header("Upload-Expires"), Some("Thu, 01 Jan 1970 00:01:00 GMT"));
}

#[test]
fn past_its_time_an_upload_is_gone_whether_or_not_it_was_swept() {
    for gone in [Completion::Loaded(expiring(0)), Completion::Gone] {
        for sent in [Sent::patch(3, Framing::Length(4)), Sent::delete()] {
            let mut script = Script::start_with(config(), &sent);
            let (op, _) = script.store();
            script.stored(op, gone.clone());
            if gone != Completion::Gone {
                // Nobody writes to it: so it is over.
                script.acquire();
                let (op, _) = script.store();
                script.stored(op, gone.clone());
                script.release();
            }
            let response = script.refuses(410, "ERR_UPLOAD_EXPIRED");
            assert_eq!(response.header("Upload-Expires"), None);
        }
        let mut script = Script::start_with(config(), &Sent::head());
        let (op, _) = script.lock();
        script.replied(op, LockReply::Checkpointed);
        let (op, _) = script.store();
        script.stored(op, gone.clone());
        let response = script.responds();
        assert_eq!((response.status(), response.body()), (410, ""));
    }
}

#[test]
fn while_somebody_writes_to_it_it_is_not_over() {
    let mut script = Script::start_with(config(), &Sent::head());
    script.lock();
    // The writer's disk hangs, and its renewal with it.
    assert_eq!(script.wait(), Reason::CheckpointWait);
    script.lock();
    script.load(&expiring(1));
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Offset")), (200, Some("3")));
    assert_eq!(response.header("Upload-Expires"), Some("Thu, 01 Jan 1970 01:00:01 GMT"));

    let mut script = Script::start_with(config(), &Sent::patch(3, Framing::Length(4)));
    script.pass(Duration::from_secs(1));
    script.load(&expiring(1));
    // The writer commits what it has, and lets go.
    assert_eq!(script.acquire(), Some(3));
    script.load(&expiring(60));
    script.append();

    let mut script = Script::start_with(config(), &Sent::delete());
    script.pass(Duration::from_secs(1));
    script.load(&expiring(1));
    assert_eq!(script.acquire(), None);
    script.load(&expiring(60));
    let (op, command) = script.store();
    assert!(matches!(command, Command::Delete { .. }), "{command:?}");
    script.stored(op, Completion::Deleted);
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn a_download_asks_the_writer_of_what_is_over_once() {
    let downloads = || Config::builder().upload_expiry(Some(HOUR)).downloads(true).build().unwrap();
    for (then, status, code) in [
        (expiring(60), 404, "ERR_UPLOAD_NOT_FINISHED"),
        (Record { expires: None, ..record(10, 10) }, 200, ""),
        (expiring(1), 410, "ERR_UPLOAD_EXPIRED"),
    ] {
        let mut script = Script::start_with(downloads(), &Sent::bare("GET", "/files/upload"));
        script.pass(Duration::from_secs(1));
        let (op, _) = script.store();
        script.stored(op, Completion::Opened(expiring(1)));
        let (op, call) = script.lock();
        assert!(matches!(call, LockCall::Checkpoint { .. }), "{call:?}");
        script.replied(op, LockReply::Checkpointed);
        let (op, _) = script.store();
        script.stored(op, Completion::Opened(then));
        let response = script.responds();
        assert_eq!(response.status(), status);
        assert!(response.body().starts_with(code), "{}", response.body());
    }
    // The writer's disk hangs.
    let mut script = Script::start_with(downloads(), &Sent::bare("GET", "/files/upload"));
    script.pass(Duration::from_secs(1));
    let (op, _) = script.store();
    script.stored(op, Completion::Opened(expiring(1)));
    script.lock();
    assert_eq!(script.wait(), Reason::CheckpointWait);
    script.lock();
    let (op, _) = script.store();
    script.stored(op, Completion::Opened(expiring(1)));
    assert_eq!(script.responds().status(), 404);
}

#[test]
fn a_calendar_that_is_set_ends_no_life_and_moves_what_is_told_of_it() {
    let day = Duration::from_secs(24 * 3600);
    let mut script = Script::start_with(config(), &Sent::head());
    script.set_ahead(2 * day);
    let (op, _) = script.lock();
    script.replied(op, LockReply::Checkpointed);
    script.load(&expiring(60));
    let response = script.responds();
    assert_eq!(response.status(), 200);
    assert_eq!(response.header("Upload-Expires"), Some("Sat, 03 Jan 1970 00:01:00 GMT"));
    assert_eq!(response.header("Date"), Some("Sat, 03 Jan 1970 00:00:00 GMT"));

    let sent = Sent::patch(3, Framing::Chunked);
    let (mut script, grant) = Script::receiving(config(), &sent, &expiring(3600));
    script.set_ahead(2 * day);
    script.body_ends(grant, 4);
    assert_eq!(script.commits(3, 7).expires, at(3600));
    script.release();
    assert_eq!(script.responds().header("Upload-Expires"), Some("Sat, 03 Jan 1970 01:00:00 GMT"));
}

#[test]
fn it_may_run_out_while_the_lock_is_waited_for() {
    let mut script = Script::start_with(config(), &Sent::patch(3, Framing::Length(4)));
    script.load(&expiring(2));
    let (op, _) = script.lock();
    script.pass(Duration::from_secs(2));
    script.replied(op, LockReply::Granted { fence: tus_proto::Fence(7), rotate: false });
    script.load(&expiring(2));
    script.release();
    script.refuses(410, "ERR_UPLOAD_EXPIRED");
}

#[test]
fn nothing_expires_while_it_is_written_to_and_what_is_not_verified_is_not_committed_by_that() {
    // sha1 of four bytes that never matter: the body is not complete.
    let sent = Sent::patch(3, Framing::Chunked).with("Upload-Checksum", "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
    let config = Config::builder().upload_expiry(Some(Duration::from_secs(30))).build().unwrap();
    let (mut script, grant) = Script::receiving(config, &sent, &expiring(30));
    script.staged(grant, 4);
    assert_eq!(script.wait(), Reason::Expiry);
    let asked = script.commits(3, 3);
    assert_eq!((asked.expires, asked.finish), (at(45), false));
    // Nor does it make a checkpoint due, which would be so for ever.
    assert_eq!(script.deadline(), Some((Duration::from_secs(5), Reason::Renew)));
    script.idle();
    // What is staged waits for no checkpoint.
    assert_eq!(script.deadline().map(|(_, reason)| reason), Some(Reason::Renew));
    script.appended(grant, 4, AppendEnd::Complete(Trailers::default()));
}

#[test]
fn without_a_rule_of_the_server_an_upload_keeps_its_time() {
    let sent = Sent::patch(3, Framing::Length(4));
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &expiring(60));
    script.body_ends(grant, 4);
    assert_eq!(script.commits(3, 7).expires, at(60));
}

#[test]
fn the_first_renewal_comes_in_half_the_time_that_is_left_and_a_finished_upload_needs_none() {
    let sent = Sent::patch(3, Framing::Chunked);
    let (mut script, _) = Script::receiving(config(), &sent, &expiring(20));
    assert_eq!(script.deadline(), Some((Duration::from_secs(10), Reason::Expiry)));
    assert_eq!(script.wait(), Reason::Expiry);
    assert_eq!(script.commits(3, 3).expires, at(3610));
    assert_eq!(script.deadline().map(|(_, reason)| reason), Some(Reason::Renew));

    let sent = Sent::patch(10, Framing::Chunked);
    let (script, _) = Script::receiving(config(), &sent, &record(10, 10));
    assert_eq!(script.deadline().map(|(_, reason)| reason), Some(Reason::Renew));
}

#[test]
fn a_body_is_read_back_only_when_the_renewal_under_way_is_done() {
    let sent = Sent::patch(3, Framing::Chunked).with("Trailer", "Upload-Checksum");
    let (mut script, grant) = Script::receiving(config(), &sent, &expiring(20));
    script.staged(grant, 5);
    assert_eq!(script.wait(), Reason::Expiry);
    let renewal = script.commit();
    let mut trailers = Trailers::default();
    trailers.push("Upload-Checksum", b"sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=");
    script.appended(grant, 5, AppendEnd::Complete(trailers));
    script.idle();
    script.stored(renewal.op, Completion::Committed { offset: 3 });
    let (_, command) = script.store();
    assert!(matches!(command, Command::Digest { from: 3, to: 8, .. }), "{command:?}");
}
