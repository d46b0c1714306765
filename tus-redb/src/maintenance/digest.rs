//! Digests of complete uploads: SHA-256 over all bytes, computed once an upload is complete and kept with its record, so that
//! a later look at every byte can tell what a disk has changed.
//!
//! An upload that becomes complete is noted in a table of its own, in the same transaction. It is read back in steps of a
//! bounded number of bytes, when its bytes are most likely still in memory. One transaction stores its digest and removes
//! the note. A crash before that costs the reading of one upload; a digest is never of other bytes than the record's.

use std::{ops::Bound, sync::atomic::Ordering};

use redb::{ReadableDatabase, TableError};
use tus_proto::{Algorithm, Completion, Failure, Hasher, UploadId, WallTime};

use crate::{
    error::{Error, Rejected},
    mutex::lock,
    records::database::UNDIGESTED,
    store::{
        Store,
        change::{Change, DigestFound},
        progress::DigestTask,
    },
};

/// How many bytes are read at once.
const PIECE: usize = 256 << 10;

impl Store {
    /// Whether [`Self::digest`] may find something to do.
    pub fn needs_digest(&self) -> bool {
        self.undigested.load(Ordering::Acquire)
    }

    /// Goes on with the digest of one complete upload: reads at most `budget` bytes of it, and at least one. Returns whether
    /// there is more to do at once. Works concurrently with everything else; blocks on the disk.
    ///
    /// # Errors
    /// The disk's. The next call goes on with another upload. A caller in a loop waits after an error: a minute, say.
    pub fn digest(&self, budget: u64) -> Result<bool, Failure> {
        if !self.options.digests {
            return Ok(false);
        }
        let mut digesting = lock(&self.digesting);
        let task = match digesting.task.take() {
            Some(task) => task,
            None => {
                // Before the look, so that what is completed from now on is seen by the next.
                self.undigested.store(false, Ordering::Release);
                let failed = digesting.failed.take();
                let Some(id) = self.next_undigested(failed.as_ref())? else { return Ok(false) };
                self.undigested.store(true, Ordering::Release);
                match self.open_undigested(&id) {
                    Ok(Some(task)) => task,
                    Ok(None) => return Ok(true),
                    Err(failure) => {
                        digesting.failed = Some(id);
                        return Err(failure);
                    }
                }
            }
        };
        let id = task.source.record().id.clone();
        match self.digest_on(task, budget) {
            Ok(task) => digesting.task = task,
            Err(failure) => {
                digesting.failed = Some(id);
                return Err(failure);
            }
        }
        Ok(true)
    }

    /// The SHA-256 of all bytes of a complete upload; `None` if it has none, is not complete, or is not there.
    pub fn stored_digest(&self, id: &UploadId) -> Result<Option<[u8; 32]>, Failure> {
        Ok(self.row(id)?.filter(|row| row.is_complete()).and_then(|row| row.sha256))
    }

    /// Opens an upload that is noted, to be read. `None` if there is nothing to read, and the note is gone.
    fn open_undigested(&self, id: &UploadId) -> Result<Option<DigestTask>, Failure> {
        let losses = self.losses().ok_or(Failure::Io)?;
        match self.open_source(id) {
            Ok(source) if source.record().length == Some(source.record().offset) => {
                let hasher = Box::new(Hasher::new(Algorithm::Sha256));
                Ok(Some(DigestTask { source, hasher, at: 0, losses }))
            }
            Err(Rejected::Failed(failure)) => Err(failure),
            Err(Rejected::Lost(_)) => Err(Failure::Io),
            Ok(_) | Err(_) => {
                let created = WallTime::from_micros(0);
                self.found(DigestFound { id: id.clone(), created, sha256: None })?;
                Ok(None)
            }
        }
    }

    /// Reads on, and keeps the digest once all is read. Returns what is left to do.
    fn digest_on(&self, mut task: DigestTask, budget: u64) -> Result<Option<DigestTask>, Failure> {
        let record = task.source.record();
        let (id, created, whole) = (record.id.clone(), record.created, record.offset);
        if self.row(&id)?.is_none() {
            // Its files need not be kept any longer.
            return Ok(None);
        }
        let until = task.at.saturating_add(budget.max(1)).min(whole);
        let mut buffer = vec![0; PIECE];
        while task.at < until {
            let wanted = usize::try_from(until - task.at).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            let count = task.source.read_at(task.at, piece)?;
            if count == 0 {
                return Err(Failure::Io);
            }
            task.hasher.update(piece.get(..count).unwrap_or_default());
            task.at += count as u64;
        }
        if task.at < whole {
            return Ok(Some(task));
        }
        if self.losses() != Some(task.losses) {
            // It may have read bytes that a failed sync has lost, and that the client has sent again since.
            return Err(Failure::Io);
        }
        let digest = task.hasher.finish();
        let sha256 = digest.as_bytes().try_into().ok();
        self.found(DigestFound { id, created, sha256 })?;
        Ok(None)
    }

    fn found(&self, found: DigestFound) -> Result<(), Failure> {
        match self.commit(&[Change::Digest(found)]).pop() {
            Some(Completion::Failed(failure)) => Err(failure),
            _ => Ok(()),
        }
    }

    /// The first upload that is noted, past `after`.
    fn next_undigested(&self, after: Option<&UploadId>) -> Result<Option<UploadId>, Failure> {
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer)?;
        let read = || {
            let table = match database.begin_read()?.open_table(UNDIGESTED) {
                // No upload was ever noted.
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_str()));
            let next = table.range::<&str>((start, Bound::Unbounded))?.next().transpose()?;
            let id = next.map(|(key, _)| UploadId::new(key.value()));
            id.map(|id| id.ok_or_else(|| Error::damaged("an upload's id in an index"))).transpose()
        };
        let found = read();
        found.map_err(|trouble| self.give_up(&mut writer, database, trouble))
    }
}
