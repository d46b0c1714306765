//! Roll-back of what the disk has lost: with eventual durability a record may refer to bytes whose sync fails
//! afterwards.

use redb::ReadableTable;
use tus_proto::UploadId;

use crate::{
    error::Error,
    files::file_id::FileId,
    records::record::{Bytes, Row},
    tables::{Cause, Tables},
};

/// A data file that grew.
#[derive(Debug)]
pub(crate) struct Grown {
    /// The upload it grew for.
    pub(crate) id: UploadId,
    /// How much of it was committed before.
    pub(crate) len: u64,
    /// Finals that came to refer to it since.
    pub(crate) finals: Vec<UploadId>,
}

impl Tables<'_> {
    /// Takes back what was committed of `file` since the last flush, and all that stands on it.
    pub(crate) fn forget(&mut self, file: FileId, grown: &Grown) -> Result<(), Error> {
        if let Some(row) = self.row_of_another(&grown.id)? {
            self.fall_back(&grown.id, row, file, grown.len)?;
        }
        for id in &grown.finals {
            if let Some(row) = self.row_of_another(id)?
                && row.references().any(|extent| extent.file == file)
            {
                self.forget_part(id, row, &grown.id)?;
            }
        }
        Ok(())
    }

    /// Cuts an upload's body at `len` bytes of `file`.
    pub(crate) fn fall_back(
        &mut self,
        id: &UploadId,
        mut row: Row,
        file: FileId,
        len: u64,
    ) -> Result<(), Error> {
        if row.is_final() {
            return Ok(());
        }
        let Some(index) = row.extents.iter().position(|extent| extent.file == file) else { return Ok(()) };
        if row.is_complete() {
            self.effects.fallen.push(id.clone());
            self.abandon(id, &row)?;
        }
        if let Some(explicit) = &mut row.explicit {
            explicit.complete = false;
        }
        for extent in row.extents.drain(index + 1..).collect::<Vec<_>>() {
            self.release(extent.file)?;
        }
        if let Some(extent) = row.extents.last_mut() {
            extent.len = extent.len.min(len);
        }
        self.put(id, row.expires, &row)
    }

    /// A final waits for its part again, which has lost bytes. Where it can't, because it was complete or the
    /// part is gone, nobody could ever make it whole again: it goes.
    fn forget_part(&mut self, id: &UploadId, mut row: Row, part: &UploadId) -> Result<(), Error> {
        let needed = self.waiting()?.get((part.as_str(), id.as_str()))?.is_some();
        let (Some(mut state), true) = (self.row_of_another(part)?, needed) else {
            return self.remove(id, &row, Cause::Rollback);
        };
        let expires = row.expires;
        let Some(pending) = row.pending_mut() else { return self.remove(id, &row, Cause::Rollback) };
        for place in pending.parts.iter_mut().filter(|place| place.id == *part) {
            for extent in place.extents() {
                self.release(extent.file)?;
            }
            place.bytes = Bytes::Awaited(state.length);
        }
        row.length = pending.length();
        self.put(id, expires, &row)?;
        // Unfinished, it expires as others do.
        if state.expires.is_none() {
            state.expires = expires;
            self.put(part, None, &state)?;
        }
        Ok(())
    }
}
