//! Uploads that are complete when a request says so, and not by their length.

use std::sync::Arc;

use tus_proto::{Algorithm, Completion, Digest, Explicit, Fence, Record};

use super::harness::{id, options, record};
use crate::{
    Change, Durability, EventKind, Events, Store,
    sim::{Crash, SimDisk},
};

fn open(disk: &SimDisk, durability: Durability) -> Store {
    let store = Store::open_on(Arc::new(disk.clone()), &options(durability)).unwrap();
    store.keep_events(Events { created: false, completed: true, terminated: true });
    store
}

/// Moves an upload's offset, with bytes where it moves.
fn advance(store: &Store, from: u64, to: u64, length: Option<u64>, finish: bool) -> Completion {
    let fence = Fence(store.first_fence().0 + 1);
    let mut sink = store.append(&id("a"), fence, from).unwrap();
    sink.write(&vec![7; (to - from) as usize]).unwrap();
    let syncer = sink.syncer();
    syncer.sync(finish.then_some(to)).unwrap();
    let change =
        Change::Commit { id: id("a"), fence, from, to, length, expires: None, finish, syncer: Some(syncer) };
    store.commit(&[change]).pop().unwrap()
}

fn load(store: &Store) -> Record {
    store.load(&id("a")).unwrap().unwrap()
}

#[test]
fn only_a_commit_that_says_so_completes_and_a_crash_forgets_nothing() {
    for durability in [Durability::Strict, Durability::Eventual] {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        let mut explicit = Explicit::new(false);
        explicit.digest = Digest::new(&[1; 20]).map(|digest| Box::new((Algorithm::Sha1, digest)));
        let new = Record { explicit: Some(explicit.clone()), ..record("a", Some(4)) };
        assert_eq!(store.commit(&[Change::Create { record: new, first: None }]), [Completion::Created]);
        assert_eq!(advance(&store, 0, 4, None, false), Completion::Committed { offset: 4 });
        // What is not synced comes out of the journal.
        drop(store);
        disk.crash(Crash::Process);
        let store = open(&disk, durability);
        let seen = load(&store);
        assert_eq!((seen.offset, seen.is_complete()), (4, false), "{durability:?}");
        assert_eq!(seen.explicit.as_ref(), Some(&explicit));
        store.flush().unwrap();
        assert_eq!(store.outbox(0, 9).unwrap(), []);

        assert_eq!(advance(&store, 4, 4, Some(4), true), Completion::Committed { offset: 4 });
        drop(store);
        disk.crash(Crash::Process);
        let store = open(&disk, durability);
        assert!(load(&store).is_complete());
        // Nor does a writer complete it that has seen it before.
        assert_eq!(advance(&store, 4, 4, Some(4), true), Completion::Conflict { offset: 4 });
        store.flush().unwrap();
        let told = store.outbox(0, 9).unwrap();
        assert_eq!(told.len(), 1, "{durability:?}");
        assert_eq!((told[0].kind, &told[0].record), (EventKind::Completed, &load(&store)));
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn one_that_is_created_complete_is_told_at_once() {
    let store = open(&SimDisk::new(), Durability::Strict);
    let new = Record { explicit: Some(Explicit::new(true)), ..record("a", Some(0)) };
    store.commit(&[Change::Create { record: new.clone(), first: None }]);
    assert_eq!(store.outbox(0, 9).unwrap()[0].record, new);
    let unfinished = Record { explicit: Some(Explicit::new(false)), ..record("b", Some(0)) };
    store.commit(&[Change::Create { record: unfinished, first: None }]);
    assert_eq!(store.outbox(0, 9).unwrap().len(), 1);
}
