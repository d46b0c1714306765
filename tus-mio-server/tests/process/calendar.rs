//! A host whose calendar is wrong, or is set while the server runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use tus_proto::WallTime;

use crate::support::{Answer, Server, pattern};

const DAY: i64 = 24 * 60 * 60;

/// A directory with a calendar that can be set, for servers that are started with it.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap() };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/calendar.c");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(host.library()).arg(source).status();
        assert!(compiled.unwrap().success());
        host.set(0);
        host
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("calendar.so")
    }

    /// The calendar is so many seconds ahead of the true one from now on.
    fn set(&self, ahead: i64) {
        let (new, file) = (self.dir.path().join("new"), self.dir.path().join("ahead"));
        fs::write(&new, ahead.to_string()).unwrap();
        fs::rename(new, file).unwrap();
    }

    fn start(&self) -> Server {
        let (data, file) = (self.dir.path().join("data"), self.dir.path().join("ahead"));
        let env = [("LD_PRELOAD", &*self.library()), ("AHEAD", &*file)];
        Server::start_in(&data, &["--upload-expiry", "24h", "--cleanup-interval", "1s"], &env)
    }
}

/// Seconds since 1970 by the true calendar.
fn today() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn head(server: &Server, path: &str) -> Answer {
    server.connect().ask(&format!("HEAD {path} HTTP/1.1\r\n"))
}

/// Whether the upload is there, and is told to live a day by a calendar that is so far ahead.
#[track_caller]
fn assert_lives(server: &Server, path: &str, ahead: i64) {
    let answer = head(server, path);
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.header("Upload-Expires").unwrap();
    // The test may take its time; not hours.
    let end = (today() + ahead + DAY) as u64;
    let possible = |second: &u64| WallTime::from_micros(second * 1_000_000).imf_fixdate().to_string() == told;
    assert!((end - 3_600..=end).any(|second| possible(&second)), "{told}");
}

#[test]
fn no_jump_of_the_calendar_ends_an_unfinished_upload() {
    let host = Host::new();
    let server = host.start();
    let path = server.create(100);
    assert_eq!(server.patch(&path, 0, &pattern(0, 10)), 10);
    assert_lives(&server, &path, 0);
    for ahead in [2 * DAY, 0, -2 * DAY] {
        host.set(ahead);
        assert_lives(&server, &path, ahead);
    }
    server.kill();
    // Nor one while the server is down, whose first deed is a sweep.
    for ahead in [2 * DAY, -today(), 400 * DAY] {
        assert_eq!(offset_after_a_sweep(&host, ahead, &path), 10);
    }
}

/// Starts a server, lets its first sweep go by, and tells the upload's offset.
fn offset_after_a_sweep(host: &Host, ahead: i64, path: &str) -> u64 {
    host.set(ahead);
    let server = host.start();
    // Changes come after the sweep but for those of the first group.
    for _ in 0..2 {
        server.create(1);
    }
    assert_lives(&server, path, ahead);
    // A host without a clock of its own learns the date.
    host.set(0);
    assert_lives(&server, path, 0);
    server.offset(path).unwrap()
}
