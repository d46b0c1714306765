//! Which complete uploads are to be digested, and what was found. The reading is in `maintenance/digest.rs`.

use tus_proto::{Completion, UploadId, WallTime};

use crate::{
    error::Error,
    records::{database::UNDIGESTED, record::Sha256},
    tables::{Outcome, Tables, changed, unchanged},
};

impl Tables<'_> {
    /// Notes that an upload, which is complete from now on, is to be digested, if the options ask for digests.
    pub(crate) fn note_undigested(&mut self, id: &UploadId) -> Result<(), Error> {
        if self.keeps.digests {
            self.txn.open_table(UNDIGESTED)?.insert(id.as_str(), ())?;
            self.effects.undigested = true;
        }
        Ok(())
    }

    /// An upload goes: so does the note of it.
    pub(crate) fn forget_undigested(&mut self, id: &UploadId) -> Result<(), Error> {
        if self.keeps.digests {
            self.txn.open_table(UNDIGESTED)?.remove(id.as_str())?;
        }
        Ok(())
    }

    /// Keeps the digest of a complete upload, if it is the one that was read.
    pub(crate) fn keep_digest(
        &mut self,
        id: &UploadId,
        created: WallTime,
        sha256: Option<Sha256>,
    ) -> Result<Outcome, Error> {
        let row = self.row(id)?.filter(|row| row.is_complete());
        let other = row.as_ref().is_some_and(|row| row.created != created);
        if other && sha256.is_some() {
            return Ok(unchanged(Completion::Missing));
        }
        if self.txn.open_table(UNDIGESTED)?.remove(id.as_str())?.is_none() {
            return Ok(unchanged(Completion::Missing));
        }
        self.note_more();
        let (Some(mut row), Some(_)) = (row, sha256) else { return Ok(changed(Completion::Missing)) };
        row.sha256 = sha256;
        self.put(id, row.expires, &row)?;
        Ok(changed(Completion::Committed { offset: row.offset() }))
    }
}
