//! What things cost, counted in the calls to the disk and the bytes they move, and that nothing is left behind.

use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTableMetadata};
use tus_proto::{Completion, Concat, ConcatRejection, Fence, Record, WallTime};

use super::harness::{id, options, record};
use crate::{
    Change, Disk, Durability, Options, Store, Swept,
    files::file_id::{Extent, FileId},
    mutex::lock,
    records::{
        database::{
            self, DUE_EVENTS, EVENTS, EXPIRY, FILES, FRAGMENTED, INLINE, LAPSES, META, PENDING_UNLINK,
            SHARING, TOMBSTONES, UPLOADS, WAITING,
        },
        record::{Kind, Row},
    },
    sim::SimDisk,
};

fn at(seconds: u64) -> WallTime {
    WallTime::from_micros(seconds * 1_000_000)
}

fn open(disk: &SimDisk, durability: Durability) -> Store {
    Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap()
}

/// A change to come, its bytes staged and synced: they make the upload complete.
fn last_commit(store: &Store, name: &str, len: usize) -> Change {
    let fence = store.first_fence();
    let mut sink = store.append(&id(name), fence, 0).unwrap();
    sink.write(&vec![7; len]).unwrap();
    let to = len as u64;
    sink.syncer().sync(Some(to)).unwrap();
    let (length, expires, finish, syncer) = (None, None, true, Some(sink.syncer()));
    Change::Commit { id: id(name), fence, from: 0, to, length, expires, finish, syncer }
}

fn create_part(name: &str, length: usize) -> Change {
    Change::Create {
        record: Record { concat: Some(Concat::Partial), ..record(name, Some(length as u64)) },
        first: None,
    }
}

pub(super) fn concat(name: &str, parts: &[String]) -> Change {
    let record = Record { concat: Some(Concat::Final("final; /x".to_owned())), ..record(name, None) };
    let parts = parts.iter().map(|part| id(part)).collect();
    Change::Concat { record, parts, max: None, delete_parts: false }
}

/// What a commit costs: calls, bytes of records, bytes of data files.
fn cost(disk: &SimDisk, store: &Store, change: Change) -> [u64; 3] {
    let count = || [disk.calls(), disk.traffic("records"), disk.traffic("data/")];
    let before = count();
    let completion = store.commit(&[change]).pop();
    assert!(matches!(completion, Some(Completion::Concatenated(_) | Completion::Committed { .. })));
    let after = count();
    [0, 1, 2].map(|n| after[n] - before[n])
}

/// What it costs to make a final of 16 parts of so many bytes, and to complete one with the last of them.
fn cost_of_finals(bytes: usize) -> [[u64; 3]; 2] {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    let parts: Vec<String> = (0..16).map(|n| format!("part-{n}")).collect();
    for name in &parts {
        store.commit(&[create_part(name, bytes)]);
    }
    let (last, others) = parts.split_last().unwrap();
    for name in others {
        let change = last_commit(&store, name, bytes);
        store.commit(&[change]);
    }
    store.commit(&[concat("pending", &parts)]);
    let change = last_commit(&store, last, bytes);
    let completed = cost(&disk, &store, change);
    let made = cost(&disk, &store, concat("made", &parts));
    for name in ["pending", "made"] {
        assert_eq!(store.load(&id(name)).unwrap().unwrap().offset, 16 * bytes as u64, "{name}");
    }
    [completed, made]
}

#[test]
fn a_final_costs_the_same_however_long_its_parts_are() {
    let (short, long) = (cost_of_finals(4 << 10), cost_of_finals(1 << 20));
    assert_eq!(short, long);
    for [calls, records, data] in long {
        assert_eq!(data, 0, "no byte of an upload is read or written");
        assert!(calls > 0 && records < 256 << 10, "{calls} calls, {records} bytes of records");
    }
}

/// Fills a store with unfinished uploads in few transactions; every `every`th is over at 10, the others at 20.
fn fill(store: &Store, count: u32, is_over: impl Fn(u32) -> bool) {
    let mut writer = lock(&store.writer);
    let database = store.database(&mut writer).unwrap();
    for first in (0..count).step_by(100_000) {
        let txn = database::begin_durable(&database).unwrap();
        {
            let mut uploads = txn.open_table(UPLOADS).unwrap();
            let mut files = txn.open_table(FILES).unwrap();
            let mut expiry = txn.open_table(EXPIRY).unwrap();
            for n in first..count.min(first + 100_000) {
                let id = format!("{n:08}");
                let expires = at(if is_over(n) { 10 } else { 20 });
                let file = FileId(u64::from(n));
                let row = Row {
                    created: at(1),
                    length: Some(5),
                    fence: Fence(0),
                    extents: vec![Extent { file, len: 0 }],
                    metadata: String::new(),
                    expires: Some(expires),
                    kind: Kind::Plain,
                    explicit: None,
                    sha256: None,
                };
                uploads.insert(id.as_str(), row.encode().as_slice()).unwrap();
                files.insert(file.0, 1).unwrap();
                expiry.insert((expires.as_micros(), id.as_str()), ()).unwrap();
            }
        }
        txn.commit().unwrap();
    }
}

/// What it costs to sweep 1000 expired uploads out of a store of so many: calls, and bytes of records.
fn cost_of_sweep(uploads: u32, is_over: impl Fn(u32) -> bool) -> (u64, u64) {
    let disk = SimDisk::new();
    fill(&open(&disk, Durability::Strict), uploads, is_over);
    // Nothing is in memory from filling it.
    let store = open(&disk, Durability::Strict);
    let (calls, bytes) = (disk.calls(), disk.traffic("records"));
    let mut expired = 0;
    loop {
        let swept = store.sweep(at(10), 64).unwrap();
        expired += swept.expired;
        if !swept.more {
            break;
        }
    }
    assert_eq!(expired, 1_000);
    store.flush().unwrap();
    (disk.calls() - calls, disk.traffic("records") - bytes)
}

/// The figures are those of a store of 1 000 000, which takes long to make: its trees are as deep.
#[test]
fn a_sweep_costs_what_it_removes() {
    let (calls, bytes) = cost_of_sweep(1_000, |_| true);
    // Ids begin with the time: what expires together stands together.
    let (among_many, bytes_among_many) = cost_of_sweep(100_000, |n| n < 1_000);
    // Each group reads the pages of its entries, which one among none has in memory; they are written once.
    assert!(among_many < calls + 1_000, "{among_many} calls, and {calls} among none");
    assert!(bytes_among_many < bytes + (8 << 20), "{bytes_among_many} bytes, and {bytes} among none");
    // At the worst each has to be found in trees of its own depth.
    let (fragmented, _) = cost_of_sweep(100_000, |n| n % 100 == 0);
    assert!(fragmented < 12 * 1_000, "{fragmented} calls for 1000 uploads");
}

/// Ten uploads, of every kind and with every end, by the names that begin with `n`.
struct Ten(String);

impl Ten {
    fn name(&self, kind: u32) -> String {
        format!("{}-{kind}", self.0)
    }

    fn create(&self) -> Vec<Change> {
        let plain = |kind, length, expires| Change::Create {
            record: Record { expires, ..record(&self.name(kind), Some(length)) },
            first: None,
        };
        let part = |kind, length| {
            let record = record(&self.name(kind), Some(length));
            Change::Create {
                record: Record { expires: Some(at(10)), concat: Some(Concat::Partial), ..record },
                first: None,
            }
        };
        vec![
            plain(0, 4, None),
            plain(1, 5, Some(at(10))),
            plain(2, 0, None),
            part(3, 4),
            part(4, 4),
            part(6, 5),
            part(8, 4),
            plain(0, 4, None),
        ]
    }

    /// Four bytes for each that has a body, which finish those that are as long.
    fn write(&self, store: &Store) -> Vec<Change> {
        let commit = |kind: u32| {
            let Change::Commit { id, fence, from, to, length, syncer, .. } =
                last_commit(store, &self.name(kind), 4)
            else {
                unreachable!()
            };
            let (expires, finish) = (Some(at(10)).filter(|_| kind != 0), kind != 1 && kind != 6);
            Change::Commit { id, fence, from, to, length, expires, finish, syncer }
        };
        [0, 1, 3, 4, 6, 8].map(commit).into()
    }

    fn concat(&self) -> Vec<Change> {
        let make = |kind, parts: &[u32], deleting| {
            let parts: Vec<_> = parts.iter().map(|part| self.name(*part)).collect();
            let mut change = concat(&self.name(kind), &parts);
            if let Change::Concat { record, delete_parts, .. } = &mut change {
                record.expires = Some(at(10));
                *delete_parts = deleting;
            }
            change
        };
        vec![
            make(5, &[3, 4, 3], false),
            make(7, &[3, 6], false),
            make(9, &[8], true),
            make(10, &[3, 99], false),
            make(10, &[0], false),
        ]
    }

    fn delete(&self, store: &Store) -> Vec<Change> {
        let fence = store.first_fence();
        [0, 2, 5, 9].map(|kind| Change::Delete { id: id(&self.name(kind)), fence }).into()
    }
}

#[test]
fn ten_thousand_uploads_leave_nothing() {
    for (durability, inline_bytes) in [
        (Durability::Strict, 0),
        (Durability::Strict, 4),
        (Durability::Eventual, 0),
        (Durability::Eventual, 4),
    ] {
        let disk = SimDisk::new();
        let options = Options { inline_bytes, ..options(durability) };
        let store = Store::open_on(Arc::new(disk.clone()), &options).unwrap();
        for block in 0..50 {
            let tens: Vec<_> = (0..20).map(|n| Ten(format!("{block}-{n}"))).collect();
            let commit = |changes: &dyn Fn(&Ten) -> Vec<Change>| {
                let changes: Vec<_> = tens.iter().flat_map(changes).collect();
                store.commit(&changes)
            };
            let created = commit(&Ten::create);
            assert_eq!(created.iter().filter(|done| **done == Completion::Created).count(), 7 * 20);
            let written = commit(&|ten| ten.write(&store));
            assert_eq!(written, vec![Completion::Committed { offset: 4 }; 6 * 20]);
            let made = commit(&Ten::concat);
            let finals = made.iter().filter(|done| matches!(done, Completion::Concatenated(_)));
            assert_eq!(finals.count(), 3 * 20);
            let refused = [ConcatRejection::Missing, ConcatRejection::NotPartial].map(Completion::Rejected);
            assert_eq!(made[3..5], refused);
            if block == 49 {
                assert_eq!(store.verify().unwrap(), []);
            }
            assert_eq!(commit(&|ten| ten.delete(&store)), vec![Completion::Deleted; 4 * 20]);
        }
        let over = at(10 + 24 * 60 * 60);
        for now in [at(10), over] {
            // A final that goes gives its finished parts their time back, which may be over.
            while store.sweep(now, 64).unwrap() != Swept::default() {}
        }
        store.flush().unwrap();
        while store.reclaim(256).unwrap() > 0 {}
        assert_eq!(disk.list("data").unwrap(), [""; 0]);
        assert_eq!(left(&store), [0; 12], "{durability:?}");
    }
}

/// How many rows each table has but the one of the store's own numbers.
fn left(store: &Store) -> [u64; 12] {
    let mut writer = lock(&store.writer);
    let txn = store.database(&mut writer).unwrap().begin_read().unwrap();
    assert_eq!(txn.list_tables().unwrap().count(), 13);
    assert!(txn.open_table(META).unwrap().len().unwrap() < 8);
    [
        txn.open_table(UPLOADS).unwrap().len().unwrap(),
        txn.open_table(FILES).unwrap().len().unwrap(),
        txn.open_table(PENDING_UNLINK).unwrap().len().unwrap(),
        txn.open_table(EXPIRY).unwrap().len().unwrap(),
        txn.open_table(TOMBSTONES).unwrap().len().unwrap(),
        txn.open_table(LAPSES).unwrap().len().unwrap(),
        txn.open_table(WAITING).unwrap().len().unwrap(),
        txn.open_table(EVENTS).unwrap().len().unwrap(),
        txn.open_table(DUE_EVENTS).unwrap().len().unwrap(),
        txn.open_table(FRAGMENTED).unwrap().len().unwrap(),
        txn.open_table(SHARING).unwrap().len().unwrap(),
        txn.open_table(INLINE).unwrap().len().unwrap(),
    ]
}
