//! A disk that fails, or is full, at every call.

use std::sync::Arc;

use tus_proto::{Completion, Failure, Fence, Record, WallTime};

use super::{
    crashes::SMALL_BYTES,
    harness::{World, commit, id, options, record},
};
use crate::{
    Change, Durability, Options, Store,
    sim::{Crash, Fault, SimDisk},
};

fn fail_everywhere(durability: Durability, fault: Fault, how_many: u64) {
    for inline_bytes in SMALL_BYTES {
        fail_everywhere_with(inline_bytes, durability, fault, how_many);
    }
}

fn fail_everywhere_with(inline_bytes: usize, durability: Durability, fault: Fault, how_many: u64) {
    let calls = {
        let mut world = World::new(durability, inline_bytes);
        world.run_script();
        world.disk.calls()
    };
    for at in 0..calls {
        let to = at + how_many;
        let context = format!("{durability:?}, {fault:?} at calls {at} to {to}, small {inline_bytes}");
        let mut world = World::new(durability, inline_bytes);
        world.disk.fail(at..to, fault);
        world.run_script();
        world.disk.heal();
        if world.store.is_none() {
            world.run_script();
        }
        world.check_works(&context);
        world.crash_and_check(Crash::Machine(at), &context);
    }
}

#[test]
fn a_lack_of_descriptors_is_told_apart_from_a_failing_disk_and_passes() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap();
        let fence = Fence(store.first_fence().0 + 1);
        for name in ["a", "b"] {
            assert_eq!(
                store.commit(&[Change::Create { record: record(name, Some(5)), first: None }]),
                [Completion::Created]
            );
        }
        disk.limit_open_files(Some(disk.open_files()));
        let mut sink = store.append(&id("a"), fence, 0).unwrap();
        let error = sink.write(b"hello").unwrap_err();
        assert_eq!((error.written, error.failure), (0, Failure::Unavailable), "{durability:?}");
        let told = store.trouble().unwrap();
        assert!(told.contains("raise the limit of open files"), "{told}");
        // What needs no file goes on.
        assert_eq!(store.commit(&[Change::Delete { id: id("b"), fence }]), [Completion::Deleted]);
        disk.limit_open_files(None);
        sink.write(b"hello").unwrap();
        sink.syncer().sync(None).unwrap();
        let committed = store.commit(&[commit("a", fence, 0, 5, Some(&sink))]);
        assert_eq!(committed, [Completion::Committed { offset: 5 }]);
        assert_eq!(disk.faults_hit(), 0);
    }
}

#[test]
fn strict_survives_one_failing_call() {
    fail_everywhere(Durability::Strict, Fault::Io, 1);
}

#[test]
fn strict_survives_a_sync_that_loses_what_it_had() {
    fail_everywhere(Durability::Strict, Fault::Evict, 1);
}

#[test]
fn strict_survives_a_disk_that_fails_for_a_while() {
    fail_everywhere(Durability::Strict, Fault::Io, 40);
}

#[test]
fn eventual_survives_one_failing_call() {
    fail_everywhere(Durability::Eventual, Fault::Io, 1);
}

#[test]
fn eventual_survives_a_sync_that_loses_what_it_had() {
    fail_everywhere(Durability::Eventual, Fault::Evict, 1);
}

#[test]
fn eventual_survives_a_disk_that_fails_for_a_while() {
    fail_everywhere(Durability::Eventual, Fault::Io, 40);
}

#[test]
fn space_may_run_out_for_a_call_or_for_a_while() {
    for durability in [Durability::Strict, Durability::Eventual] {
        fail_everywhere(durability, Fault::Full, 1);
        fail_everywhere(durability, Fault::Full, 60);
    }
}

fn open(disk: &SimDisk, durability: Durability) -> Store {
    Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap()
}

/// A file system may show what a failed sync has lost: that must not be taken for stored.
#[test]
fn what_is_told_after_a_failed_sync_is_on_the_disk() {
    let mut told = 0;
    for seed in 0..8 {
        for call in 0..60 {
            let disk = SimDisk::new();
            let store = open(&disk, Durability::Strict);
            let next = disk.calls() + call;
            disk.fail(next..next + 1, Fault::Io);
            let completion =
                store.commit(&[Change::Create { record: record("a", None), first: None }]).pop().unwrap();
            disk.crash(Crash::Machine(seed));
            drop(store);
            if completion == Completion::Created {
                told += 1;
                let found = open(&disk, Durability::Strict).load(&id("a")).unwrap();
                assert!(found.is_some(), "seed {seed}, call {call}");
            }
        }
    }
    assert!(told > 0, "some commits get through");
}

/// Closing makes the records durable, and must not where the bytes are not.
#[test]
fn closing_on_a_failing_disk_makes_no_record_durable_whose_bytes_are_not() {
    for seed in 0..8 {
        for call in 0..40 {
            let disk = SimDisk::new();
            let store = open(&disk, Durability::Eventual);
            let fence = store.first_fence();
            store.commit(&[Change::Create { record: record("a", None), first: None }]);
            let mut sink = store.append(&id("a"), fence, 0).unwrap();
            sink.write(b"bytes").unwrap();
            sink.syncer().sync(None).unwrap();
            store.commit(&[commit("a", fence, 0, 5, Some(&sink))]);
            drop(sink);
            let next = disk.calls() + call;
            disk.fail(next..next + 1, Fault::Io);
            drop(store);
            disk.crash(Crash::Machine(seed));
            let findings = open(&disk, Durability::Eventual).verify().unwrap();
            assert_eq!(findings, [], "seed {seed}, call {call}");
        }
    }
}

/// Nor does an opening that fails, when it is given up with what it has replayed.
#[test]
fn a_failing_opening_makes_no_record_durable_whose_bytes_are_not() {
    let mut failures = 0;
    for seed in 0..8 {
        for call in 0..100 {
            let disk = SimDisk::new();
            let store = open(&disk, Durability::Eventual);
            let fence = store.first_fence();
            store.commit(&[Change::Create { record: record("a", None), first: None }]);
            let mut sink = store.append(&id("a"), fence, 0).unwrap();
            sink.write(b"bytes").unwrap();
            sink.syncer().sync(None).unwrap();
            store.commit(&[commit("a", fence, 0, 5, Some(&sink))]);
            disk.crash(Crash::Process);
            drop((sink, store));
            let next = disk.calls() + call;
            disk.fail(next..next + 1, Fault::Io);
            // Whatever is read comes from the disk.
            let uncached = Options { cache_bytes: 0, ..options(Durability::Eventual) };
            let opened = Store::open_on(Arc::new(disk.clone()), &uncached);
            failures += u64::from(opened.is_err());
            drop(opened);
            disk.crash(Crash::Machine(seed));
            let findings = open(&disk, Durability::Eventual).verify().unwrap();
            assert_eq!(findings, [], "seed {seed}, call {call}");
        }
    }
    assert!(failures > 0, "every opening went well");
}

/// Whoever else writes to a file when one of its syncs fails has lost bytes, too, and no sync will say so again.
#[test]
fn a_failed_sync_ends_every_writer_of_the_file() {
    for fault in [Fault::Io, Fault::Evict] {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Eventual);
        let (first, second) = (store.first_fence(), Fence(store.first_fence().0 + 1));
        store.commit(&[Change::Create { record: record("a", None), first: None }]);
        let mut sink = store.append(&id("a"), first, 0).unwrap();
        sink.write(b"one").unwrap();
        sink.syncer().sync(None).unwrap();
        drop(sink);
        let mut sink = store.append(&id("a"), second, 0).unwrap();
        sink.write(b"other").unwrap();
        let next = disk.calls();
        disk.fail(next..next + 1, fault);
        assert!(store.flush_data().is_err());
        store.flush().unwrap();
        let late = commit("a", second, 0, 5, Some(&sink));
        assert!(sink.syncer().sync(None).is_err(), "{fault:?}");
        assert_eq!(store.commit(&[late]), [Completion::Failed(Failure::Io)], "{fault:?}");
        // The next one begins with what is on the disk.
        drop(sink);
        assert!(store.append(&id("a"), Fence(second.0 + 1), 0).unwrap().write(b"again").is_ok());
    }
}

/// What a process can still read may not be on the disk, and its own sync of it may succeed.
#[test]
fn the_next_process_knows_what_a_failed_sync_has_lost() {
    for (fault, after) in [(Fault::Io, Durability::Eventual), (Fault::Evict, Durability::Strict)] {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Eventual);
        let fence = store.first_fence();
        store.commit(&[Change::Create { record: record("a", None), first: None }]);
        let mut sink = store.append(&id("a"), fence, 0).unwrap();
        sink.write(b"safe").unwrap();
        sink.syncer().sync(None).unwrap();
        store.commit(&[commit("a", fence, 0, 4, Some(&sink))]);
        store.flush().unwrap();
        sink.write(b"lost").unwrap();
        sink.syncer().sync(None).unwrap();
        let told = store.commit(&[commit("a", fence, 4, 8, Some(&sink))]);
        assert_eq!(told, [Completion::Committed { offset: 8 }]);
        let next = disk.calls();
        disk.fail(next..next + 1, fault);
        assert!(store.flush_data().is_err());
        disk.crash(Crash::Process);
        drop((sink, store));
        let store = open(&disk, after);
        assert_eq!(store.load(&id("a")).unwrap().unwrap().offset, 4, "{fault:?}");
        store.flush().unwrap();
        drop(store);
        disk.crash(Crash::Machine(4));
        assert_eq!(open(&disk, after).verify().unwrap(), [], "{fault:?}");
    }
}

/// What was noted of one flush says nothing about the next.
#[test]
fn what_was_lost_once_is_not_lost_again() {
    for crash in [Crash::Process, Crash::Machine(1), Crash::Machine(2)] {
        for late in 0..40 {
            let disk = SimDisk::new();
            let store = open(&disk, Durability::Eventual);
            let fence = store.first_fence();
            store.commit(&[Change::Create { record: record("a", None), first: None }]);
            let mut sink = store.append(&id("a"), fence, 0).unwrap();
            sink.write(b"lost").unwrap();
            sink.syncer().sync(None).unwrap();
            store.commit(&[commit("a", fence, 0, 4, Some(&sink))]);
            let next = disk.calls();
            disk.fail(next..next + 1, Fault::Io);
            assert!(store.flush_data().is_err());
            disk.die_at(disk.calls() + late);
            let _ = store.flush();
            disk.crash(crash);
            drop((sink, store));

            let store = open(&disk, Durability::Eventual);
            let fence = store.first_fence();
            let Some(Record { offset, .. }) = store.load(&id("a")).unwrap() else { continue };
            let mut sink = store.append(&id("a"), fence, offset).unwrap();
            sink.write(b"kept").unwrap();
            sink.syncer().sync(None).unwrap();
            let to = offset + 4;
            let told = store.commit(&[commit("a", fence, offset, to, Some(&sink))]);
            assert_eq!(told, [Completion::Committed { offset: to }]);
            store.flush().unwrap();
            assert_eq!(store.load(&id("a")).unwrap().unwrap().offset, to, "{crash:?} at {late}");
        }
    }
}

#[test]
fn a_sweep_goes_on_by_itself_when_the_disk_is_well_again() {
    let expired = WallTime::from_micros(9);
    let mut failures = 0;
    for at in 0..40 {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Strict);
        let mortal = Record { expires: Some(expired), ..record("a", Some(5)) };
        assert_eq!(store.commit(&[Change::Create { record: mortal, first: None }]), [Completion::Created]);
        drop(store);
        // Whatever is read comes from the disk.
        let uncached = Options { cache_bytes: 0, ..options(Durability::Strict) };
        let store = Store::open_on(Arc::new(disk.clone()), &uncached).unwrap();
        let from = disk.calls() + at;
        disk.fail(from..from + 1, Fault::Io);
        let tried = store.sweep(expired, 64);
        disk.heal();
        failures += u64::from(tried.is_err());
        let done = tried.map_or(0, |swept| swept.expired);
        let swept = store.sweep(expired, 64).map(|swept| swept.expired);
        assert_eq!(swept, Ok(1 - done), "call {at}");
    }
    assert!(failures > 0, "no look into the index has failed");
}

#[test]
fn nobody_is_refused_for_what_was_not_committed() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let mut failures = 0;
        for at in 0..20 {
            let disk = SimDisk::new();
            let store = open(&disk, durability);
            let from = disk.calls() + at;
            disk.fail(from..from + 1, Fault::Io);
            let twice = || Change::Create { record: record("a", Some(5)), first: None };
            let told = store.commit(&[Change::Forget { id: id("b") }, twice(), twice()]);
            disk.heal();
            let failed = Completion::Failed(Failure::Io);
            if told[1..] == [failed.clone(), failed] {
                failures += 1;
            } else {
                assert_eq!(told[1..], [Completion::Created, Completion::Exists], "{durability:?}, call {at}");
            }
        }
        assert!(failures > 0, "{durability:?}: no call has failed");
    }
}
