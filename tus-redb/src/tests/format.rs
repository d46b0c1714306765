//! Stores that older versions have made: `tests/fixtures/format-3` was written by the one before fencing numbers could go
//! beyond a block of 2^32, with each kind of upload, a tombstone, events, a file to be unlinked, and such a number.
//! `format-4` is the same after the version before the log had opened it with eventual durability, and its process had ended
//! with two groups in the journal: they made `late`, with one byte, and appended one to `large`. `format-5` is format 3's
//! after the version before the log's second half had opened it with strict durability, and its process had ended with the
//! same in the log.

use std::{fs, io::Read as _, path::Path, sync::Arc};

use tus_proto::{Completion, Fence};

use super::harness::{commit, id, options};
use crate::{
    Change, Disk, Durability, Mode, Options, Store,
    sim::{Crash, SimDisk},
};

const DURABILITIES: [Durability; 2] = [Durability::Strict, Durability::Eventual];

/// The highest fencing number in it.
const HIGHEST: Fence = Fence((1 << 32) + (3 << 32) + 5);

/// The formats of which there is a fixture.
const FORMATS: [u64; 3] = [3, 4, 5];

/// A disk with the fixture on it.
fn disk(format: u64) -> SimDisk {
    let disk = SimDisk::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"));
    copy(&fixture, "", &disk);
    disk
}

fn copy(from: &Path, to: &str, disk: &SimDisk) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if to.is_empty() { name } else { format!("{to}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            disk.create_dir(&path).unwrap();
            copy(&entry.path(), &path, disk);
        } else {
            let file = disk.open(&path, Mode::Create).unwrap();
            crate::disk::write_all(&*file, &fs::read(entry.path()).unwrap(), 0).unwrap();
            file.sync_data().unwrap();
        }
    }
    disk.sync_dir(to).unwrap();
}

fn try_open(disk: &SimDisk, durability: Durability) -> Result<Store, crate::OpenError> {
    let options = Options { inline_bytes: 16 << 10, ..options(durability) };
    Store::open_on(Arc::new(disk.clone()), &options)
}

fn bytes(len: u64) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// All of it is there, and is written on. `journal` says that the groups in format 4's journal, or format 5's log, are.
fn check(store: &Store, journal: bool, context: &str) {
    assert_eq!(store.verify().unwrap(), [], "{context}");
    assert!(store.first_fence() > HIGHEST, "{context}: {:?}", store.first_fence());
    let twice = [bytes(20_000), bytes(20_000)].concat();
    for (name, expected) in [
        ("small", bytes(5)),
        ("large", bytes(if journal { 20_001 } else { 20_000 })),
        ("part-a", bytes(20_000)),
        ("part-b", bytes(20_000)),
        ("part-c", bytes(3)),
        ("final", twice),
        ("pending", Vec::new()),
    ] {
        let mut there = Vec::new();
        store.read(&id(name)).unwrap().unwrap().read_to_end(&mut there).unwrap();
        assert!(there == expected, "{context}: {name}");
    }
    let late = store.load(&id("late")).unwrap().map(|late| late.offset);
    assert_eq!(late, journal.then_some(1), "{context}");
    assert_eq!(store.load(&id("gone")), Ok(None), "{context}");
    assert_eq!(
        (store.load(&id("expired")), store.remembers(&id("expired"))),
        (Ok(None), Ok(true)),
        "{context}"
    );
    assert_eq!(store.load(&id("small")).unwrap().unwrap().metadata, "filename d29ybGQ=", "{context}");
}

/// Writes one byte more to an upload.
fn append(store: &Store, name: &str) {
    let (fence, at) = (store.first_fence(), store.load(&id(name)).unwrap().unwrap().offset);
    let mut sink = store.append(&id(name), fence, at).unwrap();
    sink.write(&[(at % 251) as u8]).unwrap();
    sink.syncer().sync(None).unwrap();
    let told = store.commit(&[commit(name, fence, at, at + 1, Some(&sink))]);
    assert_eq!(told, [Completion::Committed { offset: at + 1 }], "{name}");
}

#[test]
fn a_store_of_the_version_before_is_taken_over_with_all_that_is_in_it() {
    for (durability, format) in DURABILITIES.into_iter().flat_map(|first| FORMATS.map(|then| (first, then))) {
        let disk = disk(format);
        let context = format!("{durability:?}, format {format}");
        let store = try_open(&disk, durability).unwrap();
        check(&store, format > 3, &context);
        // What was beyond the block of its opening was rejected for ever.
        append(&store, "numbers");
        append(&store, "large");
        let first = store.first_fence();
        drop(store);
        let store = try_open(&disk, durability).unwrap();
        assert!(store.first_fence() > first);
        append(&store, "numbers");
        let deleted = Change::Delete { id: id("numbers"), fence: store.first_fence() };
        assert_eq!(store.commit(&[deleted]), [Completion::Deleted]);
        store.flush().unwrap();
        while store.needs_reclaim() {
            store.reclaim(64).unwrap();
        }
        assert_eq!(store.verify().unwrap(), [], "{context}");
    }
}

#[test]
fn whatever_cuts_its_first_opening_the_next_one_finds_all() {
    for (durability, format) in DURABILITIES.into_iter().flat_map(|first| FORMATS.map(|then| (first, then))) {
        let whole = disk(format);
        let before = whole.calls();
        drop(try_open(&whole, durability).unwrap());
        let calls = whole.calls() - before;
        assert!(calls > 10, "{calls}");
        for call in 0..calls {
            for crash in [Crash::Process, Crash::Machine(call), Crash::Machine(call + 1_000)] {
                let context = format!("{durability:?}, format {format}, call {call} of {calls}, {crash:?}");
                let disk = disk(format);
                disk.die_at(disk.calls() + call);
                drop(try_open(&disk, durability));
                disk.crash(crash);
                disk.heal();
                let store = try_open(&disk, durability).unwrap_or_else(|error| panic!("{context}: {error}"));
                // A power cut may come before its groups are in the records, durably; unless they are synced where they are.
                let journal = format > 3 && store.load(&id("late")).unwrap().is_some();
                assert!(journal || format == 3 || (format == 4 && crash != Crash::Process), "{context}");
                check(&store, journal, &context);
                append(&store, "numbers");
            }
        }
    }
}
