//! The hook of an upload that has just become complete: before the lock goes and the request is answered.

use tus_proto::{
    Amendment, Cancel, Command, Completion, Concat, Framing, HookCall, HookReply, Input, OpId, Record,
    Subscriptions,
};

use super::{NOBODY, hooked, refuse};
use crate::script::{Script, Sent, id, record};

const FINISH: Subscriptions = Subscriptions { finish: true, ..NOBODY };

fn patch(record: &Record, bytes: u64) -> Script {
    let config = hooked(FINISH).build().unwrap();
    let sent = Sent::patch(record.offset, Framing::Length(bytes));
    let (mut script, grant) = Script::receiving(config, &sent, record);
    script.body_ends(grant, bytes);
    script.commits(record.offset, record.offset + bytes);
    script
}

#[track_caller]
fn asks(script: &mut Script, upload: &Record) -> OpId {
    let (op, call) = script.hook();
    let HookCall::Finish { request, upload: shown } = call else { panic!("not {call:?}") };
    assert_eq!(shown, *upload);
    assert!(request.field("Tus-Resumable").is_some());
    script.idle();
    op
}

fn amendment(status: Option<u16>, header: &str, body: &str) -> HookReply {
    let headers = vec![("X-A".into(), header.into())];
    let response = Some(Box::new(Amendment { status, headers, body: body.into() }));
    HookReply::Change { metadata: None, id: None, response }
}

#[test]
fn the_release_and_the_answer_wait_for_it() {
    let mut script = patch(&record(3, 10), 7);
    let op = asks(&mut script, &record(10, 10));
    script.decided(op, amendment(None, "1", "{}"));
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.body(), response.header("X-A")), (200, "{}", Some("1")));
    assert_eq!(response.header("Upload-Offset"), Some("10"));
}

#[test]
fn it_is_not_asked_where_the_upload_is_not_complete_or_a_part() {
    let mut script = patch(&record(3, 10), 6);
    script.release();
    assert_eq!(script.responds().status(), 204);
    let mut script = patch(&Record { concat: Some(Concat::Partial), ..record(3, 10) }, 7);
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn where_it_fails_the_answer_is_an_error_and_the_upload_stays() {
    let mut script = patch(&record(3, 10), 7);
    let op = asks(&mut script, &record(10, 10));
    script.decided(op, HookReply::Failed);
    script.release();
    script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
}

#[test]
fn it_may_answer_an_error_without_an_offset() {
    let mut script = patch(&record(3, 10), 7);
    let op = asks(&mut script, &record(10, 10));
    script.decided(op, refuse(422, "virus"));
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.body(), response.header("X-Why")), (422, "virus", Some("so")));
    assert_eq!(response.header("Upload-Offset"), None);
}

#[test]
fn an_empty_upload_is_complete_when_it_is_created() {
    let config = hooked(Subscriptions { create: true, ..FINISH }).build().unwrap();
    let mut script = Script::start_with(config, &Sent::post().with("Upload-Length", 0));
    let (op, _) = script.hook();
    script.decided(op, amendment(Some(202), "early", "early"));
    let (op, command) = script.store();
    let Command::Create { record, .. } = command else { panic!("not {command:?}") };
    script.stored(op, Completion::Created);
    let op = asks(&mut script, &record);
    script.decided(op, amendment(None, "late", ""));
    let response = script.responds();
    assert_eq!((response.status(), response.body(), response.header("X-A")), (202, "early", Some("late")));
}

#[test]
fn a_creation_tells_where_it_is_if_the_hook_fails() {
    let config = hooked(FINISH).build().unwrap();
    let mut script = Script::start_with(config, &Sent::post().with("Upload-Length", 0));
    let (op, _) = script.store();
    script.stored(op, Completion::Created);
    let (op, _) = script.hook();
    script.decided(op, HookReply::Failed);
    let response = script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
    assert!(response.header("Location").is_some());
}

#[test]
fn a_shutdown_and_stale_replies_do_not_end_the_wait() {
    let mut script = patch(&record(3, 10), 7);
    let op = asks(&mut script, &record(10, 10));
    script.input(Input::Cancel(Cancel::Shutdown));
    script.input(Input::Yield(Some(10)));
    script.idle();
    script.decided(op, HookReply::Proceed);
    script.release();
    assert_eq!(script.responds().status(), 204);
    assert_eq!(id(), record(0, 1).id);
}
