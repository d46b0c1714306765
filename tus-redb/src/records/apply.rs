//! What changes do to the tables: the same code for a group that is committed and for one that is replayed.

use redb::{ReadableTable, Table, WriteTransaction};
use tus_proto::{Completion, Explicit, Fence, UploadId, WallTime};

use crate::{
    error::Error,
    files::FileId,
    maintenance::consolidate::CopyState,
    outbox::{EventKind, Events},
    records::{
        concat::{Concatenation, Then},
        database::{self, EXPIRY, FILES, INLINE, LAPSES, PENDING_UNLINK, TOMBSTONES, UPLOADS, WAITING},
        overlay::Overlay,
        record::{Extent, Kind, Row, Sha256},
    },
};

/// A change with everything in it that decides its outcome. What the log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create {
        id: UploadId,
        created: WallTime,
        length: Option<u64>,
        metadata: String,
        expires: Option<WallTime>,
        partial: bool,
        file: Option<FileId>,
        explicit: Option<Explicit>,
        /// The upload's first bytes, which are to lie in the records.
        inline: Option<Vec<u8>>,
    },
    Concat(Concatenation),
    Commit {
        id: UploadId,
        fence: Fence,
        from: u64,
        to: u64,
        length: Option<u64>,
        expires: Option<WallTime>,
        /// Whether it completes an upload that its length alone does not complete.
        finish: bool,
        /// All bytes of the last extent as it is then, where they are to lie in the records.
        inline: Option<Vec<u8>>,
    },
    NewExtent {
        id: UploadId,
        fence: Fence,
        at: u64,
        file: FileId,
    },
    Delete {
        id: UploadId,
        fence: Fence,
    },
    Expire {
        id: UploadId,
        before: WallTime,
        remember: WallTime,
    },
    Forget {
        id: UploadId,
    },
    Acknowledge {
        /// `None` in a journal of format 3.
        id: Option<UploadId>,
        number: u64,
    },
    Annotate {
        id: UploadId,
        number: u64,
        note: Vec<u8>,
    },
    Consume {
        id: UploadId,
    },
    Postpone {
        id: UploadId,
        number: u64,
        until: WallTime,
    },
    Consolidation {
        id: UploadId,
        state: CopyState,
    },
    /// The SHA-256 of a complete upload, which was `created` then: another may have its id by now.
    Digest {
        id: UploadId,
        created: WallTime,
        /// `None` if there is nothing to digest.
        sha256: Option<Sha256>,
    },
}

impl Step {
    /// How many bytes it puts into the records, as far as they have no bound.
    pub(crate) fn record_bytes(&self) -> u64 {
        const ROW: usize = 512;
        let bytes = match self {
            Self::Create { metadata, inline, .. } => {
                ROW + metadata.len() + inline.as_ref().map_or(0, Vec::len)
            }
            Self::Concat(wanted) => ROW + wanted.metadata.len() + wanted.header.len(),
            Self::Commit { inline, .. } => ROW + inline.as_ref().map_or(0, Vec::len),
            Self::Annotate { note, .. } => ROW + note.len(),
            Self::NewExtent { .. }
            | Self::Consolidation { .. }
            | Self::Postpone { .. }
            | Self::Consume { .. }
            | Self::Digest { .. } => ROW,
            Self::Delete { .. } | Self::Expire { .. } | Self::Forget { .. } | Self::Acknowledge { .. } => 0,
        };
        bytes as u64
    }
}

/// What a step came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) completion: Completion,
    /// Whether the tables are another now.
    pub(crate) changed: bool,
}

/// What a transaction did beside the records, for those who must know once it is committed.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Extents that grew in their files, each with the length it had.
    pub(crate) grown: Vec<(FileId, UploadId, u64)>,
    /// Files that hold now what lay in the records.
    pub(crate) spilled: Vec<FileId>,
    /// Files that a final came to refer to beside another upload.
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
    /// What is looked at before the transaction is committed, where it is a batch's.
    pub(crate) overlay: Option<Overlay>,
}

/// Why an upload goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// Its client said so, or the operator.
    Request,
    /// Its time was over. It is remembered as long.
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
    /// Up to which block the records are known to tell that its numbers are used.
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

    /// Whether an upload has this id, or had it until lately.
    pub(crate) fn is_taken(&self, id: &UploadId) -> Result<bool, Error> {
        Ok(self.uploads.get(id.as_str())?.is_some() || self.tombstones.get(id.as_str())?.is_some())
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

    fn delete(&mut self, id: &UploadId, fence: Fence) -> Result<Outcome, Error> {
        let Some(row) = self.row(id)? else { return Ok(unchanged(Completion::Missing)) };
        if fence < mutation!("fence-ignored", row.fence, Fence(0)) {
            return Ok(unchanged(Completion::Conflict { offset: row.offset() }));
        }
        self.remove(id, &row, Cause::Request)?;
        Ok(changed(Completion::Deleted))
    }

    /// Removes a complete upload, and tells nobody.
    fn consume(&mut self, id: &UploadId) -> Result<Outcome, Error> {
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

    /// Every upload that goes, goes here.
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
    fn expire(&mut self, id: &UploadId, before: WallTime, remember: WallTime) -> Result<Outcome, Error> {
        let Some(row) = self.row(id)? else { return Ok(unchanged(Completion::Missing)) };
        let is_due = row.expires.is_some_and(|expires| expires <= before);
        // The hook or the publication that an event is for needs the upload's bytes.
        if !is_due || (row.is_finished() && self.first_event(id)?.is_some()) {
            return Ok(unchanged(Completion::Conflict { offset: row.offset() }));
        }
        self.remove(id, &row, Cause::Expiry { remember })?;
        Ok(changed(Completion::Deleted))
    }

    fn forget_expired(&mut self, id: &UploadId) -> Result<Outcome, Error> {
        let remembered = self.tombstones.remove(id.as_str())?.map(|until| until.value());
        let Some(until) = remembered else { return Ok(unchanged(Completion::Missing)) };
        self.note_more();
        self.lapses()?.remove((until, id.as_str()))?;
        Ok(changed(Completion::Deleted))
    }

    /// Adds a reference to a file that another upload refers to.
    pub(crate) fn share(&mut self, file: FileId, id: &UploadId) -> Result<(), Error> {
        let count = self.files.get(file.0)?.map_or(0, |count| count.value());
        self.files.insert(file.0, count + 1)?;
        self.effects.shared.push((file, id.clone()));
        Ok(())
    }

    /// Notes a new file, with one reference to it.
    pub(crate) fn add_file(&mut self, file: FileId) -> Result<(), Error> {
        self.files.insert(file.0, 1)?;
        self.note_number(file.0)
    }

    /// A fencing number or file id comes into the records: the next opening gives out only higher ones.
    fn note_number(&mut self, number: u64) -> Result<(), Error> {
        let block = number >> 32;
        if block > self.block {
            database::note_block(self.txn, block)?;
            self.block = block;
        }
        Ok(())
    }

    /// Drops one reference to a file.
    pub(crate) fn release(&mut self, file: FileId) -> Result<(), Error> {
        let count = self.files.get(file.0)?.map_or(0, |count| count.value());
        if count > 1 {
            self.files.insert(file.0, count - 1)?;
            self.unpark(file, count - 1)?;
        } else {
            self.files.remove(file.0)?;
            self.pending_unlink()?.insert(file.0, ())?;
            self.effects.pending_unlink.push(file);
        }
        Ok(())
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

    /// Notes that something is another now which is looked at, and is no row that is still there.
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
