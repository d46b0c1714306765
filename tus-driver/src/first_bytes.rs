//! A small body in memory: the first bytes of an upload that is made together with them.

use std::{fmt, sync::Arc};

use bytes::Buf;
use tus_proto::{Algorithm, Digest, Failure, Hasher};

/// The first bytes of an upload that is not made yet: from their arrival until the [`Change`](crate::Change) that makes
/// the upload is done. A store makes it, empty, where it has memory for so many: see
/// [`Store::reserve`](crate::Store::reserve).
///
/// Boxed: thousands of requests have room for one, and few have one.
#[derive(Clone)]
pub struct FirstBytes(Box<Memory>);

#[derive(Clone)]
struct Memory {
    bytes: Vec<u8>,
    capacity: usize,
    /// What the store counts. It is given back when the last clone is dropped.
    _reserved: Option<Arc<dyn Send + Sync>>,
}

impl FirstBytes {
    /// Memory for so many bytes. Nothing is allocated before the first one.
    pub fn new(capacity: usize) -> Self {
        Self(Box::new(Memory { bytes: Vec::new(), capacity, _reserved: None }))
    }

    /// The same, with something that the store drops when the memory is free again.
    #[must_use]
    pub fn with_reservation(mut self, reserved: impl Send + Sync + 'static) -> Self {
        self.0._reserved = Some(Arc::new(reserved));
        self
    }

    /// The bytes that have come.
    pub fn as_slice(&self) -> &[u8] {
        &self.0.bytes
    }

    /// How many those are.
    pub fn len(&self) -> u64 {
        self.0.bytes.len() as u64
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.0.bytes.is_empty()
    }

    /// How many bytes more there is memory for.
    pub(crate) fn room(&self) -> usize {
        self.0.capacity - self.0.bytes.len()
    }

    /// Takes all of `data`.
    ///
    /// # Errors
    /// If that is more than there is memory for. Nothing is taken then.
    pub(crate) fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        if data.remaining() > self.room() {
            return Err(Failure::NoSpace);
        }
        self.0.bytes.reserve_exact(self.room());
        while data.has_remaining() {
            let chunk = data.chunk();
            self.0.bytes.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
        Ok(())
    }

    /// Keeps the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: u64) {
        self.0.bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    }

    /// The digest of the bytes from one offset to another. Fails if they are not all there.
    pub(crate) fn digest(&self, (from, to): (u64, u64), algorithm: Algorithm) -> Result<Digest, Failure> {
        let range = usize::try_from(from).ok().zip(usize::try_from(to).ok()).map(|(from, to)| from..to);
        let bytes = range.and_then(|range| self.0.bytes.get(range)).ok_or(Failure::Io)?;
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        Ok(hasher.finish())
    }
}

impl From<Vec<u8>> for FirstBytes {
    /// Bytes that are there already.
    fn from(bytes: Vec<u8>) -> Self {
        Self(Box::new(Memory { capacity: bytes.len(), bytes, _reserved: None }))
    }
}

impl fmt::Debug for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstBytes")
            .field("len", &self.len())
            .field("capacity", &self.0.capacity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_what_was_reserved_and_gives_it_back_at_last() {
        let reserved = Arc::new(());
        let mut first = FirstBytes::new(4).with_reservation(reserved.clone());
        assert_eq!(first.write(&mut &b"abc"[..]), Ok(()));
        assert_eq!(first.write(&mut &b"de"[..]), Err(Failure::NoSpace));
        assert_eq!((first.as_slice(), first.room()), (&b"abc"[..], 1));
        let copy = first.clone();
        first.truncate(1);
        assert_eq!(first.as_slice(), b"a");
        drop(first);
        assert_eq!(Arc::strong_count(&reserved), 2);
        drop(copy);
        assert_eq!(Arc::strong_count(&reserved), 1);
    }

    #[test]
    fn only_bytes_that_are_there_are_hashed() {
        let mut first = FirstBytes::new(4);
        assert_eq!(first.write(&mut &b"abc"[..]), Ok(()));
        let mut hasher = Hasher::new(Algorithm::Sha1);
        hasher.update(b"bc");
        assert_eq!(first.digest((1, 3), Algorithm::Sha1), Ok(hasher.finish()));
        assert_eq!(first.digest((1, 4), Algorithm::Sha1), Err(Failure::Io));
    }
}
