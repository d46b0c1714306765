//! What a repair does to the tables: all but the records are rewritten from the records, and finals whose bytes are lost wait
//! for their parts again.

use std::collections::BTreeSet;

use tus_proto::UploadId;

use crate::{
    admin::verify::{Audit, differing},
    error::Error,
    files::file_id::FileId,
    records::{
        copy::CopyProgress,
        database::FRAGMENTED,
        record::{Bytes, Row},
    },
    tables::{Tables, concat},
};

impl Tables<'_> {
    pub(super) fn correct_counts(&mut self, audit: &Audit) -> Result<(), Error> {
        for (&file, &references) in &audit.references {
            let counted = audit.books.counts.get(&file).copied().unwrap_or_default();
            // What can't be read may be one reference more.
            let count = if audit.damaged.is_empty() { references } else { references.max(counted) };
            if count != counted {
                self.files.insert(file.0, count)?;
            }
            if audit.books.pending_unlink.contains(&file) {
                self.pending_unlink()?.remove(file.0)?;
            }
        }
        let unused = audit.books.counts.keys().filter(|file| !audit.references.contains_key(*file));
        for file in unused.filter(|_| audit.damaged.is_empty()) {
            self.files.remove(file.0)?;
        }
        Ok(())
    }

    pub(super) fn correct_expiry(&mut self, audit: &Audit) -> Result<(), Error> {
        for (at, id) in audit.books.expiry.difference(&audit.expiry) {
            if !audit.damaged.contains(id) {
                self.expiry()?.remove((*at, id.as_str()))?;
            }
        }
        for (at, id) in audit.expiry.difference(&audit.books.expiry) {
            self.expiry()?.insert((*at, id.as_str()), ())?;
        }
        Ok(())
    }

    pub(super) fn correct_tombstones(&mut self, audit: &Audit) -> Result<(), Error> {
        let (tombstones, lapses) = (&audit.books.tombstones, &audit.books.lapses);
        for id in differing(tombstones, lapses) {
            for (until, _) in lapses.iter().filter(|(_, other)| *other == id) {
                self.lapses()?.remove((*until, id.as_str()))?;
            }
            // Without a time it is not known until when it was to be remembered.
            if let Some((until, _)) = tombstones.iter().find(|(_, other)| *other == id) {
                self.lapses()?.insert((*until, id.as_str()), ())?;
            }
        }
        Ok(())
    }

    /// An upload is not to be put into one file.
    pub(super) fn cancel_copy(&mut self, id: &UploadId) -> Result<(), Error> {
        let copy = self.txn.open_table(FRAGMENTED)?.remove(id.as_str())?.and_then(|entry| entry.value());
        copy.map_or(Ok(()), |copy| self.release(CopyProgress::from(copy).file))
    }

    /// A pending final takes what it has of its parts from them once more, and waits for those that are not finished
    /// now. What it has of a part that is gone, and a final that is complete, are left as they are.
    pub(super) fn await_again(
        &mut self,
        id: &UploadId,
        mut row: Row,
        short: &BTreeSet<FileId>,
    ) -> Result<(), Error> {
        let expires = row.expires;
        let Some(pending) = row.pending_mut() else { return Ok(()) };
        let is_short = |bytes: &Bytes| matches!(bytes, Bytes::There(extents) if extents.iter().any(|p| short.contains(&p.file)));
        for place in pending.parts.iter_mut().filter(|place| is_short(&place.bytes)) {
            let Some(mut part) = self.row_of_another(&place.id)? else { continue };
            for extent in place.extents() {
                self.release(extent.file)?;
            }
            place.bytes = concat::bytes(&part);
            for extent in place.extents() {
                self.share(extent.file, id)?;
            }
            self.waiting()?.insert((place.id.as_str(), id.as_str()), ())?;
            // Unfinished, it expires as the final does.
            if !part.is_complete() && part.expires.is_none() && expires.is_some() {
                part.expires = expires;
                self.put(&place.id, None, &part)?;
            }
        }
        row.length = row.pending().and_then(|pending| pending.length());
        self.put(id, expires, &row)
    }

    /// Has a part and a pending final know of each other as they should.
    pub(super) fn bring_in_step(&mut self, part: &UploadId, id: &UploadId) -> Result<(), Error> {
        let row = self.row_of_another(part)?.filter(Row::is_part);
        let waiting = self.row_of_another(id)?;
        let awaits = |bytes: &Bytes| matches!(bytes, Bytes::Awaited(_));
        let pending = waiting.as_ref().and_then(Row::pending);
        let place = pending.and_then(|pending| pending.parts.iter().find(|place| place.id == *part));
        match (place.map(|place| awaits(&place.bytes)), row) {
            (Some(true), Some(row)) => {
                self.waiting()?.insert((part.as_str(), id.as_str()), ())?;
                // As if its last commit came now, if it came.
                self.advance_part(part, &Row { length: None, ..row.clone() }, row)
            }
            (Some(false), Some(mut row)) if row.is_complete() => {
                self.waiting()?.insert((part.as_str(), id.as_str()), ())?;
                let expires = row.expires.take();
                self.put(part, expires, &row)
            }
            // It waits for a part that will never come: the operator decides.
            (Some(true), None) => Ok(()),
            _ => {
                self.waiting()?.remove((part.as_str(), id.as_str()))?;
                Ok(())
            }
        }
    }
}
