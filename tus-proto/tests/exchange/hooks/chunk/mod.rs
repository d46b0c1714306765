//! `on_chunk_received`: once a request that brought bytes, before its last commit.

mod decided;

use std::time::Duration;

use tus_proto::{
    AppendEnd, Cancel, Completion, Cut, Failure, Framing, HookCall, HookReply, Input, OpId, Reason, Record,
    Subscriptions, Trailers,
};

use super::{NOBODY, hooked};
use crate::script::{Early, Grant, Script, Sent, id, record};

const CHUNK: Subscriptions = Subscriptions { chunk: true, ..NOBODY };

/// A PATCH at 3 of 1000 bytes, committed every 100, up to its body.
fn receiving() -> (Script, Grant) {
    receiving_of(&Sent::patch(3, Framing::Chunked), &record(3, 1000))
}

fn receiving_of(sent: &Sent, record: &Record) -> (Script, Grant) {
    let config = hooked(CHUNK).checkpoint_bytes(100).upload_expiry(Some(Duration::from_secs(16)));
    Script::receiving(config.build().unwrap(), sent, record)
}

/// The hook is asked, and nothing else happens.
#[track_caller]
fn asks(script: &mut Script, end: u64) -> OpId {
    let (op, call) = script.hook();
    let HookCall::Chunk { request, offset, .. } = call else { panic!("not {call:?}") };
    assert_eq!(offset, end);
    assert!(request.field("Tus-Resumable").is_some());
    script.idle();
    op
}

#[test]
fn the_last_commit_waits_for_it() {
    let (mut script, grant) = receiving();
    script.body_ends(grant, 40);
    let (op, call) = script.hook();
    let HookCall::Chunk { request, id: named, offset, length } = call else { panic!("not {call:?}") };
    assert_eq!((request.method.as_str(), named, offset, length), ("PATCH", id(), 43, Some(1000)));
    script.idle();
    script.decided(op, HookReply::Proceed);
    script.commits(3, 43);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("43"));
}

#[test]
fn checkpoints_do_not_wait_and_it_is_asked_once() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    script.commits(3, 103);
    script.staged(grant, 200);
    script.commits(103, 203);
    script.body_ends(grant, 240);
    let op = asks(&mut script, 243);
    script.decided(op, HookReply::Proceed);
    script.commits(203, 243);
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn it_is_asked_where_checkpoints_have_left_nothing_to_commit() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    script.commits(3, 103);
    script.body_ends(grant, 100);
    let op = asks(&mut script, 103);
    script.decided(op, HookReply::Proceed);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("103"));
}

#[test]
fn it_is_not_asked_where_no_byte_came() {
    let (mut script, grant) = receiving();
    script.body_ends(grant, 0);
    script.release();
    assert_eq!(script.responds().status(), 204);
    // A length that becomes known is committed, and is no byte.
    let sent = Sent::patch(3, Framing::Length(0)).with("Upload-Length", 3);
    let mut script = Script::start_with(hooked(CHUNK).build().unwrap(), &sent);
    script.load(&record(3, None));
    script.acquire();
    script.load(&record(3, None));
    assert!(script.commits(3, 3).finish);
}

#[test]
fn a_body_that_is_cut_is_asked_about_as_well() {
    for (early, answer) in [
        (Early::Cut(Cut::PeerGone), None),
        (Early::Cut(Cut::HalfClosed), Some((400, "ERR_UNEXPECTED_EOF"))),
        (Early::Cut(Cut::TooSlow), Some((500, "ERR_READ_TIMEOUT"))),
        (Early::Cancelled(Cancel::Shutdown), Some((503, "ERR_SERVER_SHUTDOWN"))),
    ] {
        let (mut script, grant) = receiving();
        script.body_ends_early(grant, 40, early);
        let op = asks(&mut script, 43);
        script.decided(op, HookReply::Proceed);
        script.commits(3, 43);
        script.release();
        match answer {
            Some((status, code)) => drop(script.refuses(status, code)),
            None => script.ends(),
        }
    }
}

#[test]
fn what_fits_of_too_long_a_body_or_on_a_full_disk_is_asked_about() {
    for (total, end, finish, status) in
        [(997, AppendEnd::Overflow, true, 413), (40, AppendEnd::Failed(Failure::NoSpace), false, 507)]
    {
        let (mut script, grant) = receiving();
        script.appended(grant, total, end);
        let op = asks(&mut script, 3 + total);
        script.decided(op, HookReply::Proceed);
        assert_eq!(script.commits(3, 3 + total).finish, finish);
        script.release();
        assert_eq!(script.responds().status(), status);
    }
}

#[test]
fn a_body_that_is_not_kept_is_not_asked_about() {
    let sent = Sent::patch(3, Framing::Chunked).with("Upload-Checksum", "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
    // Its checksum is wrong.
    let (mut script, grant) = receiving_of(&sent, &record(3, 1000));
    let digest = Some(tus_proto::Hasher::new(tus_proto::Algorithm::Md5).finish());
    let end = AppendEnd::Complete(Trailers::default());
    script.stored(grant.op, Completion::Appended { total: 5, end, digest });
    script.discards();
    script.release();
    script.refuses(460, "ERR_CHECKSUM_MISMATCH");
    // It can't be verified any more.
    let (mut script, grant) = receiving_of(&sent, &record(3, 1000));
    script.body_is_cut(grant, 5, Cut::PeerGone);
    script.discards();
    script.release();
    script.ends();
    // A newcomer sends it again.
    let (mut script, grant) = receiving();
    script.staged(grant, 5);
    script.input(Input::Yield(Some(3)));
    script.stop();
    script.appended(grant, 5, AppendEnd::Stopped);
    script.discards();
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
    // A checkpoint has failed.
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let commit = script.commit();
    script.stored(commit.op, Completion::Failed(Failure::Io));
    script.stop();
    script.appended(grant, 120, AppendEnd::Stopped);
    script.discards();
    script.release();
    script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
}

#[test]
fn a_writer_that_yields_to_a_deletion_asks_and_commits() {
    let (mut script, grant) = receiving();
    script.staged(grant, 5);
    script.input(Input::Yield(None));
    script.stop();
    script.appended(grant, 5, AppendEnd::Stopped);
    let op = asks(&mut script, 8);
    script.decided(op, HookReply::Proceed);
    script.commits(3, 8);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn no_upload_is_complete_before_it_was_asked() {
    let (mut script, grant) = receiving();
    script.staged(grant, 997);
    // All bytes are there, and the end of the body is not: neither bytes, time nor a HEAD commit them.
    script.idle();
    script.input(Input::Checkpoint);
    script.checkpointed();
    assert_eq!(script.deadline().map(|(_, reason)| reason), Some(Reason::Renew));
    script.pass(Duration::from_secs(10));
    script.body_ends(grant, 997);
    let op = asks(&mut script, 1000);
    script.decided(op, HookReply::Proceed);
    assert!(script.commits(3, 1000).finish);
}
