//! Small bodies in memory, before a commit puts them into the records: the first bytes of a data file may lie there in place of
//! that file, because making a file takes ten times as long as all else about a small upload. How many may be staged at once
//! is bounded. What the records hold of them: `tables/files.rs`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tus_driver::FirstBytes;

use crate::options::Options;

/// How long a body may be to lie in the records, and how much of such may be staged, in memory, at once.
#[derive(Debug)]
pub(crate) struct Limits {
    /// In bytes.
    body: usize,
    /// How many more bytes may be staged.
    room: AtomicU64,
}

/// What an entry takes at least, in bytes.
const PAGE: usize = 4096;

/// So much may be staged, in bytes, where the reserve is small.
const LEAST_ROOM: u64 = 64 << 10;

/// And this part of the reserve, where it is large: what is staged when the disk becomes full has its place there.
/// Pages of the records are up to twice as large as what they hold; the log has its own space, and half of the reserve is
/// for what the next flush writes.
const RESERVE_PART: u64 = 8;

impl Limits {
    pub(crate) fn new(options: &Options) -> Arc<Self> {
        Arc::new(Self { body: options.inline_bytes, room: AtomicU64::new(room_of(options)) })
    }

    /// Memory for so many bytes that are to lie in the records; `None` if they are too many, or all such together.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<FirstBytes> {
        let len = usize::try_from(bytes).ok().filter(|len| *len <= self.body)?;
        let counted = len.max(PAGE) as u64;
        self.take(counted)
            .then(|| FirstBytes::new(len).with_reservation(Reservation { limits: self.clone(), counted }))
    }

    /// Takes so much of the room, if there is as much.
    fn take(&self, count: u64) -> bool {
        let take = |room: u64| room.checked_sub(count);
        self.room.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    fn give_back(&self, count: u64) {
        self.room.fetch_add(count, Ordering::AcqRel);
    }
}

/// How many bytes may be staged in memory at once.
pub(crate) fn room_of(options: &Options) -> u64 {
    (options.reserve_bytes / RESERVE_PART).max(LEAST_ROOM)
}

/// A place in the room for bytes that are staged outside of an extent, as its upload is not made yet.
struct Reservation {
    limits: Arc<Limits>,
    counted: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.limits.give_back(self.counted);
    }
}

/// All bytes of an extent, committed and staged, as long as they are few.
#[derive(Debug)]
pub(crate) struct Inline {
    limits: Arc<Limits>,
    bytes: Vec<u8>,
    /// How many of them have their place in the room: all, or none as long as nothing is staged, as a commit writes
    /// all of them.
    counted: u64,
}

impl Inline {
    /// For an extent whose committed bytes are these.
    pub(crate) fn new(limits: &Arc<Limits>, committed: Vec<u8>) -> Self {
        Self { limits: limits.clone(), bytes: committed, counted: 0 }
    }

    /// Whether so many bytes more can be kept. Those of one extent come one after another: it does not change meanwhile
    /// for the worse, but by what others stage.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.bytes.len().saturating_add(len) <= self.limits.body
            && self.limits.room.load(Ordering::Acquire) >= self.uncounted(len)
    }

    /// How much room so many bytes more take.
    fn uncounted(&self, len: usize) -> u64 {
        let all = self.bytes.len().saturating_add(len).max(PAGE) as u64;
        all.saturating_sub(self.counted)
    }

    /// Keeps more bytes; false where they are too many, or all such together.
    pub(crate) fn keep(&mut self, more: &[u8]) -> bool {
        if !self.has_room(more.len()) {
            return false;
        }
        let count = self.uncounted(more.len());
        if !self.limits.take(count) {
            return false;
        }
        self.counted += count;
        self.bytes.extend_from_slice(more);
        true
    }

    /// The extent's bytes, or the first of them where others are in the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        self.limits.give_back(self.counted);
    }
}
