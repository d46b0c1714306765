//! Reading an upload's bytes: one piece is read ahead, so that the bucket's latency is paid once.

use std::{
    fmt,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use bytes::Bytes;
use tus_driver::Source;
use tus_proto::{Failure, Record, UploadId};

use crate::{document::Document, requests::lock, shared::Shared};

/// How many bytes are read at once; two such pieces are held.
const PIECE: u64 = 1 << 20;

/// An upload that is open for reading.
pub struct BucketSource {
    record: Record,
    reading: Arc<Reading>,
}

struct Reading {
    shared: Arc<Shared>,
    id: UploadId,
    document: Document,
    pieces: Mutex<Pieces>,
}

#[derive(Default)]
struct Pieces {
    /// Pieces that are here, each with its offset.
    here: Vec<(u64, Bytes)>,
    /// Which offset is being read.
    coming: Option<u64>,
    failure: Option<Failure>,
    waiting: Vec<Waker>,
}

impl BucketSource {
    pub(crate) fn new(shared: Arc<Shared>, id: UploadId, document: Document) -> Self {
        *lock(&shared.readers).entry(id.clone()).or_default() += 1;
        let record = document.record(&id);
        Self { record, reading: Arc::new(Reading { shared, id, document, pieces: Mutex::default() }) }
    }
}

impl Reading {
    /// Begins to read from an offset on, unless something is being read.
    fn fetch(self: &Arc<Self>, pieces: &mut Pieces, at: u64) {
        if pieces.coming.is_some() || at >= self.document.offset {
            return;
        }
        pieces.coming = Some(at);
        let reading = self.clone();
        self.shared.spawn(async move {
            let (document, id) = (&reading.document, reading.id.as_str());
            let max = PIECE.min(document.offset - at);
            let read =
                reading.shared.read_bytes(id, (&document.extents, document.tail.as_ref()), at, max).await;
            let mut pieces = lock(&reading.pieces);
            pieces.coming = None;
            match read {
                Ok(bytes) if !bytes.is_empty() => pieces.here.push((at, bytes)),
                Ok(_) => pieces.failure = Some(Failure::Io),
                Err(failure) => pieces.failure = Some(failure),
            }
            let waiting = std::mem::take(&mut pieces.waiting);
            drop(pieces);
            waiting.into_iter().for_each(Waker::wake);
        });
    }
}

impl Source for BucketSource {
    fn record(&self) -> &Record {
        &self.record
    }

    fn poll_read(
        &mut self,
        at: u64,
        buf: &mut [u8],
        waker: &dyn Fn() -> Waker,
    ) -> Poll<Result<usize, Failure>> {
        if at >= self.record.offset || buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let reading = &self.reading;
        let mut pieces = lock(&reading.pieces);
        if let Some(failure) = pieces.failure {
            return Poll::Ready(Err(failure));
        }
        let covers = |(from, bytes): &&(u64, Bytes)| (*from..*from + bytes.len() as u64).contains(&at);
        let Some((from, bytes)) = pieces.here.iter().find(covers).cloned() else {
            pieces.here.retain(|(from, _)| *from > at && *from <= at + PIECE);
            pieces.waiting.push(waker());
            reading.fetch(&mut pieces, at);
            return Poll::Pending;
        };
        let skip = usize::try_from(at - from).unwrap_or(usize::MAX);
        let rest = bytes.get(skip..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        let next = from + bytes.len() as u64;
        pieces.here.retain(|(other, _)| *other >= from);
        if !pieces.here.iter().any(|(other, _)| *other == next) {
            reading.fetch(&mut pieces, next);
        }
        Poll::Ready(Ok(count))
    }

    fn blocks(&self) -> bool {
        false
    }
}

impl Drop for BucketSource {
    fn drop(&mut self) {
        let mut readers = lock(&self.reading.shared.readers);
        if let Some(count) = readers.get_mut(&self.reading.id) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.reading.id);
            }
        }
    }
}

impl fmt::Debug for BucketSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketSource").field("record", &self.record).finish_non_exhaustive()
    }
}
