//! Repair where bodies lie in the records.

use std::{fs, path::Path};

use redb::{ReadableDatabase, ReadableTable};
use tempfile::{TempDir, tempdir};
use tus_proto::Completion;

use super::{
    harness::{id, options},
    repair::{check_works, file, fill, plant, read, repair, write},
};
use crate::{
    Durability, Finding, Options, Remedy, Repair, Store,
    files::file_id::FileId,
    mutex::lock,
    records::database::{INLINE, UPLOADS},
};

fn filled() -> (TempDir, Store) {
    let dir = tempdir().unwrap();
    let options = Options { inline_bytes: 1_000, ..options(Durability::Strict) };
    let store = Store::open(dir.path(), &options).unwrap();
    fill(&store);
    assert!(!dir.path().join("data").read_dir().unwrap().any(|_| true), "no body has a file");
    (dir, store)
}

pub(super) fn remove_entry(store: &Store, name: &str) {
    let file = file(store, name);
    plant(store, |txn| assert!(txn.open_table(INLINE).unwrap().remove(file.0).unwrap().is_some()));
}

pub(super) fn shorten_entry(store: &Store, name: &str) {
    let file = file(store, name);
    plant(store, |txn| drop(txn.open_table(INLINE).unwrap().insert(file.0, &b"0123"[..]).unwrap()));
}

/// Bytes of a file that is nobody's.
pub(super) fn leave_entry(store: &Store, bytes: &[u8]) {
    plant(store, |txn| drop(txn.open_table(INLINE).unwrap().insert(0x77, bytes).unwrap()));
}

/// What lies in the records.
pub(super) fn entries(store: &Store) -> Vec<Vec<u8>> {
    let mut writer = lock(&store.writer);
    let txn = store.database(&mut writer).unwrap().begin_read().unwrap();
    let table = txn.open_table(INLINE).unwrap();
    table.iter().unwrap().map(|entry| entry.unwrap().1.value().to_vec()).collect()
}

#[test]
fn an_upload_whose_entry_is_damaged_ends_where_its_bytes_do_and_can_go_on() {
    type Damage = fn(&Store, &str);
    for (damage, left) in [(shorten_entry as Damage, 4), (remove_entry, 0)] {
        let (_dir, store) = filled();
        damage(&store, "done");
        let path = store.describe(&id("done")).unwrap().unwrap().extents[0].path.clone();
        assert!(store.verify().unwrap().contains(&Finding::MissingFile { id: id("done"), path }));
        let remedies = repair(&store);
        assert_eq!(remedies[0], Remedy::CutBack { offset: left });
        assert_eq!(read(&store, "done"), &b"0123456789"[..left as usize]);
        assert!(!store.load(&id("done")).unwrap().unwrap().is_complete());
        let rest = &b"0123456789"[left as usize..];
        assert_eq!(write(&store, "done", left, rest), Completion::Committed { offset: 10 });
        check_works(&store);
    }
}

#[test]
fn a_pending_final_waits_again_for_a_part_whose_entry_is_damaged() {
    let (_dir, store) = filled();
    shorten_entry(&store, "part-1");
    assert!(repair(&store).contains(&Remedy::CutBack { offset: 4 }));
    assert_eq!(write(&store, "part-1", 4, b"456789"), Completion::Committed { offset: 10 });
    check_works(&store);
}

#[test]
fn bytes_of_nobody_become_a_file_aside() {
    let (dir, store) = filled();
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for (bytes, number) in [(&b"nobody's"[..], 1), (b"nobody's either", 2)] {
        leave_entry(&store, bytes);
        let path = dir.path().join(FileId(0x77).path());
        assert_eq!(store.verify().unwrap(), [Finding::StrayBytes { path }]);
        let [Remedy::SetAside { path }] = &repair(&store)[..] else { panic!("they were not moved") };
        assert_eq!(fs::read(path).unwrap(), bytes);
        assert_eq!(names(&dir.path().join("aside")).len(), number, "one takes no other's place");
        assert!(!entries(&store).iter().any(|entry| entry == bytes));
    }
    check_works(&store);
}

#[test]
fn the_bytes_of_a_lost_record_become_a_file_aside() {
    let (_dir, store) = filled();
    plant(&store, |txn| drop(txn.open_table(UPLOADS).unwrap().remove("half").unwrap()));
    let moved: Vec<_> = repair(&store)
        .into_iter()
        .filter_map(|remedy| match remedy {
            Remedy::SetAside { path } => Some(fs::read(path).unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(moved, [b"0123456789"]);
    assert_eq!(entries(&store).len(), 2);
}

#[test]
fn while_a_record_cannot_be_read_its_bytes_stay() {
    let (dir, store) = filled();
    plant(&store, |txn| drop(txn.open_table(UPLOADS).unwrap().insert("done", &b"?"[..]).unwrap()));
    let before = entries(&store);
    let repairs = store.repair().unwrap();
    let finding = Finding::DamagedRecord { id: id("done") };
    assert!(repairs.contains(&Repair { finding, remedy: None }), "{repairs:?}");
    while store.reclaim(8).unwrap() > 0 {}
    assert_eq!(entries(&store), before);
    assert!(!dir.path().join("aside").exists());
}
