//! What only the running store knows of a change: whether its writer still holds the lock, whether its bytes are where they
//! should be, whether there is space. A change that passes becomes a [`Step`].

#![allow(clippy::result_large_err, reason = "a step, which is the other variant, is as large")]

use tus_driver::FirstBytes;
use tus_proto::{Completion, Concat, Failure, Fence, Record, UploadId};

use crate::{
    error::Error,
    files::{file_id::FileId, sink::Syncer},
    records::{
        copy::CopyState,
        record::{Bytes, Part, Row},
    },
    store::{
        Store,
        change::{Change, Consolidation},
    },
    tables::{
        Tables,
        step::{Concatenation, Step},
    },
};

impl Store {
    /// Checks what only the running store knows of a change.
    pub(super) fn admit(
        &self,
        tables: &Tables<'_>,
        change: &Change,
        named: Result<(), Failure>,
    ) -> Result<Result<Step, Completion>, Error> {
        let (id, fence) = match change {
            Change::Create { record, first } => return Ok(self.admit_create(record, first.as_ref())),
            Change::Concat { record, parts, max, delete_parts } => {
                return Ok(self.admit_concat(record, parts, *max, *delete_parts));
            }
            Change::Forget { id } => return Ok(Ok(Step::Forget { id: id.clone() })),
            Change::Consolidate(copy) => return Ok(self.admit_consolidation(copy)),
            Change::Digest(found) => return Ok(Ok(found.step())),
            Change::Annotate { id, number, note } => {
                return Ok(Ok(Step::Annotate { id: id.clone(), number: *number, note: note.clone() }));
            }
            Change::Consume { id } => return Ok(Ok(Step::Consume { id: id.clone() })),
            Change::Acknowledge { id, number } => {
                return Ok(Ok(Step::Acknowledge { id: Some(id.clone()), number: *number }));
            }
            Change::Postpone { id, number, until } => {
                return Ok(Ok(Step::Postpone { id: id.clone(), number: *number, until: *until }));
            }
            // Its fence is above all others: only the time decides.
            Change::Expire { id, .. } => (id.clone(), Fence(u64::MAX)),
            Change::Commit { id, fence, .. }
            | Change::NewExtent { id, fence, .. }
            | Change::Delete { id, fence } => (id.clone(), *fence),
        };
        let row = match tables.row(&id) {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Err(Completion::Missing)),
            Err(trouble) if trouble.damaged => {
                return Ok(Err(Completion::Failed(self.staging.note(trouble))));
            }
            Err(trouble) => return Err(trouble),
        };
        let conflict = Ok(Err(Completion::Conflict { offset: row.offset() }));
        if fence < mutation!("fence-ignored", self.staging.highest_fence(&id), Fence(0)) {
            return conflict;
        }
        Ok(match change {
            Change::Commit { from, to, length, expires, finish, syncer, .. } => {
                if *finish && row.length.or(*length) != Some(*to) {
                    return conflict;
                }
                let (from, to, length, expires) = (*from, *to, *length, *expires);
                // It means nothing for an upload that its length completes.
                let finish = *finish && row.explicit.is_some();
                let inline = match to > from {
                    true => check_staged(tables, &row, to, syncer.as_ref(), named)?,
                    false => Ok(None),
                };
                inline.map(|inline| Step::Commit { id, fence, from, to, length, expires, finish, inline })
            }
            // Nothing expires while it is written to.
            Change::Expire { .. } if self.is_written(&id, &row) => return conflict,
            Change::Expire { before, remember, .. } => {
                Ok(Step::Expire { id, before: *before, remember: *remember })
            }
            Change::NewExtent { at, .. } => {
                self.new_file().map(|file| Step::NewExtent { id, fence, at: *at, file })
            }
            // On a full disk too: deletions make room.
            _ if mutation!("delete-wants-room", false, !self.staging.reserve.remake()) => {
                Err(Completion::Failed(Failure::NoSpace))
            }
            _ => Ok(Step::Delete { id, fence }),
        })
    }

    fn admit_create(&self, record: &Record, first: Option<&FirstBytes>) -> Result<Step, Completion> {
        let partial = record.is_partial();
        let Record { id, created, length, metadata, expires, explicit, .. } = record.clone();
        let file = self.new_file()?;
        let file = (length != Some(0)).then_some(file);
        let inline = first.map(|first| first.as_slice().to_vec());
        if first.is_some_and(|first| length.is_some_and(|length| first.len() > length)) {
            return Err(Completion::Failed(Failure::Io));
        }
        Ok(Step::Create { id, created, length, metadata, expires, partial, file, explicit, inline })
    }

    fn admit_concat(
        &self,
        record: &Record,
        parts: &[UploadId],
        max: Option<u64>,
        delete_parts: bool,
    ) -> Result<Step, Completion> {
        if !self.staging.reserve.remake() {
            return Err(Completion::Failed(Failure::NoSpace));
        }
        let Record { id, created, metadata, expires, concat, .. } = record.clone();
        let header = match concat {
            Some(Concat::Final(header)) => header,
            Some(Concat::Partial) | None => String::new(),
        };
        let (parts, max_waiting) = (parts.to_vec(), self.options.max_waiting as u64);
        let wanted =
            Concatenation { id, created, metadata, header, expires, parts, max, delete_parts, max_waiting };
        Ok(Step::Concat(wanted))
    }

    /// Whether somebody is writing to an upload, or to a part that it waits for.
    pub(crate) fn is_written(&self, id: &UploadId, row: &Row) -> bool {
        let awaited =
            |part: &Part| matches!(part.bytes, Bytes::Awaited(_)) && self.staging.is_written(&part.id);
        self.staging.is_written(id) || row.pending().is_some_and(|pending| pending.parts.iter().any(awaited))
    }

    fn admit_consolidation(&self, Consolidation { id, state }: &Consolidation) -> Result<Step, Completion> {
        let state = state.map_or_else(|| self.new_file().map(CopyState::Begun), Ok)?;
        Ok(Step::Consolidation { id: id.clone(), state })
    }

    /// The id of a new data file, if there is room for more than commits and deletes.
    pub(crate) fn new_file(&self) -> Result<FileId, Completion> {
        if !self.staging.reserve.remake() {
            return Err(Completion::Failed(Failure::NoSpace));
        }
        self.staging.files.new_id().ok_or(Completion::Failed(Failure::Unavailable))
    }
}

/// Whether the bytes up to `to` are where the record wants them, and as durable as they must be. Hands out those
/// that are to lie in the records.
fn check_staged(
    tables: &Tables<'_>,
    row: &Row,
    to: u64,
    syncer: Option<&Syncer>,
    named: Result<(), Failure>,
) -> Result<Result<Option<Vec<u8>>, Completion>, Error> {
    let failed = Ok(Err(Completion::Failed(Failure::Io)));
    let Some((lease, last)) = syncer.map(|syncer| &syncer.lease).zip(row.extents.last()) else {
        return failed;
    };
    let same_file = lease.extent.is_some_and(|extent| extent.file == last.file);
    if !same_file || mutation!("offset-not-compared", lease.start + last.len != row.offset(), false) {
        return Ok(Err(Completion::Conflict { offset: row.offset() }));
    }
    if lease.committable().is_none_or(|synced| to > synced) {
        return failed;
    }
    let inline = lease.inline_up_to(to);
    let first_in_the_file = inline.is_none() && (last.len == 0 || tables.is_inline(*last)?);
    let named = if first_in_the_file { named } else { Ok(()) };
    Ok(named.map(|()| inline).map_err(Completion::Failed))
}
