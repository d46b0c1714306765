//! `on_incoming_request`: before anything else, with the upload as it is, for every request but OPTIONS.

use std::time::Duration;

use tus_proto::{
    Cancel, Command, Completion, Config, Connection, Event, Failure, Framing, HookCall, HookReply, Input,
    LockCall, OpId, Record, RequestInfo, Subscriptions, UploadId, WallTime,
};

use super::{NOBODY, hooked, refuse};
use crate::script::{Script, Sent, id, record};

const INCOMING: Subscriptions = Subscriptions { incoming: true, ..NOBODY };

fn start(sent: &Sent) -> Script {
    Script::start_with(hooked(INCOMING).build().unwrap(), sent)
}

type Seen = (RequestInfo, Option<UploadId>, Option<Record>);

#[track_caller]
fn incoming(script: &mut Script) -> (OpId, Seen) {
    let (op, call) = script.hook();
    let HookCall::Incoming { request, id, upload, .. } = call else { panic!("not {call:?}") };
    (op, (RequestInfo::clone(&request), id, upload))
}

/// A request about the upload, up to the hook.
fn asked(sent: &Sent) -> (Script, OpId) {
    let mut script = start(sent);
    script.load(&record(3, 10));
    let (op, _) = incoming(&mut script);
    script.idle();
    (script, op)
}

fn all() -> [Sent; 3] {
    [Sent::head(), Sent::patch(3, Framing::Length(7)), Sent::delete()]
}

#[test]
fn it_sees_the_request_and_the_upload() {
    let mut script = start(&Sent::head().with("Authorization", "Bearer x"));
    let upload = Record { metadata: "a YQ==".into(), ..record(3, 10) };
    script.load(&upload);
    let (op, (request, named, seen)) = incoming(&mut script);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("HEAD", "/files/upload"));
    assert_eq!(request.field("authorization"), Some(&b"Bearer x"[..]));
    assert_eq!((named, seen), (Some(id()), Some(upload)));
    script.idle();
    script.decided(op, HookReply::Proceed);
    assert!(matches!(script.lock().1, LockCall::Checkpoint { .. }));
}

#[test]
fn every_request_goes_on_where_it_may() {
    for sent in all() {
        for reply in [
            HookReply::Proceed,
            HookReply::Change { metadata: Some("a !".into()), id: Some(id()), response: None },
        ] {
            let (mut script, op) = asked(&sent);
            script.decided(op, reply);
            match script.next() {
                Some(tus_proto::Output::Store(_, Command::Load { .. })) => {}
                Some(tus_proto::Output::Lock(_, LockCall::Checkpoint { .. })) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn it_sees_that_there_is_no_upload() {
    let expired = Record { expires: Some(WallTime::default()), ..record(3, 10) };
    for completion in [Completion::Missing, Completion::Gone, Completion::Loaded(expired)] {
        let mut script = start(&Sent::delete());
        let (op, _) = script.store();
        script.stored(op, completion);
        let (_, (_, named, seen)) = incoming(&mut script);
        assert_eq!((named, seen), (Some(id()), None));
    }
}

#[test]
fn it_sees_an_upload_that_has_lost_bytes_and_the_client_does_not() {
    let mut script = start(&Sent::patch(3, Framing::Length(4)));
    let (op, _) = script.store();
    script.stored(op, Completion::Lost(record(3, 10)));
    let (op, (_, _, seen)) = incoming(&mut script);
    assert_eq!(seen, Some(record(3, 10)));
    script.decided(op, HookReply::Proceed);
    let (op, _) = script.store();
    script.stored(op, Completion::Lost(record(3, 10)));
    script.refuses(410, "ERR_UPLOAD_GONE");
}

#[test]
fn the_collection_is_no_upload() {
    let mut script = start(&Sent::post().with("Upload-Length", 10));
    let (op, (request, named, seen)) = incoming(&mut script);
    assert_eq!((request.method.as_str(), named, seen), ("POST", None, None));
    script.idle();
    script.decided(op, HookReply::Proceed);
    assert!(matches!(script.store().1, Command::Create { .. }));
}

#[test]
fn the_method_is_the_one_that_counts() {
    let mut script = start(&Sent::tus("POST", "/files/upload").with("X-HTTP-Method-Override", "Delete"));
    script.load(&record(3, 10));
    assert_eq!(incoming(&mut script).1.0.method, "DELETE");
    let mut script = start(&Sent::tus("BREW", "/files"));
    assert_eq!(incoming(&mut script).1.0.method, "BREW");
}

#[test]
fn what_is_wrong_with_the_head_is_told_after_it() {
    for (sent, status, code) in [
        (Sent::bare("POST", "/files"), 412, "ERR_UNSUPPORTED_VERSION"),
        (Sent::tus("PUT", "/files"), 405, "ERR_METHOD_NOT_ALLOWED"),
        (Sent::post(), 400, "ERR_INVALID_UPLOAD_LENGTH"),
        (Sent::post().with("Upload-Length", 1).with("Expect", "x"), 417, "ERR_EXPECTATION_FAILED"),
    ] {
        let mut script = start(&sent);
        let (op, _) = incoming(&mut script);
        script.idle();
        script.decided(op, HookReply::Proceed);
        script.refuses(status, code);
        let mut script = start(&sent);
        let (op, _) = incoming(&mut script);
        script.decided(op, refuse(401, "who?"));
        assert_eq!(script.responds().body(), "who?");
    }
}

#[test]
fn it_does_not_see_what_has_no_path_no_method_or_is_an_options() {
    start(&Sent::tus("GET", "/elsewhere")).refuses(404, "ERR_NOT_FOUND");
    start(&Sent::tus("HEAD", "/files/a.b")).responds();
    let odd = Sent::tus("POST", "/files").with("X-HTTP-Method-Override", "PUT, PUT");
    start(&odd).refuses(400, "ERR_INVALID_METHOD_OVERRIDE");
    assert_eq!(start(&Sent::bare("OPTIONS", "/files")).responds().status(), 204);
}

#[test]
fn a_refusal_is_answered_as_it_is_given() {
    let config = hooked(INCOMING).upload_expiry(Some(Duration::from_secs(60))).build().unwrap();
    let sent = Sent::patch(3, Framing::Length(7)).with("X-Request-ID", "r1");
    let mut script = Script::start_with(config, &sent);
    script
        .load(&Record { expires: Some(WallTime::default().after(Duration::from_secs(9))), ..record(3, 10) });
    let (op, _) = incoming(&mut script);
    script.decided(op, refuse(403, "not yours"));
    let response = script.responds();
    assert_eq!((response.status(), response.body()), (403, "not yours"));
    assert_eq!((response.header("X-Why"), response.header("X-Request-ID")), (Some("so"), Some("r1")));
    // The body was not read, and nothing of the upload is told.
    assert_eq!(response.connection, Connection::Close);
    assert_eq!((response.header("Upload-Expires"), response.header("Upload-Offset")), (None, None));
}

#[test]
fn a_refusal_without_words_says_what_it_is() {
    let (mut script, op) = asked(&Sent::delete());
    script.decided(op, refuse(403, ""));
    let response = script.refuses(403, "ERR_REQUEST_REJECTED");
    assert_eq!(response.connection, Connection::KeepAlive);
}

#[test]
fn what_a_hook_answers_to_a_head_stands_but_for_the_body() {
    for (status, told) in [(403, 403), (503, 503), (200, 423)] {
        let (mut script, op) = asked(&Sent::head());
        script.decided(op, refuse(status, "not yours"));
        let response = script.responds();
        assert_eq!((response.status(), response.body(), response.header("X-Why")), (told, "", Some("so")));
    }
}

#[test]
fn a_hook_that_fails_is_our_fault() {
    for sent in all() {
        let (mut script, op) = asked(&sent);
        script.decided(op, HookReply::Failed);
        fails(&mut script, sent.is_head());
    }
    let mut script = start(&Sent::post().with("Upload-Length", 10));
    let (op, _) = incoming(&mut script);
    script.decided(op, HookReply::Failed);
    fails(&mut script, false);
    assert_eq!(script.events, []);
}

#[test]
fn a_store_that_fails_is_our_fault() {
    for sent in all() {
        let mut script = start(&sent);
        let (op, _) = script.store();
        script.stored(op, Completion::Failed(Failure::Io));
        fails(&mut script, sent.is_head());
    }
}

/// 500; to a HEAD 423, and without a body.
#[track_caller]
fn fails(script: &mut Script, to_head: bool) {
    let response = script.responds();
    let told = if to_head { (423, "") } else { (500, "ERR_INTERNAL_SERVER_ERROR") };
    assert_eq!((response.status(), response.body().split(':').next().unwrap()), told);
}

#[test]
fn a_cancel_ends_the_request_at_once_and_a_late_reply_is_nothing() {
    for sent in all() {
        let (mut script, op) = asked(&sent);
        script.input(Input::Cancel(Cancel::Shutdown));
        match sent.is_head() {
            true => assert_eq!(script.responds().status(), 423),
            false => drop(script.refuses(503, "ERR_SERVER_SHUTDOWN")),
        }
        script.decided(op, HookReply::Proceed);
        script.idle();
    }
}

#[test]
fn a_cancel_while_the_store_is_asked_asks_no_hook() {
    let mut script = start(&Sent::delete());
    script.input(Input::Cancel(Cancel::Shutdown));
    script.load(&record(3, 10));
    script.refuses(503, "ERR_SERVER_SHUTDOWN");
}

#[test]
fn a_reply_to_another_call_is_stale() {
    let (mut script, op) = asked(&Sent::delete());
    let (mut other, _) = asked(&Sent::delete());
    script.decided(op, HookReply::Proceed);
    let (later, _) = script.store();
    other.decided(later, HookReply::Failed);
    other.idle();
    assert_eq!(other.events, [Event::Stale]);
    other.decided(op, HookReply::Proceed);
    assert!(matches!(other.store().1, Command::Load { .. }));
}

#[test]
fn nobody_is_asked_where_nobody_subscribed() {
    for sent in all() {
        let mut script = Script::start_with(Config::default(), &sent);
        match script.next() {
            Some(tus_proto::Output::Store(op, Command::Load { .. })) => {
                script.stored(op, Completion::Loaded(record(3, 10)));
                script.acquire();
            }
            Some(tus_proto::Output::Lock(_, LockCall::Checkpoint { .. })) => {}
            other => panic!("{other:?}"),
        }
    }
}
