//! Committing groups of changes: each is tried in a transaction, and those that changed something take effect once they are in
//! the log.

use std::sync::atomic::Ordering;

use redb::{Database, WriteTransaction};
use tus_proto::{Completion, Failure, UploadId, WallTime};

use crate::{
    error::Error,
    mutex::lock,
    options::{Durability, Options},
    records::{database, overlay::Overlay},
    store::{Store, Writer, change::Change},
    tables::{Effects, Keeps, Tables, step::Step},
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

/// A checkpoint is not put off when a half of the log holds more changes than this, as replaying them takes time.
pub(crate) const STEPS_LIMIT: usize = 16 << 10;
/// Where the reserve is less than twice the records' cache, the log may be no longer than the reserve divided by this.
/// On a full disk the reserve must take what the flush writes: that is what redb buffers, at most as much as the cache
/// may hold. Groups touch few pages each, and most of them the same ones.
const LOG_PART: u64 = 4;
/// A checkpoint is not put off when this many files are open because they await it.
pub(crate) const DIRTY_LIMIT: usize = 256;

impl Store {
    /// Carries out a group of changes in one transaction, and returns what became of each, in their order. A rejected change
    /// does not affect the others. What completes well has the durability the store was opened with. Blocks on the disk.
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
        let named = match self.options.durability {
            Durability::Eventual => Ok(()),
            Durability::Strict => self.staging.files.sync_names().map_err(|error| self.staging.note(error)),
        };
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
            // A change that was rejected after the first of them may have been answered by what that one would have made.
            completions.iter_mut().skip(first).for_each(|done| *done = Completion::Failed(failure).into());
        } else {
            self.finals_finished.fetch_add(finals, Ordering::Relaxed);
        }
        Ok(completions)
    }

    /// `None` if the next group can be committed before a checkpoint. Else whether it needs the end of the checkpoint, and not
    /// only the other half of the log. On a full disk it does: what a group frees is used again only after a flush, and the
    /// log can't grow.
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

    pub(crate) fn keeps(&self) -> Keeps {
        let now = self.now.load(Ordering::Relaxed);
        let expiry = self.options.finished_expiry.filter(|_| now > 0);
        let finished_expire = expiry.map(|expiry| WallTime::from_micros(now).after(expiry).as_micros());
        let (fragmented, digests) = (self.options.consolidate, self.options.digests);
        Keeps { events: *lock(&self.events), fragmented, now, finished_expire, digests }
    }

    /// Tries each change in a transaction, and leaves it open.
    fn prepare(
        &self,
        writer: &mut Writer,
        database: &Database,
        group: &[Change],
        named: Result<(), Failure>,
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

    /// Commits a group whose changes were tried: it is committed once it is in the log.
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

    /// A group is committed. Where free space in the records' file stands in for the reserve, reduces it by what the group
    /// puts there.
    pub(crate) fn charge_records(&self, steps: &[Step]) {
        if self.staging.reserve.is_set_aside() {
            return;
        }
        let used: u64 = steps.iter().map(Step::record_bytes).map(most_in_pages).sum();
        self.staging.reserve.change_inside(|inside| inside.saturating_sub(used));
    }

    /// No power cut takes this back: files may be removed, and uploads be put into one.
    fn tell_what_is_left(&self, effects: &Effects) {
        if !effects.pending_unlink.is_empty() {
            mutation!("removed-not-unlinked", self.staging.reclaimable.store(true, Ordering::Release), ());
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

/// The most that a row of this length takes up: redb puts it into pages of a power of two, or several into one that may
/// be half full.
fn most_in_pages(len: u64) -> u64 {
    const PAGE: u64 = 4 << 10;
    if len < PAGE / 2 { 2 * len } else { (len + len / 16).next_power_of_two() }
}
