//! The buffered bytes of a body.

use bytes::{Buf, BufMut, Bytes};

use super::{CHUNK, State};
use crate::bucket::Payload;

impl State {
    pub(super) fn append(&mut self, data: &mut dyn Buf, mut count: usize) {
        (self.buffered, self.end) = (self.buffered + count, self.end + count as u64);
        while count > 0 {
            if self.chunk.capacity() == self.chunk.len() {
                let full = std::mem::take(&mut self.chunk).freeze();
                if !full.is_empty() {
                    self.full.push(full);
                }
                // A short body gets a short buffer.
                self.chunk.reserve(count.max(self.buffered.min(CHUNK)));
            }
            let fits = count.min(self.chunk.capacity() - self.chunk.len());
            self.chunk.put(&mut (&mut *data).take(fits));
            count -= fits;
        }
    }

    pub(super) fn take_buffer(&mut self) -> Payload {
        let mut bytes = std::mem::take(&mut self.full);
        let last = std::mem::take(&mut self.chunk).freeze();
        if !last.is_empty() {
            bytes.push(last);
        }
        self.buffered = 0;
        bytes.into()
    }

    /// The buffered bytes up to an offset.
    pub(super) fn copy_to(&self, to: u64) -> Payload {
        let mut left = usize::try_from(to.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        for full in &self.full {
            let count = left.min(full.len());
            left -= count;
            if count > 0 {
                bytes.push(full.slice(..count));
            }
        }
        let count = left.min(self.chunk.len());
        if count > 0 {
            bytes.push(Bytes::copy_from_slice(&self.chunk[..count]));
        }
        bytes.into()
    }

    pub(super) fn next_name(&mut self, name: &str) -> String {
        self.names += 1;
        format!("{name}-{}", self.names)
    }
}
