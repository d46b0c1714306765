//! All that is committed, and what each change does to it.

use std::{collections::BTreeMap, sync::Weak, time::Duration};

use bytes::Bytes;
use tus_proto::{Completion, Failure, Fence, Record, UploadId, WallTime};

use super::{
    outbox::Outbox,
    pending::Pending,
    transfer::{Buffer, Staged},
};
use crate::{AppendGrant, Change, Commit, EventKind, FirstBytes, LookupError};

/// How long an expired upload is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Default)]
pub(super) struct State {
    pub uploads: BTreeMap<UploadId, Upload>,
    /// Uploads that have expired, and until when each is remembered.
    expired: BTreeMap<UploadId, WallTime>,
    pub outbox: Outbox,
}

pub(super) struct Upload {
    pub record: Record,
    /// The committed bytes: `record.offset` of them. A clone shares them.
    pub bytes: Vec<Bytes>,
    /// The highest fencing number that was seen.
    fence: Fence,
    /// What the last sink stages, for as long as somebody has the sink or may commit from it.
    staging: Weak<Buffer>,
    /// A final has it until it is complete.
    pub pending: Option<Pending>,
}

/// Why an upload goes.
#[derive(Clone, Copy)]
pub(super) enum Cause {
    /// Its client said so.
    Request,
    /// Its time was over. It is remembered until then.
    Expiry(WallTime),
    /// It was a part, and its final is complete.
    Consumed,
}

impl Upload {
    pub(super) fn new(record: Record, pending: Option<Pending>) -> Self {
        Self { record, bytes: Vec::new(), fence: Fence(0), staging: Weak::new(), pending }
    }

    fn conflict(&self) -> LookupError {
        LookupError::Conflict { offset: self.record.offset }
    }
}

impl State {
    pub(super) fn find(&self, id: &UploadId) -> Result<&Upload, LookupError> {
        let missing = || if self.expired.contains_key(id) { LookupError::Gone } else { LookupError::Missing };
        self.uploads.get(id).ok_or_else(missing)
    }

    /// An upload for a writer, unless the writer has lost its lock to one with a higher fencing number.
    fn for_writer(&mut self, id: &UploadId, fence: Fence) -> Result<&mut Upload, LookupError> {
        let upload = self.uploads.get_mut(id).ok_or(LookupError::Missing)?;
        if fence < upload.fence {
            return Err(upload.conflict());
        }
        upload.fence = fence;
        Ok(upload)
    }

    pub(super) fn append(&mut self, grant: &AppendGrant) -> Result<Staged, LookupError> {
        let upload = self.for_writer(&grant.id, grant.fence)?;
        if grant.at != upload.record.offset || upload.record.is_final() {
            return Err(upload.conflict());
        }
        // `rotate` asks for nothing more: a sink never writes where another does, and only the last one counts.
        let staged = Staged::at(grant.at);
        upload.staging = staged.downgrade();
        Ok(staged)
    }

    pub(super) fn apply(&mut self, change: Change<Staged>) -> Result<Completion, LookupError> {
        match change {
            Change::Create { record, first } => Ok(self.create(record, first.as_ref())),
            Change::Concat { record, parts, max, delete_parts } => {
                Ok(self.concat(record, &parts, max, delete_parts).unwrap_or_else(Completion::Rejected))
            }
            Change::Commit(commit) => self.commit(commit),
            Change::Discard { id, fence } => {
                let upload = self.for_writer(&id, fence)?;
                if let Some(staged) = Staged::upgrade(&upload.staging) {
                    staged.truncate(upload.record.offset);
                }
                Ok(Completion::Discarded)
            }
            Change::Delete { id, fence } => {
                self.for_writer(&id, fence)?;
                self.remove(&id, Cause::Request);
                Ok(Completion::Deleted)
            }
            Change::Acknowledge { id, number } => self.outbox.acknowledge(&id, number),
            Change::Postpone { id, number, until } => self.outbox.postpone(&id, number, until),
        }
    }

    fn create(&mut self, mut record: Record, first: Option<&FirstBytes>) -> Completion {
        if self.is_taken(&record.id) {
            return Completion::Exists;
        }
        self.outbox.post(EventKind::Created, &record);
        record.offset = first.map_or(0, FirstBytes::len);
        if record.is_complete() {
            self.outbox.post(EventKind::Completed, &record);
        }
        let mut upload = Upload::new(record, None);
        upload.bytes.extend(first.map(|first| Bytes::copy_from_slice(first.as_slice())));
        self.uploads.insert(upload.record.id.clone(), upload);
        Completion::Created
    }

    pub(super) fn is_taken(&self, id: &UploadId) -> bool {
        self.uploads.contains_key(id) || self.expired.contains_key(id)
    }

    fn commit(&mut self, commit: Commit<Staged>) -> Result<Completion, LookupError> {
        let Commit { id, fence, from, to, length, expires, finish, staged } = commit;
        let upload = self.for_writer(&id, fence)?;
        let known = upload.record.length;
        let length = known.or(length);
        let open = !upload.record.is_final() && !upload.record.is_complete();
        let expected = from == upload.record.offset && from <= to && open;
        let changes_length = known.is_some() && commit.length.is_some_and(|length| known != Some(length));
        let fits = length.is_none_or(|length| to <= length) && (!finish || length == Some(to));
        if !expected || changes_length || !fits {
            return Err(upload.conflict());
        }
        if to > from {
            let staged = staged.ok_or(LookupError::Failed(Failure::Io))?;
            if !staged.is(&upload.staging) {
                return Err(upload.conflict());
            }
            upload.bytes.push(staged.range(from, to).map_err(LookupError::Failed)?);
        }
        let was_complete = upload.record.is_complete();
        (upload.record.offset, upload.record.length, upload.record.expires) = (to, length, expires);
        if let Some(explicit) = &mut upload.record.explicit {
            explicit.complete |= finish;
        }
        if upload.record.is_complete() && !was_complete {
            let record = upload.record.clone();
            self.outbox.post(EventKind::Completed, &record);
        }
        self.part_changed(&id, expires);
        Ok(Completion::Committed { offset: to })
    }

    /// Removes an upload. Pending finals keep the bytes of a part that is complete, and go along with one that is not.
    pub(super) fn remove(&mut self, id: &UploadId, cause: Cause) {
        let complete = self.uploads.get(id).is_some_and(|upload| upload.record.is_complete());
        for of in self.finals_of(id) {
            match self.uploads.get_mut(&of).and_then(|of| of.pending.as_mut()) {
                Some(pending) if complete => pending.forget(id),
                _ => self.remove_alone(&of, cause),
            }
        }
        self.remove_alone(id, cause);
    }

    fn remove_alone(&mut self, id: &UploadId, cause: Cause) {
        let Some(Upload { record, pending, .. }) = self.uploads.remove(id) else { return };
        match cause {
            Cause::Request => self.outbox.post(EventKind::Terminated, &record),
            Cause::Expiry(until) => drop(self.expired.insert(id.clone(), until)),
            Cause::Consumed => {}
        }
        for part in pending.iter().flat_map(Pending::ids) {
            self.let_expire(part, record.expires);
        }
    }

    pub(super) fn sweep(&mut self, now: WallTime) -> usize {
        self.expired.retain(|_, until| *until > now);
        let before = self.uploads.len();
        let due = self.uploads.values().map(|upload| &upload.record).filter(|record| record.is_expired(now));
        let due: Vec<UploadId> = due.map(|record| record.id.clone()).collect();
        for id in due {
            if !self.is_written(&id) {
                self.remove(&id, Cause::Expiry(now.after(REMEMBERED)));
            }
        }
        before - self.uploads.len()
    }

    /// Whether somebody is writing to an upload, or to a part that it waits for.
    fn is_written(&self, id: &UploadId) -> bool {
        self.uploads.get(id).is_some_and(|upload| {
            let waits_for = upload.pending.iter().flat_map(Pending::awaited);
            upload.staging.strong_count() > 0 || waits_for.into_iter().any(|part| self.is_written(part))
        })
    }
}
