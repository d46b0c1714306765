//! Where the bytes of an upload go: sinks for bytes past the committed ones, memory for a small body that comes with its record,
//! and discarding what is staged and never committed.

use std::sync::Arc;

use tus_driver::FirstBytes;
use tus_proto::{Completion, Failure, Fence, UploadId};

use crate::{
    error::Rejected,
    files::{
        append_lease::AppendLease,
        file_id::{Extent, FileId},
        inline::Inline,
        sink::Sink,
    },
    mutex::lock,
    records::record::Row,
    store::Store,
};

impl Store {
    /// A sink for bytes after the committed ones, for the writer whose lock has the number `fence`. Writes
    /// nothing: the data file is made with the first byte. Where the lock's last holder never released it,
    /// [`Change::NewExtent`](crate::Change::NewExtent) comes first.
    ///
    /// # Errors
    /// [`Rejected`]; [`Rejected::Lost`] where the file that it would append to was moved away.
    pub fn append(&self, id: &UploadId, fence: Fence, at: u64) -> Result<Sink, Rejected> {
        let row = self.row(id).map_err(Rejected::Failed)?.ok_or(Rejected::Missing)?;
        check_append(&row, fence, at)?;
        if fence < mutation!("fence-ignored", self.staging.highest_fence(id), Fence(0)) {
            return Err(Rejected::Conflict { offset: row.offset() });
        }
        if !self.staging.reserve.remake() {
            return Err(Rejected::Failed(Failure::NoSpace));
        }
        let last = row.extents.last().copied();
        let inline = self.inline_of(last).map_err(Rejected::Failed)?;
        let earlier = self.inline_before_last(&row).map_err(Rejected::Failed)?;
        let lease = AppendLease::new(&self.staging, id, fence, at, last, inline, earlier);
        // From here on the lease keeps the file from being reclaimed. If it was reclaimed before, the record is gone.
        let row = self.row(id).map_err(Rejected::Failed)?.ok_or(Rejected::Missing)?;
        check_append(&row, fence, at)?;
        if row.extents.last().copied() != last {
            return Err(Rejected::Conflict { offset: row.offset() });
        }
        if self.is_gone(id, last.as_slice()).map_err(Rejected::Failed)? {
            return Err(Rejected::Lost(Box::new(row.record(id))));
        }
        Ok(Sink::new(Arc::new(lease)))
    }

    /// Memory for the first bytes of a new upload, which come with its record in one
    /// [`Change::Create`](crate::Change::Create). `None` if so many don't go into the records, or if too many are in memory
    /// now.
    pub fn reserve(&self, bytes: u64) -> Option<FirstBytes> {
        if self.staging.reserve.is_spent() {
            return None;
        }
        self.inline_limits.reserve(bytes)
    }

    /// The committed inline bytes of a last extent, to which further ones may be added; `None` if it is not inline.
    fn inline_of(&self, last: Option<Extent>) -> Result<Option<Inline>, Failure> {
        let Some(last) = last else { return Ok(None) };
        let committed = match last.len {
            0 if self.options.inline_bytes == 0 => None,
            0 => Some(Vec::new()),
            _ => lock(&self.live).inline(last).map_err(|trouble| self.staging.note(trouble))?,
        };
        Ok(committed.map(|bytes| Inline::new(&self.inline_limits, bytes)))
    }

    /// The files of all extents but the last whose bytes lie in the records.
    fn inline_before_last(&self, row: &Row) -> Result<Vec<FileId>, Failure> {
        let mut files = Vec::new();
        for extent in row.extents.iter().rev().skip(1) {
            let is_inline =
                lock(&self.live).is_inline(*extent).map_err(|trouble| self.staging.note(trouble))?;
            files.extend(is_inline.then_some(extent.file));
        }
        Ok(files)
    }

    /// Forgets staged bytes. Completes as `Discarded`, `Missing`, `Conflict` or `Failed`. The sink is gone
    /// by then.
    pub fn discard(&self, id: &UploadId, fence: Fence) -> Completion {
        match self.row(id) {
            Err(failure) => Completion::Failed(failure),
            Ok(None) => Completion::Missing,
            Ok(Some(row)) if fence < row.fence.max(self.staging.highest_fence(id)) => {
                Completion::Conflict { offset: row.offset() }
            }
            Ok(Some(row)) => {
                // What can't be cut now is garbage all the same, and goes when the upload does.
                // A final has no staged bytes: the files of its parts must not be cut.
                if !row.is_final()
                    && let Some(last) = row.extents.last()
                    && let Ok(file) = self.staging.files.open(last.file)
                    && file.len().is_ok_and(|len| len > last.len)
                    && let Err(error) =
                        file.set_len(mutation!("discard-cuts-too-much", last.len, last.len / 2))
                {
                    self.staging.note(error);
                }
                Completion::Discarded
            }
        }
    }
}

fn check_append(row: &Row, fence: Fence, at: u64) -> Result<(), Rejected> {
    let offset = row.offset();
    let fenced = fence < mutation!("fence-ignored", row.fence, Fence(0));
    let welcome = !fenced && mutation!("offset-not-compared", at == offset, true) && !row.is_final();
    if welcome { Ok(()) } else { Err(Rejected::Conflict { offset }) }
}
