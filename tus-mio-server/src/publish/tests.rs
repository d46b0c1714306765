//! Publishing on a real store and a real directory; and on simulated ones, which end between any two calls.
#![allow(clippy::unwrap_used)]

mod crashes;
mod simulated;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tempfile::TempDir;
use tus_driver::hooks::{HookError, HookSet, Hooks, Metadata};
use tus_proto::{Completion, WallTime};
use tus_redb::{Change, Events, Options, OutboxEvent};

use super::*;

fn id(name: &str) -> UploadId {
    UploadId::new(name).unwrap()
}

fn options(inline_bytes: usize) -> Options {
    Options {
        inline_bytes,
        events: Events { created: false, completed: true, terminated: true },
        ..Options::default()
    }
}

/// Makes a finished upload of these bytes.
fn finish(store: &Arc<Store>, name: &str, filename: &str, bytes: &[u8]) -> Option<()> {
    let length = bytes.len() as u64;
    let metadata = Metadata::from_pairs([("filename", filename)]).unwrap().to_string();
    let created = WallTime::from_micros(1);
    let (expires, concat) = (None, None);
    let record = Record {
        id: id(name),
        created,
        offset: 0,
        length: Some(length),
        metadata,
        expires,
        concat,
        explicit: None,
    };
    let created = store.commit(&[Change::Create { record, first: None }]).remove(0);
    if created != Completion::Created {
        return None;
    }
    if length > 0 {
        let fence = store.first_fence();
        let mut sink = store.append(&id(name), fence, 0).ok()?;
        sink.write(bytes).ok()?;
        sink.syncer().sync(Some(length)).ok()?;
        let syncer = Some(sink.syncer());
        let (from, length, expires, finish) = (0, None, None, true);
        let to = bytes.len() as u64;
        let commit = Change::Commit { id: id(name), fence, from, to, length, expires, finish, syncer };
        (store.commit(&[commit]) == [Completion::Committed { offset: to }]).then_some(())?;
    }
    Some(())
}

struct Place {
    data: TempDir,
    shelf: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { data: TempDir::new().unwrap(), shelf: TempDir::new().unwrap() }
    }

    fn store(&self, inline_bytes: usize) -> Arc<Store> {
        Arc::new(Store::open(self.data.path(), &options(inline_bytes)).unwrap())
    }

    fn settings(&self) -> Publish {
        Publish::to(self.shelf.path())
    }

    /// All files with their contents, hidden ones too.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.shelf.path()).unwrap().map(Result::unwrap);
        let read =
            |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        let mut files: Vec<_> = entries.map(read).collect();
        files.sort();
        files
    }

    fn names(&self) -> Vec<String> {
        self.files().into_iter().map(|(name, _)| name).collect()
    }
}

fn publisher(settings: &Publish, store: &Arc<Store>, hooks: Option<Hooks>) -> Publisher {
    let hooks = hooks.and_then(HookSet::new).map(|hooks| Arc::new(hooks) as Arc<dyn HookRunner>);
    let publisher = Publisher::new(settings, hooks);
    publisher.set_origin(store.clone());
    publisher
}

/// Delivers an event; whether it may go.
fn deliver(publisher: &Publisher, event: OutboxEvent) -> bool {
    let done = Arc::new(Mutex::new(None));
    let told = done.clone();
    publisher.deliver(
        HookEvent::new(event, Vec::new()),
        Ticket::new(move |done| *told.lock().unwrap() = Some(done)),
    );
    done.lock().unwrap().take().unwrap()
}

/// Delivers all events, and acknowledges those that may go. Returns whether all may.
fn deliver_all(publisher: &Publisher, store: &Arc<Store>) -> bool {
    let mut all = true;
    for event in store.outbox(0, 1000).unwrap_or_default() {
        let (id, number) = (event.record.id.clone(), event.number);
        let done = deliver(publisher, event);
        all &= done;
        if done {
            let _ = store.commit(&[Change::Acknowledge { id, number }]);
        }
    }
    all
}

#[test]
fn finished_uploads_come_under_their_names_and_over_nothing() {
    let place = Place::new();
    fs::write(place.shelf.path().join("a.txt"), "not ours").unwrap();
    let store = place.store(8);
    for (name, filename, bytes) in [
        ("one", "a.txt", "the first of many bytes"),
        ("two", "a.txt", "small"),
        ("three", "../a.txt", ""),
        ("four", "b.txt", "another"),
    ] {
        finish(&store, name, filename, bytes.as_bytes()).unwrap();
    }
    let publisher = publisher(&place.settings(), &store, None);
    assert!(deliver_all(&publisher, &store));
    let expected = [
        ("a (2).txt", "the first of many bytes"),
        ("a (3).txt", "small"),
        ("a (4).txt", ""),
        ("a.txt", "not ours"),
        ("b.txt", "another"),
    ];
    assert_eq!(place.files(), expected.map(|(name, bytes)| (name.to_owned(), bytes.as_bytes().to_vec())));
    let mode = |name: &str| fs::metadata(place.shelf.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("b.txt"), mode("a (3).txt")), (0o644, 0o644));
    assert_eq!(store.outbox_len(), Ok(0));
    assert!(store.load(&id("one")).unwrap().is_some(), "it stays in the store");
}

#[test]
fn equal_names_at_once_are_all_there() {
    let place = Place::new();
    let store = place.store(0);
    for number in 0..40 {
        finish(&store, &format!("u{number}"), "same.bin", format!("{number}").as_bytes()).unwrap();
    }
    let publisher = publisher(&place.settings(), &store, None);
    let events = Mutex::new(store.outbox(0, 100).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some(event) = events.lock().unwrap().pop() else { break };
                    assert!(deliver(&publisher, event));
                }
            });
        }
    });
    let mut contents: Vec<_> = place.files().into_iter().map(|(_, bytes)| bytes).collect();
    contents.sort();
    let mut expected: Vec<_> = (0..40).map(|number| number.to_string().into_bytes()).collect();
    expected.sort();
    assert_eq!(contents, expected);
}

#[test]
fn links_share_the_data_file_and_what_cannot_be_linked_is_copied() {
    let place = Place::new();
    let store = place.store(8);
    finish(&store, "large", "large", b"more than eight bytes").unwrap();
    finish(&store, "small", "small", b"small").unwrap();
    let settings = Publish { link: true, mode: 0o600, ..place.settings() };
    assert!(deliver_all(&publisher(&settings, &store, None), &store));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let data = store.paths(&id("large")).unwrap().remove(0).0;
    assert_eq!(inode(&data), inode(&place.shelf.path().join("large")));
    assert_eq!(place.files()[1], ("small".to_owned(), b"small".to_vec()));
}

#[test]
fn hooks_are_told_after_it_and_a_repeat_publishes_nothing_twice() {
    let place = Place::new();
    let store = place.store(0);
    finish(&store, "a", "a.txt", b"hello").unwrap();
    let (fails, seen) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
    let (failing, noted, shelf) = (fails.clone(), seen.clone(), place.shelf.path().join("a.txt"));
    let hooks = Hooks::new().on_upload_complete(move |_, _| {
        noted.lock().unwrap().push(fs::read(&shelf).unwrap_or_default());
        if failing.load(Ordering::Relaxed) { Err(HookError::failed("not now")) } else { Ok(()) }
    });
    let settings = Publish { delete: true, ..place.settings() };
    let publisher = publisher(&settings, &store, Some(hooks));
    for _ in 0..3 {
        assert!(!deliver_all(&publisher, &store));
        assert!(store.load(&id("a")).unwrap().is_some(), "it stays until its hook was told");
    }
    fails.store(false, Ordering::Relaxed);
    assert!(deliver_all(&publisher, &store));
    assert_eq!(*seen.lock().unwrap(), vec![b"hello".to_vec(); 4]);
    assert_eq!(place.names(), ["a.txt"]);
    assert_eq!(store.load(&id("a")).unwrap(), None);
    assert_eq!(store.outbox_len(), Ok(0), "no event tells of its end");
}

#[test]
fn an_upload_that_its_client_has_deleted_is_not_published() {
    let place = Place::new();
    let store = place.store(0);
    finish(&store, "a", "a.txt", b"hello").unwrap();
    assert_eq!(store.delete(&id("a")), Ok(true));
    assert!(deliver_all(&publisher(&place.settings(), &store, None), &store));
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_directory_that_fails_keeps_the_event() {
    let place = Place::new();
    let store = place.store(0);
    finish(&store, "a", "a.txt", b"hello").unwrap();
    let missing = place.shelf.path().join("later");
    let settings = Publish { directory: missing.clone(), ..place.settings() };
    assert!(settings.check().is_err());
    let publisher = publisher(&settings, &store, None);
    assert!(!deliver_all(&publisher, &store));
    fs::create_dir(&missing).unwrap();
    settings.check().unwrap();
    assert!(deliver_all(&publisher, &store));
    assert_eq!(fs::read(missing.join("a.txt")).unwrap(), b"hello");
    assert_eq!(fs::read_dir(missing).unwrap().count(), 1);
}
