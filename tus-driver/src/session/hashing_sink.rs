//! Where a body's bytes go: into the store's sink, and through a hash function on the way if the request's head named a
//! checksum. So no byte is read a second time for it.

use std::{
    os::fd::BorrowedFd,
    task::{Poll, Waker},
};

use bytes::Buf;
use tus_proto::{Algorithm, Digest, Failure, Hasher};

use crate::{FirstBytes, Sink};

/// A store's sink and the hash of what went into it. A runtime borrows it from its session to let a worker write.
#[derive(Debug)]
pub struct HashingSink<K> {
    target: Target<K>,
    /// Boxed: its state is large, and most bodies have none.
    hasher: Option<Box<Hasher>>,
}

/// What takes the bytes.
#[derive(Debug)]
enum Target<K> {
    Sink(K),
    /// Memory, of an upload that is not made yet.
    Memory(FirstBytes),
}

impl<K: Sink> HashingSink<K> {
    pub(super) fn new(sink: K, algorithm: Option<Algorithm>) -> Self {
        Self::over(Target::Sink(sink), algorithm)
    }

    pub(super) fn in_memory(memory: FirstBytes, algorithm: Option<Algorithm>) -> Self {
        Self::over(Target::Memory(memory), algorithm)
    }

    fn over(target: Target<K>, algorithm: Option<Algorithm>) -> Self {
        Self { target, hasher: algorithm.map(|algorithm| Box::new(Hasher::new(algorithm))) }
    }

    /// How many bytes may be written now: see [`Sink::poll_room`].
    ///
    /// # Errors
    /// The store's.
    pub fn poll_room(&mut self, waker: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        match &mut self.target {
            Target::Sink(sink) => sink.poll_room(waker),
            Target::Memory(memory) => Poll::Ready(Ok(memory.room())),
        }
    }

    /// Takes all of `data`, which is no more than there is room for.
    ///
    /// # Errors
    /// The store's. What was taken before stays.
    pub fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        let Some(hasher) = &mut self.hasher else { return self.target.write(data) };
        while data.has_remaining() {
            let chunk = data.chunk();
            mutation!("digest-misses-bytes", hasher.update(chunk), ());
            let len = chunk.len();
            self.target.write(&mut (&mut *data).take(len))?;
        }
        Ok(())
    }

    /// Whether writing so many bytes may block, or use the processor for long.
    pub fn blocks(&self, len: usize) -> bool {
        match &self.target {
            Target::Sink(sink) => sink.blocks(len),
            Target::Memory(_) => false,
        }
    }

    /// Where bytes may be moved to without being looked at; `None` if they must be.
    ///
    /// # Errors
    /// The store's, that could not make or open the file.
    pub fn splice_target(&mut self) -> Result<Option<(BorrowedFd<'_>, u64)>, Failure> {
        match &mut self.target {
            Target::Sink(sink) if self.hasher.is_none() => sink.splice_target(),
            _ => Ok(None),
        }
    }

    /// So many bytes were moved there.
    pub fn spliced(&mut self, bytes: u64) {
        if let Target::Sink(sink) = &mut self.target {
            sink.spliced(bytes);
        }
    }

    /// How many bytes were staged.
    pub fn len(&self) -> u64 {
        match &self.target {
            Target::Sink(sink) => sink.len(),
            Target::Memory(memory) => memory.len(),
        }
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digest of all bytes, if one was asked for; and the bytes, if they are in memory.
    pub(super) fn finish(self) -> (Option<Digest>, Option<FirstBytes>) {
        let memory = match self.target {
            Target::Sink(_) => None,
            Target::Memory(memory) => Some(memory),
        };
        (self.hasher.map(|hasher| hasher.finish()), memory)
    }
}

impl<K: Sink> Target<K> {
    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        match self {
            Self::Sink(sink) => sink.write(data),
            Self::Memory(memory) => memory.write(data),
        }
    }
}
