//! Fencing numbers and file ids of an opening that uses more of them than 2^32.

use std::sync::Arc;

use tus_proto::{Completion, Fence};

use super::harness::{commit, id, options, record};
use crate::{
    Change, Durability, Store,
    sim::{Crash, SimDisk},
};

const BLOCK: u64 = 1 << 32;

fn open(disk: &SimDisk, durability: Durability) -> Store {
    Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap()
}

/// Appends a byte; returns the offset.
fn append(store: &Store, name: &str, fence: Fence) -> u64 {
    let at = store.load(&id(name)).unwrap().unwrap().offset;
    let mut sink = store.append(&id(name), fence, at).unwrap();
    sink.write(b"x").unwrap();
    sink.syncer().sync(None).unwrap();
    let told = store.commit(&[commit(name, fence, at, at + 1, Some(&sink))]);
    assert_eq!(told, [Completion::Committed { offset: at + 1 }]);
    at + 1
}

#[test]
fn no_number_is_given_twice_or_falls_however_many_an_opening_uses() {
    for durability in [Durability::Strict, Durability::Eventual] {
        for crash in [None, Some(Crash::Process), Some(Crash::Machine(3)), Some(Crash::Machine(5))] {
            for flushed in [true, false] {
                over_the_edge(durability, crash, flushed);
            }
        }
    }
}

fn over_the_edge(durability: Durability, crash: Option<Crash>, flushed: bool) {
    let context = format!("{durability:?}, {crash:?}, flushed {flushed}");
    let disk = SimDisk::new();
    let store = open(&disk, durability);
    let first = store.first_fence().0;
    store.commit(&[Change::Create { record: record("old", None), first: None }]);
    append(&store, "old", Fence(first + 1));
    store.flush().unwrap();
    store.staging.files.skip_to(BLOCK - 3);
    let mut highest = Fence(first);
    for n in 0..6 {
        let name = format!("upload-{n}");
        store.commit(&[Change::Create { record: record(&name, None), first: None }]);
        highest = Fence(first + BLOCK - 3 + n);
        append(&store, &name, highest);
    }
    append(&store, "old", Fence(first + 3 * BLOCK));
    let told =
        store.commit(&[Change::NewExtent { id: id("old"), fence: Fence(first + 3 * BLOCK + 1), at: 2 }]);
    assert_eq!(told, [Completion::Committed { offset: 2 }], "{context}");
    if flushed {
        highest = Fence(first + 3 * BLOCK + 1);
        store.flush().unwrap();
    }
    match crash {
        Some(crash) => disk.crash(crash),
        None => highest = Fence(first + 3 * BLOCK + 1),
    }
    drop(store);

    for _ in 0..2 {
        let store = open(&disk, durability);
        let fence = store.first_fence();
        let lost = durability == Durability::Eventual && matches!(crash, Some(Crash::Machine(_))) && !flushed;
        assert!(lost || fence > highest, "{context}: {fence:?} and {highest:?}");
        assert_eq!(store.verify().unwrap(), [], "{context}");
        let new = format!("new-{}", fence.0);
        store.commit(&[Change::Create { record: record(&new, None), first: None }]);
        append(&store, &new, fence);
        for upload in store.list(None, 99).unwrap() {
            append(&store, upload.id.as_str(), Fence(fence.0 + 1));
        }
        assert_eq!(store.verify().unwrap(), [], "{context}");
        let told = store.commit(&[Change::Delete { id: id("old"), fence: Fence(fence.0 + 2) }]);
        assert!(matches!(told[..], [Completion::Deleted | Completion::Missing]), "{context}: {told:?}");
    }
}
