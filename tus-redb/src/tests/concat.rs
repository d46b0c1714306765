//! Finals and their parts: made, waiting, completed, deleted, expired.

use std::{io::Read, sync::Arc};

use tus_proto::{Completion, Concat, ConcatRejection, Fence, Record, WallTime};

use super::harness::{id, options, record};
use crate::{
    Change, Disk, Durability, EventKind, Events, Finding, Options, Rejected, Store,
    mutex::lock,
    records::database::{WAITING, begin_durable},
    sim::{Crash, Fault, SimDisk},
};

fn open(disk: &SimDisk, durability: Durability) -> Store {
    Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap()
}

fn new() -> Store {
    open(&SimDisk::new(), Durability::Strict)
}

fn at(seconds: u64) -> Option<WallTime> {
    Some(WallTime::from_micros(seconds * 1_000_000))
}

fn do_one(store: &Store, change: Change) -> Completion {
    store.commit(&[change]).pop().unwrap()
}

fn part(store: &Store, name: &str, length: Option<u64>) {
    part_until(store, name, length, None);
}

fn part_until(store: &Store, name: &str, length: Option<u64>, expires: Option<WallTime>) {
    let record = Record { concat: Some(Concat::Partial), expires, ..record(name, length) };
    assert_eq!(do_one(store, Change::Create { record, first: None }), Completion::Created);
}

fn concat(name: &str, parts: &[&str]) -> Change {
    let record = Record { concat: Some(Concat::Final("final; /a".to_owned())), ..record(name, None) };
    Change::Concat {
        record,
        parts: parts.iter().map(|part| id(part)).collect(),
        max: None,
        delete_parts: false,
    }
}

/// The same, with other terms.
fn concat_with(
    name: &str,
    parts: &[&str],
    with: impl FnOnce(&mut Record, &mut Option<u64>, &mut bool),
) -> Change {
    let mut change = concat(name, parts);
    if let Change::Concat { record, max, delete_parts, .. } = &mut change {
        with(record, max, delete_parts);
    }
    change
}

fn deleting(name: &str, parts: &[&str]) -> Change {
    concat_with(name, parts, |_, _, delete_parts| *delete_parts = true)
}

fn until(name: &str, parts: &[&str], seconds: u64) -> Change {
    concat_with(name, parts, |record, _, _| record.expires = at(seconds))
}

/// What a final is said to be when it is made: its offset and length.
fn made(store: &Store, change: Change) -> (u64, Option<u64>) {
    match do_one(store, change) {
        Completion::Concatenated(record) => {
            assert_eq!(store.load(&record.id).unwrap().as_ref(), Some(&record));
            assert_eq!(record.concat, Some(Concat::Final("final; /a".to_owned())));
            (record.offset, record.length)
        }
        other => panic!("{other:?}"),
    }
}

fn refused(store: &Store, change: Change) -> ConcatRejection {
    match do_one(store, change) {
        Completion::Rejected(rejection) => rejection,
        other => panic!("{other:?}"),
    }
}

/// Appends bytes to an upload and commits them.
fn write(store: &Store, name: &str, bytes: &[u8]) {
    write_until(store, name, bytes, None);
}

fn write_until(store: &Store, name: &str, bytes: &[u8], expires: Option<WallTime>) {
    let fence = store.first_fence();
    let record = store.load(&id(name)).unwrap().unwrap();
    let (from, to) = (record.offset, record.offset + bytes.len() as u64);
    let finish = record.length == Some(to);
    let mut sink = store.append(&id(name), fence, from).unwrap();
    sink.write(bytes).unwrap();
    sink.syncer().sync(finish.then_some(to)).unwrap();
    let syncer = Some(sink.syncer());
    let commit = Change::Commit { id: id(name), fence, from, to, length: None, expires, finish, syncer };
    assert_eq!(do_one(store, commit), Completion::Committed { offset: to });
}

/// Says how long an upload is.
fn declare(store: &Store, name: &str, at: u64, length: u64) -> Completion {
    let (fence, finish, length) = (store.first_fence(), at == length, Some(length));
    let (from, to, expires, syncer) = (at, at, None, None);
    do_one(store, Change::Commit { id: id(name), fence, from, to, length, expires, finish, syncer })
}

fn delete(store: &Store, name: &str) {
    let delete = Change::Delete { id: id(name), fence: store.first_fence() };
    assert_eq!(do_one(store, delete), Completion::Deleted, "{name}");
}

fn look(store: &Store, name: &str) -> Option<(u64, Option<u64>)> {
    store.load(&id(name)).unwrap().map(|record| (record.offset, record.length))
}

fn expires(store: &Store, name: &str) -> Option<WallTime> {
    store.load(&id(name)).unwrap().unwrap().expires
}

fn body(store: &Store, name: &str) -> String {
    let mut text = String::new();
    store.read(&id(name)).unwrap().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Checks the books, before and after the files nobody refers to are gone.
fn check(store: &Store) {
    assert_eq!(store.verify().unwrap(), []);
    while store.reclaim(8).unwrap() > 0 {}
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_final_of_finished_parts_is_complete_and_outlives_them() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    for (name, bytes) in [("a", "one "), ("b", "two ")] {
        part(&store, name, Some(4));
        write(&store, name, bytes.as_bytes());
    }
    part(&store, "empty", Some(0));
    assert_eq!(made(&store, concat("f", &["b", "a", "empty", "b"])), (12, Some(12)));
    assert_eq!(store.finals_finished(), 0, "no part completed it");
    delete(&store, "a");
    check(&store);
    delete(&store, "b");
    check(&store);
    assert_eq!(body(&store, "f"), "two one two ");
    drop(store);
    let store = open(&disk, Durability::Strict);
    assert_eq!(body(&store, "f"), "two one two ");
    delete(&store, "f");
    check(&store);
    assert_eq!(disk.list("data").unwrap(), [""; 0]);
}

#[test]
fn a_pending_final_is_complete_with_its_last_part() {
    let store = new();
    part(&store, "a", Some(2));
    part(&store, "b", Some(3));
    write(&store, "a", b"ab");
    assert_eq!(made(&store, concat("f", &["a", "b", "a"])), (0, Some(7)));
    assert_eq!(made(&store, concat("g", &["b", "b"])), (0, Some(6)));
    write(&store, "b", b"c");
    assert_eq!(look(&store, "f"), Some((0, Some(7))));
    delete(&store, "a");
    check(&store);
    write(&store, "b", b"de");
    assert_eq!((body(&store, "f"), body(&store, "g")), ("abcdeab".to_owned(), "cdecde".to_owned()));
    assert_eq!((look(&store, "f"), look(&store, "g")), (Some((7, Some(7))), Some((6, Some(6)))));
    assert_eq!(store.finals_finished(), 2);
    check(&store);
    assert_eq!(declare(&store, "b", 3, 3), Completion::Conflict { offset: 3 });
    assert_eq!(store.finals_finished(), 2, "once");
}

#[test]
fn a_part_of_several_extents_is_taken_with_all_of_them() {
    let store = new();
    part(&store, "a", Some(4));
    assert_eq!(made(&store, concat("f", &["a"])), (0, Some(4)));
    write(&store, "a", b"ab");
    do_one(&store, Change::NewExtent { id: id("a"), fence: store.first_fence(), at: 2 });
    write(&store, "a", b"cd");
    assert_eq!(body(&store, "f"), "abcd");
    assert_eq!(store.describe(&id("f")).unwrap().unwrap().extents.len(), 2);
    check(&store);
}

#[test]
fn the_length_of_a_final_is_told_once_all_its_parts_are_known() {
    let store = new();
    part(&store, "a", None);
    part(&store, "b", None);
    assert_eq!(made(&store, concat("f", &["a", "b", "a"])), (0, None));
    write(&store, "a", b"ab");
    assert_eq!(declare(&store, "b", 0, 3), Completion::Committed { offset: 0 });
    assert_eq!(look(&store, "f"), Some((0, None)));
    // It has all its bytes, and is finished by saying so.
    assert_eq!(declare(&store, "a", 2, 2), Completion::Committed { offset: 2 });
    assert_eq!(look(&store, "f"), Some((0, Some(7))));
    write(&store, "b", b"cde");
    assert_eq!(body(&store, "f"), "abcdeab");
    check(&store);
}

#[test]
fn a_deferred_part_may_turn_out_to_be_empty() {
    let store = new();
    part(&store, "a", None);
    made(&store, concat("f", &["a"]));
    assert_eq!(declare(&store, "a", 0, 0), Completion::Committed { offset: 0 });
    assert_eq!(look(&store, "f"), Some((0, Some(0))));
    assert_eq!(store.finals_finished(), 1);
    check(&store);
}

#[test]
fn parts_that_are_not_fit_are_refused_and_leave_nothing() {
    let store = new();
    part(&store, "whole", Some(2));
    write(&store, "whole", b"ab");
    part(&store, "begun", Some(5));
    part(&store, "deferred", None);
    store.commit(&[Change::Create { record: record("plain", Some(2)), first: None }]);
    made(&store, concat("final", &["whole"]));
    part_until(&store, "over", Some(1), at(0));
    let limited =
        |parts: &[&str], limit| refused(&store, concat_with("f", parts, |_, max, _| *max = Some(limit)));
    for missing in [&["nobody"][..], &["whole", "nobody"], &["over"], &["f"]] {
        assert_eq!(refused(&store, concat("f", missing)), ConcatRejection::Missing, "{missing:?}");
    }
    for no_part in [&["plain"][..], &["whole", "final"]] {
        assert_eq!(refused(&store, concat("f", no_part)), ConcatRejection::NotPartial, "{no_part:?}");
    }
    assert_eq!(limited(&["whole", "begun"], 6), ConcatRejection::TooLarge);
    assert_eq!(limited(&["whole", "whole"], 3), ConcatRejection::TooLarge);
    assert_eq!(limited(&["whole", "deferred"], 100), ConcatRejection::UnknownLength);
    assert_eq!(look(&store, "f"), None);
    check(&store);
    assert_eq!(made(&store, concat_with("f", &["whole", "begun"], |_, max, _| *max = Some(7))), (0, Some(7)));
    assert_eq!(do_one(&store, concat("f", &["whole"])), Completion::Exists);
    check(&store);
}

#[test]
fn a_final_beyond_all_bounds_is_too_large() {
    let store = new();
    let huge = i64::MAX as u64;
    part(&store, "huge", Some(huge));
    part(&store, "one", Some(1));
    part(&store, "deferred", None);
    assert_eq!(refused(&store, concat("f", &["huge", "one"])), ConcatRejection::TooLarge);
    assert_eq!(refused(&store, concat("f", &["huge", "huge", "huge"])), ConcatRejection::TooLarge);
    assert_eq!(refused(&store, concat("f", &["huge", "deferred", "one"])), ConcatRejection::TooLarge);
    assert_eq!(made(&store, concat("f", &["huge"])), (0, Some(huge)));
    // Known too late to reject it: its length can't be told.
    assert_eq!(made(&store, concat("g", &["deferred", "deferred"])), (0, None));
    assert_eq!(declare(&store, "deferred", 0, huge), Completion::Committed { offset: 0 });
    assert_eq!(look(&store, "g"), Some((0, None)));
    check(&store);
}

#[test]
fn only_so_many_finals_wait_for_a_part() {
    let disk = Arc::new(SimDisk::new());
    let store = Store::open_on(disk, &Options { max_waiting: 2, ..options(Durability::Strict) }).unwrap();
    part(&store, "a", Some(2));
    part(&store, "b", Some(1));
    write(&store, "b", b"b");
    made(&store, concat("f", &["a", "a", "b"]));
    made(&store, concat("g", &["b", "a"]));
    assert_eq!(refused(&store, concat("h", &["a"])), ConcatRejection::TooManyWaiting);
    assert_eq!(made(&store, concat("h", &["b"])), (1, Some(1)), "it waits for nothing");
    delete(&store, "g");
    made(&store, concat("g", &["a"]));
    write(&store, "a", b"aa");
    assert_eq!(made(&store, concat("i", &["a"])), (2, Some(2)));
    assert_eq!((body(&store, "f"), body(&store, "g")), ("aaaab".to_owned(), "aa".to_owned()));
    check(&store);
}

#[test]
fn parts_go_with_the_completion_where_that_is_wished() {
    let store = new();
    for (name, bytes) in [("a", "a"), ("b", "b"), ("c", "c")] {
        part(&store, name, Some(1));
        if name != "c" {
            write(&store, name, bytes.as_bytes());
        }
    }
    made(&store, deleting("now", &["a", "a"]));
    assert_eq!((look(&store, "a"), body(&store, "now")), (None, "aa".to_owned()));
    made(&store, deleting("later", &["c", "b", "c"]));
    made(&store, concat("other", &["b", "c"]));
    assert_eq!(look(&store, "b"), Some((1, Some(1))));
    check(&store);
    write(&store, "c", b"c");
    assert_eq!((look(&store, "b"), look(&store, "c")), (None, None));
    assert_eq!((body(&store, "later"), body(&store, "other")), ("cbc".to_owned(), "bc".to_owned()));
    check(&store);
}

#[test]
fn a_part_that_took_the_id_of_another_is_not_taken_for_it() {
    let store = new();
    part(&store, "a", Some(1));
    write(&store, "a", b"a");
    part(&store, "b", Some(1));
    made(&store, deleting("f", &["a", "b"]));
    delete(&store, "a");
    part_until(&store, "a", Some(1), at(9));
    write_until(&store, "a", b"x", at(9));
    assert_eq!(expires(&store, "a"), at(9));
    check(&store);
    write(&store, "b", b"b");
    assert_eq!((body(&store, "f"), body(&store, "a")), ("ab".to_owned(), "x".to_owned()));
    assert_eq!(look(&store, "b"), None);
    check(&store);
}

#[test]
fn a_final_goes_with_a_part_it_waits_for_and_not_with_another() {
    let store = new();
    part(&store, "a", Some(1));
    part(&store, "b", Some(1));
    write(&store, "a", b"a");
    made(&store, concat("f", &["a", "b"]));
    delete(&store, "a");
    assert_eq!(look(&store, "f"), Some((0, Some(2))));
    delete(&store, "b");
    assert_eq!(look(&store, "f"), None);
    assert!(!store.remembers(&id("f")).unwrap());
    check(&store);
    part(&store, "b", Some(1));
    write(&store, "b", b"b");
    assert_eq!(look(&store, "f"), None);
    check(&store);
}

/// What the outbox holds: kinds and names.
fn events(store: &Store) -> Vec<(EventKind, String)> {
    let entries = store.outbox(0, 99).unwrap();
    entries.into_iter().map(|entry| (entry.kind, entry.record.id.to_string())).collect()
}

#[test]
fn finals_tell_of_their_completion_and_parts_do_not() {
    let all = Events { created: false, completed: true, terminated: true };
    let options = Options { events: all, ..options(Durability::Strict) };
    let store = Store::open_on(Arc::new(SimDisk::new()), &options).unwrap();
    part(&store, "a", Some(1));
    part(&store, "b", Some(1));
    part(&store, "c", Some(0));
    made(&store, deleting("later", &["a", "b", "a"]));
    made(&store, concat("never", &["b", "c"]));
    write(&store, "a", b"a");
    made(&store, concat("now", &["a"]));
    let (completed, terminated) = (EventKind::Completed, EventKind::Terminated);
    let mut told = vec![(completed, "now".to_owned())];
    assert_eq!(events(&store), told);
    made(&store, concat("gone", &["b"]));
    delete(&store, "gone");
    told.push((terminated, "gone".to_owned()));
    write(&store, "b", b"b");
    told.extend(["later", "never"].map(|name| (completed, name.to_owned())));
    assert_eq!(events(&store), told);
    part(&store, "d", Some(1));
    made(&store, concat("with", &["d"]));
    delete(&store, "d");
    told.extend(["with", "d"].map(|name| (terminated, name.to_owned())));
    assert_eq!(events(&store), told);
    check(&store);
}

#[test]
fn nobody_writes_to_a_final() {
    let store = new();
    part(&store, "a", Some(3));
    part(&store, "b", Some(1));
    write(&store, "a", b"abc");
    made(&store, concat("whole", &["a"]));
    made(&store, concat("pending", &["a", "b"]));
    let fence = Fence(u64::MAX);
    for (name, offset) in [("whole", 3), ("pending", 0)] {
        let conflict = Completion::Conflict { offset };
        let refused = store.append(&id(name), fence, offset).unwrap_err();
        assert_eq!(refused, Rejected::Conflict { offset });
        let (from, length, finish, syncer) = (offset, Some(offset), true, None);
        let (id, to, expires) = (id(name), offset, at(1));
        let commit = Change::Commit { id: id.clone(), fence, from, to, length, expires, finish, syncer };
        assert_eq!(do_one(&store, commit), conflict, "{name}");
        assert_eq!(
            do_one(&store, Change::NewExtent { id: id.clone(), fence, at: offset }),
            conflict,
            "{name}"
        );
        assert_eq!(store.discard(&id, fence), Completion::Discarded);
    }
    assert_eq!(body(&store, "whole"), "abc");
    write(&store, "b", b"d");
    assert_eq!(body(&store, "pending"), "abcd");
    check(&store);
}

#[test]
fn a_pending_final_lives_on_with_its_parts_and_they_with_it() {
    let store = new();
    part_until(&store, "done", Some(1), at(10));
    write_until(&store, "done", b"d", at(10));
    part_until(&store, "slow", Some(2), at(10));
    made(&store, until("f", &["done", "slow"], 11));
    assert_eq!((expires(&store, "done"), expires(&store, "f")), (None, at(11)));
    write_until(&store, "slow", b"s", at(20));
    assert_eq!((expires(&store, "slow"), expires(&store, "f")), (at(20), at(20)));
    assert_eq!(store.sweep(WallTime::from_micros(19_000_000), 8).unwrap().expired, 0);
    check(&store);
    write_until(&store, "slow", b"s", at(30));
    let all = ["done", "slow", "f"].map(|name| expires(&store, name));
    assert_eq!(all, [at(30), at(30), None]);
    check(&store);
    assert_eq!(store.sweep(WallTime::from_micros(30_000_000), 8).unwrap().expired, 2);
    assert_eq!(body(&store, "f"), "dss");
    check(&store);
}

#[test]
fn a_finished_part_expires_again_when_the_last_final_that_needs_it_goes() {
    let store = new();
    part_until(&store, "done", Some(1), at(10));
    write_until(&store, "done", b"d", at(10));
    part_until(&store, "slow", Some(2), at(40));
    made(&store, until("f", &["done", "slow"], 20));
    made(&store, until("g", &["slow", "done", "done"], 30));
    delete(&store, "f");
    assert_eq!(expires(&store, "done"), None);
    check(&store);
    assert_eq!(store.sweep(WallTime::from_micros(30_000_000), 8).unwrap().expired, 1);
    assert_eq!((look(&store, "g"), expires(&store, "done")), (None, at(30)));
    check(&store);
    assert_eq!(store.sweep(WallTime::from_micros(30_000_000), 8).unwrap().expired, 1);
    assert_eq!((look(&store, "done"), expires(&store, "slow")), (None, at(40)));
    check(&store);
}

#[test]
fn an_unfinished_part_that_expires_takes_its_finals_along_and_all_are_remembered() {
    let store = new();
    part_until(&store, "slow", Some(2), at(10));
    part_until(&store, "done", Some(1), at(15));
    write_until(&store, "done", b"d", at(15));
    made(&store, until("f", &["slow", "done"], 12));
    assert_eq!(store.sweep(WallTime::from_micros(11_000_000), 8).unwrap().expired, 1);
    for name in ["slow", "f"] {
        assert_eq!(store.look_up(&id(name)), Err(Rejected::Gone), "{name}");
    }
    assert_eq!(expires(&store, "done"), at(12));
    check(&store);
    assert_eq!(do_one(&store, concat("f", &["done"])), Completion::Exists);
}

#[test]
fn a_final_does_not_expire_while_a_part_it_waits_for_is_written_to() {
    let store = new();
    part_until(&store, "a", Some(2), at(10));
    made(&store, until("f", &["a"], 10));
    let sink = store.append(&id("a"), store.first_fence(), 0).unwrap();
    assert_eq!(store.sweep(WallTime::from_micros(10_000_000), 8).unwrap().expired, 0);
    let expire = Change::Expire { id: id("f"), before: at(10).unwrap(), remember: at(99).unwrap() };
    assert_eq!(do_one(&store, expire), Completion::Conflict { offset: 0 });
    drop(sink);
    store.sweep(WallTime::from_micros(10_000_000), 8).unwrap();
    assert_eq!((look(&store, "a"), look(&store, "f")), (None, None));
    check(&store);
}

/// A group is one transaction: its changes see each other.
#[test]
fn parts_and_finals_may_meet_in_one_group() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        part(&store, "a", Some(1));
        let fence = store.first_fence();
        let mut sink = store.append(&id("a"), fence, 0).unwrap();
        sink.write(b"a").unwrap();
        sink.syncer().sync(Some(1)).unwrap();
        let (length, expires, finish, syncer) = (None, None, true, Some(sink.syncer()));
        let last = Change::Commit { id: id("a"), fence, from: 0, to: 1, length, expires, finish, syncer };
        let gone = Change::Delete { id: id("a"), fence };
        let group = [concat("before", &["a"]), last, concat("after", &["a"]), gone, concat("late", &["a"])];
        let completions = store.commit(&group);
        assert!(matches!(
            completions[..4],
            [
                Completion::Concatenated(_),
                Completion::Committed { offset: 1 },
                Completion::Concatenated(_),
                Completion::Deleted
            ]
        ));
        assert_eq!(completions[4], Completion::Rejected(ConcatRejection::Missing));
        drop(sink);
        disk.crash(Crash::Process);
        drop(store);
        let store = open(&disk, durability);
        assert_eq!((body(&store, "before"), body(&store, "after")), ("a".to_owned(), "a".to_owned()));
        check(&store);
    }
}

/// A flush that can't sync a part's bytes takes them back wherever they are.
#[test]
fn what_the_disk_lost_of_a_part_is_lost_for_its_finals() {
    for gone in [false, true] {
        let disk = SimDisk::new();
        let events_kept = Events { created: false, completed: true, terminated: false };
        let options = Options { events: events_kept, ..options(Durability::Eventual) };
        let store = Store::open_on(Arc::new(disk.clone()), &options).unwrap();
        part_until(&store, "a", Some(4), at(50));
        part(&store, "b", Some(1));
        part(&store, "c", Some(1));
        write(&store, "c", b"c");
        write_until(&store, "a", b"ab", at(50));
        store.flush().unwrap();
        made(&store, until("told", &["a", "c", "a"], 60));
        made(&store, until("waits", &["a", "b"], 60));
        write_until(&store, "a", b"cd", at(70));
        made(&store, concat("made", &["a"]));
        assert_eq!((look(&store, "told"), look(&store, "made")), (Some((9, Some(9))), Some((4, Some(4)))));
        if gone {
            delete(&store, "a");
        }
        let next = disk.calls();
        disk.fail(next..next + 1, Fault::Evict);
        store.flush_data().unwrap_err();
        store.flush().unwrap();
        assert_eq!((look(&store, "told"), look(&store, "made")), (None, None));
        assert_eq!(events(&store), [], "it is not true any more");
        check(&store);
        if gone {
            assert_eq!(look(&store, "waits"), None);
        } else {
            assert_eq!((look(&store, "a"), expires(&store, "a")), (Some((2, Some(4))), at(70)));
            write(&store, "b", b"e");
            write(&store, "a", b"xy");
            assert_eq!(body(&store, "waits"), "abxye");
        }
        store.flush().unwrap();
        assert_eq!(events(&store).len(), usize::from(!gone));
        disk.crash(Crash::Machine(3));
        drop(store);
        let store = open(&disk, Durability::Eventual);
        assert_eq!(store.load(&id("waits")).unwrap().is_some(), !gone);
        check(&store);
    }
}

#[test]
fn verify_finds_parts_and_finals_that_are_not_in_step() {
    let store = new();
    for name in ["a", "b"] {
        part(&store, name, Some(1));
    }
    made(&store, concat("f", &["a", "b"]));
    {
        let mut writer = lock(&store.writer);
        let database = store.database(&mut writer).unwrap();
        let txn = begin_durable(&database).unwrap();
        let mut index = txn.open_table(WAITING).unwrap();
        index.remove(("a", "f")).unwrap();
        index.insert(("b", "nobody"), ()).unwrap();
        drop(index);
        txn.commit().unwrap();
    }
    let wrong = |part, of| Finding::WrongWaiting { part: id(part), id: id(of) };
    assert_eq!(store.verify().unwrap(), [wrong("a", "f"), wrong("b", "nobody")]);
}
