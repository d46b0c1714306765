//! The driver's sink and source, by the store's.

use std::{
    os::fd::BorrowedFd,
    task::{Poll, Waker},
};

use bytes::Buf;
use tus_driver::FileRange;
use tus_proto::{Failure, Record};

use crate::{
    error::WriteError,
    files::sink::{Sink, Syncer},
    store::source::Source,
};

impl tus_driver::Sink for Sink {
    type Staged = Syncer;

    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        while data.has_remaining() {
            let chunk = data.chunk();
            let len = chunk.len();
            if let Err(WriteError { written, failure }) = Self::write(self, chunk) {
                data.advance(written);
                return Err(failure);
            }
            data.advance(len);
        }
        Ok(())
    }

    fn blocks(&self, len: usize) -> bool {
        !self.would_keep(len)
    }

    fn splice_target(&mut self) -> Result<Option<(BorrowedFd<'_>, u64)>, Failure> {
        Self::splice_target(self)
    }

    fn spliced(&mut self, bytes: u64) {
        self.advance(bytes);
    }

    fn len(&self) -> u64 {
        Self::staged(self)
    }

    fn staged(&self) -> Syncer {
        self.syncer()
    }
}

impl tus_driver::Source for Source {
    fn record(&self) -> &Record {
        Self::record(self)
    }

    fn poll_read(&mut self, at: u64, buf: &mut [u8], _: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        Poll::Ready(self.read_at(at, buf))
    }

    fn blocks(&self) -> bool {
        true
    }

    fn file_at(&mut self, at: u64) -> Result<Option<FileRange<'_>>, Failure> {
        let run = Self::file_at(self, at)?;
        Ok(run.map(|run| FileRange { fd: run.fd, position: run.position, len: run.len }))
    }
}
