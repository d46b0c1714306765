//! Groups that share a transaction, with eventual durability: whoever looks sees what they changed all the same.

use std::sync::Arc;

use tus_proto::{Completion, Fence, Record, WallTime};

use super::{
    harness::{commit, id, options, record},
    inline::{bytes, create, offset, open, put, sink_of},
};
use crate::{
    Change, Durability, Events, Options, Rejected, Store,
    mutex::lock,
    sim::{Crash, Fault, SimDisk},
};

fn is_open(store: &Store) -> bool {
    lock(&store.writer).batch.is_some()
}

fn body(store: &Store, name: &str) -> Vec<u8> {
    let (sink, _) = sink_of(store, name, 9);
    let mut all = Vec::new();
    sink.syncer().read_back(0, offset(store, name), &mut |bytes| all.extend_from_slice(bytes)).unwrap();
    let mut source = store.open_source(&id(name)).unwrap();
    let mut first = [0; 10];
    source.read_at(0, &mut first).unwrap();
    assert_eq!(first, all[..10]);
    assert!(is_open(store), "whoever looks does not end it");
    all
}

#[test]
fn what_a_batch_changed_is_told_before_it_is_committed() {
    let store = open(&SimDisk::new(), Durability::Eventual);
    create(&store, record("a", None));
    put(&store, "a", 300);
    create(&store, record("b", None));
    put(&store, "a", 600);
    assert_eq!(body(&store, "a"), bytes(0..600));
    assert_eq!(offset(&store, "b"), 0);
    store.drop_view();
    assert_eq!(body(&store, "a"), bytes(0..600));
    store.flush().unwrap();
    assert!(!is_open(&store));
    assert_eq!(offset(&store, "a"), 600);
}

#[test]
fn a_batch_is_committed_when_it_has_become_large() {
    let options = Options { inline_bytes: 60_000, reserve_bytes: 8 << 20, ..options(Durability::Eventual) };
    let store = Store::open_on(Arc::new(SimDisk::new()), &options).unwrap();
    for name in 0..63 {
        create(&store, record(&name.to_string(), None));
        assert!(is_open(&store), "{name}");
    }
    create(&store, record("last", None));
    assert!(!is_open(&store));
    for name in 0..5 {
        put(&store, &name.to_string(), 50_000);
        put(&store, &name.to_string(), 50_001);
        assert!(is_open(&store), "a body counts once, {name}");
    }
    put(&store, "5", 50_000);
    assert!(!is_open(&store));
    assert_eq!((offset(&store, "4"), offset(&store, "5"), offset(&store, "last")), (50_001, 50_000, 0));
}

#[test]
fn what_is_no_row_is_told_as_well() {
    let store = open(&SimDisk::new(), Durability::Eventual);
    store.keep_events(Events { created: false, completed: true, terminated: false });
    for name in ["a", "b"] {
        let expires = Some(WallTime::from_micros(7));
        create(&store, Record { expires, ..record(name, Some(10)) });
    }
    let delete = Change::Delete { id: id("a"), fence: Fence(u64::MAX) };
    assert_eq!(store.commit(&[delete]), [Completion::Deleted]);
    assert_eq!(store.look_up(&id("a")), Err(Rejected::Missing));
    assert_eq!(store.sweep(WallTime::from_micros(8), 8).unwrap().expired, 1);
    assert_eq!(store.look_up(&id("b")), Err(Rejected::Gone));
    create(&store, record("c", Some(10)));
    assert_eq!(store.outbox_len().unwrap(), 0);
    put(&store, "c", 10);
    assert_eq!(store.outbox_len().unwrap(), 1);
}

#[test]
fn a_group_that_fails_takes_none_along_that_are_in_the_same_batch() {
    for fault in [Fault::Io, Fault::Full] {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Eventual);
        create(&store, record("a", None));
        put(&store, "a", 600);
        let (mut sink, fence) = sink_of(&store, "a", 1);
        sink.write(&bytes(600..700)).unwrap();
        sink.syncer().sync(None).unwrap();
        disk.fail(disk.calls()..u64::MAX, fault);
        assert!(matches!(
            store.commit(&[commit("a", fence, 600, 700, Some(&sink))])[..],
            [Completion::Failed(_)]
        ));
        disk.heal();
        drop(sink);
        create(&store, record("b", None));
        assert_eq!((offset(&store, "a"), offset(&store, "b")), (600, 0), "{fault:?}");
        store.flush().unwrap();
        disk.crash(Crash::Machine(1));
        drop(store);
        let store = open(&disk, Durability::Eventual);
        assert_eq!((offset(&store, "a"), offset(&store, "b")), (600, 0), "{fault:?}");
        assert_eq!(store.verify().unwrap(), []);
    }
}
