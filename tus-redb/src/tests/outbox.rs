//! Events: one for each thing that came true, and none for what did not, through crashes too.

use std::{collections::BTreeSet, sync::Arc};

use tus_driver::{DueEvents, EventQuery};
use tus_proto::{Completion, Concat, Failure, Fence, Record, WallTime};

use super::harness::{id, options, record};
use crate::{
    Change, Durability, EventKind, Events, Finding, Options, OutboxEvent, Sink, Store,
    mutex::lock,
    records::database::{self, EVENTS, OUTBOX},
    sim::{Crash, Fault, SimDisk},
};

const BOTH: [Durability; 2] = [Durability::Strict, Durability::Eventual];
const ALL: Events = Events { created: false, completed: true, terminated: true };

/// What is due at this time, and when the next is.
fn due(store: &Store, now: u64) -> (Vec<OutboxEvent>, Option<u64>) {
    let query = EventQuery { now: WallTime::from_micros(now), limit: 9, upload: None };
    let DueEvents { events, next } = store.due_events(&query).unwrap();
    (events, next.map(WallTime::as_micros))
}

fn try_open(disk: &SimDisk, durability: Durability, events: Events) -> Option<Store> {
    let options = Options { events, ..options(durability) };
    Store::open_on(Arc::new(disk.clone()), &options).ok()
}

fn open(disk: &SimDisk, durability: Durability) -> Store {
    try_open(disk, durability, ALL).unwrap()
}

fn create(store: &Store, name: &str, length: u64) -> Completion {
    store.commit(&[Change::Create { record: record(name, Some(length)), first: None }]).remove(0)
}

/// Writes up to `to`, which is the end if `finish` says so.
fn write(store: &Store, name: &str, from: u64, to: u64, finish: bool) -> Option<(Sink, Completion)> {
    let fence = store.first_fence();
    let mut sink = store.append(&id(name), fence, from).ok()?;
    sink.write(&vec![7; (to - from) as usize]).ok()?;
    let syncer = Some(sink.syncer());
    sink.syncer().sync(finish.then_some(to)).ok()?;
    let commit =
        Change::Commit { id: id(name), fence, from, to, length: None, expires: None, finish, syncer };
    let completion = store.commit(&[commit]).remove(0);
    Some((sink, completion))
}

fn finish(store: &Store, name: &str, length: u64) {
    let (_, completion) = write(store, name, 0, length, true).unwrap();
    assert_eq!(completion, Completion::Committed { offset: length });
}

fn delete(store: &Store, name: &str) -> Completion {
    store.commit(&[Change::Delete { id: id(name), fence: Fence(u64::MAX) }]).remove(0)
}

fn acknowledge(store: &Store, event: &OutboxEvent) -> Completion {
    let (id, number) = (event.record.id.clone(), event.number);
    store.commit(&[Change::Acknowledge { id, number }]).remove(0)
}

fn whole(name: &str, length: u64) -> Record {
    Record { offset: length, ..record(name, Some(length)) }
}

/// What the entries say, without their numbers, which must rise.
fn told(entries: &[OutboxEvent]) -> Vec<(EventKind, Record)> {
    assert!(entries.is_sorted_by(|one, next| one.number < next.number), "{entries:?}");
    entries.iter().map(|entry| (entry.kind, entry.record.clone())).collect()
}

#[test]
fn what_comes_true_is_kept_until_it_is_acknowledged() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        create(&store, "a", 4);
        drop(write(&store, "a", 0, 2, false));
        create(&store, "empty", 0);
        drop(write(&store, "a", 2, 4, true));
        create(&store, "unfinished", 9);
        delete(&store, "unfinished");
        delete(&store, "a");
        assert_eq!(delete(&store, "nobody"), Completion::Missing);
        store.commit(&[Change::Create {
            record: Record { expires: Some(WallTime::from_micros(1)), ..record("expires", Some(4)) },
            first: None,
        }]);
        assert_eq!(store.sweep(WallTime::from_micros(2), 9).unwrap().expired, 1);
        store.flush().unwrap();

        let entries = store.outbox(0, 9).unwrap();
        let expected = [
            (EventKind::Completed, whole("empty", 0)),
            (EventKind::Completed, whole("a", 4)),
            (EventKind::Terminated, record("unfinished", Some(9))),
            (EventKind::Terminated, whole("a", 4)),
        ];
        assert_eq!(told(&entries), expected, "{durability:?}");
        assert_eq!(store.outbox(0, 2).unwrap(), entries[..2]);
        assert_eq!(store.outbox(entries[1].number, 1).unwrap(), entries[2..3]);
        assert_eq!(store.outbox(entries[3].number, 9).unwrap(), []);
        assert_eq!(store.outbox(u64::MAX, 9).unwrap(), []);
        assert_eq!(store.outbox_len(), Ok(4));

        assert_eq!(acknowledge(&store, &entries[1]), Completion::Deleted);
        assert_eq!(acknowledge(&store, &entries[1]), Completion::Missing);
        assert_eq!(store.outbox_len(), Ok(3));
        drop(store);
        let store = open(&disk, durability);
        let left = store.outbox(0, 9).unwrap();
        assert_eq!(left, [&entries[..1], &entries[2..]].concat(), "{durability:?}");
        assert_eq!(store.outbox_len(), Ok(3));
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn only_what_the_store_was_opened_for_is_kept() {
    for (completed, terminated) in [(false, false), (true, false), (false, true)] {
        let store =
            try_open(&SimDisk::new(), Durability::Strict, Events { created: false, completed, terminated })
                .unwrap();
        create(&store, "a", 0);
        delete(&store, "a");
        let kinds: Vec<_> = store.outbox(0, 9).unwrap().iter().map(|entry| entry.kind).collect();
        let wanted = [(completed, EventKind::Completed), (terminated, EventKind::Terminated)];
        let wanted = wanted.into_iter().filter(|(kept, _)| *kept).map(|(_, kind)| kind);
        assert_eq!(kinds, wanted.collect::<Vec<_>>());
    }
}

/// A writer that has seen it incomplete, and commits second, completes nothing.
#[test]
fn an_upload_is_completed_once() {
    let store = open(&SimDisk::new(), Durability::Strict);
    create(&store, "a", 4);
    finish(&store, "a", 4);
    let fence = store.first_fence();
    let again = |fence, expires| Change::Commit {
        id: id("a"),
        fence,
        from: 4,
        to: 4,
        length: None,
        expires,
        finish: true,
        syncer: None,
    };
    let later = Some(WallTime::from_micros(9));
    let late = Completion::Conflict { offset: 4 };
    assert_eq!(store.commit(&[again(fence, None), again(fence, later)]), [late.clone(), late]);
    assert_eq!(store.outbox_len(), Ok(1));
}

#[test]
fn a_length_that_is_told_at_the_end_completes() {
    let store = open(&SimDisk::new(), Durability::Strict);
    store.commit(&[Change::Create { record: record("a", None), first: None }]);
    drop(write(&store, "a", 0, 4, false));
    assert_eq!(store.outbox_len(), Ok(0));
    let fence = store.first_fence();
    let (from, to, length) = (4, 4, Some(4));
    let last =
        Change::Commit { id: id("a"), fence, from, to, length, expires: None, finish: true, syncer: None };
    assert_eq!(store.commit(&[last]), [Completion::Committed { offset: 4 }]);
    assert_eq!(told(&store.outbox(0, 9).unwrap()), [(EventKind::Completed, whole("a", 4))]);
}

#[test]
fn an_event_tells_what_a_final_was() {
    let store = open(&SimDisk::new(), Durability::Strict);
    let of_part = Record { concat: Some(Concat::Partial), ..record("part", Some(4)) };
    store.commit(&[Change::Create { record: of_part.clone(), first: None }]);
    let pending = |name: &str| Record {
        concat: Some(Concat::Final(format!("as sent for {name}"))),
        ..record(name, None)
    };
    for name in ["whole", "gone"] {
        let (record, parts) = (pending(name), vec![id("part"), id("part")]);
        let made = store.commit(&[Change::Concat { record, parts, max: None, delete_parts: false }]);
        assert!(matches!(made[..], [Completion::Concatenated(_)]), "{made:?}");
    }
    delete(&store, "gone");
    finish(&store, "part", 4);
    delete(&store, "part");
    let expected = [
        (EventKind::Terminated, Record { length: Some(8), ..pending("gone") }),
        (EventKind::Completed, Record { offset: 8, length: Some(8), ..pending("whole") }),
        (EventKind::Terminated, Record { offset: 4, ..of_part }),
    ];
    assert_eq!(told(&store.outbox(0, 9).unwrap()), expected);
}

#[test]
fn no_number_is_given_twice() {
    for (durability, crash) in BOTH.into_iter().flat_map(|durability| {
        [None, Some(Crash::Process), Some(Crash::Machine(0)), Some(Crash::Machine(1))]
            .map(|crash| (durability, crash))
    }) {
        let disk = SimDisk::new();
        let mut last = 0;
        for round in 0..4 {
            let store = open(&disk, durability);
            for entry in store.outbox(0, 9).unwrap() {
                acknowledge(&store, &entry);
            }
            assert_eq!(store.outbox_len(), Ok(0));
            let name = format!("upload-{round}");
            create(&store, &name, 0);
            // Eventual durability does not show it yet, and may lose it: its number is gone all the same.
            let database = store.database(&mut lock(&store.writer)).unwrap();
            let number = database::last_event_seen(&redb::ReadableDatabase::begin_read(&*database).unwrap());
            drop(database);
            let number = number.unwrap();
            assert!(number > last, "{durability:?}, {crash:?}: {number} after {last}");
            last = number;
            if let Some(crash) = crash {
                disk.crash(crash);
            }
        }
    }
}

#[test]
fn eventual_shows_no_event_that_a_power_cut_could_take_back() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Eventual);
    create(&store, "flushed", 0);
    store.flush().unwrap();
    create(&store, "a", 4);
    finish(&store, "a", 4);
    assert_eq!(told(&store.outbox(0, 9).unwrap()), [(EventKind::Completed, whole("flushed", 0))]);
    assert_eq!(store.outbox_len(), Ok(2));
    store.flush().unwrap();
    assert_eq!(store.outbox(0, 9).unwrap().len(), 2);
}

#[test]
fn the_journal_brings_an_event_back_as_it_was_kept() {
    for events in [ALL, Events::default()] {
        let disk = SimDisk::new();
        let store = try_open(&disk, Durability::Eventual, events).unwrap();
        create(&store, "a", 0);
        let before = store.outbox_len();
        disk.crash(Crash::Process);
        drop(store);
        // Opened for others than it was written for.
        let other = Events { created: false, completed: !events.completed, terminated: true };
        let store = try_open(&disk, Durability::Eventual, other).unwrap();
        assert_eq!(store.outbox_len(), before);
        let shown = store.outbox(0, 9).unwrap().len() as u64;
        assert_eq!(Ok(shown), before, "what an opening finds is durable");
    }
}

#[test]
fn a_completion_that_is_taken_back_takes_its_event_along() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Eventual);
    create(&store, "a", 8);
    create(&store, "other", 8);
    drop(write(&store, "a", 0, 4, false));
    store.flush().unwrap();
    drop(write(&store, "a", 4, 8, true));
    let next = disk.calls();
    disk.fail(next..next + 1, Fault::Evict);
    assert!(store.flush_data().is_err());
    finish(&store, "other", 8);
    store.flush().unwrap();
    assert_eq!(store.load(&id("a")).unwrap().unwrap().offset, 4);
    assert_eq!(told(&store.outbox(0, 9).unwrap()), [(EventKind::Completed, whole("other", 8))]);

    drop(write(&store, "a", 4, 8, true));
    store.flush().unwrap();
    let expected = [whole("other", 8), whole("a", 8)].map(|record| (EventKind::Completed, record));
    assert_eq!(told(&store.outbox(0, 9).unwrap()), expected);
}

#[test]
fn a_damaged_event_is_found_and_hinders_no_other() {
    let store = open(&SimDisk::new(), Durability::Strict);
    create(&store, "a", 0);
    create(&store, "b", 0);
    let numbers: Vec<_> = store.outbox(0, 9).unwrap().iter().map(|entry| entry.number).collect();
    let database = store.database(&mut lock(&store.writer)).unwrap();
    let txn = database::begin_durable(&database).unwrap();
    txn.open_table(EVENTS).unwrap().insert(("a", numbers[0]), &[9, 9][..]).unwrap();
    txn.open_table(EVENTS).unwrap().insert(("b", numbers[1] + 5), &[9, 9][..]).unwrap();
    txn.commit().unwrap();
    drop(database);
    assert_eq!(told(&store.outbox(0, 9).unwrap()), [(EventKind::Completed, whole("b", 0))]);
    assert!(store.trouble().is_some());
    assert_eq!(told(&due(&store, 0).0), [(EventKind::Completed, whole("b", 0))]);
    let found = [numbers[0], numbers[1] + 5].map(|number| Finding::DamagedEvent { number });
    let found = [&found[..], &[Finding::WrongDueEvent { id: id("a") }]].concat();
    assert_eq!(store.verify().unwrap(), found);
    store.repair().unwrap();
    assert_eq!(store.verify().unwrap(), []);
}

/// What the store was told to forget, and the highest number it has shown.
#[derive(Default)]
struct Seen {
    acknowledged: BTreeSet<u64>,
    last: u64,
    /// Uploads whose event may be gone, because it was acknowledged.
    told: BTreeSet<(bool, String)>,
}

impl Seen {
    fn deliver(&mut self, store: &Store, limit: usize) {
        for entry in store.outbox(0, limit).unwrap_or_default() {
            self.last = self.last.max(entry.number);
            self.told.insert((entry.kind == EventKind::Completed, entry.record.id.to_string()));
            if matches!(acknowledge(store, &entry), Completion::Deleted) {
                self.acknowledged.insert(entry.number);
            }
        }
    }
}

fn run_script(disk: &SimDisk, durability: Durability, seen: &mut Seen) {
    let Some(store) = try_open(disk, durability, ALL) else { return };
    create(&store, "empty", 0);
    create(&store, "kept", 4);
    create(&store, "short", 4);
    drop(write(&store, "kept", 0, 2, false));
    drop(write(&store, "kept", 2, 4, true));
    let _ = store.flush();
    seen.deliver(&store, 1);
    create(&store, "gone", 4);
    drop(write(&store, "gone", 0, 4, true));
    delete(&store, "gone");
    drop(write(&store, "short", 0, 2, false));
    let _ = store.flush();
    seen.deliver(&store, 2);
    delete(&store, "short");
    let _ = store.flush();
}

/// The records, and what the events say of them, must be of one time.
fn check(disk: &SimDisk, durability: Durability, crash: Crash, seen: &Seen, context: &str) {
    let store = open(disk, durability);
    let entries = store.outbox(0, 99).unwrap();
    assert_eq!(store.outbox_len(), Ok(entries.len() as u64), "{context}");
    let events = told(&entries);
    let falls_back = durability == Durability::Eventual && crash != Crash::Process;
    let again = entries.iter().any(|entry| seen.acknowledged.contains(&entry.number));
    assert!(!again || falls_back, "{context}: an acknowledged event is back");
    for name in ["empty", "kept", "short", "gone"] {
        let of = |kind| events.iter().filter(|(k, record)| *k == kind && record.id == id(name)).count();
        let (completed, terminated) = (of(EventKind::Completed), of(EventKind::Terminated));
        let was_told = |completed: bool| seen.told.contains(&(completed, name.to_owned()));
        match store.load(&id(name)).unwrap() {
            Some(record) if record.is_complete() => {
                assert!(completed == 1 || (completed == 0 && was_told(true)), "{context}: {name}");
                assert_eq!(terminated, 0, "{context}: {name}");
            }
            Some(_) => assert_eq!((completed, terminated), (0, 0), "{context}: {name}"),
            // It was not made yet, or is deleted: each event at most once, and not one without the other.
            None => {
                assert!(completed <= 1 && terminated <= 1, "{context}: {name}");
                let both = completed == terminated || was_told(true) || was_told(false) || name == "short";
                assert!(both, "{context}: {name}: {completed} and {terminated}");
            }
        }
    }
    create(&store, "next", 0);
    store.flush().unwrap();
    let next = store.outbox(0, 99).unwrap().last().unwrap().number;
    assert!(next > seen.last && next > seen.acknowledged.last().copied().unwrap_or(0), "{context}");
    assert_eq!(store.verify().unwrap(), [], "{context}");
}

#[test]
fn events_and_records_survive_a_crash_at_any_call_together() {
    for durability in BOTH {
        let calls = {
            let disk = SimDisk::new();
            run_script(&disk, durability, &mut Seen::default());
            disk.calls()
        };
        assert!(calls > 100, "the script does something: {calls}");
        for at in 0..calls {
            for crash in [Crash::Process, Crash::Machine(at)] {
                let disk = SimDisk::new();
                let mut seen = Seen::default();
                disk.die_at(at);
                run_script(&disk, durability, &mut seen);
                disk.crash(crash);
                let context = format!("{durability:?}, {crash:?} at call {at}");
                check(&disk, durability, crash, &seen, &context);
            }
        }
    }
}

fn postpone(store: &Store, event: &OutboxEvent, until: u64) -> Completion {
    let (id, number, until) = (event.record.id.clone(), event.number, WallTime::from_micros(until));
    store.commit(&[Change::Postpone { id, number, until }]).remove(0)
}

fn names(events: &[OutboxEvent]) -> Vec<(&str, EventKind, u32)> {
    events.iter().map(|event| (event.record.id.as_str(), event.kind, event.attempts)).collect()
}

#[test]
fn of_each_upload_the_first_event_is_due_and_one_put_off_keeps_back_those_after_it() {
    use EventKind::{Completed, Terminated};
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        store.tell_time(WallTime::from_micros(100));
        create(&store, "a", 0);
        delete(&store, "a");
        create(&store, "b", 0);
        store.flush().unwrap();
        assert_eq!(due(&store, 99), (Vec::new(), Some(100)));
        let (events, next) = due(&store, 100);
        assert_eq!(names(&events), [("a", Completed, 0), ("b", Completed, 0)], "{durability:?}");
        assert_eq!(next, None);

        assert_eq!(postpone(&store, &events[0], 200), Completion::Committed { offset: 0 });
        assert_eq!(names(&due(&store, 199).0), [("b", Completed, 0)]);
        assert_eq!(due(&store, 199).1, Some(200));
        let of = |name: &str, now| {
            let query = EventQuery { now: WallTime::from_micros(now), limit: 1, upload: Some(id(name)) };
            store.due_events(&query).unwrap().events.len()
        };
        assert_eq!((of("a", 199), of("a", 200), of("b", 199), of("c", 200)), (0, 1, 1, 0));
        drop(store);
        let store = open(&disk, durability);
        assert_eq!(due(&store, 199).1, Some(200), "it rests across openings");
        let (events, _) = due(&store, 200);
        assert_eq!(names(&events), [("b", Completed, 0), ("a", Completed, 1)], "the longest due first");

        acknowledge(&store, &events[1]);
        store.flush().unwrap();
        assert_eq!(names(&due(&store, 200).0), [("a", Terminated, 0), ("b", Completed, 0)]);
        assert_eq!(postpone(&store, &events[1], 300), Completion::Missing);
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn an_upload_that_is_about_to_be_put_into_one_file_is_told_of_after_that() {
    let store = open(&SimDisk::new(), Durability::Strict);
    for name in ["p", "q"] {
        let part = Record { concat: Some(Concat::Partial), ..record(name, Some(4)) };
        store.commit(&[Change::Create { record: part, first: None }]);
        finish(&store, name, 4);
    }
    let of = Record { concat: Some(Concat::Final("final; /p /q".to_owned())), ..record("final", None) };
    let parts = vec![id("p"), id("q")];
    store.commit(&[Change::Concat { record: of, parts, max: None, delete_parts: true }]);
    assert_eq!(due(&store, 0).0, []);
    while store.needs_consolidation() {
        store.consolidate(1 << 20).unwrap();
    }
    assert_eq!(names(&due(&store, 0).0), [("final", EventKind::Completed, 0)]);
}

#[test]
fn an_upload_that_could_not_be_put_into_one_file_is_told_of_all_the_same() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Strict);
    for name in ["p", "q"] {
        let part = Record { concat: Some(Concat::Partial), ..record(name, Some(4)) };
        store.commit(&[Change::Create { record: part, first: None }]);
        finish(&store, name, 4);
    }
    let of = Record { concat: Some(Concat::Final("final; /p /q".to_owned())), ..record("final", None) };
    let parts = vec![id("p"), id("q")];
    store.commit(&[Change::Concat { record: of, parts, max: None, delete_parts: true }]);
    assert_eq!(due(&store, 0).0, []);
    disk.set_free(Some(4));
    assert_eq!(store.consolidate(1 << 20), Err(Failure::NoSpace));
    assert!(!store.is_full());
    assert_eq!(names(&due(&store, 0).0), [("final", EventKind::Completed, 0)]);
}

/// Makes the outbox what it was in format 3.
fn make_format_3(store: &Store) {
    use redb::ReadableTable;

    let events = store.outbox(0, 99).unwrap();
    let database = store.database(&mut lock(&store.writer)).unwrap();
    let txn = database::begin_durable(&database).unwrap();
    {
        let mut outbox = txn.open_table(OUTBOX).unwrap();
        for event in &events {
            // Before what an event is stand two numbers now.
            let bytes = txn.open_table(EVENTS).unwrap();
            let bytes = bytes.get((event.record.id.as_str(), event.number)).unwrap().unwrap();
            outbox.insert(event.number, &bytes.value()[16..]).unwrap();
        }
        txn.open_table(database::META).unwrap().insert("format", database::FORMAT_3).unwrap();
    }
    txn.delete_table(EVENTS).unwrap();
    txn.delete_table(database::DUE_EVENTS).unwrap();
    txn.commit().unwrap();
}

#[test]
fn a_store_of_format_3_is_migrated_at_opening_whatever_cuts_it() {
    for at in 0.. {
        let disk = SimDisk::new();
        let store = open(&disk, Durability::Strict);
        create(&store, "a", 0);
        delete(&store, "a");
        create(&store, "b", 0);
        let events = store.outbox(0, 9).unwrap();
        make_format_3(&store);
        drop(store);
        let calls = disk.calls();
        disk.die_at(calls + at);
        let opened = try_open(&disk, Durability::Strict, ALL).is_some();
        disk.crash(Crash::Machine(at));
        let store = open(&disk, Durability::Strict);
        assert_eq!(store.outbox(0, 9).unwrap(), events, "cut at call {at}");
        assert_eq!(names(&due(&store, 0).0).len(), 2);
        assert_eq!(store.verify().unwrap(), []);
        if opened {
            assert!(at > 9, "the opening does something: {at}");
            return;
        }
    }
}

#[test]
fn a_note_stays_with_its_event_and_survives_a_power_cut() {
    for durability in BOTH {
        let disk = SimDisk::new();
        let store = open(&disk, durability);
        assert_eq!(create(&store, "a", 5), Completion::Created);
        finish(&store, "a", 5);
        store.flush().unwrap();
        let event = store.outbox(0, 9).unwrap().remove(0);
        let (of, number) = (id("a"), event.number);
        assert_eq!(store.note(&of, number), Ok(None));
        assert_eq!(store.annotate(&of, number, b"first"), Ok(true));
        assert_eq!(store.annotate(&of, number, b"second"), Ok(true));
        assert_eq!(store.annotate(&of, number + 1, b"of none"), Ok(false));
        disk.crash(Crash::Machine(7));
        drop(store);
        let store = open(&disk, durability);
        assert_eq!(store.note(&of, number), Ok(Some(b"second".to_vec())), "{durability:?}");
        postpone(&store, &event, 200);
        assert_eq!(store.note(&of, number), Ok(Some(b"second".to_vec())), "{durability:?}, put off");
        assert_eq!(store.outbox(0, 9).unwrap()[0].record, whole("a", 5));
        assert_eq!(acknowledge(&store, &event), Completion::Deleted);
        assert_eq!((store.note(&of, number), store.annotate(&of, number, b"late")), (Ok(None), Ok(false)));
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn a_note_is_whole_or_the_one_before_whatever_fails() {
    for durability in BOTH {
        let prepared = || {
            let disk = SimDisk::new();
            let store = open(&disk, durability);
            create(&store, "a", 5);
            finish(&store, "a", 5);
            store.flush().unwrap();
            let number = store.outbox(0, 9).unwrap()[0].number;
            assert_eq!(store.annotate(&id("a"), number, b"before"), Ok(true));
            (disk, store, number)
        };
        let (disk, store, number) = prepared();
        let begin = disk.calls();
        store.annotate(&id("a"), number, b"after").unwrap();
        for at in begin..disk.calls() {
            let (disk, store, number) = prepared();
            disk.die_at(at);
            let told = store.annotate(&id("a"), number, b"after");
            disk.crash(Crash::Machine(at));
            drop(store);
            let note = open(&disk, durability).note(&id("a"), number).unwrap().unwrap();
            let context = format!("{durability:?} at {at}: {note:?}");
            assert!(note == b"after" || (note == b"before" && told.is_err()), "{context}");
        }
    }
}

#[test]
fn what_is_consumed_goes_without_an_event() {
    let disk = SimDisk::new();
    let store = open(&disk, Durability::Eventual);
    for name in ["a", "b"] {
        create(&store, name, 5);
    }
    finish(&store, "a", 5);
    assert_eq!((store.consume(&id("a")), store.consume(&id("a"))), (Ok(true), Ok(false)));
    assert_eq!(store.consume(&id("b")), Ok(false), "it is not complete");
    store.flush().unwrap();
    let told: Vec<_> = store.outbox(0, 9).unwrap().iter().map(|event| event.kind).collect();
    assert_eq!(told, [EventKind::Completed]);
    assert_eq!(store.load(&id("a")).unwrap(), None);
}
