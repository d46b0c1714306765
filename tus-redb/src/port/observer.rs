//! What a store reports to a runtime in addition to its answers, for metrics and logs.

use std::time::Duration;

use tus_proto::{Completion, Failure};

use crate::{maintenance::sweep::Swept, port::quota::Refusal, store::change::Change};

/// Receives what a store does in addition to its answers, for metrics and logs. Called from the store's jobs.
pub trait Observer: Send + Sync {
    /// A group of so many changes was committed, and took so long.
    fn committed(&self, changes: usize, took: Duration) {
        let _ = (changes, took);
    }

    /// A change is done, and its request is about to be told of it.
    fn changed(&self, change: &Change, completion: &Completion) {
        let _ = (change, completion);
    }

    /// A flush has begun: what was committed before this is what the next [`Self::flushed`] is about.
    fn flushing(&self) {}

    /// All that was committed before the last [`Self::flushing`] is durable, or could not be made so.
    fn flushed(&self, flushed: Result<(), Failure>) {
        let _ = flushed;
    }

    /// So many finals became complete with a part of theirs.
    fn finals_finished(&self, count: u64) {
        let _ = count;
    }

    /// A sweep was made.
    fn swept(&self, swept: &Swept) {
        let _ = swept;
    }

    /// An upload was not created, because of a limit of space.
    fn refused(&self, why: Refusal) {
        let _ = why;
    }

    /// Something went wrong, for the operator's log.
    fn error(&self, text: &str) {
        let _ = text;
    }
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
