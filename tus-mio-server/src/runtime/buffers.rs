//! The buffers of an event loop: for bytes that were read and wait for their turn, and for decoded body bytes on
//! their way to a worker. Their number is fixed; where none is left, a body waits unread until one comes back.

use super::ConnectionId;

/// How much is read into a buffer at once, in bytes. It may hold twice as much.
pub(super) const BUFFER: usize = 64 << 10;

/// How many there are at the most: 4 MiB a loop.
const BUFFERS: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Buffers {
    idle: Vec<Vec<u8>>,
    lent: usize,
    /// Who was refused one.
    waiting: Vec<ConnectionId>,
}

impl Buffers {
    /// An empty buffer; none where all are lent. Then `id` is on the list.
    pub(super) fn take(&mut self, id: ConnectionId) -> Option<Vec<u8>> {
        if self.lent == BUFFERS {
            if !self.waiting.contains(&id) {
                self.waiting.push(id);
            }
            return None;
        }
        self.lent += 1;
        Some(self.idle.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER)))
    }

    /// Takes a buffer back, and tells who waits for one: all of them, for some may be gone by now.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) -> std::vec::Drain<'_, ConnectionId> {
        self.lent -= 1;
        // What many needed at once is not kept for ever.
        if self.idle.len() < 4 {
            buffer.clear();
            self.idle.push(buffer);
        }
        self.waiting.drain(..)
    }
}

/// Bytes that were read from a socket and not taken yet, with how many of them were.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    taken: usize,
}

impl Unread {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// Forgets all but the last `rest` bytes.
    pub(super) fn keep_last(&mut self, rest: usize) {
        self.taken = self.bytes.len().saturating_sub(rest);
        if rest == 0 {
            *self = Self::default();
        }
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_counted_and_whoever_waits_is_told() {
        let id = |slot| ConnectionId { slot, generation: 1 };
        let mut buffers = Buffers::default();
        let mut lent: Vec<_> = (0..40).filter_map(|slot| buffers.take(id(slot))).collect();
        assert_eq!(lent.len(), BUFFERS);
        assert!(buffers.take(id(33)).is_none());
        let told: Vec<_> =
            lent.pop().into_iter().flat_map(|buffer| buffers.give_back(buffer).collect::<Vec<_>>()).collect();
        assert_eq!(told, (32..40).map(id).collect::<Vec<_>>());
        assert!(buffers.take(id(50)).is_some());
        assert!(buffers.take(id(51)).is_none());
    }

    #[test]
    fn unread_bytes_are_taken_from_the_front() {
        let mut unread = Unread::default();
        unread.push(b"hello world");
        unread.keep_last(5);
        assert_eq!(unread.as_slice(), b"world");
        unread.keep_last(0);
        assert!(unread.is_empty());
    }
}
