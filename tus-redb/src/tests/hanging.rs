//! Commits while the records are synced: a disk that does not answer that sync before it is told to.

use std::{
    fmt::Debug,
    io,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use tus_proto::Completion;

use super::{
    harness::{id, options, record},
    inline::{create, offset, put},
};
use crate::{
    Change, Disk, DiskFile, Durability, Mode, Options, Store,
    mutex::lock,
    sim::{Crash, Fault, SimDisk},
};

/// Whether syncs of the records hang, and how many do.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    /// Closes it until the guard is dropped: also where the test fails.
    fn close(&self) -> Opening<'_> {
        lock(&self.state).0 = true;
        Opening(self)
    }

    fn open(&self) {
        lock(&self.state).0 = false;
        self.changed.notify_all();
    }

    /// Waits until a sync hangs.
    fn await_sync(&self) {
        drop(self.changed.wait_while(lock(&self.state), |(_, hanging)| *hanging == 0).unwrap());
    }

    fn pass(&self) {
        let mut state = lock(&self.state);
        if state.0 {
            state.1 += 1;
            self.changed.notify_all();
            state = self.changed.wait_while(state, |(closed, _)| *closed).unwrap();
            state.1 -= 1;
        }
    }
}

struct Opening<'a>(&'a Gate);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// A simulated disk whose records can't be synced while the gate is closed.
#[derive(Clone, Debug)]
struct HangingDisk(SimDisk, Arc<Gate>);

impl Disk for HangingDisk {
    fn lock(&self, create: bool) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.0.lock(create)
    }

    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.open(path, mode)?;
        match path {
            "records.redb" => Ok(Arc::new(HangingFile(file, self.1.clone()))),
            _ => Ok(file),
        }
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.0.unlink(path)
    }

    fn rmdir(&self, path: &str) -> io::Result<()> {
        self.0.rmdir(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn boot_id(&self) -> io::Result<String> {
        self.0.boot_id()
    }

    fn random(&self) -> u64 {
        self.0.random()
    }

    fn uptime(&self) -> Duration {
        self.0.uptime()
    }

    fn locate(&self, path: &str) -> PathBuf {
        self.0.locate(path)
    }
}

#[derive(Debug)]
struct HangingFile(Arc<dyn DiskFile>, Arc<Gate>);

impl DiskFile for HangingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn occupied(&self) -> io::Result<u64> {
        self.0.occupied()
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.0.preallocate(len)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

const DURABILITIES: [Durability; 2] = [Durability::Strict, Durability::Eventual];

fn open(disk: &HangingDisk, durability: Durability, log_bytes: u64) -> Store {
    let options = Options { inline_bytes: 16 << 10, log_bytes, ..options(durability) };
    Store::open_on(Arc::new(disk.clone()), &options).unwrap()
}

/// What is committed while a checkpoint's sync hangs is acknowledged, shown, and there after a crash, whatever becomes of
/// that checkpoint.
#[test]
fn commits_go_on_while_a_checkpoint_is_synced() {
    for (durability, ends, seed) in DURABILITIES
        .into_iter()
        .flat_map(|durability| [false, true].map(|ends| (durability, ends, ends.into())))
    {
        for crash in [Crash::Process, Crash::Machine(seed), Crash::Machine(seed + 10)] {
            let context = format!("{durability:?}, the checkpoint ends: {ends}, {crash:?}");
            let disk = HangingDisk(SimDisk::new(), Arc::default());
            let store = open(&disk, durability, 16 << 20);
            create(&store, record("a", None));
            put(&store, "a", 300);
            let flushed = thread::scope(|scope| {
                let closed = disk.1.close();
                let flush = scope.spawn(|| store.flush());
                disk.1.await_sync();
                // As many as a half of the log has room for.
                for n in 0..8 {
                    let name = format!("b-{n}");
                    create(&store, record(&name, None));
                    put(&store, &name, 2_000);
                    assert_eq!(offset(&store, &name), 2_000, "{context}");
                }
                put(&store, "a", 600);
                let gone = Change::Delete { id: id("b-7"), fence: store.first_fence() };
                assert_eq!(store.commit(&[gone]), [Completion::Deleted], "{context}");
                assert!(!flush.is_finished() && store.needs_flush(), "{context}");
                if !ends {
                    disk.0.crash(crash);
                }
                drop(closed);
                flush.join().unwrap()
            });
            assert_eq!(flushed.is_ok(), ends, "{context}");
            if ends {
                assert_eq!((offset(&store, "a"), offset(&store, "b-6")), (600, 2_000), "{context}");
                disk.0.crash(crash);
            }
            drop(store);
            let store = open(&disk, durability, 16 << 20);
            assert_eq!(store.verify().unwrap(), [], "{context}");
            if durability == Durability::Strict || crash == Crash::Process {
                assert_eq!((offset(&store, "a"), offset(&store, "b-6")), (600, 2_000), "{context}");
                assert_eq!(store.load(&id("b-7")), Ok(None), "{context}");
            } else if ends {
                assert_eq!(offset(&store, "a"), 300, "{context}");
            }
        }
    }
}

/// A checkpoint whose sync fails takes nothing along: neither what it would have covered nor what came meanwhile.
#[test]
fn a_checkpoint_that_fails_loses_nothing_that_was_committed_meanwhile() {
    for (durability, fault) in DURABILITIES
        .into_iter()
        .flat_map(|durability| [Fault::Io, Fault::Evict].map(|fault| (durability, fault)))
    {
        for (late, seed) in [(0, 1), (1, 2), (0, 3), (1, 4)] {
            let context = format!("{durability:?}, {fault:?}, sync {late}, seed {seed}");
            let disk = HangingDisk(SimDisk::new(), Arc::default());
            let store = open(&disk, durability, 16 << 20);
            create(&store, record("a", None));
            put(&store, "a", 300);
            let checkpoint = store.begin_flush().unwrap().unwrap();
            create(&store, record("b", None));
            put(&store, "b", 2_000);
            // Its calls: a sync, a write of the header, a sync.
            let next = disk.0.calls() + 2 * late;
            disk.0.fail(next..next + 1, fault);
            store.end_flush(checkpoint).unwrap_err();
            assert_eq!(disk.0.faults_hit(), 1, "{context}");
            disk.0.heal();
            assert!(store.needs_flush(), "{context}");
            assert_eq!((offset(&store, "a"), offset(&store, "b")), (300, 2_000), "{context}");
            put(&store, "a", 600);
            let second = store.begin_flush().unwrap().unwrap();
            put(&store, "b", 2_500);
            if seed % 2 == 1 {
                store.end_flush(second).unwrap();
                store.flush().unwrap();
            }
            let crash = if durability == Durability::Strict { Crash::Machine(seed) } else { Crash::Process };
            disk.0.crash(crash);
            drop(store);
            let store = open(&disk, durability, 16 << 20);
            assert_eq!(store.verify().unwrap(), [], "{context}");
            assert_eq!((offset(&store, "a"), offset(&store, "b")), (600, 2_500), "{context}");
        }
    }
}

/// Both halves are full: the next commit ends the checkpoint itself.
#[test]
fn where_both_halves_are_full_a_commit_waits_for_the_checkpoint() {
    let disk = HangingDisk(SimDisk::new(), Arc::default());
    let store = open(&disk, Durability::Strict, 20_000);
    let lens = || {
        disk.0
            .aside(|| ["log", "log-2"].map(|half| disk.0.open(half, Mode::Existing).unwrap().len().unwrap()))
    };
    for n in 0..60 {
        create(&store, record(&n.to_string(), None));
        put(&store, &n.to_string(), 2_000);
        if n == 5 {
            thread::scope(|scope| {
                let closed = disk.1.close();
                let commits = scope.spawn(|| {
                    for n in 100..140 {
                        create(&store, record(&n.to_string(), None));
                        put(&store, &n.to_string(), 2_000);
                    }
                });
                // Nobody else flushes: it is one of these commits that waits for the disk.
                disk.1.await_sync();
                assert!(!commits.is_finished());
                drop(closed);
            });
        }
    }
    assert!(lens().iter().all(|len| *len < 200_000), "{:?}", lens());
    disk.0.crash(Crash::Machine(1));
    drop(store);
    let store = open(&disk, Durability::Strict, 20_000);
    assert!((0..60).chain(100..140).all(|n| offset(&store, &n.to_string()) == 2_000));
}
