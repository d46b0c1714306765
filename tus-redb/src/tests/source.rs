//! Reading an upload while the store runs.

use std::sync::Arc;

use tus_proto::{Completion, Failure, Fence, WallTime};

use super::harness::{commit, id, options, record};
use crate::{
    Change, Disk, Durability, Rejected, Source, Store,
    sim::{Crash, Fault, SimDisk},
};

fn open(disk: &SimDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), &options(Durability::Strict)).unwrap()
}

/// An upload whose bytes lie in as many files as there are `parts`.
fn upload(store: &Store, name: &str, parts: &[&[u8]]) {
    assert_eq!(
        store.commit(&[Change::Create { record: record(name, None), first: None }]),
        [Completion::Created]
    );
    let mut at = 0;
    for (number, part) in parts.iter().enumerate() {
        let fence = Fence(store.first_fence().0 + number as u64);
        if number > 0 {
            store.commit(&[Change::NewExtent { id: id(name), fence, at }]);
        }
        let mut sink = store.append(&id(name), fence, at).unwrap();
        sink.write(part).unwrap();
        sink.write(b"not committed").unwrap();
        sink.syncer().sync(None).unwrap();
        let to = at + part.len() as u64;
        let committed = store.commit(&[commit(name, fence, at, to, Some(&sink))]);
        assert_eq!(committed, [Completion::Committed { offset: to }]);
        at = to;
    }
}

fn delete(store: &Store, name: &str) {
    let delete = Change::Delete { id: id(name), fence: Fence(u64::MAX) };
    assert_eq!(store.commit(&[delete]), [Completion::Deleted]);
}

/// The bytes from `from` up to `to`, in reads of at most `step`.
fn read(source: &mut Source, from: u64, to: u64, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while from + (bytes.len() as u64) < to {
        let at = from + bytes.len() as u64;
        let mut extent = vec![0; step.min((to - at) as usize)];
        let n = source.read_at(at, &mut extent).unwrap();
        assert!(n > 0, "the bytes end at {at}");
        bytes.extend(&extent[..n]);
    }
    bytes
}

#[test]
fn any_range_is_read_across_files() {
    let store = open(&SimDisk::new());
    upload(&store, "a", &[b"one ", b"", b"two, ", b"t", b"hree"]);
    let whole = b"one two, three";
    let mut source = store.open_source(&id("a")).unwrap();
    assert_eq!(source.record(), &store.load(&id("a")).unwrap().unwrap());
    let end = whole.len() as u64;
    for (from, step) in (0..end).flat_map(|from| (1..end as usize + 2).map(move |step| (from, step))) {
        for to in from..=end {
            let expected = &whole[from as usize..to as usize];
            assert_eq!(read(&mut source, from, to, step), expected, "{from} to {to} by {step}");
        }
    }
    assert_eq!(source.read_at(end, &mut [0]), Ok(0));
    assert_eq!(source.read_at(u64::MAX, &mut [0]), Ok(0));
}

#[test]
fn what_was_not_committed_when_it_was_opened_is_not_read() {
    let store = open(&SimDisk::new());
    upload(&store, "a", &[b"there"]);
    let mut source = store.open_source(&id("a")).unwrap();
    let mut sink = store.append(&id("a"), Fence(u64::MAX), 5).unwrap();
    sink.write(b" since").unwrap();
    sink.syncer().sync(None).unwrap();
    let more = store.commit(&[commit("a", Fence(u64::MAX), 5, 11, Some(&sink))]);
    assert_eq!(more, [Completion::Committed { offset: 11 }]);
    assert_eq!(source.record().offset, 5);
    assert_eq!(source.read_at(0, &mut [0; 64]), Ok(5));
    assert_eq!(source.read_at(5, &mut [0; 64]), Ok(0));
}

#[test]
fn a_deletion_takes_nothing_from_under_a_reader() {
    let disk = SimDisk::new();
    let store = open(&disk);
    upload(&store, "a", &[b"first", b"second"]);
    let (mut one, mut two) = (store.open_source(&id("a")).unwrap(), store.open_source(&id("a")).unwrap());
    // A file that is open would stay readable anyway: this one is not.
    assert_eq!(read(&mut one, 0, 1, 1), b"f");
    delete(&store, "a");
    assert_eq!(store.reclaim(8), Ok(0));
    assert!(!store.needs_reclaim(), "nothing can be done before a source goes");
    assert_eq!(store.open_source(&id("a")).unwrap_err(), Rejected::Missing);
    assert_eq!(read(&mut one, 0, 11, 64), b"firstsecond");
    drop(one);
    assert_eq!(store.reclaim(8), Ok(0), "the other one still reads");
    assert_eq!(read(&mut two, 0, 11, 64), b"firstsecond");
    drop(two);
    assert!(store.needs_reclaim());
    assert_eq!(store.reclaim(8), Ok(2));
    assert_eq!(disk.list("data").unwrap(), [""; 0]);
}

#[test]
fn what_a_reader_held_in_a_crash_is_no_leak() {
    for crash in [Crash::Process, Crash::Machine(1)] {
        let disk = SimDisk::new();
        let store = open(&disk);
        upload(&store, "a", &[b"first", b"second"]);
        let mut source = store.open_source(&id("a")).unwrap();
        delete(&store, "a");
        assert_eq!(store.reclaim(8), Ok(0));
        assert_eq!(read(&mut source, 0, 11, 64), b"firstsecond");
        disk.crash(crash);
        drop((source, store));
        let store = open(&disk);
        assert_eq!(store.reclaim(8), Ok(2), "{crash:?}");
        assert_eq!(disk.list("data").unwrap(), [""; 0]);
    }
}

#[test]
fn one_that_can_not_be_opened_says_why() {
    let disk = SimDisk::new();
    let store = open(&disk);
    assert_eq!(store.open_source(&id("a")).unwrap_err(), Rejected::Missing);
    let expires = Some(WallTime::from_micros(10));
    store.commit(&[Change::Create {
        record: tus_proto::Record { expires, ..record("a", None) },
        first: None,
    }]);
    assert_eq!(store.open_source(&id("a")).unwrap().read_at(0, &mut [0]), Ok(0));
    store.sweep(WallTime::from_micros(10), 8).unwrap();
    assert_eq!(store.open_source(&id("a")).unwrap_err(), Rejected::Gone);
}

#[test]
fn bytes_that_can_not_be_read_are_no_end() {
    let disk = SimDisk::new();
    let store = open(&disk);
    upload(&store, "a", &[b"first", b"second"]);
    let mut source = store.open_source(&id("a")).unwrap();
    let path = store.describe(&id("a")).unwrap().unwrap().extents[1].path.clone();
    let path = path.strip_prefix("/sim").unwrap().to_str().unwrap();
    disk.open(path, crate::Mode::Existing).unwrap().set_len(2).unwrap();
    assert_eq!(source.read_at(6, &mut [0; 9]), Ok(1));
    assert_eq!(source.read_at(7, &mut [0; 9]), Err(Failure::Io));
    assert!(store.trouble().is_some());
    disk.fail(0..u64::MAX, Fault::Io);
    assert_eq!(source.read_at(0, &mut [0; 9]), Err(Failure::Io));
}

/// What the kernel is handed is where the bytes are.
#[test]
fn runs_lead_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &options(Durability::Strict)).unwrap();
    upload(&store, "a", &[b"one ", b"two, ", b"three"]);
    assert_eq!(store.paths(&id("a")).unwrap().iter().map(|(_, len)| *len).collect::<Vec<_>>(), [4, 5, 5]);
    let mut source = store.open_source(&id("a")).unwrap();
    let mut bytes = Vec::new();
    while let Some(run) = source.file_at(bytes.len() as u64).unwrap() {
        let mut extent = vec![0; run.len.min(3) as usize];
        assert_eq!(rustix::io::pread(run.fd, &mut extent, run.position).unwrap(), extent.len());
        bytes.extend(extent);
    }
    assert_eq!(bytes, b"one two, three");
    let on_sim = open(&SimDisk::new());
    upload(&on_sim, "a", &[b"bytes"]);
    assert!(on_sim.open_source(&id("a")).unwrap().file_at(0).unwrap().is_none());
}

#[test]
fn however_many_files_one_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &options(Durability::Strict)).unwrap();
    let open_files = || {
        let of_store = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            std::fs::read_link(entry.unwrap().path()).ok().filter(|path| path.starts_with(dir.path()))
        });
        of_store.count()
    };
    let parts: Vec<_> = (0..40_u8).map(|n| [n]).collect();
    upload(&store, "a", &parts.iter().map(|part| &part[..]).collect::<Vec<_>>());
    let before = open_files();
    let mut source = store.open_source(&id("a")).unwrap();
    assert_eq!(open_files(), before, "none before the first byte");
    assert_eq!(read(&mut source, 0, 40, 64), parts.concat());
    assert_eq!(open_files(), before + 1);
    drop(source);
    assert_eq!(open_files(), before);
}
