//! Digests of complete uploads: of each that is complete, over the right bytes, whatever happens meanwhile.

use std::sync::Arc;

use tus_proto::{Algorithm, Completion, Concat, Hasher, Record, WallTime};

use super::harness::{commit, id, options, record};
use crate::{
    Change, Durability, Options, Store,
    sim::{Crash, Fault, SimDisk},
};

fn open(disk: &SimDisk, durability: Durability) -> Option<Store> {
    let options = Options { digests: true, inline_bytes: 4, ..options(durability) };
    Store::open_on(Arc::new(disk.clone()), &options).ok()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    hasher.finish().as_bytes().try_into().unwrap()
}

/// Makes an upload of these bytes.
fn write(store: &Store, record: Record, bytes: &[u8]) -> Option<()> {
    let name = record.id.to_string();
    if store.commit(&[Change::Create { record, first: None }]) != [Completion::Created] {
        return None;
    }
    let fence = store.first_fence();
    let mut sink = store.append(&id(&name), fence, 0).ok()?;
    sink.write(bytes).ok()?;
    sink.syncer().sync(None).ok()?;
    let offset = bytes.len() as u64;
    let change = commit(&name, fence, 0, offset, Some(&sink));
    (store.commit(&[change]) == [Completion::Committed { offset }]).then_some(())
}

fn part(name: &str, length: u64) -> Record {
    Record { concat: Some(Concat::Partial), ..record(name, Some(length)) }
}

fn concat(name: &str, parts: &[&str]) -> Change {
    let record = Record { concat: Some(Concat::Final("final;/x".into())), ..record(name, None) };
    let parts = parts.iter().map(|part| id(part)).collect();
    Change::Concat { record, parts, max: None, delete_parts: false }
}

/// Computes all digests, a few bytes a call.
fn digest_all(store: &Store) {
    for _ in 0..200 {
        if !store.digest(3).unwrap() {
            return;
        }
    }
    panic!("there is always more to do");
}

#[test]
fn each_complete_upload_has_one_wherever_its_bytes_are() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let store = open(&SimDisk::new(), durability).unwrap();
        write(&store, record("file", Some(10)), b"0123456789").unwrap();
        write(&store, record("inline", Some(3)), b"012").unwrap();
        store.commit(&[Change::Create { record: record("empty", Some(0)), first: None }]);
        write(&store, part("a", 6), b"abcdef").unwrap();
        write(&store, part("b", 2), b"gh").unwrap();
        store.commit(&[concat("now", &["a", "b", "a"])]);
        store.commit(&[Change::Create { record: part("late", 5), first: None }]);
        store.commit(&[concat("later", &["a", "late"])]);
        write(&store, record("half", Some(10)), b"01234").unwrap();
        digest_all(&store);
        let fence = store.first_fence();
        let mut sink = store.append(&id("late"), fence, 0).unwrap();
        sink.write(b"-late").unwrap();
        sink.syncer().sync(None).unwrap();
        store.commit(&[commit("late", fence, 0, 5, Some(&sink))]);
        assert!(store.needs_digest());
        digest_all(&store);
        assert!(!store.needs_digest());
        for (name, bytes) in [
            ("file", Some(&b"0123456789"[..])),
            ("inline", Some(b"012")),
            ("empty", Some(b"")),
            ("a", Some(b"abcdef")),
            ("b", Some(b"gh")),
            ("now", Some(b"abcdefghabcdef")),
            ("late", Some(b"-late")),
            ("later", Some(b"abcdef-late")),
            ("half", None),
            ("nobody", None),
        ] {
            assert_eq!(store.stored_digest(&id(name)), Ok(bytes.map(sha256)), "{durability:?}: {name}");
        }
        // Putting a final into one file leaves its digest.
        store.commit(&[Change::Delete { id: id("a"), fence: store.first_fence() }]);
        store.flush().unwrap();
        while store.needs_consolidation() && store.consolidate(1 << 20).unwrap() {}
        assert_eq!(store.stored_digest(&id("later")), Ok(Some(sha256(b"abcdef-late"))));
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn another_upload_of_the_same_id_does_not_get_it() {
    let store = open(&SimDisk::new(), Durability::Strict).unwrap();
    write(&store, record("a", Some(10)), b"0123456789").unwrap();
    assert_eq!(store.digest(4), Ok(true));
    store.commit(&[Change::Delete { id: id("a"), fence: store.first_fence() }]);
    let created = WallTime::from_micros(6);
    write(&store, Record { created, ..record("a", Some(10)) }, b"9876543210").unwrap();
    digest_all(&store);
    assert_eq!(store.stored_digest(&id("a")), Ok(Some(sha256(b"9876543210"))));
    // One that is gone leaves no note.
    write(&store, record("b", Some(10)), b"0123456789").unwrap();
    store.commit(&[Change::Delete { id: id("b"), fence: store.first_fence() }]);
    digest_all(&store);
    assert!(!store.needs_digest());
}

#[test]
fn what_cannot_be_read_does_not_stand_in_the_way() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict).unwrap();
    write(&store, record("a", Some(10)), b"0123456789").unwrap();
    write(&store, record("b", Some(10)), b"abcdefghij").unwrap();
    store.drop_view();
    disk.fail(disk.calls()..disk.calls() + 1, Fault::Io);
    assert!(store.digest(99).is_err());
    digest_all(&store);
    let kept = ["a", "b"].map(|name| store.stored_digest(&id(name)).unwrap().is_some());
    assert!(kept.contains(&true), "{kept:?}");
    // It has its turn with the next.
    write(&store, record("c", Some(5)), b"01234").unwrap();
    digest_all(&store);
    digest_all(&store);
    let kept = ["a", "b", "c"].map(|name| store.stored_digest(&id(name)).unwrap().is_some());
    assert_eq!(kept, [true; 3]);
}

#[test]
fn a_store_without_digests_keeps_those_it_has_and_makes_none() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict).unwrap();
    write(&store, record("a", Some(5)), b"01234").unwrap();
    digest_all(&store);
    drop(store);
    let store = Store::open_on(Arc::new(disk.clone()), &options(Durability::Strict)).unwrap();
    write(&store, record("b", Some(5)), b"01234").unwrap();
    assert!(!store.needs_digest());
    assert_eq!(store.digest(9), Ok(false));
    assert_eq!(store.stored_digest(&id("a")), Ok(Some(sha256(b"01234"))));
    assert_eq!(store.stored_digest(&id("b")), Ok(None));
}

const BODIES: [(&str, &[u8]); 3] = [("a", b"0123456789"), ("b", b"ab"), ("c", b"abcdefgh")];

fn live(store: &Store) -> Option<()> {
    for (name, bytes) in BODIES {
        write(store, record(name, Some(bytes.len() as u64)), bytes)?;
    }
    while store.digest(4).ok()? {}
    store.flush().ok()
}

#[test]
fn cut_anywhere_no_upload_has_a_digest_of_other_bytes_and_each_gets_one() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = open(&disk, durability).unwrap();
        let begin = disk.calls();
        live(&store).unwrap();
        let end = disk.calls();
        drop(store);
        for call in begin..end {
            for crash in [Crash::Process, Crash::Machine(call), Crash::Machine(call + 1)] {
                let disk = SimDisk::new();
                let store = open(&disk, durability).unwrap();
                disk.die_at(call);
                let _ = live(&store);
                drop(store);
                disk.crash(crash);
                let context = format!("{durability:?} {crash:?} at {call}");
                let store = open(&disk, durability).unwrap();
                for all in [false, true] {
                    for (name, bytes) in BODIES {
                        let record = store.load(&id(name)).unwrap();
                        let complete = record.is_some_and(|record| record.is_complete());
                        let digest = store.stored_digest(&id(name)).unwrap();
                        let right = digest.map_or(!(all && complete), |digest| digest == sha256(bytes));
                        assert!(right, "{context}: {name}, {complete}, {digest:?}");
                    }
                    digest_all(&store);
                }
                assert_eq!(store.verify().unwrap(), [], "{context}");
            }
        }
    }
}
