//! Looking into a store: its uploads one after another, where their bytes are, and the bytes.

pub(crate) mod adopt;
pub(crate) mod finding;
pub(crate) mod inspect;
pub(crate) mod inventory;
pub(crate) mod query;
pub(crate) mod remedy;
mod repair;
mod repair_tables;
pub(crate) mod verify;

use std::{io, ops::Bound, path::PathBuf};

use redb::ReadableDatabase;
use tus_proto::{Completion, Failure, Fence, Record, UploadId};

use crate::{
    error::{Error, Rejected},
    files::file_id::Extent,
    mutex::lock,
    records::{database::UPLOADS, record::Row},
    store::{Store, change::Change, source::Body},
};

/// An upload in all detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What every client may know.
    pub record: Record,
    /// The highest fencing number that was committed.
    pub fence: Fence,
    /// Where the bytes are, in order. Those of a pending final are of its finished parts.
    pub extents: Vec<ExtentFile>,
}

/// A part of an upload's body: the first bytes of a data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtentFile {
    /// The data file. It is not there before its first byte.
    pub path: PathBuf,
    /// How many of its bytes are committed.
    pub committed: u64,
    /// How long it is; more than `committed` where bytes were staged. `None` if it is not there, or not needed.
    pub file_len: Option<u64>,
    /// Whether the bytes lie in the records, and the file is not needed.
    pub in_records: bool,
}

impl Store {
    /// At most `limit` uploads in the order of their ids, from the one after `after` on.
    pub fn list(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<Record>, Failure> {
        let rows = self.rows(after, limit).map_err(|trouble| self.staging.note(trouble))?;
        Ok(rows.into_iter().filter_map(|(id, row)| Some(row?.listed(&id))).collect())
    }

    /// An upload in all detail; `None` if there is no such upload.
    pub fn describe(&self, id: &UploadId) -> Result<Option<Description>, Failure> {
        let Some(row) = self.row(id)? else { return Ok(None) };
        let extents = row.references().map(|extent| self.extent(extent)).collect::<Result<_, _>>();
        let extents = extents.map_err(|trouble| self.staging.note(trouble))?;
        Ok(Some(Description { record: row.listed(id), fence: row.fence, extents }))
    }

    /// The committed bytes of an upload; `None` if there is no such upload.
    pub fn read(&self, id: &UploadId) -> Result<Option<Body>, Failure> {
        match self.open_source(id) {
            Ok(source) => Ok(Some(Body::new(source))),
            Err(Rejected::Failed(failure)) => Err(failure),
            Err(Rejected::Lost(_)) => Err(Failure::Io),
            Err(_) => Ok(None),
        }
    }

    /// The data files that hold an upload's committed bytes, in order, each with how many of them, which are its
    /// first. Empty where there are none, where some lie in the records, and where there is no such upload.
    pub fn paths(&self, id: &UploadId) -> Result<Vec<(PathBuf, u64)>, Failure> {
        let extents = self.row(id)?.map(|row| row.extents).unwrap_or_default();
        let mut paths = Vec::new();
        for extent in extents.iter().filter(|extent| extent.len > 0) {
            let is_inline = lock(&self.live).is_inline(*extent);
            if is_inline.map_err(|trouble| self.staging.note(trouble))? {
                return Ok(Vec::new());
            }
            paths.push((self.disk.locate(&extent.file.path()), extent.len));
        }
        Ok(paths)
    }

    /// Removes an upload and its bytes, for a process that alone has the store open. Returns whether there was one.
    pub fn delete(&self, id: &UploadId) -> Result<bool, Failure> {
        let delete = Change::Delete { id: id.clone(), fence: Fence(u64::MAX) };
        match self.commit(&[delete]).pop() {
            Some(Completion::Deleted) => {
                self.flush()?;
                while self.reclaim(64)? > 0 {}
                Ok(true)
            }
            Some(Completion::Failed(failure)) => Err(failure),
            _ => Ok(false),
        }
    }

    pub(crate) fn extent(&self, extent: Extent) -> Result<ExtentFile, Error> {
        let (path, committed) = (self.disk.locate(&extent.file.path()), extent.len);
        if lock(&self.live).is_inline(extent)? {
            return Ok(ExtentFile { path, committed, file_len: None, in_records: true });
        }
        let file_len = match self.staging.files.open(extent.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other?.len()?),
        };
        Ok(ExtentFile { path, committed, file_len, in_records: false })
    }

    /// Rows in the order of their ids; none in place of one that is damaged.
    pub(crate) fn rows(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Option<Row>)>, Error> {
        let mut writer = lock(&self.writer);
        let database = self.database(&mut writer).map_err(|_| Error::damaged("records closed"))?;
        let txn = database.begin_read()?;
        let table = txn.open_table(UPLOADS)?;
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_str()));
        let mut rows = Vec::new();
        for entry in table.range::<&str>((start, Bound::Unbounded))?.take(limit) {
            let (key, value) = entry?;
            let id = UploadId::new(key.value()).ok_or_else(|| Error::damaged("an upload's id"))?;
            rows.push((id, Row::decode(value.value())));
        }
        Ok(rows)
    }
}
