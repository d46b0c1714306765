//! Documents of hooks beside those that tusd 2.9.1 sent for the same requests (`tests/data/tusd-hooks.json`), member by
//! member. What differs is listed here, and in docs/from-tusd.md with its reason. `tests/tusd/record` compares the recording
//! with what tusd itself sends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tests::{Body, Request, Wire, client::Tcp, handler::Handler, server::Running};
use tus_mio_server::hooks::{External, ExternalSettings, HookType, HttpSettings, Target};

const HOST: &str = "example.org";

/// What tusd sent, in the order of the steps below: ids, addresses and paths are replaced by names.
const RECORDED: &str = include_str!("../data/tusd-hooks.json");

struct Compared {
    server: Running,
    handler: Handler,
    uploads: Vec<String>,
    recorded: std::vec::IntoIter<Value>,
    /// What differs: where, theirs, ours.
    differences: Vec<String>,
}

impl Compared {
    fn start() -> Self {
        let handler = Handler::agreeing();
        let all = HookType::ALL.into_iter().filter(|kind| *kind != HookType::PreRequest);
        let target = Target::Http(HttpSettings::new(handler.url()));
        let mut settings = ExternalSettings::new(target);
        (settings.enabled, settings.progress_interval) = (all.collect(), Duration::from_millis(1));
        let hooks = Arc::new(External::new(settings).unwrap());
        let server = Running::start(|settings| {
            settings.hook_runner = Some(hooks);
            settings.hook_pause = Duration::from_millis(1);
            settings.hook_longest_pause = Duration::from_millis(5);
        });
        let recorded: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
        Self { server, handler, uploads: Vec::new(), recorded: recorded.into_iter(), differences: Vec::new() }
    }

    /// Sends the next step's request, and compares what hooks are sent with what was recorded. `lacking` are the calls
    /// that tusd makes and this server does not. Returns the upload's path.
    fn step(&mut self, name: &str, request: &Request, lacking: &[&str]) -> String {
        let recorded = self.recorded.next().unwrap();
        assert_eq!(recorded["step"], name);
        let mut request = request.clone().with("Host", HOST);
        if request.body == Body::None {
            request = request.with("Content-Length", 0);
        }
        let answer = Tcp::new(self.server.address()).send(&request);
        assert_eq!(recorded["status"], answer.status, "{name}: {answer:?}");
        let path = answer
            .value("Location")
            .map(|location| location.split_at(location.find("/files/").unwrap()).1.to_owned());
        if let Some(path) = &path {
            self.uploads.push(path.trim_start_matches("/files/").to_owned());
        }
        let mut theirs = recorded["calls"].as_object().unwrap().clone();
        for kind in lacking {
            assert!(theirs.remove(*kind).is_some(), "{name}: tusd sends no {kind}");
            self.differences.push(format!("{name}: no {kind}"));
        }
        let mut ours = BTreeMap::new();
        while ours.len() < theirs.len() {
            let call = self.handler.next();
            assert!(theirs.contains_key(call.kind()), "{name}: {} is sent too", call.kind());
            ours.insert(call.kind().to_owned(), self.named(&call.document["Event"]));
        }
        for (kind, event) in &theirs {
            self.compare(&format!("{name}, {kind}"), event, &ours[kind]);
        }
        path.unwrap_or_default()
    }

    fn named(&self, event: &Value) -> Value {
        let mut text = event.to_string();
        for (number, id) in self.uploads.iter().enumerate() {
            text = text.replace(id, &format!("{{upload {number}}}"));
        }
        let mut event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["HTTPRequest"]["Header"]["Host"], json!([HOST]));
        event["HTTPRequest"]["Header"]["Host"] = json!(["{host}"]);
        let remote = &mut event["HTTPRequest"]["RemoteAddr"];
        assert!(remote.as_str().unwrap().parse::<std::net::SocketAddr>().is_ok(), "{remote}");
        *remote = "{remote}".into();
        if let Some(path) = event["Upload"]["Storage"].get_mut("Path") {
            assert!(std::path::Path::new(path.as_str().unwrap()).is_absolute());
            *path = "{path}".into();
        }
        event
    }

    fn compare(&mut self, place: &str, theirs: &Value, ours: &Value) {
        match (theirs, ours) {
            (Value::Object(theirs), Value::Object(ours)) => {
                let names: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
                for name in names {
                    let at = |members: &serde_json::Map<String, Value>| {
                        members.get(name).cloned().unwrap_or_else(|| json!("(none)"))
                    };
                    self.compare(&format!("{place}.{name}"), &at(theirs), &at(ours));
                }
            }
            (theirs, ours) if theirs == ours => {}
            (theirs, ours) => self.differences.push(format!("{place}: {theirs}, here {ours}")),
        }
    }
}

const STORAGE: &str = r#"{"InfoPath":"{path}.info","Path":"{path}","Type":"filestore"}"#;

#[test]
fn hooks_are_sent_what_tusd_sends_but_for_what_is_listed() {
    let mut compared = Compared::start();
    let metadata = "filename d8O2cmxkLnR4dA==,bin /wBh,empty";
    let post = || {
        let mut request = Request::post();
        request.target = "/files/".into();
        request
    };
    let patch = |path: &str, offset, body: &str| {
        let mut request = Request::patch(offset).sized(body);
        request.target = path.into();
        request
    };
    let create = post().with("Upload-Length", 11).with("Upload-Metadata", metadata);
    let upload = compared.step("create", &create.with("X-Tag", "one").with("x-tag", "two"), &[]);
    compared.step("first piece", &patch(&upload, 0, "hello "), &[]);
    compared.step("last piece", &patch(&upload, 6, "world"), &["post-receive"]);
    let mut delete = Request::delete();
    delete.target = upload;
    compared.step("delete", &delete, &[]);
    let upload = compared.step("deferred", &post().with("Upload-Defer-Length", 1), &[]);
    compared.step("its length", &patch(&upload, 0, "abc").with("Upload-Length", 3), &["post-receive"]);
    let with_upload = |body: &str| post().with("Upload-Length", body.len()).upload_type().sized(body);
    compared.step("with upload", &with_upload("abc"), &["post-receive"]);
    compared.step("empty", &post().with("Upload-Length", 0), &[]);
    let of_parts = ["post-receive", "pre-finish", "post-finish"];
    let a = compared.step("part a", &with_upload("abc").with("Upload-Concat", "partial"), &of_parts);
    let b = compared.step("part b", &with_upload("de").with("Upload-Concat", "partial"), &of_parts);
    compared.step("final", &post().with("Upload-Concat", format!("final;{a} {b}")), &[]);
    let upload = compared.step("to override", &post().with("Upload-Length", 5), &[]);
    let mut request = post().with("X-HTTP-Method-Override", "DELETE");
    request.target = upload;
    compared.step("override", &request, &[]);
    assert!(compared.handler.pending().is_none());

    let mut unexplained = compared.differences;
    // Calls that are not made: a complete upload's progress, and what parts come to.
    unexplained.retain(|difference| {
        let is_call = ["no post-receive", "no pre-finish", "no post-finish"]
            .iter()
            .any(|call| difference.ends_with(call));
        // Storage is told, of a final while several files hold it not at all, when the upload is complete, and there is no file beside the data.
        let is_storage = difference.contains(".Storage: ")
            && difference.ends_with(&format!("{STORAGE}, here null"))
            && (!difference.contains("post-finish") || difference.starts_with("final, "));
        let is_info = difference.ends_with(".Storage.InfoPath: \"{path}.info\", here \"(none)\"");
        // An upload without bytes has no file.
        let is_empty = difference.starts_with("empty, ") && difference.contains(".Storage");
        !(is_call || is_storage || is_info || is_empty)
    });
    assert_eq!(unexplained, [""; 0]);
}
