//! Uploads that are taken over with the files they had.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use tus_proto::{Completion, Concat, Record};

use super::harness::{commit, id, options, record};
use crate::{
    Adopted, Adoption, Change, Durability, EventKind, Events, Options, Store,
    sim::{Crash, SimDisk},
};

fn file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn adoption(dir: &Path, name: &str, length: Option<u64>, bytes: &[u8]) -> Adoption {
    let record = Record { offset: bytes.len() as u64, ..record(name, length) };
    Adoption { record, data: file(dir, name, bytes) }
}

fn body(store: &Store, name: &str) -> Option<Vec<u8>> {
    let mut body = store.read(&id(name)).unwrap()?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut body, &mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn uploads_are_taken_over_as_they_are_and_go_on() {
    let (source, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let from = source.path();
    let finals = Record { concat: Some(Concat::Final("final;/a".into())), ..record("final", Some(3)) };
    let group = [
        adoption(from, "finished", Some(5), b"hello"),
        adoption(from, "half", Some(10), b"world"),
        adoption(from, "deferred", None, b"some"),
        adoption(from, "empty", Some(0), b""),
        adoption(from, "begun", Some(7), b""),
        Adoption { record: Record { offset: 3, ..finals }, data: file(from, "final", b"abc") },
        adoption(from, "finished", Some(5), b"again"),
        Adoption { data: from.join("lost"), ..adoption(from, "missing", Some(5), b"x") },
        Adoption { data: file(from, "grown", b"longer"), ..adoption(from, "g", Some(9), b"long") },
    ];
    file(from, "finished", b"hello");
    let events = Events { created: false, completed: true, terminated: true };
    let store = Store::open(place.path(), &Options { events, ..options(Durability::Strict) }).unwrap();
    let adopted = store.adopt(&group).unwrap();
    use Adopted::{Copied, Differs, Exists, Failed, Linked};
    assert!(
        matches!(
            adopted[..],
            [Linked, Linked, Linked, Copied, Copied, Linked, Exists, Failed(_), Differs { len: 6 }]
        ),
        "{adopted:?}"
    );
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let (path, len) = store.paths(&id("half")).unwrap().remove(0);
    assert_eq!((inode(&path), len), (inode(&from.join("half")), 5));
    for (name, bytes) in [("finished", "hello"), ("half", "world"), ("deferred", "some"), ("final", "abc")] {
        assert_eq!(body(&store, name).unwrap(), bytes.as_bytes(), "{name}");
    }
    let told = store.outbox(0, 9).unwrap();
    let told: Vec<_> = told.iter().map(|entry| (entry.kind, entry.record.id.as_str())).collect();
    assert_eq!(told, ["finished", "empty", "final"].map(|name| (EventKind::Completed, name)));

    for (name, at, more) in [("half", 5, &b"12345"[..]), ("begun", 0, b"begun!!")] {
        let fence = store.first_fence();
        let mut sink = store.append(&id(name), fence, at).unwrap();
        sink.write(more).unwrap();
        let to = at + more.len() as u64;
        sink.syncer().sync(Some(to)).unwrap();
        let done = store.commit(&[commit(name, fence, at, to, Some(&sink))]);
        assert_eq!(done, [Completion::Committed { offset: to }]);
    }
    assert_eq!(body(&store, "half").unwrap(), b"world12345");
    assert!(store.load(&id("half")).unwrap().unwrap().is_complete());

    let again = store.adopt(&group[..6]).unwrap();
    assert!(again.iter().all(|adopted| matches!(adopted, Exists)), "{again:?}");
    while store.reclaim(8).unwrap() > 0 {}
    assert_eq!(store.verify().unwrap(), []);
    let delete = Change::Delete { id: id("finished"), fence: store.first_fence() };
    assert_eq!(store.commit(&[delete]), [Completion::Deleted]);
    while store.reclaim(8).unwrap() > 0 {}
    assert_eq!(fs::read(from.join("finished")).unwrap(), b"hello", "the other server's file stays");
}

#[test]
fn a_crash_at_any_call_leaves_uploads_whole_or_not_there_and_no_file() {
    let source = TempDir::new().unwrap();
    let group = [
        adoption(source.path(), "a", Some(3000), &[7; 3000]),
        adoption(source.path(), "b", Some(9), b"half"),
    ];
    let open = |disk: &SimDisk| Store::open_on(Arc::new(disk.clone()), &options(Durability::Strict));
    let prepared = || {
        let disk = SimDisk::new();
        drop(open(&disk).unwrap());
        disk
    };
    let disk = prepared();
    let begin = disk.calls();
    open(&disk).unwrap().adopt(&group).unwrap();
    let end = disk.calls();
    assert!(end - begin > 20);
    for at in begin..end {
        for crash in [Crash::Process, Crash::Machine(at)] {
            let disk = prepared();
            disk.die_at(at);
            let told = open(&disk).ok().and_then(|store| store.adopt(&group).ok());
            disk.crash(crash);
            let store = open(&disk).unwrap();
            for (name, bytes) in [("a", &[7; 3000][..]), ("b", b"half")] {
                let found = body(&store, name);
                assert!(found.as_deref().is_none_or(|found| found == bytes), "{name}, {crash:?} at {at}");
                assert!(told.is_none() || found.is_some(), "{name}, {crash:?} at {at}");
            }
            store.adopt(&group).unwrap();
            assert_eq!(body(&store, "b").unwrap(), b"half");
            while store.reclaim(8).unwrap() > 0 {}
            assert_eq!(store.verify().unwrap(), [], "{crash:?} at {at}");
        }
    }
}
