//! The checkpoint: bytes and names, where they are not durable yet, then records, then the log begins anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use redb::Database;
use tus_proto::Failure;

use crate::{
    error::Error,
    files::{FileId, append_lease::AppendLease},
    records::{
        apply::{Keeps, Tables},
        commit::{DIRTY_LIMIT, STEPS_LIMIT},
        database,
    },
    store::{Store, Writer, lock},
};

/// So few files are synced while commits wait.
const FEW: usize = 16;

/// How often the files that became dirty meanwhile are synced before commits have to wait for the rest.
const PASSES: usize = 4;

impl Store {
    /// Whether something was committed, or staged to be, that is not durable yet; or, with strict durability, durable in
    /// the log alone.
    pub fn needs_flush(&self) -> bool {
        // Where the commit was refused, its file is let go by a flush all the same.
        self.unflushed.load(Ordering::Acquire) || !lock(&self.staging.dirty).is_empty()
    }

    /// Whether so much awaits a flush that commits would soon have to wait for it.
    pub fn is_flush_pressing(&self) -> bool {
        self.staging.has_dirty(DIRTY_LIMIT, 2)
            || self.log_len.load(Ordering::Relaxed) > self.log_limit() / 2
            || self.log_steps.load(Ordering::Relaxed) > STEPS_LIMIT / 2
    }

    /// Syncs the bytes that await a flush, so that [`Self::flush`] has little left to do. Commits go on
    /// beside it. Files that can't be synced fall back with that flush to what is durable of them.
    pub fn flush_data(&self) -> Result<(), Failure> {
        let mut result = Ok(());
        for _ in 0..PASSES {
            result = result.and(self.sync_dirty());
            // While many were synced, others came: what is left is what commits have to wait for.
            if lock(&self.staging.dirty).len() < FEW {
                break;
            }
        }
        // A failure is that of the flush that follows.
        let _ = self.records.sync_beside();
        result
    }

    /// Syncs the files that are dirty now.
    fn sync_dirty(&self) -> Result<(), Failure> {
        let _flushing = lock(&self.flushing);
        let dirty = self.staging.take_dirty();
        let result = self.sync_each(&dirty);
        drop(dirty);
        self.staging.closed_dirty();
        result
    }

    fn sync_each(&self, dirty: &BTreeMap<FileId, Arc<AppendLease>>) -> Result<(), Failure> {
        let files: Vec<_> = dirty.values().filter_map(|lease| lease.made()).collect();
        // Where it fails, each file is asked for itself.
        if let Ok(true) = self.staging.files.sync_together(&files) {
            return Ok(());
        }
        let mut result = Ok(());
        for (file, lease) in dirty {
            if let Err(failure) = lease.sync_data() {
                mutation!("failed-sync-forgotten", self.lose(*file), ());
                // Its record may stand on the lost bytes already.
                self.unflushed.store(true, Ordering::Release);
                result = Err(failure);
            }
        }
        result
    }

    /// What was staged in this file since the last flush is lost, whatever can still be read of it.
    pub(crate) fn lose(&self, file: FileId) {
        if let Err(error) = lock(&self.lost).insert(&*self.disk, &self.staging.reserve, file) {
            self.staging.note(error);
        }
    }

    /// Makes durable all that was committed. Commits wait for it. On failure all of it stays as it was, and
    /// awaits the next flush.
    pub fn flush(&self) -> Result<(), Failure> {
        let mut writer = lock(&self.writer);
        self.flush_held(&mut writer)
    }

    pub(crate) fn flush_held(&self, writer: &mut Writer) -> Result<(), Failure> {
        if !self.needs_flush() {
            return Ok(());
        }
        // What can't be synced is lost, which the records are about to say: that is no reason to stop.
        let _ = mutation!("flush-without-data", self.sync_dirty(), Ok(()));
        self.staging.files.sync_names().map_err(|error| self.staging.note(error))?;
        let _ = mutation!("log-begun-anew-too-early", true, self.restart_log(writer));
        let database = mutation!("checkpoint-forgets-batch", self.database(writer)?, {
            writer.batch = None;
            self.open_database(writer)?
        });
        let mut lost = lock(&self.lost);
        match self.flush_records(writer, &database, lost.files()) {
            Ok((last_event, time)) => {
                self.settled.store(last_event, Ordering::Release);
                self.noted_time.store(time, Ordering::Relaxed);
                // What fell back may lie in the records again.
                lost.files().iter().for_each(|file| self.staging.note_uncommitted(*file));
            }
            Err(trouble) => {
                drop(lost);
                return Err(self.give_up(writer, database, trouble));
            }
        }
        self.renew_view();
        writer.grown.clear();
        writer.spilled.clear();
        if !std::mem::take(&mut writer.pending_unlink).is_empty() {
            self.staging.reclaimable.store(true, Ordering::Release);
        }
        if std::mem::take(&mut writer.fragmented) {
            self.fragmented.store(true, Ordering::Release);
        }
        let torn = !self.restart_log(writer);
        // Only now: until the log is empty, whoever replays it must know.
        let unknown = lost.clear(&*self.disk).map_err(|error| self.staging.note(error)).is_err();
        self.unflushed.store(torn || unknown, Ordering::Release);
        Ok(())
    }

    /// Begins the log anew; false if that failed.
    fn restart_log(&self, writer: &mut Writer) -> bool {
        let Some(log) = &mut writer.log else { return true };
        let begun = log.restart().map_err(|error| self.staging.note(error)).is_ok();
        self.log_len.store(log.len(), Ordering::Relaxed);
        self.log_steps.store(log.steps(), Ordering::Relaxed);
        begun
    }

    /// One durable transaction makes all before it durable. What the disk lost is taken back in it. Tells the number
    /// of the last event, and up to where the time is durable.
    fn flush_records(
        &self,
        writer: &Writer,
        database: &Database,
        lost: &BTreeSet<FileId>,
    ) -> Result<(u64, u64), Error> {
        let txn = database::begin_durable(database)?;
        let mut tables = Tables::open(&txn, Keeps::default())?;
        for file in lost {
            if let Some(grown) = writer.grown.get(file) {
                tables.forget(*file, grown)?;
            }
        }
        // What a lost file held is needed once more.
        tables.drop_inline(writer.spilled.difference(lost).copied())?;
        tables.retract(self.settled.load(Ordering::Acquire))?;
        if !tables.effects.pending_unlink.is_empty() {
            self.staging.reclaimable.store(true, Ordering::Release);
        }
        drop(tables);
        database::set_flushed_files(&txn, self.staging.files.count())?;
        database::set_sequence(&txn, writer.sequence)?;
        let (last_event, time) = (database::last_event(&txn)?, self.note_time(&txn)?);
        txn.commit()?;
        Ok((last_event, time))
    }
}
