//! Finished uploads that expire: after their time, and never before somebody has taken note of the event that tells of them.

use std::{sync::Arc, time::Duration};

use tus_proto::{Completion, Concat, Record, WallTime};

use super::harness::{commit, id, options, record};
use crate::{
    Change, Durability, Events, ListQuery, Options, Sort, Store, Swept, UploadState,
    sim::{Crash, SimDisk},
};

const EXPIRY: Duration = Duration::from_secs(100);

fn at(seconds: u64) -> WallTime {
    WallTime::from_micros(seconds * 1_000_000)
}

fn open_with(disk: &SimDisk, durability: Durability, completed: bool) -> Option<Store> {
    let events = Events { completed, ..Events::default() };
    let options = Options { finished_expiry: Some(EXPIRY), events, inline_bytes: 4, ..options(durability) };
    Store::open_on(Arc::new(disk.clone()), &options).ok()
}

fn open(disk: &SimDisk, durability: Durability) -> Store {
    open_with(disk, durability, false).unwrap()
}

/// Makes an upload of these bytes, of as many as it is to have.
fn finish(store: &Store, record: Record, bytes: &[u8]) -> Option<()> {
    let name = record.id.to_string();
    let created = store.commit(&[Change::Create { record, first: None }]);
    if created != [Completion::Created] {
        return None;
    }
    let fence = store.first_fence();
    let mut sink = store.append(&id(&name), fence, 0).ok()?;
    sink.write(bytes).ok()?;
    sink.syncer().sync(None).ok()?;
    let change = commit(&name, fence, 0, bytes.len() as u64, Some(&sink));
    let expected = Completion::Committed { offset: bytes.len() as u64 };
    (store.commit(&[change]) == [expected]).then_some(())
}

fn there(store: &Store, names: &[&'static str]) -> Vec<&'static str> {
    names.iter().copied().filter(|name| store.load(&id(name)).unwrap().is_some()).collect()
}

#[test]
fn finished_uploads_go_after_their_time_and_parts_and_unfinished_ones_do_not() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let store = open(&SimDisk::new(), durability);
        store.tell_time(at(1_000));
        finish(&store, record("file", Some(10)), b"0123456789").unwrap();
        finish(&store, record("small", Some(3)), b"012").unwrap();
        store.commit(&[Change::Create { record: record("empty", Some(0)), first: None }]);
        let part = Record { concat: Some(Concat::Partial), ..record("part", Some(10)) };
        finish(&store, part, b"0123456789").unwrap();
        let whole = Record { concat: Some(Concat::Final("final;/part".into())), ..record("whole", None) };
        let (parts, max, delete_parts) = (vec![id("part")], None, false);
        store.commit(&[Change::Concat { record: whole, parts, max, delete_parts }]);
        finish(&store, record("half", Some(10)), b"01234").unwrap();
        let names = ["empty", "file", "half", "part", "small", "whole"];
        assert_eq!(there(&store, &names), names);
        for name in names {
            // Requests are not told: for them it is there until it is removed.
            assert_eq!(store.load(&id(name)).unwrap().unwrap().expires, None, "{name}");
            let shown = store.describe(&id(name)).unwrap().unwrap().record.expires;
            let expires = !["half", "part"].contains(&name);
            assert_eq!(shown, expires.then_some(at(1_100)), "{name}");
        }
        assert_eq!(store.sweep(at(1_099), 8), Ok(Swept::default()));
        // What is not flushed is held, as by a writer.
        store.flush().unwrap();
        let late = ListQuery { state: Some(UploadState::Expired), ..ListQuery::new(at(1_100), 9) };
        assert_eq!(store.query(&late).unwrap().records.len(), 4);
        assert_eq!(store.query(&ListQuery { sort: Sort::Expires, ..late }).unwrap().records.len(), 4);
        assert_eq!(store.sweep(at(1_100), 8), Ok(Swept { finished: 4, ..Swept::default() }));
        assert_eq!(there(&store, &names), ["half", "part"]);
        assert!(store.remembers(&id("file")).unwrap());
        store.flush().unwrap();
        while store.reclaim(8).unwrap() > 0 {}
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn a_finished_upload_stays_while_its_event_is_outstanding() {
    let store = open_with(&SimDisk::new(), Durability::Strict, true).unwrap();
    store.tell_time(at(1_000));
    finish(&store, record("a", Some(4)), b"0123").unwrap();
    finish(&store, record("b", Some(4)), b"0123").unwrap();
    for seconds in [1_100, 9_000] {
        assert_eq!(store.sweep(at(seconds), 1), Ok(Swept::default()));
    }
    let event = store.outbox(0, 9).unwrap().remove(1);
    assert_eq!(event.record.id, id("b"));
    // It does not matter that the one before can't go.
    store.commit(&[Change::Acknowledge { id: id("b"), number: event.number }]);
    let swept: usize = (0..3).map(|_| store.sweep(at(9_000), 1).unwrap().finished).sum();
    assert_eq!((swept, there(&store, &["a", "b"])), (1, vec!["a"]));
    assert_eq!(store.outbox_len(), Ok(1));
}

#[test]
fn a_late_commit_does_not_keep_a_finished_upload() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.tell_time(at(1_000));
    finish(&store, record("a", Some(4)), b"0123").unwrap();
    store.commit(&[commit("a", store.first_fence(), 4, 4, None)]);
    assert_eq!(store.sweep(at(1_100), 8), Ok(Swept { finished: 1, ..Swept::default() }));
}

#[test]
fn the_time_is_that_of_the_openings_together_whatever_the_calendar_says() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    store.sweep(at(1_000), 8).unwrap();
    store.tell_time(at(1_000));
    finish(&store, record("a", Some(4)), b"0123").unwrap();
    drop(store);
    let store = open(&disk, Durability::Strict);
    // A server goes on from there: see `tus_driver::Clock`. What it finishes first is stamped with that time at least.
    assert_eq!(store.time(), Some(at(1_000)));
    store.tell_time(at(7));
    finish(&store, record("b", Some(4)), b"0123").unwrap();
    assert_eq!(store.sweep(at(1_099), 8), Ok(Swept::default()));
    assert_eq!(store.sweep(at(1_100), 8), Ok(Swept { finished: 2, ..Swept::default() }));
}

/// What happens to one finished upload: it is told of, it expires, its file goes.
fn live(store: &Store) -> Option<()> {
    store.tell_time(at(1_000));
    finish(store, record("a", Some(10)), b"0123456789")?;
    store.flush().ok()?;
    store.sweep(at(1_100), 8).ok()?;
    let event = store.outbox(0, 9).ok()?.pop()?;
    store.commit(&[Change::Acknowledge { id: id("a"), number: event.number }]);
    store.sweep(at(1_100), 8).ok()?;
    store.flush().ok()?;
    store.reclaim(8).ok()?;
    Some(())
}

#[test]
fn cut_anywhere_it_is_there_with_its_event_or_gone_without_one() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = open_with(&disk, durability, true).unwrap();
        let begin = disk.calls();
        live(&store).unwrap();
        let end = disk.calls();
        drop(store);
        for call in begin..end {
            for crash in [Crash::Process, Crash::Machine(call), Crash::Machine(call + 1)] {
                let disk = SimDisk::new();
                let store = open_with(&disk, durability, true).unwrap();
                disk.die_at(call);
                let _ = live(&store);
                drop(store);
                disk.crash(crash);
                let context = format!("{durability:?} {crash:?} at {call}");
                let store = open_with(&disk, durability, true).unwrap();
                let complete = store.load(&id("a")).unwrap().is_some_and(|record| record.is_complete());
                let events = store.outbox(0, 9).unwrap();
                assert!(complete || events.is_empty(), "{context}: told of, and gone");
                store.tell_time(at(1_100));
                store.sweep(at(9_000), 8).unwrap();
                for event in events {
                    assert!(complete && there(&store, &["a"]) == ["a"], "{context}: gone before its event");
                    store.commit(&[Change::Acknowledge { id: id("a"), number: event.number }]);
                }
                store.sweep(at(9_000), 8).unwrap();
                assert!(!complete || there(&store, &["a"]).is_empty(), "{context}: it stays");
                store.flush().unwrap();
                while store.reclaim(8).unwrap() > 0 {}
                assert_eq!(store.verify().unwrap(), [], "{context}");
            }
        }
    }
}
