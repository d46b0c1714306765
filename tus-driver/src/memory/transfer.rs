//! Bytes that are staged, and bytes that are committed, as their readers see them.

use std::{
    sync::{Arc, Mutex, Weak},
    task::{Poll, Waker},
};

use bytes::{Buf, BufMut, Bytes};
use tus_proto::{Failure, Record};

use crate::{Sink, Source, mailbox::lock};

/// Bytes that a sink has staged; they begin at the offset that was committed when it was opened.
#[derive(Clone, Debug)]
pub struct Staged(Arc<Buffer>);

#[derive(Debug)]
pub(super) struct Buffer {
    at: u64,
    bytes: Mutex<Vec<u8>>,
}

impl Staged {
    /// Nothing yet; the first byte is to be the one at this offset.
    pub(super) fn at(at: u64) -> Self {
        Self(Arc::new(Buffer { at, bytes: Mutex::default() }))
    }

    /// A weak reference for the upload: the bytes go with their sink and the commits that may use them.
    pub(super) fn downgrade(&self) -> Weak<Buffer> {
        Arc::downgrade(&self.0)
    }

    /// The staged bytes behind a weak reference, if they are still there.
    pub(super) fn upgrade(kept: &Weak<Buffer>) -> Option<Self> {
        kept.upgrade().map(Self)
    }

    /// Whether a weak reference is to these bytes.
    pub(super) fn is(&self, kept: &Weak<Buffer>) -> bool {
        kept.as_ptr() == Arc::as_ptr(&self.0)
    }

    /// A copy of the bytes between two offsets of the upload. It is an error if they were not all staged.
    pub(super) fn range(&self, from: u64, to: u64) -> Result<Bytes, Failure> {
        let index = |offset: u64| offset.checked_sub(self.0.at).and_then(|index| usize::try_from(index).ok());
        let range = index(from).zip(index(to)).map(|(from, to)| from..to);
        let bytes = lock(&self.0.bytes);
        range.and_then(|range| bytes.get(range)).map(Bytes::copy_from_slice).ok_or(Failure::Io)
    }

    /// Forgets what lies past this offset of the upload.
    pub(super) fn truncate(&self, offset: u64) {
        let len = usize::try_from(offset.saturating_sub(self.0.at)).unwrap_or(usize::MAX);
        lock(&self.0.bytes).truncate(len);
    }
}

/// The [`Sink`] of a [`MemoryStore`](crate::MemoryStore).
#[derive(Debug)]
pub struct MemorySink(Staged);

impl MemorySink {
    pub(super) fn new(staged: Staged) -> Self {
        Self(staged)
    }
}

impl Sink for MemorySink {
    type Staged = Staged;

    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        lock(&self.0.0.bytes).put(data);
        Ok(())
    }

    fn blocks(&self, _: usize) -> bool {
        false
    }

    fn len(&self) -> u64 {
        lock(&self.0.0.bytes).len() as u64
    }

    fn staged(&self) -> Staged {
        self.0.clone()
    }
}

/// The [`Source`] of a [`MemoryStore`](crate::MemoryStore). It shares the bytes with the store, so a deletion does not take them away.
#[derive(Debug)]
pub struct MemorySource {
    record: Record,
    bytes: Vec<Bytes>,
}

impl MemorySource {
    pub(super) fn new(record: &Record, bytes: &[Bytes]) -> Self {
        Self { record: record.clone(), bytes: bytes.to_vec() }
    }
}

impl Source for MemorySource {
    fn record(&self) -> &Record {
        &self.record
    }

    fn poll_read(&mut self, at: u64, buf: &mut [u8], _: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        let mut skip = usize::try_from(at).unwrap_or(usize::MAX);
        for chunk in &self.bytes {
            if let Some(rest) = chunk.get(skip..).filter(|rest| !rest.is_empty()) {
                let count = rest.len().min(buf.len());
                buf[..count].copy_from_slice(&rest[..count]);
                return Poll::Ready(Ok(count));
            }
            skip -= chunk.len();
        }
        Poll::Ready(Ok(0))
    }

    fn blocks(&self) -> bool {
        false
    }
}
