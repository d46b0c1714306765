//! How far each piece of housekeeping has come: what a store keeps of it between two calls. The types are here because
//! [`Store`](super::Store) has a field of each; the work itself is in `checkpoint.rs` and in `maintenance/`.

use std::collections::HashSet;

use tus_proto::{Hasher, UploadId};

use crate::{files::file_id::FileId, store::source::Source};

/// A checkpoint whose transaction is made, and not known to be durable.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// Counted in an opening.
    pub(crate) number: u64,
    /// The number of the last group that is in it.
    pub(crate) sequence: u64,
    pub(crate) last_event: u64,
    pub(crate) time: u64,
    /// Eventual durability: files that were given up before it, and may come back with the power.
    pub(crate) pending_unlink: HashSet<FileId>,
    /// Eventual durability: whether uploads that became complete before it are to be put into one file.
    pub(crate) fragmented: bool,
}

/// An entry of an index of times.
pub(crate) type Due = (u64, UploadId);

/// The last entry of each index that was due and could not be removed: the next sweep begins after it.
#[derive(Debug, Default)]
pub(crate) struct SweptTo {
    pub(crate) expired: Option<Due>,
    pub(crate) forgotten: Option<Due>,
}

/// How much is free in the records' file on a full disk, and whether compacting it paid the last time.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    /// How many bytes are free in that file; not known before the first look.
    pub(crate) free: Option<u64>,
    /// How many must be, after attempts that did not pay: twice as many after each.
    pub(crate) needed: u64,
    /// Whether something was removed from the records since the last look.
    pub(crate) freed: bool,
    /// How many attempts were made.
    #[cfg(test)]
    pub(crate) made: u64,
}

impl Compaction {
    /// For a store that is opened; `full`: on a full disk. How much is free in its records is not known then.
    pub(crate) fn of_opening(full: bool) -> Self {
        Self { freed: full, ..Self::default() }
    }
}

/// Back-off of an upload whose consolidation failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// How much space was free when it did not fit in spite of what the disk had said: a quota, for example.
    pub(crate) free: Option<u64>,
    /// For how many passes over all uploads it is skipped, unless its length has become free since.
    pub(crate) rest: u32,
    /// For how many it is skipped after the next failure.
    pub(crate) next_rest: u32,
}

/// How far the computation of digests has come.
#[derive(Debug, Default)]
pub(crate) struct Digesting {
    /// The upload that is being read.
    pub(crate) task: Option<DigestTask>,
    /// The upload that could not be read last: the others have their turn first.
    pub(crate) failed: Option<UploadId>,
}

#[derive(Debug)]
pub(crate) struct DigestTask {
    pub(crate) source: Source,
    pub(crate) hasher: Box<Hasher>,
    pub(crate) at: u64,
    /// What [`Store::losses`](crate::Store::losses) said before it was begun.
    pub(crate) losses: u64,
}
