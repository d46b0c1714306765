//! `on_before_terminate`: under the lock, where it sees what would be deleted.

use tus_proto::{
    Cancel, Command, Completion, Event, Failure, HookCall, HookReply, Input, LockCall, LockReply, OpId,
    Reason, Subscriptions,
};

use super::{NOBODY, hooked, refuse};
use crate::script::{Script, Sent, record};

const TERMINATE: Subscriptions = Subscriptions { terminate: true, ..NOBODY };

/// A DELETE that holds the lock.
fn locked() -> Script {
    let mut script = Script::start_with(hooked(TERMINATE).build().unwrap(), &Sent::delete());
    script.load(&record(3, 10));
    script.acquire();
    script
}

fn asked() -> (Script, OpId) {
    let mut script = locked();
    // The writer that has yielded committed the rest.
    script.load(&record(10, 10));
    let (op, call) = script.hook();
    let HookCall::Terminate { request, upload } = call else { panic!("not {call:?}") };
    assert_eq!((request.method.as_str(), upload), ("DELETE", record(10, 10)));
    script.idle();
    (script, op)
}

#[test]
fn the_upload_goes_if_the_hook_agrees() {
    let (mut script, op) = asked();
    script.decided(op, HookReply::Proceed);
    script.deletes();
    assert_eq!(script.responds().status(), 204);
    assert_eq!(script.events, [Event::Terminated]);
}

#[test]
fn the_hook_decides_about_one_that_has_lost_bytes_too() {
    let mut script = Script::start_with(hooked(TERMINATE).build().unwrap(), &Sent::delete());
    let (op, _) = script.store();
    script.stored(op, Completion::Lost(record(10, 10)));
    script.acquire();
    let (op, _) = script.store();
    script.stored(op, Completion::Lost(record(10, 10)));
    let (op, call) = script.hook();
    assert!(matches!(call, HookCall::Terminate { upload, .. } if upload == record(10, 10)));
    script.decided(op, HookReply::Proceed);
    assert!(matches!(script.store().1, Command::Delete { .. }));
}

#[test]
fn it_stays_if_the_hook_does_not() {
    let (mut script, op) = asked();
    script.decided(op, refuse(403, "still needed"));
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.body()), (403, "still needed"));
    let (mut script, op) = asked();
    script.decided(op, refuse(400, ""));
    script.release();
    script.refuses(400, "ERR_UPLOAD_TERMINATION_REJECTED");
    assert_eq!(script.events, []);
}

#[test]
fn it_stays_if_the_hook_fails() {
    let (mut script, op) = asked();
    script.decided(op, HookReply::Failed);
    script.release();
    script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
}

#[test]
fn it_stays_if_the_request_ends_meanwhile() {
    for (cancel, status) in [(Cancel::Shutdown, 503), (Cancel::LockLost, 400)] {
        let (mut script, op) = asked();
        script.input(Input::Cancel(cancel));
        script.release();
        assert_eq!(script.responds().status(), status);
        script.decided(op, HookReply::Proceed);
        script.idle();
    }
}

#[test]
fn a_cancel_while_the_upload_is_read_asks_no_hook() {
    let mut script = locked();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.load(&record(3, 10));
    script.release();
    script.refuses(503, "ERR_SERVER_SHUTDOWN");
}

#[test]
fn an_upload_that_went_meanwhile_is_not_asked_about() {
    for (completion, status, code) in [
        (Completion::Missing, 404, "ERR_UPLOAD_NOT_FOUND"),
        (Completion::Failed(Failure::Io), 500, "ERR_INTERNAL_SERVER_ERROR"),
    ] {
        let mut script = locked();
        let (op, _) = script.store();
        script.stored(op, completion);
        script.release();
        script.refuses(status, code);
    }
}

#[test]
fn the_lock_is_kept_while_the_hook_thinks() {
    let (mut script, op) = asked();
    assert_eq!(script.wait(), Reason::Renew);
    let (renewal, call) = script.lock();
    assert!(matches!(call, LockCall::Renew { .. }));
    script.replied(renewal, LockReply::Renewed);
    // Whoever comes waits; whoever asks for the offset is told.
    script.input(Input::Yield(Some(3)));
    script.idle();
    script.input(Input::Checkpoint);
    script.checkpointed();
    assert_eq!(script.wait(), Reason::Renew);
    let (renewal, _) = script.lock();
    script.replied(renewal, LockReply::Lost);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
    script.decided(op, HookReply::Proceed);
    script.idle();
}

#[test]
fn it_is_not_asked_where_the_client_means_another_upload() {
    let sent = Sent::delete().with("If-Match", "\"other\"");
    let mut script = Script::start_with(hooked(TERMINATE).build().unwrap(), &sent);
    script.load(&record(3, 10));
    script.acquire();
    script.load(&record(10, 10));
    script.release();
    script.refuses(412, "ERR_PRECONDITION_FAILED");
}
