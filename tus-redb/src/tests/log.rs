//! Strict durability: one sync of the log a group, and the records follow.

use std::sync::Arc;

use tus_proto::Completion;

use super::{
    harness::{commit, id, options, record},
    inline::{bytes, create, offset, open, put, sink_of},
};
use crate::{
    Change, Disk, Durability, Mode, Options, Store,
    mutex::lock,
    sim::{Crash, Fault, SimDisk},
};

fn with_inline(disk: &SimDisk, log_bytes: u64) -> Store {
    let options = Options { inline_bytes: 16 << 10, log_bytes, ..options(Durability::Strict) };
    Store::open_on(Arc::new(disk.clone()), &options).unwrap()
}

#[test]
fn a_group_is_one_write_and_one_sync() {
    let disk = SimDisk::new();
    let store = with_inline(&disk, 1 << 20);
    for name in ["a", "b"] {
        create(&store, record(name, Some(600)));
        put(&store, name, 300);
    }
    let before = disk.calls();
    create(&store, record("c", Some(600)));
    assert_eq!(disk.calls() - before, 2);
    let (mut sink, fence) = sink_of(&store, "b", 1);
    sink.write(&bytes(300..600)).unwrap();
    sink.syncer().sync(Some(600)).unwrap();
    let before = disk.calls();
    let told = store.commit(&[commit("b", fence, 300, 600, Some(&sink))]);
    assert_eq!(told, [Completion::Committed { offset: 600 }]);
    assert_eq!(disk.calls() - before, 2);
}

#[test]
fn what_is_in_the_log_alone_survives_a_power_cut() {
    for seed in 0..32 {
        let disk = SimDisk::new();
        let store = with_inline(&disk, 1 << 20);
        for name in ["a", "b", "c"] {
            create(&store, record(name, None));
            put(&store, name, 300);
        }
        put(&store, "b", 600);
        assert!(store.needs_flush());
        disk.crash(Crash::Machine(seed));
        drop(store);
        let store = with_inline(&disk, 1 << 20);
        assert_eq!(["a", "b", "c"].map(|name| offset(&store, name)), [300, 600, 300], "seed {seed}");
        assert_eq!(store.verify().unwrap(), [], "seed {seed}");
    }
}

#[test]
fn the_log_stays_as_long_as_it_may_be() {
    let disk = SimDisk::new();
    let store = with_inline(&disk, 20_000);
    let half = |half| disk.open(half, Mode::Existing).unwrap().len().unwrap();
    let len = || disk.aside(|| half("log") + half("log-2"));
    let begun = len();
    for n in 0..100 {
        create(&store, record(&n.to_string(), None));
        put(&store, &n.to_string(), 2_000);
    }
    assert!(len() < begun + 40_000, "{} bytes, {begun} in the beginning", len());
    disk.crash(Crash::Machine(1));
    drop(store);
    let store = with_inline(&disk, 20_000);
    assert!((0..100).all(|n| offset(&store, &n.to_string()) == 2_000));
}

/// The first sectors of the log's halves.
fn headers(disk: &SimDisk) -> [Vec<u8>; 2] {
    disk.aside(|| {
        ["log", "log-2"].map(|half| {
            let mut bytes = vec![0; 512];
            let _ = disk.open(half, Mode::Existing).unwrap().read_at(&mut bytes, 0).unwrap();
            bytes
        })
    })
}

/// The group has failed for good, whatever can be read of its frame, and whatever the power does.
#[test]
fn a_log_that_can_not_be_synced_takes_nothing_before_a_checkpoint() {
    for fault in [Fault::Io, Fault::Evict] {
        for failing in 1..12 {
            for seed in 0..6 {
                for under_way in [false, true] {
                    fail_to_sync_the_log(fault, failing, seed, under_way);
                }
            }
        }
    }
}

/// The sync of a group fails, and so many calls in all; with `under_way` while a checkpoint is written that does not have
/// the group that was acknowledged last.
fn fail_to_sync_the_log(fault: Fault, failing: u64, seed: u64, under_way: bool) {
    let context =
        format!("{fault:?}, {failing} calls fail, seed {seed}, a checkpoint under way: {under_way}");
    let disk = SimDisk::new();
    let store = with_inline(&disk, 1 << 20);
    create(&store, record("a", None));
    if under_way {
        assert!(store.begin_flush().unwrap().is_some());
    }
    put(&store, "a", 300);
    let (before, half) = (headers(&disk), usize::from(!under_way));
    let sync = disk.calls() + 1;
    disk.fail(sync..sync + failing, fault);
    let told = store.commit(&[Change::Create { record: record("b", None), first: None }]);
    disk.heal();
    assert!(matches!(told[..], [Completion::Failed(_)]), "{context}");
    create(&store, record("c", None));
    assert!(!lock(&store.writer).log.as_ref().unwrap().is_torn(), "{context}");
    assert_eq!(store.load(&id("b")), Ok(None), "{context}");
    assert_ne!(headers(&disk)[half], before[half], "the other half has begun, {context}");
    disk.crash(Crash::Machine(seed));
    drop(store);
    let store = with_inline(&disk, 1 << 20);
    assert_eq!(store.load(&id("b")), Ok(None), "{context}");
    assert_eq!((offset(&store, "a"), offset(&store, "c")), (300, 0), "{context}");
    assert_eq!(store.verify().unwrap(), [], "{context}");
}

#[test]
fn what_was_written_strictly_is_there_whatever_durability_follows() {
    for (first, then) in [
        (Durability::Strict, Durability::Eventual),
        (Durability::Eventual, Durability::Strict),
        (Durability::Strict, Durability::Strict),
    ] {
        let disk = SimDisk::new();
        let store = open(&disk, first);
        create(&store, record("a", None));
        put(&store, "a", 300);
        disk.crash(if first == Durability::Strict { Crash::Machine(4) } else { Crash::Process });
        drop(store);
        let store = open(&disk, then);
        assert_eq!(offset(&store, "a"), 300);
        disk.crash(Crash::Machine(5));
        drop(store);
        assert_eq!(offset(&open(&disk, Durability::Strict), "a"), 300, "{first:?}, then {then:?}");
    }
}

/// Opening is rejected, as a later frame tells that the damaged one was synced; a repair keeps what was before it.
#[test]
fn of_a_damaged_log_a_repair_keeps_all_before_the_damage_and_says_what_is_lost() {
    for turned in [false, true] {
        let disk = SimDisk::new();
        let store = with_inline(&disk, 1 << 20);
        let first = lock(&store.writer).sequence + 1;
        for name in ["a", "b", "c", "d"] {
            create(&store, record(name, None));
        }
        if turned {
            // The checkpoint is begun, and not durable when the power goes.
            assert!(store.begin_flush().unwrap().is_some());
        }
        create(&store, record("e", None));
        disk.crash(Crash::Machine(7));
        drop(store);
        let third = nth_frame(&disk, 2);
        let file = disk.open("log", Mode::Existing).unwrap();
        crate::disk::write_all(&*file, b"?", third + 50).unwrap();
        drop(file);
        let options = options(Durability::Strict);
        let refused = Store::open_on(Arc::new(disk.clone()), &options).unwrap_err();
        assert!(matches!(refused, crate::OpenError::ForeignJournal { .. }), "{refused}");
        assert!(refused.to_string().contains("repair the store"), "{refused}");
        let (store, repair) = Store::salvage_on(Arc::new(disk.clone()), &options).unwrap();
        let remedy = repair.unwrap().remedy.unwrap();
        let (from, to) = (first + 2, Some(first + 4));
        let path = "/sim/aside/log".into();
        assert_eq!(remedy, crate::Remedy::Salvaged { kept: 2, from, to, path });
        assert!(remedy.to_string().contains(&format!("numbers {from} to {}", first + 4)), "{remedy}");
        let there = ["a", "b", "c", "d", "e"].map(|name| store.load(&id(name)).unwrap().is_some());
        assert_eq!(there, [true, true, false, false, false]);
        assert_eq!(store.verify().unwrap(), []);
        let mut copy = [0; 1];
        let _ = disk.open("aside/log", Mode::Existing).unwrap().read_at(&mut copy, third + 50).unwrap();
        assert_eq!(&copy, b"?");
        create(&store, record("c", None));
        disk.crash(Crash::Machine(8));
        drop(store);
        let store = Store::open_on(Arc::new(disk.clone()), &options).unwrap();
        assert!(store.load(&id("b")).unwrap().is_some() && store.load(&id("c")).unwrap().is_some());
    }
}

/// Where the frame begins that follows so many others in the first half.
fn nth_frame(disk: &SimDisk, n: usize) -> u64 {
    let file = disk.open("log", Mode::Existing).unwrap();
    (0..n).fold(512, |at, _| {
        let mut len = [0; 8];
        let _ = file.read_at(&mut len, at + 8).unwrap();
        (at + 32 + u64::from_le_bytes(len)).next_multiple_of(8)
    })
}
