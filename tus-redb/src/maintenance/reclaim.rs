//! Giving back the space of data files that nothing refers to any more.

use std::{
    ops::Bound,
    sync::{PoisonError, atomic::Ordering},
};

use redb::ReadableDatabase;
use tus_proto::Failure;

use crate::{
    error::Error,
    files::file_id::FileId,
    maintenance::health::commit_nothing,
    mutex::lock,
    options::Durability,
    records::database::{self, INLINE, PENDING_UNLINK},
    store::{Store, Writer, progress::Compaction},
};

impl Store {
    /// Whether [`Self::reclaim`] may find something.
    pub fn needs_reclaim(&self) -> bool {
        self.staging.reclaimable.load(Ordering::Acquire)
    }

    /// Removes at most `limit` data files that nothing refers to, and tells how many. With eventual
    /// durability those wait whose end was not flushed, in any case those that a sink may still write to.
    /// Mostly beside commits; blocks on the disk.
    pub fn reclaim(&self, limit: usize) -> Result<usize, Failure> {
        // Before the look, so that what is given up from now on is seen by the next.
        self.staging.reclaimable.store(false, Ordering::Release);
        let removed = self.try_reclaim(limit);
        if !matches!(removed, Ok(0)) {
            self.staging.reclaimable.store(true, Ordering::Release);
        }
        removed
    }

    fn try_reclaim(&self, limit: usize) -> Result<usize, Failure> {
        let mut reclaimed_to = lock(&self.reclaimed_to);
        let mut candidates = {
            let mut writer = lock(&self.writer);
            let database = self.database(&mut writer)?;
            self.candidates(&writer, &database, limit, *reclaimed_to)
                .map_err(|trouble| self.give_up(&mut writer, database, trouble))?
        };
        let (tried, last) = (candidates.len(), candidates.last().copied());
        // One that can't be removed hinders no other.
        let mut failure = None;
        candidates.retain(|file| match self.staging.files.remove(*file) {
            Ok(()) => true,
            Err(error) => {
                failure = Some(self.staging.note(error));
                false
            }
        });
        *reclaimed_to = match tried < limit {
            true => None,
            false if failure.is_some() => last,
            false => *reclaimed_to,
        };
        self.staging.clear_uncommitted(candidates.iter().copied());
        if candidates.is_empty() {
            self.staging.reserve.remake();
            if tried == 0 && !self.staging.reserve.is_set_aside() && self.compaction_pays()? {
                self.compact()?;
            }
            return failure.map_or(Ok(0), Err);
        }
        // A row goes only when its file can't come back.
        let synced = mutation!("unlink-not-durable", self.staging.files.sync_names(), Ok(()));
        synced.map_err(|error| self.staging.note(error))?;
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        let freed = match self.remove_rows(&database, &candidates) {
            Ok(freed) => freed,
            Err(trouble) => return Err(self.give_up(&mut writer, database, trouble)),
        };
        let mut compaction = lock(&self.compaction);
        self.staging.reserve.remake();
        if self.staging.reserve.is_set_aside() {
            // What is free in the records is used again before the disk is full the next time.
            *compaction = Compaction::default();
        } else {
            compaction.free = compaction.free.map(|free| free.saturating_add(freed));
            compaction.freed = true;
            if compaction.free.is_some() && self.stands_in_records() {
                self.staging.reserve.change_inside(|inside| inside.saturating_add(freed));
            }
        }
        Ok(candidates.len())
    }

    /// Whether what is free in the file of the records may stand for the reserve. Not with eventual durability: its log grows
    /// between flushes.
    fn stands_in_records(&self) -> bool {
        self.options.durability == Durability::Strict
    }

    /// Looks how much is free in the file of the records, which may stand for the reserve then; and whether to compact
    /// it: only where the reserve can be made from it and from what the disk has. Where it stands for the reserve
    /// nothing presses, and it must be half of the file: compacting takes seconds, in which no record is read, and is of
    /// use only for bodies that need files.
    fn compaction_pays(&self) -> Result<bool, Failure> {
        let mut compaction = lock(&self.compaction);
        if !std::mem::take(&mut compaction.freed) {
            return Ok(false);
        }
        let reserve = &self.staging.reserve;
        let known =
            compaction.free.map(|free| if self.stands_in_records() { reserve.inside() } else { free });
        let free = match known {
            Some(free) => free,
            None => self.free_in_records()?,
        };
        compaction.free = Some(free);
        let on_disk = self.disk.free().unwrap_or_default();
        let mut enough = reserve.wanted().saturating_sub(on_disk);
        if self.stands_in_records() {
            reserve.set_inside(free);
            let length = self.records.len().map_err(|error| self.staging.note(error))?;
            enough = enough.max(length / 2);
        }
        let pays = free >= compaction.needed && free >= enough;
        if pays {
            #[cfg(test)]
            {
                compaction.made += 1;
            }
            // Forgotten where it succeeds.
            compaction.needed = free.saturating_mul(2);
        }
        Ok(pays)
    }

    /// How many times the records were compacted since the disk was full.
    #[cfg(test)]
    pub(crate) fn compactions(&self) -> u64 {
        lock(&self.compaction).made
    }

    /// How many bytes of the file of the records hold nothing. Reads all inner pages; those who read go on.
    fn free_in_records(&self) -> Result<u64, Failure> {
        let mut writer = lock(&self.writer);
        self.flush_held(&mut writer)?;
        let database = self.database(&mut writer)?;
        // A view of before keeps pages that nothing else needs.
        lock(&self.live).drop_view();
        let count = || {
            // What was given up before a durable transaction is free after the next one.
            commit_nothing(&writer, &database)?;
            commit_nothing(&writer, &database)?;
            let txn = database::begin_volatile(&database)?;
            let stats = txn.stats()?;
            txn.abort()?;
            let used = stats.allocated_pages().saturating_mul(stats.page_size() as u64);
            Ok::<_, Error>(self.records.occupied()?.saturating_sub(used))
        };
        let counted = count();
        counted.map_err(|trouble| self.give_up(&mut writer, database, trouble))
    }

    /// Gives the disk what is free in the file of the records, so that the reserve can be made again: on a disk that
    /// small bodies have filled there is no other space. No record is read meanwhile ([`Self::is_compacting`]). An opening
    /// after a crash in the middle of it takes time in proportion to the number of records.
    fn compact(&self) -> Result<(), Failure> {
        let mut writer = lock(&self.writer);
        self.flush_held(&mut writer)?;
        drop(self.database(&mut writer)?);
        let no_snapshots = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        self.compacting.store(true, Ordering::Release);
        let compacted = lock(&self.live).compact();
        self.compacting.store(false, Ordering::Release);
        drop(no_snapshots);
        if let Err(trouble) = compacted {
            let failure = self.staging.note(trouble);
            self.reopen(&mut writer)?;
            return Err(failure);
        }
        self.staging.reserve.remake();
        // What is free now nobody knows; it is little.
        self.staging.reserve.set_inside(0);
        if self.staging.reserve.is_set_aside() {
            *lock(&self.compaction) = Compaction::default();
        } else {
            lock(&self.compaction).free = None;
        }
        Ok(())
    }

    fn candidates(
        &self,
        writer: &Writer,
        database: &redb::Database,
        limit: usize,
        after: Option<FileId>,
    ) -> Result<Vec<FileId>, Error> {
        let txn = database.begin_read()?;
        let table = txn.open_table(PENDING_UNLINK)?;
        let mut candidates = Vec::new();
        let start = after.map_or(Bound::Unbounded, |file| Bound::Excluded(file.0));
        for entry in table.range::<u64>((start, Bound::Unbounded))? {
            let file = FileId(entry?.0.value());
            if candidates.len() == limit {
                break;
            }
            let under_way = writer.checkpoint.as_ref();
            let may_return = writer.pending_unlink.contains(&file)
                || under_way.is_some_and(|checkpoint| checkpoint.pending_unlink.contains(&file));
            if !mutation!("unlinked-too-early", may_return, false) && self.staging.is_removable(file) {
                candidates.push(file);
            }
        }
        Ok(candidates)
    }

    /// The rows may come back with the power: their files are then found gone. Returns how many bytes lay in the
    /// records.
    fn remove_rows(&self, database: &redb::Database, files: &[FileId]) -> Result<u64, Error> {
        let txn = database::begin_volatile(database)?;
        let (mut pending_unlink, mut inline) = (txn.open_table(PENDING_UNLINK)?, txn.open_table(INLINE)?);
        let mut freed = 0;
        for file in files {
            pending_unlink.remove(file.0)?;
            freed += inline.remove(file.0)?.map_or(0, |bytes| bytes.value().len() as u64);
        }
        drop((pending_unlink, inline));
        txn.commit()?;
        Ok(freed)
    }
}
