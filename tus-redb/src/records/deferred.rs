//! What redb has written while a sync of its file was outstanding. A checkpoint's commit does not wait for its two syncs: they
//! become barriers in this queue, and what redb writes after the first of them stands here, in order, until that sync has
//! returned. So the file only ever holds what a redb that waited would have written by then, and commits go on meanwhile.

use std::collections::VecDeque;

/// A call that waits for the barriers before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write {
        offset: u64,
        data: Vec<u8>,
    },
    SetLen(u64),
    /// All before this is durable before anything after it is written.
    Barrier,
}

/// Calls in the order in which redb made them.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    calls: VecDeque<Call>,
    bytes: usize,
}

impl Deferred {
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// How many bytes are to be written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn front(&self) -> Option<&Call> {
        self.calls.front()
    }

    pub(crate) fn pop(&mut self) {
        if let Some(Call::Write { data, .. }) = self.calls.pop_front() {
            self.bytes -= data.len();
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        self.bytes += data.len();
        self.calls.push_back(Call::Write { offset, data: data.to_vec() });
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        self.calls.push_back(Call::SetLen(len));
    }

    /// Two barriers in a row are one.
    pub(crate) fn barrier(&mut self) {
        if self.calls.back() != Some(&Call::Barrier) {
            self.calls.push_back(Call::Barrier);
        }
    }

    /// The length that the file will have, if a call here sets it.
    pub(crate) fn len(&self) -> Option<u64> {
        self.calls.iter().rev().find_map(|call| match call {
            Call::SetLen(len) => Some(*len),
            Call::Write { .. } | Call::Barrier => None,
        })
    }

    /// What the calls here change of the bytes from `offset` on, in order: positions in a buffer of `len` bytes, and bytes.
    pub(crate) fn changes(&self, offset: u64, len: usize) -> Vec<(usize, Vec<u8>)> {
        let end = offset.saturating_add(len as u64);
        let change = |call: &Call| {
            let Call::Write { offset: at, data } = call else { return None };
            let (from, to) = ((*at).max(offset), at.saturating_add(data.len() as u64).min(end));
            let part = data.get(usize::try_from(from.checked_sub(*at)?).ok()?..)?;
            let part = part.get(..usize::try_from(to.checked_sub(from)?).ok()?)?;
            (!part.is_empty()).then(|| ((from - offset) as usize, part.to_vec()))
        };
        self.calls.iter().filter_map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_sees_what_was_written_in_order() {
        let mut deferred = Deferred::default();
        deferred.barrier();
        deferred.barrier();
        deferred.write(4, b"abcd");
        deferred.write(6, b"xy");
        deferred.set_len(100);
        let read = |offset, len| {
            let mut buffer = vec![b'.'; len];
            for (at, bytes) in deferred.changes(offset, len) {
                buffer[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            String::from_utf8(buffer).unwrap_or_default()
        };
        assert_eq!(
            [read(0, 10), read(5, 2), read(8, 3), read(0, 4)].map(|bytes| bytes.clone()),
            ["....abxy..", "bx", "...", "...."]
        );
        assert_eq!((deferred.len(), deferred.bytes()), (Some(100), 6));
        assert_eq!(deferred.front(), Some(&Call::Barrier));
        deferred.pop();
        assert_ne!(deferred.front(), Some(&Call::Barrier), "two in a row are one");
        deferred.pop();
        assert_eq!(deferred.bytes(), 2);
    }
}
