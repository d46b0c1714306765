//! The checkpoint: bytes and names, where they are not durable yet, then records, then a half of the log is free again.
//! Its transaction is made without waiting for the disk; what follows goes on while its syncs are made.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, atomic::Ordering},
};

use redb::Database;
use tus_proto::Failure;

use crate::{
    error::Error,
    files::{append_lease::AppendLease, file_id::FileId},
    log::write::Log,
    mutex::lock,
    records::database,
    store::{
        Store, Writer,
        commit::{DIRTY_LIMIT, STEPS_LIMIT},
        progress::Checkpoint,
    },
    tables::{Keeps, Tables},
};

/// So few files are synced while commits wait.
const FEW: usize = 16;

/// How often the files that became dirty meanwhile are synced before commits have to wait for the rest.
const PASSES: usize = 4;

impl Store {
    /// Whether something was committed, or staged to be, that is not durable yet; or, with strict durability, durable in
    /// the log alone.
    pub fn needs_flush(&self) -> bool {
        // Where the commit was rejected, its file is let go by a flush all the same.
        self.unflushed.load(Ordering::Acquire)
            || self.checkpointing.load(Ordering::Acquire)
            || !lock(&self.staging.dirty).is_empty()
    }

    /// Whether so much awaits a flush that commits would soon have to wait for it.
    pub fn is_flush_pressing(&self) -> bool {
        self.staging.has_dirty(DIRTY_LIMIT, 2)
            || self.log_len.load(Ordering::Relaxed) > self.half_limit() / 4 * 3
            || self.log_steps.load(Ordering::Relaxed) > STEPS_LIMIT / 4 * 3
    }

    /// Syncs the bytes that await a flush, so that [`Self::flush`] has little left to do. Commits go on
    /// beside it. Files that can't be synced fall back with that flush to what is durable of them.
    pub fn flush_data(&self) -> Result<(), Failure> {
        // One that a commit has begun: the next one need not wait for it then.
        let under_way = lock(&self.writer).checkpoint.as_ref().map(|under_way| under_way.number);
        let mut result = under_way.map_or(Ok(()), |number| self.end_flush(number));
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
        let mut lost = lock(&self.lost);
        self.losses.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = lost.insert(&*self.disk, &self.staging.reserve, file) {
            self.staging.note(error);
        }
    }

    /// Makes durable all that was committed before. Commits go on meanwhile. On failure all of it stays as it was, and
    /// awaits the next flush.
    pub fn flush(&self) -> Result<(), Failure> {
        self.begin_flush()?.map_or(Ok(()), |checkpoint| self.end_flush(checkpoint))
    }

    /// The first half of [`Self::flush`], which hardly waits for the disk: what was committed before is what
    /// [`Self::end_flush`] makes durable. Returns for that the number of a checkpoint; `None` if there is nothing to do.
    pub(crate) fn begin_flush(&self) -> Result<Option<u64>, Failure> {
        let mut writer = lock(&self.writer);
        self.begin_checkpoint(&mut writer)?;
        Ok(writer.checkpoint.as_ref().map(|under_way| under_way.number))
    }

    /// The second half: waits until this checkpoint, or a later one, is durable. Commits do not wait for it.
    pub(crate) fn end_flush(&self, number: u64) -> Result<(), Failure> {
        let under_way = {
            let writer = lock(&self.writer);
            if writer.durable_checkpoint >= number {
                return Ok(());
            }
            writer.checkpoint.as_ref().map(|under_way| under_way.number)
        };
        // It failed, and somebody else was told.
        let Some(under_way) = under_way else { return Err(Failure::Io) };
        let settled = self.records.settle();
        let mut writer = lock(&self.writer);
        if writer.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.number == under_way) {
            self.end_checkpoint(&mut writer, settled)?;
        }
        if writer.durable_checkpoint >= number { Ok(()) } else { Err(Failure::Io) }
    }

    /// A whole flush, for who holds the writer's lock: commits wait for it.
    pub(crate) fn flush_held(&self, writer: &mut Writer) -> Result<(), Failure> {
        self.begin_checkpoint(writer)?;
        self.await_checkpoint(writer)
    }

    /// Ends the checkpoint that is under way, if there is one, for who holds the writer's lock: a durable transaction of
    /// its own would be deferred with it otherwise.
    pub(crate) fn await_checkpoint(&self, writer: &mut Writer) -> Result<(), Failure> {
        if writer.checkpoint.is_none() {
            return Ok(());
        }
        self.end_checkpoint(writer, self.records.settle())
    }

    /// Writes a checkpoint, without its syncs, and lets the log go on in its other half. One that is under way is ended first.
    pub(crate) fn begin_checkpoint(&self, writer: &mut Writer) -> Result<(), Failure> {
        self.await_checkpoint(writer)?;
        if !self.needs_flush() {
            return Ok(());
        }
        // What can't be synced is lost, which the records are about to say: that is no reason to stop.
        let _ = mutation!("flush-without-data", self.sync_dirty(), Ok(()));
        self.staging.files.sync_names().map_err(|error| self.staging.note(error))?;
        let database = mutation!("checkpoint-forgets-batch", self.database(writer)?, {
            writer.batch = None;
            self.open_database(writer)?
        });
        if let Some(log) = writer.log.as_ref().filter(|log| log.is_torn()) {
            // The number of a group that failed is used up, as its frame may be there.
            writer.sequence = writer.sequence.max(log.tried());
        }
        // Before it is looked at what is lost: what is from now on sets it again.
        self.unflushed.store(false, Ordering::Release);
        let mut lost = lock(&self.lost);
        let flushed = self.records.defer(|| self.flush_records(writer, &database, lost.files()));
        let (last_event, time) = match flushed {
            Ok(flushed) => flushed,
            Err(trouble) => {
                drop(lost);
                self.unflushed.store(true, Ordering::Release);
                return Err(self.give_up(writer, database, trouble));
            }
        };
        // What fell back may lie in the records again.
        lost.files().iter().for_each(|file| self.staging.note_uncommitted(*file));
        let rolled_back = lost.retract();
        drop(lost);
        self.renew_view();
        writer.grown.clear();
        writer.spilled.clear();
        writer.checkpoints += 1;
        if mutation!("log-begun-anew-too-early", false, true) {
            writer.log.iter_mut().for_each(|log| log.cover(writer.sequence));
            self.turn_log(writer);
        }
        // Whether a frame that failed is there is not known before the checkpoint is durable.
        if writer.log.as_ref().is_some_and(|log| !log.is_torn()) {
            self.turn_log(writer);
        }
        self.checkpointing.store(true, Ordering::Release);
        writer.checkpoint = Some(Checkpoint {
            number: writer.checkpoints,
            sequence: writer.sequence,
            last_event,
            time,
            pending_unlink: std::mem::take(&mut writer.pending_unlink),
            fragmented: std::mem::take(&mut writer.fragmented),
        });
        // What fell back is not in the log: groups that follow it must not be there before it is durable.
        if rolled_back { self.await_checkpoint(writer) } else { Ok(()) }
    }

    /// The checkpoint under way is durable, or not.
    fn end_checkpoint(&self, writer: &mut Writer, settled: io::Result<()>) -> Result<(), Failure> {
        if let Err(error) = settled {
            let failure = self.staging.note(error);
            // If that fails too, the next call tries again.
            let _ = self.reopen(writer);
            return Err(failure);
        }
        self.finish_checkpoint(writer);
        Ok(())
    }

    /// The checkpoint under way, if there is one, is durable.
    pub(crate) fn finish_checkpoint(&self, writer: &mut Writer) {
        let Some(done) = writer.checkpoint.take() else { return };
        self.checkpointing.store(false, Ordering::Release);
        writer.durable_checkpoint = done.number;
        self.settled.store(done.last_event, Ordering::Release);
        self.noted_time.store(done.time, Ordering::Relaxed);
        if !done.pending_unlink.is_empty() {
            mutation!("removed-not-unlinked", self.staging.reclaimable.store(true, Ordering::Release), ());
        }
        if done.fragmented {
            self.fragmented.store(true, Ordering::Release);
        }
        if let Some(log) = &mut writer.log {
            log.cover(done.sequence);
        }
        if writer.log.as_ref().is_some_and(Log::is_torn) {
            self.turn_log(writer);
        }
        let torn = writer.log.as_ref().is_some_and(Log::is_torn);
        // Only now: until the log is empty, whoever replays it must know.
        let cleared = lock(&self.lost).clear_retracted(&*self.disk, &self.staging.reserve);
        let unknown = cleared.map_err(|error| self.staging.note(error)).is_err();
        if torn || unknown {
            self.unflushed.store(true, Ordering::Release);
        }
    }

    /// The checkpoint under way, if there is one, failed: the next one does it all again. For who opens the records anew.
    pub(crate) fn abandon_checkpoint(&self, writer: &mut Writer) {
        if writer.checkpoint.take().is_some() {
            self.unflushed.store(true, Ordering::Release);
            self.checkpointing.store(false, Ordering::Release);
            lock(&self.lost).restore();
        }
    }

    /// Lets the log go on in its other half, if that is free.
    fn turn_log(&self, writer: &mut Writer) {
        let sequence = writer.sequence;
        let Some(log) = &mut writer.log else { return };
        if let Err(error) = log.turn(sequence) {
            self.staging.note(error);
        }
        self.log_len.store(log.len(), Ordering::Relaxed);
        self.log_steps.store(log.steps(), Ordering::Relaxed);
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
