//! `on_chunk_received`: once a request that brought bytes, before its last commit.

use std::time::Duration;

use tus_proto::{
    Abort, AppendEnd, Command, Completion, Connection, Event, Failure, Framing, HookCall, HookReply, Input,
    LockReply, OpId, Reason, Record, Subscriptions, Trailers, WallTime,
};

use super::{NOBODY, hooked, refuse};
use crate::script::{FENCE, Grant, Script, Sent, id, record};

const CHUNK: Subscriptions = Subscriptions { chunk: true, ..NOBODY };

/// A PATCH at 3 of 1000 bytes, committed every 100, up to its body.
fn receiving() -> (Script, Grant) {
    receiving_of(&Sent::patch(3, Framing::Chunked), &record(3, 1000))
}

fn receiving_of(sent: &Sent, record: &Record) -> (Script, Grant) {
    let config = hooked(CHUNK).checkpoint_bytes(100).upload_expiry(Some(Duration::from_secs(16)));
    Script::receiving(config.build().unwrap(), sent, record)
}

/// A POST that has made its upload and come to its body.
fn posting() -> (Script, Grant) {
    let sent = Sent::post_with_upload(10, Framing::Chunked);
    let mut script = Script::start_with(hooked(CHUNK).build().unwrap(), &sent);
    let (op, command) = script.store();
    assert!(matches!(command, Command::Create { .. }));
    script.stored(op, Completion::Created);
    script.acquire();
    let grant = script.append();
    (script, grant)
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

/// A body of 40 bytes that waits for its hook.
fn asked() -> (Script, OpId) {
    let (mut script, grant) = receiving();
    script.body_ends(grant, 40);
    let op = asks(&mut script, 43);
    (script, op)
}

#[track_caller]
fn deletes(script: &mut Script) -> OpId {
    let (op, command) = script.store();
    assert!(matches!(command, Command::Delete { fence: FENCE, .. }), "{command:?}");
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
    for (abort, answer) in [
        (Abort::PeerGone, None),
        (Abort::HalfClosed, Some((400, "ERR_UNEXPECTED_EOF"))),
        (Abort::TooSlow, Some((500, "ERR_READ_TIMEOUT"))),
        (Abort::Shutdown, Some((503, "ERR_SERVER_SHUTDOWN"))),
    ] {
        let (mut script, grant) = receiving();
        script.body_is_cut(grant, 40, abort);
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
    script.stored(grant.op, Completion::Appended { total: 5, end: AppendEnd::BodyEnd, digest });
    script.input(Input::BodyEnd(Trailers::default()));
    script.discards();
    script.release();
    script.refuses(460, "ERR_CHECKSUM_MISMATCH");
    // It can't be verified any more.
    let (mut script, grant) = receiving_of(&sent, &record(3, 1000));
    script.body_is_cut(grant, 5, Abort::PeerGone);
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

#[test]
fn a_refusal_deletes_the_upload_under_the_lock() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    assert!(script.commits(3, 103).expires.is_some());
    script.body_ends(grant, 140);
    let op = asks(&mut script, 143);
    script.decided(op, refuse(422, "a virus"));
    let op = deletes(&mut script);
    script.stored(op, Completion::Deleted);
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.body(), response.header("X-Why")), (422, "a virus", Some("so")));
    assert_eq!((response.header("Upload-Offset"), response.header("Upload-Expires")), (None, None));
    assert_eq!(response.connection, Connection::Close);
    assert_eq!(script.events, [Event::Received(100), Event::Terminated]);
}

#[test]
fn where_nobody_is_left_to_hear_of_it_a_refusal_deletes_all_the_same() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    script.commits(3, 103);
    script.body_is_cut(grant, 100, Abort::PeerGone);
    let op = asks(&mut script, 103);
    script.decided(op, refuse(400, ""));
    let op = deletes(&mut script);
    script.stored(op, Completion::Deleted);
    script.release();
    script.ends();
}

#[test]
fn a_refusal_without_words_says_that_the_upload_was_stopped() {
    let (mut script, grant) = posting();
    script.body_ends(grant, 4);
    let op = asks(&mut script, 4);
    script.decided(op, refuse(400, ""));
    let op = deletes(&mut script);
    script.stored(op, Completion::Deleted);
    script.release();
    // There is nothing at the address any more.
    assert_eq!(script.refuses(400, "ERR_UPLOAD_STOPPED").header("Location"), None);
}

#[test]
fn an_upload_that_could_not_be_deleted_has_not_grown() {
    for (completion, status, code) in [
        (Completion::Conflict { offset: 3 }, 400, "ERR_UPLOAD_INTERRUPTED"),
        (Completion::Failed(Failure::Io), 500, "ERR_INTERNAL_SERVER_ERROR"),
    ] {
        let (mut script, op) = asked();
        script.decided(op, refuse(422, "a virus"));
        let op = deletes(&mut script);
        script.stored(op, completion.clone());
        script.release();
        script.refuses(status, code);
        assert_eq!(script.events, []);
        let (mut script, grant) = posting();
        script.body_ends(grant, 4);
        let op = asks(&mut script, 4);
        script.decided(op, refuse(422, "a virus"));
        let op = deletes(&mut script);
        script.stored(op, completion);
        script.release();
        assert!(script.refuses(status, code).header("Location").is_some());
    }
}

#[test]
fn a_hook_that_fails_leaves_the_upload_at_its_last_checkpoint() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    script.commits(3, 103);
    script.body_ends(grant, 140);
    let op = asks(&mut script, 143);
    script.decided(op, HookReply::Failed);
    script.discards();
    script.release();
    let response = script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
    assert_eq!(response.header("Upload-Offset"), None);
    let (mut script, grant) = posting();
    script.body_ends(grant, 10);
    let op = asks(&mut script, 10);
    script.decided(op, HookReply::Failed);
    let (op, command) = script.store();
    assert!(matches!(command, Command::Discard { .. }), "{command:?}");
    script.stored(op, Completion::Discarded);
    script.release();
    assert!(script.refuses(500, "ERR_INTERNAL_SERVER_ERROR").header("Location").is_some());
    assert_eq!(script.events, [Event::Created]);
}

#[test]
fn a_lost_lock_neither_commits_nor_deletes() {
    for reply in [HookReply::Proceed, refuse(422, "a virus"), HookReply::Failed] {
        let (mut script, op) = asked();
        script.input(Input::Abort(Abort::LockLost));
        script.release();
        script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
        script.decided(op, reply.clone());
        script.idle();
        // Nor does it beside a renewal of the upload's time.
        let (mut script, op, renewal) = renewing();
        script.input(Input::Abort(Abort::LockLost));
        script.decided(op, reply);
        script.idle();
        script.stored(renewal, Completion::Committed { offset: 3 });
        script.release();
        script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
    }
}

/// A hook thinks so long that the upload's time has to be moved on.
fn renewing() -> (Script, OpId, OpId) {
    let at = |seconds| Some(WallTime::default().after(Duration::from_secs(seconds)));
    let upload = Record { expires: at(20), ..record(3, 43) };
    let (mut script, grant) = receiving_of(&Sent::patch(3, Framing::Chunked), &upload);
    script.body_ends(grant, 40);
    let op = asks(&mut script, 43);
    assert_eq!(script.wait(), Reason::Expiry);
    let renewal = script.commit();
    assert_eq!((renewal.from, renewal.to, renewal.finish, renewal.expires), (3, 3, false, at(26)));
    script.idle();
    (script, op, renewal.op)
}

#[test]
fn nothing_expires_while_a_hook_thinks() {
    let (mut script, op, renewal) = renewing();
    script.decided(op, HookReply::Proceed);
    script.idle();
    script.stored(renewal, Completion::Committed { offset: 3 });
    assert!(script.commits(3, 43).finish);
    script.release();
    assert_eq!(script.responds().status(), 204);
    // It is moved on as often as it must be.
    let (mut script, op, renewal) = renewing();
    script.stored(renewal, Completion::Committed { offset: 3 });
    script.idle();
    assert_eq!(script.wait(), Reason::Expiry);
    assert!(!script.commits(3, 3).finish);
    script.decided(op, refuse(422, "a virus"));
    deletes(&mut script);
}

#[test]
fn an_upload_that_is_gone_needs_no_hook_any_more() {
    let (mut script, op, renewal) = renewing();
    script.stored(renewal, Completion::Missing);
    script.discards();
    script.release();
    script.refuses(404, "ERR_UPLOAD_NOT_FOUND");
    script.decided(op, HookReply::Proceed);
    script.idle();
}

#[test]
fn the_lock_is_kept_and_a_head_is_told_while_a_hook_thinks() {
    let (mut script, op) = asked();
    assert_eq!(script.wait(), Reason::Renew);
    let (renewal, _) = script.lock();
    script.replied(renewal, LockReply::Renewed);
    script.input(Input::Checkpoint);
    script.checkpointed();
    // The outcome of the body is decided, but for the hook.
    for input in [Input::Yield(Some(3)), Input::Abort(Abort::PeerGone), Input::Abort(Abort::Shutdown)] {
        script.input(input);
        script.idle();
    }
    script.decided(op, HookReply::Proceed);
    script.commits(3, 43);
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn a_lock_that_can_not_be_renewed_meanwhile_is_lost() {
    let (mut script, _) = asked();
    assert_eq!(script.wait(), Reason::Renew);
    let (renewal, _) = script.lock();
    script.replied(renewal, LockReply::Lost);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_second_reply_is_stale() {
    let (mut script, op) = asked();
    script.decided(op, HookReply::Proceed);
    let commit = script.commit();
    script.decided(op, refuse(422, "a virus"));
    script.idle();
    script.stored(commit.op, Completion::Committed { offset: 43 });
    script.release();
    assert_eq!(script.responds().status(), 204);
    assert!(script.events.contains(&Event::Stale));
}
