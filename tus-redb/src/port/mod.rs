//! The store as the driver's port: calls that answer at once or later, on threads that the runtime gives. What must be
//! synced before a record is written, which changes share a transaction, and which housekeeping is due is decided here
//! and in the machines beside this file, and nowhere else.

mod chores;
mod group;
mod open;
mod quota;

use std::{
    fmt,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Buf;
use tus_driver::{
    Answer, AppendGrant, Change as PortChange, Changed, Class, Commit, DueEvents, EventKinds, EventQuery,
    Executor, FileRange, FirstBytes, Loaded, LookupError, Opened, Ticket,
};
use tus_proto::{Algorithm, Completion, Digest, Failure, Fence, Hasher, Instant, Record, UploadId};

pub use self::quota::{Refusal, SpaceLimits};
use self::{
    chores::{Chore, Chores, Signals},
    group::Group,
    quota::Quota,
};
use crate::{
    Change, Rejected, Sink, Source, Store, Swept, Syncer, error::WriteError, records::commit::Done,
    store::lock,
};

/// How often housekeeping is looked for where no change comes.
const TICK: Duration = Duration::from_secs(1);

/// How many expired uploads are removed in one transaction.
const SWEEP: usize = 64;

/// How many data files are unlinked in one go.
const RECLAIM: usize = 64;

/// How many bytes are read back in one go, for a checksum or a digest to keep: other jobs have their turn after that.
const DIGEST: u64 = 16 << 20;

/// How many bytes are consolidated in one go.
const CONSOLIDATE: u64 = 16 << 20;

/// Hears what a store does beside its answers: for metrics and logs. Called from the store's jobs.
pub trait Observer: Send + Sync {
    /// A group of so many changes was committed, and took so long.
    fn committed(&self, changes: usize, took: Duration) {
        let _ = (changes, took);
    }

    /// A change is done, and its request is about to be told of it.
    fn changed(&self, change: &Change, completion: &Completion) {
        let _ = (change, completion);
    }

    /// A flush has begun: what was committed before this is what the next [`Self::flushed`] is about.
    fn flushing(&self) {}

    /// All that was committed before the last [`Self::flushing`] is durable, or could not be made so.
    fn flushed(&self, flushed: Result<(), Failure>) {
        let _ = flushed;
    }

    /// So many finals became complete with a part of theirs.
    fn finals_finished(&self, count: u64) {
        let _ = count;
    }

    /// A sweep was made.
    fn swept(&self, swept: &Swept) {
        let _ = swept;
    }

    /// An upload was not created, because of a limit of space.
    fn refused(&self, why: Refusal) {
        let _ = why;
    }

    /// Something went wrong, for the operator's log.
    fn error(&self, text: &str) {
        let _ = text;
    }
}

/// An observer that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// A [`Store`] behind the driver's port: see [`tus_driver::Store`]. A clone is the same store.
#[derive(Clone)]
pub struct RedbStore(Arc<Shared>);

/// A [`RedbStore`] for what the store itself holds on to, as its [`Observer`]: it keeps nothing open.
#[derive(Clone)]
pub struct WeakRedbStore(Weak<Shared>);

impl WeakRedbStore {
    /// The store, if it is still open.
    pub fn upgrade(&self) -> Option<RedbStore> {
        self.0.upgrade().map(RedbStore)
    }
}

struct Shared {
    engine: Store,
    executor: Arc<dyn Executor>,
    observer: Box<dyn Observer>,
    group: Mutex<Group<Entry>>,
    chores: Mutex<Chores>,
    quota: Quota,
    /// The disk failed the last commit.
    failing: AtomicBool,
    closing: AtomicBool,
    /// The number of the checkpoint that was begun last.
    checkpoint: AtomicU64,
    /// Called when events may be due.
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

/// A change in the group, and who is told of it.
struct Entry {
    change: Change,
    reply: Reply,
}

/// Who is told what became of a change.
enum Reply {
    /// The request that asked for it.
    Ticket(Ticket<Changed>),
    /// The Append whose new extent it is, which goes on then.
    Append(Box<dyn FnOnce(Changed) + Send>),
}

impl Reply {
    fn tell(self, changed: Changed) {
        match self {
            Self::Ticket(ticket) => ticket.answer(changed),
            Self::Append(open) => open(changed),
        }
    }
}

impl RedbStore {
    /// Puts an opened store behind the port. Its work is done by the executor's threads; expired uploads are looked for
    /// at each `sweep_interval`, at the start too.
    pub fn start(
        engine: Store,
        executor: Arc<dyn Executor>,
        observer: Box<dyn Observer>,
        sweep_interval: Duration,
    ) -> Self {
        let quota = Quota::new(engine.space_limits());
        let shared = Arc::new(Shared {
            quota,
            engine,
            executor,
            observer,
            group: Mutex::default(),
            chores: Mutex::new(Chores::new(sweep_interval)),
            failing: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            checkpoint: AtomicU64::new(0),
            wake: Mutex::default(),
        });
        shared.measure_all();
        shared.clone().tick();
        Self(shared)
    }

    /// The store itself: to look into, to read finished uploads from.
    pub fn engine(&self) -> &Store {
        &self.0.engine
    }

    /// The same store, without keeping it open.
    pub fn downgrade(&self) -> WeakRedbStore {
        WeakRedbStore(Arc::downgrade(&self.0))
    }

    /// How many bytes uploads have, and how many unfinished ones have announced and not sent; `None` if no limit counts
    /// them. Waits for nothing.
    pub fn space_taken(&self) -> Option<(u64, u64)> {
        self.0.quota.measured()
    }
}

impl Shared {
    fn submit(self: &Arc<Self>, change: Change, reply: Reply) {
        let cost = match &change {
            Change::Concat { parts, .. } => parts.len().max(1),
            _ => 1,
        };
        if lock(&self.group).push(Entry { change, reply }, cost) {
            self.schedule();
        }
    }

    fn schedule(self: &Arc<Self>) {
        let this = self.clone();
        self.executor.run(Class::Commit, Box::new(move || this.commit_group()));
    }

    fn commit_group(self: &Arc<Self>) {
        let entries = lock(&self.group).take();
        if !entries.is_empty() {
            self.commit(entries);
        }
        if lock(&self.group).done() {
            self.schedule();
        }
        self.look_for_chores();
    }

    fn commit(&self, entries: Vec<Entry>) {
        let begun = self.executor.now();
        let finals = self.engine.finals_finished();
        let (changes, replies): (Vec<_>, Vec<_>) =
            entries.into_iter().map(|Entry { change, reply }| (change, reply)).unzip();
        self.engine.tell_time(begun.wall);
        let before = self.quota.measures().then(|| {
            changes.iter().map(|change| self.quota.before(&self.engine, change)).collect::<Vec<_>>()
        });
        let done = self.engine.commit_with_events(&changes);
        for ((change, done), before) in changes.iter().zip(&done).zip(before.iter().flatten()) {
            self.quota.changed(&self.engine, change, &done.completion, before.as_ref());
        }
        self.observer.committed(done.len(), self.executor.now().monotonic.since(begun.monotonic));
        let finals = self.engine.finals_finished() - finals;
        if finals > 0 {
            self.observer.finals_finished(finals);
        }
        self.learn(done.iter().map(|done| &done.completion));
        let mut eventful = false;
        for ((change, reply), Done { completion, events }) in changes.into_iter().zip(replies).zip(done) {
            eventful |= !events.is_empty();
            self.observer.changed(&change, &completion);
            drop(change);
            reply.tell(Changed::new(completion, events));
        }
        if eventful && self.engine.shows_events_at_once() {
            self.wake_outbox();
        }
    }

    fn wake_outbox(&self) {
        let wake = lock(&self.wake).clone();
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Sees from a group's completions whether the disk works. Where nothing was to be committed, nothing shows.
    fn learn<'a>(&self, completions: impl Iterator<Item = &'a Completion> + Clone) {
        let done = |completion: &Completion| {
            matches!(
                completion,
                Completion::Created
                    | Completion::Concatenated(_)
                    | Completion::Committed { .. }
                    | Completion::Deleted
            )
        };
        if completions.clone().any(done) {
            self.failing.store(false, Ordering::Relaxed);
        } else if completions.into_iter().any(|completion| *completion == Completion::Failed(Failure::Io)) {
            self.failing.store(true, Ordering::Relaxed);
        }
    }

    /// Looks for housekeeping once a second.
    fn tick(self: Arc<Self>) {
        if self.closing.load(Ordering::Acquire) {
            return;
        }
        if lock(&self.group).is_idle() {
            // An idle store need not hold what was read last.
            self.engine.drop_view();
        }
        self.look_for_chores();
        if self.quota.is_due(self.executor.now().monotonic) {
            self.clone().measure_on();
        }
        let at = self.executor.now().monotonic.after(TICK);
        let weak = Arc::downgrade(&self);
        let again = move || {
            if let Some(this) = weak.upgrade() {
                this.tick();
            }
        };
        self.executor.at(at, Box::new(again));
    }

    fn look_for_chores(self: &Arc<Self>) {
        if self.closing.load(Ordering::Acquire) {
            return;
        }
        let now = self.executor.now().monotonic;
        let signals = Signals {
            needs_flush: self.engine.needs_flush(),
            flush_pressing: self.engine.is_flush_pressing(),
            failing: self.failing.load(Ordering::Relaxed),
            full: self.engine.is_full(),
            needs_reclaim: self.engine.needs_reclaim(),
            needs_consolidation: self.engine.needs_consolidation(),
            needs_digest: self.engine.needs_digest(),
        };
        while let Some(chore) = self.next_chore(now, signals) {
            self.queue(chore);
        }
        if let Some(text) = self.engine.trouble() {
            self.observer.error(&text);
        }
    }

    /// Measures what uploads take, if that is limited: before the first is created.
    fn measure_all(&self) {
        let now = || self.executor.now().monotonic;
        if self.quota.is_due(now()) {
            while self.quota.measure(&self.engine, now()).unwrap_or(false) {}
        }
    }

    /// The same, a step a job.
    fn measure_on(self: Arc<Self>) {
        let executor = self.executor.clone();
        let step = move || {
            let more = self.quota.measure(&self.engine, self.executor.now().monotonic);
            if more == Ok(true) && !self.closing.load(Ordering::Acquire) {
                self.measure_on();
            }
        };
        executor.run(Class::Background, Box::new(step));
    }

    fn next_chore(&self, now: Instant, signals: Signals) -> Option<Chore> {
        lock(&self.chores).next(now, signals)
    }

    fn queue(self: &Arc<Self>, chore: Chore) {
        let class = match chore {
            Chore::Flush | Chore::Sweep | Chore::Probe => Class::Commit,
            Chore::FlushData | Chore::EndFlush => Class::Blocking,
            Chore::Reclaim => Class::Background,
            Chore::Consolidate | Chore::Digest => Class::Idle,
        };
        let this = self.clone();
        self.executor.run(class, Box::new(move || this.do_chore(chore)));
    }

    fn do_chore(self: &Arc<Self>, chore: Chore) {
        let more = self.carry_out(chore);
        let now = self.executor.now().monotonic;
        let follows = lock(&self.chores).done(now, chore, more);
        if let Some(next) = follows.filter(|_| !self.closing.load(Ordering::Acquire)) {
            self.queue(next);
        }
        self.look_for_chores();
    }

    /// Does a chore. `true` if it left something to do at once.
    fn carry_out(&self, chore: Chore) -> Result<bool, Failure> {
        match chore {
            Chore::FlushData => self.engine.flush_data().map(|()| false),
            Chore::Flush => {
                let begun = self.engine.begin_flush();
                self.observer.flushing();
                match begun {
                    Ok(Some(checkpoint)) => self.checkpoint.store(checkpoint, Ordering::Release),
                    Ok(None) => self.flushed(Ok(())),
                    Err(failure) => self.flushed(Err(failure)),
                }
                begun.map(|checkpoint| checkpoint.is_some())
            }
            Chore::EndFlush => {
                let flushed = self.engine.end_flush(self.checkpoint.load(Ordering::Acquire));
                self.flushed(flushed);
                flushed.map(|()| false)
            }
            Chore::Sweep => {
                let swept = self.engine.sweep(self.executor.now().wall, SWEEP)?;
                self.observer.swept(&swept);
                Ok(swept.more)
            }
            Chore::Reclaim => self.engine.reclaim(RECLAIM).map(|removed| removed == RECLAIM),
            Chore::Consolidate => {
                let more = self.engine.consolidate(CONSOLIDATE);
                // An event that waited for it may be due.
                self.wake_outbox();
                more
            }
            Chore::Digest => self.engine.digest(DIGEST),
            Chore::Probe => {
                let probed = self.engine.probe();
                self.observer.flushing();
                self.observer.flushed(probed);
                self.failing
                    .store(matches!(probed, Err(Failure::Io | Failure::Unavailable)), Ordering::Relaxed);
                Ok(false)
            }
        }
    }

    fn flushed(&self, flushed: Result<(), Failure>) {
        self.observer.flushed(flushed);
        // An eventual store shows its events only now.
        self.wake_outbox();
    }

    /// Does all there is to do.
    fn housekeep(&self) -> Result<(), Failure> {
        while self.carry_out(Chore::Sweep)? {}
        // What could not be synced is rolled back by the flush.
        let _ = self.carry_out(Chore::FlushData);
        if self.carry_out(Chore::Flush)? {
            self.carry_out(Chore::EndFlush)?;
        }
        while self.engine.needs_reclaim() && self.carry_out(Chore::Reclaim)? {}
        while self.engine.needs_consolidation() && self.carry_out(Chore::Consolidate)? {}
        while self.engine.needs_digest() && self.carry_out(Chore::Digest)? {}
        self.engine.drop_view();
        Ok(())
    }

    fn commit_change(self: &Arc<Self>, mut commit: Commit<Syncer>, ticket: Ticket<Changed>) {
        if commit.staged.is_none() && commit.finish {
            // An upload that its length alone completes may have garbage past its end, too.
            let sink = self.engine.append(&commit.id, commit.fence, commit.from);
            commit.staged = sink.ok().map(|sink| sink.syncer());
        }
        // What is in memory goes to the disk with the record.
        if commit.staged.as_ref().is_some_and(Syncer::needs_disk) {
            let this = self.clone();
            self.executor.run(Class::Blocking, Box::new(move || this.sync_and_submit(commit, ticket)));
        } else {
            self.sync_and_submit(commit, ticket);
        }
    }

    /// Syncs what a commit needs, then lets it join a group.
    fn sync_and_submit(self: &Arc<Self>, commit: Commit<Syncer>, ticket: Ticket<Changed>) {
        let Commit { id, fence, from, to, length, expires, finish, staged: syncer } = commit;
        let synced = syncer.as_ref().map_or(Ok(()), |syncer| syncer.sync(finish.then_some(to)));
        let change = Change::Commit { id, fence, from, to, length, expires, finish, syncer };
        match synced {
            Ok(()) => self.submit(change, Reply::Ticket(ticket)),
            Err(failure) => {
                let failed = Completion::Failed(failure);
                self.observer.changed(&change, &failed);
                ticket.answer(failed.into());
            }
        }
    }

    fn digest_on(
        self: Arc<Self>,
        syncer: Syncer,
        (from, to): (u64, u64),
        mut hasher: Box<Hasher>,
        ticket: Ticket<Result<Digest, Failure>>,
    ) {
        let until = to.min(from.saturating_add(DIGEST));
        match syncer.read_back(from, until, &mut |bytes| hasher.update(bytes)) {
            Ok(()) if until < to => {
                let executor = self.executor.clone();
                let next = move || self.digest_on(syncer, (until, to), hasher, ticket);
                executor.run(Class::Compute, Box::new(next));
            }
            Ok(()) => ticket.answer(Ok(hasher.finish())),
            Err(failure) => ticket.answer(Err(failure)),
        }
    }

    /// Hashes a source from one offset to another, a piece a job.
    fn hash_on(
        self: Arc<Self>,
        mut source: Source,
        (from, to): (u64, u64),
        mut hasher: Box<Hasher>,
        ticket: Ticket<Result<Digest, LookupError>>,
    ) {
        const PIECE: usize = 256 << 10;
        let until = to.min(from.saturating_add(DIGEST));
        let mut buffer = vec![0; PIECE];
        let mut at = from;
        while at < until {
            let wanted = usize::try_from(until - at).unwrap_or(PIECE).min(PIECE);
            let extent = buffer.get_mut(..wanted).unwrap_or_default();
            match source.read_at(at, extent) {
                Ok(0) => return ticket.answer(Err(LookupError::Failed(Failure::Io))),
                Ok(count) => {
                    hasher.update(extent.get(..count).unwrap_or_default());
                    at += count as u64;
                }
                Err(failure) => return ticket.answer(Err(LookupError::Failed(failure))),
            }
        }
        if until == to {
            return ticket.answer(Ok(hasher.finish()));
        }
        let executor = self.executor.clone();
        let next = move || self.hash_on(source, (until, to), hasher, ticket);
        executor.run(Class::Compute, Box::new(next));
    }

    /// Looks into the records: at once, for that takes microseconds; but while they are compacted, which takes seconds,
    /// on a thread that may wait.
    fn look<T: Send + 'static>(
        self: &Arc<Self>,
        id: &UploadId,
        later: impl FnOnce() -> Ticket<T>,
        look: impl FnOnce(&Self, &UploadId) -> T + Send + 'static,
    ) -> Answer<T> {
        if !self.engine.is_compacting() {
            return Answer::Now(look(self, id));
        }
        let (shared, id, ticket) = (self.clone(), id.clone(), later());
        self.executor.run(Class::Blocking, Box::new(move || ticket.answer(look(&shared, &id))));
        Answer::Later
    }

    fn load(&self, id: &UploadId) -> Loaded {
        match self.engine.load(id) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(match self.engine.remembers(id) {
                Ok(true) => LookupError::Gone,
                Ok(false) => LookupError::Missing,
                Err(failure) => LookupError::Failed(failure),
            }),
            Err(failure) => Err(LookupError::Failed(failure)),
        }
    }
}

impl tus_driver::Store for RedbStore {
    type Sink = Sink;
    type Staged = Syncer;
    type Source = Source;

    fn first_fence(&self) -> Fence {
        self.0.engine.first_fence()
    }

    fn load(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Loaded>) -> Answer<Loaded> {
        self.0.look(id, later, Shared::load)
    }

    fn append(
        &self,
        lease: AppendGrant,
        later: impl FnOnce() -> Ticket<Opened<Sink>>,
    ) -> Answer<Opened<Sink>> {
        let AppendGrant { id, fence, at, rotate, .. } = lease;
        if !rotate {
            return self.0.look(&id, later, move |shared, id| {
                shared.engine.append(id, fence, at).map_err(LookupError::from)
            });
        }
        // It waits in the store's own group: a strong reference would keep a store that is dropped meanwhile for ever.
        let (weak, ticket) = (Arc::downgrade(&self.0), later());
        let change = Change::NewExtent { id: id.clone(), fence, at };
        let open = move |changed: Changed| {
            let Some(shared) = weak.upgrade() else {
                return ticket.answer(Err(LookupError::Failed(Failure::Unavailable)));
            };
            ticket.answer(match changed.completion {
                Completion::Committed { .. } => {
                    shared.engine.append(&id, fence, at).map_err(LookupError::from)
                }
                Completion::Conflict { offset } => Err(LookupError::Conflict { offset }),
                Completion::Missing => Err(LookupError::Missing),
                Completion::Failed(failure) => Err(LookupError::Failed(failure)),
                _ => Err(LookupError::Failed(Failure::Io)),
            });
        };
        self.0.submit(change, Reply::Append(Box::new(open)));
        Answer::Later
    }

    fn reserve(&self, bytes: u64) -> Option<FirstBytes> {
        self.0.engine.reserve(bytes)
    }

    fn change(&self, change: PortChange<Syncer>, later: impl FnOnce() -> Ticket<Changed>) -> Answer<Changed> {
        let ticket = later();
        let change = match change {
            PortChange::Commit(commit) => {
                self.0.commit_change(commit, ticket);
                return Answer::Later;
            }
            PortChange::Discard { id, fence } => {
                let shared = self.0.clone();
                let job = move || ticket.answer(shared.engine.discard(&id, fence).into());
                self.0.executor.run(Class::Blocking, Box::new(job));
                return Answer::Later;
            }
            PortChange::Postpone { id, number, until } => Change::Postpone { id, number, until },
            PortChange::Acknowledge { id, number } => Change::Acknowledge { id, number },
            PortChange::Create { record, first } => {
                if let Some(why) = self.0.quota.refuses(&record, self.0.engine.free_space()) {
                    self.0.observer.refused(why);
                    ticket.answer(Completion::Failed(Failure::NoSpace).into());
                    return Answer::Later;
                }
                match first.filter(|first| !first.is_empty()) {
                    Some(first) => Change::CreateWith { record, first },
                    None => Change::Create(record),
                }
            }
            PortChange::Concat { record, parts, max, delete_parts } => {
                Change::Concat { record, parts, max, delete_parts }
            }
            PortChange::Delete { id, fence } => Change::Delete { id, fence },
        };
        self.0.submit(change, Reply::Ticket(ticket));
        Answer::Later
    }

    fn digest(
        &self,
        staged: &Syncer,
        range: (u64, u64),
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, Failure>>,
    ) -> Answer<Result<Digest, Failure>> {
        let (shared, syncer, ticket) = (self.0.clone(), staged.clone(), later());
        let job = move || shared.digest_on(syncer, range, Box::new(Hasher::new(algorithm)), ticket);
        self.0.executor.run(Class::Compute, Box::new(job));
        Answer::Later
    }

    fn hash(
        &self,
        id: &UploadId,
        to: u64,
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, LookupError>>,
    ) -> Answer<Result<Digest, LookupError>> {
        let source = match self.0.engine.open_source(id) {
            Ok(source) => source,
            Err(rejected) => return Answer::Now(Err(rejected.into())),
        };
        let (shared, ticket) = (self.0.clone(), later());
        let job = move || shared.hash_on(source, (0, to), Box::new(Hasher::new(algorithm)), ticket);
        self.0.executor.run(Class::Compute, Box::new(job));
        Answer::Later
    }

    fn open(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Opened<Source>>) -> Answer<Opened<Source>> {
        self.0.look(id, later, |shared, id| shared.engine.open_source(id).map_err(LookupError::from))
    }

    fn due_events(
        &self,
        query: EventQuery,
        later: impl FnOnce() -> Ticket<Result<DueEvents, Failure>>,
    ) -> Answer<Result<DueEvents, Failure>> {
        let (shared, ticket) = (self.0.clone(), later());
        let job = move || ticket.answer(shared.engine.due_events(&query));
        self.0.executor.run(Class::Blocking, Box::new(job));
        Answer::Later
    }

    fn keep_events(&self, events: EventKinds, wake: Box<dyn Fn() + Send + Sync>) {
        self.0.engine.keep_events(events);
        *lock(&self.0.wake) = Some(Arc::from(wake));
    }

    fn pending_events(&self) -> Option<u64> {
        self.0.engine.outbox_len().ok()
    }

    fn files(&self, id: &UploadId) -> Result<Vec<(PathBuf, u64)>, Failure> {
        self.0.engine.paths(id)
    }

    fn flush(&self, ticket: Ticket<Result<(), Failure>>) {
        let shared = self.0.clone();
        let job = move || {
            // What could not be synced is rolled back by the flush.
            let _ = shared.engine.flush_data();
            let flushed = shared.engine.flush();
            shared.wake_outbox();
            ticket.answer(flushed);
        };
        self.0.executor.run(Class::Commit, Box::new(job));
    }

    fn housekeep(&self, ticket: Ticket<Result<(), Failure>>) {
        let shared = self.0.clone();
        let job = move || ticket.answer(shared.housekeep());
        self.0.executor.run(Class::Idle, Box::new(job));
    }

    fn close(&self, ticket: Ticket<Result<(), Failure>>) {
        self.0.closing.store(true, Ordering::Release);
        let shared = self.0.clone();
        let job = move || ticket.answer(shared.engine.flush());
        self.0.executor.run(Class::Commit, Box::new(job));
    }

    fn free_space(&self) -> Option<u64> {
        self.0.engine.free_space()
    }

    fn health(&self) -> Result<(), Failure> {
        if self.0.engine.is_full() {
            Err(Failure::NoSpace)
        } else if self.0.failing.load(Ordering::Relaxed) {
            Err(Failure::Io)
        } else {
            Ok(())
        }
    }
}

impl From<Rejected> for LookupError {
    fn from(refused: Rejected) -> Self {
        match refused {
            Rejected::Missing => Self::Missing,
            Rejected::Gone => Self::Gone,
            Rejected::Conflict { offset } => Self::Conflict { offset },
            Rejected::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl tus_driver::Sink for Sink {
    type Staged = Syncer;

    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        while data.has_remaining() {
            let chunk = data.chunk();
            let len = chunk.len();
            if let Err(WriteError { written, failure }) = Self::write(self, chunk) {
                data.advance(written);
                return Err(failure);
            }
            data.advance(len);
        }
        Ok(())
    }

    fn blocks(&self, len: usize) -> bool {
        !self.would_keep(len)
    }

    fn splice_target(&mut self) -> Result<Option<(BorrowedFd<'_>, u64)>, Failure> {
        Self::splice_target(self)
    }

    fn spliced(&mut self, bytes: u64) {
        self.advance(bytes);
    }

    fn len(&self) -> u64 {
        Self::staged(self)
    }

    fn staged(&self) -> Syncer {
        self.syncer()
    }
}

impl tus_driver::Source for Source {
    fn record(&self) -> &Record {
        Self::record(self)
    }

    fn poll_read(&mut self, at: u64, buf: &mut [u8], _: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        Poll::Ready(self.read_at(at, buf))
    }

    fn blocks(&self) -> bool {
        true
    }

    fn file_at(&mut self, at: u64) -> Result<Option<FileRange<'_>>, Failure> {
        let run = Self::file_at(self, at)?;
        Ok(run.map(|run| FileRange { fd: run.fd, position: run.position, len: run.len }))
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedbStore").field(&self.0.engine).finish()
    }
}

#[cfg(test)]
mod tests;
