//! What a store answers without a change: records, snapshots of them, and its own state.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLockReadGuard, atomic::Ordering},
};

use redb::ReadTransaction;
use tus_proto::{Failure, Fence, Record, UploadId};

use crate::{
    error::{Error, Rejected},
    files::file_id::{Extent, FileId},
    mutex::lock,
    options::SpaceLimits,
    records::record::Row,
    store::{
        Store,
        source::{Held, Source, files},
    },
};

/// How many of an upload's data files are checked for existence before it is read.
const LOOKED_AT: usize = 64;

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
    ///
    /// # Errors
    /// [`Rejected::Missing`]; [`Rejected::Gone`]; [`Rejected::Lost`] once it was noticed that one of its data files was moved
    /// away; or the disk's.
    pub fn look_up(&self, id: &UploadId) -> Result<Record, Rejected> {
        let row = self.row(id).map_err(Rejected::Failed)?.ok_or_else(|| self.absent(id))?;
        let record = row.record(id);
        if self.staging.was_gone(id) && self.is_still_gone(id, &row) {
            return Err(Rejected::Lost(Box::new(record)));
        }
        Ok(record)
    }

    /// Why an upload has no record.
    fn absent(&self, id: &UploadId) -> Rejected {
        match self.remembers(id) {
            Ok(true) => Rejected::Gone,
            Ok(false) => Rejected::Missing,
            Err(failure) => Rejected::Failed(failure),
        }
    }

    /// Whether a data file with committed bytes of an upload is not there, of the first [`LOOKED_AT`]. If so, that is
    /// noted.
    pub(crate) fn is_gone(&self, id: &UploadId, extents: &[Extent]) -> Result<bool, Failure> {
        let missing = self.missing_file(extents)?;
        if let Some(file) = missing {
            self.staging.note_gone(id, file);
        }
        Ok(missing.is_some())
    }

    fn missing_file(&self, extents: &[Extent]) -> Result<Option<FileId>, Failure> {
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
                return Ok(Some(extent.file));
            }
        }
        Ok(None)
    }

    /// Looks again: the file may have been moved back. The operator was told when it was found missing.
    fn is_still_gone(&self, id: &UploadId, row: &Row) -> bool {
        let gone = matches!(self.missing_file(&row.extents), Ok(Some(_)));
        if !gone {
            self.staging.forget_gone(id);
        }
        gone
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
        // Another holder of the writer's lock meets the same error, and reopens the records.
        let Ok(mut writer) = self.writer.try_lock() else { return Err(failure) };
        self.reopen(&mut writer)?;
        lock(&self.live).row(id).map_err(|trouble| self.staging.note(trouble))
    }

    /// Opens an upload's bytes for reading. Carries out [`Command::Open`](tus_proto::Command::Open), and is as
    /// cheap as [`Self::load`] but for what it costs to take note of each extent.
    ///
    /// # Errors
    /// [`Rejected::Missing`]; [`Rejected::Gone`]; [`Rejected::Lost`] where one of its data files was moved away; or the disk's.
    pub fn open_source(&self, id: &UploadId) -> Result<Source, Rejected> {
        loop {
            let row = self.row(id).map_err(Rejected::Failed)?.ok_or_else(|| self.absent(id))?;
            let held = Held::new(&self.staging, files(&row).collect());
            // From here on the files can't be reclaimed. If the upload still has them now, they were not before.
            let again = self.row(id).map_err(Rejected::Failed)?;
            if let Some(row) = again.filter(|row| files(row).eq(held.files.iter().copied())) {
                if self.is_gone(id, &row.extents).map_err(Rejected::Failed)? {
                    return Err(Rejected::Lost(Box::new(row.record(id))));
                }
                return Ok(Source::new(row.record(id), &row, self.live.clone(), held));
            }
        }
    }

    /// The same within a call of the store, which returns the error.
    pub(crate) fn awaits_one_file(&self, id: &UploadId) -> Result<bool, Error> {
        let may_be = self.options.consolidate && !lock(&self.backoffs).contains_key(id);
        Ok(may_be && lock(&self.live).fragmented(id)?.is_some())
    }

    /// Commits what is open in a batch, so that snapshots show it.
    pub(crate) fn show_batch(&self) -> Result<(), Failure> {
        let mut writer = lock(&self.writer);
        self.database(&mut writer)?;
        Ok(())
    }

    /// The records as they are committed now, to be held for a moment: the records can't be opened anew as long.
    pub(crate) fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        let held = self.snapshots.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = lock(&self.live).snapshot()?;
        Ok(Snapshot { transaction, _held: held })
    }

    /// How much of the disk uploads may take.
    pub(crate) fn space_limits(&self) -> SpaceLimits {
        self.options.space
    }

    /// How many finals were completed by a commit to their last part since the store was opened.
    pub fn finals_finished(&self) -> u64 {
        self.finals_finished.load(Ordering::Relaxed)
    }

    /// Drops what is kept for the next [`Self::load`]. For a store that is idle.
    pub fn drop_view(&self) {
        lock(&self.live).drop_view();
    }

    /// What went wrong last, for the operator's log; told once.
    pub fn trouble(&self) -> Option<String> {
        self.staging.take_last_error()
    }

    /// Whether a call of the disk has failed since the last [`Self::probe`], for example to make the file of a body.
    pub fn is_suspect(&self) -> bool {
        self.staging.is_suspect()
    }

    /// How many files' syncs have failed under committed bytes so far; `None` while records still name what one has lost.
    /// Bytes that were read between two equal numbers are those that were committed.
    pub(crate) fn losses(&self) -> Option<u64> {
        let lost = lock(&self.lost);
        lost.files().is_empty().then(|| self.losses.load(Ordering::Acquire))
    }

    /// Whether a look at the records would wait for a compaction: event loops should not look then.
    pub fn is_compacting(&self) -> bool {
        self.compacting.load(Ordering::Acquire)
    }

    /// Whether the disk is so full that only commits and deletes are carried out.
    pub fn is_full(&self) -> bool {
        self.staging.reserve.is_spent()
    }
}

/// A read transaction, and what keeps its database open.
pub(crate) struct Snapshot<'a> {
    pub(crate) transaction: ReadTransaction,
    _held: RwLockReadGuard<'a, ()>,
}
