//! Giving back the space of data files that nothing refers to any more.

use std::{
    ops::Bound,
    sync::{PoisonError, atomic::Ordering},
};

use redb::ReadableDatabase;
use tus_proto::Failure;

use crate::{
    database::{self, DOOMED, SMALL},
    error::Trouble,
    files::FileId,
    store::{Durability, Store, Writer, lock},
};

/// What compacting the records would give the disk, and what it was worth the last time.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    /// How many bytes are free in the file of the records; not known before the first look.
    free: Option<u64>,
    /// How many must be, after attempts that did not pay: twice as many after each.
    needed: u64,
    /// Whether something was removed from the records since the last look.
    freed: bool,
    /// How many attempts were made.
    #[cfg(test)]
    made: u64,
}

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
        self.staging.settle_begun(candidates.iter().copied());
        if candidates.is_empty() {
            if tried == 0 && !self.staging.reserve.remake() && self.compaction_pays()? {
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
        if self.staging.reserve.remake() {
            // What is free in the records is used again before the disk is full the next time.
            *compaction = Compaction::default();
        } else {
            compaction.free = compaction.free.map(|free| free.saturating_add(freed));
            compaction.freed = true;
        }
        Ok(candidates.len())
    }

    /// Whether the reserve can be made again from what is free in the file of the records and on the disk, with an
    /// eighth to spare: compacting takes seconds, in which nothing is read or written, and space to work in.
    fn compaction_pays(&self) -> Result<bool, Failure> {
        let mut compaction = lock(&self.compaction);
        if !std::mem::take(&mut compaction.freed) {
            return Ok(false);
        }
        let free = match compaction.free {
            Some(free) => free,
            None => self.free_in_records()?,
        };
        compaction.free = Some(free);
        let wanted = self.options.reserve_bytes.saturating_add(self.options.reserve_bytes / 8);
        let on_disk = self.disk.free().unwrap_or_default();
        let pays = free >= compaction.needed && free >= wanted.saturating_sub(on_disk);
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
        let database = self.database(&mut writer)?;
        let count = || {
            let txn = database::begin_volatile(&database)?;
            let stats = txn.stats()?;
            txn.abort()?;
            let used = stats.allocated_pages().saturating_mul(stats.page_size() as u64);
            Ok::<_, Trouble>(self.records.len()?.saturating_sub(used))
        };
        let counted = count();
        counted.map_err(|trouble| self.give_up(&mut writer, database, trouble))
    }

    /// Gives the disk what is free in the file of the records, so that the reserve can be made again: on a disk that
    /// small bodies have filled there is no other space. Nothing is read meanwhile. An opening after a crash in the
    /// middle of it takes time in proportion to the number of records.
    fn compact(&self) -> Result<(), Failure> {
        let mut writer = lock(&self.writer);
        self.flush_held(&mut writer)?;
        drop(self.database(&mut writer)?);
        let no_snapshots = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        let compacted = lock(&self.live).compact();
        drop(no_snapshots);
        if let Err(trouble) = compacted {
            let failure = self.staging.note(trouble);
            self.reopen(&mut writer)?;
            return Err(failure);
        }
        if self.staging.reserve.remake() {
            *lock(&self.compaction) = Compaction::default();
        }
        Ok(())
    }

    fn candidates(
        &self,
        writer: &Writer,
        database: &redb::Database,
        limit: usize,
        after: Option<FileId>,
    ) -> Result<Vec<FileId>, Trouble> {
        let txn = database.begin_read()?;
        let table = txn.open_table(DOOMED)?;
        let mut candidates = Vec::new();
        let start = after.map_or(Bound::Unbounded, |file| Bound::Excluded(file.0));
        for entry in table.range::<u64>((start, Bound::Unbounded))? {
            let file = FileId(entry?.0.value());
            if candidates.len() == limit {
                break;
            }
            if !mutation!("unlinked-too-early", writer.doomed.contains(&file), false)
                && self.staging.is_removable(file)
            {
                candidates.push(file);
            }
        }
        Ok(candidates)
    }

    /// The rows may come back with the power: their files are then found gone. Returns how many bytes lay in the
    /// records.
    fn remove_rows(&self, database: &redb::Database, files: &[FileId]) -> Result<u64, Trouble> {
        let txn = match self.options.durability {
            Durability::Strict => database::begin_durable(database)?,
            Durability::Eventual => database::begin_volatile(database)?,
        };
        let (mut doomed, mut small) = (txn.open_table(DOOMED)?, txn.open_table(SMALL)?);
        let mut freed = 0;
        for file in files {
            doomed.remove(file.0)?;
            freed += small.remove(file.0)?.map_or(0, |bytes| bytes.value().len() as u64);
        }
        drop((doomed, small));
        txn.commit()?;
        Ok(freed)
    }
}
