//! The records as readers see them: the open database, and one read transaction for all until the next commit.

use std::{fmt::Debug, io, sync::Arc};

use redb::{
    CompactionError, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTableMetadata,
};
use tus_proto::UploadId;

use crate::{
    error::Error,
    files::file_id::{Extent, FileId},
    records::{
        copy::CopyProgress,
        database::{EVENTS, FRAGMENTED, INLINE, TOMBSTONES, UPLOADS},
        overlay::Overlay,
        record::Row,
    },
};

/// The open database. Only who holds the writer's lock keeps a copy of it for longer than a look.
#[derive(Default)]
pub(crate) struct ReadView {
    pub(crate) database: Option<Arc<Database>>,
    view: Option<View>,
    /// What goes before the view.
    pub(crate) overlay: Overlay,
}

/// A read transaction, used until the next commit.
struct View {
    uploads: ReadOnlyTable<&'static str, &'static [u8]>,
    tombstones: ReadOnlyTable<&'static str, u64>,
    inline: ReadOnlyTable<u64, &'static [u8]>,
    transaction: ReadTransaction,
}

impl Debug for ReadView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("database", &self.database).finish_non_exhaustive()
    }
}

impl ReadView {
    pub(crate) fn new(database: Database) -> Self {
        Self { database: Some(Arc::new(database)), ..Self::default() }
    }

    /// All that was changed is committed: what was read before this is old now.
    pub(crate) fn renew(&mut self) {
        self.view = None;
        self.overlay = Overlay::default();
    }

    /// What was read need not be held.
    pub(crate) fn drop_view(&mut self) {
        self.view = None;
    }

    /// [`Database::compact`], for who holds the writer's lock.
    pub(crate) fn compact(&mut self) -> Result<(), Error> {
        self.view = None;
        let database = self.database.as_mut().and_then(Arc::get_mut).ok_or_else(closed)?;
        database.compact().map(drop).map_err(|error| match error {
            CompactionError::Storage(error) => error.into(),
            other => io::Error::other(other).into(),
        })
    }

    /// A read transaction of its own.
    pub(crate) fn snapshot(&self) -> Result<ReadTransaction, Error> {
        Ok(self.database.as_ref().ok_or_else(closed)?.begin_read()?)
    }

    fn view(&mut self) -> Result<&View, Error> {
        if self.view.is_none() {
            let database = self.database.as_ref().ok_or_else(closed)?;
            let transaction = database.begin_read()?;
            let (uploads, tombstones) =
                (transaction.open_table(UPLOADS)?, transaction.open_table(TOMBSTONES)?);
            let inline = transaction.open_table(INLINE)?;
            self.view = Some(View { uploads, tombstones, inline, transaction });
        }
        self.view.as_ref().ok_or_else(closed)
    }

    pub(crate) fn remembers(&mut self, id: &UploadId) -> Result<bool, Error> {
        Ok(self.view()?.tombstones.get(id.as_str())?.is_some())
    }

    pub(crate) fn events(&mut self) -> Result<u64, Error> {
        Ok(self.view()?.transaction.open_table(EVENTS)?.len()?)
    }

    /// Whether an upload is to be put into one file; and if so, how far that is.
    pub(crate) fn fragmented(&mut self, id: &UploadId) -> Result<Option<Option<CopyProgress>>, Error> {
        let entry = self.view()?.transaction.open_table(FRAGMENTED)?.get(id.as_str())?;
        Ok(entry.map(|entry| entry.value().map(CopyProgress::from)))
    }

    /// An extent's bytes, where they lie in the records.
    pub(crate) fn inline(&mut self, extent: Extent) -> Result<Option<Vec<u8>>, Error> {
        let Ok(len) = usize::try_from(extent.len) else { return Ok(None) };
        if let Some(bytes) = mutation!("batch-without-its-bodies", self.overlay.inline(extent.file), None) {
            return Ok(bytes.get(..len).map(<[u8]>::to_vec));
        }
        let entry = self.view()?.inline.get(extent.file.0)?;
        Ok(entry.and_then(|entry| entry.value().get(..len).map(<[u8]>::to_vec)))
    }

    /// Whether an extent's bytes lie in the records.
    pub(crate) fn is_inline(&mut self, extent: Extent) -> Result<bool, Error> {
        Ok(extent.len > 0 && self.inline_len(extent.file)? >= extent.len)
    }

    /// How many bytes of a file lie in the records.
    pub(crate) fn inline_len(&mut self, file: FileId) -> Result<u64, Error> {
        if let Some(bytes) = mutation!("batch-without-its-bodies", self.overlay.inline(file), None) {
            return Ok(bytes.len() as u64);
        }
        Ok(self.view()?.inline.get(file.0)?.map_or(0, |entry| entry.value().len() as u64))
    }

    pub(crate) fn row(&mut self, id: &UploadId) -> Result<Option<Row>, Error> {
        if let Some(row) = mutation!("batch-not-shown", self.overlay.row(id), None) {
            return Ok(Some(row.clone()));
        }
        let Some(bytes) = self.view()?.uploads.get(id.as_str())? else { return Ok(None) };
        match Row::decode(bytes.value()) {
            Some(row) => Ok(Some(row)),
            None => Err(Error::damaged(&format!("the record of {id}"))),
        }
    }
}

/// The records could not be opened again after an error; the next call tries once more.
fn closed() -> Error {
    io::Error::other("the records are closed").into()
}
