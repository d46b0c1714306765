//! Steps: changes with everything in them that decides their outcome, so that a replay comes to the same. The log holds them,
//! and [`Tables`](super::Tables) carries them out.

use tus_proto::{Explicit, Fence, UploadId, WallTime};

use crate::{
    files::file_id::FileId,
    records::{copy::CopyState, record::Sha256},
};

/// A change with everything in it that decides its outcome. What the log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create {
        id: UploadId,
        created: WallTime,
        length: Option<u64>,
        metadata: String,
        expires: Option<WallTime>,
        partial: bool,
        file: Option<FileId>,
        explicit: Option<Explicit>,
        /// The upload's first bytes, which are to lie in the records.
        inline: Option<Vec<u8>>,
    },
    Concat(Concatenation),
    Commit {
        id: UploadId,
        fence: Fence,
        from: u64,
        to: u64,
        length: Option<u64>,
        expires: Option<WallTime>,
        /// Whether it completes an upload that its length alone does not complete.
        finish: bool,
        /// All bytes of the last extent as it is then, where they are to lie in the records.
        inline: Option<Vec<u8>>,
    },
    NewExtent {
        id: UploadId,
        fence: Fence,
        at: u64,
        file: FileId,
    },
    Delete {
        id: UploadId,
        fence: Fence,
    },
    Expire {
        id: UploadId,
        before: WallTime,
        remember: WallTime,
    },
    Forget {
        id: UploadId,
    },
    Acknowledge {
        /// `None` in a journal of format 3.
        id: Option<UploadId>,
        number: u64,
    },
    Annotate {
        id: UploadId,
        number: u64,
        note: Vec<u8>,
    },
    Consume {
        id: UploadId,
    },
    Postpone {
        id: UploadId,
        number: u64,
        until: WallTime,
    },
    Consolidation {
        id: UploadId,
        state: CopyState,
    },
    /// The SHA-256 of a complete upload, which was `created` then: another may have its id by now.
    Digest {
        id: UploadId,
        created: WallTime,
        /// `None` if there is nothing to digest.
        sha256: Option<Sha256>,
    },
}

impl Step {
    /// How many bytes it puts into the records, as far as they have no bound.
    pub(crate) fn record_bytes(&self) -> u64 {
        const ROW: usize = 512;
        let bytes = match self {
            Self::Create { metadata, inline, .. } => {
                ROW + metadata.len() + inline.as_ref().map_or(0, Vec::len)
            }
            Self::Concat(wanted) => ROW + wanted.metadata.len() + wanted.header.len(),
            Self::Commit { inline, .. } => ROW + inline.as_ref().map_or(0, Vec::len),
            Self::Annotate { note, .. } => ROW + note.len(),
            Self::NewExtent { .. }
            | Self::Consolidation { .. }
            | Self::Postpone { .. }
            | Self::Consume { .. }
            | Self::Digest { .. } => ROW,
            Self::Delete { .. } | Self::Expire { .. } | Self::Forget { .. } | Self::Acknowledge { .. } => 0,
        };
        bytes as u64
    }
}

/// A final to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Concatenation {
    pub(crate) id: UploadId,
    pub(crate) created: WallTime,
    pub(crate) metadata: String,
    /// `Upload-Concat` as it was sent.
    pub(crate) header: String,
    /// When it expires, while it is pending.
    pub(crate) expires: Option<WallTime>,
    pub(crate) parts: Vec<UploadId>,
    /// The largest final, in bytes.
    pub(crate) max: Option<u64>,
    pub(crate) delete_parts: bool,
    /// How many pending finals may name a part.
    pub(crate) max_waiting: u64,
}
