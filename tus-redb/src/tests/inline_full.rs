//! How much of small bodies may be staged in memory, and what becomes of it when the disk is full.

use std::sync::Arc;

use tus_proto::{Completion, Failure, Fence};

use super::{
    harness::{commit, id, options, record},
    inline::{BOTH, body, bytes, create, files, put, sink_of},
};
use crate::{
    Change, Durability, Options, Sink, Store,
    sim::{Fault, SimDisk},
};

const KIB: u64 = 1 << 10;

/// Of 512 KiB, 64 may be staged in memory.
fn open(disk: &SimDisk, durability: Durability) -> Store {
    let options = Options { inline_bytes: 16 << 10, reserve_bytes: 512 * KIB, ..options(durability) };
    Store::open_on(Arc::new(disk.clone()), &options).unwrap()
}

#[test]
fn so_much_may_be_staged_in_memory_and_then_files_are_made() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    let mut sinks: Vec<_> = (0..6)
        .map(|n| {
            create(&store, record(&format!("upload-{n}"), None));
            sink_of(&store, &format!("upload-{n}"), 0).0
        })
        .collect();
    let mut late = sinks.split_off(4);
    for sink in &mut sinks {
        assert!(sink.would_keep(16 << 10));
        assert!(!sink.would_keep((16 << 10) + 1), "that is too much for one");
        sink.write(&bytes(0..16 * KIB)).unwrap();
    }
    assert!(!late[0].would_keep(1));
    assert_eq!(files(&disk).len(), 0);
    late[0].write(&bytes(0..10)).unwrap();
    assert_eq!(files(&disk), [bytes(0..10)]);
    drop(sinks.pop());
    assert!(!late[0].would_keep(1), "it has a file by now");
    assert!(late[1].would_keep(16 << 10));
    late[1].write(&bytes(0..16 * KIB)).unwrap();
    assert_eq!(files(&disk).len(), 1);
    // One that goes into its file needs no room any more, once that is synced.
    assert!(!sinks[0].would_keep(1));
    sinks[0].write(&bytes(16 * KIB..17 * KIB)).unwrap();
    sinks[0].syncer().sync(None).unwrap();
    create(&store, record("last", None));
    assert!(sink_of(&store, "last", 0).0.would_keep(16 << 10));
}

/// A commit writes all that an upload has in the records, not what is new alone.
#[test]
fn what_is_there_already_counts_from_the_first_byte_more() {
    let store = open(&SimDisk::new(), Durability::Strict);
    let names: Vec<_> = (0..6).map(|n| format!("upload-{n}")).collect();
    for name in &names {
        create(&store, record(name, None));
        put(&store, name, 15 * KIB);
    }
    let mut sinks: Vec<_> = names.iter().map(|name| sink_of(&store, name, 0).0).collect();
    for sink in &mut sinks[..4] {
        assert!(sink.would_keep(16));
        sink.write(&bytes(15 * KIB..15 * KIB + 16)).unwrap();
        sink.write(&bytes(15 * KIB + 16..15 * KIB + 32)).unwrap();
    }
    assert!(!sinks[4].would_keep(16));
    drop(sinks.remove(0));
    assert!(sinks[3].would_keep(16));
}

/// The journal is as long as it may be, and more is staged, in groups of the largest and of the smallest bodies.
#[test]
fn what_was_staged_before_the_disk_was_full_is_committed() {
    for durability in BOTH {
        for (committed, staged) in [(0, 16_000), (0, 4_100), (15_000, 1_000)] {
            for one_by_one in [false, true] {
                full(durability, committed, staged, one_by_one);
            }
        }
    }
}

fn full(durability: Durability, committed: u64, staged: u64, one_by_one: bool) {
    let context = format!("{durability:?}, {committed} and {staged}, one by one {one_by_one}");
    let disk = SimDisk::new();
    let store = open(&disk, durability);
    let names: Vec<_> = (0..40).map(|n| format!("upload-{n:02}")).collect();
    for name in &names {
        create(&store, record(name, None));
        if committed > 0 {
            put(&store, name, committed);
        }
    }
    store.flush().unwrap();
    for n in 0..8 {
        let name = format!("unflushed-{n}");
        create(&store, record(&name, None));
        put(&store, &name, 16_000);
    }
    let to = committed + staged;
    let mut sinks = Vec::new();
    for name in &names {
        let (mut sink, fence) = sink_of(&store, name, 0);
        if sink.would_keep(staged as usize) {
            sink.write(&bytes(committed..to)).unwrap();
            sink.syncer().sync(None).unwrap();
            sinks.push((name, sink, fence));
        }
    }
    assert!(sinks.len() >= 4 && files(&disk).is_empty(), "{context}");

    disk.set_free(Some(0));
    let refused = (0..500).any(|n| {
        let more = Change::Create { record: record(&format!("more-{n}"), None), first: None };
        store.commit(&[more]) == [Completion::Failed(Failure::NoSpace)]
    });
    assert!(refused && store.is_full(), "{context}");
    for (_, sink, _) in &mut sinks {
        assert!(!sink.would_keep(1), "{context}");
        assert_eq!(sink.write(b"x").unwrap_err().failure, Failure::NoSpace, "{context}");
    }
    assert_eq!(files(&disk), [[0; 0]; 0], "{context}");
    let last = |(name, sink, fence): &(&String, Sink, _)| commit(name, *fence, committed, to, Some(sink));
    let group: Vec<_> = sinks.iter().map(last).collect();
    for group in group.chunks(if one_by_one { 1 } else { group.len() }) {
        let told = store.commit(group);
        let all = vec![Completion::Committed { offset: to }; group.len()];
        assert_eq!(told, all, "{context}: {:?}", store.trouble());
    }
    assert_eq!(store.flush(), Ok(()), "{context}: {:?}", store.trouble());
    for (name, ..) in &sinks {
        assert_eq!(body(&store, name), bytes(0..to), "{context}");
    }
}

#[test]
fn a_disk_that_small_bodies_filled_is_of_use_again_when_they_are_gone() {
    for durability in BOTH {
        for len in [16_000, 1_000] {
            let context = format!("{durability:?}, {len}");
            let disk = SimDisk::new();
            let store = open(&disk, durability);
            disk.set_free(Some(4 << 20));
            let is_stored = |name: &str| upload(&store, name, len).is_some();
            let names: Vec<_> =
                (0..9_000).map(|n| format!("{n:04}")).take_while(|name| is_stored(name)).collect();
            assert!(names.len() < 9_000 && store.is_full(), "{context}: {} fit", names.len());
            for name in &names {
                let delete = Change::Delete { id: id(name), fence: Fence(u64::MAX) };
                assert_eq!(store.commit(&[delete]), [Completion::Deleted], "{context}");
            }
            store.flush().unwrap();
            while store.needs_reclaim() {
                store.reclaim(64).unwrap();
            }
            assert!(is_stored("again"), "{context}: {:?}", store.trouble());
            assert_eq!(store.verify().unwrap(), [], "{context}");
        }
    }
}

/// Nothing is moved for it, and nobody waits: what deletions free is there for the next uploads.
#[test]
fn what_is_free_in_the_records_stands_for_the_reserve() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    disk.set_free(Some(8 << 20));
    let delete = |name: &str| {
        let delete = Change::Delete { id: id(name), fence: Fence(u64::MAX) };
        assert_eq!(store.commit(&[delete]), [Completion::Deleted], "{:?}", store.trouble());
        while store.needs_reclaim() && store.reclaim(64).unwrap() > 0 {}
    };
    let mut number = 0;
    let mut fill = || {
        let before = number;
        let mut names = Vec::new();
        loop {
            let name = format!("{number:05}");
            number += 1;
            if upload(&store, &name, 16_000).is_none() {
                break;
            }
            names.push(name);
            assert!(number < before + 9_000);
        }
        assert!(store.is_full());
        names
    };
    let mut names = fill();
    for round in 0..6 {
        // Of those that were made first and of those that were made last.
        let mut deleted = 0;
        while store.is_full() {
            let at = if deleted % 2 == 0 { 0 } else { names.len() - 1 };
            delete(&names.remove(at));
            deleted += 1;
            assert!(deleted < 100, "in round {round}");
        }
        let more = fill();
        assert!(!more.is_empty(), "in round {round}");
        names.extend(more);
    }
    assert_eq!(store.compactions(), 0);
    for name in &names {
        assert_eq!(body(&store, name), bytes(0..16_000));
    }
    names.iter().for_each(|name| delete(name));
    assert_eq!(store.verify().unwrap(), []);
}

/// Reading waits for a compaction: it is made only where it can give the reserve back.
#[test]
fn the_records_are_compacted_only_where_that_pays() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    disk.set_free(Some(4 << 20));
    let names: Vec<_> = (0..9_000)
        .map(|n| format!("{n:04}"))
        .take_while(|name| upload(&store, name, 16_000).is_some())
        .collect();
    assert!(store.is_full());
    // Little is free: not one page is read or written but for the deletions.
    let mut compactions = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let delete = Change::Delete { id: id(name), fence: Fence(u64::MAX) };
        assert_eq!(store.commit(&[delete]), [Completion::Deleted], "{:?}", store.trouble());
        while store.reclaim(64).unwrap() > 0 {}
        if !store.is_full() {
            break;
        }
        let attempts = store.compactions();
        if compactions.last().is_none_or(|(_, before)| *before < attempts) {
            compactions.push((n, attempts));
        }
    }
    assert!(!store.is_full(), "{compactions:?}");
    assert!(store.compactions() <= 3, "{compactions:?}");
    assert_eq!(store.verify().unwrap(), []);
}

/// Deletes the uploads that fill a disk, one by one, and reclaims after each. In that after the `at`-th the disk fails from its
/// `call`-th call on. Returns in which the records' file became shorter first, and
/// after how many calls.
fn delete_all(durability: Durability, failing: Option<(usize, u64, Fault)>) -> Option<(usize, u64)> {
    let disk = SimDisk::new();
    let store = open(&disk, durability);
    disk.set_free(Some(4 << 20));
    let names: Vec<_> = (0..9_000)
        .map(|n| format!("{n:04}"))
        .take_while(|name| upload(&store, name, 16_000).is_some())
        .collect();
    let mut shortened = None;
    for (n, name) in names.iter().enumerate() {
        let delete = Change::Delete { id: id(name), fence: Fence(u64::MAX) };
        assert_eq!(store.commit(&[delete]), [Completion::Deleted], "{failing:?}: {:?}", store.trouble());
        store.flush().unwrap();
        let (calls, len) = (disk.calls(), store.records.len().unwrap());
        let failing = failing.filter(|(at, ..)| *at == n);
        if let Some((_, call, fault)) = failing {
            disk.fail(calls + call..u64::MAX, fault);
        }
        let reclaimed = (0..100).map(|_| store.reclaim(64)).find(|reclaimed| !matches!(reclaimed, Ok(1..)));
        match failing {
            Some((_, _, Fault::Io)) => assert!(matches!(reclaimed, Some(Err(_))), "{failing:?}"),
            Some(_) => {}
            None => assert_eq!(reclaimed, Some(Ok(0)), "{:?}", store.trouble()),
        }
        if shortened.is_none() && store.records.len().unwrap() < len {
            shortened = Some((n, disk.calls() - calls));
        }
        disk.heal();
        if failing.is_some() {
            assert!(names[n + 1..].iter().all(|name| body(&store, name) == bytes(0..16_000)), "{failing:?}");
        }
    }
    assert_eq!(store.verify().unwrap(), []);
    shortened
}

#[test]
fn a_compaction_that_fails_fails_no_deletion() {
    for durability in BOTH {
        let (at, calls) = delete_all(durability, None).expect("the records are compacted");
        for quarter in 0..4 {
            for fault in [Fault::Io, Fault::Full] {
                delete_all(durability, Some((at, calls * quarter / 4, fault)));
            }
        }
    }
}

/// A whole upload; `None` if there is no room for it.
fn upload(store: &Store, name: &str, len: u64) -> Option<()> {
    let fence = store.first_fence();
    let created = store.commit(&[Change::Create { record: record(name, Some(len)), first: None }]);
    let mut sink = store.append(&id(name), fence, 0).ok()?;
    sink.write(&bytes(0..len)).ok()?;
    sink.syncer().sync(Some(len)).ok()?;
    let written = store.commit(&[commit(name, fence, 0, len, Some(&sink))]);
    let done = created == [Completion::Created] && written == [Completion::Committed { offset: len }];
    done.then_some(())
}
