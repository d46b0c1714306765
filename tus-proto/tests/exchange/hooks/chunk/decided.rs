//! What becomes of the bytes, and of the upload, once the hook has decided, or before it has.

use std::time::Duration;

use tus_proto::{
    Cancel, Command, Completion, Connection, Cut, Event, Failure, Framing, HookReply, Input, LockReply, OpId,
    Reason, Record, WallTime,
};

use super::{CHUNK, asks, receiving, receiving_of};
use crate::{
    hooks::{hooked, refuse},
    script::{FENCE, Grant, Script, Sent, record},
};

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
    script.body_is_cut(grant, 100, Cut::PeerGone);
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
fn an_upload_that_went_by_itself_is_as_good_as_deleted() {
    let (mut script, op) = asked();
    script.decided(op, refuse(422, "a virus"));
    let op = deletes(&mut script);
    script.stored(op, Completion::Missing);
    script.release();
    assert_eq!(script.responds().body(), "a virus");
    assert_eq!(script.events, []);
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
        script.input(Input::Cancel(Cancel::LockLost));
        script.release();
        script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
        script.decided(op, reply.clone());
        script.idle();
        // Nor does it beside a renewal of the upload's time.
        let (mut script, op, renewal) = renewing();
        script.input(Input::Cancel(Cancel::LockLost));
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
    for input in [Input::Yield(Some(3)), Input::Cancel(Cancel::Shutdown)] {
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
