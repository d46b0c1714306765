//! Which changes share a transaction: those that came while the one before was made durable. A lone change is not delayed
//! for company. A machine without time or threads: the port asks it, and runs the jobs.

use std::collections::VecDeque;

/// The most changes in one group: what a transaction takes in a few milliseconds.
const GROUP: usize = 256;

/// What waits to be committed, and whether somebody is at it.
#[derive(Debug)]
pub(super) struct Group<T> {
    waiting: VecDeque<T>,
    /// A job is queued or running that takes what waits.
    scheduled: bool,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), scheduled: false }
    }
}

impl<T> Group<T> {
    /// Adds a change. Returns whether a job must be queued for it.
    pub(super) fn push(&mut self, change: T) -> bool {
        self.waiting.push_back(change);
        !std::mem::replace(&mut self.scheduled, true)
    }

    /// Takes what shares the next transaction.
    pub(super) fn take(&mut self) -> Vec<T> {
        let count = self.waiting.len().min(GROUP);
        self.waiting.drain(..count).collect()
    }

    /// The group is committed. Returns whether a job must be queued for what came meanwhile.
    pub(super) fn done(&mut self) -> bool {
        self.scheduled = !self.waiting.is_empty();
        self.scheduled
    }

    /// Whether nothing waits, and nobody is at work.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.scheduled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_during_a_commit_shares_the_next_one() {
        let mut group = Group::default();
        assert!(group.push(1));
        assert_eq!(group.take(), [1]);
        assert!(!group.push(2));
        assert!(!group.push(3));
        assert!(group.done());
        assert_eq!(group.take(), [2, 3]);
        assert!(!group.done());
        assert!(group.is_idle());
        assert!(group.push(4));
    }

    #[test]
    fn a_group_is_bounded_and_the_rest_is_the_next() {
        let mut group = Group::default();
        for change in 0..GROUP + 3 {
            group.push(change);
        }
        assert_eq!(group.take().len(), GROUP);
        assert!(group.done());
        assert_eq!(group.take(), [GROUP, GROUP + 1, GROUP + 2]);
    }
}
