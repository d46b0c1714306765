//! Uploads that are made together with their first bytes: one step in the log, and all as two steps would have made it.

use std::sync::Arc;

use tus_driver::FirstBytes;
use tus_proto::{Completion, Concat, Record};

use super::{
    costs::concat,
    harness::{commit, id, options, record},
    inline::{body, bytes, create, offset, put, sink_of},
};
use crate::{
    Change, Durability, Events, Options, Store,
    sim::{Crash, SimDisk},
};

const BOTH: [Durability; 2] = [Durability::Strict, Durability::Eventual];
const EVENTS: Events = Events { created: true, completed: true, terminated: true };

fn open(disk: &SimDisk, durability: Durability) -> Store {
    let options = Options { inline_bytes: 1_000, events: EVENTS, ..options(durability) };
    Store::open_on(Arc::new(disk.clone()), &options).unwrap()
}

fn first(len: u64) -> Option<FirstBytes> {
    Some(bytes(0..len).into())
}

fn create_with(store: &Store, record: Record, len: u64) {
    let change = Change::Create { record, first: first(len) };
    assert_eq!(store.commit(&[change]), [Completion::Created]);
}

fn part(name: &str, length: u64) -> Record {
    Record { concat: Some(Concat::Partial), ..record(name, Some(length)) }
}

#[test]
fn it_is_one_write_and_one_sync() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    create_with(&store, record("a", Some(300)), 300);
    let before = disk.calls();
    create_with(&store, record("b", Some(300)), 300);
    assert_eq!(disk.calls() - before, 2);
}

#[test]
fn it_is_what_two_steps_make() {
    for durability in BOTH {
        let (disk, two) = (SimDisk::new(), SimDisk::new());
        let (store, other) = (open(&disk, durability), open(&two, durability));
        for (record, len) in [
            (record("whole", Some(300)), 300),
            (record("begun", Some(9_000)), 200),
            (record("deferred", None), 100),
            (part("part", 50), 50),
            (part("half", 50), 20),
        ] {
            let name = record.id.as_str().to_owned();
            create(&other, record.clone());
            let finishes = record.length == Some(len);
            let (mut sink, fence) = sink_of(&other, &name, 0);
            sink.write(&bytes(0..len)).unwrap();
            sink.syncer().sync(finishes.then_some(len)).unwrap();
            let told = other.commit(&[commit(&name, fence, 0, len, Some(&sink))]);
            assert_eq!(told, [Completion::Committed { offset: len }]);
            create_with(&store, record, len);
        }
        for (store, disk) in [(&store, &disk), (&other, &two)] {
            store.flush().unwrap();
            disk.crash(Crash::Machine(3));
        }
        let (store, other) = (open(&disk, durability), open(&two, durability));
        for name in ["whole", "begun", "deferred", "part", "half"] {
            assert_eq!(store.load(&id(name)), other.load(&id(name)), "{name}");
            assert_eq!(body(&store, name), body(&other, name), "{name}");
        }
        let (events, expected) = (store.outbox(0, 99).unwrap(), other.outbox(0, 99).unwrap());
        let told = |events: &[crate::OutboxEvent]| {
            events.iter().map(|event| (event.kind, event.record.clone())).collect::<Vec<_>>()
        };
        assert_eq!(told(&events), told(&expected));
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn an_id_that_is_there_is_not_touched() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    create_with(&store, record("a", Some(300)), 300);
    let again = Change::Create { record: record("a", Some(20)), first: first(20) };
    assert_eq!(store.commit(&[again]), [Completion::Exists]);
    assert_eq!(offset(&store, "a"), 300);
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn it_grows_on_in_the_records_and_out_of_them() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        create_with(&store, record("a", None), 100);
        put(&store, "a", 400);
        assert_eq!(body(&store, "a"), bytes(0..400));
        put(&store, "a", 3_000);
        store.flush_data().unwrap();
        store.flush().unwrap();
        disk.crash(Crash::Machine(1));
        drop(store);
        let store = open(&disk, durability);
        assert_eq!(body(&store, "a"), bytes(0..3_000));
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn a_final_is_made_of_such_parts() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    create_with(&store, part("a", 50), 50);
    create_with(&store, part("b", 50), 20);
    assert!(matches!(
        store.commit(&[concat("f", &["a".to_owned(), "b".to_owned()])])[..],
        [Completion::Concatenated(_)]
    ));
    let (mut sink, fence) = sink_of(&store, "b", 0);
    sink.write(&bytes(20..50)).unwrap();
    sink.syncer().sync(Some(50)).unwrap();
    let told = store.commit(&[commit("b", fence, 20, 50, Some(&sink))]);
    assert_eq!(told, [Completion::Committed { offset: 50 }]);
    assert_eq!(body(&store, "f"), [bytes(0..50), bytes(0..50)].concat());
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_crash_at_any_call_leaves_all_of_it_or_nothing() {
    for durability in BOTH {
        // The machine dies at this call after the first upload was made, if at any.
        let run = |disk: &SimDisk, dies: Option<u64>, short: bool| {
            let store = open(disk, durability);
            create_with(&store, record("before", Some(60)), 60);
            let before = disk.calls();
            if let Some(call) = dies {
                disk.write_short(short);
                disk.die_at(before + call);
            }
            let change = Change::Create { record: record("a", Some(300)), first: first(300) };
            let created = store.commit(&[change]) == [Completion::Created];
            let flushed = store.flush().is_ok();
            (disk.calls() - before, created, created && flushed)
        };
        let (calls, ..) = run(&SimDisk::new(), None, false);
        assert!(calls > 4, "{calls}");
        for call in 0..calls {
            for (short, crash) in [
                (false, Crash::Process),
                (true, Crash::Process),
                (false, Crash::Machine(call)),
                (true, Crash::Machine(call + 9)),
            ] {
                let context = format!("{durability:?}, {crash:?} at call {call}, short {short}");
                let disk = SimDisk::new();
                let (_, created, durable) = run(&disk, Some(call), short);
                disk.crash(crash);
                disk.heal();
                let store = open(&disk, durability);
                let promised = match (durability, crash) {
                    (Durability::Eventual, Crash::Machine(_)) => durable,
                    _ => created,
                };
                match store.load(&id("a")).unwrap() {
                    Some(record) => {
                        assert_eq!(record.offset, 300, "{context}");
                        assert_eq!(body(&store, "a"), bytes(0..300), "{context}");
                    }
                    None => assert!(!promised, "{context}"),
                }
                assert_eq!(store.verify().unwrap(), [], "{context}");
            }
        }
    }
}

#[test]
fn memory_for_it_is_counted() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    assert!(store.reserve(1_001).is_none(), "it would not go into the records");
    let mut reserved = Vec::new();
    while let Some(first) = store.reserve(1_000) {
        reserved.push(first);
        assert!(reserved.len() < 1_000, "there is no end to it");
    }
    assert!(reserved.len() >= 16, "{}", reserved.len());
    reserved.pop();
    assert!(store.reserve(1_000).is_some());
    drop(reserved);
    create_with(&store, record("a", Some(300)), 300);
}
