//! How uploads go: deleted, consumed, or expired. An expired one is remembered for a while.

use tus_driver::EventKind;
use tus_proto::{Completion, Fence, UploadId, WallTime};

use crate::{
    error::Error,
    records::record::{Kind, Row},
    tables::{Cause, Outcome, Tables, changed, concat::Then, unchanged},
};

impl Tables<'_> {
    pub(super) fn delete(&mut self, id: &UploadId, fence: Fence) -> Result<Outcome, Error> {
        let Some(row) = self.row(id)? else { return Ok(unchanged(Completion::Missing)) };
        if fence < mutation!("fence-ignored", row.fence, Fence(0)) {
            return Ok(unchanged(Completion::Conflict { offset: row.offset() }));
        }
        self.remove(id, &row, Cause::Request)?;
        Ok(changed(Completion::Deleted))
    }

    /// Removes a complete upload, and keeps no event.
    pub(super) fn consume(&mut self, id: &UploadId) -> Result<Outcome, Error> {
        let Some(row) = self.row(id)? else { return Ok(unchanged(Completion::Missing)) };
        if !row.is_complete() {
            return Ok(unchanged(Completion::Conflict { offset: row.offset() }));
        }
        self.remove(id, &row, Cause::Consumed)?;
        Ok(changed(Completion::Deleted))
    }

    /// Removes an upload. A part that is not finished takes the finals along that wait for it.
    pub(crate) fn remove(&mut self, id: &UploadId, row: &Row, cause: Cause) -> Result<(), Error> {
        if row.kind == Kind::Partial {
            for of in self.finals_of(id)? {
                if row.is_complete() {
                    self.waiting()?.remove((id.as_str(), of.as_str()))?;
                } else if let Some(row) = self.row_of_another(&of)? {
                    self.remove_alone(&of, &row, cause)?;
                }
            }
        }
        self.remove_alone(id, row, cause)
    }

    /// Every removal of an upload passes here.
    fn remove_alone(&mut self, id: &UploadId, row: &Row, cause: Cause) -> Result<(), Error> {
        self.uploads.remove(id.as_str())?;
        self.note_more();
        mutation!("record-deleted-not-its-index", self.reindex(id, row.expires, None)?, ());
        self.abandon(id, row)?;
        self.forget_undigested(id)?;
        for extent in row.references() {
            self.release(extent.file)?;
        }
        if let Some(pending) = row.pending() {
            self.let_go(id, pending, Then::Expire(row.expires))?;
        }
        match cause {
            Cause::Request => self.post(EventKind::Terminated, id, row),
            Cause::Expiry { remember } => self.remember(id, remember),
            Cause::Consumed => Ok(()),
            Cause::Rollback => {
                self.effects.fallen.push(id.clone());
                Ok(())
            }
        }
    }

    fn remember(&mut self, id: &UploadId, until: WallTime) -> Result<(), Error> {
        self.tombstones.insert(id.as_str(), until.as_micros())?;
        self.lapses()?.insert((until.as_micros(), id.as_str()), ())?;
        Ok(())
    }

    /// Removes an upload whose time is over, and remembers that it was there.
    pub(super) fn expire(
        &mut self,
        id: &UploadId,
        before: WallTime,
        remember: WallTime,
    ) -> Result<Outcome, Error> {
        let Some(row) = self.row(id)? else { return Ok(unchanged(Completion::Missing)) };
        let is_due = row.expires.is_some_and(|expires| expires <= before);
        // The hook or the publication that an event is for needs the upload's bytes.
        if !is_due || (row.is_finished() && self.first_event(id)?.is_some()) {
            return Ok(unchanged(Completion::Conflict { offset: row.offset() }));
        }
        self.remove(id, &row, Cause::Expiry { remember })?;
        Ok(changed(Completion::Deleted))
    }

    pub(super) fn forget_expired(&mut self, id: &UploadId) -> Result<Outcome, Error> {
        let remembered = self.tombstones.remove(id.as_str())?.map(|until| until.value());
        let Some(until) = remembered else { return Ok(unchanged(Completion::Missing)) };
        self.note_more();
        self.lapses()?.remove((until, id.as_str()))?;
        Ok(changed(Completion::Deleted))
    }
}
