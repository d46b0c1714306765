//! Bodies that lie in the records where something goes wrong meanwhile: syncs fail, commits and writers come late.

use std::sync::Arc;

use tus_proto::{Completion, Failure, Fence};

use super::{
    harness::{commit, id, options, record},
    inline::{
        BOTH, LIMIT, body, bytes, check_in_file, create, entries, extents, files, offset, open, put, reopen,
        sink_of,
    },
};
use crate::{
    Change, Durability, Options, Sink, Store,
    sim::{Crash, Fault, SimDisk},
};

/// An upload of which 600 bytes are in the records, durable or not, and which has outgrown them since.
fn spilled(disk: &SimDisk, flushed: bool) -> Store {
    let store = open(disk, Durability::Eventual);
    create(&store, record("a", None));
    put(&store, "a", 600);
    if flushed {
        store.flush().unwrap();
    }
    put(&store, "a", 5_000);
    store
}

/// It can outgrow the records once more, and is whole then.
fn outgrow_again(store: Store, disk: &SimDisk) {
    put(&store, "a", 800);
    assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..800), vec![800]));
    put(&store, "a", 5_500);
    store.flush().unwrap();
    let store = reopen(store, disk, Crash::Machine(3), Durability::Eventual);
    check_in_file(&store, disk, "a", 5_500);
}

#[test]
fn where_the_sync_of_its_file_fails_it_falls_back_to_what_is_in_the_records() {
    for (fault, flushed) in [(Fault::Io, true), (Fault::Evict, true), (Fault::Evict, false)] {
        for dies in [false, true] {
            let disk = SimDisk::new();
            let mut store = spilled(&disk, flushed);
            let next = disk.calls();
            disk.fail(next..next + 1, fault);
            assert!(store.flush_data().is_err());
            if dies {
                store = reopen(store, &disk, Crash::Process, Durability::Eventual);
            }
            store.flush().unwrap();
            assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..600), vec![600]));
            assert!(extents(&store, "a")[0].in_records);
            assert_eq!(store.verify().unwrap(), []);
            outgrow_again(store, &disk);
        }
    }
}

/// It has a file again by then, of which nothing is committed.
#[test]
fn what_fell_back_and_stays_small_leaves_no_file() {
    let disk = SimDisk::new();
    let store = spilled(&disk, true);
    let next = disk.calls();
    disk.fail(next..next + 1, Fault::Io);
    assert!(store.flush_data().is_err());
    store.flush().unwrap();
    assert_eq!(files(&disk).len(), 1);
    let (mut sink, fence) = sink_of(&store, "a", 1);
    sink.write(&bytes(600..900)).unwrap();
    sink.syncer().sync(Some(900)).unwrap();
    let last = Change::Commit {
        id: id("a"),
        fence,
        from: 600,
        to: 900,
        length: Some(900),
        expires: None,
        finish: true,
        syncer: Some(sink.syncer()),
    };
    assert_eq!(store.commit(&[last]), [Completion::Committed { offset: 900 }]);
    assert_eq!((body(&store, "a"), files(&disk)), (bytes(0..900), vec![]));
}

/// The process that comes next syncs what it finds, and may be the one that fails.
#[test]
fn where_a_sync_fails_at_the_opening_as_well() {
    let mut fell_back = 0;
    for call in 0..200 {
        let disk = SimDisk::new();
        let store = spilled(&disk, true);
        disk.crash(Crash::Process);
        drop(store);
        let next = disk.calls() + call;
        disk.fail(next..next + 1, Fault::Evict);
        let options = Options { inline_bytes: LIMIT as usize, ..options(Durability::Eventual) };
        drop(Store::open_on(Arc::new(disk.clone()), &options));
        disk.heal();
        disk.crash(Crash::Machine(call));
        let store = open(&disk, Durability::Eventual);
        if offset(&store, "a") == 600 {
            fell_back += 1;
            assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..600), vec![600]), "call {call}");
            outgrow_again(store, &disk);
        } else {
            check_in_file(&store, &disk, "a", 5_000);
        }
    }
    assert!(fell_back > 0, "no sync has failed");
}

/// What was synced while it was small may be committed after the sink has gone on in the file.
#[test]
fn what_is_committed_late_is_where_the_records_say() {
    for (durability, crash) in
        [(Durability::Strict, Crash::Machine(1)), (Durability::Eventual, Crash::Process)]
    {
        for steps in 1..=3 {
            let disk = SimDisk::new();
            let store = open(&disk, durability);
            create(&store, record("a", None));
            put(&store, "a", 100);
            let (mut sink, fence) = sink_of(&store, "a", 0);
            sink.write(&bytes(100..600)).unwrap();
            sink.syncer().sync(None).unwrap();
            sink.write(&bytes(600..3_000)).unwrap();
            let change = |from, to| [commit("a", fence, from, to, Some(&sink))];
            assert_eq!(
                store.commit(&change(100, 3_000)),
                [Completion::Failed(Failure::Io)],
                "it was not synced"
            );
            assert_eq!(store.commit(&change(100, 600)), [Completion::Committed { offset: 600 }]);
            assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..600), vec![600]));
            if steps > 1 {
                sink.syncer().sync(None).unwrap();
                assert_eq!(store.commit(&change(600, 2_000)), [Completion::Committed { offset: 2_000 }]);
                assert_eq!(body(&store, "a"), bytes(0..2_000));
            }
            if steps > 2 {
                assert_eq!(store.commit(&change(2_000, 3_000)), [Completion::Committed { offset: 3_000 }]);
            }
            let end = [600, 2_000, 3_000][steps - 1];
            drop(sink);
            let store = reopen(store, &disk, crash, durability);
            assert_eq!(body(&store, "a"), bytes(0..end));
            assert_eq!(extents(&store, "a")[0].in_records, end == 600);
            // What is after the offset, in a file or nowhere, is nothing.
            put(&store, "a", 4_000);
            store.flush().unwrap();
            check_in_file(&store, &disk, "a", 4_000);
        }
    }
}

/// The same, where the first commit comes when all is in the file and synced.
#[test]
fn what_is_in_the_file_by_then_is_committed_there() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        create(&store, record("a", None));
        let (mut sink, fence) = sink_of(&store, "a", 0);
        sink.write(&bytes(0..600)).unwrap();
        sink.syncer().sync(None).unwrap();
        sink.write(&bytes(600..3_000)).unwrap();
        sink.syncer().sync(None).unwrap();
        for (from, to) in [(0, 600), (600, 3_000)] {
            let told = store.commit(&[commit("a", fence, from, to, Some(&sink))]);
            assert_eq!(told, [Completion::Committed { offset: to }]);
            assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..to), vec![]));
        }
        store.flush().unwrap();
        drop(sink);
        let store = reopen(store, &disk, Crash::Machine(2), durability);
        check_in_file(&store, &disk, "a", 3_000);
    }
}

#[test]
fn an_outgrown_body_is_not_committed_before_its_file_has_a_durable_name() {
    for seed in 0..8 {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Strict);
        create(&store, record("a", None));
        put(&store, "a", 600);
        let (mut sink, fence) = sink_of(&store, "a", 0);
        sink.write(&bytes(600..3_000)).unwrap();
        sink.syncer().sync(None).unwrap();
        let next = disk.calls();
        disk.fail(next..next + 1, Fault::Io);
        let last = [commit("a", fence, 600, 3_000, Some(&sink))];
        assert_eq!(store.commit(&last), [Completion::Failed(Failure::Io)]);
        assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..600), vec![600]));
        assert_eq!(store.commit(&last), [Completion::Committed { offset: 3_000 }]);
        drop(sink);
        let store = reopen(store, &disk, Crash::Machine(seed), Durability::Strict);
        check_in_file(&store, &disk, "a", 3_000);
    }
}

/// A file that was begun and whose bytes were never committed.
#[test]
fn a_file_that_is_not_needed_goes_with_the_upload() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        create(&store, record("a", Some(900)));
        put(&store, "a", 100);
        let (mut sink, fence) = sink_of(&store, "a", 0);
        sink.write(&[7; 2_000]).unwrap();
        drop(sink);
        assert_eq!(store.discard(&id("a"), fence), Completion::Discarded);
        put(&store, "a", 900);
        assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..900), vec![900]));
        store.flush().unwrap();
        assert_eq!(files(&disk).len(), 1);
        assert_eq!(store.verify().unwrap(), []);
        assert!(store.delete(&id("a")).unwrap());
        assert_eq!((files(&disk).len(), entries(&store)), (0, vec![]));
    }
}

#[test]
fn a_late_writer_changes_nothing_that_is_committed() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        create(&store, record("a", None));
        put(&store, "a", 100);
        let (mut late, old) = sink_of(&store, "a", 1);
        late.write(&[7; 50]).unwrap();
        late.syncer().sync(None).unwrap();
        let new = Fence(old.0 + 1);
        let fresh = Change::NewExtent { id: id("a"), fence: new, at: 100 };
        assert_eq!(store.commit(&[fresh]), [Completion::Committed { offset: 100 }]);
        let (mut sink, new) = sink_of(&store, "a", 2);
        sink.write(&bytes(100..600)).unwrap();
        sink.syncer().sync(None).unwrap();
        let refused = |sink: &Sink| store.commit(&[commit("a", old, 100, 150, Some(sink))]);
        assert_eq!(refused(&late), [Completion::Conflict { offset: 100 }]);
        let told = store.commit(&[commit("a", new, 100, 600, Some(&sink))]);
        assert_eq!(told, [Completion::Committed { offset: 600 }]);
        assert_eq!(late.write(&[7; 3_000]).map_err(|error| error.failure), Err(Failure::Fenced));
        assert_eq!(refused(&late), [Completion::Conflict { offset: 600 }]);
        assert_eq!((body(&store, "a"), entries(&store)), (bytes(0..600), vec![100, 500]));
        drop((late, sink));
        store.flush().unwrap();
        let store = reopen(store, &disk, Crash::Machine(1), durability);
        assert_eq!(body(&store, "a"), bytes(0..600));
        assert!(store.delete(&id("a")).unwrap());
        assert_eq!((files(&disk).len(), entries(&store)), (0, vec![]));
    }
}

#[test]
fn staged_bytes_are_read_back_from_where_they_are() {
    let store = open(&SimDisk::new(), Durability::Strict);
    create(&store, record("a", None));
    put(&store, "a", 100);
    let (mut sink, _) = sink_of(&store, "a", 0);
    let check = |sink: &Sink, to: u64| {
        for from in [0, 50, 100, to - 1, to] {
            let mut seen: Vec<u8> = Vec::new();
            sink.syncer().read_back(from, to, &mut |extent| seen.extend(extent)).unwrap();
            assert_eq!(seen, bytes(from..to), "{from} to {to}");
        }
    };
    sink.write(&bytes(100..LIMIT)).unwrap();
    check(&sink, 600);
    check(&sink, LIMIT);
    assert!(!sink.syncer().needs_disk());
    sink.write(&bytes(LIMIT..3_000)).unwrap();
    assert!(sink.syncer().needs_disk());
    check(&sink, 600);
    check(&sink, 3_000);
    sink.syncer().sync(None).unwrap();
    check(&sink, 600);
    check(&sink, 3_000);
}

#[test]
fn whoever_has_lost_the_lock_makes_no_file_for_an_upload_that_is_complete() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        create(&store, record("a", Some(700)));
        put(&store, "a", 600);
        let (mut late, _) = sink_of(&store, "a", 1);
        let (mut sink, fence) = sink_of(&store, "a", 2);
        sink.write(&bytes(600..700)).unwrap();
        sink.syncer().sync(Some(700)).unwrap();
        let last = Change::Commit {
            id: id("a"),
            fence,
            from: 600,
            to: 700,
            length: None,
            expires: None,
            finish: true,
            syncer: Some(sink.syncer()),
        };
        assert_eq!(store.commit(&[last]), [Completion::Committed { offset: 700 }]);
        drop(sink);
        late.write(&bytes(600..900)).unwrap();
        assert_eq!(late.write(&bytes(900..2_000)).map_err(|error| error.failure), Err(Failure::Fenced));
        drop(late);
        assert_eq!((files(&disk), body(&store, "a")), (Vec::new(), bytes(0..700)));
    }
}
