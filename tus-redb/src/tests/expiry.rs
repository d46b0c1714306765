//! Uploads that expire: found by time, removed with all that is theirs, and remembered for a day.

use tus_proto::{Completion, Record, UploadId, WallTime};

use super::harness::{id, options, record};
use crate::{
    Change, Durability, Finding, Store, Swept,
    mutex::lock,
    records::database::{EXPIRY, begin_durable},
    sim::{Crash, SimDisk},
};

const DAY: u64 = 24 * 60 * 60;

fn at(seconds: u64) -> WallTime {
    WallTime::from_micros(seconds * 1_000_000)
}

fn expiring(name: &str, seconds: u64) -> Record {
    Record { expires: Some(at(seconds)), ..record(name, Some(4)) }
}

fn open(disk: &SimDisk, durability: Durability) -> Store {
    Store::open_on(std::sync::Arc::new(disk.clone()), &options(durability)).unwrap()
}

fn there(store: &Store, name: &str) -> bool {
    store.load(&id(name)).unwrap().is_some()
}

fn expired(count: usize) -> Swept {
    Swept { expired: count, ..Swept::default() }
}

/// Writes all four bytes of an upload and commits so many of them.
fn write(store: &Store, name: &str, to: u64, expires: Option<WallTime>) {
    let fence = store.first_fence();
    let mut sink = store.append(&id(name), fence, 0).unwrap();
    sink.write(b"0123").unwrap();
    sink.syncer().sync(None).unwrap();
    let (from, length, finish, syncer) = (0, None, to == 4, Some(sink.syncer()));
    let commit = Change::Commit { id: id(name), fence, from, to, length, expires, finish, syncer };
    assert_eq!(store.commit(&[commit]), [Completion::Committed { offset: to }]);
}

#[test]
fn what_is_past_its_time_goes_and_what_is_not_stays() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store
        .commit(&["a", "b", "c", "d"].map(|name| Change::Create { record: expiring(name, 10), first: None }));
    store.commit(&[Change::Create { record: record("e", Some(4)), first: None }]);
    write(&store, "b", 2, Some(at(20)));
    write(&store, "c", 4, None);
    assert_eq!(store.sweep(at(9), 8), Ok(Swept::default()));
    assert_eq!(store.sweep(at(10), 8), Ok(expired(2)));
    let left: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().filter(|name| there(&store, name)).collect();
    assert_eq!(left, ["b", "c", "e"]);
    assert_eq!(store.sweep(at(20), 8), Ok(expired(1)));
    while store.reclaim(8).unwrap() > 0 {}
    assert_eq!(store.verify().unwrap(), []);
    assert_eq!(store.describe(&id("b")).unwrap(), None);
}

#[test]
fn it_is_remembered_for_a_day_and_its_id_is_nobody_elses_in_that_time() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: expiring("a", 10), first: None }]);
    assert!(!store.remembers(&id("a")).unwrap());
    store.sweep(at(10), 8).unwrap();
    assert!(store.remembers(&id("a")).unwrap());
    assert_eq!(
        store.commit(&[Change::Create { record: record("a", None), first: None }]),
        [Completion::Exists]
    );
    assert_eq!(store.sweep(at(9 + DAY), 8), Ok(Swept::default()));
    assert_eq!(store.sweep(at(10 + DAY), 8), Ok(Swept { forgotten: 1, ..Swept::default() }));
    assert!(!store.remembers(&id("a")).unwrap());
    assert_eq!(
        store.commit(&[Change::Create { record: record("a", None), first: None }]),
        [Completion::Created]
    );
}

#[test]
fn a_deleted_upload_leaves_nothing_to_expire() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: expiring("a", 10), first: None }]);
    store.commit(&[Change::Delete { id: id("a"), fence: store.first_fence() }]);
    assert_eq!(store.sweep(at(10), 8), Ok(Swept::default()));
    assert!(!store.remembers(&id("a")).unwrap());
}

#[test]
fn nothing_goes_while_it_is_written_to() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: expiring("a", 10), first: None }]);
    let sink = store.append(&id("a"), store.first_fence(), 0).unwrap();
    assert_eq!(store.sweep(at(10), 8), Ok(Swept::default()));
    drop(sink);
    assert_eq!(store.sweep(at(10), 8), Ok(expired(1)));
}

#[test]
fn a_sweep_is_done_in_parts() {
    let store = open(&SimDisk::new(), Durability::Strict);
    let names: Vec<_> = (0..5).map(|n| UploadId::new(&format!("u{n}")).unwrap()).collect();
    let records = names.iter().map(|id| Record { id: id.clone(), ..expiring("a", 10) });
    store.commit(&records.map(|record| Change::Create { record, first: None }).collect::<Vec<_>>());
    let parts: Vec<_> = std::iter::from_fn(|| Some(store.sweep(at(10), 2).unwrap()))
        .take(3)
        .map(|swept| (swept.expired, swept.more))
        .collect();
    assert_eq!(parts, [(2, true), (2, true), (1, false)]);
}

#[test]
fn an_expired_upload_does_not_come_back_with_a_crash() {
    let crashes = (0..20).map(|seed| (Durability::Strict, Crash::Machine(seed)));
    for (durability, crash) in crashes.chain([(Durability::Eventual, Crash::Process)]) {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        store.commit(&[
            Change::Create { record: expiring("a", 10), first: None },
            Change::Create { record: expiring("b", 99), first: None },
        ]);
        store.sweep(at(10), 8).unwrap();
        // What the store still does while it is dropped does not reach the disk any more.
        disk.die_at(disk.calls());
        drop(store);
        disk.crash(crash);
        let store = open(&disk, durability);
        assert!(!there(&store, "a") && there(&store, "b"));
        assert!(store.remembers(&id("a")).unwrap());
        assert_eq!(store.sweep(at(99), 8), Ok(expired(1)));
    }
}

#[test]
fn the_next_opening_goes_on_where_the_last_sweep_was_whatever_the_calendar_says() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        assert_eq!(store.time(), None);
        assert_eq!(store.sweep(at(1_000), 8), Ok(Swept::default()));
        // It is durable with the next commit.
        store.commit(&[Change::Create { record: expiring("a", 1_000 + DAY), first: None }]);
        store.flush().unwrap();
        disk.die_at(disk.calls());
        drop(store);
        disk.crash(Crash::Machine(1));
        let store = open(&disk, durability);
        assert_eq!(store.time(), Some(at(1_000)), "{durability:?}");
        // Nor does it ever go back.
        store.sweep(at(7), 8).unwrap();
        assert_eq!(store.time(), Some(at(1_000)));
        assert!(there(&store, "a"));
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn the_time_is_noted_without_a_commit_too_but_seldom_and_only_where_something_waits_for_it() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        let sweep = |seconds| {
            let before = disk.calls();
            store.sweep(at(seconds), 8).unwrap();
            store.flush().unwrap();
            disk.calls() > before
        };
        assert!(!sweep(1_000));
        store.commit(&[Change::Create { record: expiring("a", 1_000 + DAY), first: None }]);
        store.flush().unwrap();
        assert!(!sweep(1_060) && !sweep(1_599));
        assert!(sweep(1_600));
        assert!(!sweep(1_660));
        disk.die_at(disk.calls());
        drop(store);
        disk.crash(Crash::Machine(2));
        assert_eq!(open(&disk, durability).time(), Some(at(1_600)), "{durability:?}");
    }
}

#[test]
fn verify_finds_an_index_that_tells_another_time_than_the_record() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[
        Change::Create { record: expiring("a", 10), first: None },
        Change::Create { record: expiring("b", 20), first: None },
    ]);
    {
        let mut writer = lock(&store.writer);
        let database = store.database(&mut writer).unwrap();
        let txn = begin_durable(&database).unwrap();
        let mut index = txn.open_table(EXPIRY).unwrap();
        index.remove((10_000_000, "a")).unwrap();
        index.insert((5, "nobody"), ()).unwrap();
        drop(index);
        txn.commit().unwrap();
    }
    let wrong = |name| Finding::WrongExpiry { id: id(name) };
    assert_eq!(store.verify().unwrap(), [wrong("a"), wrong("nobody")]);
}
