//! How far each piece of housekeeping has come: what a store keeps of it between two calls. Here, below the store, as it has
//! one of each; the work itself is in `checkpoint.rs` and in `maintenance/`.

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

/// How far in each index everything due was tried that could not be removed, for the next sweep.
#[derive(Debug, Default)]
pub(crate) struct SweptTo {
    pub(crate) expired: Option<Due>,
    pub(crate) forgotten: Option<Due>,
}

/// What is free in the file of the records on a full disk, and what giving it to the disk was worth the last time.
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
    /// That of a store that is opened; `full` says on a full disk: nobody knows what is free in its records.
    pub(crate) fn of_opening(full: bool) -> Self {
        Self { freed: full, ..Self::default() }
    }
}

/// Why an upload is not put into one file now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// How much space was free when it did not fit in spite of what the disk had said: a quota, for example.
    pub(crate) free: Option<u64>,
    /// How many passes over all uploads it rests, unless its length has become free since.
    pub(crate) rest: u32,
    /// How many it rests after the next failure.
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
}
