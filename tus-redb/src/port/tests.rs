//! The port on a disk that fails and recovers, one that is full, and records that are compacted.
#![allow(clippy::unwrap_used)]

use std::{
    io::Read,
    sync::{Arc, Mutex, atomic::Ordering, mpsc},
    time::Duration,
};

use tus_driver::{
    Answer, AppendGrant, Change as PortChange, Changed, Class, FirstBytes, JobQueue, Loaded, LookupError,
    Store as _, Ticket,
};
use tus_proto::{Algorithm, Completion, Failure, Fence, Now, Record, UploadId, WallTime};

use super::housekeeping::TICK;
use crate::{
    Change, Disk, Durability, Mode, NoObserver, Observer, Options, RedbStore, Store,
    sim::{Fault, SimDisk},
};

/// A store behind the port on a simulated disk, whose jobs and timers run when the test says so.
struct Rig {
    disk: SimDisk,
    clock: Arc<Mutex<Now>>,
    jobs: Arc<JobQueue>,
    store: RedbStore,
}

impl Rig {
    fn new() -> Self {
        Self::with(Options { reserve_bytes: 256 << 10, ..Options::default() })
    }

    fn with(options: Options) -> Self {
        Self::observed(options, Box::new(NoObserver))
    }

    fn observed(options: Options, observer: Box<dyn Observer>) -> Self {
        let (disk, clock) = (SimDisk::new(), Arc::new(Mutex::new(Now::default())));
        let engine = Store::open_on(Arc::new(disk.clone()), &options).unwrap();
        let shown = clock.clone();
        let jobs = Arc::new(JobQueue::new(move || *shown.lock().unwrap(), |_| false));
        let store = RedbStore::start(engine, jobs.clone(), observer, Duration::from_secs(60));
        let rig = Self { disk, clock, jobs, store };
        rig.work();
        rig
    }

    /// Runs all jobs that there are.
    fn work(&self) {
        while self.jobs.run_one(Class::Idle) {}
    }

    /// Lets a second pass: the one in which housekeeping is looked for.
    fn pass_second(&self) {
        let mut clock = self.clock.lock().unwrap();
        clock.monotonic = clock.monotonic.after(TICK);
        drop(clock);
        self.work();
    }

    fn create(&self, id: &str) -> Completion {
        self.create_with(id, None, None)
    }

    fn create_with(&self, id: &str, length: Option<u64>, first: Option<FirstBytes>) -> Completion {
        let record = Record {
            id: UploadId::new(id).unwrap(),
            created: WallTime::default(),
            expires: None,
            concat: None,
            explicit: None,
            offset: 0,
            length,
            metadata: String::new(),
        };
        let (tell, told) = mpsc::channel();
        let ticket = || Ticket::new(move |changed: Changed| tell.send(changed).unwrap());
        assert!(matches!(self.store.change(PortChange::Create { record, first }, ticket), Answer::Later));
        self.work();
        told.try_recv().unwrap().completion
    }

    /// Makes an upload, and commits these bytes of it to a data file.
    fn put(&self, id: &UploadId, bytes: &[u8]) {
        assert_eq!(self.create(id.as_str()), Completion::Created);
        let (engine, to) = (self.store.engine(), bytes.len() as u64);
        let fence = engine.first_fence();
        let mut sink = engine.append(id, fence, 0).unwrap();
        sink.write(bytes).unwrap();
        sink.syncer().sync(None).unwrap();
        let (length, expires, syncer) = (None, None, Some(sink.syncer()));
        let commit =
            Change::Commit { id: id.clone(), fence, from: 0, to, length, expires, finish: false, syncer };
        assert_eq!(engine.commit(&[commit]), [Completion::Committed { offset: to }]);
    }

    fn is_failing(&self) -> bool {
        self.store.0.failing.load(Ordering::Relaxed)
    }

    fn learn(&self, completions: &[Completion]) {
        self.store.0.learn(completions.iter());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Jobs hold on to the store.
        self.jobs.clear();
    }
}

#[test]
fn first_bytes_count_as_those_that_come_later_do() {
    let mut options = Options { inline_bytes: 100, ..Options::default() };
    options.space.max_bytes = 1_000;
    options.space.reserve_announced = true;
    let rig = Rig::with(options);
    assert_eq!(rig.create_with("a", Some(9), Some(vec![1; 4].into())), Completion::Created);
    assert_eq!(rig.store.space_taken(), Some((4, 5)));
    assert_eq!(rig.create_with("b", Some(3), Some(vec![1; 3].into())), Completion::Created);
    assert_eq!(rig.store.space_taken(), Some((7, 5)));
    assert_eq!(rig.create_with("c", Some(3), Some(vec![1; 3].into())), Completion::Created);
    let full = rig.create_with("d", Some(990), Some(vec![1; 3].into()));
    assert_eq!(full, Completion::Failed(Failure::NoSpace));
}

#[test]
fn what_uploads_take_is_measured_without_a_limit_as_often_as_it_is_asked_for() {
    let rig = Rig::with(Options { inline_bytes: 100, ..Options::default() });
    let upload = |id| {
        assert_eq!(rig.create_with(id, Some(9), Some(vec![1; 4].into())), Completion::Created);
    };
    let pass_a_minute = || (0..=60).for_each(|_| rig.pass_second());
    upload("a");
    pass_a_minute();
    assert_eq!(rig.store.space_taken(), None, "nobody had asked");
    rig.pass_second();
    assert_eq!(rig.store.space_taken(), Some((4, 5)));
    upload("b");
    rig.pass_second();
    assert_eq!(rig.store.space_taken(), Some((4, 5)), "it was measured a second ago");
    pass_a_minute();
    upload("c");
    pass_a_minute();
    assert_eq!(rig.store.space_taken(), Some((8, 10)), "nobody has asked since");
    pass_a_minute();
    assert_eq!(rig.store.space_taken(), Some((12, 15)));
}

#[test]
fn bodies_that_can_not_be_stored_show_though_records_can() {
    let rig = Rig::with(Options { inline_bytes: 0, reserve_bytes: 256 << 10, ..Options::default() });
    assert_eq!(rig.create("a"), Completion::Created);
    let (engine, id) = (rig.store.engine(), UploadId::new("a").unwrap());
    let mut sink = engine.append(&id, engine.first_fence(), 0).unwrap();
    rig.disk.fail(0..u64::MAX, Fault::Io);
    assert!(sink.write(b"hello").is_err());
    drop(sink);
    rig.disk.heal();
    rig.pass_second();
    assert_eq!(rig.store.health(), Ok(()), "the disk works when it is tried");
    let mut sink = engine.append(&id, engine.first_fence(), 0).unwrap();
    rig.disk.fail(0..u64::MAX, Fault::Io);
    assert!(sink.write(b"hello").is_err());
    drop(sink);
    rig.disk.heal();
    rig.disk.rename("data", "elsewhere").unwrap();
    rig.pass_second();
    assert_eq!(rig.store.health(), Err(Failure::Io));
    assert_eq!(rig.create("b"), Completion::Created);
    rig.pass_second();
    assert_eq!(rig.store.health(), Err(Failure::Io), "though uploads are created");
    rig.disk.rename("elsewhere", "data").unwrap();
    rig.pass_second();
    assert_eq!(rig.store.health(), Ok(()));
}

/// A postponed copy is tried a few times an hour, and causes no other work.
#[test]
fn what_did_not_fit_into_one_file_is_put_there_when_space_has_come_back() {
    let rig = Rig::with(Options { inline_bytes: 0, reserve_bytes: 256 << 10, ..Options::default() });
    let (engine, id) = (rig.store.engine(), UploadId::new("a").unwrap());
    assert_eq!(rig.create_with("a", Some(800_000), None), Completion::Created);
    for (at, number) in [(0, 0), (400_000, 1)] {
        let fence = Fence(engine.first_fence().0 + number);
        if at > 0 {
            engine.commit(&[Change::NewExtent { id: id.clone(), fence, at }]);
        }
        let mut sink = engine.append(&id, fence, at).unwrap();
        sink.write(&vec![number as u8; 400_000]).unwrap();
        let (to, syncer) = (at + 400_000, sink.syncer());
        syncer.sync(Some(to).filter(|to| *to == 800_000)).unwrap();
        let (id, syncer) = (id.clone(), Some(syncer));
        let commit =
            Change::Commit { id, fence, from: at, to, length: None, expires: None, finish: false, syncer };
        assert_eq!(engine.commit(&[commit]), [Completion::Committed { offset: to }]);
    }
    let files = || engine.paths(&id).unwrap().len();
    rig.disk.set_free(Some(900_000));
    let written = rig.disk.traffic("data/");
    for second in 0..300 {
        rig.pass_second();
        if second % 50 == 0 {
            assert_eq!(rig.create(&format!("other-{second}")), Completion::Created);
        }
    }
    assert_eq!((files(), rig.disk.traffic("data/"), rig.store.health()), (2, written, Ok(())));
    rig.disk.set_free(Some(4 << 20));
    (0..=60).for_each(|_| rig.pass_second());
    assert_eq!(files(), 1);
    let mut bytes = Vec::new();
    engine.read(&id).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes == [vec![0; 400_000], vec![1; 400_000]].concat());
    assert_eq!(engine.verify().unwrap(), []);
}

#[test]
fn a_failing_disk_shows_and_so_does_its_recovery() {
    let rig = Rig::new();
    assert_eq!(rig.create("a"), Completion::Created);
    assert!(!rig.is_failing() && rig.store.health().is_ok());
    rig.disk.fail(0..u64::MAX, Fault::Io);
    assert!(matches!(rig.create("b"), Completion::Failed(_)));
    assert!(rig.is_failing() && rig.store.health().is_err());
    rig.pass_second();
    assert!(rig.is_failing(), "the disk still fails");
    rig.disk.heal();
    // It is tried without any change that would show it.
    rig.pass_second();
    assert!(!rig.is_failing() && rig.store.health().is_ok());
    assert_eq!(rig.create("c"), Completion::Created);
}

#[test]
fn what_a_failed_sync_has_lost_is_not_hashed() {
    let options = Options { inline_bytes: 0, durability: Durability::Eventual, ..Options::default() };
    let rig = Rig::with(Options { reserve_bytes: 256 << 10, ..options });
    let (engine, id) = (rig.store.engine(), UploadId::new("a").unwrap());
    rig.put(&id, b"hello");
    let ask = || {
        let (tell, told) = mpsc::channel();
        let ticket = || Ticket::new(move |digest| tell.send(digest).unwrap());
        match rig.store.hash(&id, 5, Algorithm::Sha1, ticket) {
            Answer::Later => Ok(told),
            Answer::Now(digest) => Err(digest),
        }
    };
    let (good, late) = (ask().unwrap(), ask().unwrap());
    assert!(rig.jobs.run_one(Class::Compute) && good.try_recv().unwrap().is_ok());
    let next = rig.disk.calls();
    rig.disk.fail(next..next + 1, Fault::Evict);
    assert_eq!(engine.flush_data(), Err(Failure::Io));
    // As a write past the lost bytes would: there are zeros in their place now.
    let [(path, _)] = &*engine.paths(&id).unwrap() else { panic!("it has one file") };
    let path = path.strip_prefix("/sim").unwrap().to_str().unwrap();
    rig.disk.open(path, Mode::Existing).unwrap().set_len(5).unwrap();
    assert_eq!(ask().unwrap_err(), Err(LookupError::Failed(Failure::Io)));
    // Nothing is lost any more when the one that was begun before reads the zeros.
    engine.flush().unwrap();
    assert!(rig.jobs.run_one(Class::Compute));
    assert_eq!(late.try_recv().unwrap(), Err(LookupError::Failed(Failure::Io)));
}

#[test]
fn a_disk_that_has_recovered_shows_without_any_change() {
    let rig = Rig::new();
    rig.learn(&[Completion::Failed(Failure::Io)]);
    assert!(rig.is_failing());
    rig.pass_second();
    assert!(!rig.is_failing());
}

#[test]
fn a_rejected_change_shows_nothing_and_one_that_is_done_shows_that_the_disk_works() {
    let rig = Rig::new();
    assert_eq!(rig.create("a"), Completion::Created);
    rig.learn(&[Completion::Failed(Failure::Io), Completion::Missing]);
    assert!(rig.is_failing());
    rig.learn(&[Completion::Exists]);
    assert!(rig.is_failing(), "nothing was committed");
    assert_eq!(rig.create("b"), Completion::Created);
    assert!(!rig.is_failing());
    rig.learn(&[Completion::Deleted, Completion::Failed(Failure::Io)]);
    assert!(!rig.is_failing(), "the group was committed, whatever one of its changes lacked");
}

#[test]
fn a_full_disk_is_no_failing_one_and_new_space_is_found_without_any_change() {
    let rig = Rig::new();
    rig.disk.set_free(Some(0));
    let mut number = 0;
    while !rig.store.engine().is_full() && number < 2000 {
        number += 1;
        rig.create(&number.to_string());
        assert!(!rig.is_failing());
    }
    assert!(rig.store.engine().is_full());
    assert_eq!(rig.create("more"), Completion::Failed(Failure::NoSpace));
    rig.pass_second();
    assert!(rig.store.engine().is_full() && !rig.is_failing());
    rig.disk.set_free(None);
    rig.pass_second();
    rig.pass_second();
    assert!(!rig.store.engine().is_full() && !rig.is_failing());
    assert_eq!(rig.create("more"), Completion::Created);
}

#[test]
fn a_look_at_records_that_are_compacted_is_left_to_a_thread_that_may_wait() {
    let rig = Rig::new();
    let id = UploadId::new("a").unwrap();
    let (tell, told) = mpsc::channel();
    let ticket = || Ticket::new(move |loaded: Loaded| tell.send(loaded).unwrap());
    rig.store.engine().compacting.store(true, Ordering::Release);
    assert!(matches!(rig.store.load(&id, ticket), Answer::Later));
    assert!(told.try_recv().is_err());
    rig.store.engine().compacting.store(false, Ordering::Release);
    rig.work();
    assert!(matches!(told.try_recv(), Ok(Err(LookupError::Missing))));
    let never = || -> Ticket<Loaded> { panic!("it answers at once") };
    assert!(matches!(rig.store.load(&id, never), Answer::Now(Err(LookupError::Missing))));
}

/// Passes on the errors that the store reports.
struct Errors(mpsc::Sender<String>);

impl Observer for Errors {
    fn error(&self, text: &str) {
        let _ = self.0.send(text.to_owned());
    }
}

#[test]
fn what_went_wrong_is_told_also_at_the_end() {
    let (tell, told) = mpsc::channel();
    let rig = Rig::observed(Options { inline_bytes: 0, ..Options::default() }, Box::new(Errors(tell)));
    assert_eq!(rig.create("a"), Completion::Created);
    let (engine, id) = (rig.store.engine(), UploadId::new("a").unwrap());
    let mut sink = engine.append(&id, engine.first_fence(), 0).unwrap();
    rig.disk.fail(0..u64::MAX, Fault::Io);
    assert!(sink.write(b"hello").is_err());
    rig.disk.heal();
    drop(sink);
    assert!(told.try_recv().is_err(), "no second has passed");
    let (closed, end) = mpsc::channel();
    rig.store.close(Ticket::new(move |result| closed.send(result).unwrap()));
    rig.work();
    assert_eq!(end.try_recv(), Ok(Ok(())));
    assert!(told.try_recv().is_ok());
}

#[test]
fn an_upload_whose_file_is_gone_is_lost_to_all_once_one_noticed_and_can_be_deleted() {
    let rig = Rig::with(Options { inline_bytes: 0, reserve_bytes: 256 << 10, ..Options::default() });
    let (engine, id) = (rig.store.engine(), UploadId::new("a").unwrap());
    rig.put(&id, b"hello");
    let fence = engine.first_fence();
    let never = || -> Ticket<Loaded> { panic!("it answers at once") };
    let loaded = || match rig.store.load(&id, never) {
        Answer::Now(loaded) => loaded,
        Answer::Later => panic!("it answers at once"),
    };
    let path = engine.paths(&id).unwrap().remove(0).0;
    let file = path.strip_prefix("/sim").unwrap().to_str().unwrap().to_owned();
    let record = loaded().unwrap();
    assert_eq!(record.offset, 5);
    rig.disk.rename(&file, "moved").unwrap();
    assert_eq!(loaded(), Ok(record.clone()), "nobody has noticed");
    let lost = LookupError::Lost(Box::new(record.clone()));
    let opened = rig.store.open(&id, || panic!("it answers at once"));
    assert!(matches!(opened, Answer::Now(Err(error)) if error == lost));
    assert_eq!(loaded(), Err(lost.clone()), "from then on");
    rig.disk.rename("moved", &file).unwrap();
    assert_eq!(loaded(), Ok(record), "it is back");

    rig.disk.rename(&file, "moved").unwrap();
    let append = AppendGrant { id: id.clone(), fence, at: 5, max: 5, rotate: false };
    let opened = rig.store.append(append, || panic!("it answers at once"));
    assert!(matches!(opened, Answer::Now(Err(error)) if error == lost));
    assert_eq!(loaded(), Err(lost));
    let (tell, told) = mpsc::channel();
    let ticket = || Ticket::new(move |changed: Changed| tell.send(changed).unwrap());
    rig.store.change(PortChange::Delete { id: id.clone(), fence }, ticket);
    rig.work();
    assert_eq!(told.try_recv().unwrap().completion, Completion::Deleted);
    assert_eq!(loaded(), Err(LookupError::Missing));
}
