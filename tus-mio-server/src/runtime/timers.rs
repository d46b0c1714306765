//! When to look at which connection again: one lazy heap. A deadline that moves on costs nothing until its
//! old point passes, and only one that moves closer adds an entry.

use std::{cmp::Reverse, collections::BinaryHeap};

use tus_proto::Instant;

use super::ConnectionId;

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
}

impl Timers {
    /// Sees that `id` is looked at by `deadline`. `scheduled` is the connection's own memory of its earliest
    /// entry in the heap.
    pub(super) fn schedule(
        &mut self,
        id: ConnectionId,
        deadline: Option<Instant>,
        scheduled: &mut Option<Instant>,
    ) {
        if let Some(at) = deadline
            && scheduled.is_none_or(|earlier| at < earlier)
        {
            self.heap.push(Reverse((at, id)));
            *scheduled = Some(at);
        }
    }

    /// The next point in time at which something may be due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes an entry that is due. The connection may be gone, or have moved its deadline on.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, ConnectionId)> {
        let due = self.next().is_some_and(|at| at <= now);
        due.then(|| self.heap.pop()).flatten().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_moves_on_adds_no_entry() {
        let at = Instant::from_micros;
        let id = ConnectionId { slot: 3, generation: 1 };
        let (mut timers, mut scheduled) = (Timers::default(), None);
        for deadline in [50, 60, 70] {
            timers.schedule(id, Some(at(deadline)), &mut scheduled);
        }
        timers.schedule(id, None, &mut scheduled);
        assert_eq!(timers.heap.len(), 1);
        timers.schedule(id, Some(at(40)), &mut scheduled);
        assert_eq!(timers.next(), Some(at(40)));
        assert_eq!(timers.pop_due(at(39)), None);
        assert_eq!(timers.pop_due(at(45)), Some((at(40), id)));
        assert_eq!(timers.pop_due(at(45)), None);
    }
}
