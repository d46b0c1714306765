//! Bodies that lie in the records, and those that outgrow them.

use std::{io::Read, ops::Range, sync::Arc};

use redb::{ReadableDatabase, ReadableTable};
use tus_proto::{Completion, Concat, Fence, Record};

use super::harness::{commit, id, options, record};
use crate::{
    Change, Disk, Durability, Events, ExtentFile, Mode, Options, Sink, Store,
    mutex::lock,
    records::database::INLINE,
    sim::{Crash, SimDisk},
};

/// Up to so many bytes lie in the records.
pub(super) const LIMIT: u64 = 1_000;
pub(super) const BOTH: [Durability; 2] = [Durability::Strict, Durability::Eventual];

pub(super) fn open_with(disk: &SimDisk, durability: Durability, inline_bytes: u64) -> Store {
    let options = Options { inline_bytes: inline_bytes as usize, ..options(durability) };
    Store::open_on(Arc::new(disk.clone()), &options).unwrap()
}

pub(super) fn open(disk: &SimDisk, durability: Durability) -> Store {
    open_with(disk, durability, LIMIT)
}

/// What stands at these offsets of every body: one in a wrong place shows.
pub(super) fn bytes(offsets: Range<u64>) -> Vec<u8> {
    offsets.map(|offset| (offset % 251) as u8).collect()
}

pub(super) fn offset(store: &Store, name: &str) -> u64 {
    store.load(&id(name)).unwrap().unwrap().offset
}

pub(super) fn create(store: &Store, record: Record) {
    assert_eq!(store.commit(&[Change::Create { record, first: None }]), [Completion::Created]);
}

/// A sink for what follows, for the writer of this number.
pub(super) fn sink_of(store: &Store, name: &str, number: u64) -> (Sink, Fence) {
    let fence = Fence(store.first_fence().0 + number);
    (store.append(&id(name), fence, offset(store, name)).unwrap(), fence)
}

/// Stages and commits what an upload lacks up to this offset.
#[track_caller]
pub(super) fn put(store: &Store, name: &str, to: u64) {
    let from = offset(store, name);
    let (mut sink, fence) = sink_of(store, name, 0);
    sink.write(&bytes(from..to)).unwrap();
    sink.syncer().sync(None).unwrap();
    let told = store.commit(&[commit(name, fence, from, to, Some(&sink))]);
    assert_eq!(told, [Completion::Committed { offset: to }], "{:?}", store.trouble());
}

fn delete(store: &Store, name: &str) {
    let delete = Change::Delete { id: id(name), fence: Fence(u64::MAX) };
    assert_eq!(store.commit(&[delete]), [Completion::Deleted]);
}

/// The committed bytes, by the one way of reading and by the other.
pub(super) fn body(store: &Store, name: &str) -> Vec<u8> {
    let mut whole = Vec::new();
    store.read(&id(name)).unwrap().unwrap().read_to_end(&mut whole).unwrap();
    let mut source = store.open_source(&id(name)).unwrap();
    let mut again = Vec::new();
    let mut extent = [0; 77];
    loop {
        match source.read_at(again.len() as u64, &mut extent).unwrap() {
            0 => break,
            n => again.extend(&extent[..n]),
        }
    }
    assert_eq!(whole, again);
    whole
}

pub(super) fn extents(store: &Store, name: &str) -> Vec<ExtentFile> {
    store.describe(&id(name)).unwrap().unwrap().extents
}

/// What the data files hold.
pub(super) fn files(disk: &SimDisk) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for dir in disk.list("data").unwrap() {
        for name in disk.list(&format!("data/{dir}")).unwrap() {
            let file = disk.open(&format!("data/{dir}/{name}"), Mode::Existing).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            files.push(bytes);
        }
    }
    files
}

/// How long the entries in the records are.
pub(super) fn entries(store: &Store) -> Vec<usize> {
    let mut writer = lock(&store.writer);
    let txn = store.database(&mut writer).unwrap().begin_read().unwrap();
    let table = txn.open_table(INLINE).unwrap();
    table.iter().unwrap().map(|entry| entry.unwrap().1.value().len()).collect()
}

#[track_caller]
pub(super) fn check_in_records(store: &Store, disk: &SimDisk, name: &str, len: u64) {
    assert_eq!(body(store, name), bytes(0..len));
    assert_eq!(entries(store), [len as usize]);
    assert_eq!(store.paths(&id(name)).unwrap(), []);
    let [extent] = &extents(store, name)[..] else { panic!("one extent") };
    assert!(extent.in_records);
    assert_eq!((extent.committed, extent.file_len), (len, None));
    assert_eq!(disk.list("data").unwrap(), [""; 0]);
    assert_eq!(store.verify().unwrap(), []);
}

#[track_caller]
pub(super) fn check_in_file(store: &Store, disk: &SimDisk, name: &str, len: u64) {
    assert_eq!(body(store, name), bytes(0..len));
    assert_eq!(entries(store), [0; 0]);
    let paths = store.paths(&id(name)).unwrap();
    assert_eq!(paths.iter().map(|(_, len)| *len).collect::<Vec<_>>(), [len]);
    assert_eq!(files(disk), [bytes(0..len)]);
    assert_eq!(store.verify().unwrap(), []);
}

/// Ends the process or the machine, and opens the store again.
pub(super) fn reopen(store: Store, disk: &SimDisk, crash: Crash, durability: Durability) -> Store {
    disk.crash(crash);
    drop(store);
    open(disk, durability)
}

#[test]
fn a_small_body_lies_in_the_records_and_makes_no_file() {
    for (durability, crash) in [
        (Durability::Strict, Crash::Machine(1)),
        (Durability::Strict, Crash::Machine(5)),
        (Durability::Eventual, Crash::Process),
    ] {
        let disk = SimDisk::new();
        let mut store = open(&disk, durability);
        create(&store, record("a", None));
        for to in [1, 300, LIMIT] {
            put(&store, "a", to);
            check_in_records(&store, &disk, "a", to);
            store = reopen(store, &disk, crash, durability);
            check_in_records(&store, &disk, "a", to);
        }
    }
}

#[test]
fn one_that_outgrows_the_records_lies_in_its_file_from_the_first_byte_on() {
    for seed in 0..8 {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Strict);
        create(&store, record("a", None));
        put(&store, "a", 600);
        put(&store, "a", LIMIT + 1);
        assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..LIMIT + 1), vec![600]));
        if seed % 2 == 0 {
            store.flush().unwrap();
            check_in_file(&store, &disk, "a", LIMIT + 1);
        }
        let store = reopen(store, &disk, Crash::Machine(seed), Durability::Strict);
        check_in_file(&store, &disk, "a", LIMIT + 1);
    }
}

#[test]
fn its_entry_goes_with_the_flush() {
    for seed in 0..8 {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Eventual);
        create(&store, record("a", None));
        put(&store, "a", 600);
        store.flush().unwrap();
        put(&store, "a", 5_000);
        put(&store, "a", 6_000);
        assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..6_000), vec![600]));
        assert_eq!(store.verify().unwrap(), [], "it is needed still");
        // A power cut would take back the growth: the records have what was there before.
        let crash = if seed == 0 { Crash::Process } else { Crash::Machine(seed) };
        let store = reopen(store, &disk, crash, Durability::Eventual);
        match crash {
            Crash::Process => check_in_file(&store, &disk, "a", 6_000),
            Crash::Machine(_) => assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..600), vec![600])),
        }
        put(&store, "a", 7_000);
        store.flush().unwrap();
        let store = reopen(store, &disk, Crash::Machine(seed), Durability::Eventual);
        check_in_file(&store, &disk, "a", 7_000);
    }
}

#[test]
fn a_deletion_takes_nothing_from_under_a_reader() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        create(&store, record("a", None));
        put(&store, "a", 600);
        let mut source = store.open_source(&id("a")).unwrap();
        delete(&store, "a");
        store.flush().unwrap();
        assert_eq!(store.reclaim(8), Ok(0), "it is read");
        assert_eq!(entries(&store), [600]);
        assert_eq!(store.verify().unwrap(), []);
        let mut whole = [0; 700];
        assert_eq!(source.read_at(0, &mut whole), Ok(600));
        assert_eq!(whole[..600], bytes(0..600));
        drop(source);
        assert!(store.needs_reclaim());
        assert_eq!(store.reclaim(8), Ok(1));
        assert_eq!(entries(&store), [0; 0]);
        let store = reopen(store, &disk, Crash::Machine(1), durability);
        while store.reclaim(8).unwrap() > 0 {}
        assert_eq!(entries(&store), [0; 0]);
    }
}

#[test]
fn a_limit_that_is_lower_now_concerns_what_is_written_now() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        create(&store, record("a", None));
        put(&store, "a", 600);
        drop(store);
        let store = open_with(&disk, durability, 0);
        check_in_records(&store, &disk, "a", 600);
        put(&store, "a", 601);
        store.flush().unwrap();
        check_in_file(&store, &disk, "a", 601);
        drop(store);
        // And no higher one brings it back.
        let store = open(&disk, durability);
        put(&store, "a", 602);
        store.flush().unwrap();
        check_in_file(&store, &disk, "a", 602);
    }
}

#[test]
fn a_final_of_small_parts_is_read_and_put_into_one_file() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        let parts = [("a", 300), ("b", 5_000), ("c", 700)];
        for (name, len) in parts {
            create(&store, Record { concat: Some(Concat::Partial), ..record(name, Some(len)) });
            put(&store, name, len);
        }
        let record = Record { concat: Some(Concat::Final("final; /x".to_owned())), ..record("whole", None) };
        let ids = parts.iter().map(|(name, _)| id(name)).collect();
        let concat = Change::Concat { record, parts: ids, max: None, delete_parts: false };
        assert!(matches!(store.commit(&[concat])[..], [Completion::Concatenated(_)]));
        let whole = [bytes(0..300), bytes(0..5_000), bytes(0..700)].concat();
        assert_eq!((body(&store, "whole"), store.paths(&id("whole")).unwrap()), (whole.clone(), vec![]));
        let mut before = store.open_source(&id("whole")).unwrap();

        for (name, _) in parts {
            delete(&store, name);
        }
        store.flush().unwrap();
        // Little by little: a small part is copied whole.
        while store.consolidate(100).unwrap() {}
        assert_eq!(
            store.paths(&id("whole")).unwrap().iter().map(|(_, len)| *len).collect::<Vec<_>>(),
            [6_000]
        );
        assert_eq!(body(&store, "whole"), whole);
        store.flush().unwrap();
        assert_eq!(store.reclaim(8), Ok(0), "who began to read goes on as before");
        let mut seen = vec![0; 5_300];
        assert_eq!(before.read_at(0, &mut seen), Ok(300));
        assert_eq!(before.read_at(300, &mut seen[300..]), Ok(5_000));
        assert_eq!(seen, whole[..5_300]);
        drop(before);
        assert_eq!(store.reclaim(8), Ok(3));
        assert_eq!((entries(&store), files(&disk)), (vec![], vec![whole.clone()]));
        let store = reopen(store, &disk, Crash::Process, durability);
        assert_eq!(body(&store, "whole"), whole);
        assert_eq!(store.verify().unwrap(), []);
    }
}

/// Uploads that were begun when nobody asked for files.
#[test]
fn who_is_told_of_files_gets_one() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        create(&store, Record { concat: Some(Concat::Partial), ..record("part", Some(600)) });
        put(&store, "part", 600);
        create(&store, record("plain", None));
        put(&store, "plain", 600);
        drop(store);
        let events = Events { created: false, completed: true, terminated: false };
        let options = Options { events, ..options(durability) };
        let store = Store::open_on(Arc::new(disk.clone()), &options).unwrap();
        let record =
            Record { concat: Some(Concat::Final("final; /part".to_owned())), ..record("final", None) };
        let concat = Change::Concat { record, parts: vec![id("part")], max: None, delete_parts: false };
        assert!(matches!(store.commit(&[concat])[..], [Completion::Concatenated(_)]));
        let last = Change::Commit {
            id: id("plain"),
            fence: store.first_fence(),
            from: 600,
            to: 600,
            length: Some(600),
            expires: None,
            finish: true,
            syncer: None,
        };
        assert_eq!(store.commit(&[last]), [Completion::Committed { offset: 600 }]);
        assert_eq!(store.paths(&id("final")).unwrap(), [], "its bytes are in the records");
        store.flush().unwrap();
        for name in ["final", "plain"] {
            assert!(store.awaits_consolidation(&id(name)).unwrap());
        }
        assert_eq!(store.verify().unwrap(), []);
        while store.consolidate(500).unwrap() {}
        store.flush().unwrap();
        for name in ["final", "plain"] {
            assert!(!store.awaits_consolidation(&id(name)).unwrap());
            assert_eq!(store.paths(&id(name)).unwrap().len(), 1);
            assert_eq!(body(&store, name), bytes(0..600));
            delete(&store, name);
        }
        store.flush().unwrap();
        assert_eq!(store.verify().unwrap(), []);
    }
}
