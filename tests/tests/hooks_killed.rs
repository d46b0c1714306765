//! Events after the fact while the server is killed again and again and its handler fails, and while the handler is killed:
//! each comes at least once, in order for its upload, and under one name.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
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

fn start(handler: &str, dir: &TempDir) -> (Killed, Tcp) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_hooked-server"));
    process.arg(handler).arg(dir.path().join("data")).stdout(Stdio::piped());
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
        let id = call.upload()["ID"].as_str().unwrap();
        self.note(call.kind(), id, call.field("Idempotency-Key").unwrap());
    }

    fn note(&mut self, kind: &str, id: &str, key: &str) {
        let (id, event) = (id.to_owned(), (kind.to_owned(), key.to_owned()));
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
        let (process, mut wire) = start(&handler.url(), &dir);
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
    let _last = start(&handler.url(), &dir);
    while !acknowledged.iter().all(|(id, deleted)| told.is_whole(id, *deleted)) {
        told.take(&handler.next());
    }
    assert_eq!(told.0.len(), LIVES * UPLOADS, "nothing is told of uploads that nobody made");
}

/// How often the handler is killed.
const DEATHS: usize = 20;

/// A handler that is killed when it is dropped, after which all that it has told is read.
struct HandlerProcess {
    process: Option<Killed>,
    reader: Option<JoinHandle<()>>,
}

impl Drop for HandlerProcess {
    fn drop(&mut self) {
        drop(self.process.take());
        // Else the next one's lines could come before its last ones.
        self.reader.take().unwrap().join().unwrap();
    }
}

/// Starts the handler at this address, whose lines go to `told`; returns where it listens.
fn start_handler(address: &str, told: &Sender<String>) -> (HandlerProcess, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_hook-handler"));
    process.arg(address).stdout(Stdio::piped());
    let mut process = Killed(process.spawn().unwrap());
    // What it has written when it is killed is still read, a line that was not ended is not.
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).split(b'\n');
    // Calls may come before it has said where it listens: the server knows already.
    let address = loop {
        let line = String::from_utf8(lines.next().unwrap().unwrap()).unwrap();
        if line.parse::<std::net::SocketAddr>().is_ok() {
            break line;
        }
        told.send(line).unwrap();
    };
    let told = told.clone();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let line = String::from_utf8(line).unwrap();
            if line.split(' ').count() == 3 && told.send(line).is_err() {
                return;
            }
        }
    });
    (HandlerProcess { process: Some(process), reader: Some(reader) }, address)
}

fn take_line(told: &mut Told, lines: &Receiver<String>) {
    let line = lines.recv_timeout(Duration::from_secs(60)).expect("a call of a hook");
    let parts: Vec<_> = line.split(' ').collect();
    told.note(parts[0], parts[1], parts[2]);
}

#[test]
fn no_event_is_lost_or_out_of_order_though_the_handler_is_killed() {
    let (sender, lines) = channel();
    // An address of this test alone: nobody takes its port while the handler is dead.
    let id = std::process::id();
    let own = format!("127.{}.{}.{}:0", 1 + id % 250, 1 + id / 250 % 250, 1 + id / 62_500 % 250);
    let (first, address) = start_handler(&own, &sender);
    let mut handler = Some(first);
    let dir = TempDir::new().unwrap();
    let (_server, mut wire) = start(&format!("http://{address}/hooks"), &dir);
    let (mut told, mut acknowledged) = (Told::default(), Vec::new());
    for death in 0..DEATHS {
        for upload in 0..UPLOADS {
            if upload == UPLOADS / 2 {
                // The others are made while nobody listens, and wait. It is killed at another moment each time.
                for _ in 0..death % 5 {
                    take_line(&mut told, &lines);
                }
                drop(handler.take());
            }
            let create = Request::post().upload_type().with("Upload-Length", 5).sized("hello");
            let answer = wire.send(&create);
            assert_eq!(answer.status, 201);
            let path = answer.value("Location").unwrap();
            let path = path[path.find("/files/").unwrap()..].to_owned();
            let deletes = (death + upload) % 2 == 0;
            if deletes {
                let mut delete = Request::delete();
                delete.target.clone_from(&path);
                assert_eq!(wire.send(&delete).status, 204);
            }
            acknowledged.push((path.trim_start_matches("/files/").to_owned(), deletes));
        }
        handler = Some(start_handler(&address, &sender).0);
    }
    while !acknowledged.iter().all(|(id, deleted)| told.is_whole(id, *deleted)) {
        take_line(&mut told, &lines);
    }
    assert_eq!(told.0.len(), DEATHS * UPLOADS, "nothing is told of uploads that nobody made");
    drop(handler);
}
