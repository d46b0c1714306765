//! The process, or the machine, ends at any call of the store's disk or at any system call on the directory: each finished
//! upload is there once, whole, or not yet; and after a repeat it is there.

use std::sync::Arc;

use tus_redb::{
    Store,
    sim::{Crash, SimDisk},
};

use super::{deliver_all, finish, id, options, simulated::SimCalls};
use crate::publish::{Publish, Publisher, directory::Bytes};

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

/// What clients call them all: a path that leads out of the directory, if it were one.
const SENT: &str = "../../f.txt";

const UPLOADS: [(&str, &[u8]); 3] = [("a", b"the first"), ("b", b"the second one"), ("c", b"")];

struct World {
    disk: SimDisk,
    directory: SimCalls,
    delete: bool,
}

impl World {
    /// Three finished uploads of one name, in a place where that name is taken.
    fn new(delete: bool, links: bool) -> Self {
        let world = Self { disk: SimDisk::new(), directory: SimCalls::new(links), delete };
        world.directory.put("f.txt", b"not ours");
        let store = Arc::new(Store::open_on(Arc::new(world.disk.clone()), &options(0)).unwrap());
        for (name, bytes) in UPLOADS {
            finish(&store, name, SENT, bytes).unwrap();
        }
        world
    }

    /// One life of the server: it opens the store and delivers all events. `None` where it does not come to that.
    fn live(&self) -> Option<bool> {
        let store = Store::open_on(Arc::new(self.disk.clone()), &options(0)).ok()?;
        let store = Arc::new(store);
        let settings = Publish { delete: self.delete, group: Some(7), link: true, ..Publish::to("inbox") };
        let publisher = Publisher::over(Box::new(self.directory.clone()), &settings, None);
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
        for (name, _) in &published {
            assert!(
                ["f.txt", "f (2).txt", "f (3).txt", "f (4).txt"].contains(&name.as_str()),
                "{context}: {name}"
            );
        }
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
    let begin = (world.disk.calls(), world.directory.calls());
    assert_eq!(world.live(), Some(true));
    world.check(true, "nothing fails");
    [(begin.0, world.disk.calls()), (begin.1, world.directory.calls())]
}

fn end_everywhere(delete: bool, links: bool) {
    let [disk, directory] = calls(delete, links);
    let ends = (disk.0..disk.1).map(|at| (Some(at), None));
    let ends = ends.chain((directory.0..directory.1).map(|at| (None, Some(at))));
    for (disk_at, directory_at) in ends {
        let cuts = (0..6).map(Crash::Machine);
        for crash in cuts.chain([Crash::Process]) {
            let world = World::new(delete, links);
            if let Some(at) = disk_at {
                world.disk.die_at(at);
            }
            if let Some(at) = directory_at {
                world.directory.die_at(at);
            }
            let context =
                format!("{crash:?} at {disk_at:?} {directory_at:?}, delete {delete}, links {links}");
            let _ = world.live();
            world.crash(crash);
            world.check(false, &context);
            assert_eq!(world.live(), Some(true), "{context}");
            world.check(true, &context);
            assert!(!world.directory.has_hidden(), "{context}");
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
        world.directory.take_away(b"the first");
        assert_eq!(world.live(), Some(true));
        let again = world.directory.published().iter().any(|(_, bytes)| bytes == b"the first");
        assert!(!(taken && again), "at {at}");
    }
    drop(world);
}
