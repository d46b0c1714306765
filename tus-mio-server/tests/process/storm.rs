//! Several clients at once, and `kill -9` in the middle of it, again and again: nothing the server ever said is untrue
//! afterwards. SIGTERM the same: it loses nothing either, and the server ends by itself.
//!
//! `TUS_KILLS` sets how often a server is killed; 25 times each otherwise.

use std::{
    io::Write,
    path::Path,
    sync::{PoisonError, mpsc},
    thread,
};

use tus_proto::UploadId;
use tus_redb::{Options, Store};

use crate::{
    clients::{Client, Manner},
    line::Line,
    support::{FORKING, Server, pattern},
};

const MANNERS: [Manner; 8] = [
    Manner::Plain,
    Manner::Plain,
    Manner::Large,
    Manner::Checked,
    Manner::Checked,
    Manner::Parallel,
    Manner::Parallel,
    Manner::Fickle,
];

struct Storm {
    flags: [&'static str; 5],
    clients: Vec<Client>,
}

impl Storm {
    fn new(durability: &'static str) -> Self {
        let clients = MANNERS.iter().zip(1..).map(|(manner, seed)| Client::new(*manner, seed)).collect();
        Self {
            flags: ["--enable-downloads", "--shutdown-timeout", "5s", "--durability", durability],
            clients,
        }
    }

    /// Has all clients work at once, until the server has given them `answers` and `end` has ended it.
    fn rage(&mut self, server: Server, answers: usize, end: impl FnOnce(Server)) {
        let (told, heard) = mpsc::channel();
        thread::scope(|scope| {
            for client in &mut self.clients {
                let mut line = Line::new(server.address, told.clone());
                scope.spawn(move || client.work(&mut line));
            }
            drop(told);
            for _ in 0..answers {
                heard.recv().expect("a server that nobody has ended");
            }
            end(server);
        });
    }

    /// Has all clients do something that the server is there for.
    fn calm(&mut self, server: &Server, work: impl Fn(&mut Client, &mut Line) + Sync) {
        let (told, _heard) = mpsc::channel();
        thread::scope(|scope| {
            for client in &mut self.clients {
                let (mut line, work) = (Line::new(server.address, told.clone()), &work);
                scope.spawn(move || work(client, &mut line));
            }
        });
    }

    fn start(&self, dir: &Path) -> Server {
        Server::start(dir, &self.flags)
    }

    fn check(&mut self, server: &Server) {
        self.calm(server, |client, line| client.check(line).unwrap());
    }

    /// All uploads are completed; then all that is stored is compared.
    fn end(mut self, dir: &Path) {
        let server = self.start(dir);
        self.check(&server);
        self.calm(&server, |client, line| client.finish(line).unwrap());
        server.kill();
        let _open = FORKING.read().unwrap_or_else(PoisonError::into_inner);
        let store = Store::open_existing(dir, &Options::default()).unwrap();
        assert_eq!(store.verify().unwrap(), []);
        let mut compared = 0;
        for (path, bytes) in self.clients.iter().flat_map(Client::expected) {
            let id = UploadId::new(path.rsplit('/').next().unwrap()).unwrap();
            let stored = store.read(&id).unwrap().map(|mut body| {
                let mut bytes = Vec::new();
                std::io::copy(&mut body, &mut bytes).unwrap();
                bytes
            });
            assert!(stored == bytes, "{path} is not what was uploaded");
            compared += 1;
        }
        assert!(compared > 20, "the clients did something: {compared}");
    }
}

/// How many answers come before a kill: few or many, so that it hits beginnings, middles and ends.
fn answers(round: usize) -> usize {
    1 + round * 37 % 150
}

fn kill_again_and_again(durability: &'static str) {
    let dir = tempfile::tempdir().unwrap();
    let kills = std::env::var("TUS_KILLS").map_or(25, |kills| kills.parse().unwrap());
    let mut storm = Storm::new(durability);
    for round in 0..kills {
        let server = storm.start(dir.path());
        storm.check(&server);
        storm.rage(server, answers(round), Server::kill);
    }
    storm.end(dir.path());
}

#[test]
fn what_was_ever_told_is_true_after_every_kill_when_strict() {
    kill_again_and_again("strict");
}

#[test]
fn what_was_ever_told_is_true_after_every_kill_when_eventual() {
    kill_again_and_again("eventual");
}

#[test]
fn sigterm_under_load_loses_nothing_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    for durability in ["strict", "eventual"] {
        let dir = dir.path().join(durability);
        let mut storm = Storm::new(durability);
        for round in 1..4 {
            let server = storm.start(&dir);
            storm.check(&server);
            storm.rage(server, 40 * round, |server| assert_eq!(server.terminate(), Some(0)));
        }
        storm.end(&dir);
    }
}

/// A body that comes no further can't hold up the end, and what came of it stays.
#[test]
fn sigterm_waits_for_a_stalled_body_no_longer_than_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--shutdown-timeout", "500ms", "--request-timeout", "1h"]);
    let path = server.create(100_000);
    let mut connection = server.begin_patch(&path, 0, 100_000);
    connection.stream.write_all(&pattern(0, 60_000)).unwrap();
    // A bound on questions, not on time.
    let told = (0..20_000).find_map(|_| server.offset(&path).filter(|offset| *offset == 60_000));
    assert_eq!(told, Some(60_000));
    connection.stream.write_all(&pattern(60_000, 20_000)).unwrap();
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(connection.answer().status, 503);

    let server = Server::start(dir.path(), &[]);
    let offset = server.offset(&path).unwrap();
    assert!((60_000..=80_000).contains(&offset), "{offset}");
    assert_eq!(server.patch(&path, offset, &pattern(offset, 100_000 - offset as usize)), 100_000);
}
