//! The buffers of an event loop: for bytes that were read and wait for their turn, and for decoded body bytes on
//! their way to a worker. Their number is fixed; where none is left, a body waits unread until one comes back.

use super::ConnectionId;

/// How much is read into a buffer at once, in bytes. It may hold twice as much.
pub(super) const BUFFER: usize = 64 << 10;

/// What one holds at the most.
const LARGEST: u64 = 2 * BUFFER as u64;

/// What they take together in each loop where nothing else is said.
const USUAL: u64 = 4 << 20;

/// How many buffers each of `loops` may have where all may take so much memory: one at least, for a body that can't
/// have one would wait for ever.
pub(crate) fn of_each(memory: Option<u64>, loops: usize) -> usize {
    let each = memory.map_or(USUAL, |memory| memory / loops.max(1) as u64);
    usize::try_from(each / LARGEST).unwrap_or(usize::MAX).max(1)
}

#[derive(Debug)]
pub(super) struct Buffers {
    idle: Vec<Vec<u8>>,
    lent: usize,
    most: usize,
    /// The connections that did not get one: at most every connection, once.
    waiting: Vec<ConnectionId>,
}

impl Buffers {
    pub(super) fn new(most: usize) -> Self {
        Self { idle: Vec::new(), lent: 0, most, waiting: Vec::new() }
    }

    /// An empty buffer; `None` if all are lent. Then `id` is on the list.
    pub(super) fn take(&mut self, id: ConnectionId) -> Option<Vec<u8>> {
        if self.lent >= self.most {
            if !self.waiting.contains(&id) {
                self.waiting.push(id);
            }
            return None;
        }
        self.lent += 1;
        Some(self.idle.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER)))
    }

    /// Takes a buffer back, and returns which connections wait for one: all of them, for some may be gone by now.
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
        let mut buffers = Buffers::new(32);
        let mut lent: Vec<_> = (0..40).filter_map(|slot| buffers.take(id(slot))).collect();
        assert_eq!(lent.len(), 32);
        assert!(buffers.take(id(33)).is_none());
        let told: Vec<_> =
            lent.pop().into_iter().flat_map(|buffer| buffers.give_back(buffer).collect::<Vec<_>>()).collect();
        assert_eq!(told, (32..40).map(id).collect::<Vec<_>>());
        assert!(buffers.take(id(50)).is_some());
        assert!(buffers.take(id(51)).is_none());
    }

    #[test]
    fn memory_is_shared_by_the_loops_and_each_has_something() {
        for (memory, loops, each) in [
            (None, 1, 32),
            (None, 4, 32),
            (Some(1 << 20), 1, 8),
            (Some(1 << 20), 3, 2),
            (Some(1 << 20), 64, 1),
            (Some(0), 1, 1),
        ] {
            assert_eq!(of_each(memory, loops), each, "{memory:?} for {loops}");
        }
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
