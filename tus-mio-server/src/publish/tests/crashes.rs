//! The process, or the machine, ends at any call of the store's disk or of the directory: each finished upload is there
//! once, whole, or not yet; and after a repeat it is there.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Arc, Mutex, MutexGuard},
};

use tus_redb::{
    Store,
    sim::{Crash, SimDisk},
};

use super::{deliver_all, finish, id, options};
use crate::publish::{
    NamePattern, Publisher,
    directory::{Bytes, Directory},
};

type File = Arc<Mutex<Vec<u8>>>;
type Names = BTreeMap<String, File>;

/// A directory whose names survive the machine only once they were synced; the bytes of files survive it always here, as
/// they are synced before their names are looked at.
#[derive(Debug, Default)]
struct State {
    now: Names,
    synced: Names,
    calls: u64,
    dies_at: Option<u64>,
    /// File systems that know no rename without replacing.
    links: bool,
}

#[derive(Clone, Debug, Default)]
struct SimDirectory(Arc<Mutex<State>>);

impl SimDirectory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// One call, or one half of one.
    fn step(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls += 1;
        if state.dies_at.is_some_and(|at| state.calls > at) {
            return Err(io::Error::other("dead"));
        }
        Ok(state)
    }

    /// Ends the process, or the machine: of the names that were not synced some are there, by `seed`.
    fn crash(&self, crash: Crash) {
        let mut state = self.state();
        state.dies_at = None;
        if let Crash::Machine(seed) = crash {
            // A directory's changes reach the disk in their order, all or only some of them.
            if seed % 2 == 0 {
                state.now = state.synced.clone();
            }
        }
        state.synced = state.now.clone();
    }

    fn published(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let shown = state.now.iter().filter(|(name, _)| !name.starts_with('.'));
        shown.map(|(name, file)| (name.clone(), file.lock().unwrap().clone())).collect()
    }
}

impl Directory for SimDirectory {
    fn fill(&self, name: &str, bytes: Bytes) -> io::Result<u64> {
        let Bytes::Reader(mut reader) = bytes else {
            return Err(io::Error::other("files of a simulated disk"));
        };
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        let file = File::default();
        self.step()?.now.insert(name.into(), file.clone());
        let half = content.len() / 2;
        file.lock().unwrap().extend(&content[..half]);
        drop(self.step()?);
        file.lock().unwrap().extend(&content[half..]);
        drop(self.step()?);
        Ok(content.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.step()?;
        state.synced = state.now.clone();
        Ok(())
    }

    fn place(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.step()?;
        if state.now.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.now.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        state.now.insert(to.into(), file);
        if state.links {
            drop(state);
            state = self.step()?;
        }
        state.now.remove(from);
        Ok(())
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.step()?.now.contains_key(name))
    }

    fn are_one(&self, name: &str, other: &str) -> io::Result<bool> {
        let state = self.step()?;
        let files = (state.now.get(name), state.now.get(other));
        Ok(matches!(files, (Some(one), Some(two)) if Arc::ptr_eq(one, two)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step()?.now.remove(name);
        Ok(())
    }
}

/// The store's bytes lie in its records or in files of a simulated disk: they are read, not copied by name.
#[derive(Debug)]
struct ByReading(Arc<Store>);

impl crate::publish::Origin for ByReading {
    fn note(&self, id: &tus_proto::UploadId, number: u64) -> Result<Option<Vec<u8>>, tus_proto::Failure> {
        self.0.note(id, number)
    }

    fn annotate(
        &self,
        id: &tus_proto::UploadId,
        number: u64,
        note: &[u8],
    ) -> Result<bool, tus_proto::Failure> {
        self.0.annotate(id, number, note)
    }

    fn bytes(&self, id: &tus_proto::UploadId) -> Result<Option<Bytes>, tus_proto::Failure> {
        Ok(self.0.read(id)?.map(|body| Bytes::Reader(Box::new(body))))
    }

    fn consume(&self, id: &tus_proto::UploadId) -> Result<(), tus_proto::Failure> {
        self.0.consume(id).map(drop)
    }
}

const UPLOADS: [(&str, &[u8]); 3] = [("a", b"the first"), ("b", b"the second one"), ("c", b"")];

struct World {
    disk: SimDisk,
    directory: SimDirectory,
    delete: bool,
}

impl World {
    /// Three finished uploads of one name, in a place where that name is taken.
    fn new(delete: bool, links: bool) -> Self {
        let world = Self { disk: SimDisk::new(), directory: SimDirectory::default(), delete };
        world.directory.state().links = links;
        world.directory.state().now.insert("f.txt".into(), Arc::new(Mutex::new(b"not ours".to_vec())));
        world.directory.sync().unwrap();
        let store = Arc::new(Store::open_on(Arc::new(world.disk.clone()), &options(0)).unwrap());
        for (name, bytes) in UPLOADS {
            finish(&store, name, "f.txt", bytes).unwrap();
        }
        world
    }

    /// One life of the server: it opens the store and delivers all events. `None` where it does not come to that.
    fn live(&self) -> Option<bool> {
        let store = Store::open_on(Arc::new(self.disk.clone()), &options(0)).ok()?;
        let store = Arc::new(store);
        let directory = Box::new(self.directory.clone());
        let publisher = Publisher::over(directory, NamePattern::default(), self.delete, None);
        publisher.set_origin(Arc::new(ByReading(store.clone())));
        Some(deliver_all(&publisher, &store))
    }

    fn crash(&self, crash: Crash) {
        self.disk.crash(crash);
        self.directory.crash(crash);
    }

    /// Each upload is there once at the most, whole; `all`: each is.
    fn check(&self, all: bool, context: &str) {
        let published = self.directory.published();
        let mut found: Vec<_> = published.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        found.sort_unstable();
        let mut expected: Vec<_> =
            UPLOADS.iter().map(|(_, bytes)| *bytes).chain([&b"not ours"[..]]).collect();
        expected.sort_unstable();
        if all {
            assert_eq!(found, expected, "{context}: {published:?}");
        } else {
            let mut rest = expected;
            for bytes in found {
                let at = rest.iter().position(|wanted| *wanted == bytes);
                rest.remove(at.unwrap_or_else(|| panic!("{context}: {published:?}")));
            }
        }
    }
}

/// How many calls a life makes, of the disk and of the directory.
fn calls(delete: bool, links: bool) -> [(u64, u64); 2] {
    let world = World::new(delete, links);
    let begin = (world.disk.calls(), world.directory.state().calls);
    assert_eq!(world.live(), Some(true));
    world.check(true, "nothing fails");
    [(begin.0, world.disk.calls()), (begin.1, world.directory.state().calls)]
}

fn end_everywhere(delete: bool, links: bool) {
    let [disk, directory] = calls(delete, links);
    let ends = (disk.0..disk.1).map(|at| (Some(at), None));
    let ends = ends.chain((directory.0..directory.1).map(|at| (None, Some(at))));
    for (disk_at, directory_at) in ends {
        for crash in [Crash::Process, Crash::Machine(0), Crash::Machine(1)] {
            let world = World::new(delete, links);
            if let Some(at) = disk_at {
                world.disk.die_at(at);
            }
            world.directory.state().dies_at = directory_at;
            let context =
                format!("{crash:?} at {disk_at:?} {directory_at:?}, delete {delete}, links {links}");
            let _ = world.live();
            world.crash(crash);
            world.check(false, &context);
            assert_eq!(world.live(), Some(true), "{context}");
            world.check(true, &context);
            assert!(world.directory.state().now.keys().all(|name| !name.starts_with('.')), "{context}");
            let store = Store::open_on(Arc::new(world.disk.clone()), &options(0)).unwrap();
            assert_eq!(store.outbox_len(), Ok(0), "{context}");
            for (name, _) in UPLOADS {
                assert_eq!(store.load(&id(name)).unwrap().is_none(), delete, "{context}: {name}");
            }
        }
    }
}

#[test]
fn each_upload_is_published_once_wherever_it_ends() {
    end_everywhere(false, false);
}

#[test]
fn each_upload_is_published_once_and_deleted_wherever_it_ends() {
    end_everywhere(true, false);
}

#[test]
fn each_upload_is_published_once_where_names_are_links() {
    end_everywhere(false, true);
}

#[test]
fn what_was_taken_away_after_it_was_published_is_not_published_again() {
    let world = World::new(false, false);
    // It ends after the first name was placed and synced, before the event could go.
    let [(begin, end), _] = calls(false, false);
    for at in begin..end {
        let world = World::new(false, false);
        world.disk.die_at(at);
        let _ = world.live();
        world.crash(Crash::Process);
        let taken = world.directory.published().iter().any(|(_, bytes)| bytes == b"the first");
        world.directory.state().now.retain(|_, file| *file.lock().unwrap() != b"the first");
        assert_eq!(world.live(), Some(true));
        let again = world.directory.published().iter().any(|(_, bytes)| bytes == b"the first");
        assert!(!(taken && again), "at {at}");
    }
    drop(world);
}
