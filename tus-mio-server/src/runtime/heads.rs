//! The memory of heads that are not complete: one budget over all connections. A head of usual size costs nothing
//! here; where large ones take more than the budget, the oldest of them is rejected, for an honest client's head is
//! complete a moment after its first byte.

use std::{collections::BTreeMap, sync::Mutex};

use tus_driver::Store;
use tus_proto::{ErrorCode, Instant};

use super::{ConnectionId, connection::Connection, event_loop::EventLoop, mailbox::Message};
use crate::sync::lock;

/// What every connection may hold for a head without being counted, in bytes.
const FREE: usize = 4 << 10;

/// An event loop, and one of its connections.
type Place = (usize, ConnectionId);

#[derive(Debug)]
pub(crate) struct Heads {
    /// The budget, in bytes.
    most: u64,
    large: Mutex<Large>,
}

/// The large heads that are being read.
#[derive(Debug, Default)]
struct Large {
    bytes: u64,
    heads: BTreeMap<Place, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When it must be complete: the sooner, the older it is.
    end: Instant,
    bytes: u64,
}

impl Heads {
    pub(crate) fn new(most: u64) -> Self {
        Self { most, large: Mutex::default() }
    }

    /// The head of this connection holds so many bytes now, 0 for none that counts. Returns the heads to reject, the
    /// oldest first, so that the rest fits; they are not counted any more.
    fn hold(&self, place: Place, end: Instant, bytes: u64) -> Vec<(Place, Instant)> {
        let mut large = lock(&self.large);
        large.remove(place);
        if bytes > 0 {
            large.bytes += bytes;
            large.heads.insert(place, Entry { end, bytes });
        }
        let mut rejected = Vec::new();
        while large.bytes > self.most
            && let Some((place, entry)) = large.oldest()
        {
            large.remove(place);
            rejected.push((place, entry.end));
        }
        rejected
    }
}

impl Large {
    fn remove(&mut self, place: Place) {
        if let Some(entry) = self.heads.remove(&place) {
            self.bytes -= entry.bytes;
        }
    }

    fn oldest(&self) -> Option<(Place, Entry)> {
        let oldest = self.heads.iter().min_by_key(|(place, entry)| (entry.end, **place));
        oldest.map(|(place, entry)| (*place, *entry))
    }
}

impl<S: Store> EventLoop<S> {
    /// Counts what the connection's head holds, where that has changed, and makes room where it is too much.
    pub(super) fn count_head(&mut self, connection: &mut Connection<S>) {
        let held = connection.http.head_memory();
        let held = if held > FREE { held as u32 } else { 0 };
        if held == connection.head_bytes {
            return;
        }
        connection.head_bytes = held;
        let end = connection.http.head_end().unwrap_or_default();
        for (place, end) in self.shared.heads.hold((self.index, connection.id), end, held.into()) {
            self.reject_elsewhere(connection, place, end);
        }
    }

    fn reject_elsewhere(&mut self, connection: &mut Connection<S>, (loop_index, id): Place, end: Instant) {
        if (loop_index, id) == (self.index, connection.id) {
            connection.head_bytes = 0;
            self.reject_head(connection, end);
            self.turn(connection);
        } else if let Some(mailbox) = self.shared.mailboxes.get(loop_index) {
            mailbox.post(Message::RejectHead(id, end));
        }
    }

    /// Rejects the head of a connection that takes too much room: the one that must be complete by `end`.
    pub(super) fn reject_head(&mut self, connection: &mut Connection<S>, end: Instant) {
        if connection.http.head_end() == Some(end) && connection.http.give_up_head() {
            tracing::debug!("an unfinished head is rejected: --head-memory is used up");
            self.shared.metrics.request(None);
            self.refuse(connection, ErrorCode::HeadTooLarge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(slot: u32) -> Place {
        (0, ConnectionId { slot, generation: 1 })
    }

    fn at(seconds: u64) -> Instant {
        Instant::default().after(std::time::Duration::from_secs(seconds))
    }

    #[test]
    fn the_oldest_large_heads_go_until_the_rest_fits() {
        let heads = Heads::new(100);
        assert_eq!(heads.hold(place(1), at(2), 40), []);
        assert_eq!(heads.hold(place(2), at(1), 40), []);
        assert_eq!(heads.hold(place(3), at(3), 20), []);
        assert_eq!(heads.hold(place(3), at(3), 30), [(place(2), at(1))]);
        assert_eq!(heads.hold(place(4), at(4), 90), [(place(1), at(2)), (place(3), at(3))]);
        // One that is complete makes room, and one that alone is too large goes itself.
        assert_eq!(heads.hold(place(4), at(0), 0), []);
        assert_eq!(heads.hold(place(5), at(5), 100), []);
        assert_eq!(heads.hold(place(5), at(5), 101), [(place(5), at(5))]);
        assert_eq!(lock(&heads.large).bytes, 0);
    }
}
