//! Changes: what can be asked of the records, and what such a request carries. Data only: `admit.rs` checks changes, and
//! `commit.rs` carries them out.

use std::fmt;

use tus_driver::FirstBytes;
use tus_proto::{Fence, Record, UploadId, WallTime};

use crate::{
    files::sink::Syncer,
    records::{copy::CopyState, record::Sha256},
    tables::step::Step,
};

/// A change to the records.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new record. It comes alone, its offset 0, or together with the upload's first bytes, which lie in the records: then
    /// its offset is how many they are, and it is complete if that is its length. Completes as `Created` or `Exists`.
    Create {
        /// The new record, its offset 0.
        record: Record,
        /// The first bytes, if they come with it. Never empty. [`Store::reserve`](crate::Store::reserve) has made them.
        first: Option<FirstBytes>,
    },
    /// A final is made of parts, in time that grows with their number alone. Completes as `Concatenated`,
    /// `Rejected` or `Exists`.
    Concat {
        /// The new record, its offset 0. It expires as given while it is pending.
        record: Record,
        /// The parts, in order. The same one may stand several times.
        parts: Vec<UploadId>,
        /// The largest final, in bytes; `None` if there is no limit.
        max: Option<u64>,
        /// Whether the parts go once the final is complete.
        delete_parts: bool,
    },
    /// The offset moves. Completes as `Committed`, `Conflict` or `Missing`.
    Commit {
        /// Whose.
        id: UploadId,
        /// The writer's fencing number.
        fence: Fence,
        /// The offset now.
        from: u64,
        /// The offset to be.
        to: u64,
        /// The upload's length, where this makes it known.
        length: Option<u64>,
        /// When the upload expires from now on; `None` if it does not.
        expires: Option<WallTime>,
        /// Whether the upload is complete then.
        finish: bool,
        /// The sink's syncer, which has made the bytes up to `to` durable; `None` if `to` is `from`.
        syncer: Option<Syncer>,
    },
    /// The last holder of the lock may still be writing: further bytes go to a new file, where those writes
    /// can't reach. Completes as `Committed` with the offset as it is, `Conflict` or `Missing`.
    NewExtent {
        /// Whose.
        id: UploadId,
        /// The new holder's fencing number.
        fence: Fence,
        /// The offset now.
        at: u64,
    },
    /// The record goes, and its bytes with a later [`Store::reclaim`](crate::Store::reclaim). Completes as `Deleted`,
    /// `Missing` or `Conflict`.
    Delete {
        /// Whose.
        id: UploadId,
        /// The writer's fencing number.
        fence: Fence,
    },
    /// The upload goes if its time was over at `before`, and is remembered until `remember`. Completes as
    /// `Deleted`, `Missing`, or `Conflict` where it lives on, or is being written to.
    Expire {
        /// Whose.
        id: UploadId,
        /// The time now.
        before: WallTime,
        /// Until when [`Store::remembers`](crate::Store::remembers) knows it.
        remember: WallTime,
    },
    /// An expired upload is remembered no longer. Completes as `Deleted` or `Missing`.
    Forget {
        /// Whose.
        id: UploadId,
    },
    /// What [`Store::consolidate`](crate::Store::consolidate) does.
    Consolidate(Consolidation),
    /// What [`Store::digest`](crate::Store::digest) has found.
    Digest(DigestFound),
    /// An event gets a note, in place of the one it may have, which goes with it. Completes as `Exists` or `Missing`.
    Annotate {
        /// Of which upload.
        id: UploadId,
        /// Its [number](crate::OutboxEvent::number).
        number: u64,
        /// What is noted.
        note: Vec<u8>,
    },
    /// A complete upload goes because the server has made something of it: no event tells of that. Completes as
    /// `Deleted`, `Missing`, or `Conflict` where it is not complete.
    Consume {
        /// Whose.
        id: UploadId,
    },
    /// An event was delivered. Completes as `Deleted` or `Missing`.
    Acknowledge {
        /// Of which upload.
        id: UploadId,
        /// Its [number](crate::OutboxEvent::number).
        number: u64,
    },
    /// An upload's first event could not be delivered, and is not due before `until`. Completes as `Committed` or
    /// `Missing`.
    Postpone {
        /// Of which upload.
        id: UploadId,
        /// Its [number](crate::OutboxEvent::number).
        number: u64,
        /// Until when it rests.
        until: WallTime,
    },
}

/// A step of [`Store::consolidate`](crate::Store::consolidate), which alone makes them. Completes as `Committed` with the
/// upload's offset, or as `Missing` where the upload is gone, or is not to be put into that file any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consolidation {
    pub(crate) id: UploadId,
    /// `None` to begin.
    pub(crate) state: Option<CopyState>,
}

/// A step of [`Store::digest`](crate::Store::digest), which alone makes them. Completes as `Committed` with the upload's
/// offset, or as `Missing` where the upload is gone or not complete any more.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestFound {
    pub(crate) id: UploadId,
    pub(crate) created: WallTime,
    /// `None` if there is nothing to digest: the note goes.
    pub(crate) sha256: Option<Sha256>,
}

impl DigestFound {
    pub(crate) fn step(&self) -> Step {
        Step::Digest { id: self.id.clone(), created: self.created, sha256: self.sha256 }
    }
}

impl fmt::Debug for DigestFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestFound").field("id", &self.id).finish_non_exhaustive()
    }
}
