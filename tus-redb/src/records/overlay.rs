//! What an open batch changed of the records. A batch is groups of changes that share a transaction: a group
//! is committed by the log, and a transaction for each would be a fifth of what a small upload costs. Until a batch is committed,
//! only its writer sees what is in it: so the rows and the small bodies that it changed are here, for readers. If it changes
//! anything else that is read, it is committed at once: see `store/batch.rs`.

use std::collections::HashMap;

use tus_proto::UploadId;

use crate::{files::file_id::FileId, records::record::Row};

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
    pub(crate) fn is_over(&self) -> bool {
        self.more || self.rows.len() >= ROWS || self.bytes >= BYTES
    }
}
