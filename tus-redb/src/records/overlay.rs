//! Batches, which are groups that share a transaction of the records. It is the log that makes a group true; a transaction
//! for each would be a fifth of what a small upload costs. Until a batch is committed nobody but its writer sees what is in it: so the rows and the small bodies that it changed stand here, for whoever
//! looks. Where it changes anything else that is looked at, it is committed at once.

use std::collections::HashMap;

use redb::WriteTransaction;
use tus_proto::UploadId;

use crate::{
    error::Error,
    files::FileId,
    records::record::Row,
    store::{Store, Writer, lock},
};

/// How many rows a batch changes before it is committed,
const ROWS: usize = 64;
/// and how many bytes of small bodies, which are in memory once more until then.
const BYTES: usize = 256 << 10;

/// What a batch changed that is looked at.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    rows: HashMap<UploadId, Row>,
    inline: HashMap<FileId, Vec<u8>>,
    /// How many bytes those are.
    bytes: usize,
    /// Whether it changed more than these.
    more: bool,
}

impl Overlay {
    pub(crate) fn row(&self, id: &UploadId) -> Option<&Row> {
        self.rows.get(id)
    }

    pub(crate) fn inline(&self, file: FileId) -> Option<&[u8]> {
        self.inline.get(&file).map(Vec::as_slice)
    }

    /// A row is this from now on.
    pub(crate) fn put(&mut self, id: &UploadId, row: &Row) {
        self.rows.insert(id.clone(), row.clone());
    }

    /// The bytes of a file that lie in the records are these.
    pub(crate) fn keep(&mut self, file: FileId, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        let before = self.inline.insert(file, bytes);
        self.bytes -= before.map_or(0, |before| before.len());
    }

    /// Something else is another now.
    pub(crate) fn note_more(&mut self) {
        self.more = true;
    }

    /// Adds what a later group changed.
    pub(crate) fn extend(&mut self, later: Self) {
        self.rows.extend(later.rows);
        for (file, bytes) in later.inline {
            self.keep(file, bytes);
        }
        self.more |= later.more;
    }

    /// Whether the batch is to be committed now.
    fn is_over(&self) -> bool {
        self.more || self.rows.len() >= ROWS || self.bytes >= BYTES
    }
}

impl Store {
    /// A group is in the log, and in this transaction: shows it, and leaves the batch open for the next one, unless
    /// it is time to commit it.
    pub(crate) fn go_on(
        &self,
        writer: &mut Writer,
        txn: WriteTransaction,
        changed: Overlay,
    ) -> Result<(), Error> {
        let is_over = {
            let overlay = &mut lock(&self.live).overlay;
            overlay.extend(changed);
            overlay.is_over()
        };
        writer.batch = Some(txn);
        if is_over { self.publish(writer) } else { Ok(()) }
    }

    /// Commits the batch, where there is one. How many groups were committed is noted with the next flush: without that
    /// nobody reads it from the tables.
    pub(crate) fn publish(&self, writer: &mut Writer) -> Result<(), Error> {
        let Some(txn) = writer.batch.take() else { return Ok(()) };
        txn.commit()?;
        self.renew_view();
        Ok(())
    }
}
