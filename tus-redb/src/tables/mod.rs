//! What changes do to the tables: the same code for a group that is committed and for one that is replayed. One type,
//! [`Tables`], whose methods stand in a file each for creation and progress (`apply.rs`), removal, concatenation, data files,
//! events, consolidation, digests and roll-back; here is what they share.

mod apply;
pub(crate) mod concat;
pub(crate) mod consolidation;
mod digests;
pub(crate) mod event_codec;
pub(crate) mod events;
mod files;
pub(crate) mod migration;
mod removal;
pub(crate) mod rollback;
pub(crate) mod step;

use redb::{ReadableTable, Table, WriteTransaction};
use tus_driver::{EventKind, EventKinds as Events};
use tus_proto::{Completion, UploadId, WallTime};

use crate::{
    error::Error,
    files::file_id::FileId,
    records::{
        database::{EXPIRY, FILES, INLINE, LAPSES, PENDING_UNLINK, TOMBSTONES, UPLOADS, WAITING},
        overlay::Overlay,
        record::Row,
    },
};

/// What a step came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) completion: Completion,
    /// Whether the tables were changed.
    pub(crate) changed: bool,
}

/// What a transaction did in addition to the records, for what must follow once it is committed.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Extents that grew in their files, each with the length it had.
    pub(crate) grown: Vec<(FileId, UploadId, u64)>,
    /// Files that have taken over bytes that lay in the records.
    pub(crate) spilled: Vec<FileId>,
    /// Files of another upload that a final now refers to as well.
    pub(crate) shared: Vec<(FileId, UploadId)>,
    /// Files nothing refers to any more.
    pub(crate) pending_unlink: Vec<FileId>,
    /// Whether an upload became complete that is to be put into one file.
    pub(crate) fragmented: bool,
    /// Whether an upload became complete that is to be digested.
    pub(crate) undigested: bool,
    /// Uploads that were complete, and are not any more.
    pub(crate) fallen: Vec<UploadId>,
    /// How many finals were completed by a commit to their last part.
    pub(crate) finals: u64,
    /// Uploads of which events were kept.
    pub(crate) events: Vec<UploadId>,
    /// [`Tables::block`].
    pub(crate) block: u64,
    /// For a batch: what readers see of the transaction before it is committed.
    pub(crate) overlay: Option<Overlay>,
}

/// Why an upload goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// Its client said so, or the operator.
    Request,
    /// Its time was over. Its id is remembered until then.
    Expiry { remember: WallTime },
    /// It was a part, and its final is complete; or the server has made something else of it.
    Consumed,
    /// It was a final, and the disk has lost bytes of it.
    Rollback,
}

/// What a transaction notes of uploads that become complete, or go, for later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keeps {
    pub(crate) events: Events,
    /// Those that are to be put into one file.
    pub(crate) fragmented: bool,
    /// The time, in microseconds: from then on its events are due.
    pub(crate) now: u64,
    /// When finished uploads expire that are finished now, in microseconds; `None` if they do not.
    pub(crate) finished_expire: Option<u64>,
    /// Whether complete uploads are noted so that their digests are computed.
    pub(crate) digests: bool,
}

/// The tables of one transaction.
pub(crate) struct Tables<'txn> {
    uploads: Table<'txn, &'static str, &'static [u8]>,
    pub(crate) files: Table<'txn, u64, u32>,
    pub(crate) inline: Table<'txn, u64, &'static [u8]>,
    tombstones: Table<'txn, &'static str, u64>,
    /// For the tables that few transactions touch.
    pub(crate) txn: &'txn WriteTransaction,
    pub(crate) keeps: Keeps,
    pub(crate) effects: Effects,
    /// The highest block of fencing numbers and file ids that the records are known to mark as used.
    pub(crate) block: u64,
}

impl<'txn> Tables<'txn> {
    pub(crate) fn open(txn: &'txn WriteTransaction, keeps: Keeps) -> Result<Self, Error> {
        Ok(Self {
            uploads: txn.open_table(UPLOADS)?,
            files: txn.open_table(FILES)?,
            inline: txn.open_table(INLINE)?,
            tombstones: txn.open_table(TOMBSTONES)?,
            txn,
            keeps,
            effects: Effects::default(),
            block: 0,
        })
    }

    pub(crate) fn pending_unlink(&self) -> Result<Table<'txn, u64, ()>, Error> {
        Ok(self.txn.open_table(PENDING_UNLINK)?)
    }

    pub(crate) fn expiry(&self) -> Result<Table<'txn, (u64, &'static str), ()>, Error> {
        Ok(self.txn.open_table(EXPIRY)?)
    }

    pub(crate) fn lapses(&self) -> Result<Table<'txn, (u64, &'static str), ()>, Error> {
        Ok(self.txn.open_table(LAPSES)?)
    }

    pub(crate) fn waiting(&self) -> Result<Table<'txn, (&'static str, &'static str), ()>, Error> {
        Ok(self.txn.open_table(WAITING)?)
    }

    pub(crate) fn row(&self, id: &UploadId) -> Result<Option<Row>, Error> {
        let Some(bytes) = self.uploads.get(id.as_str())? else { return Ok(None) };
        match Row::decode(bytes.value()) {
            Some(row) => Ok(Some(row)),
            None => Err(Error::damaged(&format!("the record of {id}"))),
        }
    }

    /// The row of an upload that a change concerns in addition to its own; `None` also if it is damaged.
    pub(crate) fn row_of_another(&self, id: &UploadId) -> Result<Option<Row>, Error> {
        match self.row(id) {
            Err(trouble) if trouble.damaged => Ok(None),
            other => other,
        }
    }

    /// Whether an upload has this id, or had it until lately.
    pub(crate) fn is_taken(&self, id: &UploadId) -> Result<bool, Error> {
        Ok(self.uploads.get(id.as_str())?.is_some() || self.tombstones.get(id.as_str())?.is_some())
    }

    /// Writes the row of a plain upload or a final that is complete from now on. [`Self::scatter`] follows, once parts
    /// that it consumes are gone.
    pub(crate) fn put_complete(
        &mut self,
        id: &UploadId,
        before: Option<WallTime>,
        row: &Row,
    ) -> Result<(), Error> {
        mutation!("completion-not-told", self.post(EventKind::Completed, id, row)?, ());
        if self.keeps.finished_expire.is_none() && !self.keeps.digests {
            return self.put(id, before, row);
        }
        let expires = self.keeps.finished_expire.map(WallTime::from_micros).or(row.expires);
        self.note_undigested(id)?;
        self.put(id, before, &Row { expires, sha256: None, ..row.clone() })
    }

    /// Writes a row; `before` is when the one in its place was to expire.
    pub(crate) fn put(&mut self, id: &UploadId, before: Option<WallTime>, row: &Row) -> Result<(), Error> {
        self.uploads.insert(id.as_str(), row.encode().as_slice())?;
        self.note_number(row.fence.0)?;
        if let Some(overlay) = &mut self.effects.overlay {
            overlay.put(id, row);
        }
        self.reindex(id, before, row.expires)
    }

    /// Notes for the overlay that something other than a row changed which readers look at.
    pub(crate) fn note_more(&mut self) {
        if let Some(overlay) = &mut self.effects.overlay {
            overlay.note_more();
        }
    }

    fn reindex(
        &mut self,
        id: &UploadId,
        before: Option<WallTime>,
        after: Option<WallTime>,
    ) -> Result<(), Error> {
        if before == after {
            return Ok(());
        }
        if let Some(before) = before {
            self.expiry()?.remove((before.as_micros(), id.as_str()))?;
        }
        if let Some(after) = after {
            self.expiry()?.insert((after.as_micros(), id.as_str()), ())?;
        }
        Ok(())
    }
}

pub(crate) fn changed(completion: Completion) -> Outcome {
    Outcome { completion, changed: true }
}

pub(crate) fn unchanged(completion: Completion) -> Outcome {
    Outcome { completion, changed: false }
}
