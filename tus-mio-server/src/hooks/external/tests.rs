//! Documents and answers, without anybody to send them to.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::{Value, json};
use tus_driver::{EventKind, OutboxEvent};
use tus_proto::{Amendment, Concat, Record, Rejection, UploadId, WallTime};

use super::*;

fn record() -> Record {
    Record {
        id: UploadId::new("abc").unwrap(),
        created: WallTime::default(),
        offset: 5,
        length: Some(11),
        metadata: "filename d29ybGQ=,bytes /w==,private".into(),
        expires: None,
        concat: None,
        explicit: None,
    }
}

fn request() -> RequestInfo {
    let fields: [(&str, &[u8]); 7] = [
        ("HOST", b"localhost:8080"),
        ("tus-resumable", b"1.0.0"),
        ("Transfer-Encoding", b"chunked"),
        ("Trailer", b"Upload-Checksum"),
        ("X-Tag", b"one"),
        ("x-tag", b"t\xffo"),
        ("upload-length", b"11"),
    ];
    RequestInfo {
        method: "PATCH".into(),
        sent_method: "POST".into(),
        target: "http://localhost:8080/files/abc".into(),
        fields: fields.map(|(name, value)| (name.into(), value.into())).into(),
        remote: Some("127.0.0.1:59395".parse().unwrap()),
    }
}

#[test]
fn a_document_has_the_members_of_tusds() {
    let create = HookCall::Create { request: Arc::new(request()), upload: record(), parts: Vec::new() };
    let document = Document::of_call(HookType::PreCreate, &create, &[]);
    let expected = json!({
        "Type": "pre-create",
        "Event": {
            "Upload": {
                "ID": "", "Size": 11, "SizeIsDeferred": false, "Offset": 5,
                "MetaData": { "filename": "world", "bytes": "\u{fffd}", "private": "" },
                "IsPartial": false, "IsFinal": false, "PartialUploads": null, "Storage": null,
            },
            "HTTPRequest": {
                "Method": "POST", "URI": "/files/abc", "RemoteAddr": "127.0.0.1:59395",
                "Header": {
                    "Host": ["localhost:8080"], "Tus-Resumable": ["1.0.0"], "Upload-Length": ["11"],
                    "X-Tag": ["one", "t\u{fffd}o"],
                },
            },
        },
    });
    assert_eq!(document.json, expected);
    assert_eq!((document.id.as_str(), document.size, document.offset), ("", 11, 5));
}

#[test]
fn an_event_tells_parts_and_file_and_what_is_not_known_is_empty() {
    let concat = Some(Concat::Final("final;/files/a https://x/y/files/b".into()));
    let record = Record { concat, length: Some(5), ..record() };
    let event = OutboxEvent { number: 7, kind: EventKind::Completed, record, attempts: 0 };
    let event = HookEvent::new(event, vec![("/data/1".into(), 5)]);
    let json = Document::of_event(HookType::PostFinish, &event).json;
    let upload = &json["Event"]["Upload"];
    assert_eq!(upload["PartialUploads"], json!(["a", "b"]));
    assert_eq!(upload["Storage"], json!({ "Type": "filestore", "Path": "/data/1" }));
    assert_eq!((&upload["IsFinal"], &upload["Size"]), (&json!(true), &json!(5)));
    let nobody = json!({ "Method": "", "URI": "", "RemoteAddr": "", "Header": {} });
    assert_eq!(json["Event"]["HTTPRequest"], nobody);
}

#[test]
fn a_request_is_shown_with_its_upload_and_parts_and_the_method_that_counts() {
    let part = |id: &str, upload| tus_proto::Part { id: UploadId::new(id).unwrap(), upload };
    let call = HookCall::Incoming {
        request: Arc::new(request()),
        id: UploadId::new("gone"),
        upload: None,
        parts: vec![part("abc", Some(record())), part("none", None)],
    };
    let json = Document::of_call(HookType::PreRequest, &call, &[]).json;
    let event = &json["Event"];
    assert_eq!((&event["Upload"]["ID"], &event["Upload"]["MetaData"]), (&json!("gone"), &json!({})));
    assert_eq!(event["HTTPRequest"]["Method"], "PATCH");
    assert_eq!(event["Parts"][0]["MetaData"]["filename"], "world");
    assert_eq!(event["Parts"][1], json!({ "ID": "none" }));
}

fn reply(kind: HookType, answer: Value) -> Result<HookReply, String> {
    Answer::parse(answer.to_string().as_bytes())?.reply(kind)
}

#[test]
fn answers_are_taken_in_any_case_of_letters() {
    let answer = json!({
        "httpresponse": { "statuscode": 401, "BODY": "no\n", "Header": { "X-A": "1" } },
        "REJECTUPLOAD": true, "unknown": [1],
    });
    let rejection = Rejection { status: 401, headers: vec![("X-A".into(), "1".into())], body: "no\n".into() };
    assert_eq!(reply(HookType::PreCreate, answer), Ok(HookReply::Reject(rejection)));
    let bare = Rejection { status: 400, headers: vec![], body: String::new() };
    let answer = json!({ "RejectTermination": true, "HTTPResponse": { "StatusCode": 0 } });
    assert_eq!(reply(HookType::PreTerminate, answer), Ok(HookReply::Reject(bare)));
}

#[test]
fn a_creation_is_changed_and_its_answer_amended() {
    let answer = json!({
        "HTTPResponse": { "Header": { "X-A": "1" } },
        "ChangeFileInfo": { "ID": "mine", "MetaData": { "owner": "me", "b": null }, "Storage": null },
    });
    let headers = vec![("X-A".into(), "1".into())];
    let response = Some(Box::new(Amendment { status: None, headers, body: String::new() }));
    let metadata = Some("b,owner bWU=".to_owned());
    let changed = HookReply::Change { metadata, id: UploadId::new("mine"), response };
    assert_eq!(reply(HookType::PreCreate, answer), Ok(changed));
    let none = HookReply::Change { metadata: None, id: None, response: None };
    let elsewhere = json!({ "ChangeFileInfo": { "Storage": { "Path": "x" } } });
    for nothing in
        [json!(null), json!({}), json!({ "ChangeFileInfo": { "ID": "", "MetaData": null } }), elsewhere]
    {
        assert_eq!(reply(HookType::PreCreate, nothing), Ok(none.clone()));
    }
    let empty = HookReply::Change { metadata: Some(String::new()), id: None, response: None };
    assert_eq!(reply(HookType::PreCreate, json!({ "ChangeFileInfo": { "MetaData": {} } })), Ok(empty));
}

#[test]
fn a_request_is_rejected_by_a_status_too() {
    let status = |reply: Result<HookReply, String>| match reply.unwrap() {
        HookReply::Reject(rejection) => rejection.status,
        HookReply::Proceed => 0,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(reply(HookType::PreRequest, json!({ "RejectUpload": true }))), 403);
    assert_eq!(status(reply(HookType::PreRequest, json!({ "HTTPResponse": { "StatusCode": 401 } }))), 401);
    assert_eq!(status(reply(HookType::PreRequest, json!({ "HTTPResponse": { "StatusCode": 204 } }))), 0);
}

#[test]
fn an_upload_is_stopped_and_a_last_answer_chosen() {
    let stop = json!({ "StopUpload": true, "HTTPResponse": { "Body": "enough" } });
    let rejection = Rejection { status: 400, headers: vec![], body: "enough".into() };
    assert_eq!(reply(HookType::PostReceive, stop.clone()), Ok(HookReply::Reject(rejection)));
    let response = Some(Box::new(Amendment { status: None, headers: vec![], body: "enough".into() }));
    let amended = HookReply::Change { metadata: None, id: None, response };
    assert_eq!(reply(HookType::PreFinish, stop), Ok(amended));
}

#[test]
fn a_permission_is_kept_as_long_as_the_handler_says() {
    let age = |text: &str| Answer::default().cached(Some(text)).max_age().map(|age| age.as_secs());
    assert_eq!(age("private, Max-Age=60"), Some(60));
    for none in ["", "max-age=0", "max-age=x", "max-age=60, no-store", "no-cache, max-age=60"] {
        assert_eq!(age(none), None, "{none}");
    }
    assert_eq!(Answer::default().cached(None).max_age(), None);
}

#[test]
fn permissions_are_of_requests_that_are_the_same() {
    let call = |change: &dyn Fn(&mut RequestInfo, &mut Record)| {
        let (mut request, mut record) = (request(), record());
        change(&mut request, &mut record);
        let (id, upload) = (Some(record.id.clone()), Some(record));
        HookCall::Incoming { request: Arc::new(request), id, upload, parts: Vec::new() }
    };
    let key = |change: &dyn Fn(&mut RequestInfo, &mut Record)| Key::of(&call(change));
    let first = key(&|_, _| {});
    assert_eq!(key(&|_, record| record.offset = 9), first, "a piece further on");
    for name in ["Upload-Offset", "content-length", "Upload-Checksum", "X-Request-ID"] {
        assert_eq!(key(&|request, _| request.fields.push((name.into(), b"7".into()))), first, "{name}");
    }
    assert_ne!(key(&|request, _| request.fields.push(("Cookie".into(), b"7".into()))), first);
    assert_ne!(key(&|request, _| request.method = "DELETE".into()), first);
    assert_ne!(key(&|request, _| request.target.push('x')), first);
    assert_ne!(key(&|_, record| record.metadata = "a".into()), first);
    let HookCall::Incoming { request, id, parts, .. } = call(&|_, _| {}) else { unreachable!() };
    assert_ne!(Key::of(&HookCall::Incoming { request, id, upload: None, parts }), first, "it was deleted");

    let (permissions, key) = (Permissions::default(), first.unwrap());
    permissions.keep(key, Duration::ZERO);
    assert!(!permissions.holds(key));
    permissions.keep(key, Duration::from_secs(60));
    assert!(permissions.holds(key));
}

#[test]
fn what_can_not_be_done_is_said() {
    for (answer, text) in [
        (json!([]), "must be an object"),
        (json!({ "RejectUpload": 1 }), "RejectUpload must be true or false, and is 1"),
        (json!({ "HTTPResponse": { "StatusCode": "4" } }), "from 200 to 599"),
        (json!({ "HTTPResponse": { "StatusCode": 99 } }), "and is 99"),
        (json!({ "ChangeFileInfo": { "ID": "a/b" } }), "\"a/b\""),
        (json!({ "ChangeFileInfo": { "MetaData": { "a b": "c" } } }), "\"a b\""),
        (json!({ "ChangeFileInfo": { "Storage": "x" } }), "must be an object"),
    ] {
        let error = reply(HookType::PreCreate, answer).unwrap_err();
        assert!(error.contains(text), "{error}");
    }
    assert!(Answer::parse(b"<html>").unwrap_err().contains("no JSON"));
    assert_eq!(Answer::parse(b" \n"), Ok(Answer::default()));
}

#[test]
fn what_can_not_be_called_is_an_error_at_the_start() {
    let set = |target| External::new(ExternalSettings::new(target));
    let error = set(Target::Directory("/no/such/directory".into())).unwrap_err().to_string();
    assert!(error.contains("/no/such/directory"), "{error}");
    #[cfg(feature = "hooks-http")]
    for url in ["", "localhost:5000", "ftp://a/b", "http://"] {
        let error = set(Target::Http(HttpSettings::new(url))).unwrap_err().to_string();
        assert!(error.contains("is no URL"), "{error}");
    }
    assert!("pre-creates".parse::<HookType>().unwrap_err().contains("pre-create, "));
}
