//! The store: what it is made of, what it answers without a change, and how it comes back after an error.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Debug,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use redb::{Database, WriteTransaction};
use tus_driver::FirstBytes;
use tus_proto::{Completion, Failure, Fence, Record, UploadId, WallTime};

use crate::{
    disk::Disk,
    error::{Error, Rejected},
    files::{
        FileId,
        append_lease::AppendLease,
        failed_syncs::FailedSyncs,
        inline::{Inline, Limits},
        sink::Sink,
        staging::Staging,
    },
    maintenance::{
        consolidate::Backoff, digest::Digesting, flush::Checkpoint, reclaim::Compaction, sweep::SweptTo,
    },
    outbox::Events,
    port::SpaceLimits,
    records::{
        apply::Keeps,
        backend::RecordsFile,
        database,
        log::Log,
        record::{Extent, Row},
        rollback::Grown,
        view::ReadView,
    },
};

/// Of how many data files it is looked whether they are there before an upload is read.
const LOOKED_AT: usize = 64;

/// When a completion may be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What is completed survives a power cut.
    #[default]
    Strict,
    /// What is completed survives the end of the process at once, and a power cut once it was flushed. After
    /// one, an upload may have fallen back to what it was at the last flush, and what it tells is there.
    Eventual,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a completion promises.
    pub durability: Durability,
    /// How much memory the records may be cached in, in bytes. Default 4 MiB.
    pub cache_bytes: usize,
    /// How long the log may become, both halves together, before commits wait for the records to be durable, in bytes. The
    /// space is kept; opening the store again after a crash takes time in proportion to it. Default 16 MiB.
    pub log_bytes: u64,
    /// How much of the disk is set aside for commits and deletes on a full one, in bytes. Default 8 MiB;
    /// with 0 a full disk fails them too.
    pub reserve_bytes: u64,
    /// Which events are kept in the [outbox](Store::outbox). Default none.
    pub events: Events,
    /// Eventual durability: how many data files may be open because they await a flush. What is written when there are
    /// so many is synced at once. Default: no limit; a process that may open few files needs one.
    pub max_unflushed_files: usize,
    /// How many pending finals may name one part: as many are written with each commit to it. Default 4.
    pub max_waiting: usize,
    /// Whether finished uploads that lie in several files are to be put into one, by [`Store::consolidate`]. Default
    /// true.
    pub consolidate: bool,
    /// Up to how many bytes a body lies in the records, in place of a file of its own: making a file takes ten times
    /// as long as all else about a small upload. It has no [path](Store::paths) then. Default 0: each has
    /// its file.
    pub inline_bytes: usize,
    /// How long uploads stay once they are finished, parts excepted; at least 1 s. Noted with an upload when it is finished,
    /// so that another value is for those that are finished later. Default `None`: until somebody deletes them.
    pub finished_expiry: Option<Duration>,
    /// Whether a SHA-256 is computed and kept of each upload that becomes complete, by [`Store::digest`]. Default false.
    pub digests: bool,
    /// How much of the disk uploads may take, for a store behind the driver's port: then the start of that takes time in
    /// proportion to the number of records. Default: as much as there is.
    pub space: SpaceLimits,
    /// The permissions of data files, as bits of the owner, the group and others; whatever the umask. Default 0600.
    pub file_mode: u32,
    /// The same of directories that are made. Default 0700.
    pub dir_mode: u32,
    /// Whether each page of the file of the records is held against its checksum when the store is opened, which takes
    /// time in proportion to their number. Without it, what something else has written into that file may go
    /// unnoticed, or end in a panic. Default false.
    pub check: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Strict,
            cache_bytes: 4 << 20,
            log_bytes: 16 << 20,
            reserve_bytes: 8 << 20,
            events: Events::default(),
            max_unflushed_files: usize::MAX,
            max_waiting: 4,
            consolidate: true,
            inline_bytes: 0,
            finished_expiry: None,
            digests: false,
            space: SpaceLimits::default(),
            file_mode: 0o600,
            dir_mode: 0o700,
            check: false,
        }
    }
}

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
    /// Held while a snapshot is looked at, and taken alone by who closes the database. Taken before `live`.
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
    pub(crate) finals_finished: AtomicU64,
    /// How far the lives of uploads have come, as far as sweeps have told; and how much of that is durable. In
    /// microseconds, 0 where nobody knows.
    pub(crate) time: AtomicU64,
    pub(crate) noted_time: AtomicU64,
    pub(crate) fragmented: AtomicBool,
    /// Whether complete uploads may be noted whose digests are to be computed.
    pub(crate) undigested: AtomicBool,
    /// The digest that is being computed. Held while it is.
    pub(crate) digesting: Mutex<Digesting>,
    /// On a full disk: what compacting the records would give.
    pub(crate) compaction: Mutex<Compaction>,
    /// Records are being compacted: who looks at them waits for seconds.
    pub(crate) compacting: AtomicBool,
    /// Behind which data file the next reclaim looks: those before could not be removed. Held by whoever reclaims.
    pub(crate) reclaimed_to: Mutex<Option<FileId>>,
    /// Held while a sweep is made.
    pub(crate) swept_to: Mutex<SweptTo>,
    /// The upload whose turn it was last to be put into one file. Held while it is.
    pub(crate) last_task: Mutex<Option<UploadId>>,
    /// Uploads whose last copy failed, or does not fit: who wants one file need not wait for it.
    pub(crate) backoffs: Mutex<BTreeMap<UploadId, Backoff>>,
    /// Released last, when everything else is closed.
    pub(crate) _directory_lock: Box<dyn Debug + Send + Sync>,
}

/// What only one change at a time may touch.
#[derive(Default)]
pub(crate) struct Writer {
    /// The number of the last group that was committed.
    pub(crate) sequence: u64,
    /// Up to which block of 2^32 the records tell that its fencing numbers and file ids are used.
    pub(crate) block: u64,
    /// `None` while the store is being opened.
    pub(crate) log: Option<Log>,
    /// A transaction with groups that are in the log, open for more.
    pub(crate) batch: Option<WriteTransaction>,
    /// Eventual durability: files that grew since the last flush.
    pub(crate) grown: BTreeMap<FileId, Grown>,
    /// Files that came to hold since the last flush what lay in the records.
    pub(crate) spilled: BTreeSet<FileId>,
    /// Eventual durability: files that were given up since the last flush, and may come back with the power.
    pub(crate) pending_unlink: HashSet<FileId>,
    /// Eventual durability: whether uploads became complete since the last flush that are to be put into one file.
    pub(crate) fragmented: bool,
    /// The checkpoint that is under way, which has all before the groups that the fields above tell of.
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

impl Store {
    /// The lowest fencing number of this opening: above all numbers of the openings before.
    pub fn first_fence(&self) -> Fence {
        self.first_fence
    }

    /// What is committed about an upload. Cheap enough for an event loop: no disk is written to, and what
    /// was read lately is cached.
    pub fn load(&self, id: &UploadId) -> Result<Option<Record>, Failure> {
        Ok(self.row(id)?.map(|row| row.record(id)))
    }

    /// Whether there was an upload of this id that expired lately.
    pub fn remembers(&self, id: &UploadId) -> Result<bool, Failure> {
        let remembers = lock(&self.live).remembers(id);
        remembers.map_err(|trouble| self.staging.note(trouble))
    }

    /// Carries out [`Command::Load`](tus_proto::Command::Load). As cheap as [`Self::load`].
    pub fn look_up(&self, id: &UploadId) -> Completion {
        match self.load(id) {
            Ok(Some(_)) if self.staging.was_gone(id) && self.is_still_gone(id) => Completion::Gone,
            Ok(Some(record)) => Completion::Loaded(record),
            Ok(None) => match self.remembers(id) {
                Ok(true) => Completion::Gone,
                Ok(false) => Completion::Missing,
                Err(failure) => Completion::Failed(failure),
            },
            Err(failure) => Completion::Failed(failure),
        }
    }

    /// Whether a data file with committed bytes of an upload is not there, of the first [`LOOKED_AT`].
    pub(crate) fn is_gone(&self, id: &UploadId, extents: &[Extent]) -> Result<bool, Failure> {
        let mut looked_at = BTreeSet::new();
        for extent in extents.iter().filter(|extent| extent.len > 0) {
            if looked_at.len() == LOOKED_AT {
                break;
            }
            if !looked_at.insert(extent.file) || !self.staging.files.is_missing(extent.file) {
                continue;
            }
            let is_inline =
                lock(&self.live).is_inline(*extent).map_err(|trouble| self.staging.note(trouble))?;
            if !is_inline {
                self.staging.note_gone(id, extent.file);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks again: the file may have been moved back.
    fn is_still_gone(&self, id: &UploadId) -> bool {
        let row = self.row(id).ok().flatten();
        let gone = row.is_some_and(|row| self.is_gone(id, &row.extents).unwrap_or(false));
        if !gone {
            self.staging.forget_gone(id);
        }
        gone
    }

    /// A sink for bytes after the committed ones, for the writer whose lock has the number `fence`. Writes
    /// nothing: the data file is made with the first byte. Where the lock's last holder never released it,
    /// [`Change::NewExtent`](crate::Change::NewExtent) comes first.
    ///
    /// # Errors
    /// [`Rejected`]; [`Rejected::Gone`] where the file that it would append to was moved away.
    pub fn append(&self, id: &UploadId, fence: Fence, at: u64) -> Result<Sink, Rejected> {
        let row = self.row(id).map_err(Rejected::Failed)?.ok_or(Rejected::Missing)?;
        check_append(&row, fence, at)?;
        if fence < mutation!("fence-ignored", self.staging.highest_fence(id), Fence(0)) {
            return Err(Rejected::Conflict { offset: row.offset() });
        }
        if !self.staging.reserve.remake() {
            return Err(Rejected::Failed(Failure::NoSpace));
        }
        let last = row.extents.last().copied();
        let inline = self.inline_of(last).map_err(Rejected::Failed)?;
        let earlier = self.inline_before_last(&row).map_err(Rejected::Failed)?;
        let lease = AppendLease::new(&self.staging, id, fence, at, last, inline, earlier);
        // From here on the grant keeps the file from being reclaimed. Had it been before, the record is gone.
        let row = self.row(id).map_err(Rejected::Failed)?.ok_or(Rejected::Missing)?;
        check_append(&row, fence, at)?;
        if row.extents.last().copied() != last {
            return Err(Rejected::Conflict { offset: row.offset() });
        }
        if self.is_gone(id, last.as_slice()).map_err(Rejected::Failed)? {
            return Err(Rejected::Gone);
        }
        Ok(Sink::new(Arc::new(lease)))
    }

    /// Memory for the first bytes of a new upload, which come with its record in one
    /// [`Change::CreateWith`](crate::Change::CreateWith). `None` if so many don't go into the records, or if too many are
    /// in memory now.
    pub fn reserve(&self, bytes: u64) -> Option<FirstBytes> {
        if self.staging.reserve.is_spent() {
            return None;
        }
        self.inline_limits.reserve(bytes)
    }

    /// What further bytes of a last extent may join in the records; `None` if there they don't go.
    fn inline_of(&self, last: Option<Extent>) -> Result<Option<Inline>, Failure> {
        let Some(last) = last else { return Ok(None) };
        let committed = match last.len {
            0 if self.options.inline_bytes == 0 => None,
            0 => Some(Vec::new()),
            _ => lock(&self.live).inline(last).map_err(|trouble| self.staging.note(trouble))?,
        };
        Ok(committed.map(|bytes| Inline::new(&self.inline_limits, bytes)))
    }

    /// The files of all extents but the last whose bytes lie in the records.
    fn inline_before_last(&self, row: &Row) -> Result<Vec<FileId>, Failure> {
        let mut files = Vec::new();
        for extent in row.extents.iter().rev().skip(1) {
            let is_inline =
                lock(&self.live).is_inline(*extent).map_err(|trouble| self.staging.note(trouble))?;
            files.extend(is_inline.then_some(extent.file));
        }
        Ok(files)
    }

    /// Forgets staged bytes. Completes as `Discarded`, `Missing`, `Conflict` or `Failed`. The sink is gone
    /// by then.
    pub fn discard(&self, id: &UploadId, fence: Fence) -> Completion {
        match self.row(id) {
            Err(failure) => Completion::Failed(failure),
            Ok(None) => Completion::Missing,
            Ok(Some(row)) if fence < row.fence.max(self.staging.highest_fence(id)) => {
                Completion::Conflict { offset: row.offset() }
            }
            Ok(Some(row)) => {
                // What can't be cut now is garbage all the same, and goes when the upload does.
                // A final has none of its own: its parts' are not its to cut.
                if !row.is_final()
                    && let Some(last) = row.extents.last()
                    && let Ok(file) = self.staging.files.open(last.file)
                    && file.len().is_ok_and(|len| len > last.len)
                    && let Err(error) =
                        file.set_len(mutation!("discard-cuts-too-much", last.len, last.len / 2))
                {
                    self.staging.note(error);
                }
                Completion::Discarded
            }
        }
    }

    /// How much of the disk uploads may take.
    pub(crate) fn space_limits(&self) -> SpaceLimits {
        self.options.space
    }

    /// How many finals were completed by a commit to their last part since the store was opened.
    pub fn finals_finished(&self) -> u64 {
        self.finals_finished.load(Ordering::Relaxed)
    }

    pub(crate) fn keeps(&self) -> Keeps {
        let now = self.now.load(Ordering::Relaxed);
        let expiry = self.options.finished_expiry.filter(|_| now > 0);
        let finished_expire = expiry.map(|expiry| WallTime::from_micros(now).after(expiry).as_micros());
        let (fragmented, digests) = (self.options.consolidate, self.options.digests);
        Keeps { events: *lock(&self.events), fragmented, now, finished_expire, digests }
    }

    /// Drops what is kept for the next [`Self::load`]. For a store that is idle.
    pub fn drop_view(&self) {
        lock(&self.live).drop_view();
    }

    /// What went wrong last, for the operator's log; told once.
    pub fn trouble(&self) -> Option<String> {
        self.staging.take_last_error()
    }

    /// Whether a look at the records would wait for a compaction: event loops should not look then.
    pub fn is_compacting(&self) -> bool {
        self.compacting.load(Ordering::Acquire)
    }

    /// Whether the disk is so full that only commits and deletes are carried out.
    pub fn is_full(&self) -> bool {
        self.staging.reserve.is_spent()
    }

    pub(crate) fn row(&self, id: &UploadId) -> Result<Option<Row>, Failure> {
        let trouble = match lock(&self.live).row(id) {
            Ok(row) => return Ok(row),
            Err(trouble) => trouble,
        };
        let damaged = trouble.damaged;
        let failure = self.staging.note(trouble);
        if damaged {
            return Err(failure);
        }
        // Whoever holds the writer's lock will meet the same trouble, and reopen the records.
        let Ok(mut writer) = self.writer.try_lock() else { return Err(failure) };
        self.reopen(&mut writer)?;
        lock(&self.live).row(id).map_err(|trouble| self.staging.note(trouble))
    }

    /// The open database with all that was changed in it, for who holds the writer's lock.
    pub(crate) fn database(&self, writer: &mut Writer) -> Result<Arc<Database>, Failure> {
        if let Err(trouble) = self.publish(writer) {
            // It is in the log.
            self.staging.note(trouble);
            return self.reopen(writer);
        }
        self.open_database(writer)
    }

    /// The open database, for who goes on with the batch that is open in it.
    pub(crate) fn open_database(&self, writer: &mut Writer) -> Result<Arc<Database>, Failure> {
        let open = lock(&self.live).database.clone();
        match open {
            Some(database) => Ok(database),
            None => self.reopen(writer),
        }
    }

    /// Opens the records anew: after an I/O error redb does nothing else. Copies of the database are gone by
    /// now, because only who holds the writer's lock has any.
    pub(crate) fn reopen(&self, writer: &mut Writer) -> Result<Arc<Database>, Failure> {
        writer.batch = None;
        // What redb has written and not synced goes, or is there: its replay from the log is the same.
        match self.records.settle() {
            Ok(()) => self.finish_checkpoint(writer),
            Err(_) => self.abandon_checkpoint(writer),
        }
        let _no_snapshots = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        let mut live = lock(&self.live);
        // A database that goes makes durable what it holds: records whose bytes may not be there yet.
        self.records.seal();
        *live = ReadView::default();
        self.records.unseal();
        let opened = self.try_reopen(writer);
        live.database = Some(opened.map_err(|trouble| self.staging.note(trouble))?);
        live.database.clone().ok_or(Failure::Io)
    }

    /// After an error under the writer's lock: opens the records anew, for the next call, and hands back what
    /// this one fails with.
    pub(crate) fn give_up(&self, writer: &mut Writer, database: Arc<Database>, trouble: Error) -> Failure {
        let failure = self.staging.note(trouble);
        drop(database);
        // If that fails too, the next call tries again.
        let _ = self.reopen(writer);
        failure
    }

    fn try_reopen(&self, writer: &mut Writer) -> Result<Arc<Database>, Error> {
        self.records.repair()?;
        let database = database::open(&self.records, &self.options)?;
        writer.replay(&*self.disk, &database)?;
        writer.end_torn_log(&database)?;
        // Of a change whose answer was lost nobody has learned what it left to do.
        self.staging.reclaimable.store(true, Ordering::Release);
        self.fragmented.store(self.options.consolidate, Ordering::Release);
        Ok(Arc::new(database))
    }

    /// What was read before this is old now.
    pub(crate) fn renew_view(&self) {
        lock(&self.live).renew();
    }
}

fn check_append(row: &Row, fence: Fence, at: u64) -> Result<(), Rejected> {
    let offset = row.offset();
    let fenced = fence < mutation!("fence-ignored", row.fence, Fence(0));
    let welcome = !fenced && mutation!("offset-not-compared", at == offset, true) && !row.is_final();
    if welcome { Ok(()) } else { Err(Rejected::Conflict { offset }) }
}

impl Drop for Store {
    fn drop(&mut self) {
        let closing = self.flush();
        if closing.is_err() {
            // redb would make durable now what the flush could not: records whose bytes may not be there.
            self.records.seal();
        }
        lock(&self.writer).batch = None;
        *lock(&self.live) = ReadView::default();
        // Grants hold on to what holds them.
        lock(&self.staging.dirty).clear();
    }
}

/// A panic elsewhere leaves nothing half done that the next holder could not see in the records.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
