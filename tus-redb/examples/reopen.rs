//! How long it takes to open a store again whose process was killed: `reopen [UPLOADS]`. It fills a store in a temporary
//! directory, commits to it in a process that is killed by SIGKILL meanwhile, and opens it, ten times in either durability.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use tus_proto::{Completion, Record, UploadId, WallTime};
use tus_redb::{Change, Durability, Options, Store};

const GROUP: u64 = 10_000;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [dir, durability, first] => commit_for_ever(Path::new(dir), durability, first.parse().unwrap()),
        [uploads] => measure(uploads.parse().expect("a number of uploads")),
        _ => measure(1_000_000),
    }
}

fn measure(uploads: u64) {
    for durability in ["strict", "eventual"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), durability);
        for first in (0..uploads).step_by(GROUP as usize) {
            create(&store, first, GROUP.min(uploads - first));
        }
        drop(store);
        let mut slowest = 0.0_f64;
        for round in 0..10 {
            kill_while_committing(dir.path(), durability, uploads + round * 1_000_000);
            let begun = Instant::now();
            let store = open(dir.path(), durability);
            slowest = slowest.max(begun.elapsed().as_secs_f64() * 1e3);
            drop(store);
        }
        println!("{durability}: {uploads} uploads, opened again in {slowest:.1} ms at most of 10 times");
    }
}

fn kill_while_committing(dir: &Path, durability: &str, first: u64) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(dir).args([durability, &first.to_string()]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.take(100).count(), 100, "it commits");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn commit_for_ever(dir: &Path, durability: &str, first: u64) {
    let store = open(dir, durability);
    for n in first.. {
        create(&store, n, 1);
        println!("{n}");
    }
}

fn open(dir: &Path, durability: &str) -> Store {
    let durability = if durability == "strict" { Durability::Strict } else { Durability::Eventual };
    Store::open(dir, &Options { durability, ..Options::default() }).unwrap()
}

fn create(store: &Store, first: u64, count: u64) {
    let record = |n| Record {
        id: UploadId::new(&format!("{n:026}")).unwrap(),
        created: WallTime::from_micros(n),
        offset: 0,
        length: Some(4096),
        metadata: "filename d29ybGQ=".into(),
        expires: Some(WallTime::from_micros(n + 1)),
        concat: None,
        explicit: None,
    };
    let changes: Vec<_> =
        (first..first + count).map(|n| Change::Create { record: record(n), first: None }).collect();
    assert!(store.commit(&changes).iter().all(|completion| *completion == Completion::Created));
}
