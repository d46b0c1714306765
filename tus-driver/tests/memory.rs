//! What `MemoryStore` promises by itself, as any other store.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use tus_driver::{
    Answer, AppendGrant, Change, Commit, EventKind, EventKinds, EventQuery, LookupError, MemoryStore, Sink,
    Source, Store,
    tus_proto::{
        Algorithm, Completion, Concat, ConcatRejection, Explicit, Failure, Fence, Hasher, Record, UploadId,
        WallTime,
    },
};

type Staged = <MemoryStore as Store>::Staged;

fn id(text: &str) -> UploadId {
    UploadId::new(text).unwrap()
}

fn at(seconds: u64) -> WallTime {
    WallTime::from_micros(seconds * 1_000_000)
}

fn now<T>(answer: Answer<T>) -> T {
    match answer {
        Answer::Now(answer) => answer,
        Answer::Later => panic!("a store in memory answers at once"),
    }
}

fn record(name: &str, length: Option<u64>, concat: Option<Concat>) -> Record {
    let (created, metadata) = (at(0), String::new());
    Record { id: id(name), created, offset: 0, length, metadata, expires: None, concat, explicit: None }
}

/// The store and short names for what is asked of it.
#[derive(Default)]
struct Kept(MemoryStore);

impl Kept {
    fn change(&self, change: Change<Staged>) -> Completion {
        now(self.0.change(change, || unreachable!())).completion
    }

    fn create(&self, name: &str, length: u64) {
        let record = record(name, Some(length), None);
        assert_eq!(self.change(Change::Create { record, first: None }), Completion::Created);
    }

    fn part(&self, name: &str, length: Option<u64>, expires: Option<WallTime>) {
        let record = Record { expires, ..record(name, length, Some(Concat::Partial)) };
        assert_eq!(self.change(Change::Create { record, first: None }), Completion::Created);
    }

    fn concat(&self, name: &str, parts: &[&str], max: Option<u64>, delete_parts: bool) -> Completion {
        let record = record(name, None, Some(Concat::Final("final;".into())));
        let parts = parts.iter().map(|part| id(part)).collect();
        self.change(Change::Concat { record, parts, max, delete_parts })
    }

    fn append(&self, name: &str, fence: u64, at: u64) -> Result<<MemoryStore as Store>::Sink, LookupError> {
        let grant = AppendGrant { id: id(name), fence: Fence(fence), at, max: 100, rotate: fence > 1 };
        now(self.0.append(grant, || unreachable!()))
    }

    fn commit(&self, name: &str, fence: u64, range: (u64, u64), staged: Option<Staged>) -> Completion {
        let (from, to) = range;
        let commit = Commit {
            id: id(name),
            fence: Fence(fence),
            from,
            to,
            length: None,
            expires: None,
            finish: false,
            staged,
        };
        self.change(Change::Commit(commit))
    }

    fn fill(&self, name: &str, from: u64, bytes: &[u8]) {
        let mut sink = self.append(name, 1, from).unwrap();
        sink.write(&mut &*bytes).unwrap();
        let to = from + bytes.len() as u64;
        assert_eq!(
            self.commit(name, 1, (from, to), Some(sink.staged())),
            Completion::Committed { offset: to }
        );
    }

    fn delete(&self, name: &str) -> Completion {
        self.change(Change::Delete { id: id(name), fence: Fence(1) })
    }

    fn load(&self, name: &str) -> Result<Record, LookupError> {
        now(self.0.load(&id(name), || unreachable!()))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        read(now(self.0.open(&id(name), || unreachable!())).unwrap())
    }
}

fn read(mut source: impl Source) -> Vec<u8> {
    let (mut bytes, mut buf) = (Vec::new(), [0; 3]);
    loop {
        match source.poll_read(bytes.len() as u64, &mut buf, &|| Waker::noop().clone()) {
            Poll::Ready(Ok(0)) => return bytes,
            Poll::Ready(Ok(n)) => bytes.extend_from_slice(&buf[..n]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn staged_bytes_show_only_once_committed_and_a_commit_compares_the_offset() {
    let kept = Kept::default();
    kept.create("a", 6);
    let mut sink = kept.append("a", 1, 0).unwrap();
    sink.write(&mut &b"abcd"[..]).unwrap();
    assert_eq!((sink.len(), kept.load("a").unwrap().offset), (4, 0));
    let staged = || Some(sink.staged());
    assert_eq!(kept.commit("a", 1, (1, 4), staged()), Completion::Conflict { offset: 0 });
    assert_eq!(kept.commit("a", 1, (0, 7), staged()), Completion::Conflict { offset: 0 });
    assert!(matches!(kept.commit("a", 1, (0, 5), staged()), Completion::Failed(_)), "only four are staged");
    assert_eq!(kept.commit("a", 1, (0, 3), staged()), Completion::Committed { offset: 3 });
    assert_eq!(kept.bytes("a"), b"abc");
    assert_eq!(kept.commit("a", 1, (3, 4), staged()), Completion::Committed { offset: 4 });
    assert_eq!(kept.bytes("a"), b"abcd");
    let mut hasher = Hasher::new(Algorithm::Sha1);
    hasher.update(b"bc");
    let digest = now(kept.0.digest(&sink.staged(), (1, 3), Algorithm::Sha1, || unreachable!()));
    assert_eq!(digest, Ok(hasher.finish()));
}

#[test]
fn a_writer_below_the_highest_fence_changes_nothing_and_its_late_writes_do_not_land() {
    let kept = Kept::default();
    kept.create("a", 6);
    let mut early = kept.append("a", 1, 0).unwrap();
    early.write(&mut &b"old"[..]).unwrap();
    let mut late = kept.append("a", 2, 0).unwrap();
    late.write(&mut &b"new"[..]).unwrap();
    early.write(&mut &b"older"[..]).unwrap();
    let conflict = Completion::Conflict { offset: 0 };
    assert_eq!(kept.commit("a", 1, (0, 3), Some(early.staged())), conflict);
    assert_eq!(kept.commit("a", 2, (0, 3), Some(early.staged())), conflict, "it is not the last sink's");
    assert_eq!(kept.delete("a"), conflict);
    assert_eq!(kept.append("a", 1, 0).unwrap_err(), LookupError::Conflict { offset: 0 });
    assert_eq!(kept.commit("a", 2, (0, 3), Some(late.staged())), Completion::Committed { offset: 3 });
    assert_eq!(kept.bytes("a"), b"new");
}

#[test]
fn discarded_bytes_cannot_be_committed() {
    let kept = Kept::default();
    kept.create("a", 6);
    let mut sink = kept.append("a", 1, 0).unwrap();
    sink.write(&mut &b"abc"[..]).unwrap();
    assert_eq!(kept.change(Change::Discard { id: id("a"), fence: Fence(1) }), Completion::Discarded);
    assert!(matches!(kept.commit("a", 1, (0, 3), Some(sink.staged())), Completion::Failed(_)));
    assert_eq!(kept.bytes("a"), b"");
}

#[test]
fn an_open_source_outlives_a_deletion() {
    let kept = Kept::default();
    kept.create("a", 6);
    kept.fill("a", 0, b"abcd");
    kept.fill("a", 4, b"ef");
    let source = now(kept.0.open(&id("a"), || unreachable!())).unwrap();
    assert_eq!(kept.delete("a"), Completion::Deleted);
    assert_eq!(kept.load("a"), Err(LookupError::Missing));
    assert_eq!(kept.delete("a"), Completion::Missing);
    assert_eq!(read(source), b"abcdef");
}

#[test]
fn what_expired_is_gone_for_a_day_and_its_id_is_taken() {
    let kept = Kept::default();
    let plain = Record { expires: Some(at(10)), ..record("a", Some(3), None) };
    assert_eq!(kept.change(Change::Create { record: plain.clone(), first: None }), Completion::Created);
    assert_eq!(kept.change(Change::Create { record: plain.clone(), first: None }), Completion::Exists);
    assert_eq!(kept.0.sweep(at(9)), 0);
    let sink = kept.append("a", 1, 0).unwrap();
    assert_eq!(kept.0.sweep(at(10)), 0, "it is being written");
    drop(sink);
    assert_eq!(kept.0.sweep(at(10)), 1);
    assert_eq!(kept.load("a"), Err(LookupError::Gone));
    assert_eq!(kept.append("a", 1, 0).unwrap_err(), LookupError::Missing);
    assert_eq!(kept.change(Change::Create { record: plain.clone(), first: None }), Completion::Exists);
    kept.0.sweep(at(10 + 86_400));
    assert_eq!(kept.load("a"), Err(LookupError::Missing));
    assert_eq!(kept.change(Change::Create { record: plain, first: None }), Completion::Created);
}

#[test]
fn a_pending_final_is_complete_with_its_last_part_and_keeps_their_bytes() {
    let kept = Kept::default();
    kept.part("p", Some(3), None);
    kept.part("q", None, None);
    kept.fill("p", 0, b"abc");
    let Completion::Concatenated(pending) = kept.concat("f", &["p", "q", "p"], None, false) else { panic!() };
    assert_eq!((pending.offset, pending.length), (0, None));
    assert_eq!(kept.delete("p"), Completion::Deleted, "a complete part's bytes stay for the final");
    let mut sink = kept.append("q", 1, 0).unwrap();
    sink.write(&mut &b"de"[..]).unwrap();
    let (length, staged) = (Some(2), Some(sink.staged()));
    let commit =
        Commit { id: id("q"), fence: Fence(1), from: 0, to: 2, length, expires: None, finish: true, staged };
    assert_eq!(kept.change(Change::Commit(commit)), Completion::Committed { offset: 2 });
    assert_eq!((kept.load("f").unwrap().offset, kept.load("f").unwrap().length), (8, Some(8)));
    assert_eq!(kept.bytes("f"), b"abcdeabc");
    assert_eq!(kept.append("f", 1, 8).unwrap_err(), LookupError::Conflict { offset: 8 });
}

#[test]
fn an_incomplete_part_takes_its_pending_finals_along() {
    let kept = Kept::default();
    kept.part("p", Some(3), None);
    kept.concat("f", &["p"], None, false);
    assert_eq!(kept.delete("p"), Completion::Deleted);
    assert_eq!(kept.load("f"), Err(LookupError::Missing));
}

#[test]
fn parts_go_once_their_final_is_complete_if_that_is_asked() {
    let kept = Kept::default();
    kept.part("p", Some(1), None);
    kept.concat("f", &["p", "p"], None, true);
    kept.concat("g", &["p"], None, false);
    kept.fill("p", 0, b"x");
    assert_eq!(kept.load("p"), Err(LookupError::Missing));
    assert_eq!((kept.bytes("f"), kept.bytes("g")), (b"xx".to_vec(), b"x".to_vec()));
}

#[test]
fn parts_may_be_unfit() {
    let kept = Kept::default();
    let refused = |rejection| Completion::Rejected(rejection);
    kept.create("plain", 1);
    kept.part("p", Some(3), None);
    kept.part("u", None, None);
    kept.part("old", Some(3), Some(at(0)));
    kept.part("huge", Some(u64::MAX), None);
    assert_eq!(kept.concat("f", &["p", "none"], None, false), refused(ConcatRejection::Missing));
    assert_eq!(kept.concat("f", &["old"], None, false), refused(ConcatRejection::Missing));
    assert_eq!(kept.concat("f", &["plain"], None, false), refused(ConcatRejection::NotPartial));
    assert_eq!(kept.concat("f", &["p", "u"], Some(9), false), refused(ConcatRejection::UnknownLength));
    assert_eq!(kept.concat("f", &["p", "p"], Some(5), false), refused(ConcatRejection::TooLarge));
    assert_eq!(kept.concat("f", &["huge", "p"], None, false), refused(ConcatRejection::TooLarge));
    assert_eq!(kept.load("f"), Err(LookupError::Missing));
    for name in ["f1", "f2", "f3", "f4"] {
        assert!(matches!(kept.concat(name, &["p"], Some(6), false), Completion::Concatenated(_)));
    }
    assert_eq!(kept.concat("f5", &["p"], None, false), refused(ConcatRejection::TooManyWaiting));
    assert_eq!(kept.concat("f1", &["p"], None, false), Completion::Exists);
}

#[test]
fn a_complete_part_expires_only_when_no_pending_final_needs_it() {
    let kept = Kept::default();
    kept.part("p", Some(0), Some(at(10)));
    kept.part("q", Some(1), None);
    kept.concat("f", &["p", "q"], None, false);
    assert_eq!(kept.load("p").unwrap().expires, None);
    assert_eq!(kept.0.sweep(at(99)), 0);
    let mut sink = kept.append("q", 1, 0).unwrap();
    sink.write(&mut &b"x"[..]).unwrap();
    let (expires, staged) = (Some(at(200)), Some(sink.staged()));
    let commit =
        Commit { id: id("q"), fence: Fence(1), from: 0, to: 1, length: None, expires, finish: true, staged };
    assert_eq!(kept.change(Change::Commit(commit)), Completion::Committed { offset: 1 });
    assert_eq!((kept.load("p").unwrap().expires, kept.load("q").unwrap().expires), (expires, expires));
    assert_eq!(kept.load("f").unwrap().expires, None);
}

#[test]
fn events_come_in_their_order_and_one_put_off_keeps_back_its_uploads_others() {
    let kept = Kept::default();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = woken.clone();
    let wake = Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    kept.0.keep_events(EventKinds { created: false, completed: true, terminated: true }, wake);
    kept.create("a", 0);
    kept.create("b", 0);
    kept.delete("a");
    assert_eq!(woken.load(Ordering::Relaxed), 3);
    let due = |time, limit| {
        let query = EventQuery { now: time, limit, upload: None };
        now(kept.0.due_events(query, || unreachable!())).unwrap()
    };
    let names = |time, limit| {
        let events = due(time, limit).events;
        events.into_iter().map(|event| (event.record.id, event.kind, event.attempts)).collect::<Vec<_>>()
    };
    assert_eq!(names(at(1), 9), [(id("a"), EventKind::Completed, 0), (id("b"), EventKind::Completed, 0)]);
    assert_eq!(names(at(1), 1), [(id("a"), EventKind::Completed, 0)]);
    let number = due(at(1), 1).events[0].number;
    let until = at(2);
    let postpone = Change::Postpone { id: id("a"), number, until };
    assert_eq!(kept.change(postpone), Completion::Committed { offset: 0 });
    assert_eq!(names(at(1), 9), [(id("b"), EventKind::Completed, 0)]);
    assert_eq!(due(at(1), 9).next, Some(until));
    assert_eq!(names(until, 9)[0], (id("a"), EventKind::Completed, 1));
    assert_eq!(kept.change(Change::Acknowledge { id: id("a"), number }), Completion::Deleted);
    assert_eq!(kept.change(Change::Acknowledge { id: id("a"), number }), Completion::Missing);
    let events = names(at(1), 9);
    assert_eq!(events, [(id("b"), EventKind::Completed, 0), (id("a"), EventKind::Terminated, 0)]);
}

#[test]
fn an_upload_that_says_when_it_is_complete_is_not_by_its_length() {
    let kept = Kept::default();
    let explicit = Some(Explicit::new(false));
    let record = Record { explicit, ..record("a", Some(3), None) };
    assert_eq!(kept.change(Change::Create { record, first: None }), Completion::Created);
    kept.fill("a", 0, b"abc");
    assert!(!kept.load("a").unwrap().is_complete());
    let hash = |to| now(kept.0.hash(&id("a"), to, Algorithm::Sha1, || unreachable!()));
    let digest = |bytes: &[u8]| {
        let mut hasher = Hasher::new(Algorithm::Sha1);
        hasher.update(bytes);
        hasher.finish()
    };
    assert_eq!((hash(3), hash(2)), (Ok(digest(b"abc")), Ok(digest(b"ab"))));
    assert_eq!(hash(4), Err(LookupError::Failed(Failure::Io)), "there are not so many bytes");
    let complete = |fence| {
        let commit = Commit {
            id: id("a"),
            fence: Fence(fence),
            from: 3,
            to: 3,
            length: Some(3),
            expires: None,
            finish: true,
            staged: None,
        };
        kept.change(Change::Commit(commit))
    };
    assert_eq!(complete(1), Completion::Committed { offset: 3 });
    assert!(kept.load("a").unwrap().is_complete());
    assert_eq!(complete(2), Completion::Conflict { offset: 3 }, "two have completed it");
    kept.change(Change::Delete { id: id("a"), fence: Fence(2) });
    assert_eq!(hash(3), Err(LookupError::Missing));
}
