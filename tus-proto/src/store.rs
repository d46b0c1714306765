//! The contract with the store: what an exchange asks of it, and what it is told. A store is anything that
//! keeps these promises; what it has completed must survive what it says it survives.
//!
//! The invariant that makes recovery trivial: *an upload's bytes are at least as long as its record's
//! offset, and all past that offset is garbage.* Only a [`Command::Commit`] moves an offset, and the data
//! reaches the disk before the record does. A [`Command::Create`] may bring a small body with it, as one change.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{Algorithm, Digest, Fence, Trailers, UploadId, WallTime};

/// What is committed about an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The upload's id.
    pub id: UploadId,
    /// When it was created.
    pub created: WallTime,
    /// How many bytes are committed.
    pub offset: u64,
    /// How many bytes it will have; `None` while that is deferred. Never below `offset`.
    pub length: Option<u64>,
    /// `Upload-Metadata` as it was sent; empty where there was none.
    pub metadata: String,
    /// When it expires, by [`Now::wall`](crate::Now::wall); `None` if it does not, as a finished one.
    pub expires: Option<WallTime>,
    /// Its part in a concatenation; none for a plain upload.
    pub concat: Option<Concat>,
    /// For an upload that is complete when a request says so, as those of the IETF's protocol are. `None` for one that is
    /// complete when its offset reaches its length, as in tus 1.0.0.
    pub explicit: Option<Explicit>,
}

/// What is known of the completion of an upload that does not end by its length.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explicit {
    /// A request has said that it is complete. A store sets this with the commit that [finishes](Command::Commit) the
    /// upload, and never takes it back but where it has lost bytes.
    pub complete: bool,
    /// What all its bytes must hash to, as the creation said.
    pub digest: Option<Box<(Algorithm, Digest)>>,
}

impl Explicit {
    /// Without a digest.
    pub fn new(complete: bool) -> Self {
        Self { complete, digest: None }
    }
}

/// What `Upload-Concat` said when an upload was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concat {
    /// A part: it may become a piece of any number of finals, and expires even when it is finished.
    Partial,
    /// A final, with the header's value as it was sent. Until all parts are finished it is pending: its
    /// offset is 0, and its length known only once all of theirs are.
    Final(String),
}

impl Record {
    /// Whether its time is over, whether or not its bytes are gone already.
    pub fn is_expired(&self, wall: WallTime) -> bool {
        self.expires.is_some_and(|expires| expires <= wall)
    }

    /// Whether it is a part of a concatenation.
    pub fn is_partial(&self) -> bool {
        self.concat == Some(Concat::Partial)
    }

    /// Whether it is a final.
    pub fn is_final(&self) -> bool {
        matches!(self.concat, Some(Concat::Final(_)))
    }

    /// Whether all bytes are there, and known to be all.
    pub fn is_complete(&self) -> bool {
        self.length == Some(self.offset) && self.explicit.as_ref().is_none_or(|explicit| explicit.complete)
    }

    /// Whether all bytes are there that were announced, and no request has said that the upload is complete.
    pub(crate) fn awaits_completion(&self) -> bool {
        self.length == Some(self.offset) && !self.is_complete()
    }
}

/// What an exchange asks of the store. Each completes exactly once, as the [`Completion`] named with it or
/// as [`Completion::Failed`]; [`Command::StopAppend`] alone has no completion of its own.
///
/// What concerns a writer carries the fencing number of its lock ([`Fence`]): a store rejects one that is
/// below the highest it has seen for that upload as a conflict, because that writer lost the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reads the committed state. Completes as `Loaded`, `Missing` or `Gone`.
    Load {
        /// Whose.
        id: UploadId,
    },
    /// As `Load`, and holds the upload's bytes for the [`Response`](crate::Response) that sends them: a
    /// deletion in between does not take them away. Completes as `Opened`, `Missing` or `Gone`.
    Open {
        /// Whose.
        id: UploadId,
    },
    /// Makes a record. Completes as `Created`, durable then, or `Exists`.
    Create {
        /// The new record, its offset 0.
        record: Record,
        /// How many bytes of the [`Buffer`](Self::Buffer) are the upload's from the beginning: they are as durable as the
        /// record, and its offset is this. 0 if the upload is made before its body comes.
        first: u64,
    },
    /// Asks for memory for a small body that is to become durable together with its record. Completes as `Reserved`, or
    /// as `Declined` if the store can't make the two in one change, or has no memory for it now: then the upload is made
    /// before its body comes.
    Reserve {
        /// How many bytes the body has.
        bytes: u64,
    },
    /// As `Append`, into the memory that was reserved, of an upload that is not made yet: a [`Create`](Self::Create)
    /// follows, which says how many of the bytes are kept. Completes as `Appended`, and nothing is written after that.
    Buffer {
        /// How many bytes are welcome, at most what was reserved. One more ends it as [`AppendEnd::Overflow`].
        max: u64,
        /// Hash the bytes on their way with this, and tell the digest when it completes.
        digest: Option<Algorithm>,
    },
    /// Makes a final upload, in one transaction that also checks its parts. Nothing is copied: the final refers
    /// to its parts' bytes, so that a part may be deleted once it is finished. While a part is not, the final
    /// is pending, and the part's finishing commit completes it. Completes as `Concatenated`, durable then, as
    /// `Rejected`, or `Exists`.
    Concat {
        /// The new record: offset 0, no length. It expires as given while it is pending, and not when it is
        /// complete; parts whose time was over at its creation are missing.
        record: Record,
        /// The parts, in order. The same one may stand several times.
        parts: Vec<UploadId>,
        /// The largest final, in bytes; `None` if there is no limit.
        max: Option<u64>,
        /// Whether the parts go once the final is complete.
        delete_parts: bool,
    },
    /// A standing grant, at most one open a request: the runtime gives the body's decoded bytes to the
    /// store, those first that came together with the head, and reports progress as
    /// [`Input::Staged`](crate::Input::Staged). Staged bytes lie beyond the committed offset, no `Load`
    /// shows them, and they need not be durable. Completes as `Appended`, and nothing is written after that.
    Append {
        /// To which upload.
        id: UploadId,
        /// The writer's fencing number.
        fence: Fence,
        /// The committed offset, where the first byte goes.
        at: u64,
        /// How many bytes are welcome. One more ends the Append as [`AppendEnd::Overflow`]; it is not kept.
        max: u64,
        /// The lock's last holder never released it and may still be writing: start a new extent in a new
        /// file at `at`, where those writes can't reach.
        rotate: bool,
        /// Hash the bytes on their way with this, and tell the digest when the Append completes.
        digest: Option<Algorithm>,
    },
    /// Take no more bytes: the open Append, or Buffer, completes. Harmless if it has completed already.
    StopAppend,
    /// Moves the offset, as a compare-and-set: from `from` to `to`, at most what is staged. May run beside an
    /// open Append. Completes as `Committed`, durable then; as `Conflict` where the offset is another, the fence
    /// too low, or the upload complete already: two writers that both saw it incomplete do not both complete it.
    /// As `Missing` where the upload is gone.
    Commit {
        /// Whose.
        id: UploadId,
        /// The writer's fencing number.
        fence: Fence,
        /// The offset now.
        from: u64,
        /// The offset to be.
        to: u64,
        /// The upload's length, where this commit makes it known.
        length: Option<u64>,
        /// When the upload expires from now on.
        expires: Option<WallTime>,
        /// Whether this completes the upload. A store must then answer exactly `to`, and set
        /// [`Explicit::complete`] if the record has it.
        finish: bool,
    },
    /// Reads staged or buffered bytes back and hashes them, for a checksum whose algorithm only the trailer has named.
    /// Completes as `Digested`.
    Digest {
        /// Whose.
        id: UploadId,
        /// From this offset of the upload,
        from: u64,
        /// to this one, at most what is staged.
        to: u64,
        /// With which hash function.
        algorithm: Algorithm,
    },
    /// Hashes committed bytes, from the first one on. Completes as `Digested`, or as `Missing` or `Gone` where the
    /// upload is: another request may have removed it, and this one not know yet that it has lost its lock.
    Hash {
        /// Whose.
        id: UploadId,
        /// Up to this offset, at most the committed one.
        to: u64,
        /// With which hash function.
        algorithm: Algorithm,
    },
    /// Forgets the staged bytes. Harmless if lost: they are garbage until committed. Completes as `Discarded`.
    Discard {
        /// Whose.
        id: UploadId,
        /// The writer's fencing number.
        fence: Fence,
    },
    /// Removes the upload: its record first, its bytes after. Completes as `Deleted`, durable then, as
    /// `Missing`, or as `Conflict`.
    Delete {
        /// Whose.
        id: UploadId,
        /// The writer's fencing number.
        fence: Fence,
    },
}

impl Command {
    /// The upload that it is about; `None` if it names none.
    pub fn upload(&self) -> Option<&UploadId> {
        match self {
            Self::Create { record, .. } | Self::Concat { record, .. } => Some(&record.id),
            Self::Load { id }
            | Self::Open { id }
            | Self::Append { id, .. }
            | Self::Commit { id, .. }
            | Self::Digest { id, .. }
            | Self::Hash { id, .. }
            | Self::Discard { id, .. }
            | Self::Delete { id, .. } => Some(id),
            Self::Reserve { .. } | Self::Buffer { .. } | Self::StopAppend => None,
        }
    }
}

/// What became of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The committed state.
    Loaded(Record),
    /// The committed state; the bytes are held.
    Opened(Record),
    /// There is no such upload.
    Missing,
    /// The upload has expired and was removed, and is remembered for a while.
    Gone,
    /// The upload is there, as this record, but bytes of it are not any more: the disk lost them, or somebody removed
    /// them. It can only be deleted.
    Lost(Record),
    /// The record is made.
    Created,
    /// An upload of that id is there, or was.
    Exists,
    /// There is memory for the body.
    Reserved,
    /// There is none.
    Declined,
    /// The final is made, and this is its record: complete, or pending.
    Concatenated(Record),
    /// Nothing was made: the parts are not fit for it.
    Rejected(ConcatRejection),
    /// The Append is over.
    Appended {
        /// How many bytes it staged.
        total: u64,
        /// What ended it.
        end: AppendEnd,
        /// The digest of those bytes, where it was asked for.
        digest: Option<Digest>,
    },
    /// The offset is this. It may be below the asked-for one where a store has part sizes of its own, never
    /// when the commit finishes the upload.
    Committed {
        /// The committed offset.
        offset: u64,
    },
    /// Nothing was changed: the offset is another than expected, or the writer lost its lock.
    Conflict {
        /// The committed offset.
        offset: u64,
    },
    /// The digest of the staged bytes.
    Digested(Digest),
    /// The staged bytes are forgotten.
    Discarded,
    /// The upload is gone.
    Deleted,
    /// The command could not be carried out. The bytes under a failed Commit count as lost.
    Failed(Failure),
}

/// Why parts can't become a final. The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConcatRejection {
    /// A part is not there, or not any more.
    Missing,
    /// One is no part: it was not created as partial.
    NotPartial,
    /// There is a largest size, and the length of a part is not known.
    UnknownLength,
    /// Together they are larger than is allowed.
    TooLarge,
    /// As many finals as may are waiting for one of them already.
    TooManyWaiting,
}

/// What ended an Append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendEnd {
    /// The body is complete; these are its trailers.
    Complete(Trailers),
    /// The body was cut short.
    Cut(Cut),
    /// A byte beyond `max` arrived.
    Overflow,
    /// [`Command::StopAppend`] did.
    Stopped,
    /// The store could not take another byte. What was staged before can be committed.
    Failed(Failure),
}

/// Why a body ends before it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The peer reset the connection: there is nobody left to answer.
    PeerGone,
    /// The peer closed its side; it may still read an answer.
    HalfClosed,
    /// The body stalled, or came too slowly.
    TooSlow,
    /// The framing of the body is broken.
    BadFraming,
}

/// Why the store could not do it, or would not. None of these is the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The disk is full.
    NoSpace,
    /// The disk, or what stands for it, failed.
    Io,
    /// The store can't be reached now, or lacks something that it will have again, such as descriptors.
    Unavailable,
    /// The writer has lost its lock to somebody else, and the store takes no byte of it any more.
    Fenced,
}
