//! GET: a finished upload or a range of it, without a lock and without `Tus-Resumable`.

use std::time::Duration;

use tus_proto::{
    Body, Cancel, Command, Completion, Concat, Config, Connection, Failure, Framing, HookCall, HookReply,
    Input, OpId, Record, Rejection, Response, Subscriptions, WallTime,
};

use super::script::{Script, Sent, id, record, tus_alone};

const TAG: &str = "\"upload-7b\"";

fn config() -> Config {
    Config::builder().downloads(true).build().unwrap()
}

fn get() -> Sent {
    Sent::bare("GET", "/files/upload")
}

/// A finished upload of so many bytes, with this metadata.
fn finished(length: u64, metadata: &str) -> Record {
    let created = WallTime::from_micros(0x7b);
    Record { metadata: metadata.into(), created, ..record(length, length) }
}

/// A GET that has asked for the upload.
#[track_caller]
fn opening(sent: &Sent) -> (Script, OpId) {
    let mut script = Script::start_with(config(), sent);
    let (op, command) = script.store();
    assert_eq!(command, Command::Open { id: id() });
    script.idle();
    (script, op)
}

#[track_caller]
fn got(sent: &Sent, record: Record) -> Response {
    let (mut script, op) = opening(sent);
    script.stored(op, Completion::Opened(record));
    script.responds()
}

#[track_caller]
fn refused(sent: &Sent, completion: Completion, status: u16, code: &str) -> Response {
    let (mut script, op) = opening(sent);
    script.stored(op, completion);
    script.refuses(status, code)
}

#[test]
fn a_finished_upload_is_sent_whole() {
    let response = got(&get(), finished(10, ""));
    assert_eq!((response.status(), response.content()), (200, &Body::Upload { from: 0, to: 10 }));
    assert_eq!(response.header("Content-Type"), Some("application/octet-stream"));
    assert_eq!(response.header("Content-Disposition"), Some("attachment"));
    assert_eq!(response.header("Accept-Ranges"), Some("bytes"));
    assert_eq!(response.header("ETag"), Some(TAG));
    assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(response.header("Content-Range"), None);
    assert_eq!(response.connection, Connection::KeepAlive);
}

#[test]
fn it_may_be_kept_but_is_asked_for_again_and_a_refusal_is_not_kept() {
    let caching = |response: &Response| {
        let values = response.headers().filter(|(name, _)| *name == "Cache-Control");
        values.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    for sent in [get(), get().with("Range", "bytes=1-1"), get().with("If-None-Match", TAG)] {
        assert_eq!(caching(&got(&sent, finished(10, ""))), ["no-cache"]);
    }
    for sent in [get().with("Range", "bytes=10-"), get().with("If-Match", "\"x\"")] {
        assert_eq!(caching(&got(&sent, finished(10, ""))), ["no-store"]);
    }
    assert_eq!(caching(&refused(&get(), Completion::Missing, 404, "ERR_UPLOAD_NOT_FOUND")), ["no-store"]);
}

#[test]
fn what_the_client_said_of_it_is_told_where_it_is_safe_to_tell() {
    // filetype text/plain, filename a.txt, name b.txt
    let response = got(&get(), finished(1, "filetype dGV4dC9wbGFpbg==,name Yi50eHQ=,filename YS50eHQ="));
    assert_eq!(response.header("Content-Type"), Some("text/plain"));
    assert_eq!(response.header("Content-Disposition"), Some("attachment; filename=\"a.txt\""));
    assert_eq!(response.header("Upload-Metadata"), None);
    // filetype "text/html\r\nX: y"; filename "../é"
    let response = got(&get(), finished(1, "filetype dGV4dC9odG1sDQpYOiB5,filename Li4vw6k=,name Yi50eHQ="));
    assert_eq!(response.header("Content-Type"), Some("application/octet-stream"));
    let disposition = "attachment; filename=\"_\"; filename*=UTF-8''%C3%A9";
    assert_eq!(response.header("Content-Disposition"), Some(disposition));
    let response = got(&get(), finished(1, "name Yi50eHQ="));
    assert_eq!(response.header("Content-Disposition"), Some("attachment; filename=\"b.txt\""));
}

#[test]
fn one_range_is_sent_alone_and_several_are_the_whole() {
    for (range, from, to, told) in [
        ("bytes=2-4", 2, 5, "bytes 2-4/10"),
        ("bytes=2-", 2, 10, "bytes 2-9/10"),
        ("bytes=-3", 7, 10, "bytes 7-9/10"),
        ("bytes=0-99", 0, 10, "bytes 0-9/10"),
    ] {
        let response = got(&get().with("Range", range), finished(10, "name Yi50eHQ="));
        assert_eq!((response.status(), response.content()), (206, &Body::Upload { from, to }), "{range}");
        assert_eq!(response.header("Content-Range"), Some(told));
        assert_eq!((response.header("ETag"), response.header("Accept-Ranges")), (Some(TAG), Some("bytes")));
        assert_eq!(response.header("Content-Disposition"), Some("attachment; filename=\"b.txt\""));
    }
    for range in ["bytes=0-1,3-4", "items=0-1", "bytes=4-2", "bytes"] {
        let response = got(&get().with("Range", range), finished(10, ""));
        assert_eq!((response.status(), response.content().len()), (200, 10), "{range}");
        assert_eq!(response.header("Content-Range"), None);
    }
}

#[test]
fn a_range_that_is_not_there_is_refused_with_the_length() {
    for (range, length) in [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)] {
        let (mut script, op) = opening(&get().with("Range", range));
        script.stored(op, Completion::Opened(finished(length, "")));
        let response = script.refuses(416, "ERR_RANGE_NOT_SATISFIABLE");
        assert_eq!(response.header("Content-Range"), Some(&*format!("bytes */{length}")));
        assert_eq!(response.header("ETag"), None);
    }
}

#[test]
fn an_upload_of_no_bytes_is_sent_as_that() {
    for sent in [get(), get().with("Range", "bytes=-5")] {
        let response = got(&sent, finished(0, ""));
        assert_eq!((response.status(), response.content().len()), (200, 0));
    }
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    for value in [TAG, "*", "\"x\", W/\"upload-7b\""] {
        let sent = get().with("If-None-Match", value).with("Range", "bytes=90-");
        let response = got(&sent, finished(10, ""));
        assert_eq!((response.status(), response.content().len()), (304, 0), "{value}");
        assert_eq!((response.header("ETag"), response.header("Content-Type")), (Some(TAG), None));
        assert_eq!(response.connection, Connection::KeepAlive);
    }
    // Another upload that has got the same id since.
    let other = Record { created: WallTime::from_micros(0x7c), ..finished(10, "") };
    assert_eq!(got(&get().with("If-None-Match", TAG), other.clone()).status(), 200);
    assert_eq!(got(&get().with("Range", "bytes=5-").with("If-Range", TAG), other).status(), 200);
}

#[test]
fn a_range_of_something_else_is_the_whole_and_a_failed_condition_is_told() {
    let part = get().with("Range", "bytes=5-");
    assert_eq!(got(&part.clone().with("If-Range", TAG), finished(10, "")).status(), 206);
    for other in ["\"x\"", "W/\"upload-7b\"", "Thu, 01 Jan 1970 00:00:00 GMT"] {
        assert_eq!(got(&part.clone().with("If-Range", other), finished(10, "")).status(), 200, "{other}");
    }
    let opened = || Completion::Opened(finished(10, ""));
    refused(&part.clone().with("If-Match", "\"x\""), opened(), 412, "ERR_PRECONDITION_FAILED");
    assert_eq!(got(&part.with("If-Match", TAG), finished(10, "")).status(), 206);
}

#[test]
fn a_finished_final_or_part_is_sent_and_nothing_unfinished() {
    for concat in [Concat::Partial, Concat::Final("final;/files/a".into())] {
        let record = Record { concat: Some(concat), ..finished(10, "") };
        assert_eq!(got(&get(), record).status(), 200);
    }
    let pending = Record { concat: Some(Concat::Final("final;/files/a".into())), ..record(0, 9) };
    for unfinished in [record(3, 10), record(3, None), pending] {
        // Not even its conditions are looked at.
        let sent = get().with("If-None-Match", "*").with("Range", "bytes=90-");
        refused(&sent, Completion::Opened(unfinished), 404, "ERR_UPLOAD_NOT_FINISHED");
    }
}

#[test]
fn what_is_not_there_or_can_not_be_read_is_refused() {
    let expired = Record { expires: Some(WallTime::default()), ..finished(10, "") };
    for (completion, status, code) in [
        (Completion::Missing, 404, "ERR_UPLOAD_NOT_FOUND"),
        (Completion::Gone, 410, "ERR_UPLOAD_EXPIRED"),
        (Completion::Lost(finished(10, "")), 410, "ERR_UPLOAD_GONE"),
        (Completion::Opened(expired), 410, "ERR_UPLOAD_EXPIRED"),
        (Completion::Failed(Failure::Io), 500, "ERR_INTERNAL_SERVER_ERROR"),
        (Completion::Failed(Failure::Unavailable), 503, "ERR_STORE_UNAVAILABLE"),
        (Completion::Loaded(finished(10, "")), 500, "ERR_INTERNAL_SERVER_ERROR"),
    ] {
        refused(&get(), completion, status, code);
    }
}

#[test]
fn a_part_whose_time_is_not_over_is_sent_while_it_lasts() {
    let part =
        Record { expires: Some(WallTime::default().after(Duration::from_secs(5))), ..finished(10, "") };
    let (mut script, op) = opening(&get());
    script.pass(Duration::from_secs(4));
    script.stored(op, Completion::Opened(part.clone()));
    assert_eq!(script.responds().status(), 200);
    let (mut script, op) = opening(&get());
    script.pass(Duration::from_secs(5));
    script.stored(op, Completion::Opened(part));
    script.refuses(410, "ERR_UPLOAD_EXPIRED");
}

#[test]
fn it_is_a_method_only_where_downloads_are_enabled() {
    let allow = |config: Config, sent: &Sent| {
        let response = Script::start_with(config, sent).refuses(405, "ERR_METHOD_NOT_ALLOWED");
        response.header("Allow").unwrap().to_owned()
    };
    assert_eq!(allow(tus_alone(), &get()), "OPTIONS, HEAD, PATCH, DELETE");
    assert_eq!(allow(config(), &Sent::tus("POST", "/files/upload")), "OPTIONS, HEAD, GET, PATCH, DELETE");
    assert_eq!(allow(config(), &Sent::bare("GET", "/files")), "OPTIONS, POST");
    let kept = Config::builder().downloads(true).termination(false).build().unwrap();
    assert_eq!(allow(kept, &Sent::delete()), "OPTIONS, HEAD, GET, PATCH");
}

#[test]
fn a_page_of_another_origin_may_ask_for_it_where_it_is_enabled() {
    let methods = |downloads| {
        let config = Config::builder().downloads(downloads).cors_allow_origins(vec!["*".into()]).build();
        let sent = Sent::bare("OPTIONS", "/files").with("Origin", "https://a.example");
        let response = Script::start_with(config.unwrap(), &sent).responds();
        response.header("Access-Control-Allow-Methods").unwrap().to_owned()
    };
    assert_eq!(methods(true), "POST, OPTIONS, HEAD, GET, PATCH, DELETE");
    assert_eq!(methods(false), "POST, OPTIONS, HEAD, PATCH, DELETE");
}

#[test]
fn a_get_with_a_body_or_at_the_end_of_the_server_is_answered_all_the_same() {
    let response = got(&get().framed(Framing::Length(5)), finished(10, ""));
    assert_eq!((response.status(), response.connection), (200, Connection::Drain));
    let (mut script, op) = opening(&get());
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stored(op, Completion::Opened(finished(10, "")));
    assert_eq!(script.responds().status(), 200);
}

#[test]
fn a_hook_decides_before_the_upload_is_held() {
    let hooks = Subscriptions { incoming: true, ..Subscriptions::default() };
    let config = Config::builder().downloads(true).hooks(hooks).build().unwrap();
    let asked = || {
        let mut script = Script::start_with(config.clone(), &get());
        script.load(&finished(10, ""));
        let (op, call) = script.hook();
        let HookCall::Incoming { request, upload, .. } = call else { panic!("{call:?}") };
        assert_eq!((request.method.as_str(), upload), ("GET", Some(finished(10, ""))));
        script.idle();
        (script, op)
    };
    let (mut script, op) = asked();
    script.decided(op, HookReply::Proceed);
    let (op, command) = script.store();
    assert_eq!(command, Command::Open { id: id() });
    script.stored(op, Completion::Opened(finished(10, "")));
    assert_eq!(script.responds().status(), 200);
    let (mut script, op) = asked();
    script.decided(op, HookReply::Reject(Rejection { status: 401, headers: vec![], body: String::new() }));
    assert_eq!(script.responds().status(), 401);
}

#[test]
fn a_head_that_says_nothing_of_tus_asks_what_a_get_would_be_answered() {
    let head = || Sent::bare("HEAD", "/files/upload");
    let response = got(&head(), finished(10, ""));
    assert_eq!((response.status(), response.content()), (200, &Body::Omitted { length: 10 }));
    assert_eq!(response.header("ETag"), Some(TAG));
    let response = got(&head().with("Range", "bytes=2-4"), finished(10, ""));
    assert_eq!((response.status(), response.content()), (206, &Body::Omitted { length: 3 }));
    let response = got(&head().with("Range", "bytes=10-"), finished(10, ""));
    assert_eq!((response.status(), response.body()), (416, ""));
    // A framing that knows of no HEAD has no length without a body.
    let over = Sent::bare("POST", "/files/upload").with("X-HTTP-Method-Override", "HEAD");
    let response = got(&over, finished(10, ""));
    assert_eq!((response.status(), response.content().len()), (200, 0));
    let (mut script, op) = opening(&head());
    script.stored(op, Completion::Opened(record(3, 10)));
    let response = script.responds();
    assert_eq!((response.status(), response.body()), (404, ""));
    let response = Script::start_with(tus_alone(), &head()).responds();
    assert_eq!((response.status(), response.body()), (412, ""), "without downloads");
}
