//! Handlers that were written for tusd, by what four of different authors and languages do: none knows of this server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tests::{
    Answer, Request, Wire,
    client::Tcp,
    handler::{Call, Handler, Reply},
    server::Running,
};
use tus_mio_server::hooks::{External, ExternalSettings, HttpSettings, Target};

/// With the hooks that tusd calls by default.
fn serve(handler: &Handler, query: &str) -> Running {
    let service = HttpSettings::new(handler.url() + query);
    let hooks = Arc::new(External::new(ExternalSettings::new(Target::Http(service))).unwrap());
    Running::start(|settings| {
        settings.hook_runner = Some(hooks);
        settings.hook_pause = Duration::from_millis(1);
        settings.hook_longest_pause = Duration::from_millis(5);
    })
}

fn ask(server: &Running, request: &Request) -> Answer {
    Tcp::new(server.address()).send(request)
}

fn creation(metadata: &str) -> Request {
    Request::post().upload_type().with("Upload-Length", 5).with("Upload-Metadata", metadata).sized("hello")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The next call of this kind; others may come before it.
fn wait_for(handler: &Handler, kind: &str) -> Call {
    loop {
        let call = handler.next();
        if call.kind() == kind {
            return call;
        }
    }
}

/// A service in JavaScript that keeps documents: a token in the URL, an extension that it wants, a row of a database that
/// is made by post-create and made ready by post-finish, whichever comes first. Where its database is down, 400.
#[test]
fn a_registry_of_documents() {
    let rows: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let (table, down) = (rows.clone(), Arc::new(AtomicBool::new(true)));
    let fails = down.clone();
    let handler = Handler::start(move |call| {
        assert!(call.target.ends_with("?token=secret"), "{}", call.target);
        let upload = call.upload();
        let valid =
            text(&upload["MetaData"], "filename").ends_with(".pdf") && upload["Size"].as_u64() > Some(0);
        match call.kind() {
            "pre-create" if !valid => Reply::json(&json!({
                "RejectUpload": true,
                "HTTPResponse": { "StatusCode": 400, "Body": "only PDF" },
            })),
            "post-finish" if fails.swap(false, Ordering::AcqRel) => {
                let mut reply = Reply::json(&json!({ "error": "no database" }));
                reply.status = 400;
                reply
            }
            kind @ ("post-create" | "post-finish") => {
                let state = if kind == "post-finish" { "finalizing" } else { "uploading" };
                table.lock().unwrap().insert(text(upload, "ID").into(), state.into());
                Reply::json(&json!({}))
            }
            _ => Reply::json(&json!({})),
        }
    });
    let server = serve(&handler, "?token=secret");
    let answer = ask(&server, &creation("filename YS5leGU="));
    assert_eq!((answer.status, answer.body.as_slice()), (400, &b"only PDF"[..]));
    let answer = ask(&server, &creation("filename YS5wZGY="));
    assert_eq!(answer.status, 201);
    let id = answer.value("Location").unwrap().rsplit('/').next().unwrap().to_owned();
    wait_for(&handler, "post-finish");
    wait_for(&handler, "post-finish");
    // Told before it is answered: the next call shows that this one was.
    ask(&server, &creation("filename YS5leGU="));
    wait_for(&handler, "pre-create");
    let told = || rows.lock().unwrap().get(&id).cloned();
    while told().as_deref() != Some("finalizing") {
        std::thread::yield_now();
    }
}

/// A service in TypeScript for videos: rejects with a JSON body of its own, chooses ids and the file's name, and keeps
/// the metadata it knows.
#[test]
fn a_library_of_videos() {
    let handler = Handler::start(|call| {
        let metadata = &call.upload()["MetaData"];
        Reply::json(&match call.kind() {
            "pre-create" if text(metadata, "filetype") != "video/mp4" => json!({
                "RejectUpload": true,
                "HTTPResponse": {
                    "StatusCode": 415,
                    "Body": "{\"message\":\"no video\"}",
                    "Header": { "Content-Type": "application/json" },
                },
            }),
            "pre-create" => json!({ "ChangeFileInfo": {
                "ID": "5e0d4c0e-1b1f-4f5e-9d3a-6a2f3f2b7c11",
                "MetaData": { "filename": metadata["filename"], "filetype": metadata["filetype"] },
                "Storage": { "Path": "5e0d4c0e-1b1f-4f5e-9d3a-6a2f3f2b7c11" },
            } }),
            _ => json!({}),
        })
    });
    let server = serve(&handler, "");
    let answer = ask(&server, &creation("filename YQ==,filetype aW1hZ2UvcG5n"));
    assert_eq!((answer.status, answer.body.as_slice()), (415, &b"{\"message\":\"no video\"}"[..]));
    assert_eq!(answer.value("Content-Type"), Some("application/json"));
    let answer = ask(&server, &creation("filename YQ==,filetype dmlkZW8vbXA0,admin eWVz"));
    assert_eq!(answer.status, 201);
    assert!(answer.value("Location").unwrap().ends_with("/files/5e0d4c0e-1b1f-4f5e-9d3a-6a2f3f2b7c11"));
    let call = wait_for(&handler, "post-finish");
    assert_eq!(call.upload()["MetaData"], json!({ "filename": "a", "filetype": "video/mp4" }));
    let path = call.upload()["Storage"]["Path"].as_str().unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"hello", "it is where the handler is told");
}

/// A service in Go, with tusd's own types: a key in a header, spelled as Go does; every member in the answer, also those
/// that say nothing; a status on success, too.
#[test]
fn a_gate_with_keys() {
    let handler = Handler::start(|call| {
        let key = &call.request()["Header"]["X-Api-Key"][0];
        let (status, rejects) = if key == "right" { (200, false) } else { (403, true) };
        Reply::json(&json!({
            "HTTPResponse": { "StatusCode": status, "Body": "", "Header": null },
            "RejectUpload": rejects,
            "RejectTermination": false,
            "ChangeFileInfo": { "ID": "", "MetaData": null, "Storage": null },
            "StopUpload": false,
        }))
    });
    let server = serve(&handler, "");
    let answer = ask(&server, &creation("a YQ==").with("x-api-key", "wrong"));
    assert_eq!(answer.status, 403);
    assert!(answer.body.starts_with(b"ERR_UPLOAD_REJECTED: "), "it has no body of its own");
    let answer = ask(&server, &creation("a YQ==").with("x-api-key", "right"));
    assert_eq!(answer.status, 200, "as tusd answers");
    assert!(answer.value("Location").is_some());
    wait_for(&handler, "post-finish");
}

/// A service in Python behind a secret: a token in the header or the metadata, the user in the metadata from then on; what
/// it does not know it answers with members of its own. It answers rejections with 2xx, as tusd wants it.
#[test]
fn an_application_with_users() {
    let handler = Handler::start(|call| {
        assert!(call.target.ends_with("?secret=s"), "{}", call.target);
        let bearer = call.request()["Header"]["Authorization"][0].as_str();
        let bearer = bearer.and_then(|text| text.strip_prefix("Bearer "));
        let metadata = &call.upload()["MetaData"];
        let user = match bearer.unwrap_or(text(metadata, "authorization")) {
            "one" => "1",
            "two" => "2",
            _ => "",
        };
        Reply::json(&match (call.kind(), user) {
            ("pre-create", "") => json!({
                "RejectUpload": true,
                "HTTPResponse": { "StatusCode": 401, "Body": "{\"detail\": \"Unauthorized\"}" },
            }),
            ("pre-create", user) => {
                let mut metadata = metadata.clone();
                metadata.as_object_mut().unwrap().remove("authorization");
                metadata["user_id"] = user.into();
                json!({ "RejectUpload": false, "ChangeFileInfo": { "MetaData": metadata } })
            }
            _ => json!({ "status": "ok", "action": "ignored" }),
        })
    });
    let server = serve(&handler, "?secret=s");
    let answer = ask(&server, &creation("filename YQ=="));
    assert_eq!((answer.status, answer.body.as_slice()), (401, &b"{\"detail\": \"Unauthorized\"}"[..]));
    let by_header = creation("filename YQ==").with("Authorization", "Bearer one");
    let by_metadata = creation("filename YQ==,authorization dHdv");
    for (request, user) in [(by_header, "1"), (by_metadata, "2")] {
        assert_eq!(ask(&server, &request).status, 201);
        let call = wait_for(&handler, "post-finish");
        assert_eq!(call.upload()["MetaData"], json!({ "filename": "a", "user_id": user }));
    }
}
