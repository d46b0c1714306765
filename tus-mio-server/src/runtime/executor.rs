//! The threads that a store's jobs run on: commits and timers on one of their own, the rest among the workers.

use std::{fmt, sync::Arc};

use tus_driver::{Class, Clock, Executor, Job, JobQueue, Store, Task};
use tus_proto::{Instant, Now};

use super::{
    mailbox::{Mailbox, hold_wakes},
    workers::{
        Workers,
        job::{self, Step},
    },
};

/// A server's threads, as its store sees them.
pub(crate) struct Threads<S: Store> {
    workers: Arc<Workers<S>>,
    mailboxes: Arc<[Mailbox<S>]>,
    /// What the committing thread does, one after another.
    commits: JobQueue,
    /// Who runs the tasks of a store that awaits; `None` if nobody does.
    spawner: Option<Spawner>,
}

/// Runs tasks to their end, on threads of its own.
pub(crate) type Spawner = Arc<dyn Fn(Task) + Send + Sync>;

impl<S: Store> Threads<S> {
    pub(crate) fn new(
        workers: Arc<Workers<S>>,
        mailboxes: Arc<[Mailbox<S>]>,
        clock: Clock,
        spawner: Option<Spawner>,
    ) -> Self {
        let random = |out: &mut [u8]| getrandom::fill(out).is_ok();
        Self { workers, mailboxes, commits: JobQueue::new(move || clock.now(), random), spawner }
    }

    /// The body of the committing thread, until `closed` says so and there is nothing left to do.
    pub(crate) fn commit(&self, closed: impl Fn() -> bool) {
        loop {
            let seen = self.commits.seen();
            // A group answers many requests at once.
            if hold_wakes(&self.mailboxes, || self.commits.run_one(Class::Idle)) {
                continue;
            }
            if closed() {
                // Timers hold on to nothing that another server would miss.
                return self.commits.clear();
            }
            self.commits.wait(seen, self.commits.deadline());
        }
    }

    /// Lets the committing thread look whether it is to end.
    pub(crate) fn notify(&self) {
        self.commits.notify();
    }
}

impl<S: Store> Executor for Threads<S> {
    fn run(&self, class: Class, job: Job) {
        match class {
            Class::Commit => self.commits.run(class, job),
            _ => self.workers.submit(job::Job::Run(class, Step(job))),
        }
    }

    fn at(&self, when: Instant, job: Job) {
        self.commits.at(when, job);
        self.commits.notify();
    }

    fn spawn(&self, task: Task) -> Result<(), Task> {
        match &self.spawner {
            Some(spawner) => {
                spawner(task);
                Ok(())
            }
            None => Err(task),
        }
    }

    fn now(&self) -> Now {
        self.commits.now()
    }

    fn random(&self, out: &mut [u8]) -> bool {
        self.commits.random(out)
    }
}

impl<S: Store> fmt::Debug for Threads<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("commits", &self.commits).finish_non_exhaustive()
    }
}
