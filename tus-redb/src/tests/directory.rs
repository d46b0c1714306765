//! On the operating system's disk.

use std::{fs, io::Read, os::unix::fs::PermissionsExt, path::Path};

use tempfile::tempdir;
use tus_proto::Completion;

use super::harness::{commit, id, options, record};
use crate::{Change, Durability, Finding, OpenError, Options, Store};

fn open(dir: &Path, durability: Durability) -> Result<Store, OpenError> {
    Store::open(dir, &options(durability))
}

#[test]
fn an_upload_survives_closing_and_both_kinds_of_opening() {
    for (first, second) in
        [(Durability::Strict, Durability::Eventual), (Durability::Eventual, Durability::Strict)]
    {
        let dir = tempdir().unwrap();
        let dir = dir.path().join("new").join("store");
        let store = open(&dir, first).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(
            store.commit(&[Change::Create { record: record("a", Some(5)), first: None }]),
            [Completion::Created]
        );
        let fence = store.first_fence();
        let mut sink = store.append(&id("a"), fence, 0).unwrap();
        sink.write(b"he").unwrap();
        {
            let (file, position) = sink.splice_target().unwrap().expect("a real file");
            let written = rustix::io::pwrite(file, b"llo", position).unwrap();
            sink.advance(written as u64);
        }
        assert_eq!(sink.staged(), 5);
        sink.syncer().sync(Some(5)).unwrap();
        let done = store.commit(&[commit("a", fence, 0, 5, Some(&sink))]);
        assert_eq!(done, [Completion::Committed { offset: 5 }]);
        drop((sink, store));

        let store = open(&dir, second).unwrap();
        let mut text = String::new();
        store.read(&id("a")).unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn a_directory_has_one_store_at_a_time() {
    let dir = tempdir().unwrap();
    let store = open(dir.path(), Durability::Strict).unwrap();
    for durability in [Durability::Strict, Durability::Eventual] {
        let second = open(dir.path(), durability);
        assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    }
    drop(store);
    open(dir.path(), Durability::Strict).unwrap();
}

#[test]
fn what_is_no_store_is_said_to_be_none_and_left_as_it_is() {
    let dir = tempdir().unwrap();
    let missing = dir.path().join("missing");
    let opened = Store::open_existing(&missing, &options(Durability::Strict));
    assert!(matches!(opened, Err(OpenError::Missing { .. })), "{opened:?}");
    assert!(!missing.exists());
    let opened = Store::open_existing(dir.path(), &options(Durability::Strict));
    assert!(matches!(opened, Err(OpenError::Missing { .. })), "{opened:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    let opened = open(&file, Durability::Strict);
    assert!(matches!(opened, Err(OpenError::NotWritable { .. })), "{opened:?}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");

    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("records.redb"), "something else").unwrap();
    let opened = open(&other, Durability::Strict);
    assert!(matches!(opened, Err(OpenError::Corrupt { .. })), "{opened:?}");
}

#[test]
fn verify_says_what_is_wrong_with_the_files() {
    let dir = tempdir().unwrap();
    let store = open(dir.path(), Durability::Strict).unwrap();
    let fence = store.first_fence();
    for name in ["cut", "missing"] {
        store.commit(&[Change::Create { record: record(name, None), first: None }]);
        let mut sink = store.append(&id(name), fence, 0).unwrap();
        sink.write(b"0123456789").unwrap();
        sink.syncer().sync(None).unwrap();
        store.commit(&[commit(name, fence, 0, 10, Some(&sink))]);
    }
    let path = |name| store.describe(&id(name)).unwrap().unwrap().extents[0].path.clone();
    fs::OpenOptions::new().write(true).open(path("cut")).unwrap().set_len(9).unwrap();
    fs::remove_file(path("missing")).unwrap();
    let stray = path("cut").with_file_name("stray");
    fs::write(&stray, "").unwrap();
    let findings = store.verify().unwrap();
    let expected = [
        Finding::ShortFile { id: id("cut"), path: path("cut"), committed: 10, there: 9 },
        Finding::MissingFile { id: id("missing"), path: path("missing") },
        Finding::Stray { path: stray },
    ];
    assert_eq!(findings, expected);
    assert!(findings[0].to_string().starts_with("upload cut has 10 bytes committed in "));
}

#[test]
fn a_store_of_another_format_is_refused_and_told() {
    let dir = tempdir().unwrap();
    for format in [crate::records::database::FORMAT + 1, crate::records::database::FORMAT_3 - 1] {
        let dir = dir.path().join(format.to_string());
        let store = open(&dir, Durability::Strict).unwrap();
        {
            let mut writer = crate::mutex::lock(&store.writer);
            let database = store.database(&mut writer).unwrap();
            let txn = crate::records::database::begin_durable(&database).unwrap();
            txn.open_table(crate::records::database::META).unwrap().insert("format", format).unwrap();
            txn.commit().unwrap();
        }
        drop(store);
        for durability in [Durability::Strict, Durability::Eventual] {
            let refused = open(&dir, durability).unwrap_err();
            assert!(matches!(refused, OpenError::UnknownFormat { .. }), "{refused}");
            let text = refused.to_string();
            assert!(text.contains(&format!("version {format}")) && text.contains("open it with"), "{text}");
        }
    }
}

/// A disk that hands out other bytes than it was given, without a word of it.
#[test]
fn a_page_that_has_rotted_is_told_when_the_records_are_checked() {
    const PAGE: usize = 4096;
    let dir = tempdir().unwrap();
    let store = open(dir.path(), Durability::Strict).unwrap();
    for at in 0..100 {
        let made =
            store.commit(&[Change::Create { record: record(&format!("upload-{at}"), Some(5)), first: None }]);
        assert_eq!(made, [Completion::Created]);
    }
    drop(store);
    let path = dir.path().join("records.redb");
    let sound = fs::read(&path).unwrap();
    let checked = Options { check: true, ..options(Durability::Strict) };
    let mut told = 0;
    for page in 1..sound.len() / PAGE {
        let mut rotten = sound.clone();
        rotten[page * PAGE + 40..page * PAGE + 60].fill(0x5a);
        fs::write(&path, &rotten).unwrap();
        match Store::open_existing(dir.path(), &checked) {
            Err(OpenError::Corrupt { what, .. }) => told += u32::from(!what.is_empty()),
            // Nothing is in that page.
            Ok(store) => assert_eq!(store.list(None, 1000).unwrap().len(), 100, "page {page}"),
            Err(other) => panic!("page {page}: {other}"),
        }
    }
    assert!(told > 2, "{told} pages of {} were missed", sound.len() / PAGE);
    fs::write(&path, &sound).unwrap();
    assert_eq!(Store::open_existing(dir.path(), &checked).unwrap().verify().unwrap(), []);
}
