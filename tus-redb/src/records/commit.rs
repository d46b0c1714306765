//! Committing groups of changes.

#![allow(clippy::result_large_err, reason = "a step, which is the other variant, is as large")]

use std::sync::atomic::Ordering;

use redb::{Database, WriteTransaction};
use tus_driver::FirstBytes;
use tus_proto::{Completion, Concat, Failure, Fence, Record, UploadId};

use crate::{
    disk::Disk,
    error::Error,
    files::{FileId, sink::Syncer},
    maintenance::consolidate::{Consolidation, CopyState},
    records::{
        apply::{Effects, Keeps, Step, Tables},
        change::Change,
        concat::Concatenation,
        database,
        log::{self, Contents, Log, Salvaged},
        overlay::Overlay,
        record::{Bytes, Part, Row},
    },
    store::{Durability, Options, Store, Writer, lock},
};

/// What became of a change, and the uploads whose events it put into the outbox.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) completion: Completion,
    pub(crate) events: Vec<UploadId>,
}

impl From<Completion> for Done {
    fn from(completion: Completion) -> Self {
        Self { completion, events: Vec::new() }
    }
}

/// A group whose changes were tried, and which of them are to be committed.
struct Prepared {
    /// Whether earlier groups are in the same transaction.
    goes_on: bool,
    completions: Vec<Done>,
    /// By the indices of their completions.
    steps: Vec<(usize, Step)>,
    effects: Effects,
}

/// A checkpoint is not put off when a half of the log holds more changes than this, as replaying them takes time,
pub(crate) const STEPS_LIMIT: usize = 16 << 10;
/// nor, where the reserve is not twice as large as the records' cache, when it is longer than this part of the reserve.
/// If the disk is full then, the reserve must take in what the flush writes: that is what redb buffers, at most as much
/// as the cache may hold. Groups touch few pages each, and most of them the same ones.
const LOG_PART: u64 = 4;
/// Nor when this many files are open because they await it.
pub(crate) const DIRTY_LIMIT: usize = 256;

impl Store {
    /// Carries out a group of changes in one transaction, and tells what became of each, in their order. One
    /// that is rejected does not hinder the others. What completes well has the durability the store was
    /// opened with. Blocks on the disk.
    pub fn commit(&self, group: &[Change]) -> Vec<Completion> {
        self.commit_with_events(group).into_iter().map(|done| done.completion).collect()
    }

    /// The same, with the uploads whose events each change put into the outbox.
    pub(crate) fn commit_with_events(&self, group: &[Change]) -> Vec<Done> {
        let mut writer = lock(&self.writer);
        match self.try_commit(&mut writer, group) {
            Ok(done) => done,
            Err(failure) => group.iter().map(|_| Completion::Failed(failure).into()).collect(),
        }
    }

    fn try_commit(&self, writer: &mut Writer, group: &[Change]) -> Result<Vec<Done>, Failure> {
        if let Some(wait) = self.needs_room(writer)
            && let Err(failure) = self.make_room(writer, wait)
            && writer.log.as_ref().is_none_or(|log| log.is_torn() || log.len() > 2 * self.half_limit())
        {
            return Err(failure);
        }
        let named = self.options.durability == Durability::Eventual
            || self.staging.files.sync_names().map_err(|error| self.staging.note(error)).is_ok();
        let mut database = self.open_database(writer)?;
        let mut tried = self.prepare(writer, &database, group, named);
        if let Err(trouble) = tried {
            // Nothing is done yet, and the trouble may be an old one: redb keeps to it until it is reopened.
            self.staging.note(trouble);
            drop(database);
            database = self.reopen(writer)?;
            tried = self.prepare(writer, &database, group, named);
        }
        let (txn, prepared) = match tried {
            Ok(tried) => tried,
            Err(trouble) => {
                return Err(self.give_up(writer, database, trouble));
            }
        };
        drop(database);
        let Prepared { goes_on, mut completions, steps, effects } = prepared;
        let finals = effects.finals;
        if steps.is_empty() {
            writer.batch = goes_on.then_some(txn);
            return Ok(completions);
        }
        let first = steps.first().map_or(0, |(index, _)| *index);
        let steps: Vec<Step> = steps.into_iter().map(|(_, step)| step).collect();
        self.charge_records(&steps);
        if let Err(failure) = self.conclude(writer, txn, goes_on, &steps, effects) {
            // A change that was rejected after the first of them may have been told of what that one would have made.
            completions.iter_mut().skip(first).for_each(|done| *done = Completion::Failed(failure).into());
        } else {
            self.finals_finished.fetch_add(finals, Ordering::Relaxed);
        }
        Ok(completions)
    }

    /// Whether the next group can't wait for who calls [`Self::flush`]; if so, whether it needs the end of the checkpoint, and
    /// not only the other half of the log. On a full disk it does: what a group gives up is used again only after a flush,
    /// and the log has the space that it has.
    fn needs_room(&self, writer: &Writer) -> Option<bool> {
        let log = writer.log.as_ref()?;
        let wait =
            log.is_torn() || self.staging.has_dirty(DIRTY_LIMIT, 1) || !self.staging.reserve.is_set_aside();
        let full = log.len() > self.half_limit() || log.steps() > STEPS_LIMIT;
        (wait || full).then_some(wait)
    }

    fn make_room(&self, writer: &mut Writer, wait: bool) -> Result<(), Failure> {
        if wait { self.flush_held(writer) } else { self.begin_checkpoint(writer) }
    }

    /// How long a half of the log may become, in bytes.
    pub(crate) fn half_limit(&self) -> u64 {
        let Options { reserve_bytes: reserve, cache_bytes: cache, log_bytes: most, .. } = self.options;
        let most =
            if reserve / 2 >= cache as u64 { most } else { most.min((reserve / LOG_PART).max(64 << 10)) };
        most / 2
    }

    /// Tries each change in a transaction, and leaves it open.
    fn prepare(
        &self,
        writer: &mut Writer,
        database: &Database,
        group: &[Change],
        named: bool,
    ) -> Result<(WriteTransaction, Prepared), Error> {
        let batch = writer.batch.take();
        let goes_on = batch.is_some();
        let txn = match batch {
            Some(txn) => txn,
            None => database::begin_volatile(database)?,
        };
        let mut tables = Tables::open(&txn, self.keeps())?;
        tables.block = writer.block;
        tables.effects.overlay = Some(Overlay::default());
        let (completions, steps) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        let mut prepared = Prepared { goes_on, completions, steps, effects: Effects::default() };
        for (index, change) in group.iter().enumerate() {
            let completion = match self.admit(&tables, change, named)? {
                Err(refusal) => refusal,
                Ok(step) => match tables.apply(&step) {
                    Ok(outcome) => {
                        if outcome.changed {
                            prepared.steps.push((index, step));
                        }
                        outcome.completion
                    }
                    Err(trouble) if trouble.damaged => Completion::Failed(self.staging.note(trouble)),
                    Err(trouble) => return Err(trouble),
                },
            };
            let events = std::mem::take(&mut tables.effects.events);
            prepared.completions.push(Done { completion, events });
        }
        prepared.effects = std::mem::take(&mut tables.effects);
        prepared.effects.block = tables.block;
        drop(tables);
        Ok((txn, prepared))
    }

    /// Checks what only the running store knows of a change.
    fn admit(
        &self,
        tables: &Tables<'_>,
        change: &Change,
        named: bool,
    ) -> Result<Result<Step, Completion>, Error> {
        let (id, fence) = match change {
            Change::Create(record) => return Ok(self.admit_create(record, None)),
            Change::CreateWith { record, first } => return Ok(self.admit_create(record, Some(first))),
            Change::Concat { record, parts, max, delete_parts } => {
                return Ok(self.admit_concat(record, parts, *max, *delete_parts));
            }
            Change::Forget { id } => return Ok(Ok(Step::Forget { id: id.clone() })),
            Change::Consolidate(copy) => return Ok(self.admit_consolidation(copy)),
            Change::Digest(found) => return Ok(Ok(found.step())),
            Change::Annotate { id, number, note } => {
                return Ok(Ok(Step::Annotate { id: id.clone(), number: *number, note: note.clone() }));
            }
            Change::Consume { id } => return Ok(Ok(Step::Consume { id: id.clone() })),
            Change::Acknowledge { id, number } => {
                return Ok(Ok(Step::Acknowledge { id: Some(id.clone()), number: *number }));
            }
            Change::Postpone { id, number, until } => {
                return Ok(Ok(Step::Postpone { id: id.clone(), number: *number, until: *until }));
            }
            // Its fence is above any: it is the time that decides.
            Change::Expire { id, .. } => (id.clone(), Fence(u64::MAX)),
            Change::Commit { id, fence, .. }
            | Change::NewExtent { id, fence, .. }
            | Change::Delete { id, fence } => (id.clone(), *fence),
        };
        let row = match tables.row(&id) {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Err(Completion::Missing)),
            Err(trouble) if trouble.damaged => {
                return Ok(Err(Completion::Failed(self.staging.note(trouble))));
            }
            Err(trouble) => return Err(trouble),
        };
        let conflict = Ok(Err(Completion::Conflict { offset: row.offset() }));
        if fence < mutation!("fence-ignored", self.staging.highest_fence(&id), Fence(0)) {
            return conflict;
        }
        Ok(match change {
            Change::Commit { from, to, length, expires, finish, syncer, .. } => {
                if *finish && row.length.or(*length) != Some(*to) {
                    return conflict;
                }
                let (from, to, length, expires) = (*from, *to, *length, *expires);
                // It means nothing for an upload that its length completes.
                let finish = *finish && row.explicit.is_some();
                let inline = match to > from {
                    true => check_staged(tables, &row, to, syncer.as_ref(), named)?,
                    false => Ok(None),
                };
                inline.map(|inline| Step::Commit { id, fence, from, to, length, expires, finish, inline })
            }
            // Nothing expires while it is written to.
            Change::Expire { .. } if self.is_written(&id, &row) => return conflict,
            Change::Expire { before, remember, .. } => {
                Ok(Step::Expire { id, before: *before, remember: *remember })
            }
            Change::NewExtent { at, .. } => {
                self.new_file().map(|file| Step::NewExtent { id, fence, at: *at, file })
            }
            _ => Ok(Step::Delete { id, fence }),
        })
    }

    fn admit_create(&self, record: &Record, first: Option<&FirstBytes>) -> Result<Step, Completion> {
        let partial = record.is_partial();
        let Record { id, created, length, metadata, expires, explicit, .. } = record.clone();
        let file = self.new_file()?;
        let file = (length != Some(0)).then_some(file);
        let inline = first.map(|first| first.as_slice().to_vec());
        if first.is_some_and(|first| length.is_some_and(|length| first.len() > length)) {
            return Err(Completion::Failed(Failure::Io));
        }
        Ok(Step::Create { id, created, length, metadata, expires, partial, file, explicit, inline })
    }

    fn admit_concat(
        &self,
        record: &Record,
        parts: &[UploadId],
        max: Option<u64>,
        delete_parts: bool,
    ) -> Result<Step, Completion> {
        if !self.staging.reserve.remake() {
            return Err(Completion::Failed(Failure::NoSpace));
        }
        let Record { id, created, metadata, expires, concat, .. } = record.clone();
        let header = match concat {
            Some(Concat::Final(header)) => header,
            Some(Concat::Partial) | None => String::new(),
        };
        let (parts, max_waiting) = (parts.to_vec(), self.options.max_waiting as u64);
        let wanted =
            Concatenation { id, created, metadata, header, expires, parts, max, delete_parts, max_waiting };
        Ok(Step::Concat(wanted))
    }

    /// Whether somebody is writing to an upload, or to a part that it waits for.
    pub(crate) fn is_written(&self, id: &UploadId, row: &Row) -> bool {
        let awaited =
            |part: &Part| matches!(part.bytes, Bytes::Awaited(_)) && self.staging.is_written(&part.id);
        self.staging.is_written(id) || row.pending().is_some_and(|pending| pending.parts.iter().any(awaited))
    }

    fn admit_consolidation(&self, Consolidation { id, state }: &Consolidation) -> Result<Step, Completion> {
        let state = state.map_or_else(|| self.new_file().map(CopyState::Begun), Ok)?;
        Ok(Step::Consolidation { id: id.clone(), state })
    }

    /// The id of a new data file, where there is room for more than commits and deletes.
    pub(crate) fn new_file(&self) -> Result<FileId, Completion> {
        if !self.staging.reserve.remake() {
            return Err(Completion::Failed(Failure::NoSpace));
        }
        self.staging.files.new_id().ok_or(Completion::Failed(Failure::Unavailable))
    }

    /// Makes a tried group true: it is once it is in the log.
    fn conclude(
        &self,
        writer: &mut Writer,
        txn: WriteTransaction,
        goes_on: bool,
        steps: &[Step],
        mut effects: Effects,
    ) -> Result<(), Failure> {
        let sequence = writer.sequence + 1;
        let Some(log) = &mut writer.log else { return Err(Failure::Unavailable) };
        // A flush must come whatever follows: also one that fails may leave something in the log.
        self.unflushed.store(true, Ordering::Release);
        if let Err(error) = log.append(sequence, self.keeps(), steps) {
            let (failure, torn) = (self.staging.note(error), log.is_torn());
            drop(txn);
            if mutation!("batch-dropped", goes_on || torn, false) {
                // The groups before it are in the log; it may be there too.
                self.reopen(writer)?;
            }
            // With strict durability its number is used up.
            let is_there = writer.sequence == sequence && self.options.durability == Durability::Eventual;
            return if is_there { Ok(()) } else { Err(failure) };
        }
        self.log_len.store(log.len(), Ordering::Relaxed);
        self.log_steps.store(log.steps(), Ordering::Relaxed);
        writer.sequence = sequence;
        writer.block = effects.block;
        self.staging.clear_uncommitted(effects.grown.iter().map(|(file, ..)| *file));
        let overlay = effects.overlay.take().unwrap_or_default();
        match self.options.durability {
            Durability::Strict => {
                writer.spilled.extend(std::mem::take(&mut effects.spilled));
                self.tell_what_is_left(&effects);
            }
            Durability::Eventual => {
                self.look_for_undigested(&effects);
                writer.remember(effects);
            }
        }
        if let Err(trouble) = self.go_on(writer, txn, overlay) {
            self.staging.note(trouble);
            self.reopen(writer)?;
        }
        Ok(())
    }

    /// Makes a transaction durable, of a store whose records are all committed.
    pub(crate) fn conclude_durably(
        &self,
        writer: &mut Writer,
        txn: WriteTransaction,
        effects: &Effects,
    ) -> Result<(), Failure> {
        let sequence = writer.sequence + 1;
        let concluded = self.note_time(&txn).and_then(|time| {
            database::set_sequence(&txn, sequence)?;
            txn.commit()?;
            Ok(time)
        });
        if let Err(trouble) = concluded.map(|time| self.noted_time.store(time, Ordering::Relaxed)) {
            let failure = self.staging.note(trouble);
            self.reopen(writer)?;
            // It may have happened all the same: only the answer was lost.
            return if writer.sequence == sequence { Ok(()) } else { Err(failure) };
        }
        self.renew_view();
        writer.sequence = sequence;
        writer.block = effects.block;
        self.staging.clear_uncommitted(effects.grown.iter().map(|(file, ..)| *file));
        self.tell_what_is_left(effects);
        Ok(())
    }

    /// No power cut takes this back: files may be removed, and uploads be put into one.
    fn tell_what_is_left(&self, effects: &Effects) {
        if !effects.pending_unlink.is_empty() {
            self.staging.reclaimable.store(true, Ordering::Release);
        }
        if effects.fragmented {
            self.fragmented.store(true, Ordering::Release);
        }
        self.look_for_undigested(effects);
    }

    fn look_for_undigested(&self, effects: &Effects) {
        if effects.undigested {
            self.undigested.store(true, Ordering::Release);
        }
    }
}

/// Whether the bytes up to `to` are where the record wants them, and as durable as they must be. Hands out those
/// that are to lie in the records.
fn check_staged(
    tables: &Tables<'_>,
    row: &Row,
    to: u64,
    syncer: Option<&Syncer>,
    named: bool,
) -> Result<Result<Option<Vec<u8>>, Completion>, Error> {
    let failed = Ok(Err(Completion::Failed(Failure::Io)));
    let Some((lease, last)) = syncer.map(|syncer| &syncer.lease).zip(row.extents.last()) else {
        return failed;
    };
    let same_file = lease.extent.is_some_and(|extent| extent.file == last.file);
    if !same_file || mutation!("offset-not-compared", lease.start + last.len != row.offset(), false) {
        return Ok(Err(Completion::Conflict { offset: row.offset() }));
    }
    if lease.committable().is_none_or(|synced| to > synced) {
        return failed;
    }
    let inline = lease.inline_up_to(to);
    let first_in_the_file = inline.is_none() && (last.len == 0 || tables.is_inline(*last)?);
    if first_in_the_file && !named { failed } else { Ok(Ok(inline)) }
}

impl Writer {
    /// Brings the records to where the log is, and tells whether that added something. If so, it is as durable as it was
    /// before.
    pub(crate) fn replay(&mut self, disk: &dyn Disk, database: &Database) -> Result<bool, Error> {
        self.replay_contents(log::read(disk)?, database)
    }

    /// The same with what is left of a damaged log, up to the first group that is missing.
    pub(crate) fn salvage(&mut self, disk: &dyn Disk, database: &Database) -> Result<Salvaged, Error> {
        let txn = database::begin_volatile(database)?;
        let sequence = database::sequence(&txn)?;
        txn.abort()?;
        let mut contents = log::read(disk)?;
        let salvaged = contents.salvage(sequence);
        self.replay_contents(contents, database)?;
        Ok(salvaged)
    }

    fn replay_contents(&mut self, contents: Contents, database: &Database) -> Result<bool, Error> {
        let txn = database::begin_volatile(database)?;
        self.sequence = database::sequence(&txn)?;
        self.grown.clear();
        self.spilled.clear();
        self.pending_unlink.clear();
        let durable = self.sequence;
        if !contents.continues(durable) {
            return Err(Error::damaged("groups are missing between the records and the log"));
        }
        let mut tables = Tables::open(&txn, Keeps::default())?;
        let most = self.log.as_ref().and_then(Log::synced_before_failure).unwrap_or(u64::MAX);
        for group in contents.groups.iter().filter(|group| (durable + 1..=most).contains(&group.sequence)) {
            tables.keeps = group.keeps;
            for step in &group.steps {
                tables.apply(step)?;
            }
            self.sequence = group.sequence;
        }
        let mut effects = std::mem::take(&mut tables.effects);
        drop(tables);
        if self.sequence == durable {
            txn.abort()?;
            return Ok(false);
        }
        if contents.strict {
            // Their bytes were durable before them.
            effects.grown.clear();
        }
        self.remember(effects);
        database::set_sequence(&txn, self.sequence)?;
        txn.commit()?;
        Ok(true)
    }

    /// With strict durability, after a write or a sync of the log that failed: whether its last group is on the disk is not
    /// known. It has failed: what was acknowledged before it is made durable, its number is used up, and a new epoch begins.
    /// Before that nothing is shown.
    pub(crate) fn end_torn_log(&mut self, database: &Database) -> Result<(), Error> {
        let Some(log) = self.log.as_mut().filter(|log| log.synced_before_failure().is_some()) else {
            return Ok(());
        };
        let sequence = log.tried().max(self.sequence);
        let txn = database::begin_durable(database)?;
        // What the log tells of them goes with it.
        Tables::open(&txn, Keeps::default())?.drop_inline(std::mem::take(&mut self.spilled))?;
        database::set_sequence(&txn, sequence)?;
        txn.commit()?;
        self.sequence = sequence;
        log.cover(sequence);
        Ok(log.turn(sequence)?)
    }
}
