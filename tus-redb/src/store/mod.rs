//! The store: what it is made of. Requests read it (`read.rs`), write to it (`append.rs`), change its records (`commit.rs`) and
//! ask what is in its outbox (`outbox.rs`). It is opened (`open.rs`), opened again after an error (`reopen.rs`), and made durable
//! (`checkpoint.rs`). Each of these files adds methods to [`Store`]; this one has its fields.

mod admit;
mod append;
mod batch;
pub(crate) mod change;
mod checkpoint;
mod clock;
pub(crate) mod commit;
mod open;
mod open_error;
mod orphans;
mod outbox;
pub(crate) mod progress;
mod read;
mod reopen;
mod replay;
pub(crate) mod source;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Debug,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
};

use redb::WriteTransaction;
use tus_driver::EventKinds as Events;
use tus_proto::{Fence, UploadId};

use crate::{
    disk::Disk,
    files::{failed_syncs::FailedSyncs, file_id::FileId, inline::Limits, staging::Staging},
    log::write::Log,
    options::Options,
    records::{backend::RecordsFile, view::ReadView},
    store::progress::{Backoff, Checkpoint, Compaction, Digesting, SweptTo},
    tables::rollback::Grown,
};

/// Uploads, on a disk. Shared between threads as it is; the calls that change records ([`Self::commit`],
/// [`Self::flush`], [`Self::reclaim`]) wait for each other, the others do not.
#[derive(Debug)]
pub struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    /// Which events are kept: those of the options, until hooks say otherwise.
    pub(crate) events: Mutex<Events>,
    pub(crate) first_fence: Fence,
    pub(crate) records: Arc<RecordsFile>,
    pub(crate) staging: Arc<Staging>,
    pub(crate) inline_limits: Arc<Limits>,
    /// Taken before any other lock.
    pub(crate) writer: Mutex<Writer>,
    /// Sources have it too.
    pub(crate) live: Arc<Mutex<ReadView>>,
    /// Read-locked while a snapshot is in use, write-locked to close the database. Taken before `live`.
    pub(crate) snapshots: RwLock<()>,
    /// Held while data is synced: a flush must not overtake one.
    pub(crate) flushing: Mutex<()>,
    /// Files whose sync failed since the last flush: their records fall back.
    pub(crate) lost: Mutex<FailedSyncs>,
    pub(crate) unflushed: AtomicBool,
    /// A checkpoint is made, and not known to be durable.
    pub(crate) checkpointing: AtomicBool,
    /// How long the half of the log that is written is, in bytes, and how many changes it holds.
    pub(crate) log_len: AtomicU64,
    pub(crate) log_steps: AtomicUsize,
    /// The number of the last event that a power cut can't take back.
    pub(crate) settled: AtomicU64,
    /// The time as it was told last, in microseconds.
    pub(crate) now: AtomicU64,
    /// How many files' syncs have failed under committed bytes.
    pub(crate) losses: AtomicU64,
    pub(crate) finals_finished: AtomicU64,
    /// The time by which uploads expire, as of the last sweep; and how much of it is durable. In microseconds, 0 if not
    /// known.
    pub(crate) time: AtomicU64,
    pub(crate) noted_time: AtomicU64,
    pub(crate) fragmented: AtomicBool,
    /// Whether complete uploads may be noted whose digests are to be computed.
    pub(crate) undigested: AtomicBool,
    /// The digest that is being computed. Held while it is.
    pub(crate) digesting: Mutex<Digesting>,
    /// On a full disk: how much space compacting the records would free.
    pub(crate) compaction: Mutex<Compaction>,
    /// Records are being compacted: reading them waits for seconds.
    pub(crate) compacting: AtomicBool,
    /// After which data file the next reclaim begins: those before could not be removed. Held during a reclaim.
    pub(crate) reclaimed_to: Mutex<Option<FileId>>,
    /// Held while a sweep is made.
    pub(crate) swept_to: Mutex<SweptTo>,
    /// The upload whose turn it was last to be put into one file. Held while it is.
    pub(crate) last_task: Mutex<Option<UploadId>>,
    /// Uploads whose last copy failed, or does not fit: their completion events do not wait for it.
    pub(crate) backoffs: Mutex<BTreeMap<UploadId, Backoff>>,
    /// Released last, when everything else is closed.
    pub(crate) _directory_lock: Box<dyn Debug + Send + Sync>,
}

/// What only one change at a time may touch.
#[derive(Default)]
pub(crate) struct Writer {
    /// The number of the last group that was committed.
    pub(crate) sequence: u64,
    /// The highest block of 2^32 fencing numbers and file ids that the records mark as used.
    pub(crate) block: u64,
    /// `None` while the store is being opened.
    pub(crate) log: Option<Log>,
    /// A transaction with groups that are in the log, open for more.
    pub(crate) batch: Option<WriteTransaction>,
    /// Eventual durability: files that grew since the last flush.
    pub(crate) grown: BTreeMap<FileId, Grown>,
    /// Files that have taken over, since the last flush, bytes that lay in the records.
    pub(crate) spilled: BTreeSet<FileId>,
    /// Eventual durability: files that were given up since the last flush, and may come back with the power.
    pub(crate) pending_unlink: HashSet<FileId>,
    /// Eventual durability: whether uploads became complete since the last flush that are to be put into one file.
    pub(crate) fragmented: bool,
    /// The checkpoint that is under way: it covers all groups before those that the fields above are about.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// How many were begun in this opening, and the number of the last one that became durable.
    pub(crate) checkpoints: u64,
    pub(crate) durable_checkpoint: u64,
}

impl Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
