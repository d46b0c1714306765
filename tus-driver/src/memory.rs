//! The smallest store that keeps the promises of [`Store`]: for tests, for examples, and to write another one by.
//!
//! All that is committed lives behind one lock, so a change is a transaction by itself, and every call answers at once.
//! Staged bytes live outside of it, in a buffer of each sink's own: nothing can see them, and they are gone with their
//! sink if no commit takes them over.

mod concat;
mod outbox;
mod pending;
mod state;
mod transfer;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tus_proto::{Algorithm, Digest, Failure, Fence, Hasher, UploadId, WallTime};

use self::{
    state::State,
    transfer::{MemorySink, MemorySource, Staged},
};
use crate::{
    Answer, AppendGrant, Change, Changed, DueEvents, EventKinds, EventQuery, FirstBytes, Loaded, LookupError,
    Opened, Store, Ticket, mailbox::lock,
};

/// How long a body may be that is made together with its record, in bytes.
const SMALL: u64 = 16 << 10;

/// A [`Store`] in memory. A clone is the same store; what is in it goes with the last one.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

impl MemoryStore {
    /// Removes what has expired, save what is being written, and returns how many uploads that were. They are
    /// [`LookupError::Gone`] for a day. A store with an [`Executor`](crate::Executor) would do it by itself.
    pub fn sweep(&self, now: WallTime) -> usize {
        lock(&self.0).sweep(now)
    }
}

impl Store for MemoryStore {
    type Sink = MemorySink;
    type Staged = Staged;
    type Source = MemorySource;

    fn first_fence(&self) -> Fence {
        // Above that of a new upload. A store that outlives its process counts its openings.
        Fence(1)
    }

    fn load(&self, id: &UploadId, _: impl FnOnce() -> Ticket<Loaded>) -> Answer<Loaded> {
        Answer::Now(lock(&self.0).find(id).map(|upload| upload.record.clone()))
    }

    fn append(
        &self,
        grant: AppendGrant,
        _: impl FnOnce() -> Ticket<Opened<MemorySink>>,
    ) -> Answer<Opened<MemorySink>> {
        Answer::Now(lock(&self.0).append(&grant).map(MemorySink::new))
    }

    fn reserve(&self, bytes: u64) -> Option<FirstBytes> {
        (bytes <= SMALL).then(|| FirstBytes::new(bytes as usize))
    }

    fn change(&self, change: Change<Staged>, _: impl FnOnce() -> Ticket<Changed>) -> Answer<Changed> {
        let mut state = lock(&self.0);
        let completion = state.apply(change).unwrap_or_else(LookupError::into);
        let events = state.outbox.take_posted();
        let wake = state.outbox.wake.clone().filter(|_| !events.is_empty());
        // It may call the store.
        drop(state);
        if let Some(wake) = wake {
            wake();
        }
        Answer::Now(Changed { completion, events })
    }

    fn digest(
        &self,
        staged: &Staged,
        (from, to): (u64, u64),
        algorithm: Algorithm,
        _: impl FnOnce() -> Ticket<Result<Digest, Failure>>,
    ) -> Answer<Result<Digest, Failure>> {
        Answer::Now(staged.range(from, to).map(|bytes| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&bytes);
            hasher.finish()
        }))
    }

    fn open(
        &self,
        id: &UploadId,
        _: impl FnOnce() -> Ticket<Opened<MemorySource>>,
    ) -> Answer<Opened<MemorySource>> {
        let state = lock(&self.0);
        let source = |upload: &state::Upload| MemorySource::new(&upload.record, &upload.bytes);
        Answer::Now(state.find(id).map(source))
    }

    fn due_events(
        &self,
        query: EventQuery,
        _: impl FnOnce() -> Ticket<Result<DueEvents, Failure>>,
    ) -> Answer<Result<DueEvents, Failure>> {
        Answer::Now(Ok(lock(&self.0).outbox.due(&query)))
    }

    fn keep_events(&self, events: EventKinds, wake: Box<dyn Fn() + Send + Sync>) {
        let outbox = &mut lock(&self.0).outbox;
        (outbox.kept, outbox.wake) = (events, Some(wake.into()));
    }

    fn flush(&self, ticket: Ticket<Result<(), Failure>>) {
        // Memory is as durable as this store promises.
        ticket.answer(Ok(()));
    }

    fn close(&self, ticket: Ticket<Result<(), Failure>>) {
        ticket.answer(Ok(()));
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
