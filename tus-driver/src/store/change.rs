//! What changes uploads: the right to append, the changes to what is committed, and what became of one.

use tus_proto::{Completion, Failure, Fence, Record, UploadId, WallTime};

use crate::FirstBytes;

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
        /// Its first bytes, which the store has [reserved](crate::Store::reserve) the memory for: the upload's offset is how many
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
    /// The uploads whose events the change put into the outbox: its own, and finals that it completed or removed.
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
