//! Giving back the space of data files that nothing refers to any more.

use std::sync::atomic::Ordering;

use redb::{ReadableDatabase, ReadableTable};
use tus_proto::Failure;

use crate::{
    database::{self, DOOMED, SMALL},
    error::Trouble,
    files::FileId,
    store::{Durability, Store, Writer, lock},
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
        let candidates = {
            let mut writer = lock(&self.writer);
            let database = self.database(&mut writer)?;
            self.candidates(&writer, &database, limit)
                .map_err(|trouble| self.give_up(&mut writer, database, trouble))?
        };
        for file in &candidates {
            self.staging.files.remove(*file).map_err(|error| self.staging.note(error))?;
        }
        self.staging.settle_begun(candidates.iter().copied());
        if candidates.is_empty() {
            if self.freed.swap(false, Ordering::AcqRel) && !self.staging.reserve.remake() {
                self.compact()?;
            }
            return Ok(0);
        }
        // A row goes only when its file can't come back.
        let synced = mutation!("unlink-not-durable", self.staging.files.sync_names(), Ok(()));
        synced.map_err(|error| self.staging.note(error))?;
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        if let Err(trouble) = self.remove_rows(&database, &candidates) {
            return Err(self.give_up(&mut writer, database, trouble));
        }
        if !self.staging.reserve.remake() {
            self.freed.store(true, Ordering::Release);
        }
        Ok(candidates.len())
    }

    /// Gives the disk what is free in the file of the records, so that the reserve can be made again: on a disk that
    /// small bodies have filled there is no other space. Nothing is read meanwhile. An opening after a crash in the
    /// middle of it takes time in proportion to the number of records.
    fn compact(&self) -> Result<(), Failure> {
        let mut writer = lock(&self.writer);
        self.flush_held(&mut writer)?;
        drop(self.database(&mut writer)?);
        let compacted = lock(&self.live).compact();
        if let Err(trouble) = compacted {
            let failure = self.staging.note(trouble);
            self.reopen(&mut writer)?;
            return Err(failure);
        }
        self.staging.reserve.remake();
        Ok(())
    }

    fn candidates(
        &self,
        writer: &Writer,
        database: &redb::Database,
        limit: usize,
    ) -> Result<Vec<FileId>, Trouble> {
        let txn = database.begin_read()?;
        let table = txn.open_table(DOOMED)?;
        let mut candidates = Vec::new();
        for entry in table.iter()? {
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

    /// The rows may come back with the power: their files are then found gone.
    fn remove_rows(&self, database: &redb::Database, files: &[FileId]) -> Result<(), Trouble> {
        let txn = match self.options.durability {
            Durability::Strict => database::begin_durable(database)?,
            Durability::Eventual => database::begin_volatile(database)?,
        };
        let (mut doomed, mut small) = (txn.open_table(DOOMED)?, txn.open_table(SMALL)?);
        for file in files {
            doomed.remove(file.0)?;
            small.remove(file.0)?;
        }
        drop((doomed, small));
        Ok(txn.commit()?)
    }
}
