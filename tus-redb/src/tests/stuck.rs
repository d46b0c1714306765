//! What can't be done for one upload hinders no other; and data files that somebody has moved away.

use std::sync::Arc;

use tus_proto::{Completion, Failure, Fence, Record, WallTime};

use super::harness::{commit, id, options, record};
use crate::{
    Change, Disk, Durability, Mode, Rejected, Store,
    mutex::lock,
    records::database::{EXPIRY, UPLOADS, begin_durable},
    sim::SimDisk,
};

fn open(disk: &SimDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), &options(Durability::Strict)).unwrap()
}

fn at(seconds: u64) -> WallTime {
    WallTime::from_micros(seconds * 1_000_000)
}

fn put(store: &Store, name: &str) {
    store.commit(&[Change::Create { record: record(name, None), first: None }]);
    let fence = store.first_fence();
    let mut sink = store.append(&id(name), fence, 0).unwrap();
    sink.write(b"bytes").unwrap();
    sink.syncer().sync(None).unwrap();
    let told = store.commit(&[commit(name, fence, 0, 5, Some(&sink))]);
    assert_eq!(told, [Completion::Committed { offset: 5 }]);
}

fn path(store: &Store, name: &str) -> String {
    let path = store.describe(&id(name)).unwrap().unwrap().extents[0].path.clone();
    path.strip_prefix("/sim").unwrap().to_str().unwrap().to_owned()
}

#[test]
fn records_that_can_not_be_swept_hinder_no_other() {
    let store = open(&SimDisk::new());
    for n in 0..9 {
        let expires = Some(at(10 + n));
        store.commit(&[Change::Create {
            record: Record { expires, ..record(&format!("upload-{n}"), Some(5)) },
            first: None,
        }]);
    }
    {
        let mut writer = lock(&store.writer);
        let database = store.database(&mut writer).unwrap();
        let txn = begin_durable(&database).unwrap();
        for n in 0..4 {
            txn.open_table(UPLOADS).unwrap().insert(format!("upload-{n}").as_str(), &b"?"[..]).unwrap();
        }
        txn.open_table(EXPIRY).unwrap().insert((1, "nobody"), ()).unwrap();
        txn.commit().unwrap();
        store.renew_view();
    }
    let mut expired = 0;
    for _ in 0..9 {
        expired += store.sweep(at(99), 2).unwrap().expired;
    }
    assert_eq!(expired, 5);
    // And those that become due later are seen, too.
    store.commit(&[Change::Create {
        record: Record { expires: Some(at(9)), ..record("late", Some(5)) },
        first: None,
    }]);
    expired = (0..4).map(|_| store.sweep(at(99), 2).unwrap().expired).sum();
    assert_eq!(expired, 1);
}

#[test]
fn files_that_can_not_be_removed_hinder_no_other() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let names: Vec<_> = (0..9).map(|n| format!("upload-{n}")).collect();
    for name in &names {
        put(&store, name);
    }
    disk.keep(&["00000000", "00000001", "00000002"]);
    for name in &names {
        store.commit(&[Change::Delete { id: id(name), fence: Fence(u64::MAX) }]);
    }
    let removed: usize = (0..9).filter_map(|_| store.reclaim(2).ok()).sum();
    assert_eq!(removed, 6);
    assert!(store.trouble().is_some() && store.needs_reclaim());
    disk.keep(&[]);
    let removed: usize = (0..9).filter_map(|_| store.reclaim(2).ok()).sum();
    assert_eq!((removed, store.verify().unwrap()), (3, vec![]));
}

#[test]
fn a_full_disk_is_not_filled_by_every_append() {
    let disk = SimDisk::new();
    let store = open(&disk);
    put(&store, "a");
    let fence = store.first_fence();
    disk.set_free(Some(0));
    for n in 0..500 {
        store.commit(&[Change::Create { record: record(&format!("more-{n}"), None), first: None }]);
        let _ = store.flush();
    }
    assert!(store.is_full());
    disk.set_free(Some(100 << 10));
    let calls = |times| {
        let before = disk.calls();
        for _ in 0..times {
            assert_eq!(store.append(&id("a"), fence, 5).unwrap_err(), Rejected::Failed(Failure::NoSpace));
        }
        disk.calls() - before
    };
    calls(1);
    assert_eq!(calls(100), 0, "it is known to be full");
    disk.set_free(Some(4 << 20));
    store.append(&id("a"), fence, 5).unwrap();
}

#[test]
fn a_data_file_that_is_gone_is_told_as_such() {
    let disk = SimDisk::new();
    let store = open(&disk);
    put(&store, "a");
    put(&store, "b");
    let (file, fence) = (path(&store, "a"), store.first_fence());
    disk.rename(&file, "moved").unwrap();
    let record = store.load(&id("a")).unwrap().unwrap();
    assert_eq!(store.look_up(&id("a")), Ok(record.clone()), "nobody has noticed");
    let lost = Rejected::Lost(Box::new(record.clone()));
    assert_eq!(store.append(&id("a"), fence, 5).unwrap_err(), lost);
    assert_eq!(store.open_source(&id("a")).unwrap_err(), lost);
    assert!(store.trouble().unwrap().contains(&file));
    assert_eq!(store.look_up(&id("a")), Err(lost), "from then on");
    assert_eq!(store.trouble(), None, "it was told");
    assert!(store.look_up(&id("b")).is_ok());
    assert_eq!(store.read(&id("a")).unwrap_err(), Failure::Io);
    disk.rename("moved", &file).unwrap();
    assert_eq!(store.look_up(&id("a")), Ok(record), "it is back");
    store.append(&id("a"), fence, 5).unwrap();
    assert_eq!(disk.open(&file, Mode::Existing).unwrap().len().unwrap(), 5);
    // Without the directory nothing can be stored, and the server is not well.
    store.probe().unwrap();
    disk.rename("data", "elsewhere").unwrap();
    assert_eq!(store.probe(), Err(Failure::Io));
}
