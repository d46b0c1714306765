//! The port to a store. What each call promises is said at [`tus_proto::Command`]; here is its form.
//!
//! The invariant that makes recovery trivial: *an upload's bytes are at least as long as its record's offset, and all
//! past that offset is garbage.* Only [`Change::Commit`] moves an offset, and only to bytes that are as durable as
//! the store promises; [`Change::Create`] may set it to that of the small body it brings. What must be synced before a
//! record is written is the store's knowledge alone.

mod change;
mod lookup;
mod outbox_event;
mod transfer;

use std::{fmt, path::PathBuf};

use tus_proto::{Algorithm, Digest, Failure, Fence, UploadId};

use self::transfer::hash_source;
pub use self::{
    change::{AppendGrant, Change, Changed, Commit},
    lookup::{Loaded, LookupError, Opened},
    outbox_event::{DueEvents, EventKind, EventKinds, EventQuery, OutboxEvent},
    transfer::{FileRange, Sink, Source, read_some},
};
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
