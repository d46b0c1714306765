//! The bytes of an upload on their way into a response, in order and once.

use std::{
    fmt,
    sync::Arc,
    task::{Poll, Waker},
};

use bytes::Bytes;
use tus_proto::Failure;

use crate::{Executor, Source, loan::Loan, read_some};

/// The most bytes of a piece.
const PIECE_BYTES: u64 = 128 << 10;

/// Reads the bytes of an upload from one offset to another.
#[derive(Debug)]
pub struct UploadReader<T> {
    source: T,
    at: u64,
    to: u64,
}

impl<T: Source> UploadReader<T> {
    /// Reads the bytes `from` up to `to`.
    pub fn new(source: T, from: u64, to: u64) -> Self {
        Self { source, at: from, to }
    }

    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        self.to - self.at
    }

    /// Reads the next bytes: at least one if `buf` has room; 0 after the last.
    ///
    /// # Errors
    /// The store's. The response was promised these bytes, so its connection must end.
    pub fn poll_read(&mut self, buf: &mut [u8], waker: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        let room = usize::try_from(self.left()).unwrap_or(usize::MAX).min(buf.len());
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        let read = read_some(&mut self.source, self.at, buf.get_mut(..room).unwrap_or_default(), waker);
        if let Poll::Ready(Ok(count)) = read {
            self.at += count as u64;
        }
        read
    }

    /// Reads the next piece, at most 128 KiB.
    fn poll_piece(&mut self, waker: &Waker) -> Piece {
        let mut piece = vec![0; usize::try_from(self.left().min(PIECE_BYTES)).unwrap_or(usize::MAX)];
        self.poll_read(&mut piece, &|| waker.clone()).map_ok(|count| {
            piece.truncate(count);
            piece.into()
        })
    }
}

/// What a read brings.
type Piece = Poll<Result<Bytes, Failure>>;

/// Reads the bytes of an upload for a runtime that must not block: a job of the executor reads where reading may block.
pub struct Egress<T: Source> {
    place: Place<T>,
    executor: Arc<dyn Executor>,
}

enum Place<T> {
    Here(UploadReader<T>),
    /// A job reads.
    Lent(Loan<(UploadReader<T>, Piece)>),
    /// It failed.
    Gone,
}

impl<T: Source> Egress<T> {
    /// Reads what is left of `reader`, with jobs of this executor.
    pub fn new(reader: UploadReader<T>, executor: Arc<dyn Executor>) -> Self {
        Self { place: Place::Here(reader), executor }
    }

    /// The next piece, at most 128 KiB; it is read when it is asked for. Empty after the last.
    ///
    /// # Errors
    /// The store's; there are no more bytes after it.
    pub fn poll(&mut self, waker: &Waker) -> Poll<Result<Bytes, Failure>> {
        loop {
            let (reader, read) = match std::mem::replace(&mut self.place, Place::Gone) {
                Place::Here(mut reader) if !reader.source.blocks() || reader.left() == 0 => {
                    let read = reader.poll_piece(waker);
                    (reader, read)
                }
                Place::Here(mut reader) => {
                    let waker = waker.clone();
                    let work = move || {
                        let read = reader.poll_piece(&waker);
                        (reader, read)
                    };
                    self.place = Place::Lent(Loan::new(&*self.executor, work));
                    continue;
                }
                Place::Lent(mut loan) => match loan.poll(waker) {
                    Poll::Ready(Some(done)) => done,
                    Poll::Ready(None) => return Poll::Ready(Err(Failure::Unavailable)),
                    Poll::Pending => {
                        self.place = Place::Lent(loan);
                        return Poll::Pending;
                    }
                },
                Place::Gone => return Poll::Ready(Err(Failure::Unavailable)),
            };
            if !matches!(read, Poll::Ready(Err(_))) {
                self.place = Place::Here(reader);
            }
            return read;
        }
    }
}

impl<T: Source> fmt::Debug for Egress<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tus_proto::Record;

    use super::*;
    use crate::{Class, Clock, JobQueue};

    /// Reads at most so many of its bytes at once, and may block.
    #[derive(Debug)]
    struct Bytewise(Vec<u8>, usize);

    impl Source for Bytewise {
        fn record(&self) -> &Record {
            unreachable!("nobody asks for it")
        }

        fn poll_read(
            &mut self,
            at: u64,
            buf: &mut [u8],
            _: &dyn Fn() -> Waker,
        ) -> Poll<Result<usize, Failure>> {
            let rest = self.0.get(at as usize..).unwrap_or_default();
            let count = rest.len().min(buf.len()).min(self.1);
            buf[..count].copy_from_slice(&rest[..count]);
            Poll::Ready(Ok(count))
        }

        fn blocks(&self) -> bool {
            true
        }
    }

    /// All that is read from one offset to another, job by job, and how that ends.
    fn read(bytes: &[u8], from: u64, to: u64) -> (Vec<u8>, Option<Failure>) {
        let clock = Clock::start(None);
        let queue = Arc::new(JobQueue::new(move || clock.now(), |_| true));
        let mut egress = Egress::new(UploadReader::new(Bytewise(bytes.to_vec(), 3), from, to), queue.clone());
        let mut read = Vec::new();
        loop {
            match egress.poll(Waker::noop()) {
                Poll::Pending => assert!(queue.run_one(Class::Blocking), "a job reads"),
                Poll::Ready(Ok(piece)) if piece.is_empty() => return (read, None),
                Poll::Ready(Ok(piece)) => read.extend_from_slice(&piece),
                Poll::Ready(Err(failure)) => {
                    assert!(matches!(egress.poll(Waker::noop()), Poll::Ready(Err(_))), "it stays failed");
                    return (read, Some(failure));
                }
            }
        }
    }

    #[test]
    fn a_range_is_read_in_order_by_jobs() {
        assert_eq!(read(b"hello world", 1, 9), (b"ello wor".to_vec(), None));
        assert_eq!(read(b"hello", 2, 2), (Vec::new(), None));
    }

    #[test]
    fn bytes_that_are_missing_are_the_stores_failure() {
        assert_eq!(read(b"hello", 0, 9), (b"hello".to_vec(), Some(Failure::Io)));
    }
}
