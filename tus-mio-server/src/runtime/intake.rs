//! Where a body's bytes go: into the store's sink, and on their way through a hash function where the body has
//! a checksum in its header. Hashing is beside writing, on the worker's thread, and never a second read.

use std::os::fd::BorrowedFd;

use tus_proto::{Algorithm, Digest, Failure, Hasher};
use tus_redb::{Sink, Syncer};

#[derive(Debug)]
pub(crate) struct Intake {
    sink: Sink,
    /// Boxed: its state is large, and most bodies have none.
    hasher: Option<Box<Hasher>>,
}

impl Intake {
    pub(crate) fn new(sink: Sink, algorithm: Option<Algorithm>) -> Self {
        Self { sink, hasher: algorithm.map(|algorithm| Box::new(Hasher::new(algorithm))) }
    }

    /// Takes bytes in. What was taken before an error stays.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.sink.write(bytes).map_err(|error| error.failure)
    }

    /// Whether so many bytes more would not touch the disk, nor take the processor for long.
    pub(crate) fn takes_at_once(&self, count: usize) -> bool {
        self.sink.would_keep(count)
    }

    /// Where bytes may be moved to without being looked at; none where they must be.
    pub(crate) fn splice_target(&mut self) -> Result<Option<(BorrowedFd<'_>, u64)>, Failure> {
        if self.hasher.is_some() { Ok(None) } else { self.sink.splice_target() }
    }

    /// `count` bytes were moved there.
    pub(crate) fn advance(&mut self, count: u64) {
        self.sink.advance(count);
    }

    pub(crate) fn staged(&self) -> u64 {
        self.sink.staged()
    }

    pub(crate) fn syncer(&self) -> Syncer {
        self.sink.syncer()
    }

    /// The digest of all bytes, where one was asked for.
    pub(crate) fn digest(self) -> Option<Digest> {
        self.hasher.map(|hasher| hasher.finish())
    }
}
