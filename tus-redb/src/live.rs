//! The records as whoever looks sees them: the open database, and one read transaction for all until the next commit.

use std::{fmt::Debug, io, sync::Arc};

use redb::{
    CompactionError, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTableMetadata,
};
use tus_proto::UploadId;

use crate::{
    database::{EVENTS, SCATTERED, SMALL, TOMBSTONES, UPLOADS},
    error::Trouble,
    files::FileId,
    materialize::Progress,
    recent::Recent,
    record::{Piece, Row},
};

/// The open database. Only who holds the writer's lock keeps a copy of it for longer than a look.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) database: Option<Arc<Database>>,
    view: Option<View>,
    /// What goes before the view.
    pub(crate) recent: Recent,
}

/// A read transaction, used until the next commit.
struct View {
    uploads: ReadOnlyTable<&'static str, &'static [u8]>,
    tombstones: ReadOnlyTable<&'static str, u64>,
    small: ReadOnlyTable<u64, &'static [u8]>,
    transaction: ReadTransaction,
}

impl Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Live {
    pub(crate) fn new(database: Database) -> Self {
        Self { database: Some(Arc::new(database)), ..Self::default() }
    }

    /// All that was changed is committed: what was read before this is old now.
    pub(crate) fn renew(&mut self) {
        self.view = None;
        self.recent = Recent::default();
    }

    /// What was read need not be held.
    pub(crate) fn rest(&mut self) {
        self.view = None;
    }

    /// [`Database::compact`], for who holds the writer's lock.
    pub(crate) fn compact(&mut self) -> Result<(), Trouble> {
        self.view = None;
        let database = self.database.as_mut().and_then(Arc::get_mut).ok_or_else(closed)?;
        database.compact().map(drop).map_err(|error| match error {
            CompactionError::Storage(error) => error.into(),
            other => io::Error::other(other).into(),
        })
    }

    /// A read transaction of its own.
    pub(crate) fn snapshot(&self) -> Result<ReadTransaction, Trouble> {
        Ok(self.database.as_ref().ok_or_else(closed)?.begin_read()?)
    }

    fn view(&mut self) -> Result<&View, Trouble> {
        if self.view.is_none() {
            let database = self.database.as_ref().ok_or_else(closed)?;
            let transaction = database.begin_read()?;
            let (uploads, tombstones) =
                (transaction.open_table(UPLOADS)?, transaction.open_table(TOMBSTONES)?);
            let small = transaction.open_table(SMALL)?;
            self.view = Some(View { uploads, tombstones, small, transaction });
        }
        self.view.as_ref().ok_or_else(closed)
    }

    pub(crate) fn remembers(&mut self, id: &UploadId) -> Result<bool, Trouble> {
        Ok(self.view()?.tombstones.get(id.as_str())?.is_some())
    }

    pub(crate) fn events(&mut self) -> Result<u64, Trouble> {
        Ok(self.view()?.transaction.open_table(EVENTS)?.len()?)
    }

    /// Whether an upload is to be put into one file; and if so, how far that is.
    pub(crate) fn scattered(&mut self, id: &UploadId) -> Result<Option<Option<Progress>>, Trouble> {
        let entry = self.view()?.transaction.open_table(SCATTERED)?.get(id.as_str())?;
        Ok(entry.map(|entry| entry.value().map(Progress::from)))
    }

    /// An extent's bytes, where they lie in the records.
    pub(crate) fn small(&mut self, piece: Piece) -> Result<Option<Vec<u8>>, Trouble> {
        let Ok(len) = usize::try_from(piece.len) else { return Ok(None) };
        if let Some(bytes) = mutation!("batch-without-its-bodies", self.recent.small(piece.file), None) {
            return Ok(bytes.get(..len).map(<[u8]>::to_vec));
        }
        let entry = self.view()?.small.get(piece.file.0)?;
        Ok(entry.and_then(|entry| entry.value().get(..len).map(<[u8]>::to_vec)))
    }

    /// Whether an extent's bytes lie in the records.
    pub(crate) fn is_small(&mut self, piece: Piece) -> Result<bool, Trouble> {
        Ok(piece.len > 0 && self.small_len(piece.file)? >= piece.len)
    }

    /// How many bytes of a file lie in the records.
    pub(crate) fn small_len(&mut self, file: FileId) -> Result<u64, Trouble> {
        if let Some(bytes) = mutation!("batch-without-its-bodies", self.recent.small(file), None) {
            return Ok(bytes.len() as u64);
        }
        Ok(self.view()?.small.get(file.0)?.map_or(0, |entry| entry.value().len() as u64))
    }

    pub(crate) fn row(&mut self, id: &UploadId) -> Result<Option<Row>, Trouble> {
        if let Some(row) = mutation!("batch-not-shown", self.recent.row(id), None) {
            return Ok(Some(row.clone()));
        }
        let Some(bytes) = self.view()?.uploads.get(id.as_str())? else { return Ok(None) };
        match Row::decode(bytes.value()) {
            Some(row) => Ok(Some(row)),
            None => Err(Trouble::damaged(&format!("the record of {id}"))),
        }
    }
}

/// The records could not be opened again after an error; the next call tries once more.
fn closed() -> Trouble {
    io::Error::other("the records are closed").into()
}
