//! Strict durability: one sync of the log a group, and the records follow.

use std::sync::Arc;

use tus_proto::Completion;

use super::{
    harness::{commit, id, options, record},
    inline::{bytes, create, offset, open, put, sink_of},
};
use crate::{
    Change, Disk, Durability, Mode, Options, Store,
    sim::{Crash, Fault, SimDisk},
    store::lock,
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
    let len = || disk.aside(|| disk.open("log", Mode::Existing).unwrap().len().unwrap());
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

/// The group has failed for good, whatever can be read of its frame, and whatever the power does.
#[test]
fn a_log_that_can_not_be_synced_takes_nothing_before_a_checkpoint() {
    for fault in [Fault::Io, Fault::Evict] {
        for failing in 1..12 {
            for seed in 0..6 {
                let context = format!("{fault:?}, {failing} calls fail, seed {seed}");
                let disk = SimDisk::new();
                let store = with_inline(&disk, 1 << 20);
                create(&store, record("a", None));
                put(&store, "a", 300);
                let sync = disk.calls() + 1;
                disk.fail(sync..sync + failing, fault);
                let told = store.commit(&[Change::Create(record("b", None))]);
                disk.heal();
                assert!(matches!(told[..], [Completion::Failed(_)]), "{context}");
                create(&store, record("c", None));
                assert!(!lock(&store.writer).log.as_ref().unwrap().is_torn(), "{context}");
                assert_eq!(store.load(&id("b")), Ok(None), "{context}");
                disk.crash(Crash::Machine(seed));
                drop(store);
                let store = with_inline(&disk, 1 << 20);
                assert_eq!(store.load(&id("b")), Ok(None), "{context}");
                assert_eq!((offset(&store, "a"), offset(&store, "c")), (300, 0), "{context}");
                assert_eq!(store.verify().unwrap(), [], "{context}");
            }
        }
    }
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
