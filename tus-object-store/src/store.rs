//! The store behind the driver's port: each call is a task, and each task answers its ticket.

use std::{
    fmt,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{Notify, Semaphore};
use tus_driver::{
    Answer, AppendGrant, Change, Changed, DueEvents, EventKinds, EventQuery, Executor, FirstBytes, Loaded,
    LookupError, Opened, Store, Ticket,
};
use tus_proto::{Algorithm, Completion, Digest, Failure, Fence, Hasher, UploadId};

use crate::{
    bucket::Bucket,
    budget::Budget,
    document::{Document, Place},
    lease::LeaseLocks,
    options::Options,
    peers::{HeadMarks, PeerQuestion, PeerRequest},
    probe::OpenError,
    requests::{Requests, lock},
    shared::Shared,
    source::BucketSource,
    staging::{BucketSink, Staged},
};

/// How long the record that a grant has read stands for the look-up that follows it.
const RELOAD: Duration = Duration::from_secs(1);

/// How many bytes are read back at once to be hashed.
const DIGEST: u64 = 4 << 20;

/// Uploads in a bucket. A clone is the same store.
///
/// Use it with the locks of [`locks`](Self::locks): they are the ones of all servers. With the locks of one process it
/// must be the only server of its bucket; it then begins a new object for each request, and gains nothing by that.
#[derive(Clone)]
pub struct BucketStore {
    pub(crate) shared: Arc<Shared>,
    locks: LeaseLocks,
}

impl BucketStore {
    /// Tries the bucket, and opens a store on it. Its tasks and timers are the executor's from now on.
    ///
    /// # Errors
    /// The executor runs no tasks, or the bucket is not fit for uploads: see [`OpenError`].
    pub async fn open(
        bucket: Arc<dyn Bucket>,
        executor: Arc<dyn Executor>,
        options: Options,
    ) -> Result<Self, OpenError> {
        if executor.spawn(Box::pin(async {})).is_err() {
            return Err(OpenError::NoTasks);
        }
        let requests = Requests::new(bucket, executor);
        if options.probe {
            requests.probe().await?;
        }
        let first_fence = requests.count_opening().await?;
        let shared = Arc::new(Shared {
            owner: requests.random(),
            first_fence,
            cache: Mutex::default(),
            active: Mutex::default(),
            held: Mutex::default(),
            observed: Mutex::default(),
            budget: Budget::new(options.memory, options.inline),
            places: Semaphore::new(options.concurrency.max(1)),
            events: Mutex::default(),
            readers: Mutex::default(),
            closing: false.into(),
            publishing: Semaphore::new(2),
            given_back: Notify::new(),
            heads: HeadMarks::default(),
            requests,
            options,
        });
        shared.clone().keep_sweeping();
        let locks = LeaseLocks::new(shared.clone());
        Ok(Self { shared, locks })
    }

    /// As [`open`](Self::open), for a thread that may wait and that the executor does not need.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_blocking(
        bucket: Arc<dyn Bucket>,
        executor: Arc<dyn Executor>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let (told, hears) = std::sync::mpsc::channel();
        let on = executor.clone();
        let task = async move {
            let _ = told.send(Self::open(bucket, on, options).await);
        };
        executor.spawn(Box::pin(task)).map_err(|_| OpenError::NoTasks)?;
        hears.recv().unwrap_or(Err(OpenError::NoTasks))
    }

    /// The locks that all servers of the bucket share.
    pub fn locks(&self) -> LeaseLocks {
        self.locks.clone()
    }

    /// How many bytes of memory the bodies on their way have at this moment.
    pub fn memory_used(&self) -> usize {
        self.shared.budget.used()
    }

    async fn look_up(shared: &Arc<Shared>, id: &UploadId) -> Result<Document, LookupError> {
        let mut document = shared.read(id).await?;
        if shared.heads.take(id)
            && let Some((url, fence)) = shared.peer_of(id, &document)
        {
            let request = PeerRequest::new(id.clone(), fence, PeerQuestion::Checkpoint);
            if shared.ask_peer(&url, request).await {
                document = shared.read(id).await?;
            }
        }
        let mut document = shared.for_reader(document)?;
        let needed = document.expires.is_some() && !document.finals.is_empty() && document.is_complete();
        if needed && shared.is_awaited(&document).await? {
            // A finished part does not expire while a pending final needs it.
            document.expires = None;
        }
        if !document.is_pending() {
            return Ok(document);
        }
        // Its last part may have been completed by a server that came no further.
        let (document, _) = shared.complete_final(id, Some(document)).await?;
        Ok(document)
    }

    /// The record that the grant of a lock has just written.
    fn reload(&self, id: &UploadId) -> Option<Document> {
        let now = self.shared.requests.now();
        let mut held = lock(&self.shared.held);
        let held = held.get_mut(id).filter(|held| now.since(held.written) <= RELOAD)?;
        held.reload.take()
    }

    async fn hash(
        shared: &Arc<Shared>,
        staged: &Staged,
        (from, to): (u64, u64),
        algorithm: Algorithm,
    ) -> Result<Digest, Failure> {
        let staging = &staged.0;
        if to > staging.end() || from > to {
            return Err(Failure::Io);
        }
        let (extents, base, rest) = staging.read_back(to).await?;
        let mut hasher = Hasher::new(algorithm);
        let mut at = from;
        while at < to.min(base) {
            let max = (to.min(base) - at).min(DIGEST);
            let bytes = shared.read_bytes(staging.id.as_str(), (&extents, None), at, max).await?;
            if bytes.is_empty() {
                return Err(Failure::Io);
            }
            hasher.update(&bytes);
            at += bytes.len() as u64;
        }
        let index = |offset: u64| usize::try_from(offset.saturating_sub(base)).unwrap_or(usize::MAX);
        let (rest, skip) = (rest.to_bytes(), index(at));
        hasher.update(rest.get(skip..index(to)).ok_or(Failure::Io)?);
        Ok(hasher.finish())
    }

    /// Hashes committed bytes, from the first one up to `to`.
    async fn hash_committed(
        shared: &Arc<Shared>,
        id: &UploadId,
        to: u64,
        algorithm: Algorithm,
    ) -> Result<Digest, LookupError> {
        let mut document = shared.for_reader(shared.read(id).await?)?;
        if to > document.offset {
            return Err(LookupError::Failed(Failure::Io));
        }
        if document.extents.iter().any(|extent| matches!(extent.place, Place::Parts { .. })) {
            document = shared.make_readable(id, document).await?;
        }
        let mut hasher = Hasher::new(algorithm);
        let mut at = 0;
        while at < to {
            let place = (document.extents.as_slice(), document.tail.as_ref());
            let bytes = shared.read_bytes(id.as_str(), place, at, (to - at).min(DIGEST)).await?;
            if bytes.is_empty() {
                return Err(LookupError::Failed(Failure::Io));
            }
            hasher.update(&bytes);
            at += bytes.len() as u64;
        }
        Ok(hasher.finish())
    }

    /// Runs a task that answers a ticket.
    fn task<T: Send + 'static>(
        &self,
        later: impl FnOnce() -> Ticket<T>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Answer<T> {
        let ticket = later();
        self.shared.spawn(async move { ticket.answer(work.await) });
        Answer::Later
    }
}

impl Store for BucketStore {
    type Sink = BucketSink;
    type Staged = Staged;
    type Source = BucketSource;

    fn first_fence(&self) -> Fence {
        Fence(self.shared.first_fence)
    }

    fn load(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Loaded>) -> Answer<Loaded> {
        if let Some(document) = self.reload(id) {
            return Answer::Now(Ok(document.record(id)));
        }
        let (shared, id) = (self.shared.clone(), id.clone());
        self.task(
            later,
            async move { Self::look_up(&shared, &id).await.map(|document| document.record(&id)) },
        )
    }

    fn reserve(&self, bytes: u64) -> Option<FirstBytes> {
        self.shared.reserve_first(bytes)
    }

    fn append(
        &self,
        grant: AppendGrant,
        later: impl FnOnce() -> Ticket<Opened<BucketSink>>,
    ) -> Answer<Opened<BucketSink>> {
        let shared = self.shared.clone();
        self.task(later, async move { shared.append(grant).await })
    }

    fn change(&self, change: Change<Staged>, later: impl FnOnce() -> Ticket<Changed>) -> Answer<Changed> {
        let shared = self.shared.clone();
        let failed = |failure: Failure| Changed::from(Completion::Failed(failure));
        // Whether it is the last of its body is said by what was when it was asked for.
        let closed = match &change {
            Change::Commit(commit) => {
                commit.staged.as_ref().map_or(commit.finish, |staged| staged.0.is_closed())
            }
            _ => false,
        };
        self.task(later, async move {
            match change {
                Change::Create { record, first } => {
                    shared.create_upload(record, first).await.unwrap_or_else(failed)
                }
                Change::Concat { record, parts, max, delete_parts } => {
                    shared.concat(record, parts, max, delete_parts).await.unwrap_or_else(failed)
                }
                Change::Commit(commit) => shared.commit(commit, closed).await,
                Change::Delete { id, fence } => shared.delete(&id, fence).await,
                Change::Discard { id, fence } => {
                    shared.discard(&id, fence).await.unwrap_or_else(Into::into).into()
                }
                Change::Acknowledge { id, number } => {
                    shared.acknowledge(&id, number).await.unwrap_or_else(Into::into).into()
                }
                Change::Postpone { id, number, until } => {
                    shared.postpone(&id, number, until).await.unwrap_or_else(Into::into).into()
                }
            }
        })
    }

    fn digest(
        &self,
        staged: &Staged,
        range: (u64, u64),
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, Failure>>,
    ) -> Answer<Result<Digest, Failure>> {
        let (shared, staged) = (self.shared.clone(), staged.clone());
        self.task(later, async move { Self::hash(&shared, &staged, range, algorithm).await })
    }

    fn hash(
        &self,
        id: &UploadId,
        to: u64,
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, LookupError>>,
    ) -> Answer<Result<Digest, LookupError>> {
        let (shared, id) = (self.shared.clone(), id.clone());
        self.task(later, async move { Self::hash_committed(&shared, &id, to, algorithm).await })
    }

    fn open(
        &self,
        id: &UploadId,
        later: impl FnOnce() -> Ticket<Opened<BucketSource>>,
    ) -> Answer<Opened<BucketSource>> {
        let (shared, id) = (self.shared.clone(), id.clone());
        self.task(later, async move {
            let document = Self::look_up(&shared, &id).await?;
            Ok(BucketSource::new(shared, id, document))
        })
    }

    fn due_events(
        &self,
        query: EventQuery,
        later: impl FnOnce() -> Ticket<Result<DueEvents, Failure>>,
    ) -> Answer<Result<DueEvents, Failure>> {
        let shared = self.shared.clone();
        self.task(later, async move { shared.due_events(query).await })
    }

    fn keep_events(&self, events: EventKinds, wake: Box<dyn Fn() + Send + Sync>) {
        let mut state = lock(&self.shared.events);
        (state.kinds, state.wake) = (events, Some(wake.into()));
    }

    fn flush(&self, ticket: Ticket<Result<(), Failure>>) {
        // What was acknowledged is in the bucket.
        ticket.answer(Ok(()));
    }

    fn housekeep(&self, ticket: Ticket<Result<(), Failure>>) {
        let shared = self.shared.clone();
        self.shared.spawn(async move { ticket.answer(shared.sweep().await) });
    }

    fn close(&self, ticket: Ticket<Result<(), Failure>>) {
        self.shared.closing.store(true, Ordering::Release);
        ticket.answer(Ok(()));
    }
}

impl fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketStore").field("bucket", &self.shared.requests.bucket).finish_non_exhaustive()
    }
}
