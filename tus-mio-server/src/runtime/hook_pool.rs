//! The threads that hooks are called on. A hook is somebody else's code: it may take its time, or never return. So
//! these threads are never waited for, hold nothing of the server but its letter boxes, and what waits for one of
//! them has a bound in number and in time. Threads are started on demand, and end when they have been idle for a while.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tus_driver::{Clock, hooks::HookThreads};
use tus_proto::Instant;

use crate::sync::lock;

/// How long a thread waits for a call before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A pool of threads; its clones are the same pool.
#[derive(Clone, Debug)]
pub(crate) struct HookPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    /// The most jobs that wait.
    limit: usize,
    /// The most threads.
    threads: usize,
    /// What the threads are called.
    role: &'static str,
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    /// How many of the threads wait for a job.
    idle: usize,
    /// How many threads were started, for their names.
    started: usize,
    closed: bool,
}

/// A call of a hook, and what is done with its reply.
struct Job {
    /// Nobody waits for it beyond that. Jobs of one pool have the same time from when they come, so that they
    /// expire in the order in which they wait.
    deadline: Option<Instant>,
    run: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Job {
    fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl HookPool {
    /// A pool of at most so many threads, where at most `limit` jobs wait.
    pub(crate) fn new(clock: Clock, threads: usize, limit: usize, role: &'static str) -> Self {
        let (queue, ready) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { clock, limit, threads, role, queue, ready }) }
    }

    /// Queues a job; gives false where too many wait, and where the system gives no thread to the first. One whose deadline passes while it waits is not run: nobody
    /// waits for it any more.
    #[must_use]
    pub(crate) fn submit(&self, deadline: Option<Instant>, run: impl FnOnce() + Send + 'static) -> bool {
        let mut queue = lock(&self.shared.queue);
        if queue.jobs.len() >= self.shared.limit {
            // With every thread in a hook that never returns, nobody else clears away what is over.
            let now = self.shared.clock.now().monotonic;
            while queue.jobs.pop_front_if(|job| job.is_over(now)).is_some() {}
        }
        if queue.jobs.len() >= self.shared.limit || queue.closed {
            return false;
        }
        // Every idle thread may have been woken for a job already.
        let starts = queue.jobs.len() >= queue.idle && queue.threads < self.shared.threads;
        if starts && !self.start_one(&mut queue) && queue.threads == 0 {
            return false;
        }
        queue.jobs.push_back(Job { deadline, run: Box::new(run) });
        drop(queue);
        self.shared.ready.notify_one();
        true
    }

    fn start_one(&self, queue: &mut Queue) -> bool {
        let shared = self.shared.clone();
        let name = format!("{}-{}", shared.role, queue.started);
        // What a hook needs of the stack, only its author knows: these have the system's usual one.
        if let Err(error) = thread::Builder::new().name(name).spawn(move || shared.run()) {
            tracing::error!(%error, "the system gives no thread for a hook");
            return false;
        }
        queue.threads += 1;
        queue.started += 1;
        true
    }

    /// Lets the threads go, each when the hook it is in returns; what waits is forgotten.
    pub(crate) fn close(&self) {
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.ready.notify_all();
    }
}

impl HookThreads for HookPool {
    fn run(&self, deadline: Option<Instant>, call: Box<dyn FnOnce() + Send>) -> bool {
        self.submit(deadline, call)
    }
}

impl Shared {
    fn run(&self) {
        while let Some(job) = self.next() {
            if !job.is_over(self.clock.now().monotonic) {
                (job.run)();
            }
        }
    }

    /// The next job. `None` if the thread is to end; it is not counted any more then.
    fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        let mut waited = false;
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed || waited {
                queue.threads -= 1;
                return None;
            }
            queue.idle += 1;
            let (woken, time) = self.ready.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            (queue, waited) = (woken, time.timed_out());
            queue.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{sync::mpsc::channel, time::Duration};

    use super::*;

    /// A pool of one thread that is held up, and what lets it go on.
    fn held_up(limit: usize) -> (HookPool, std::sync::mpsc::Sender<()>) {
        let pool = HookPool::new(Clock::start(None), 1, limit, "hook");
        let (go, wait) = channel::<()>();
        let (tell, begun) = channel();
        let hold = move || {
            tell.send(()).unwrap();
            let _ = wait.recv();
        };
        assert!(pool.submit(None, hold));
        begun.recv().unwrap();
        (pool, go)
    }

    #[test]
    fn what_waits_has_a_bound_and_makes_room_when_its_time_is_over() {
        let (pool, go) = held_up(2);
        let (tell, ran) = channel();
        let job = |name: &'static str| {
            let tell = tell.clone();
            move || tell.send(name).unwrap()
        };
        let over = pool.shared.clock.now().monotonic;
        let later = over.after(Duration::from_secs(3600));
        assert!(pool.submit(Some(over), job("late")));
        assert!(pool.submit(Some(later), job("first")));
        assert!(pool.submit(Some(later), job("second")), "the one that is over makes room");
        assert!(!pool.submit(Some(later), job("too many")));
        go.send(()).unwrap();
        assert_eq!([ran.recv().unwrap(), ran.recv().unwrap()], ["first", "second"]);
        pool.close();
        assert!(!pool.submit(None, job("closed")));
    }

    #[test]
    fn a_job_whose_time_is_over_when_its_turn_comes_is_not_run() {
        let (pool, go) = held_up(9);
        let (tell, ran) = channel();
        let late = tell.clone();
        let now = pool.shared.clock.now().monotonic;
        assert!(pool.submit(Some(now), move || late.send("late").unwrap()));
        assert!(pool.submit(None, move || tell.send("in time").unwrap()));
        go.send(()).unwrap();
        assert_eq!(ran.recv().unwrap(), "in time");
        pool.close();
        assert!(ran.recv().is_err(), "nothing else was run, and its thread has ended");
    }

    #[test]
    fn each_call_has_a_thread_until_there_are_as_many_as_may_be() {
        let pool = HookPool::new(Clock::start(None), 3, 9, "hook");
        let (tell, begun) = channel();
        let mut holds = Vec::new();
        for _ in 0..4 {
            let (go, wait) = channel::<()>();
            let tell = tell.clone();
            assert!(pool.submit(None, move || {
                tell.send(()).unwrap();
                let _ = wait.recv();
            }));
            holds.push(go);
        }
        (0..3).for_each(|_| begun.recv().unwrap());
        assert_eq!(lock(&pool.shared.queue).threads, 3);
        assert!(begun.try_recv().is_err(), "the fourth waits");
        holds.clear();
        begun.recv().unwrap();
        pool.close();
    }
}
