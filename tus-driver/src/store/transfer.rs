//! Bytes on their way into a store and out of it.

use std::{
    fmt,
    os::fd::BorrowedFd,
    task::{Poll, Waker},
};

use bytes::Buf;
use tus_proto::{Algorithm, Digest, Failure, Hasher, Record};

/// Takes the bytes of one Append. It belongs to one request, and moves between threads: a runtime lends it to a worker.
pub trait Sink: fmt::Debug + Send + 'static {
    /// Names what was staged.
    type Staged;

    /// How many bytes [`write`](Self::write) takes now; never 0. `Pending` if it takes none: the waker that `waker`
    /// makes is then woken when it may.
    ///
    /// # Errors
    /// The store's. What was staged before stays.
    fn poll_room(&mut self, waker: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        let _ = waker;
        Poll::Ready(Ok(usize::MAX))
    }

    /// Stages bytes past those staged before, and advances `data` past what it took: less than all of it only if it
    /// had no room for more.
    ///
    /// # Errors
    /// The store's. What was staged before, and what `data` was advanced by, stays.
    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure>;

    /// Whether writing so many bytes may block on the disk, or use the processor for long: a runtime whose threads must
    /// not do that lends the sink to a worker first.
    fn blocks(&self, len: usize) -> bool;

    /// A file, and the position in it where the next byte goes, for runtimes that can move bytes into a file without
    /// touching them. `None` if there is none: then [`write`](Self::write) is the way.
    ///
    /// # Errors
    /// The store's, that could not make or open the file.
    fn splice_target(&mut self) -> Result<Option<(BorrowedFd<'_>, u64)>, Failure> {
        Ok(None)
    }

    /// So many bytes were moved to [`splice_target`](Self::splice_target).
    fn spliced(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// How many bytes were staged through this sink.
    fn len(&self) -> u64;

    /// Whether none was.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names what is staged, now and later: for commits that run while the sink is lent.
    fn staged(&self) -> Self::Staged;
}

/// The committed bytes of an upload, as they were when it was opened.
pub trait Source: fmt::Debug + Send + 'static {
    /// The upload. Its offset says how many bytes there are.
    fn record(&self) -> &Record;

    /// Reads bytes from this offset on, into `buf`: at least one where it has room and there are any, 0 past the last.
    /// `Pending` if they are not here yet: the waker that `waker` makes is then woken when they may be.
    ///
    /// # Errors
    /// The store's. Committed bytes that are missing are one of its errors.
    fn poll_read(
        &mut self,
        at: u64,
        buf: &mut [u8],
        waker: &dyn Fn() -> Waker,
    ) -> Poll<Result<usize, Failure>>;

    /// Whether [`poll_read`](Self::poll_read) may block on the disk.
    fn blocks(&self) -> bool;

    /// The file in which the byte at this offset lies, for runtimes that can send a file without touching its bytes.
    /// `None` past the last byte, or if the byte is in no file.
    ///
    /// # Errors
    /// The store's.
    fn file_at(&mut self, at: u64) -> Result<Option<FileRange<'_>>, Failure> {
        let _ = at;
        Ok(None)
    }
}

/// Bytes that lie one after another in a file.
#[derive(Clone, Copy, Debug)]
pub struct FileRange<'a> {
    /// The file.
    pub fd: BorrowedFd<'a>,
    /// Where in the file the first of them is.
    pub position: u64,
    /// How many there are. Never 0.
    pub len: u64,
}

/// Reads bytes of an upload as [`Source::poll_read`] does, but at least one: missing bytes are [`Failure::Io`].
///
/// # Errors
/// The store's.
pub fn read_some(
    source: &mut impl Source,
    at: u64,
    buf: &mut [u8],
    waker: &dyn Fn() -> Waker,
) -> Poll<Result<usize, Failure>> {
    match source.poll_read(at, buf, waker) {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(Failure::Io)),
        read => read,
    }
}

/// Hashes the first `to` bytes of a source that is read at once.
pub(super) fn hash_source(mut source: impl Source, to: u64, algorithm: Algorithm) -> Result<Digest, Failure> {
    const PIECE: usize = 64 << 10;
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < to {
        let wanted = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        let Poll::Ready(read) = read_some(&mut source, at, piece, &|| Waker::noop().clone()) else {
            return Err(Failure::Unavailable);
        };
        let count = read?;
        hasher.update(piece.get(..count).unwrap_or_default());
        at += count as u64;
    }
    Ok(hasher.finish())
}
