//! Which finished uploads are to be put into one file, and how far each is.
//!
//! That is done where it frees as many bytes as it writes: no other upload refers to the old files, and none of their
//! bytes is named twice. A final whose parts are still there stays as it is until they are gone, in a table of its own
//! under one of the files that it shares. So requests cost the disk what they bring, and no multiple of it. The copying
//! itself is in `maintenance/consolidate.rs`.

use std::collections::BTreeMap;

use redb::{ReadableTable, ReadableTableMetadata};
use tus_proto::{Completion, UploadId};

use crate::{
    error::Error,
    files::file_id::{Extent, FileId},
    records::{
        copy::{CopyProgress, CopyState},
        database::{FRAGMENTED, SHARING},
        record::Row,
    },
    tables::{Outcome, Tables, changed, unchanged},
};

impl Tables<'_> {
    /// Notes that an upload, which is complete from now on, is to be put into one file, if it isn't in one; also if it
    /// lies in the records, where hooks are told of files.
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
    /// would not free it. Returns whether that was noted. It is not if some of the upload lies in the records, and
    /// hooks are told of files.
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
