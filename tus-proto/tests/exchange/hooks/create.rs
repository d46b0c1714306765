//! `on_upload_create`: behind every check of the head, before anything is made.

use std::time::Duration;

use tus_proto::{
    Cancel, Command, Completion, Concat, Event, Failure, Framing, HookCall, HookReply, Input, OpId, Part,
    Record, Subscriptions, UploadId, WallTime,
};

use super::{NOBODY, hooked, refuse};
use crate::script::{Script, Sent, record};

const CREATE: Subscriptions = Subscriptions { create: true, ..NOBODY };

fn post() -> Sent {
    Sent::post().with("Upload-Length", 10).with("Upload-Metadata", "a YQ==")
}

fn asked_of(sent: &Sent) -> (Script, OpId, Record) {
    let config = hooked(CREATE).max_size(100).upload_expiry(Some(Duration::from_secs(60))).build().unwrap();
    let mut script = Script::start_with(config, sent);
    let (op, call) = script.hook();
    script.idle();
    let HookCall::Create { request, upload, parts } = call else { panic!("not {call:?}") };
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/files"));
    assert!(parts.is_empty());
    (script, op, upload)
}

fn asked() -> (Script, OpId, Record) {
    asked_of(&post())
}

fn change(metadata: Option<&str>, id: Option<&str>) -> HookReply {
    HookReply::Change { metadata: metadata.map(Into::into), id: id.and_then(UploadId::new), response: None }
}

#[track_caller]
fn creates(script: &mut Script) -> (OpId, Record) {
    let (op, command) = script.store();
    let Command::Create { record, .. } = command else { panic!("not {command:?}") };
    (op, record)
}

#[test]
fn the_upload_is_made_as_the_hook_has_seen_it() {
    let (mut script, op, seen) = asked();
    assert_eq!((seen.length, seen.metadata.as_str()), (Some(10), "a YQ=="));
    script.decided(op, HookReply::Proceed);
    let (op, record) = creates(&mut script);
    assert_eq!(record, seen);
    script.stored(op, Completion::Created);
    let response = script.responds();
    assert_eq!(response.status(), 201);
    assert_eq!(response.header("Location"), Some(format!("/files/{}", record.id).as_str()));
}

#[test]
fn it_may_replace_metadata_and_id() {
    let (mut script, op, seen) = asked();
    script.decided(op, change(Some("b Yg==,c"), Some("chosen")));
    let (op, record) = creates(&mut script);
    let id = UploadId::new("chosen").unwrap();
    assert_eq!(record, Record { id, metadata: "b Yg==,c".into(), ..seen });
    script.stored(op, Completion::Created);
    assert_eq!(script.responds().header("Location"), Some("/files/chosen"));
}

#[test]
fn it_may_replace_one_and_leave_the_other() {
    let (mut script, op, seen) = asked();
    script.decided(op, change(Some(""), None));
    assert_eq!(creates(&mut script).1, Record { metadata: String::new(), ..seen });
    let (mut script, op, seen) = asked();
    script.decided(op, change(None, Some("chosen")));
    assert_eq!(creates(&mut script).1, Record { id: UploadId::new("chosen").unwrap(), ..seen });
}

#[test]
fn the_body_goes_where_the_hook_has_chosen() {
    let sent = Sent::post_with_upload(10, Framing::Length(4));
    let (mut script, op, _) = asked_of(&sent);
    script.decided(op, change(None, Some("upload")));
    let (op, _) = creates(&mut script);
    script.stored(op, Completion::Created);
    script.acquire();
    let grant = script.append();
    script.body_ends(grant, 4);
    script.commits(0, 4);
    script.release();
    assert_eq!(script.responds().header("Location"), Some("/files/upload"));
}

#[test]
fn metadata_that_no_client_may_send_is_the_hooks_fault() {
    let long = format!("a {}", "A".repeat(4096));
    for metadata in ["a !", "a,a", "a YQ==\r\nX-Evil: 1", "a\0", "\u{e9} YQ==", long.as_str()] {
        let (mut script, op, _) = asked();
        script.decided(op, change(Some(metadata), None));
        let response = script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
        assert_eq!((response.header("Location"), script.events.len()), (None, 0), "{metadata:?}");
    }
}

#[test]
fn an_id_that_is_taken_makes_nothing_and_tells_no_address() {
    let (mut script, op, _) = asked();
    script.decided(op, change(None, Some("chosen")));
    let (op, _) = creates(&mut script);
    script.stored(op, Completion::Exists);
    let response = script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
    assert_eq!((response.header("Location"), script.events.len()), (None, 0));
}

#[test]
fn a_refusal_makes_nothing() {
    let (mut script, op, _) = asked();
    script.decided(op, refuse(422, "no cats"));
    let response = script.responds();
    assert_eq!((response.status(), response.body()), (422, "no cats"));
    assert_eq!((response.header("X-Why"), response.header("Location")), (Some("so"), None));
    let (mut script, op, _) = asked();
    script.decided(op, refuse(400, ""));
    script.refuses(400, "ERR_UPLOAD_REJECTED");
    assert_eq!(script.events, []);
}

#[test]
fn a_hook_that_fails_makes_nothing() {
    let (mut script, op, _) = asked();
    script.decided(op, HookReply::Failed);
    script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
    assert_eq!(script.events, []);
}

#[test]
fn a_cancel_while_it_is_pending_makes_nothing() {
    let (mut script, op, _) = asked();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.refuses(503, "ERR_SERVER_SHUTDOWN");
    script.decided(op, HookReply::Proceed);
    script.idle();
    assert_eq!(script.events, []);
}

#[test]
fn it_is_not_asked_about_what_can_not_be() {
    let start = |sent: &Sent| Script::start_with(hooked(CREATE).max_size(100).build().unwrap(), sent);
    start(&Sent::post().with("Upload-Length", 101)).refuses(413, "ERR_MAX_SIZE_EXCEEDED");
    start(&Sent::post_with_upload(10, Framing::Length(11))).refuses(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    start(&Sent::post()).refuses(400, "ERR_INVALID_UPLOAD_LENGTH");
}

fn part(name: &str) -> Record {
    let id = UploadId::new(name).unwrap();
    Record { id, metadata: format!("owner {name}"), concat: Some(Concat::Partial), ..record(3, 3) }
}

fn final_of_two() -> Sent {
    Sent::post().with("Upload-Concat", "final;/files/a /files/b")
}

/// The store says what it knows of the next part.
#[track_caller]
fn shows(script: &mut Script, name: &str, completion: Completion) {
    let (op, command) = script.store();
    assert_eq!(command, Command::Load { id: UploadId::new(name).unwrap() });
    script.idle();
    script.stored(op, completion);
}

fn shown(hooks: Subscriptions) -> Script {
    let mut script = Script::start_with(hooked(hooks).build().unwrap(), &final_of_two());
    for name in ["a", "b"] {
        shows(&mut script, name, Completion::Loaded(part(name)));
    }
    script
}

#[test]
fn of_a_final_it_sees_the_parts() {
    let mut script = shown(CREATE);
    let (op, call) = script.hook();
    script.idle();
    let HookCall::Create { request, upload, parts } = call else { panic!("not {call:?}") };
    assert_eq!(request.method, "POST");
    assert_eq!((upload.is_final(), upload.length, parts), (true, None, vec![part("a"), part("b")]));
    script.decided(op, change(Some("a YQ=="), Some("chosen")));
    let (op, command) = script.store();
    let Command::Concat { record, parts, .. } = command else { panic!("not {command:?}") };
    assert_eq!(record, Record { id: UploadId::new("chosen").unwrap(), metadata: "a YQ==".into(), ..upload });
    assert_eq!(parts, [part("a").id, part("b").id]);
    script.stored(op, Completion::Concatenated(record));
    assert_eq!(script.responds().header("Location"), Some("/files/chosen"));
    let mut script = shown(CREATE);
    let (op, _) = script.hook();
    script.decided(op, refuse(400, ""));
    script.refuses(400, "ERR_UPLOAD_REJECTED");
}

#[test]
fn incoming_sees_the_parts_of_a_final_and_they_are_read_once() {
    let mut script = shown(Subscriptions { incoming: true, ..CREATE });
    let (op, call) = script.hook();
    script.idle();
    let HookCall::Incoming { id, upload, parts, .. } = call else { panic!("not {call:?}") };
    let seen = ["a", "b"].map(|name| Part { id: part(name).id, upload: Some(part(name)) });
    assert_eq!((id, upload, parts), (None, None, seen.into()));
    script.decided(op, HookReply::Proceed);
    let (op, call) = script.hook();
    assert!(matches!(call, HookCall::Create { parts, .. } if parts == [part("a"), part("b")]));
    script.decided(op, HookReply::Proceed);
    assert!(matches!(script.store().1, Command::Concat { .. }));
    let mut script = shown(Subscriptions { incoming: true, ..NOBODY });
    let (op, _) = script.hook();
    script.decided(op, refuse(403, "not yours"));
    assert_eq!(script.responds().body(), "not yours");
}

#[test]
fn no_part_is_used_that_no_hook_has_seen() {
    let expired = Record { expires: Some(WallTime::default()), ..part("b") };
    for completion in [Completion::Missing, Completion::Gone, Completion::Loaded(expired)] {
        let incoming = Subscriptions { incoming: true, ..CREATE };
        let mut script = Script::start_with(hooked(incoming).build().unwrap(), &final_of_two());
        shows(&mut script, "a", Completion::Loaded(part("a")));
        shows(&mut script, "b", completion.clone());
        let (op, call) = script.hook();
        let HookCall::Incoming { parts, .. } = call else { panic!("not {call:?}") };
        assert_eq!(parts[1], Part { id: part("b").id, upload: None });
        script.decided(op, HookReply::Proceed);
        script.refuses(400, "ERR_INVALID_CONCAT");
        let mut script = Script::start_with(hooked(CREATE).build().unwrap(), &final_of_two());
        shows(&mut script, "a", Completion::Loaded(part("a")));
        shows(&mut script, "b", completion);
        script.refuses(400, "ERR_INVALID_CONCAT");
    }
    let failed = Completion::Failed(Failure::Io);
    let mut script = Script::start_with(hooked(CREATE).build().unwrap(), &final_of_two());
    shows(&mut script, "a", failed);
    script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
}

#[test]
fn an_abort_while_parts_are_read_makes_nothing() {
    let mut script = Script::start_with(hooked(CREATE).build().unwrap(), &final_of_two());
    script.input(Input::Cancel(Cancel::Shutdown));
    shows(&mut script, "a", Completion::Loaded(part("a")));
    script.refuses(503, "ERR_SERVER_SHUTDOWN");
    assert_eq!(script.events, []);
}

#[test]
fn the_time_a_hook_takes_is_not_taken_from_the_upload() {
    let (mut script, op, _) = asked();
    script.pass(Duration::from_secs(30));
    script.decided(op, HookReply::Proceed);
    let (_, record) = creates(&mut script);
    assert_eq!(record.expires, Some(WallTime::default().after(Duration::from_secs(90))));
}

#[test]
fn incoming_comes_first() {
    let hooks = Subscriptions { incoming: true, ..CREATE };
    let mut script = Script::start_with(hooked(hooks).build().unwrap(), &post());
    let (op, call) = script.hook();
    assert!(matches!(call, HookCall::Incoming { .. }));
    script.idle();
    script.decided(op, HookReply::Proceed);
    let (op, call) = script.hook();
    let HookCall::Create { request, .. } = call else { panic!("not {call:?}") };
    assert_eq!(request.field("Upload-Length"), Some(&b"10"[..]));
    script.decided(op, HookReply::Proceed);
    let (op, _) = creates(&mut script);
    script.stored(op, Completion::Created);
    assert_eq!(script.responds().status(), 201);
    assert_eq!(script.events, [Event::Created]);
}
