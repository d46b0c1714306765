//! Putting finished uploads into one file: whoever consumes one then finds one path.
//!
//! That is done where it frees as many bytes as it writes: no other upload refers to the old files, and none of their
//! bytes is named twice. A final whose parts are still there stays as it is until they are gone, in a table of its own
//! under one of the files that it shares. So requests cost the disk what they bring, and no multiple of it.
//!
//! An upload that is complete in more than one file stands in a table of its own until it is in one. Its bytes are
//! copied beside everything else, a bounded number at a time. How many were copied is recorded when they are durable,
//! so that a crash costs one call's work. Then one transaction puts the new file in place of the old ones, which are
//! reclaimed as those of deleted uploads are. As each file has its row before it is made, a crash leaves nothing
//! behind, and an upload that goes takes its half of a copy along.

use std::{collections::BTreeMap, ops::Bound, sync::atomic::Ordering};

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};
use tus_proto::{Completion, Failure, UploadId};

use crate::{
    disk::write_all,
    error::{Error, Rejected},
    files::{
        FileId,
        source::{FileRange, Held, Source},
    },
    records::{
        apply::{Outcome, Tables, changed, unchanged},
        change::Change,
        database::{FRAGMENTED, SHARING, UPLOADS},
        record::{Extent, Row},
    },
    store::{Store, Writer, lock},
};

/// How far an upload is in being put into one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyProgress {
    /// The new file.
    pub(crate) file: FileId,
    /// How many bytes of it are durable.
    pub(crate) copied: u64,
}

/// A step of [`Store::consolidate`], which alone makes them. Completes as `Committed` with the upload's offset, or as
/// `Missing` where the upload is gone, or is not to be put into that file any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consolidation {
    pub(crate) id: UploadId,
    /// None to begin.
    pub(crate) state: Option<CopyState>,
}

/// What is to be recorded of a copy. All but its beginning change nothing where it is not that copy any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyState {
    /// It begins, in a new file.
    Begun(FileId),
    /// So much of it is durable.
    Copied(CopyProgress),
    /// All of it is: it takes the place of the old files.
    Whole(FileId),
    /// It will not be completed. Another may begin later.
    GivenUp(FileId),
}

/// An upload that is to be put into one file.
struct Task {
    id: UploadId,
    progress: Option<CopyProgress>,
    /// How long it is, in bytes.
    len: u64,
}

/// Why an upload is not put into one file now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// How much space was free when it did not fit in spite of what the disk had said: a quota, for example.
    free: Option<u64>,
    /// How many passes over all uploads it rests, unless its length has become free since.
    rest: u32,
    /// How many it rests after the next failure.
    next_rest: u32,
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

    /// The same for who looks within a call of the store's.
    pub(crate) fn awaits_one_file(&self, id: &UploadId) -> Result<bool, Error> {
        let may_be = self.options.consolidate && !lock(&self.backoffs).contains_key(id);
        Ok(may_be && lock(&self.live).fragmented(id)?.is_some())
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
            Err(Rejected::Gone) if self.staging.was_gone(&id) => {
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

impl Tables<'_> {
    /// Notes that an upload, which is complete from now on, is to be put into one file, if it isn't: also where it lies
    /// in the records, if whoever is told of it is told of its files.
    pub(crate) fn scatter(&mut self, id: &UploadId, row: &Row) -> Result<(), Error> {
        if !self.keeps.fragmented || !row.is_complete() || repeats(row) {
            return Ok(());
        }
        let is_wanted = is_fragmented(row) || (self.keeps.events.completed && self.is_partly_inline(row)?);
        if !is_wanted || self.park(id, row)? {
            return Ok(());
        }
        self.txn.open_table(FRAGMENTED)?.insert(id.as_str(), None)?;
        self.note_more();
        self.effects.fragmented = true;
        Ok(())
    }

    /// Notes that an upload is to be put into one file later, where it shares one with another upload now: the copy
    /// would not free it. Returns whether it does. Not so where some of it lies in the records, and whoever is told of it
    /// is told of its files.
    fn park(&mut self, id: &UploadId, row: &Row) -> Result<bool, Error> {
        // Parts lie in the records only where they were sent before anybody asked for files, and are small.
        if self.keeps.events.completed && self.is_partly_inline(row)? {
            return Ok(false);
        }
        for (file, own) in own_references(row) {
            let count = self.files.get(file.0)?.map_or(0, |count| count.value());
            if count > own {
                self.txn.open_table(SHARING)?.insert((file.0, own, id.as_str()), ())?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A file has `count` references from now on: an upload that waited to be its only owner may be.
    pub(crate) fn unpark(&mut self, file: FileId, count: u32) -> Result<(), Error> {
        if !self.keeps.fragmented {
            return Ok(());
        }
        let mut ids = Vec::new();
        let mut table = self.txn.open_table(SHARING)?;
        for entry in table.range((file.0, count, "")..)? {
            let (key, _) = entry?;
            let (of, own, id) = key.value();
            if (of, own) != (file.0, count) {
                break;
            }
            ids.extend(UploadId::new(id));
        }
        for id in &ids {
            table.remove((file.0, count, id.as_str()))?;
        }
        drop(table);
        for id in ids {
            if let Some(row) = self.row_of_another(&id)? {
                self.scatter(&id, &row)?;
            }
        }
        Ok(())
    }

    /// An upload goes, or is not complete any more: so does what was copied of it.
    pub(crate) fn abandon(&mut self, id: &UploadId, row: &Row) -> Result<(), Error> {
        if !row.is_complete() {
            return Ok(());
        }
        let mut sharing = self.txn.open_table(SHARING)?;
        if row.is_final() && !sharing.is_empty()? {
            for (file, own) in own_references(row) {
                sharing.remove((file.0, own, id.as_str()))?;
            }
        }
        drop(sharing);
        let progress = self.txn.open_table(FRAGMENTED)?.remove(id.as_str())?.and_then(|entry| entry.value());
        progress.map_or(Ok(()), |progress| self.release(CopyProgress::from(progress).file))
    }

    pub(crate) fn record_copy(&mut self, id: &UploadId, state: CopyState) -> Result<Outcome, Error> {
        self.note_more();
        let row = self.row(id)?;
        let missing = Ok(unchanged(Completion::Missing));
        let mut table = self.txn.open_table(FRAGMENTED)?;
        let entry = table.get(id.as_str())?.map(|entry| entry.value().map(CopyProgress::from));
        let (Some(mut row), Some(progress)) = (row, entry) else { return missing };
        match (state, progress) {
            (CopyState::Begun(file), None) => {
                table.remove(id.as_str())?;
                // An earlier version noted uploads whose copy frees nothing, too.
                if !repeats(&row) && !self.park(id, &row)? {
                    table.insert(id.as_str(), Some((file.0, 0)))?;
                    drop(table);
                    self.add_file(file)?;
                }
            }
            (CopyState::Copied(now), Some(before)) if now.file == before.file => {
                table.insert(id.as_str(), Some((now.file.0, now.copied)))?;
            }
            (CopyState::Whole(file), Some(before)) if file == before.file => {
                table.remove(id.as_str())?;
                drop(table);
                let len = row.offset();
                for extent in std::mem::replace(&mut row.extents, vec![Extent { file, len }]) {
                    self.release(extent.file)?;
                }
                self.put(id, row.expires, &row)?;
            }
            (CopyState::GivenUp(file), Some(before)) if file == before.file => {
                table.insert(id.as_str(), None)?;
                drop(table);
                self.release(file)?;
            }
            _ => return missing,
        }
        Ok(changed(Completion::Committed { offset: row.offset() }))
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

impl From<(u64, u64)> for CopyProgress {
    fn from((file, copied): (u64, u64)) -> Self {
        Self { file: FileId(file), copied }
    }
}

/// Whether the bytes of a finished upload lie in several files, and none of them is in it twice.
pub(crate) fn is_fragmented(row: &Row) -> bool {
    let extents = row.extents.iter().filter(|extent| extent.len > 0).count();
    extents > 1 && row.is_complete() && !repeats(row)
}

/// Whether an upload is longer than what is stored of it: a request that names a large part a thousand times must not
/// fill the disk.
fn repeats(row: &Row) -> bool {
    let mut stored = BTreeMap::new();
    for extent in &row.extents {
        let len: &mut u64 = stored.entry(extent.file).or_default();
        *len = extent.len.max(*len);
    }
    row.offset() > stored.values().sum()
}

/// How often an upload refers to each of its files.
fn own_references(row: &Row) -> BTreeMap<FileId, u32> {
    let mut own = BTreeMap::new();
    for extent in &row.extents {
        *own.entry(extent.file).or_default() += 1;
    }
    own
}
