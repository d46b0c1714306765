//! Servers that die, stand still and disagree about the time, over a bucket that loses answers, answers late, and
//! rejects: by seed, with the store and the locks as they ship. What was acknowledged must be there, byte for byte.
//!
//! `SEEDS=20000 cargo test -p tus-object-store --test simulation` runs more seeds than by default, `SEED=17` one alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation, clippy::print_stderr)]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use support::{
    cluster::{Ask, Cluster, small, told},
    model::Faults,
    world::Rng,
};
use tus_driver::tus_proto::{Config, Cut};

/// An upload, and all that was ever said about it.
#[derive(Default)]
struct Upload {
    target: String,
    length: u64,
    /// The highest offset that anybody was told.
    told: u64,
    /// Bodies by request: where each begins, and its bytes.
    bodies: BTreeMap<u64, (u64, Vec<u8>)>,
    /// Bytes whose body is known: a request was answered with them.
    sure: Vec<Option<u8>>,
    deleted: bool,
    /// Somebody has asked for its deletion, whatever came of that.
    deletable: bool,
    /// One client alone writes to it, one request after the other, and every request was answered as asked so far: no
    /// offset can be another than it knows.
    alone: bool,
}

/// A request under way, and what was known when it was sent.
struct Asked {
    id: u64,
    upload: usize,
    kind: Kind,
    told: u64,
    /// Its deletion was acknowledged before.
    deleted: bool,
    since: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Head,
    Patch,
    Delete,
}

/// A checksum that no body has.
const WRONG: &str = "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

struct Run {
    seed: u64,
    rng: Rng,
    cluster: Cluster,
    servers: Vec<u64>,
    uploads: Vec<Upload>,
    asked: Vec<Asked>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let config = Config::builder()
            .downloads(true)
            .lock_ttl(Duration::from_secs(15))
            .lock_wait(Duration::from_secs(5))
            .checkpoint_bytes(64)
            .upload_expiry(Some(Duration::from_secs(7_200)))
            .build()
            .unwrap();
        let mut options = small();
        options.memory = [600, 2_000, 20_000][rng.below(3) as usize];
        options.uniform_parts = rng.once_in(5);
        options.checkpoint_interval = Duration::from_millis([50, 2_000][rng.below(2) as usize]);
        options.probe = false;
        let mut cluster = Cluster::with_config(seed, options, config);
        cluster.model.lock().unwrap().strict = true;
        cluster.net = rng.once_in(2).then(Arc::default);
        let servers = (0..2 + rng.below(2)).map(|_| cluster.start(rng.below(300_000_000))).collect();
        Self { seed, rng, cluster, servers, uploads: Vec::new(), asked: Vec::new() }
    }

    fn server(&mut self) -> u64 {
        self.servers[self.rng.below(self.servers.len() as u64) as usize]
    }

    fn create(&mut self) {
        let longest = [900, 900, 2_500][self.rng.below(3) as usize];
        let (server, length) = (self.server(), 1 + self.rng.below(longest));
        let response = self.cluster.send(server, Ask::new("POST", "/files").field("Upload-Length", length));
        if response.status() != 201 {
            return;
        }
        let target = response.header("Location").unwrap().to_string();
        let sure = vec![None; length as usize];
        let alone = self.rng.once_in(3);
        self.uploads.push(Upload { target, length, sure, alone, ..Upload::default() });
    }

    fn ask(&mut self) {
        let index = self.rng.below(self.uploads.len() as u64) as usize;
        let server = self.server();
        let upload = &self.uploads[index];
        if upload.alone && self.asked.iter().any(|asked| asked.upload == index) {
            return;
        }
        let (target, told, since) = (upload.target.clone(), upload.told, self.cluster.world.now());
        let kind = match self.rng.below(60) {
            0 => Kind::Delete,
            1..=20 => Kind::Head,
            _ => Kind::Patch,
        };
        let id = match kind {
            Kind::Head => self.cluster.ask(server, Ask::new("HEAD", &target)),
            Kind::Delete => {
                self.uploads[index].deletable = true;
                self.cluster.ask(server, Ask::new("DELETE", &target))
            }
            Kind::Patch => {
                // What an earlier HEAD has told, which others may have moved on.
                let left = upload.length.saturating_sub(told);
                let len = if self.rng.once_in(3) { left } else { self.rng.below(left + 1) };
                let salt = self.rng.next();
                let bytes = |at: u64| (at.wrapping_mul(31).wrapping_add(salt) >> 3) as u8 ^ salt as u8;
                let body: Vec<u8> = (told..told + len).map(bytes).collect();
                let mut ask = Ask::patch(&target, told, &body);
                if self.rng.once_in(4) && len > 0 {
                    ask.body.truncate(self.rng.below(len) as usize);
                    (ask.promised, ask.cut) = (Some(len), Some(Cut::PeerGone));
                }
                let sent = ask.body.clone();
                if self.rng.once_in(8) && ask.cut.is_none() && len > 0 {
                    // Of these bytes none may ever be seen; their parts were sent.
                    ask = ask.field("Upload-Checksum", WRONG);
                    self.cluster.ask(server, ask)
                } else {
                    let id = self.cluster.ask(server, ask);
                    self.uploads[index].bodies.insert(id, (told, sent));
                    id
                }
            }
        };
        let deleted = self.uploads[index].deleted;
        self.trace(|| format!("{kind:?} {id} of upload {index} at server {server}, told {told}"));
        self.asked.push(Asked { id, upload: index, kind, told, deleted, since });
    }

    /// Hears the answers that have come.
    fn hear(&mut self) {
        for index in (0..self.asked.len()).rev() {
            let Asked { id, upload, kind, told: before, deleted, since } = self.asked[index];
            let Some(request) = self.cluster.requests.get_mut(&id) else {
                // Its server is dead.
                self.uploads[upload].alone = false;
                self.asked.swap_remove(index);
                continue;
            };
            if !request.done {
                let waited = self.cluster.world.now() - since;
                assert!(waited < 400_000_000, "seed {}: {kind:?} does not end", self.seed);
                continue;
            }
            let answer = request.response.take();
            self.cluster.requests.remove(&id);
            self.asked.swap_remove(index);
            let Some(answer) = answer else {
                self.uploads[upload].alone = false;
                continue;
            };
            let (status, offset) = told(&answer);
            let context = format!("seed {}, {kind:?} {id}: {status} {offset:?}", self.seed);
            self.trace(|| format!("{kind:?} {id} is answered {status} {offset:?}"));
            let upload = &mut self.uploads[upload];
            assert!(!upload.alone || status != 409, "{context}: nobody else writes to it");
            upload.alone &= matches!(status, 200 | 204 | 460);
            assert!(!deleted || !matches!(status, 200 | 204 | 409), "{context}: it was deleted before");
            match (kind, status, offset) {
                (Kind::Head, 200, Some(offset)) | (Kind::Patch, 409, Some(offset)) => {
                    assert!(offset >= before, "{context}: it was {before} already");
                    upload.told = upload.told.max(offset);
                }
                (Kind::Patch, 204, Some(offset)) => {
                    let sent = upload.bodies.get(&id);
                    let (from, body) = sent.unwrap_or_else(|| panic!("{context}: the checksum is wrong"));
                    assert_eq!(offset, from + body.len() as u64, "{context}");
                    upload.told = upload.told.max(offset);
                    for (at, byte) in body.iter().enumerate() {
                        let place = &mut upload.sure[*from as usize + at];
                        assert!(
                            place.is_none_or(|sure| sure == *byte),
                            "{context}: two were told that byte is theirs"
                        );
                        *place = Some(*byte);
                    }
                }
                (Kind::Delete, 204, _) => upload.deleted = true,
                (_, 404 | 410, _) => {
                    assert!(upload.deletable, "{context}: nobody has deleted it");
                    upload.deleted = true;
                }
                (Kind::Head, status, _) => assert!(status < 500, "{context}: a HEAD has no 5xx"),
                (_, 400 | 403 | 423 | 500 | 503, _) => {}
                (Kind::Patch, 460, _) => {
                    assert!(!upload.bodies.contains_key(&id), "{context}: the checksum is right")
                }
                _ => panic!("{context}"),
            }
        }
    }

    /// With `SEED`, what happens is written to standard error.
    fn trace(&self, text: impl FnOnce() -> String) {
        if std::env::var_os("SEED").is_some() {
            eprintln!("{:>12} {}", self.cluster.world.now(), text());
        }
    }

    fn disturb(&mut self) {
        match self.rng.below(40) {
            0 => {
                let index = self.rng.below(self.servers.len() as u64) as usize;
                self.cluster.kill(self.servers[index]);
                self.trace(|| format!("server {} dies", self.servers[index]));
                // What it was asked has no answer now.
                let quiet = self.cluster.model.lock().unwrap().faults;
                // A bucket that answers too late lets nobody start.
                self.cluster.faults(Faults { delay: 1_000, ..Faults::default() });
                self.servers[index] = self.cluster.start(self.rng.below(300_000_000));
                self.cluster.faults(quiet);
            }
            1 => {
                let server = self.server();
                self.trace(|| format!("server {server} stands still"));
                self.cluster.world.pause(server, 1_000_000 + self.rng.below(40_000_000));
            }
            2 => {
                let faults = Faults {
                    refused: [0, 5, 50][self.rng.below(3) as usize],
                    lost: [0, 5, 50][self.rng.below(3) as usize],
                    late: [0, 5, 20, 100][self.rng.below(4) as usize],
                    met: [0, 5][self.rng.below(2) as usize],
                    delay: [1_000, 50_000, 2_000_000][self.rng.below(3) as usize],
                };
                self.cluster.faults(faults);
            }
            _ => {}
        }
    }

    fn play(&mut self) {
        for _ in 0..2 + self.rng.below(2) {
            self.create();
        }
        for _ in 0..150 {
            if !self.uploads.is_empty() && self.asked.len() < 6 {
                self.ask();
            }
            self.disturb();
            let time = [1_000, 100_000, 3_000_000][self.rng.below(3) as usize];
            self.cluster.run_for(Duration::from_micros(self.rng.below(time)));
            self.hear();
        }
        self.finish();
    }

    /// Peace: every upload can be finished, and its bytes are those that were acknowledged.
    fn finish(&mut self) {
        self.cluster.faults(Faults { delay: 1_000, ..Faults::default() });
        for _ in 0..100 {
            self.cluster.run_for(Duration::from_secs(5));
            self.hear();
        }
        assert!(self.asked.is_empty(), "seed {}: requests have not ended", self.seed);
        for index in 0..self.uploads.len() {
            if !self.uploads[index].deleted {
                self.complete(index);
            }
        }
    }

    fn complete(&mut self, index: usize) {
        let Upload { target, length, .. } = &self.uploads[index];
        let (target, length, seed) = (target.clone(), *length, self.seed);
        for _ in 0..30 {
            let server = self.server();
            let offset = match self.cluster.head(server, &target) {
                (200, Some(offset)) => offset,
                (404 | 410, _) if self.uploads[index].deletable => return,
                (404 | 410, _) => panic!("seed {seed}: {target} is gone"),
                other => {
                    let _ = other;
                    self.cluster.run_for(Duration::from_secs(1));
                    continue;
                }
            };
            let upload = &mut self.uploads[index];
            assert!(
                offset >= upload.told,
                "seed {seed}: {target} is at {offset}, and was at {}",
                upload.told
            );
            upload.told = offset;
            if offset == length {
                return self.compare(index);
            }
            let body: Vec<u8> = (offset..length).map(|at| at as u8 ^ 0xa5).collect();
            let server = self.server();
            let id = self.cluster.ask(server, Ask::patch(&target, offset, &body));
            self.uploads[index].bodies.insert(id, (offset, body));
            self.cluster.answer(id);
            self.cluster.requests.remove(&id);
            self.cluster.run_for(Duration::from_secs(3));
        }
        panic!("seed {seed}: {target} can't be finished");
    }

    fn compare(&mut self, index: usize) {
        let (server, target) = (self.server(), self.uploads[index].target.clone());
        let (status, bytes) = self.cluster.get(server, &target);
        assert_eq!(status, 200, "seed {}: {target}", self.seed);
        let upload = &self.uploads[index];
        assert_eq!(bytes.len() as u64, upload.length);
        for (at, byte) in bytes.iter().enumerate() {
            let seed = self.seed;
            if let Some(sure) = upload.sure[at] {
                assert_eq!(
                    *byte, sure,
                    "seed {seed}: byte {at} of {target} is not the one that was acknowledged"
                );
            }
            let sent = upload.bodies.values().any(|(from, body)| {
                (at as u64).checked_sub(*from).and_then(|at| body.get(at as usize)) == Some(byte)
            });
            assert!(sent, "seed {seed}: byte {at} of {target} was never sent");
        }
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(60),
    };
    for seed in seeds {
        Run::new(seed).play();
    }
}
