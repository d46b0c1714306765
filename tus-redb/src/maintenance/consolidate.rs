//! Putting finished uploads into one file, so that each has one path. Which uploads those are is in
//! `tables/consolidation.rs`.
//!
//! An upload that is complete in more than one file stands in a table of its own until it is in one. Its bytes are
//! copied concurrently with everything else, a bounded number at a time. How many were copied is recorded when they are durable,
//! so that a crash costs one call's work. Then one transaction puts the new file in place of the old ones, which are
//! reclaimed as those of deleted uploads are. As each file has its row before it is made, a crash leaves no
//! orphan, and removing an upload removes its unfinished copy.

use std::{ops::Bound, sync::atomic::Ordering};

use redb::ReadableDatabase;
use tus_proto::{Completion, Failure, UploadId};

use crate::{
    disk::write_all,
    error::{Error, Rejected},
    mutex::lock,
    records::{
        copy::{CopyProgress, CopyState},
        database::{FRAGMENTED, UPLOADS},
        record::Row,
    },
    store::{
        Store, Writer,
        change::{Change, Consolidation},
        progress::Backoff,
        source::{FileRange, Held, Source},
    },
};

/// An upload that is to be put into one file.
struct Task {
    id: UploadId,
    progress: Option<CopyProgress>,
    /// How long it is, in bytes.
    len: u64,
}

/// The longest rest, in passes: a server makes one a minute.
const LONGEST_REST: u32 = 512;

impl Store {
    /// Whether [`Self::consolidate`] may find something.
    pub fn needs_consolidation(&self) -> bool {
        self.fragmented.load(Ordering::Acquire)
    }

    /// Whether an upload is to be put into one file, and is not yet; not where that was tried and failed, though it
    /// is tried again. As cheap as [`Self::load`].
    pub fn awaits_consolidation(&self, id: &UploadId) -> Result<bool, Failure> {
        self.awaits_one_file(id).map_err(|trouble| self.staging.note(trouble))
    }

    fn is_fragmented(&self, id: &UploadId) -> Result<bool, Failure> {
        let entry = lock(&self.live).fragmented(id).map_err(|trouble| self.staging.note(trouble))?;
        Ok(entry.is_some())
    }

    /// Goes on putting one finished upload, which lies in several files, into one: moves at most `budget` bytes of
    /// it, and at least one; the file system may share them instead. Returns whether there is more to be done at once.
    /// All such uploads get their turn, one call each. With eventual durability they are taken up when they were
    /// flushed. Works beside everything else; blocks on the disk.
    ///
    /// # Errors
    /// The disk's: it has no space for the whole upload and a margin, or fails. What was copied of that upload is given
    /// up, and the next call goes on with another one. After [`Failure::NoSpace`] nothing is written for it before so
    /// much space is free. Whoever calls in a loop waits after an error: a minute, say.
    pub fn consolidate(&self, budget: u64) -> Result<bool, Failure> {
        if !self.options.consolidate {
            return Ok(false);
        }
        let mut last = lock(&self.last_task);
        // Before the look, so that what is completed from now on is seen by the next.
        self.fragmented.store(false, Ordering::Release);
        let task = match self.next_task(last.as_ref())? {
            Some(task) => task,
            None => {
                let task = if last.take().is_some() { self.next_task(None)? } else { None };
                match task {
                    Some(task) => task,
                    None if self.is_waiting() => {
                        self.fragmented.store(true, Ordering::Release);
                        return Err(Failure::NoSpace);
                    }
                    None => return Ok(false),
                }
            }
        };
        self.fragmented.store(true, Ordering::Release);
        *last = Some(task.id.clone());
        self.go_on_copying(task, budget)?;
        Ok(true)
    }

    /// At the end of a pass: whether uploads wait for space. Their rest is shorter by this pass.
    fn is_waiting(&self) -> bool {
        let mut backoffs = lock(&self.backoffs);
        backoffs.values_mut().for_each(|backoff| backoff.rest = backoff.rest.saturating_sub(1));
        backoffs.retain(|id, _| self.is_fragmented(id).unwrap_or(true));
        !backoffs.is_empty()
    }

    /// Whether the disk has space for `len` bytes more, and a margin for uploads, which must not fail because of a copy.
    /// If so, an upload that was put off may be tried again.
    fn has_space(&self, len: u64, backoff: Option<Backoff>) -> bool {
        let Some(free) = self.disk.free() else { return true };
        let margin = self.options.reserve_bytes.saturating_mul(4).saturating_add(len / 8);
        let fits = |free_before: u64, needed: u64| free >= free_before.saturating_add(needed);
        fits(len, margin)
            && backoff.is_none_or(|Backoff { free: before, rest, .. }| {
                rest == 0 || before.is_none_or(|before| fits(before, len))
            })
    }

    /// The first upload after `after` that can be put into one file.
    fn next_task(&self, after: Option<&UploadId>) -> Result<Option<Task>, Failure> {
        let backoffs = lock(&self.backoffs).clone();
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        let read = || {
            let txn = database.begin_read()?;
            let (table, rows) = (txn.open_table(FRAGMENTED)?, txn.open_table(UPLOADS)?);
            let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_str()));
            for entry in table.range::<&str>((start, Bound::Unbounded))? {
                let (key, value) = entry?;
                let id = UploadId::new(key.value()).ok_or_else(|| Error::damaged("an upload's id"))?;
                let row = rows.get(key.value())?.and_then(|row| Row::decode(row.value()));
                let Some(row) = row.filter(|row| writer.is_settled(row)) else { continue };
                let (progress, len) = (value.value().map(CopyProgress::from), row.offset());
                // A copy that has begun has its space: what is free now is what it has left to others.
                if progress.is_some()
                    || backoffs.get(&id).is_none_or(|backoff| self.has_space(len, Some(*backoff)))
                {
                    return Ok(Some(Task { id, progress, len }));
                }
            }
            Ok(None)
        };
        let found = read();
        found.map_err(|trouble| self.give_up(&mut writer, database, trouble))
    }

    fn go_on_copying(&self, Task { id, progress, len }: Task, budget: u64) -> Result<(), Failure> {
        let progress = match progress {
            Some(progress) => progress,
            None if !self.has_space(len, None) => {
                self.back_off(id, None);
                return Err(self.staging.note(no_space(len)));
            }
            None => {
                self.record(&id, None)?;
                let Some(progress) = self.progress(&id)? else { return Ok(()) };
                progress
            }
        };
        let _held = Held::new(&self.staging, vec![progress.file]);
        let mut source = match self.open_source(&id) {
            Ok(source) => source,
            Err(Rejected::Failed(failure)) => return Err(failure),
            Err(Rejected::Lost(_)) => {
                self.back_off(id, None);
                return Err(Failure::Io);
            }
            Err(_) => return Ok(()),
        };
        // From here on neither the old files nor the new one can be reclaimed. If the upload still awaits the same
        // copy now, they were not before, and the source is of the same upload.
        if self.progress(&id)? != Some(progress) {
            return Ok(());
        }
        let whole = source.record().offset;
        let state = match self.copy_on(&mut source, progress, whole, budget) {
            Ok(copied) if copied == whole => CopyState::Whole(progress.file),
            Ok(copied) => CopyState::Copied(CopyProgress { copied, ..progress }),
            Err(failure) => {
                // What is told is the first failure.
                let _ = self.record(&id, Some(CopyState::GivenUp(progress.file)));
                let free = self.disk.free().filter(|_| failure == Failure::NoSpace);
                self.back_off(id, free);
                return Err(failure);
            }
        };
        self.record(&id, Some(state))
    }

    /// Notes that a copy failed. What is in one file by now, or gone, is forgotten.
    fn back_off(&self, id: UploadId, free: Option<u64>) {
        let mut backoffs = lock(&self.backoffs);
        backoffs.retain(|id, _| self.is_fragmented(id).unwrap_or(true));
        let rest = backoffs.get(&id).map_or(0, |before| before.next_rest);
        let next_rest = (2 * rest + 1).min(LONGEST_REST);
        backoffs.insert(id, Backoff { free, rest, next_rest });
    }

    /// Copies more of an upload, and makes it durable; tells how much is.
    fn copy_on(
        &self,
        source: &mut Source,
        progress: CopyProgress,
        whole: u64,
        budget: u64,
    ) -> Result<u64, Failure> {
        if !self.staging.reserve.remake() {
            return Err(Failure::NoSpace);
        }
        let note = |error| self.staging.note(error);
        let files = &self.staging.files;
        let CopyProgress { file: id, copied } = progress;
        let file = if copied > 0 { files.open(id) } else { files.create(id) }.map_err(note)?;
        let there = file.len().map_err(note)?;
        if there < copied {
            return Err(self
                .staging
                .note(Error::damaged(&format!("{id:?} is shorter than what was copied"))));
        }
        // All of it is set aside before the first byte is copied, so that a copy is not begun in vain.
        if there < whole {
            if !self.has_space(whole - there, None) {
                return Err(self.staging.note(no_space(whole)));
            }
            file.claim(whole).map_err(note)?;
        }
        let until = copied.saturating_add(budget.max(1));
        let mut at = copied;
        while let Some(range) = source.range(at)?.filter(|_| at < until) {
            let n = match range {
                FileRange::File(from, position, len) => {
                    file.copy_from(from, position, at, len.min(until - at)).map_err(note)?
                }
                FileRange::Inline(bytes) => {
                    write_all(&*file, bytes, at).map_err(|(_, error)| note(error))?;
                    bytes.len() as u64
                }
            };
            if n == 0 {
                return Err(self.staging.note(Error::damaged("a data file is shorter than its record")));
            }
            at += n;
        }
        file.sync_data().map_err(note)?;
        files.sync_names().map_err(note)?;
        Ok(at)
    }

    fn record(&self, id: &UploadId, state: Option<CopyState>) -> Result<(), Failure> {
        match self.commit(&[Change::Consolidate(Consolidation { id: id.clone(), state })]).pop() {
            Some(Completion::Failed(failure)) => Err(failure),
            // Where nothing was changed, the upload is gone, and the new file with it.
            _ => Ok(()),
        }
    }

    fn progress(&self, id: &UploadId) -> Result<Option<CopyProgress>, Failure> {
        let entry = lock(&self.live).fragmented(id).map_err(|trouble| self.staging.note(trouble))?;
        Ok(entry.flatten())
    }
}

impl Writer {
    /// Whether no flush can take back bytes of an upload: they can't be lost between being copied and that.
    fn is_settled(&self, row: &Row) -> bool {
        row.extents.iter().all(|extent| !self.grown.contains_key(&extent.file))
    }
}

fn no_space(len: u64) -> Error {
    Error {
        failure: Failure::NoSpace,
        text: format!(
            "there is no space to put an upload of {len} bytes into one file: it waits until there is"
        ),
        damaged: false,
    }
}
