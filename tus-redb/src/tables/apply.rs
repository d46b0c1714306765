//! Carrying out steps: creation, commits that move an offset, and new extents. The other kinds have files of
//! their own.

use tus_driver::EventKind;
use tus_proto::{Completion, Fence, UploadId, WallTime};

use crate::{
    error::Error,
    files::file_id::{Extent, FileId},
    records::record::{Kind, Row},
    tables::{Outcome, Tables, changed, step::Step, unchanged},
};

impl Tables<'_> {
    /// Carries out a step. One that meets a damaged record fails, and has changed nothing.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<Outcome, Error> {
        match step {
            Step::Create { id, created, length, metadata, expires, partial, file, explicit, inline } => {
                let row = Row {
                    created: *created,
                    length: *length,
                    fence: Fence(0),
                    extents: file.iter().map(|file| Extent { file: *file, len: 0 }).collect(),
                    metadata: metadata.clone(),
                    expires: *expires,
                    kind: if *partial { Kind::Partial } else { Kind::Plain },
                    explicit: explicit.clone(),
                    sha256: None,
                };
                self.create(id, row, inline.as_deref())
            }
            Step::Concat(wanted) => self.concat(wanted),
            Step::Commit { id, fence, from, to, length, expires, finish, inline } => {
                self.advance(id, *fence, (*from, *to), (*length, *finish), *expires, inline.as_deref())
            }
            Step::NewExtent { id, fence, at, file } => self.start_extent(id, *fence, *at, *file),
            Step::Delete { id, fence } => self.delete(id, *fence),
            Step::Expire { id, before, remember } => self.expire(id, *before, *remember),
            Step::Forget { id } => self.forget_expired(id),
            Step::Acknowledge { id: Some(id), number } => self.acknowledge(id, *number),
            Step::Acknowledge { id: None, number } => self.acknowledge_number(*number),
            Step::Annotate { id, number, note } => self.annotate(id, *number, note),
            Step::Consume { id } => self.consume(id),
            Step::Postpone { id, number, until } => self.postpone(id, *number, *until),
            Step::Consolidation { id, state } => self.record_copy(id, *state),
            Step::Digest { id, created, sha256 } => self.keep_digest(id, *created, *sha256),
        }
    }

    fn create(&mut self, id: &UploadId, mut row: Row, inline: Option<&[u8]>) -> Result<Outcome, Error> {
        if self.is_taken(id)? {
            return Ok(unchanged(Completion::Exists));
        }
        for extent in &row.extents {
            self.add_file(extent.file)?;
        }
        self.post(EventKind::Created, id, &row)?;
        if let Some(bytes) = inline
            && let Some(extent) = row.extents.last_mut()
        {
            self.keep_inline(extent.file, bytes)?;
            extent.len = mutation!("small-creation-without-body", bytes.len() as u64, 0);
        }
        if row.is_complete() && row.kind == Kind::Plain {
            self.put_complete(id, None, &row)?;
            self.scatter(id, &row)?;
        } else {
            if row.is_complete() && inline.is_some() {
                self.note_undigested(id)?;
            }
            self.put(id, None, &row)?;
        }
        Ok(changed(Completion::Created))
    }

    fn advance(
        &mut self,
        id: &UploadId,
        fence: Fence,
        (from, to): (u64, u64),
        (length, finish): (Option<u64>, bool),
        expires: Option<WallTime>,
        inline: Option<&[u8]>,
    ) -> Result<Outcome, Error> {
        let Some(mut row) = self.row(id)? else { return Ok(unchanged(Completion::Missing)) };
        let before = row.clone();
        let offset = row.offset();
        let conflict = Ok(unchanged(Completion::Conflict { offset }));
        if fence < mutation!("fence-ignored", row.fence, Fence(0))
            || mutation!("offset-not-compared", from != offset, false)
            || to < from
            || row.is_final()
            || row.is_complete()
        {
            return conflict;
        }
        if row.length.is_some() && length.is_some() && row.length != length {
            return conflict;
        }
        row.length = row.length.or(length);
        row.fence = fence;
        // A finished upload's time was set when it was finished.
        if !before.is_finished() {
            row.expires = expires;
        }
        if let Some(explicit) = &mut row.explicit {
            explicit.complete |= finish;
        }
        if row.length.is_some_and(|length| to > length) {
            return conflict;
        }
        if to > from {
            let Some(last) = row.extents.last_mut() else { return conflict };
            match inline {
                Some(bytes) => self.keep_inline(last.file, bytes)?,
                None => {
                    self.outgrow(*last)?;
                    self.effects.grown.push((last.file, id.clone(), last.len));
                }
            }
            last.len += to - from;
        }
        let completion = Completion::Committed { offset: to };
        if row == before {
            return Ok(unchanged(completion));
        }
        if row.kind == Kind::Partial {
            self.advance_part(id, &before, row)?;
        } else if row.is_complete() && !before.is_complete() {
            self.put_complete(id, before.expires, &row)?;
            self.scatter(id, &row)?;
        } else {
            self.put(id, before.expires, &row)?;
        }
        Ok(changed(completion))
    }

    /// Puts an extent in a new file after the others, in place of one that has nothing committed.
    fn start_extent(&mut self, id: &UploadId, fence: Fence, at: u64, file: FileId) -> Result<Outcome, Error> {
        let Some(mut row) = self.row(id)? else { return Ok(unchanged(Completion::Missing)) };
        let offset = row.offset();
        if fence < mutation!("fence-ignored", row.fence, Fence(0))
            || mutation!("offset-not-compared", at != offset, false)
            || row.is_final()
        {
            return Ok(unchanged(Completion::Conflict { offset }));
        }
        row.fence = fence;
        if !row.is_complete() {
            if let Some(empty) = row.extents.pop_if(|last| last.len == 0) {
                self.release(empty.file)?;
            }
            row.extents.push(Extent { file, len: 0 });
            self.add_file(file)?;
        }
        self.put(id, row.expires, &row)?;
        Ok(changed(Completion::Committed { offset }))
    }
}
