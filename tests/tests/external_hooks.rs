//! Hooks out of the process, end to end: what a handler written for tusd is sent, and what becomes of its answers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    Answer, Request, Wire,
    client::{Client, Tcp},
    handler::{Handler, Reply},
    server::Running,
    tls::Identity,
};
use tus_mio_server::{
    Settings,
    hooks::{External, ExternalSettings, HookType, HttpSettings, Target},
};

fn service(handler: &Handler) -> HttpSettings {
    HttpSettings { backoff: Duration::from_millis(1), ..HttpSettings::new(handler.url()) }
}

fn hooks(settings: &mut Settings, target: Target, enabled: &[HookType]) {
    let mut external = ExternalSettings::new(target);
    (external.enabled, external.progress_interval) = (enabled.into(), Duration::from_millis(1));
    let external = External::new(external).unwrap();
    settings.hook_runner = Some(Arc::new(external));
    settings.hook_pause = Duration::from_millis(1);
    settings.hook_longest_pause = Duration::from_millis(20);
}

fn start(handler: &Handler, enabled: &[HookType]) -> Running {
    Running::start(|settings| hooks(settings, Target::Http(service(handler)), enabled))
}

fn ask(server: &Running, request: &Request) -> Answer {
    Tcp::new(server.address()).send(request)
}

fn creation(length: u64) -> Request {
    Request::post().with("Upload-Length", length).with("Upload-Metadata", "name d29ybGQ=")
}

fn created(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    let location = answer.value("Location").unwrap();
    location.split_once("/files/").unwrap().1.to_owned()
}

#[test]
fn a_handler_sees_an_uploads_life() {
    let handler = Handler::agreeing();
    let enabled =
        [HookType::PreCreate, HookType::PreTerminate, HookType::PostFinish, HookType::PostTerminate];
    let server = start(&handler, &enabled);
    let id = created(&ask(&server, &creation(5).with("X-Tag", "one")));
    let call = handler.expect("pre-create");
    assert_eq!(call.field("Content-Type"), Some("application/json"));
    assert_eq!(call.field("Idempotency-Key"), None);
    let upload = json!({
        "ID": "", "Size": 5, "SizeIsDeferred": false, "Offset": 0, "MetaData": { "name": "world" },
        "IsPartial": false, "IsFinal": false, "PartialUploads": null, "Storage": null,
    });
    assert_eq!(*call.upload(), upload);
    let request = call.request();
    assert_eq!((&request["Method"], &request["URI"]), (&json!("POST"), &json!("/files")));
    assert_eq!(request["Header"]["X-Tag"], json!(["one"]));
    assert!(request["RemoteAddr"].as_str().unwrap().starts_with("127.0.0.1:"), "{request}");

    let mut patch = Request::patch(0).sized("hello").with("X-Tag", "two");
    patch.target = format!("/files/{id}");
    assert_eq!(ask(&server, &patch).status, 204);
    let call = handler.expect("post-finish");
    let upload = call.upload();
    assert_eq!((&upload["ID"], &upload["Offset"]), (&json!(id), &json!(5)));
    let path = upload["Storage"]["Path"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "hello");
    assert!(Path::new(path).is_absolute());
    assert_eq!(call.request()["Header"]["X-Tag"], json!(["two"]), "the request that made it complete");
    assert!(call.request()["RemoteAddr"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(call.field("Idempotency-Key").unwrap().starts_with(&format!("{id}-")));

    let mut delete = Request::delete();
    delete.target = format!("/files/{id}");
    assert_eq!(ask(&server, &delete).status, 204);
    let call = handler.expect("pre-terminate");
    assert_eq!((&call.upload()["ID"], &call.request()["Method"]), (&json!(id), &json!("DELETE")));
    let call = handler.expect("post-terminate");
    assert_eq!((&call.upload()["ID"], &call.request()["Method"]), (&json!(id), &json!("DELETE")));
    assert!(handler.pending().is_none());
}

#[test]
fn answers_reject_change_and_amend() {
    let handler = Handler::start(|call| {
        let name = call.upload()["MetaData"]["name"].as_str().unwrap_or_default();
        Reply::json(&match (call.kind(), name) {
            ("pre-create", "no") => {
                json!({ "RejectUpload": true, "HTTPResponse": { "StatusCode": 402, "Body": "pay\n" } })
            }
            ("pre-create", "bare") => json!({ "RejectUpload": true }),
            ("pre-create", _) => json!({
                "ChangeFileInfo": { "ID": "chosen", "MetaData": { "name": "kept" } },
                "HTTPResponse": { "Header": { "X-Quota": "7" } },
            }),
            ("pre-terminate", _) => json!({ "RejectTermination": true }),
            other => panic!("{other:?}"),
        })
    });
    let server = start(&handler, &[HookType::PreCreate, HookType::PreTerminate]);
    let named = |name| Request::post().with("Upload-Length", 5).with("Upload-Metadata", name);
    let answer = ask(&server, &named("name bm8="));
    assert_eq!((answer.status, answer.body.as_slice()), (402, &b"pay\n"[..]));
    let answer = ask(&server, &named("name YmFyZQ=="));
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with(b"ERR_UPLOAD_REJECTED: "));
    let answer = ask(&server, &named("name eQ=="));
    assert_eq!((created(&answer).as_str(), answer.value("X-Quota")), ("chosen", Some("7")));
    let at = |mut request: Request| {
        request.target = "/files/chosen".into();
        request
    };
    assert_eq!(ask(&server, &at(Request::head())).value("Upload-Metadata"), Some("name a2VwdA=="));
    let answer = ask(&server, &at(Request::delete()));
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with(b"ERR_UPLOAD_TERMINATION_REJECTED: "));
    assert_eq!(ask(&server, &at(Request::head())).status, 200, "it is still there");
}

#[test]
fn what_a_handler_gets_wrong_is_a_500_and_creates_nothing() {
    let next: Arc<Mutex<Reply>> = Arc::new(Mutex::new(Reply::status(200)));
    let answers = next.clone();
    let handler = Handler::start(move |_| answers.lock().unwrap().clone());
    let server = start(&handler, &[HookType::PreCreate]);
    let large = json!({ "HTTPResponse": { "Body": "x".repeat(6000) } });
    let mut untyped = Reply::json(&json!({}));
    untyped.fields = vec![("Content-Type".into(), "text/html".into())];
    let wrong = [
        (Reply::status(404), 1),
        (Reply::status(503), 3),
        (Reply::json(&json!([])), 1),
        (Reply::json(&json!({ "ChangeFileInfo": { "ID": "a/b" } })), 1),
        (Reply::json(&large), 1),
        (untyped, 1),
    ];
    for (reply, tries) in wrong {
        *next.lock().unwrap() = reply.clone();
        let answer = ask(&server, &creation(5));
        assert_eq!(answer.status, 500, "{reply:?}");
        assert!(
            answer.body.starts_with(b"ERR_INTERNAL_SERVER_ERROR: ") && answer.value("Location").is_none()
        );
        (0..tries).for_each(|_| drop(handler.expect("pre-create")));
        assert!(handler.pending().is_none(), "{reply:?}");
    }
    let typed = Reply::json(&json!({})).with("X", "1");
    let charset =
        Reply { fields: vec![("content-type".into(), "Application/JSON; charset=utf-8".into())], ..typed };
    for right in [Reply::status(200), Reply::status(204), Reply::json(&Value::Null), charset] {
        *next.lock().unwrap() = right.clone();
        assert_eq!(ask(&server, &creation(5)).status, 201, "{right:?}");
    }
}

#[test]
fn a_try_that_fails_is_followed_by_another() {
    let tries = AtomicUsize::new(0);
    let handler = Handler::start(move |_| match tries.fetch_add(1, Ordering::AcqRel) {
        0 | 1 => Reply::status(500),
        _ => Reply::json(&json!({ "ChangeFileInfo": { "ID": "third" } })),
    });
    let server = start(&handler, &[HookType::PreCreate]);
    assert_eq!(created(&ask(&server, &creation(5))), "third");
}

#[test]
fn a_handler_that_is_down_fails_creations_and_keeps_events_waiting() {
    let up = Arc::new(Mutex::new(true));
    let answers = up.clone();
    let (failed, failures) = mpsc::channel();
    let flaky = Handler::start(move |call| match *answers.lock().unwrap() {
        true => Reply::json(&Value::Null),
        false => {
            let _ = failed.send(call.kind().to_owned());
            Reply::status(500)
        }
    });
    let server = start(&flaky, &[HookType::PreCreate, HookType::PostFinish]);
    let id = created(&ask(&server, &creation(5)));
    *up.lock().unwrap() = false;
    assert_eq!(ask(&server, &creation(5)).status, 500);
    let mut patch = Request::patch(0).sized("hello");
    patch.target = format!("/files/{id}");
    assert_eq!(ask(&server, &patch).status, 204, "an event after the fact changes no answer");
    let seen = |kind: &str| loop {
        let call = flaky.next();
        if call.kind() == kind {
            return call;
        }
    };
    let first = seen("post-finish");
    // A call is seen before it is answered.
    while failures.recv_timeout(Duration::from_secs(60)).unwrap() != "post-finish" {}
    *up.lock().unwrap() = true;
    let mut last = seen("post-finish");
    while let Some(call) = flaky.pending() {
        last = call;
    }
    assert_eq!(first.document, last.document);
    assert_eq!(first.field("Idempotency-Key"), last.field("Idempotency-Key"));
}

#[test]
fn events_wait_for_a_handler_across_a_restart() {
    let down = HttpSettings { tries: 1, ..HttpSettings::new("http://127.0.0.1:1/hooks") };
    let enabled = [HookType::PostFinish, HookType::PostTerminate];
    let server = Running::start(|settings| hooks(settings, Target::Http(down), &enabled));
    let id = created(&ask(&server, &Request::post().upload_type().with("Upload-Length", 5).sized("hello")));
    let mut delete = Request::delete();
    delete.target = format!("/files/{id}");
    assert_eq!(ask(&server, &delete).status, 204);
    server.handle().shutdown();
    let dir = server.join().unwrap();
    let handler = Handler::agreeing();
    let service = service(&handler);
    let _server = Running::start_in(dir, |settings| hooks(settings, Target::Http(service), &enabled));
    let finished = handler.expect("post-finish");
    assert_eq!(finished.upload()["ID"], json!(id));
    assert_eq!(finished.request()["Method"], "", "its request is not known any more");
    assert_eq!(handler.expect("post-terminate").upload()["ID"], json!(id));
}

#[test]
fn headers_of_the_client_are_sent_on() {
    let handler = Handler::agreeing();
    let forward_headers = vec!["x-token".into(), "Authorization".into(), "X-None".into()];
    let service = HttpSettings { forward_headers, ..service(&handler) };
    let enabled = [HookType::PreCreate, HookType::PostFinish];
    let server = Running::start(|settings| hooks(settings, Target::Http(service), &enabled));
    let request = creation(0).with("X-TOKEN", "a").with("X-Token", "b").with("Authorization", "Bearer c");
    created(&ask(&server, &request));
    for kind in ["pre-create", "post-finish"] {
        let call = handler.expect(kind);
        let tokens =
            call.fields.iter().filter(|(name, _)| name == "x-token").map(|(_, value)| value.as_str());
        assert_eq!(tokens.collect::<Vec<_>>(), ["a", "b"], "{kind}");
        assert_eq!(call.field("Authorization"), Some("Bearer c"));
        assert_eq!(call.field("X-None"), None);
    }
}

#[test]
fn a_slow_hook_holds_up_its_own_request_alone() {
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    let wait = gate.clone();
    let handler = Handler::start(move |call| {
        if call.upload()["Size"] == 1 {
            drop(wait.lock());
        }
        Reply::json(&Value::Null)
    });
    let server = start(&handler, &[HookType::PreCreate]);
    // More than the threads that hooks once had.
    let mut slow: Vec<_> = (0..20).map(|_| Client::connect(server.address())).collect();
    slow.iter_mut().for_each(|client| client.request(&creation(1)));
    slow.iter().for_each(|_| drop(handler.expect("pre-create")));
    created(&ask(&server, &creation(2)));
    drop(held);
    slow.iter_mut().for_each(|client| drop(created(&client.answer(false).unwrap())));
}

fn program(dir: &TempDir, name: &str, text: &str) {
    let path = dir.path().join(name);
    // Written and closed under another name: no process that is being made has it open for writing.
    let written = dir.path().join(format!("{name}.new"));
    std::fs::write(&written, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&written, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(written, path).unwrap();
}

#[test]
fn programs_are_run_with_the_document_and_answer() {
    let dir = TempDir::new().unwrap();
    program(
        &dir,
        "pre-create",
        "cat > seen.json; echo to the log >&2; echo '{\"ChangeFileInfo\":{\"ID\":\"mine\"}}'",
    );
    program(
        &dir,
        "post-finish",
        "cat > /dev/null; echo \"$TUS_ID $TUS_SIZE $TUS_OFFSET $TUS_EVENT_ID\" > told.new; mv told.new told",
    );
    let enabled =
        [HookType::PreCreate, HookType::PreTerminate, HookType::PostFinish, HookType::PostTerminate];
    let target = Target::Directory(dir.path().into());
    let server = Running::start(|settings| hooks(settings, target, &enabled));
    let request = creation(5).upload_type().with("X-Large", "x".repeat(70_000)).sized("hello");
    assert_eq!(created(&ask(&server, &request)), "mine");
    let seen: Value = serde_json::from_slice(&std::fs::read(dir.path().join("seen.json")).unwrap()).unwrap();
    assert_eq!((&seen["Type"], &seen["Event"]["Upload"]["Size"]), (&json!("pre-create"), &json!(5)));
    let told = dir.path().join("told");
    while !told.exists() {
        std::thread::yield_now();
    }
    let told = std::fs::read_to_string(told).unwrap();
    let told: Vec<_> = told.split_whitespace().collect();
    assert_eq!(told[..3], ["mine", "5", "5"]);
    assert!(told[3].starts_with("mine-"));
    // There is no program for these.
    let mut delete = Request::delete();
    delete.target = "/files/mine".into();
    assert_eq!(ask(&server, &delete).status, 204);
}

#[test]
fn a_program_that_fails_fails_the_request() {
    let dir = TempDir::new().unwrap();
    let target = Target::Directory(dir.path().into());
    let server = Running::start(|settings| hooks(settings, target, &[HookType::PreCreate]));
    for (text, status) in [
        ("exit 3", 500),
        ("echo not json", 500),
        ("cat >/dev/null; echo '{\"RejectUpload\":true}'", 400),
        ("exit 0", 201),
    ] {
        program(&dir, "pre-create", text);
        assert_eq!(ask(&server, &creation(5)).status, status, "{text}");
    }
    let path = dir.path().join("pre-create");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(ask(&server, &creation(5)).status, 500, "it can't be run");
}

#[test]
fn calls_are_counted_under_tusds_names() {
    let handler = Handler::start(|_| Reply::status(404));
    let server = start(&handler, &[HookType::PreCreate]);
    assert_eq!(ask(&server, &creation(5)).status, 500);
    let metrics = ask(&server, &Request::bare("GET", "/metrics"));
    let text = String::from_utf8(metrics.body).unwrap();
    for line in [
        "tusd_hook_invocations_total{hooktype=\"pre-create\"} 1",
        "tusd_hook_errors_total{hooktype=\"pre-create\"} 1",
        "tusd_hook_invocations_total{hooktype=\"post-finish\"} 0",
        "tusd_hook_invocations_total{hooktype=\"post-receive\"} 0",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

fn at(path: &str, mut request: Request) -> Request {
    request.target = path.into();
    request
}

#[test]
fn the_last_answer_is_the_hooks_and_its_event_waits_for_it() {
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    let wait = gate.clone();
    let handler = Handler::start(move |call| {
        let name = call.upload()["MetaData"]["name"].clone();
        Reply::json(&match call.kind() {
            "pre-finish" if name == "held" => {
                drop(wait.lock());
                json!({ "HTTPResponse": { "StatusCode": 200, "Body": "{}", "Header": { "X-Video": "7" } } })
            }
            "pre-finish" => return Reply::status(404),
            _ => Value::Null,
        })
    });
    let server = start(&handler, &[HookType::PreFinish, HookType::PostFinish]);
    let create = Request::post().upload_type().with("Upload-Length", 5).sized("hello");
    let mut client = Client::connect(server.address());
    client.request(&create.clone().with("Upload-Metadata", "name aGVsZA=="));
    let call = handler.expect("pre-finish");
    let path = call.upload()["Storage"]["Path"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "hello");
    // It is complete for everybody but its client, and nobody is told yet: another upload's event passes it by.
    let other = Request::post().with("Upload-Length", 0);
    let failed = ask(&server, &other);
    assert_eq!(failed.status, 500);
    let other = failed.value("Location").unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(handler.expect("pre-finish").upload()["ID"], json!(other));
    assert_eq!(handler.expect("post-finish").upload()["ID"], json!(other), "it is complete all the same");
    let head = at(&format!("/files/{}", call.upload()["ID"].as_str().unwrap()), Request::head());
    assert_eq!(ask(&server, &head).value("Upload-Offset"), Some("5"));
    assert!(handler.pending().is_none());
    drop(held);
    let answer = client.answer(false).unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice(), answer.value("X-Video")),
        (200, &b"{}"[..], Some("7"))
    );
    assert_eq!(handler.expect("post-finish").upload()["ID"], call.upload()["ID"]);
}

#[test]
fn a_creation_is_told_before_what_follows() {
    let handler = Handler::agreeing();
    let enabled = [HookType::PostCreate, HookType::PostFinish, HookType::PostTerminate];
    let server = start(&handler, &enabled);
    let id = created(&ask(&server, &Request::post().upload_type().with("Upload-Length", 5).sized("hello")));
    assert_eq!(ask(&server, &at(&format!("/files/{id}"), Request::delete())).status, 204);
    for (kind, offset) in [("post-create", 0), ("post-finish", 5), ("post-terminate", 5)] {
        let call = handler.expect(kind);
        assert_eq!((&call.upload()["ID"], &call.upload()["Offset"]), (&json!(id), &json!(offset)), "{kind}");
    }
}

#[test]
fn progress_is_told_while_bytes_come_and_may_stop_the_upload() {
    let handler = Handler::start(|call| match call.upload()["Offset"].as_u64() {
        Some(6..) => Reply::json(
            &json!({ "StopUpload": true, "HTTPResponse": { "StatusCode": 403, "Body": "enough" } }),
        ),
        _ => Reply::json(&Value::Null),
    });
    let server = start(&handler, &[HookType::PostReceive, HookType::PostFinish, HookType::PostTerminate]);
    let path = format!("/files/{}", created(&ask(&server, &creation(100))));
    // A short request tells at its end.
    assert_eq!(ask(&server, &at(&path, Request::patch(0).sized("hello"))).status, 204);
    assert_eq!(handler.expect("post-receive").upload()["Offset"], json!(5));
    let mut client = Client::connect(server.address());
    client.request(&at(&path, Request::patch(5).chunked_so_far(&["one"])));
    // Bytes follow until the hook has seen some of them.
    let call = loop {
        client.write(b"1\r\nx\r\n");
        if let Some(call) = handler.pending() {
            break call;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(call.kind(), "post-receive");
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (403, &b"enough"[..]));
    loop {
        let call = handler.next();
        if call.kind() == "post-terminate" {
            break;
        }
        assert_eq!(call.kind(), "post-receive");
    }
    assert_eq!(ask(&server, &at(&path, Request::head())).status, 404);
}

#[test]
fn requests_are_authorised_and_permissions_used_again_as_the_handler_says() {
    let handler = Handler::start(|call| {
        let token = call.request()["Header"]["X-Token"][0].as_str().unwrap_or_default();
        match token {
            "good" => Reply::json(&Value::Null).with("Cache-Control", "max-age=600"),
            "once" => Reply::json(&Value::Null),
            "why" => Reply::json(
                &json!({ "HTTPResponse": { "StatusCode": 401, "Header": { "WWW-Authenticate": "Bearer" } } }),
            ),
            _ => Reply::json(&json!({ "RejectUpload": true })).with("Cache-Control", "max-age=600"),
        }
    });
    let server = start(&handler, &[HookType::PreRequest]);
    let path = format!("/files/{}", created(&ask(&server, &creation(9).with("X-Token", "once"))));
    assert_eq!(handler.expect("pre-request").upload()["ID"], "");
    let patch = |offset, token| at(&path, Request::patch(offset).sized("abc").with("X-Token", token));
    assert_eq!(ask(&server, &patch(0, "good")).status, 204);
    let call = handler.expect("pre-request");
    assert_eq!(
        (&call.upload()["MetaData"]["name"], &call.request()["Method"]),
        (&json!("world"), &json!("PATCH"))
    );
    assert_eq!(ask(&server, &patch(3, "good")).status, 204);
    assert!(handler.pending().is_none(), "it is known to be permitted");
    for _ in 0..2 {
        assert_eq!(ask(&server, &at(&path, Request::head().with("X-Token", "once"))).status, 200);
        handler.expect("pre-request");
        let answer = ask(&server, &patch(6, "bad"));
        assert_eq!((answer.status, answer.body.starts_with(b"ERR_REQUEST_REJECTED: ")), (403, true));
        handler.expect("pre-request");
    }
    let answer = ask(&server, &patch(6, "why"));
    assert_eq!((answer.status, answer.value("WWW-Authenticate")), (401, Some("Bearer")));
    handler.expect("pre-request");
    assert_eq!(ask(&server, &Request::bare("OPTIONS", "/files")).status, 204);
    assert!(handler.pending().is_none());
    // A method that is overridden is the one that counts.
    let post =
        at(&path, Request::tus("POST", "/").with("X-HTTP-Method-Override", "DELETE").with("X-Token", "good"));
    assert_eq!(ask(&server, &post).status, 204);
    assert_eq!(handler.expect("pre-request").request()["Method"], "DELETE");
    assert_eq!(ask(&server, &patch(6, "good")).status, 404);
    let call = handler.expect("pre-request");
    assert_eq!(call.upload()["MetaData"], json!({}), "a permission ends with its upload");
}

#[test]
fn a_service_over_tls_is_called_if_its_certificate_is_known() {
    let (known, other) = (Identity::new(), Identity::new());
    let handler = Handler::start_secured(known.server());
    for (identity, status) in [(&known, 201), (&other, 500)] {
        let ca = Some(identity.path("cert.pem"));
        let service = HttpSettings { ca, tries: 1, ..HttpSettings::new(handler.secured_url()) };
        let enabled = [HookType::PreCreate];
        let server = Running::start(|settings| hooks(settings, Target::Http(service), &enabled));
        assert_eq!(ask(&server, &creation(5)).status, status);
    }
    handler.expect("pre-create");
    assert!(handler.pending().is_none());
    let empty = HttpSettings { ca: Some(known.path("key.pem")), ..HttpSettings::new(handler.secured_url()) };
    let error = External::new(ExternalSettings::new(Target::Http(empty))).unwrap_err();
    assert!(error.to_string().contains("there is none"), "{error}");
}
