//! The port to a store. What each call promises is said at [`tus_proto::Command`]; here is its form.
//!
//! The invariant that makes recovery trivial: *an upload's bytes are at least as long as its record's offset, and all
//! past that offset is garbage.* Only [`Change::Commit`] moves an offset, and only to bytes that are as durable as
//! the store promises; [`Change::Create`] may set it to that of the small body it brings. What must be synced before a record is written is the store's knowledge alone.

use std::{
    fmt,
    os::fd::BorrowedFd,
    path::PathBuf,
    task::{Poll, Waker},
};

use bytes::Buf;
use tus_proto::{Algorithm, Completion, Digest, Failure, Fence, Hasher, Record, UploadId, WallTime};

use crate::{Answer, FirstBytes, Ticket};

/// Keeps uploads. It may answer at once or later, from another thread, and in any order; calls for one upload come
/// from one request at a time but for [`load`](Self::load) and [`open`](Self::open).
///
/// `later` makes the ticket, and is called only by a store that does not answer now: a look-up that is answered at once
/// allocates nothing.
pub trait Store: fmt::Debug + Send + Sync + Sized + 'static {
    /// Takes an upload's bytes.
    type Sink: Sink<Staged = Self::Staged>;
    /// Names the bytes that a sink has staged.
    type Staged: Clone + fmt::Debug + Send + Sync + 'static;
    /// Gives an upload's bytes.
    type Source: Source;

    /// The lowest fencing number of this opening: above every number under which anybody has written to it.
    fn first_fence(&self) -> Fence;

    /// Reads what is committed about an upload.
    fn load(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Loaded>) -> Answer<Loaded>;

    /// Opens a sink for bytes past the committed ones. Nothing need be made before the first byte.
    fn append(
        &self,
        grant: AppendGrant,
        later: impl FnOnce() -> Ticket<Opened<Self::Sink>>,
    ) -> Answer<Opened<Self::Sink>>;

    /// Memory for a body of so many bytes, that is to come with its record in one [`Change::Create`]. `None` if the store
    /// can't make an upload together with so many bytes, or if too many are in memory now: then the upload is made first,
    /// and its body appended. The default is right for a store that can't do it at all.
    fn reserve(&self, bytes: u64) -> Option<FirstBytes> {
        let _ = bytes;
        None
    }

    /// Changes what is committed. What completes well is as durable as the store promises.
    fn change(
        &self,
        change: Change<Self::Staged>,
        later: impl FnOnce() -> Ticket<Changed>,
    ) -> Answer<Changed>;

    /// Reads staged bytes back, from one offset of the upload to another, and hashes them.
    fn digest(
        &self,
        staged: &Self::Staged,
        range: (u64, u64),
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, Failure>>,
    ) -> Answer<Result<Digest, Failure>>;

    /// Hashes an upload's committed bytes, from the first one up to `to`. As it is given here it reads them on the spot,
    /// and needs sources that are opened and read at once: a store that waits for its disk has its own.
    fn hash(
        &self,
        id: &UploadId,
        to: u64,
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, LookupError>>,
    ) -> Answer<Result<Digest, LookupError>> {
        let _ = later;
        let unavailable = || Ticket::new(|_| ());
        Answer::Now(match self.open(id, unavailable) {
            Answer::Now(opened) => opened.and_then(|source| Ok(hash_source(source, to, algorithm)?)),
            Answer::Later => Err(LookupError::Failed(Failure::Unavailable)),
        })
    }

    /// Holds an upload's committed bytes for reading: a deletion in between does not take them away.
    fn open(
        &self,
        id: &UploadId,
        later: impl FnOnce() -> Ticket<Opened<Self::Source>>,
    ) -> Answer<Opened<Self::Source>>;

    /// Reads the outbox: of each upload the first event, if it is due.
    fn due_events(
        &self,
        query: EventQuery,
        later: impl FnOnce() -> Ticket<Result<DueEvents, Failure>>,
    ) -> Answer<Result<DueEvents, Failure>>;

    /// Which events are kept in the outbox from now on, and what is called, from any thread, when some may be due.
    fn keep_events(&self, events: EventKinds, wake: Box<dyn Fn() + Send + Sync>);

    /// How many events are in the outbox, for metrics; `None` if that is not known at once.
    fn pending_events(&self) -> Option<u64> {
        None
    }

    /// The files in which a finished upload's bytes are, and how many are in each; empty if it has none of its own.
    fn files(&self, id: &UploadId) -> Result<Vec<(PathBuf, u64)>, Failure> {
        let _ = id;
        Ok(Vec::new())
    }

    /// Makes durable all that was acknowledged before the call.
    fn flush(&self, ticket: Ticket<Result<(), Failure>>);

    /// Does now all housekeeping that has something to do: for runtimes whose callers say when.
    fn housekeep(&self, ticket: Ticket<Result<(), Failure>>) {
        self.flush(ticket);
    }

    /// Ends housekeeping, and flushes. No other call follows.
    fn close(&self, ticket: Ticket<Result<(), Failure>>);

    /// How many bytes more it can take, for metrics. `None` if that is not known. Cheap enough for an event loop.
    fn free_space(&self) -> Option<u64> {
        None
    }

    /// Whether bodies can be stored: no request need be sent here otherwise.
    ///
    /// # Errors
    /// [`Failure::NoSpace`] if there is no room for them, another if the store fails.
    fn health(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Hashes the first `to` bytes of a source that is read at once.
fn hash_source(mut source: impl Source, to: u64, algorithm: Algorithm) -> Result<Digest, Failure> {
    const PIECE: usize = 64 << 10;
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < to {
        let wanted = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        let count = match source.poll_read(at, piece, &|| Waker::noop().clone()) {
            Poll::Ready(Ok(count @ 1..)) => count,
            Poll::Ready(Ok(0)) => return Err(Failure::Io),
            Poll::Ready(Err(failure)) => return Err(failure),
            Poll::Pending => return Err(Failure::Unavailable),
        };
        hasher.update(piece.get(..count).unwrap_or_default());
        at += count as u64;
    }
    Ok(hasher.finish())
}

/// What is committed about an upload.
pub type Loaded = Result<Record, LookupError>;

/// A sink or a source.
pub type Opened<T> = Result<T, LookupError>;

/// Why an upload can't be read, written to or appended to. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no such upload.
    Missing,
    /// It has expired lately. For readers; for writers it is missing.
    Gone,
    /// The committed offset is this one, or the writer has lost its lock.
    Conflict {
        /// The committed offset.
        offset: u64,
    },
    /// The store could not do it.
    Failed(Failure),
}

impl From<Failure> for LookupError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<LookupError> for Completion {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Missing => Self::Missing,
            LookupError::Gone => Self::Gone,
            LookupError::Conflict { offset } => Self::Conflict { offset },
            LookupError::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such upload"),
            Self::Gone => f.write_str("the upload has expired"),
            Self::Conflict { offset } => {
                write!(f, "the upload's offset is {offset}, or another writer has its lock")
            }
            Self::Failed(failure) => write!(f, "the store failed: {failure:?}"),
        }
    }
}

impl std::error::Error for LookupError {}

/// The right to append to an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendGrant {
    /// To which upload.
    pub id: UploadId,
    /// The writer's fencing number.
    pub fence: Fence,
    /// The committed offset, where the first byte goes.
    pub at: u64,
    /// How many bytes will come at the most. Never 0.
    pub max: u64,
    /// The lock's last holder never released it and may still be writing: the bytes must go where its writes can't reach.
    pub rotate: bool,
}

/// A change to what is committed. Each completes as the [`Completion`] that [`tus_proto::Command`] names for it.
#[derive(Clone, Debug)]
pub enum Change<T> {
    /// A new upload.
    Create {
        /// Its record, the offset 0 in it.
        record: Record,
        /// Its first bytes, which the store has [reserved](Store::reserve) the memory for: the upload's offset is how many
        /// they are, and it is complete if that is its length. They are there exactly when the record is. `None` if its
        /// body, if it has one, is appended later.
        first: Option<FirstBytes>,
    },
    /// A final upload, made of its parts.
    Concat {
        /// Its record: offset 0, no length.
        record: Record,
        /// Its parts, in order.
        parts: Vec<UploadId>,
        /// The largest final, in bytes; `None` if there is no limit.
        max: Option<u64>,
        /// Whether the parts go once it is complete.
        delete_parts: bool,
    },
    /// Moves the offset.
    Commit(Commit<T>),
    /// Forgets staged bytes.
    Discard {
        /// Whose.
        id: UploadId,
        /// The writer's fencing number.
        fence: Fence,
    },
    /// Removes the upload.
    Delete {
        /// Whose.
        id: UploadId,
        /// The writer's fencing number.
        fence: Fence,
    },
    /// Removes an event from the outbox: its hook has returned. Completes as `Deleted` or `Missing`.
    Acknowledge {
        /// Of which upload.
        id: UploadId,
        /// The event's number.
        number: u64,
    },
    /// Puts off an upload's events: the hook failed. Completes as `Committed` or `Missing`.
    Postpone {
        /// Of which upload.
        id: UploadId,
        /// The event's number.
        number: u64,
        /// Until when.
        until: WallTime,
    },
}

impl<T> Change<T> {
    /// The upload that it is about.
    pub fn id(&self) -> &UploadId {
        match self {
            Self::Create { record, .. } | Self::Concat { record, .. } => &record.id,
            Self::Commit(commit) => &commit.id,
            Self::Discard { id, .. }
            | Self::Delete { id, .. }
            | Self::Acknowledge { id, .. }
            | Self::Postpone { id, .. } => id,
        }
    }
}

/// A commit, as a compare-and-set from one offset to another.
#[derive(Clone, Debug)]
pub struct Commit<T> {
    /// Whose.
    pub id: UploadId,
    /// The writer's fencing number.
    pub fence: Fence,
    /// The offset now.
    pub from: u64,
    /// The offset to be; at most what is staged.
    pub to: u64,
    /// The upload's length, where this makes it known.
    pub length: Option<u64>,
    /// When the upload expires from now on; `None` if it does not.
    pub expires: Option<WallTime>,
    /// Whether this completes the upload. The answer is then exactly `to`, or no commit. If the record says by itself
    /// whether it is complete ([`tus_proto::Explicit`]), it says so from then on, and not before.
    pub finish: bool,
    /// What the request's sink has staged; `None` if it had none.
    pub staged: Option<T>,
}

/// What became of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changed {
    /// As the command completes.
    pub completion: Completion,
    /// The uploads whose events the change put into the outbox: its own, and finals that became complete or went with it.
    pub events: Vec<UploadId>,
}

impl From<Completion> for Changed {
    fn from(completion: Completion) -> Self {
        Self { completion, events: Vec::new() }
    }
}

impl Changed {
    /// Whether the store could do what it was asked for.
    ///
    /// # Errors
    /// The store's.
    pub fn outcome(&self) -> Result<(), Failure> {
        match self.completion {
            Completion::Failed(failure) => Err(failure),
            _ => Ok(()),
        }
    }

    /// A completion, and the uploads that events were made of.
    pub fn new(completion: Completion, events: Vec<UploadId>) -> Self {
        Self { completion, events }
    }
}

/// Takes the bytes of one Append. It belongs to one request, and moves between threads: a runtime lends it to a worker.
pub trait Sink: fmt::Debug + Send + 'static {
    /// Names what was staged.
    type Staged;

    /// How many bytes [`write`](Self::write) takes now; never 0. `Pending` if it takes none: the waker that `waker`
    /// makes is then woken when it may.
    ///
    /// # Errors
    /// The store's. What was staged before stays.
    fn poll_room(&mut self, waker: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        let _ = waker;
        Poll::Ready(Ok(usize::MAX))
    }

    /// Stages bytes past those staged before, and advances `data` past what it took: less than all of it only if it
    /// had no room for more.
    ///
    /// # Errors
    /// The store's. What was staged before, and what `data` was advanced by, stays.
    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure>;

    /// Whether writing so many bytes may block on the disk, or use the processor for long: a runtime whose threads must
    /// not do that lends the sink to a worker first.
    fn blocks(&self, len: usize) -> bool;

    /// A file, and the position in it where the next byte goes, for runtimes that can move bytes into a file without
    /// touching them. `None` if there is none: then [`write`](Self::write) is the way.
    ///
    /// # Errors
    /// The store's, that could not make or open the file.
    fn splice_target(&mut self) -> Result<Option<(BorrowedFd<'_>, u64)>, Failure> {
        Ok(None)
    }

    /// So many bytes were moved to [`splice_target`](Self::splice_target).
    fn spliced(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// How many bytes were staged through this sink.
    fn len(&self) -> u64;

    /// Whether none was.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names what is staged, now and later: for commits that run while the sink is lent.
    fn staged(&self) -> Self::Staged;
}

/// The committed bytes of an upload, as they were when it was opened.
pub trait Source: fmt::Debug + Send + 'static {
    /// The upload. Its offset says how many bytes there are.
    fn record(&self) -> &Record;

    /// Reads bytes from this offset on, into `buf`: at least one where it has room and there are any, 0 past the last.
    /// `Pending` if they are not here yet: the waker that `waker` makes is then woken when they may be.
    ///
    /// # Errors
    /// The store's. Committed bytes that are missing are one of its errors.
    fn poll_read(
        &mut self,
        at: u64,
        buf: &mut [u8],
        waker: &dyn Fn() -> Waker,
    ) -> Poll<Result<usize, Failure>>;

    /// Whether [`poll_read`](Self::poll_read) may block on the disk.
    fn blocks(&self) -> bool;

    /// The file in which the byte at this offset lies, for runtimes that can send a file without touching its bytes.
    /// `None` past the last byte, and where there is no such file.
    ///
    /// # Errors
    /// The store's.
    fn file_at(&mut self, at: u64) -> Result<Option<FileRange<'_>>, Failure> {
        let _ = at;
        Ok(None)
    }
}

/// Bytes that lie one after another in a file.
#[derive(Clone, Copy, Debug)]
pub struct FileRange<'a> {
    /// The file.
    pub fd: BorrowedFd<'a>,
    /// Where in the file the first of them is.
    pub position: u64,
    /// How many there are. Never 0.
    pub len: u64,
}

/// What has happened to an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// It was created; parts of a concatenation, too.
    Created,
    /// It is complete. Parts of a concatenation never are; their final is.
    Completed,
    /// It was deleted for its client, or stopped by a hook; or it was a pending final, and a part of it was.
    Terminated,
}

/// A set of [`EventKind`]s. An event that is kept and that nobody acknowledges stays for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventKinds {
    /// [`EventKind::Created`].
    pub created: bool,
    /// [`EventKind::Completed`].
    pub completed: bool,
    /// [`EventKind::Terminated`].
    pub terminated: bool,
}

/// An event in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its number: above those of all events before it, and never given twice.
    pub number: u64,
    /// What has happened.
    pub kind: EventKind,
    /// The upload as it was then; a deleted one as it was until then.
    pub record: Record,
    /// How often it was put off.
    pub attempts: u32,
}

/// Which events are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// The time: what was put off until later is not due.
    pub now: WallTime,
    /// How many at the most.
    pub limit: usize,
    /// Of this upload alone.
    pub upload: Option<UploadId>,
}

/// What is due in the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueEvents {
    /// The first due event of each of some uploads.
    pub events: Vec<OutboxEvent>,
    /// When the next is due, if these are all that are due now and more are put off.
    pub next: Option<WallTime>,
}
