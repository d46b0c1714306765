//! What a runtime gives a store: threads, timers, a clock and randomness. A store owns none of them, so that the same
//! store runs on event loops, on a pool of an asynchronous runtime, in a caller's thread, and in a simulator that
//! reorders its jobs.

use std::{future::Future, pin::Pin};

use tus_proto::{Instant, Now};

/// One step of a store's work. Steps are as small as may be reordered: a sync, a commit, an unlink of a few files.
pub type Job = Box<dyn FnOnce() + Send>;

/// Work that awaits: for stores whose own calls are asynchronous.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a job is for, most urgent first, so that a runtime can order jobs and bound how many run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Commits what requests wait for. These wait for each other: one thread is enough for them, and nothing else may
    /// hold it up for long.
    Commit,
    /// May block on the disk, and a request waits for it.
    Blocking,
    /// Uses the processor for long, and a request waits for it.
    Compute,
    /// Housekeeping that may run at any time, but not in place of a request's work.
    Background,
    /// Long housekeeping that no request benefits from: run it where nothing else is to do.
    Idle,
}

/// A runtime as a store sees it.
pub trait Executor: Send + Sync {
    /// Runs a job, on any thread but the caller's stack: never before this returns.
    fn run(&self, class: Class, job: Job);

    /// Runs a [`Class::Background`] job once this time has come, or soon after.
    fn at(&self, when: Instant, job: Job);

    /// Runs a task to its end. A runtime that can't (it has no asynchronous half) answers `Err` with the task, and the
    /// store then can't be opened on it.
    fn spawn(&self, task: Task) -> Result<(), Task>;

    /// The time.
    fn now(&self) -> Now;

    /// Fills `out` with random bytes. `false` if the system has none to give.
    #[must_use]
    fn random(&self, out: &mut [u8]) -> bool;
}
