//! Where an Append's bytes go: beyond the committed offset, invisible until they are committed.

use std::{
    os::fd::BorrowedFd,
    sync::{Arc, atomic::Ordering},
};

use tus_proto::Failure;

use crate::{
    disk::{is_full, read_exact, write_all},
    error::WriteError,
    files::append_lease::AppendLease,
};

/// The end of an upload that is being written. It belongs to one writer at a time, and may move between
/// threads; nothing is made on the disk before its first byte.
#[derive(Debug)]
pub struct Sink {
    lease: Arc<AppendLease>,
    at: u64,
}

impl Sink {
    pub(crate) fn new(lease: Arc<AppendLease>) -> Self {
        let at = lease.staged.load(Ordering::Acquire);
        Self { lease, at }
    }

    /// Stages `bytes` after those staged before. On failure the error tells how many were.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.lease.keep(bytes) {
            self.advance(bytes.len() as u64);
            return Ok(());
        }
        let file = self.lease.file().map_err(|failure| WriteError { written: 0, failure })?;
        let staged = self.lease.staged.load(Ordering::Acquire);
        let (written, error) = match write_all(&**file, bytes, staged - self.lease.start) {
            Ok(()) => (bytes.len(), None),
            Err((written, error)) => (written, Some(error)),
        };
        self.advance(written as u64);
        match error {
            None => Ok(()),
            Some(error) if is_full(&error) => Err(WriteError { written, failure: Failure::NoSpace }),
            Some(error) => Err(WriteError { written, failure: self.lease.note(error) }),
        }
    }

    /// Whether [writing](Self::write) so many bytes would not touch the disk: they are few enough to be kept in memory,
    /// from where a commit takes them into the records. For who need not wait then; `write` does what fits best in any
    /// case.
    pub fn would_keep(&self, len: usize) -> bool {
        self.lease.would_keep(len)
    }

    /// The data file, made now if it is not there, and the position in it where the next byte goes, for those
    /// who can move bytes into a file without touching them. They say with [`Self::advance`] how many they
    /// moved. `None` if the disk has no such files: then [`Self::write`] is the way.
    pub fn splice_target(&mut self) -> Result<Option<(BorrowedFd<'_>, u64)>, Failure> {
        let position = self.lease.staged.load(Ordering::Acquire) - self.lease.start;
        Ok(self.lease.file()?.fd().map(|fd| (fd, position)))
    }

    /// `n` bytes were moved to [`Self::splice_target`].
    pub fn advance(&mut self, n: u64) {
        self.lease.staged.fetch_add(n, Ordering::AcqRel);
    }

    /// How many bytes were staged through this sink.
    pub fn staged(&self) -> u64 {
        self.lease.staged.load(Ordering::Acquire) - self.at
    }

    /// What makes the staged bytes durable.
    pub fn syncer(&self) -> Syncer {
        Syncer { lease: self.lease.clone() }
    }
}

/// Makes a sink's bytes durable, on another thread if need be, while the sink goes on writing.
#[derive(Clone, Debug)]
pub struct Syncer {
    pub(crate) lease: Arc<AppendLease>,
}

impl Syncer {
    /// Makes durable what is staged when the call begins; with eventual durability leaves that to the next
    /// flush. With `finish_at`, the offset at which the upload is complete, it first cuts what earlier
    /// writers left after that; nobody writes meanwhile then.
    ///
    /// After a failure the bytes count as lost: the sink takes no more, and no commit of it succeeds.
    pub fn sync(&self, finish_at: Option<u64>) -> Result<(), Failure> {
        self.lease.sync(finish_at)
    }

    /// Whether [`Self::sync`] has anything to do on the disk: not while all staged bytes go into the records.
    pub fn needs_disk(&self) -> bool {
        self.lease.needs_disk()
    }

    /// Reads staged bytes back, those from `from` to `to` of the upload, and hands them to `take` in pieces.
    /// They need not have been synced.
    pub fn read_back(&self, from: u64, to: u64, take: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
        const PIECE: usize = 256 << 10;
        if let Some(bytes) = self.lease.inline_up_to(to) {
            let from = from.checked_sub(self.lease.start).and_then(|from| usize::try_from(from).ok());
            take(from.and_then(|from| bytes.get(from..)).ok_or(Failure::Io)?);
            return Ok(());
        }
        let file = self.lease.open_file()?;
        let mut buffer = vec![0; PIECE];
        let mut at = from;
        while at < to {
            let wanted = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
            let extent = buffer.get_mut(..wanted).unwrap_or_default();
            let start = self.lease.start;
            let position =
                mutation!("read-back-elsewhere", at.checked_sub(start), Some(at.saturating_sub(start + 1)));
            let position = position.ok_or(Failure::Io)?;
            read_exact(&**file, extent, position).map_err(|error| self.lease.note(error))?;
            take(extent);
            at += wanted as u64;
        }
        Ok(())
    }
}
