//! The store as a run has it: the shipped port, with its jobs in a list that the run works off in any order, and a log of
//! what it was asked and what it did.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tus_driver::{
    Answer, AppendGrant, Arrival, Change, Changed, Class, DueEvents, EventKinds, EventQuery, Executor,
    FirstBytes, Inlet, Job, Loaded, Opened, Store, Task, Ticket,
};
use tus_proto::{Algorithm, Completion, Digest, Failure, Fence, Instant, Now, Owner, UploadId};
use tus_redb::{Observer, RedbStore, Sink, Source, Syncer};

/// How often expired uploads are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(200);

/// A job of the store's, and what it is for.
pub(in crate::sim) struct StoreJob {
    pub(in crate::sim) class: Class,
    /// The request whose call has queued it: it is held up with that.
    pub(in crate::sim) owner: Option<Owner>,
    /// The thread that has it hangs until then.
    pub(super) held: Option<Instant>,
    job: Job,
}

impl fmt::Debug for StoreJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.class.fmt(f)
    }
}

impl StoreJob {
    pub(super) fn run(self) {
        (self.job)();
    }
}

/// What the store has done, since it was looked at last.
#[derive(Debug)]
pub(super) enum Deed {
    Changed(Box<tus_redb::Change>, Completion),
    Flushing,
    Flushed(Result<(), Failure>),
    Swept,
}

/// What the store shares with the run.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) now: Option<Now>,
    /// The request whose session is at work.
    pub(super) owner: Option<Owner>,
    pub(super) jobs: Vec<StoreJob>,
    pub(super) timers: Vec<(Instant, StoreJob)>,
    pub(super) arrivals: Vec<(Owner, Arrival<Watched>)>,
    pub(super) deeds: Vec<Deed>,
    pub(super) calls: Vec<Call>,
}

/// A handle of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Desk>>);

impl Shared {
    pub(super) fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.0.lock().unwrap()
    }
}

impl Executor for Shared {
    fn run(&self, class: Class, job: Job) {
        let mut desk = self.desk();
        // A commit is many requests'.
        let owner = desk.owner.filter(|_| class != Class::Commit);
        desk.jobs.push(StoreJob { class, owner, held: None, job });
    }

    fn at(&self, when: Instant, job: Job) {
        self.desk().timers.push((when, StoreJob { class: Class::Background, owner: None, held: None, job }));
    }

    fn spawn(&self, task: Task) -> Result<(), Task> {
        Err(task)
    }

    fn now(&self) -> Now {
        self.desk().now.expect("the clock is set before the store is opened")
    }

    fn random(&self, _: &mut [u8]) -> bool {
        false
    }
}

impl Observer for Shared {
    fn changed(&self, change: &tus_redb::Change, completion: &Completion) {
        self.desk().deeds.push(Deed::Changed(Box::new(change.clone()), completion.clone()));
    }

    fn flushing(&self) {
        self.desk().deeds.push(Deed::Flushing);
    }

    fn flushed(&self, flushed: Result<(), Failure>) {
        self.desk().deeds.push(Deed::Flushed(flushed));
    }

    fn swept(&self, _: &tus_redb::Swept) {
        self.desk().deeds.push(Deed::Swept);
    }
}

/// Posts what is for one session.
pub(super) struct Post(pub(super) Shared, pub(super) Owner);

impl Inlet<Watched> for Post {
    fn post(&self, arrival: Arrival<Watched>) {
        self.0.desk().arrivals.push((self.1, arrival));
    }
}

/// What a session has asked of the store.
#[derive(Debug)]
pub(super) enum Call {
    Load,
    Open,
    Append(AppendGrant),
    Change(Change<Syncer>),
    Digest,
}

/// The store, and a log of its calls.
#[derive(Debug)]
pub(in crate::sim) struct Watched {
    inner: RedbStore,
    shared: Shared,
}

impl Watched {
    pub(super) fn new(engine: tus_redb::Store, shared: Shared) -> Self {
        let (executor, observer) = (Arc::new(shared.clone()), Box::new(shared.clone()));
        Self { inner: RedbStore::start(engine, executor, observer, SWEEP_INTERVAL), shared }
    }

    pub(in crate::sim) fn engine(&self) -> &tus_redb::Store {
        self.inner.engine()
    }

    fn note(&self, call: Call) {
        self.shared.desk().calls.push(call);
    }
}

impl Store for Watched {
    type Sink = Sink;
    type Staged = Syncer;
    type Source = Source;

    fn first_fence(&self) -> Fence {
        self.inner.first_fence()
    }

    fn load(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Loaded>) -> Answer<Loaded> {
        self.note(Call::Load);
        self.inner.load(id, later)
    }

    fn append(
        &self,
        grant: AppendGrant,
        later: impl FnOnce() -> Ticket<Opened<Sink>>,
    ) -> Answer<Opened<Sink>> {
        self.note(Call::Append(grant.clone()));
        self.inner.append(grant, later)
    }

    fn reserve(&self, bytes: u64) -> Option<FirstBytes> {
        self.inner.reserve(bytes)
    }

    fn change(&self, change: Change<Syncer>, later: impl FnOnce() -> Ticket<Changed>) -> Answer<Changed> {
        self.note(Call::Change(change.clone()));
        self.inner.change(change, later)
    }

    fn digest(
        &self,
        staged: &Syncer,
        range: (u64, u64),
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, Failure>>,
    ) -> Answer<Result<Digest, Failure>> {
        self.note(Call::Digest);
        self.inner.digest(staged, range, algorithm, later)
    }

    fn open(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Opened<Source>>) -> Answer<Opened<Source>> {
        self.note(Call::Open);
        self.inner.open(id, later)
    }

    fn due_events(
        &self,
        query: EventQuery,
        later: impl FnOnce() -> Ticket<Result<DueEvents, Failure>>,
    ) -> Answer<Result<DueEvents, Failure>> {
        self.inner.due_events(query, later)
    }

    fn keep_events(&self, events: EventKinds, wake: Box<dyn Fn() + Send + Sync>) {
        self.inner.keep_events(events, wake);
    }

    fn files(&self, id: &UploadId) -> Result<Vec<(PathBuf, u64)>, Failure> {
        self.inner.files(id)
    }

    fn flush(&self, ticket: Ticket<Result<(), Failure>>) {
        self.inner.flush(ticket);
    }

    fn close(&self, ticket: Ticket<Result<(), Failure>>) {
        self.inner.close(ticket);
    }
}
