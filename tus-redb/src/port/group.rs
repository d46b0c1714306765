//! Which changes share a transaction: those that came while the one before was made durable. A lone change is not delayed
//! for company. A machine without time or threads: the port asks it, and runs the jobs.

use std::collections::VecDeque;

/// The most that the small changes of one group may cost, in changes of one record: what a transaction takes in a few
/// milliseconds.
const GROUP: usize = 256;

/// Changes above this cost are large: a group has one of them at most, and small ones do not wait behind them.
const LARGE: usize = 64;

/// What waits to be committed, and whether somebody is at it.
#[derive(Debug)]
pub(super) struct Group<T> {
    /// Small changes, each with its cost.
    waiting: VecDeque<(T, usize)>,
    large: VecDeque<T>,
    /// A job is queued or running that takes what waits.
    scheduled: bool,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), large: VecDeque::new(), scheduled: false }
    }
}

impl<T> Group<T> {
    /// Adds a change that touches so many records. Returns whether a job must be queued for it.
    pub(super) fn push(&mut self, change: T, cost: usize) -> bool {
        if cost > LARGE {
            self.large.push_back(change);
        } else {
            self.waiting.push_back((change, cost));
        }
        !std::mem::replace(&mut self.scheduled, true)
    }

    /// Takes what shares the next transaction: small changes, and the large one that has waited longest. Requests whose
    /// changes wait at the same time are in no order.
    pub(super) fn take(&mut self) -> Vec<T> {
        let mut cost = 0;
        let mut fits = |(_, next): &&(T, usize)| {
            cost += next;
            cost <= GROUP
        };
        let count = self.waiting.iter().take_while(|next| fits(next)).count();
        let inline = self.waiting.drain(..count).map(|(change, _)| change);
        inline.chain(self.large.pop_front()).collect()
    }

    /// The group is committed. Returns whether a job must be queued for what came meanwhile.
    pub(super) fn done(&mut self) -> bool {
        self.scheduled = !(self.waiting.is_empty() && self.large.is_empty());
        self.scheduled
    }

    /// Whether nothing waits, and nobody is at work.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.large.is_empty() && !self.scheduled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_during_a_commit_shares_the_next_one() {
        let mut group = Group::default();
        assert!(group.push(1, 1));
        assert_eq!(group.take(), [1]);
        assert!(!group.push(2, 1));
        assert!(!group.push(3, 1));
        assert!(group.done());
        assert_eq!(group.take(), [2, 3]);
        assert!(!group.done());
        assert!(group.is_idle());
        assert!(group.push(4, 1));
    }

    #[test]
    fn a_group_is_bounded_and_the_rest_is_the_next() {
        let mut group = Group::default();
        for change in 0..GROUP + 3 {
            group.push(change, 1);
        }
        assert_eq!(group.take().len(), GROUP);
        assert!(group.done());
        assert_eq!(group.take(), [GROUP, GROUP + 1, GROUP + 2]);
    }

    #[test]
    fn inline_changes_wait_for_one_large_one_at_most() {
        let mut group = Group::default();
        for (change, cost) in [('a', 1), ('b', 200), ('c', 100), ('d', 1000), ('e', 1)] {
            group.push(change, cost);
        }
        assert_eq!(group.take(), ['a', 'e', 'b']);
        assert!(group.done());
        group.push('f', 1);
        assert_eq!(group.take(), ['f', 'c']);
        assert_eq!(group.take(), ['d'], "too large for any group, and not to wait for ever");
        assert!(!group.done() && group.is_idle());
    }
}
