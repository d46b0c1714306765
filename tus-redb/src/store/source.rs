//! Reading an upload's bytes while the server runs: they stay readable whatever becomes of the upload meanwhile.

use std::{
    fmt,
    io::{self, Read},
    os::fd::BorrowedFd,
    sync::{Arc, Mutex},
};

use tus_proto::{Failure, Record};

use crate::{
    disk::DiskFile,
    error::{Error, StoreError},
    files::{
        file_id::{Extent, FileId},
        staging::Staging,
    },
    mutex::lock,
    records::{record::Row, view::ReadView},
};

/// The committed bytes of an upload, as they were when it was opened. A deletion in between takes the record at
/// once, and the bytes when the last source of them is dropped. It has at most one file open, however many
/// the bytes are spread over, and none before the first byte is asked for; it may move between threads.
pub struct Source {
    record: Record,
    /// Where each extent begins in the upload, and where it lies. None of them is empty.
    extents: Vec<(u64, Extent)>,
    /// The extent that was read last.
    open: Option<(Extent, Bytes)>,
    /// For bytes that lie in the records.
    live: Arc<Mutex<ReadView>>,
    held: Held,
}

/// Where an extent's bytes are.
enum Bytes {
    File(Arc<dyn DiskFile>),
    Inline(Vec<u8>),
}

/// Bytes of an upload that lie side by side: at a position of a file, so many; or in the records, from where they were
/// read.
pub(crate) enum FileRange<'a> {
    File(&'a dyn DiskFile, u64, u64),
    Inline(&'a [u8]),
}

/// Bytes of an upload that lie side by side in a file, for system calls that move bytes without touching them.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The file.
    pub fd: BorrowedFd<'a>,
    /// Where in the file the first of them is.
    pub position: u64,
    /// How many there are. Never 0.
    pub len: u64,
}

impl Source {
    pub(super) fn new(record: Record, row: &Row, live: Arc<Mutex<ReadView>>, held: Held) -> Self {
        let mut start = 0;
        let mut extents = Vec::with_capacity(row.extents.len());
        for extent in row.extents.iter().filter(|extent| extent.len > 0) {
            extents.push((start, *extent));
            start += extent.len;
        }
        Self { record, extents, open: None, live, held }
    }

    /// The upload as it was when it was opened. Its offset tells how many bytes there are.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Reads bytes of the upload from `offset` on: at least one where `buf` has room for it, and not always as
    /// many as it has room for; 0 after the last.
    ///
    /// # Errors
    /// The disk's. Committed bytes that are missing are one of its errors.
    pub fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, Failure> {
        let Some((extent, position)) = self.find(offset) else { return Ok(0) };
        let wanted = usize::try_from(extent.len - position).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..wanted).unwrap_or_default();
        loop {
            let file = match self.bytes(extent)? {
                Bytes::File(file) => file,
                Bytes::Inline(bytes) => {
                    let at = usize::try_from(position).unwrap_or(usize::MAX);
                    let there = bytes.get(at..).and_then(|bytes| bytes.get(..wanted)).ok_or(Failure::Io)?;
                    buf.copy_from_slice(there);
                    return Ok(wanted);
                }
            };
            let error = match file.read_at(buf, position) {
                Ok(0) if wanted > 0 => {
                    Error::damaged(&format!("{:?} is shorter than its record", extent.file))
                }
                Ok(n) => return Ok(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error.into(),
            };
            return Err(self.held.staging.note(error));
        }
    }

    /// The file in which the byte at `offset` lies, and how many follow it there. `None` past the last byte,
    /// where the byte lies in the records, and where the disk has no such files: [`Self::read_at`] is the way then.
    ///
    /// # Errors
    /// The disk's.
    pub fn file_at(&mut self, offset: u64) -> Result<Option<Run<'_>>, Failure> {
        Ok(match self.range(offset)? {
            Some(FileRange::File(file, position, len)) => file.fd().map(|fd| Run { fd, position, len }),
            Some(FileRange::Inline(_)) | None => None,
        })
    }

    /// The same on any disk, and for bytes in the records.
    pub(crate) fn range(&mut self, offset: u64) -> Result<Option<FileRange<'_>>, Failure> {
        let Some((extent, position)) = self.find(offset) else { return Ok(None) };
        Ok(Some(match self.bytes(extent)? {
            Bytes::File(file) => FileRange::File(&**file, position, extent.len - position),
            Bytes::Inline(bytes) => {
                let at = usize::try_from(position).unwrap_or(usize::MAX);
                FileRange::Inline(bytes.get(at..).unwrap_or_default())
            }
        }))
    }

    /// The extent of a byte, and where in its file the byte is; `None` past the last.
    fn find(&self, offset: u64) -> Option<(Extent, u64)> {
        let behind = self.extents.partition_point(|(start, _)| *start <= offset);
        let (start, extent) = self.extents.get(behind.checked_sub(1)?)?;
        Some((*extent, offset - start)).filter(|(extent, position)| *position < extent.len)
    }

    /// An extent's bytes, in place of those opened before.
    fn bytes(&mut self, extent: Extent) -> Result<&Bytes, Failure> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != extent) {
            self.open = None;
            let staging = &self.held.staging;
            let inline = lock(&self.live).inline(extent).map_err(|trouble| staging.note(trouble))?;
            let bytes = match inline {
                Some(bytes) => Bytes::Inline(bytes),
                None => Bytes::File(staging.files.open(extent.file).map_err(|error| staging.note(error))?),
            };
            self.open = Some((extent, bytes));
        }
        self.open.as_ref().map(|(_, bytes)| bytes).ok_or(Failure::Io)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("record", &self.record).finish_non_exhaustive()
    }
}

/// An upload's committed bytes, from the first on.
#[derive(Debug)]
pub struct Body {
    source: Source,
    at: u64,
}

impl Body {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, at: 0 }
    }

    /// The upload as it was when it was opened. Its offset tells how many bytes there are.
    pub fn record(&self) -> &Record {
        self.source.record()
    }
}

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read_at(self.at, buf).map_err(|failure| io::Error::other(StoreError(failure)))?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Keeps data files from being reclaimed.
pub(crate) struct Held {
    staging: Arc<Staging>,
    pub(super) files: Vec<FileId>,
}

impl Held {
    pub(crate) fn new(staging: &Arc<Staging>, files: Vec<FileId>) -> Self {
        mutation!("source-not-held", staging.hold(&files), ());
        Self { staging: staging.clone(), files }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.staging.let_go(&self.files);
    }
}

pub(super) fn files(row: &Row) -> impl Iterator<Item = FileId> {
    row.extents.iter().map(|extent| extent.file)
}
