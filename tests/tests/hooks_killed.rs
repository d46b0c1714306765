//! Events after the fact while the server is killed again and again, and its handler fails: each comes at least once, in
//! order for its upload, and under one name.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use tempfile::TempDir;
use tests::{
    Request, Wire,
    client::Tcp,
    handler::{Call, Handler, Reply},
};

/// How often the server is killed, and uploads in each of its lives.
const LIVES: usize = 50;
const UPLOADS: usize = 4;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn start(handler: &Handler, dir: &TempDir) -> (Killed, Tcp) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_hooked-server"));
    process.arg(handler.url()).arg(dir.path().join("data")).stdout(Stdio::piped());
    let mut process = Killed(process.spawn().unwrap());
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let wire = Tcp::new(lines.next().unwrap().parse().unwrap());
    (process, wire)
}

/// What was told of the uploads: kinds and names of events, in the order in which they came first.
#[derive(Default)]
struct Told(BTreeMap<String, Vec<(String, String)>>);

impl Told {
    fn take(&mut self, call: &Call) {
        let id = call.upload()["ID"].as_str().unwrap().to_owned();
        let event = (call.kind().to_owned(), call.field("Idempotency-Key").unwrap().to_owned());
        let events = self.0.entry(id).or_default();
        match events.iter().position(|known| *known == event) {
            // Again: it may come twice, but not after a later one was begun and the earlier taken note of.
            Some(place) => assert!(place + 2 >= events.len(), "{event:?} after {events:?}"),
            None => events.push(event),
        }
    }

    fn is_whole(&self, id: &str, deleted: bool) -> bool {
        let kinds: Vec<_> = self.0.get(id).into_iter().flatten().map(|(kind, _)| kind.as_str()).collect();
        let all = ["post-create", "post-finish", "post-terminate"];
        let wanted = if deleted { &all[..] } else { &all[..2] };
        assert!(all.starts_with(&kinds), "{id}: {kinds:?}");
        kinds.len() >= wanted.len()
    }
}

#[test]
fn no_event_is_lost_or_out_of_order_though_the_server_is_killed() {
    let calls = AtomicUsize::new(0);
    // Every third call fails: its connection's answer is none that counts.
    let handler = Handler::start(move |_| match calls.fetch_add(1, Ordering::AcqRel) % 3 {
        2 => Reply::status(503),
        _ => Reply::json(&Value::Null),
    });
    let dir = Arc::new(TempDir::new().unwrap());
    let (mut told, mut acknowledged) = (Told::default(), Vec::new());
    for life in 0..LIVES {
        let (process, mut wire) = start(&handler, &dir);
        for upload in 0..UPLOADS {
            let create = Request::post().upload_type().with("Upload-Length", 5).sized("hello");
            let answer = wire.send(&create);
            assert_eq!(answer.status, 201);
            let path = answer.value("Location").unwrap();
            let path = path[path.find("/files/").unwrap()..].to_owned();
            let deletes = (life + upload) % 2 == 0;
            if deletes {
                let mut delete = Request::delete();
                delete.target.clone_from(&path);
                assert_eq!(wire.send(&delete).status, 204);
            }
            acknowledged.push((path.trim_start_matches("/files/").to_owned(), deletes));
        }
        // It is killed in the middle of whatever it tells.
        drop(process);
        while let Some(call) = handler.pending() {
            told.take(&call);
        }
    }
    let _last = start(&handler, &dir);
    while !acknowledged.iter().all(|(id, deleted)| told.is_whole(id, *deleted)) {
        told.take(&handler.next());
    }
    assert_eq!(told.0.len(), LIVES * UPLOADS, "nothing is told of uploads that nobody made");
}
