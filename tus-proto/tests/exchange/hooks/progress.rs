//! The hook that is told how far a body has come, and may stop the upload.

use std::time::Duration;

use tus_proto::{AppendEnd, Completion, Framing, HookCall, HookReply, OpId, Subscriptions};

use super::{NOBODY, hooked, refuse};
use crate::script::{Grant, Script, Sent, record};

const PROGRESS: Subscriptions = Subscriptions { progress: Some(Duration::from_millis(500)), ..NOBODY };

fn receiving() -> (Script, Grant) {
    let config = hooked(PROGRESS).checkpoint_bytes(100).build().unwrap();
    Script::receiving(config, &Sent::patch(3, Framing::Chunked), &record(3, 1000))
}

#[track_caller]
fn tells(script: &mut Script, offset: u64) -> OpId {
    let (op, call) = script.hook();
    let HookCall::Progress { upload, .. } = &call else { panic!("not {call:?}") };
    assert_eq!(*upload, record(offset, 1000));
    assert!(!call.is_awaited());
    op
}

#[test]
fn it_is_told_once_an_interval_and_nothing_waits_for_it() {
    let (mut script, grant) = receiving();
    script.staged(grant, 10);
    script.idle();
    script.pass(Duration::from_millis(500));
    script.staged(grant, 20);
    let op = tells(&mut script, 23);
    script.pass(Duration::from_millis(250));
    script.staged(grant, 30);
    script.idle();
    script.decided(op, HookReply::Failed);
    script.pass(Duration::from_millis(499));
    script.staged(grant, 40);
    script.idle();
    script.pass(Duration::from_millis(1));
    script.staged(grant, 50);
    tells(&mut script, 53);
    script.body_ends(grant, 60);
    script.commits(3, 63);
    tells(&mut script, 63);
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn it_is_told_at_the_end_of_a_short_request_but_not_of_the_upload() {
    let (mut script, grant) = receiving();
    script.body_ends(grant, 40);
    script.commits(3, 43);
    let op = tells(&mut script, 43);
    script.decided(op, refuse(403, "late"));
    script.release();
    assert_eq!(script.responds().status(), 204, "the request is over");

    let (mut script, grant) = receiving();
    script.pass(Duration::from_millis(500));
    script.staged(grant, 997);
    script.commits(3, 1000);
    script.body_ends(grant, 997);
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn it_may_stop_the_upload() {
    let (mut script, grant) = receiving();
    script.pass(Duration::from_millis(500));
    script.staged(grant, 20);
    let op = tells(&mut script, 23);
    script.decided(op, refuse(400, "enough"));
    script.stop();
    script.appended(grant, 25, AppendEnd::Stopped);
    script.deletes();
    let response = script.responds();
    assert_eq!((response.status(), response.body()), (400, "enough"));
}

#[test]
fn it_stops_nothing_that_is_about_to_be_complete() {
    let (mut script, grant) = receiving();
    script.pass(Duration::from_millis(500));
    script.staged(grant, 20);
    let told = tells(&mut script, 23);
    script.body_ends(grant, 997);
    let asked = script.commit();
    script.decided(told, refuse(400, "enough"));
    script.stored(asked.op, Completion::Committed { offset: 1000 });
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("1000"));
}
