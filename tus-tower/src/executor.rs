//! The store's threads, timers and tasks on a tokio runtime. Jobs wait in three queues of their own, and each queue
//! occupies at most so many of the runtime's blocking threads, and none while it is empty.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinSet, time::Instant as TokioInstant};
use tus_driver::{Class, Clock, Executor, Job, Task};
use tus_proto::{Instant, Now, WallTime};

use crate::BuildError;

/// The queues: commits, one after another; what requests wait for; housekeeping, which must not take their threads.
const QUEUES: usize = 3;

pub(crate) struct Pool {
    runtime: Handle,
    clock: Clock,
    /// When the clock was started, on tokio's: tests let that stand.
    start: TokioInstant,
    queues: [Mutex<Queue>; QUEUES],
    /// Each sleeps until its job is due.
    timers: Mutex<JoinSet<()>>,
    this: Weak<Self>,
}

struct Queue {
    jobs: BTreeMap<(Class, u64), Job>,
    serial: u64,
    threads: usize,
    most: usize,
}

/// An [`Executor`] on a tokio runtime, for a store that is opened before its service is built: give it to
/// [`Builder::executor`](crate::Builder::executor) as well.
#[derive(Clone, Debug)]
pub struct TokioExecutor(pub(crate) Arc<Pool>);

impl TokioExecutor {
    /// On the runtime that this is called in; at most `threads` of its blocking threads work at once for requests.
    ///
    /// # Errors
    /// There is no runtime here.
    pub fn new(threads: usize) -> Result<Self, BuildError> {
        Self::start(threads, None)
    }

    pub(crate) fn start(threads: usize, time: Option<WallTime>) -> Result<Self, BuildError> {
        let runtime = Handle::try_current().map_err(|_| BuildError(()))?;
        Ok(Self(Pool::new(runtime, Clock::start(time), threads)))
    }

    /// As stores take it.
    pub fn to_dyn(&self) -> Arc<dyn Executor> {
        self.0.clone()
    }
}

impl Pool {
    /// On the runtime that this is called in; at most `threads` jobs run at once that requests wait for.
    pub(crate) fn new(runtime: Handle, clock: Clock, threads: usize) -> Arc<Self> {
        let queue = |most| Mutex::new(Queue { jobs: BTreeMap::new(), serial: 0, threads: 0, most });
        let queues = [queue(1), queue(threads.max(1)), queue(1)];
        let timers = Mutex::new(JoinSet::new());
        Arc::new_cyclic(|this| {
            let start = TokioInstant::now();
            Self { runtime, clock, start, queues, timers, this: this.clone() }
        })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// When a tokio timer for this time is to fire.
    pub(crate) fn wake_at(&self, when: Instant) -> TokioInstant {
        self.start + Duration::from_micros(when.as_micros())
    }

    /// Ends the timers; what they would have run is dropped.
    pub(crate) fn stop_timers(&self) {
        lock(&self.timers).abort_all();
    }

    /// Works a queue off, and leaves when it is empty.
    fn work(&self, queue: &Mutex<Queue>) {
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

const fn queue_of(class: Class) -> usize {
    match class {
        Class::Commit => 0,
        Class::Blocking | Class::Compute => 1,
        Class::Background | Class::Idle => 2,
    }
}

impl Executor for Pool {
    fn run(&self, class: Class, job: Job) {
        let index = queue_of(class);
        let Some(queue) = self.queues.get(index) else { return };
        let mut waiting = lock(queue);
        waiting.serial += 1;
        let serial = waiting.serial;
        waiting.jobs.insert((class, serial), job);
        if waiting.threads == waiting.most {
            return;
        }
        waiting.threads += 1;
        drop(waiting);
        let this = self.this.clone();
        self.runtime.spawn_blocking(move || {
            if let Some(this) = this.upgrade()
                && let Some(queue) = this.queues.get(index)
            {
                this.work(queue);
            }
        });
    }

    fn at(&self, when: Instant, job: Job) {
        let (this, until) = (self.this.clone(), self.wake_at(when));
        let timer = async move {
            tokio::time::sleep_until(until).await;
            if let Some(this) = this.upgrade() {
                this.run(Class::Background, job);
            }
        };
        let mut timers = lock(&self.timers);
        while timers.try_join_next().is_some() {}
        timers.spawn_on(timer, &self.runtime);
    }

    fn spawn(&self, task: Task) -> Result<(), Task> {
        self.runtime.spawn(task);
        Ok(())
    }

    fn now(&self) -> Now {
        self.clock.after(self.start.elapsed())
    }

    fn random(&self, out: &mut [u8]) -> bool {
        getrandom::fill(out).is_ok()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
