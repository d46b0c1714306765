//! Whether a store can commit again.

use std::sync::Arc;

use tus_proto::{Completion, Failure};

use super::harness::{commit, id, options, record};
use crate::{
    Change, Durability, Store,
    sim::{Crash, Fault, SimDisk},
};

const BOTH: [Durability; 2] = [Durability::Strict, Durability::Eventual];

fn open(disk: &SimDisk, durability: Durability) -> Store {
    Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap()
}

#[test]
fn a_probe_fails_as_long_as_the_disk_does() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        assert_eq!(store.probe(), Ok(()));
        disk.fail(0..u64::MAX, Fault::Io);
        assert_eq!(store.probe(), Err(Failure::Io), "{durability:?}");
        assert_eq!(store.probe(), Err(Failure::Io), "{durability:?}");
        disk.heal();
        assert_eq!(store.probe(), Ok(()), "{durability:?}");
        assert_eq!(
            store.commit(&[Change::Create { record: record("a", None), first: None }]),
            [Completion::Created]
        );
    }
}

#[test]
fn a_probe_finds_space_that_has_come_back() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        disk.set_free(Some(0));
        for number in 0..200 {
            store
                .commit(&[Change::Create { record: record(&format!("upload-{number}"), None), first: None }]);
            let _ = store.flush();
        }
        assert!(store.is_full(), "{durability:?}");
        assert_eq!(store.probe(), Err(Failure::NoSpace), "{durability:?}");
        assert!(store.is_full());
        disk.set_free(None);
        assert_eq!(store.probe(), Ok(()), "{durability:?}");
        assert!(!store.is_full());
    }
}

/// A durable transaction takes all earlier ones with it: their bytes must be there first.
#[test]
fn a_probe_makes_no_record_durable_whose_bytes_are_not() {
    for durability in BOTH {
        for (seed, call) in (0..8).flat_map(|seed| (0..30).map(move |call| (seed, call))) {
            let disk = SimDisk::new();
            let store = open(&disk, durability);
            let fence = store.first_fence();
            store.commit(&[Change::Create { record: record("a", None), first: None }]);
            let mut sink = store.append(&id("a"), fence, 0).unwrap();
            sink.write(b"bytes").unwrap();
            sink.syncer().sync(None).unwrap();
            store.commit(&[commit("a", fence, 0, 5, Some(&sink))]);
            drop(sink);
            let next = disk.calls() + call;
            disk.fail(next..next + 1, Fault::Io);
            let probed = store.probe();
            disk.crash(Crash::Machine(seed));
            drop(store);
            let store = open(&disk, durability);
            let context = format!("{durability:?}, seed {seed}, call {call}: {probed:?}");
            assert_eq!(store.verify().unwrap(), [], "{context}");
            if probed.is_ok() && disk.faults_hit() == 0 {
                assert_eq!(store.load(&id("a")).unwrap().map(|record| record.offset), Some(5), "{context}");
            }
        }
    }
}
