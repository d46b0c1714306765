//! Repair on a disk that dies, or fails, in the middle of it: what is left can be repaired again, to the same end,
//! and no byte is gone.

use std::sync::Arc;

use tus_proto::Completion;

use super::{
    harness::options,
    repair::{file, fill, plant, read, write},
    repair_inline::{entries, leave_entry, remove_entry, shorten_entry},
};
use crate::{
    Disk, Durability, Mode, Options, Store,
    records::database::UPLOADS,
    sim::{Crash, Fault, SimDisk},
};

/// Something that is not as it should be.
type Damage = fn(&SimDisk, &Store);

/// With how many bytes a body may lie in the records.
const DAMAGES: [(&str, usize, Damage); 10] = [
    ("a missing file", 0, remove_file),
    ("a short file", 0, shorten_file),
    ("a file of nobody", 0, leave_file),
    ("a lost record", 0, lose_record),
    ("all of it", 0, |disk, store| {
        remove_file(disk, store);
        shorten_file(disk, store);
        leave_file(disk, store);
        lose_record(disk, store);
    }),
    ("a missing entry", 10, |_, store| remove_entry(store, "done")),
    ("a short entry", 10, |_, store| shorten_entry(store, "part-1")),
    ("an entry of nobody", 10, |_, store| leave_entry(store, b"nobody's")),
    ("a lost record of an entry", 10, lose_record),
    ("all of that", 10, |disk, store| {
        remove_entry(store, "done");
        shorten_entry(store, "part-1");
        leave_entry(store, b"nobody's");
        lose_record(disk, store);
    }),
];

fn remove_file(disk: &SimDisk, store: &Store) {
    let file = file(store, "done");
    disk.unlink(&file.path()).unwrap();
    disk.sync_dir(&file.dir()).unwrap();
}

fn shorten_file(disk: &SimDisk, store: &Store) {
    let file = disk.open(&file(store, "part-1").path(), Mode::Existing).unwrap();
    file.set_len(4).unwrap();
    file.sync_data().unwrap();
}

fn leave_file(disk: &SimDisk, store: &Store) {
    let dir = file(store, "done").dir();
    let stranger = disk.open(&format!("{dir}/stranger"), Mode::Create).unwrap();
    assert_eq!(stranger.write_at(b"stranger", 0).unwrap(), 8);
    stranger.sync_data().unwrap();
    disk.sync_dir(&dir).unwrap();
}

fn lose_record(_: &SimDisk, store: &Store) {
    plant(store, |txn| drop(txn.open_table(UPLOADS).unwrap().remove("half").unwrap()));
}

fn open(disk: &SimDisk, durability: Durability, inline_bytes: usize) -> Store {
    let options = Options { inline_bytes, ..options(durability) };
    Store::open_on(Arc::new(disk.clone()), &options).unwrap()
}

fn damaged(durability: Durability, inline_bytes: usize, damage: Damage) -> (SimDisk, Store) {
    let disk = SimDisk::new();
    let store = open(&disk, durability, inline_bytes);
    fill(&store);
    store.flush().unwrap();
    damage(&disk, &store);
    (disk, store)
}

/// What stands in data files, in those that were set aside, and in the records.
fn contents(disk: &SimDisk, store: &Store) -> Vec<Vec<u8>> {
    let within = |dir: &str| {
        let names = disk.list(dir).unwrap_or_default().into_iter();
        names.map(|name| format!("{dir}/{name}")).collect::<Vec<_>>()
    };
    let data = within("data").into_iter().flat_map(|dir| within(&dir));
    let paths = data.chain(within("aside"));
    let mut contents: Vec<_> = paths
        .map(|path| {
            let file = disk.open(&path, Mode::Existing).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            bytes
        })
        .collect();
    contents.extend(entries(store));
    contents.sort();
    contents
}

/// Nothing is gone, and nothing else is there; but bytes of the records may have been put into a file, or a part of
/// them, more than once.
#[track_caller]
fn check_contents(mut found: Vec<Vec<u8>>, expected: &[Vec<u8>], copied: bool, context: &str) {
    for bytes in expected {
        let place = found.iter().position(|found| found == bytes);
        found.remove(place.unwrap_or_else(|| panic!("{context}: {bytes:?} are gone")));
    }
    let is_copy = |bytes: &Vec<u8>| copied && expected.iter().any(|expected| expected.starts_with(bytes));
    assert!(found.iter().all(is_copy), "{context}: {found:?} came from nowhere");
}

/// Repairs with something going wrong at every single call of the disk, and then without.
fn repair_everywhere(durability: Durability, mut go_wrong: impl FnMut(&SimDisk, u64, &dyn Fn())) {
    for (what, inline_bytes, damage) in DAMAGES {
        let (disk, store) = damaged(durability, inline_bytes, damage);
        let before = disk.calls();
        let repairs = store.repair().unwrap();
        assert!(!repairs.is_empty() && repairs.iter().all(|repair| repair.remedy.is_some()), "{repairs:?}");
        let after = disk.calls();
        let bytes = contents(&disk, &store);
        for at in before..after {
            let (disk, store) = damaged(durability, inline_bytes, damage);
            go_wrong(&disk, at, &|| drop(store.repair()));
            drop(store);
            let context = format!("{what}, {durability:?}, call {}", at - before);
            let store = open(&disk, durability, inline_bytes);
            store.repair().unwrap_or_else(|failure| panic!("{context}: {failure:?}"));
            assert_eq!(store.verify().unwrap(), [], "{context}");
            check_contents(contents(&disk, &store), &bytes, inline_bytes > 0, &context);
            check_works(&store, &context);
        }
    }
}

/// Each client can send what is missing.
fn check_works(store: &Store, context: &str) {
    for (name, whole) in [("done", "0123456789"), ("part-1", "0123456789")] {
        let there = read(store, name);
        assert!(whole.as_bytes().starts_with(&there), "{context}: {name} has other bytes");
        let rest = &whole.as_bytes()[there.len()..];
        if !rest.is_empty() {
            let written = write(store, name, there.len() as u64, rest);
            assert_eq!(written, Completion::Committed { offset: 10 }, "{context}");
        }
        assert_eq!(read(store, name), whole.as_bytes(), "{context}");
    }
    assert_eq!(write(store, "part-2", 0, b"abcdefghij"), Completion::Committed { offset: 10 }, "{context}");
    assert_eq!(read(store, "final"), b"0123456789abcdefghij", "{context}");
    assert_eq!(store.verify().unwrap(), [], "{context}");
}

#[test]
fn a_crash_in_the_middle_leaves_what_can_be_repaired() {
    for durability in [Durability::Strict, Durability::Eventual] {
        repair_everywhere(durability, |disk, at, repair| {
            disk.die_at(at);
            repair();
            disk.crash(if at % 2 == 0 { Crash::Process } else { Crash::Machine(at) });
        });
    }
}

#[test]
fn a_disk_that_fails_in_the_middle_leaves_what_can_be_repaired() {
    for durability in [Durability::Strict, Durability::Eventual] {
        for fault in [Fault::Io, Fault::Full] {
            repair_everywhere(durability, |disk, at, repair| {
                disk.fail(at..at + 1, fault);
                repair();
                disk.heal();
            });
        }
    }
}
