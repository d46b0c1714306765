//! Single rules.

use std::{io::Read, sync::Arc};

use tus_proto::{Completion, Failure, Fence};

use super::harness::{commit, id, options, record};
use crate::{
    Change, Disk, Durability, OpenError, Options, Rejected, Sink, Store,
    mutex::lock,
    sim::{Crash, Fault, SimDisk},
};

fn open(disk: &SimDisk, durability: Durability) -> Store {
    Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap()
}

fn fence(store: &Store, n: u64) -> Fence {
    Fence(store.first_fence().0 + n)
}

/// Stages bytes and makes them durable.
fn staged(store: &Store, name: &str, lease: u64, at: u64, bytes: &[u8]) -> Sink {
    let mut sink = store.append(&id(name), fence(store, lease), at).unwrap();
    sink.write(bytes).unwrap();
    sink.syncer().sync(None).unwrap();
    sink
}

fn body(store: &Store, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.read(&id(name)).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn no_more_files_than_may_be_are_open_until_a_flush() {
    let disk = SimDisk::new();
    let options = Options { max_unflushed_files: 2, ..options(Durability::Eventual) };
    let store = Store::open_on(Arc::new(disk.clone()), &options).unwrap();
    let names = ["a", "b", "c", "d"];
    store.commit(&names.map(|name| Change::Create { record: record(name, Some(9)), first: None }));
    // Twice: what is open already may be written to again.
    for round in 0..2 {
        let sinks = names.map(|name| staged(&store, name, round + 1, round * 4, b"0123"));
        assert_eq!(lock(&store.staging.dirty).len(), 2);
        for (name, sink) in names.iter().zip(&sinks) {
            let (from, to) = (round * 4, round * 4 + 4);
            let told = store.commit(&[commit(name, fence(&store, round + 1), from, to, Some(sink))]);
            assert_eq!(told, [Completion::Committed { offset: to }]);
        }
    }
    store.flush().unwrap();
    disk.die_at(disk.calls());
    drop(store);
    disk.crash(Crash::Machine(1));
    let store = open(&disk, Durability::Eventual);
    assert!(names.iter().all(|name| body(&store, name) == b"01230123"));
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_bad_change_does_not_hinder_the_others() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    store.commit(&[
        Change::Create { record: record("a", Some(10)), first: None },
        Change::Create { record: record("b", Some(10)), first: None },
    ]);
    let one = fence(&store, 1);
    let sink = staged(&store, "a", 1, 0, b"0123456789");
    let group = [
        Change::Create { record: record("a", Some(3)), first: None },
        commit("nobody", one, 0, 0, None),
        commit("a", one, 2, 4, Some(&sink)),
        commit("a", one, 0, 4, Some(&sink)),
        commit("a", one, 4, 11, Some(&sink)),
        commit("b", one, 0, 4, Some(&sink)),
        Change::Delete { id: id("nobody"), fence: one },
        Change::Create { record: record("c", None), first: None },
    ];
    let completions = store.commit(&group);
    let expected = [
        Completion::Exists,
        Completion::Missing,
        Completion::Conflict { offset: 0 },
        Completion::Committed { offset: 4 },
        Completion::Failed(Failure::Io),
        Completion::Conflict { offset: 0 },
        Completion::Missing,
        Completion::Created,
    ];
    assert_eq!(completions, expected);
    assert_eq!(body(&store, "a"), b"0123");
}

#[test]
fn nothing_is_committed_that_was_not_synced() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: record("a", None), first: None }]);
    let one = fence(&store, 1);
    let mut sink = staged(&store, "a", 1, 0, b"0123");
    sink.write(b"4567").unwrap();
    assert_eq!(sink.staged(), 8);
    let tried = store.commit(&[commit("a", one, 0, 8, Some(&sink)), commit("a", one, 0, 4, Some(&sink))]);
    assert_eq!(tried, [Completion::Failed(Failure::Io), Completion::Committed { offset: 4 }]);
    let without = store.commit(&[commit("a", one, 4, 8, None)]);
    assert_eq!(without, [Completion::Failed(Failure::Io)]);
}

#[test]
fn a_length_is_told_once_and_bounds_the_offset() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: record("a", None), first: None }]);
    let fence = fence(&store, 1);
    let sink = staged(&store, "a", 1, 0, b"0123");
    let change = |to, length, finish| Change::Commit {
        id: id("a"),
        fence,
        from: 0,
        to,
        length,
        expires: None,
        finish,
        syncer: Some(sink.syncer()),
    };
    let conflict = Completion::Conflict { offset: 0 };
    assert_eq!(store.commit(&[change(4, Some(3), false)]), std::slice::from_ref(&conflict));
    assert_eq!(store.commit(&[change(4, Some(5), true)]), std::slice::from_ref(&conflict));
    assert_eq!(store.commit(&[change(0, Some(4), false)]), [Completion::Committed { offset: 0 }]);
    assert_eq!(store.commit(&[change(0, Some(5), false)]), [conflict]);
    assert_eq!(store.commit(&[change(4, Some(4), true)]), [Completion::Committed { offset: 4 }]);
    assert!(store.load(&id("a")).unwrap().unwrap().is_complete());
}

#[test]
fn a_writer_that_lost_its_lock_changes_nothing() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: record("a", Some(100)), first: None }]);
    let (old, new) = (fence(&store, 1), fence(&store, 2));
    let mut zombie = staged(&store, "a", 1, 0, b"old!");
    // The new holder has only begun to write: nothing on the disk says so yet.
    let begun = store.append(&id("a"), new, 0).unwrap();
    let conflict = Completion::Conflict { offset: 0 };
    assert_eq!(store.commit(&[commit("a", old, 0, 4, Some(&zombie))]), std::slice::from_ref(&conflict));
    assert_eq!(store.discard(&id("a"), old), conflict);
    assert_eq!(store.append(&id("a"), old, 0).unwrap_err(), Rejected::Conflict { offset: 0 });
    drop(begun);

    let fresh = Change::NewExtent { id: id("a"), fence: new, at: 0 };
    assert_eq!(store.commit(&[fresh]), [Completion::Committed { offset: 0 }]);
    let sink = staged(&store, "a", 2, 0, b"new");
    zombie.write(&[b'x'; 50]).unwrap();
    assert_eq!(store.commit(&[commit("a", new, 0, 3, Some(&sink))]), [Completion::Committed { offset: 3 }]);
    zombie.write(&[b'x'; 50]).unwrap();
    let delete = Change::Delete { id: id("a"), fence: old };
    assert_eq!(store.commit(&[delete]), [Completion::Conflict { offset: 3 }]);
    assert_eq!(body(&store, "a"), b"new");
}

#[test]
fn a_fresh_extent_goes_behind_the_committed_bytes() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: record("a", Some(6)), first: None }]);
    let sink = staged(&store, "a", 1, 0, b"abcGARBAGE");
    store.commit(&[commit("a", fence(&store, 1), 0, 3, Some(&sink))]);
    store.commit(&[Change::NewExtent { id: id("a"), fence: fence(&store, 2), at: 3 }]);
    let sink = staged(&store, "a", 2, 3, b"def");
    let last = commit("a", fence(&store, 2), 3, 6, Some(&sink));
    assert_eq!(store.commit(&[last]), [Completion::Committed { offset: 6 }]);
    assert_eq!(body(&store, "a"), b"abcdef");
    assert_eq!(store.describe(&id("a")).unwrap().unwrap().extents.len(), 2);
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn no_file_is_made_before_the_first_byte_and_none_stays_behind_the_last() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    store.commit(&[
        Change::Create { record: record("a", Some(4)), first: None },
        Change::Create { record: record("empty", Some(0)), first: None },
    ]);
    let sink = store.append(&id("a"), fence(&store, 1), 0).unwrap();
    sink.syncer().sync(None).unwrap();
    drop(sink);
    assert_eq!(disk.list("data").unwrap(), [""; 0]);
    let mut empty = store.append(&id("empty"), fence(&store, 1), 0).unwrap();
    empty.syncer().sync(Some(0)).unwrap();
    assert!(empty.write(b"x").is_err());

    let sink = staged(&store, "a", 1, 0, b"abcd and garbage");
    sink.syncer().sync(Some(4)).unwrap();
    store.commit(&[commit("a", fence(&store, 1), 0, 4, Some(&sink))]);
    drop(sink);
    let extents = store.describe(&id("a")).unwrap().unwrap().extents;
    assert_eq!((extents[0].committed, extents[0].file_len), (4, Some(4)));
    assert!(store.delete(&id("a")).unwrap());
    assert!(!store.delete(&id("a")).unwrap());
    assert_eq!(disk.list("data").unwrap(), [""; 0]);
}

#[test]
fn discarded_bytes_are_gone_and_committed_ones_are_not() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: record("a", None), first: None }]);
    let sink = staged(&store, "a", 1, 0, b"keep, forget");
    store.commit(&[commit("a", fence(&store, 1), 0, 4, Some(&sink))]);
    drop(sink);
    assert_eq!(store.discard(&id("a"), fence(&store, 1)), Completion::Discarded);
    let extents = store.describe(&id("a")).unwrap().unwrap().extents;
    assert_eq!((extents[0].committed, extents[0].file_len), (4, Some(4)));
    assert_eq!(store.discard(&id("b"), fence(&store, 1)), Completion::Missing);
}

#[test]
fn a_file_that_may_still_be_written_to_is_removed_when_that_has_ended() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: record("a", None), first: None }]);
    // It has not made its file yet, and must not after the file's row is gone.
    let mut sink = store.append(&id("a"), fence(&store, 1), 0).unwrap();
    store.commit(&[Change::Delete { id: id("a"), fence: fence(&store, 2) }]);
    assert_eq!(store.reclaim(8), Ok(0));
    assert!(!store.needs_reclaim());
    sink.write(b"late").unwrap();
    drop(sink);
    assert!(store.needs_reclaim());
    assert_eq!(store.reclaim(8), Ok(1));
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn eventual_keeps_files_until_their_end_is_durable() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Eventual);
    store.commit(&[Change::Create { record: record("a", Some(4)), first: None }]);
    let sink = staged(&store, "a", 1, 0, b"abcd");
    store.commit(&[commit("a", fence(&store, 1), 0, 4, Some(&sink))]);
    drop(sink);
    store.flush().unwrap();
    assert!(!store.needs_flush());
    store.commit(&[Change::Delete { id: id("a"), fence: fence(&store, 1) }]);
    assert!(store.needs_flush());
    assert_eq!(store.reclaim(8), Ok(0));
    store.flush().unwrap();
    assert_eq!(store.reclaim(8), Ok(1));
}

#[test]
fn leftovers_are_found_by_the_next_opening() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        store.commit(&[Change::Create { record: record("a", Some(4)), first: None }]);
        drop(staged(&store, "a", 1, 0, b"abcd"));
        store.commit(&[Change::Delete { id: id("a"), fence: fence(&store, 1) }]);
        disk.crash(Crash::Process);
        drop(store);
        let store = open(&disk, durability);
        assert!(store.needs_reclaim());
        assert_eq!(store.reclaim(8), Ok(1));
        assert_eq!(disk.list("data").unwrap(), [""; 0]);
    }
}

#[test]
fn numbers_rise_with_each_opening() {
    let disk = SimDisk::new();
    let mut last = Fence(0);
    for crash in [Crash::Process, Crash::Machine(1), Crash::Machine(2)] {
        let store = open(&disk, Durability::Strict);
        assert!(store.first_fence() > last);
        last = fence(&store, 1_000);
        disk.crash(crash);
    }
}

#[test]
fn a_failed_sync_is_the_end_of_the_sink() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    store.commit(&[Change::Create { record: record("a", None), first: None }]);
    let mut sink = store.append(&id("a"), fence(&store, 1), 0).unwrap();
    sink.write(b"lost").unwrap();
    let next = disk.calls();
    disk.fail(next..next + 1, Fault::Io);
    assert_eq!(sink.syncer().sync(None), Err(Failure::Io));
    assert_eq!(sink.syncer().sync(None), Err(Failure::Io), "the disk would say yes now, and lie");
    assert_eq!(sink.write(b"more").unwrap_err().failure, Failure::Io);
    let tried = store.commit(&[commit("a", fence(&store, 1), 0, 4, Some(&sink))]);
    assert_eq!(tried, [Completion::Failed(Failure::Io)]);
    assert!(store.trouble().is_some());
}

#[test]
fn eventual_takes_back_what_a_flush_could_not_sync() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Eventual);
    store.commit(&[Change::Create { record: record("a", None), first: None }]);
    let mut sink = staged(&store, "a", 1, 0, b"kept");
    store.commit(&[commit("a", fence(&store, 1), 0, 4, Some(&sink))]);
    store.flush().unwrap();
    sink.write(b"lost").unwrap();
    sink.syncer().sync(None).unwrap();
    store.commit(&[commit("a", fence(&store, 1), 4, 8, Some(&sink))]);
    let next = disk.calls();
    disk.fail(next..next + 1, Fault::Evict);
    assert_eq!(store.flush_data(), Err(Failure::Io));
    store.flush().unwrap();
    assert_eq!(store.load(&id("a")).unwrap().unwrap().offset, 4);
    drop(sink);
    disk.crash(Crash::Machine(7));
    drop(store);
    assert_eq!(body(&open(&disk, Durability::Eventual), "a"), b"kept");
}

#[test]
fn what_could_not_be_synced_together_is_learned_file_by_file() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Eventual);
    store.commit(&[
        Change::Create { record: record("a", None), first: None },
        Change::Create { record: record("b", None), first: None },
    ]);
    let (a, b) = (staged(&store, "a", 1, 0, b"abcd"), staged(&store, "b", 2, 0, b"abcd"));
    store.commit(&[
        commit("a", fence(&store, 1), 0, 4, Some(&a)),
        commit("b", fence(&store, 2), 0, 4, Some(&b)),
    ]);
    let next = disk.calls();
    // The call for both, then that for one of them.
    disk.fail(next..next + 2, Fault::Evict);
    assert_eq!(store.flush_data(), Err(Failure::Io));
    store.flush().unwrap();
    let offset = |name| store.load(&id(name)).unwrap().unwrap().offset;
    let mut offsets = [("a", offset("a")), ("b", offset("b"))];
    offsets.sort_by_key(|(_, offset)| *offset);
    let [(_, 0), (kept, 4)] = offsets else { panic!("{offsets:?}") };
    drop((a, b));
    disk.crash(Crash::Machine(11));
    drop(store);
    assert_eq!(body(&open(&disk, Durability::Eventual), kept), b"abcd");
}

#[test]
fn one_sync_for_all_is_enough_for_each() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Eventual);
    store.commit(&[
        Change::Create { record: record("a", None), first: None },
        Change::Create { record: record("b", None), first: None },
    ]);
    let (a, b) = (staged(&store, "a", 1, 0, b"abcd"), staged(&store, "b", 2, 0, b"efgh"));
    store.commit(&[
        commit("a", fence(&store, 1), 0, 4, Some(&a)),
        commit("b", fence(&store, 2), 0, 4, Some(&b)),
    ]);
    let next = disk.calls();
    store.flush_data().unwrap();
    assert_eq!(disk.calls(), next + 1);
    store.flush().unwrap();
    drop((a, b));
    disk.crash(Crash::Machine(13));
    drop(store);
    let store = open(&disk, Durability::Eventual);
    assert_eq!((body(&store, "a"), body(&store, "b")), (b"abcd".to_vec(), b"efgh".to_vec()));
}

#[test]
fn strict_takes_over_what_eventual_left_in_its_log() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Eventual);
    store.commit(&[Change::Create { record: record("a", Some(4)), first: None }]);
    let sink = staged(&store, "a", 1, 0, b"abcd");
    store.commit(&[commit("a", fence(&store, 1), 0, 4, Some(&sink))]);
    disk.crash(Crash::Process);
    drop((sink, store));
    let store = open(&disk, Durability::Strict);
    disk.crash(Crash::Machine(3));
    drop(store);
    assert_eq!(body(&open(&disk, Durability::Strict), "a"), b"abcd");
}

#[test]
fn a_full_disk_takes_commits_and_deletes_and_recovers() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        let names: Vec<String> = (0..300).map(|n| format!("upload-{n:04}")).collect();
        let creations: Vec<_> =
            names.iter().map(|n| Change::Create { record: record(n, Some(100)), first: None }).collect();
        store.commit(&creations);
        let mut sinks: Vec<_> = names.iter().map(|name| staged(&store, name, 1, 0, &[7; 60])).collect();
        disk.set_free(Some(0));

        // Each in a group of its own: every commit needs new pages while the last one's are still held.
        let mut refused = false;
        for n in 0..200 {
            refused |= store
                .commit(&[Change::Create { record: record(&format!("more-{n}"), None), first: None }])
                == [Completion::Failed(Failure::NoSpace)];
            // The log has its space; the records want more.
            let _ = store.flush();
        }
        assert!(refused, "{durability:?}: the disk is full");
        assert!(store.is_full());
        let first = &names[0];
        assert_eq!(sinks[0].write(b"x").unwrap_err().failure, Failure::NoSpace);
        assert_eq!(
            store.append(&id(first), fence(&store, 1), 0).unwrap_err(),
            Rejected::Failed(Failure::NoSpace)
        );
        for (name, sink) in names.iter().zip(&sinks) {
            let done = store.commit(&[commit(name, fence(&store, 1), 0, 60, Some(sink))]);
            assert_eq!(
                done,
                [Completion::Committed { offset: 60 }],
                "{durability:?}: {name}: {:?}",
                store.trouble()
            );
        }
        drop(sinks);
        for name in &names[1..] {
            assert!(store.delete(&id(name)).unwrap(), "{durability:?}: {name}");
        }
        // The files gave back enough for the reserve, and it comes first.
        assert!(!store.is_full());
        assert_eq!(
            store.commit(&[Change::Create { record: record("new", None), first: None }]),
            [Completion::Created]
        );
        assert_eq!(body(&store, first), [7; 60]);
        drop(staged(&store, "new", 2, 0, b"fits"));
    }
}

#[test]
fn one_store_a_directory_and_none_made_by_looking() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    let second = Store::open_on(Arc::new(disk.clone()), &options(Durability::Strict));
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    drop(store);
    drop(open(&disk, Durability::Strict));
}

#[test]
fn uploads_are_listed_in_order_page_by_page() {
    let store = open(&SimDisk::new(), Durability::Strict);
    let creations: Vec<_> = ["c", "a", "d", "b"]
        .iter()
        .map(|name| Change::Create { record: record(name, None), first: None })
        .collect();
    store.commit(&creations);
    let names = |after: Option<&str>, limit| -> Vec<String> {
        let page = store.list(after.map(id).as_ref(), limit).unwrap();
        page.iter().map(|record| record.id.to_string()).collect()
    };
    assert_eq!(names(None, 3), ["a", "b", "c"]);
    assert_eq!(names(Some("c"), 3), ["d"]);
    assert_eq!(names(Some("d"), 3), [""; 0]);
}
