//! What the tables say of data files: how many references each has, and the bytes of small ones.
//!
//! One rule says where an extent's bytes are: in the records, where the entry under its file's id is at least as long as
//! the extent; else in the file. So a body that outgrows the limit is written to the file from its first byte on, and a
//! commit then says no more than that the extent is longer. Its entry goes when that can't be taken back any more: at
//! once with strict durability, with the next flush else. Reference counts, append leases and
//! pending unlinks go by the files' ids, and do not depend on this.

use redb::ReadableTable;
use tus_proto::UploadId;

use crate::{
    error::Error,
    files::file_id::{Extent, FileId},
    records::{database, record::Row},
    tables::Tables,
};

impl Tables<'_> {
    /// Adds a reference to a file that another upload refers to.
    pub(crate) fn share(&mut self, file: FileId, id: &UploadId) -> Result<(), Error> {
        let count = self.files.get(file.0)?.map_or(0, |count| count.value());
        self.files.insert(file.0, count + 1)?;
        self.effects.shared.push((file, id.clone()));
        Ok(())
    }

    /// Notes a new file, with one reference to it.
    pub(crate) fn add_file(&mut self, file: FileId) -> Result<(), Error> {
        self.files.insert(file.0, 1)?;
        self.note_number(file.0)
    }

    /// A fencing number or file id comes into the records: the next opening gives out only higher ones.
    pub(super) fn note_number(&mut self, number: u64) -> Result<(), Error> {
        let block = number >> 32;
        if block > self.block {
            database::note_block(self.txn, block)?;
            self.block = block;
        }
        Ok(())
    }

    /// Drops one reference to a file.
    pub(crate) fn release(&mut self, file: FileId) -> Result<(), Error> {
        let count = self.files.get(file.0)?.map_or(0, |count| count.value());
        if count > 1 {
            self.files.insert(file.0, count - 1)?;
            self.unpark(file, count - 1)?;
        } else {
            self.files.remove(file.0)?;
            self.pending_unlink()?.insert(file.0, ())?;
            self.effects.pending_unlink.push(file);
        }
        Ok(())
    }

    /// Whether an extent's bytes lie in the records.
    pub(crate) fn is_inline(&self, extent: Extent) -> Result<bool, Error> {
        Ok(self.inline.get(extent.file.0)?.is_some_and(|entry| entry.value().len() as u64 >= extent.len))
    }

    /// Whether some of an upload's bytes lie in the records.
    pub(crate) fn is_partly_inline(&self, row: &Row) -> Result<bool, Error> {
        let mut extents = row.extents.iter().filter(|extent| extent.len > 0);
        extents.try_fold(false, |found, extent| Ok(found || self.is_inline(*extent)?))
    }

    /// An extent grows, and is `bytes` now.
    pub(crate) fn keep_inline(&mut self, file: FileId, bytes: &[u8]) -> Result<(), Error> {
        mutation!("small-only-in-log", self.inline.insert(file.0, bytes)?, None);
        if let Some(overlay) = &mut self.effects.overlay {
            overlay.keep(file, bytes.to_vec());
        }
        Ok(())
    }

    /// An extent grows in its file. If its bytes were in the records so far, that is noted.
    pub(crate) fn outgrow(&mut self, extent: Extent) -> Result<(), Error> {
        if extent.len > 0 && self.is_inline(extent)? {
            self.effects.spilled.push(extent.file);
        }
        Ok(())
    }

    /// Removes the entries of files that hold those bytes durably, or are gone.
    pub(crate) fn drop_inline(&mut self, files: impl IntoIterator<Item = FileId>) -> Result<(), Error> {
        for file in files {
            self.inline.remove(file.0)?;
        }
        Ok(())
    }
}
