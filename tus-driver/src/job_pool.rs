//! Jobs for a pool of threads that the runtime owns: each queue occupies a bounded number of threads, and none while it is empty.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

use crate::{Class, Job, mailbox::lock};

/// The queues: commits, one after another; what requests wait for; housekeeping, which must not take their threads.
const QUEUES: usize = 3;

/// Jobs in three queues, each worked off by a bounded number of threads at once: for an [`Executor`](crate::Executor) whose
/// runtime lends threads to whatever blocks.
pub struct JobPool([Mutex<Queue>; QUEUES]);

struct Queue {
    jobs: BTreeMap<(Class, u64), Job>,
    serial: u64,
    threads: usize,
    most: usize,
}

/// A queue that one more thread is to work off: see [`JobPool::work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift(usize);

impl JobPool {
    /// At most `threads` jobs run at once that requests wait for, one more that commits, and one of housekeeping.
    pub fn new(threads: usize) -> Self {
        let queue = |most| Mutex::new(Queue { jobs: BTreeMap::new(), serial: 0, threads: 0, most });
        Self([queue(1), queue(threads.max(1)), queue(1)])
    }

    /// Queues a job. If `Some`, the caller must call [`work`](Self::work) with it on a thread that may block.
    #[must_use = "without the thread the job is not run"]
    pub fn push(&self, class: Class, job: Job) -> Option<Shift> {
        let index = match class {
            Class::Commit => 0,
            Class::Blocking | Class::Compute => 1,
            Class::Background | Class::Idle => 2,
        };
        let mut queue = lock(self.0.get(index)?);
        queue.serial += 1;
        let serial = queue.serial;
        queue.jobs.insert((class, serial), job);
        let more = queue.threads < queue.most;
        queue.threads += usize::from(more);
        more.then_some(Shift(index))
    }

    /// Runs jobs on the calling thread, the most urgent class first, until there are none. A job that panics ends alone.
    pub fn work(&self, shift: Shift) {
        let Some(queue) = self.0.get(shift.0) else { return };
        loop {
            let mut waiting = lock(queue);
            let Some((_, job)) = waiting.jobs.pop_first() else {
                waiting.threads -= 1;
                return;
            };
            drop(waiting);
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a job of the store panicked");
            }
        }
    }
}

impl fmt::Debug for JobPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.iter().map(|queue| lock(queue).jobs.len());
        f.debug_list().entries(waiting).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{panic::resume_unwind, sync::mpsc::channel};

    use super::*;

    #[test]
    fn each_queue_has_its_threads_while_it_has_work() {
        let pool = JobPool::new(2);
        let push = |class| pool.push(class, Box::new(|| ()));
        let shift = push(Class::Commit).unwrap();
        assert_eq!(push(Class::Commit), None, "commits have one thread");
        assert!(push(Class::Blocking).is_some() && push(Class::Compute).is_some());
        assert_eq!(push(Class::Blocking), None);
        assert!(push(Class::Background).is_some() && push(Class::Idle).is_none());
        pool.work(shift);
        assert_eq!(push(Class::Commit), Some(shift), "its thread was given back");
    }

    #[test]
    fn the_most_urgent_job_is_first_and_one_that_panics_ends_alone() {
        let pool = JobPool::new(1);
        let (tell, ran) = channel();
        let job = |name: &'static str| {
            let tell = tell.clone();
            Box::new(move || tell.send(name).unwrap())
        };
        let shift = pool.push(Class::Idle, job("idle")).unwrap();
        assert_eq!(pool.push(Class::Background, Box::new(|| resume_unwind(Box::new("on purpose")))), None);
        assert_eq!(pool.push(Class::Background, job("first")), None);
        pool.work(shift);
        assert_eq!(ran.try_iter().collect::<Vec<_>>(), ["first", "idle"]);
    }
}
