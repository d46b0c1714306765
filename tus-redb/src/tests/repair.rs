//! Each finding is planted, repaired, and gone; or left, where no answer is right. Bytes are never destroyed.

use std::{fs, io::Read, path::Path};

use redb::{Database, WriteTransaction};
use tempfile::{TempDir, tempdir};
use tus_proto::{Completion, Concat, Record, WallTime};

use super::harness::{commit, id, options, record};
use crate::{
    Change, CheckPlace, Durability, Events, Finding, OpenError, Options, Remedy, Repair, Store,
    files::file_id::FileId,
    mutex::lock,
    records::{
        database::{
            self, DUE_EVENTS, EVENTS, EXPIRY, FILES, FRAGMENTED, LAPSES, PENDING_UNLINK, TOMBSTONES, UPLOADS,
            WAITING,
        },
        record::Row,
    },
};

/// A store with a finished upload, an unfinished one, and a final that waits for the second of its parts.
fn filled(durability: Durability) -> (TempDir, Store) {
    let dir = tempdir().unwrap();
    let store = open(dir.path(), durability).unwrap();
    fill(&store);
    (dir, store)
}

pub(super) fn fill(store: &Store) {
    let expires = Some(WallTime::from_micros(1_000));
    create(store, record("done", Some(10)));
    create(store, Record { expires, ..record("half", Some(20)) });
    for part in ["part-1", "part-2"] {
        create(store, Record { concat: Some(Concat::Partial), expires, ..record(part, Some(10)) });
    }
    for name in ["done", "half", "part-1"] {
        assert_eq!(write(store, name, 0, b"0123456789"), Completion::Committed { offset: 10 });
    }
    let waiting = concat(store, "final", &["part-1", "part-2"]);
    assert!(matches!(waiting, Completion::Concatenated(record) if record.length == Some(20)));
    assert_eq!(store.verify().unwrap(), []);
}

pub(super) fn open(dir: &Path, durability: Durability) -> Result<Store, OpenError> {
    let events = Events { created: false, completed: true, terminated: true };
    Store::open(dir, &Options { events, ..options(durability) })
}

fn create(store: &Store, record: Record) {
    assert_eq!(store.commit(&[Change::Create { record, first: None }]), [Completion::Created]);
}

fn concat(store: &Store, name: &str, parts: &[&str]) -> Completion {
    let concat = Some(Concat::Final("final;".to_owned()));
    let expires = Some(WallTime::from_micros(1_000));
    let record = Record { concat, expires, ..record(name, None) };
    let parts = parts.iter().map(|part| id(part)).collect();
    store.commit(&[Change::Concat { record, parts, max: None, delete_parts: false }]).remove(0)
}

pub(super) fn write(store: &Store, name: &str, from: u64, bytes: &[u8]) -> Completion {
    let fence = store.first_fence();
    let mut sink = store.append(&id(name), fence, from).unwrap();
    sink.write(bytes).unwrap();
    sink.syncer().sync(None).unwrap();
    let to = from + bytes.len() as u64;
    let mut change = commit(name, fence, from, to, Some(&sink));
    if let Change::Commit { expires, .. } = &mut change {
        *expires = store.load(&id(name)).unwrap().unwrap().expires;
        if store.load(&id(name)).unwrap().unwrap().length == Some(to) && name == "done" {
            *expires = None;
        }
    }
    store.commit(&[change]).remove(0)
}

pub(super) fn read(store: &Store, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.read(&id(name)).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn path(store: &Store, name: &str) -> std::path::PathBuf {
    store.describe(&id(name)).unwrap().unwrap().extents[0].path.clone()
}

pub(super) fn file(store: &Store, name: &str) -> FileId {
    store.row(&id(name)).unwrap().unwrap().extents[0].file
}

/// Changes tables behind the store's back.
pub(super) fn plant(store: &Store, change: impl FnOnce(&WriteTransaction)) {
    let mut writer = lock(&store.writer);
    let database: std::sync::Arc<Database> = store.database(&mut writer).unwrap();
    let txn = database::begin_durable(&database).unwrap();
    change(&txn);
    txn.commit().unwrap();
    store.renew_view();
}

fn plant_row(store: &Store, name: &str, change: impl FnOnce(&mut Row)) {
    let mut row = store.row(&id(name)).unwrap().unwrap();
    change(&mut row);
    plant(store, |txn| {
        txn.open_table(UPLOADS).unwrap().insert(name, row.encode().as_slice()).unwrap();
    });
}

/// A check in steps finds the same, but for what needs all records at one time.
#[track_caller]
fn compare_with_steps(store: &Store, findings: &[Finding]) {
    let alone = |finding: &&Finding| {
        matches!(
            finding,
            Finding::WrongCount { counted: Some(_), .. }
                | Finding::NotScattered { .. }
                | Finding::StrayBytes { .. }
        )
    };
    let texts = |findings: &mut dyn Iterator<Item = &Finding>| {
        findings.map(ToString::to_string).collect::<std::collections::BTreeSet<_>>()
    };
    let expected = texts(&mut findings.iter().filter(|finding| !alone(finding)));
    let (mut found, mut place, mut uploads) = (Vec::new(), CheckPlace::default(), 0);
    loop {
        assert_eq!(place.to_string().parse(), Ok(place.clone()));
        let step = store.check_step(&place).unwrap();
        found.extend(step.findings);
        uploads += step.uploads;
        match step.next {
            Some(next) => place = next,
            None => break,
        }
    }
    // In steps a file that is in use and not in the books seems nobody's as well.
    let is_in_use = |path: &Path| {
        let mut findings = findings.iter();
        findings.any(|finding| matches!(finding, Finding::WrongCount { path: used, .. } if used == path))
    };
    found.retain(|finding| !matches!(finding, Finding::Stray { path } if is_in_use(path)));
    assert_eq!(texts(&mut found.iter()), expected);
    assert_eq!(uploads, store.count().unwrap());
}

/// Repairs all that is wrong, which must be something; tells what was done.
#[track_caller]
pub(super) fn repair(store: &Store) -> Vec<Remedy> {
    let findings = store.verify().unwrap();
    assert!(!findings.is_empty(), "nothing is wrong");
    compare_with_steps(store, &findings);
    let repairs = store.repair().unwrap();
    assert_eq!(repairs.iter().map(|repair| repair.finding.clone()).collect::<Vec<_>>(), findings);
    assert_eq!(store.verify().unwrap(), [], "after {repairs:?}");
    compare_with_steps(store, &[]);
    repairs.into_iter().map(|repair| repair.remedy.unwrap()).collect()
}

/// Everything still does what it did, and the final is completed by its last part.
pub(super) fn check_works(store: &Store) {
    assert_eq!(read(store, "done"), b"0123456789");
    assert_eq!(write(store, "half", 10, b"abcdefghij"), Completion::Committed { offset: 20 });
    assert_eq!(read(store, "half"), b"0123456789abcdefghij");
    assert_eq!(write(store, "part-2", 0, b"abcdefghij"), Completion::Committed { offset: 10 });
    assert_eq!(read(store, "final"), b"0123456789abcdefghij");
    while store.reclaim(8).unwrap() > 0 {}
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn tables_are_corrected_by_the_records() {
    type Plant = fn(&Store);
    let plants: [(&str, Plant); 15] = [
        ("count too high", |store| {
            let file = file(store, "half");
            plant(store, |txn| drop(txn.open_table(FILES).unwrap().insert(file.0, 7).unwrap()));
        }),
        ("count too low", |store| {
            let file = file(store, "part-1");
            plant(store, |txn| drop(txn.open_table(FILES).unwrap().insert(file.0, 1).unwrap()));
        }),
        ("count missing", |store| {
            let file = file(store, "done");
            plant(store, |txn| drop(txn.open_table(FILES).unwrap().remove(file.0).unwrap()));
        }),
        ("used and doomed", |store| {
            let file = file(store, "done");
            plant(store, |txn| drop(txn.open_table(PENDING_UNLINK).unwrap().insert(file.0, ()).unwrap()));
        }),
        ("expiry of nobody", |store| {
            plant(store, |txn| drop(txn.open_table(EXPIRY).unwrap().insert((5, "nobody"), ()).unwrap()));
        }),
        ("expiry missing", |store| {
            plant(store, |txn| drop(txn.open_table(EXPIRY).unwrap().remove((1_000, "half")).unwrap()));
        }),
        ("tombstone alone", |store| {
            plant(store, |txn| drop(txn.open_table(TOMBSTONES).unwrap().insert("gone", 5).unwrap()));
        }),
        ("lapse alone", |store| {
            plant(store, |txn| drop(txn.open_table(LAPSES).unwrap().insert((5, "gone"), ()).unwrap()));
        }),
        ("not scattered", |store| {
            plant(store, |txn| drop(txn.open_table(FRAGMENTED).unwrap().insert("done", None).unwrap()));
        }),
        ("event", |store| {
            plant(store, |txn| drop(txn.open_table(EVENTS).unwrap().insert(("done", 5), &b"?"[..]).unwrap()));
        }),
        ("due event missing", |store| {
            plant(store, |txn| txn.open_table(DUE_EVENTS).unwrap().retain(|_, _| false).unwrap());
        }),
        ("due event of nobody", |store| {
            plant(store, |txn| drop(txn.open_table(DUE_EVENTS).unwrap().insert((3, 3), "half").unwrap()));
        }),
        ("waiting missing", |store| {
            plant(store, |txn| drop(txn.open_table(WAITING).unwrap().remove(("part-2", "final")).unwrap()));
        }),
        ("waiting of nobody", |store| {
            plant(store, |txn| drop(txn.open_table(WAITING).unwrap().insert(("done", "half"), ()).unwrap()));
        }),
        ("part that expires under its final", |store| {
            let expires = Some(WallTime::from_micros(1_000));
            plant_row(store, "part-1", |row| row.expires = expires);
            plant(store, |txn| drop(txn.open_table(EXPIRY).unwrap().insert((1_000, "part-1"), ()).unwrap()));
        }),
    ];
    for (what, plant) in plants {
        for durability in [Durability::Strict, Durability::Eventual] {
            let (dir, store) = filled(durability);
            plant(&store);
            let remedies = repair(&store);
            assert!(
                remedies.iter().all(|remedy| matches!(remedy, Remedy::Corrected | Remedy::Removed)),
                "{what}: {remedies:?}"
            );
            assert!(store.repair().unwrap().is_empty(), "{what}");
            drop(store);
            check_works(&open(dir.path(), durability).unwrap());
        }
    }
}

#[test]
fn a_final_that_was_not_told_of_its_last_part_is_completed() {
    let (_dir, store) = filled(Durability::Strict);
    plant(&store, |txn| drop(txn.open_table(WAITING).unwrap().remove(("part-2", "final")).unwrap()));
    assert_eq!(write(&store, "part-2", 0, b"abcdefghij"), Completion::Committed { offset: 10 });
    assert!(!store.load(&id("final")).unwrap().unwrap().is_complete());
    repair(&store);
    assert_eq!(read(&store, "final"), b"0123456789abcdefghij");
}

#[test]
fn an_upload_that_lost_bytes_ends_where_they_do_and_can_go_on() {
    let cut = |path: &Path| fs::File::options().write(true).open(path).unwrap().set_len(4).unwrap();
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    type Damage = fn(&Path);
    for (damage, left) in [(cut as Damage, 4), (remove, 0)] {
        let (_dir, store) = filled(Durability::Strict);
        let told = store.outbox(0, 9).unwrap();
        assert_eq!(told.iter().map(|event| &event.record.id).collect::<Vec<_>>(), [&id("done")]);
        damage(&path(&store, "done"));
        assert_eq!(repair(&store), [Remedy::CutBack { offset: left }]);
        let record = store.load(&id("done")).unwrap().unwrap();
        assert_eq!((record.offset, record.is_complete()), (left, false));
        // It is not complete, whoever was not told yet.
        assert_eq!(store.outbox(0, 9).unwrap(), []);
        let rest = &b"0123456789"[left as usize..];
        assert_eq!(write(&store, "done", left, rest), Completion::Committed { offset: 10 });
        assert_eq!(store.outbox(0, 9).unwrap().len(), 1);
        check_works(&store);
    }
}

#[test]
fn a_pending_final_waits_again_for_a_part_that_lost_bytes() {
    let (_dir, store) = filled(Durability::Strict);
    fs::File::options().write(true).open(path(&store, "part-1")).unwrap().set_len(4).unwrap();
    assert!(repair(&store).contains(&Remedy::CutBack { offset: 4 }));
    assert_eq!(write(&store, "part-1", 4, b"456789"), Completion::Committed { offset: 10 });
    check_works(&store);
}

/// Nobody can send what it lacks, and what it has may be all there is.
#[test]
fn a_complete_final_that_lost_bytes_is_left_as_it_is() {
    let (_dir, store) = filled(Durability::Strict);
    assert_eq!(write(&store, "part-2", 0, b"abcdefghij"), Completion::Committed { offset: 10 });
    for part in ["part-1", "part-2"] {
        assert!(store.delete(&id(part)).unwrap());
    }
    let path = path(&store, "final");
    fs::File::options().write(true).open(&path).unwrap().set_len(4).unwrap();
    let before = store.verify().unwrap();
    let finding = Finding::ShortFile { id: id("final"), path: path.clone(), committed: 10, there: 4 };
    assert_eq!(store.repair().unwrap(), [Repair { finding, remedy: None }]);
    assert_eq!(store.verify().unwrap(), before);
    assert_eq!(fs::read(path).unwrap(), b"0123");
    assert!(store.delete(&id("final")).unwrap());
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn what_nobody_refers_to_is_moved_and_not_destroyed() {
    let (dir, store) = filled(Durability::Strict);
    let stray = path(&store, "done").with_file_name("stray");
    fs::write(&stray, "a stray").unwrap();
    let orphan = FileId(0x77);
    let place = dir.path().join(orphan.path());
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, "an orphan").unwrap();
    plant(&store, |txn| drop(txn.open_table(FILES).unwrap().insert(orphan.0, 1).unwrap()));
    let moved: Vec<_> = repair(&store)
        .into_iter()
        .map(|remedy| match remedy {
            Remedy::SetAside { path } => fs::read_to_string(path).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(moved, ["an orphan", "a stray"]);
    // The same name again takes no other's place.
    fs::write(&stray, "another").unwrap();
    repair(&store);
    assert_eq!(fs::read_dir(dir.path().join("aside")).unwrap().count(), 3);
    check_works(&store);
}

#[test]
fn while_a_record_cannot_be_read_nothing_is_taken_from_it() {
    let (_dir, store) = filled(Durability::Strict);
    let (kept, bytes) = (path(&store, "done"), read(&store, "done"));
    plant(&store, |txn| drop(txn.open_table(UPLOADS).unwrap().insert("done", &b"?"[..]).unwrap()));
    plant(&store, |txn| drop(txn.open_table(EXPIRY).unwrap().insert((5, "nobody"), ()).unwrap()));
    let repairs = store.repair().unwrap();
    let left: Vec<_> = repairs.iter().filter(|repair| repair.remedy.is_none()).collect();
    assert_eq!(left[0].finding, Finding::DamagedRecord { id: id("done") });
    assert!(repairs.iter().any(|repair| repair.remedy == Some(Remedy::Corrected)), "{repairs:?}");
    while store.reclaim(8).unwrap() > 0 {}
    assert_eq!(fs::read(kept).unwrap(), bytes);
}

#[test]
fn a_log_of_another_store_is_refused_and_a_copy_set_aside() {
    let (other_dir, other) = filled(Durability::Eventual);
    let (dir, store) = filled(Durability::Strict);
    drop(store);
    plant(&other, |txn| database::set_sequence(txn, 900).unwrap());
    lock(&other.writer).sequence = 900;
    create(&other, record("elsewhere", None));
    fs::copy(other_dir.path().join("log"), dir.path().join("log")).unwrap();
    let refused = open(dir.path(), Durability::Strict).unwrap_err();
    assert!(matches!(refused, OpenError::ForeignJournal { .. }), "{refused}");
    assert!(refused.to_string().contains("repair the store"), "{refused}");

    let (store, repaired) = Store::open_for_repair(dir.path(), &options(Durability::Strict)).unwrap();
    assert!(
        matches!(repaired, Some(Repair { remedy: Some(Remedy::Salvaged { kept: 0, path, .. }), .. }) if path.exists())
    );
    assert_eq!(store.verify().unwrap(), []);
    check_works(&store);
    drop(store);
    let (_store, repaired) = Store::open_for_repair(dir.path(), &options(Durability::Strict)).unwrap();
    assert_eq!(repaired, None);
}
