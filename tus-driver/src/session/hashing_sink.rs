//! Where a body's bytes go: into the store's sink, and through a hash function on the way if the request's head named a
//! checksum. So no byte is read a second time for it.

use std::{
    os::fd::BorrowedFd,
    task::{Poll, Waker},
};

use bytes::Buf;
use tus_proto::{Algorithm, Digest, Failure, Hasher};

use crate::Sink;

/// A store's sink and the hash of what went into it. A runtime borrows it from its session to let a worker write.
#[derive(Debug)]
pub struct HashingSink<K> {
    sink: K,
    /// Boxed: its state is large, and most bodies have none.
    hasher: Option<Box<Hasher>>,
}

impl<K: Sink> HashingSink<K> {
    pub(super) fn new(sink: K, algorithm: Option<Algorithm>) -> Self {
        Self { sink, hasher: algorithm.map(|algorithm| Box::new(Hasher::new(algorithm))) }
    }

    /// How many bytes may be written now: see [`Sink::poll_room`].
    ///
    /// # Errors
    /// The store's.
    pub fn poll_room(&mut self, waker: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        self.sink.poll_room(waker)
    }

    /// Takes all of `data`, which is no more than there is room for.
    ///
    /// # Errors
    /// The store's. What was taken before stays.
    pub fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        let Some(hasher) = &mut self.hasher else { return self.sink.write(data) };
        while data.has_remaining() {
            let chunk = data.chunk();
            mutation!("digest-misses-bytes", hasher.update(chunk), ());
            let len = chunk.len();
            self.sink.write(&mut (&mut *data).take(len))?;
        }
        Ok(())
    }

    /// Whether writing so many bytes may block, or use the processor for long.
    pub fn blocks(&self, len: usize) -> bool {
        self.sink.blocks(len)
    }

    /// Where bytes may be moved to without being looked at; `None` if they must be.
    ///
    /// # Errors
    /// The store's, that could not make or open the file.
    pub fn splice_target(&mut self) -> Result<Option<(BorrowedFd<'_>, u64)>, Failure> {
        if self.hasher.is_some() { Ok(None) } else { self.sink.splice_target() }
    }

    /// So many bytes were moved there.
    pub fn spliced(&mut self, bytes: u64) {
        self.sink.spliced(bytes);
    }

    /// How many bytes were staged.
    pub fn len(&self) -> u64 {
        self.sink.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn staged(&self) -> K::Staged {
        self.sink.staged()
    }

    /// The digest of all bytes, if one was asked for.
    pub(super) fn digest(self) -> Option<Digest> {
        self.hasher.map(|hasher| hasher.finish())
    }
}
