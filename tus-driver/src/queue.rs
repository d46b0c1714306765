//! The smallest executor: a queue that whichever thread has time works off. For runtimes without threads of their own,
//! whose callers do the work, and for tests, which choose the order.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Wake,
    time::Duration,
};

use tus_proto::{Instant, Now};

use crate::{Answer, Class, Executor, Job, Task, Ticket, mailbox::lock};

/// Fills a buffer with random bytes, if there are any.
type Entropy = dyn Fn(&mut [u8]) -> bool + Send + Sync;

/// Jobs that wait for a thread, and timers. [`run_one`](Self::run_one) does the work.
pub struct JobQueue {
    clock: Box<dyn Fn() -> Now + Send + Sync>,
    entropy: Box<Entropy>,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<(Class, Job)>,
    timed: BTreeMap<(Instant, u64), Job>,
    serial: u64,
    /// How often there was news: a thread that has seen all of it may wait.
    news: u64,
}

impl JobQueue {
    /// A queue with this clock and this source of random bytes.
    pub fn new(
        clock: impl Fn() -> Now + Send + Sync + 'static,
        entropy: impl Fn(&mut [u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            clock: Box::new(clock),
            entropy: Box::new(entropy),
            state: Mutex::default(),
            news: Condvar::new(),
        }
    }

    /// Runs the first job of a class up to `last`. Returns whether there was one.
    pub fn run_one(&self, last: Class) -> bool {
        let job = self.lock().take((self.clock)().monotonic, last);
        job.map(|job| job()).is_some()
    }

    /// When the next timer is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.lock().timed.keys().next().map(|(at, _)| *at)
    }

    /// A number that changes with all news: take it before looking for what [`wait`](Self::wait) waits for.
    pub fn seen(&self) -> u64 {
        self.lock().news
    }

    /// Waits for news after `seen`: a job, a [`notify`](Self::notify), or until a time has come.
    pub fn wait(&self, seen: u64, until: Option<Instant>) {
        let mut state = self.lock();
        while state.news == seen {
            let now = (self.clock)().monotonic;
            let left = until.map(|until| until.since(now));
            state = match left {
                Some(Duration::ZERO) => return,
                Some(left) => self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.news.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Wakes the threads that wait: something came for one of them.
    pub fn notify(&self) {
        self.lock().news += 1;
        self.news.notify_all();
    }

    /// Calls a store whose jobs are in this queue, and waits for the answer: with jobs up to the class `last`, which must
    /// be that of the store's own for it.
    pub fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        last: Class,
        call: impl FnOnce(&dyn Fn() -> Ticket<T>) -> Answer<T>,
    ) -> T {
        let slot: Arc<Mutex<Option<T>>> = Arc::default();
        let later = || {
            let (slot, queue) = (slot.clone(), self.clone());
            Ticket::new(move |answer| {
                *lock(&slot) = Some(answer);
                queue.notify();
            })
        };
        if let Answer::Now(answer) = call(&later) {
            return answer;
        }
        loop {
            let seen = self.seen();
            if let Some(answer) = lock(&slot).take() {
                return answer;
            }
            if !self.run_one(last) {
                self.wait(seen, None);
            }
        }
    }

    /// Drops all jobs and timers: what they hold on to is let go.
    pub fn clear(&self) {
        let state = std::mem::take(&mut *self.lock());
        drop(state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn take(&mut self, now: Instant, last: Class) -> Option<Job> {
        if Class::Background <= last
            && let Some(timer) = self.timed.first_entry().filter(|timer| timer.key().0 <= now)
        {
            return Some(timer.remove());
        }
        let index = self.ready.iter().position(|(class, _)| *class <= last)?;
        self.ready.remove(index).map(|(_, job)| job)
    }
}

/// As a waker it wakes the threads that [`wait`](JobQueue::wait).
impl Wake for JobQueue {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

impl Executor for JobQueue {
    fn run(&self, class: Class, job: Job) {
        let mut state = self.lock();
        state.ready.push_back((class, job));
        state.news += 1;
        drop(state);
        self.news.notify_all();
    }

    fn at(&self, when: Instant, job: Job) {
        let mut state = self.lock();
        state.serial += 1;
        let serial = state.serial;
        state.timed.insert((when, serial), job);
    }

    fn spawn(&self, task: Task) -> Result<(), Task> {
        Err(task)
    }

    fn now(&self) -> Now {
        (self.clock)()
    }

    fn random(&self, out: &mut [u8]) -> bool {
        (self.entropy)(out)
    }
}

impl fmt::Debug for JobQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("JobQueue")
            .field("ready", &state.ready.len())
            .field("timed", &state.timed.len())
            .finish_non_exhaustive()
    }
}
