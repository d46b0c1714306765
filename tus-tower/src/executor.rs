//! The store's threads, timers and tasks on a tokio runtime. Jobs wait in queues of their own, and each queue occupies a
//! bounded number of the runtime's blocking threads, and none while it is empty.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinSet, time::Instant as TokioInstant};
use tus_driver::{Class, Clock, Executor, Job, JobPool, Task};
use tus_proto::{Instant, Now, WallTime};

pub(crate) struct Pool {
    runtime: Handle,
    clock: Clock,
    /// When the clock was started, on tokio's: tests let that stand.
    start: TokioInstant,
    jobs: Arc<JobPool>,
    /// Each sleeps until its job is due.
    timers: Mutex<JoinSet<()>>,
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
        let (clock, start) = (Clock::start(time), TokioInstant::now());
        let (jobs, timers) = (Arc::new(JobPool::new(threads)), Mutex::default());
        Ok(Self(Arc::new(Pool { runtime, clock, start, jobs, timers })))
    }

    /// As stores take it.
    pub fn to_dyn(&self) -> Arc<dyn Executor> {
        self.0.clone()
    }
}

impl Pool {
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// When a tokio timer for this time is to fire.
    pub(crate) fn wake_at(&self, when: Instant) -> TokioInstant {
        self.start + Duration::from_micros(when.as_micros())
    }

    /// Ends the timers; what they would have run is dropped.
    pub(crate) fn stop_timers(&self) {
        self.timers().abort_all();
    }

    fn timers(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues a job, and lends it a thread if it may have one.
fn run(runtime: &Handle, jobs: &Arc<JobPool>, class: Class, job: Job) {
    if let Some(shift) = jobs.push(class, job) {
        let jobs = jobs.clone();
        runtime.spawn_blocking(move || jobs.work(shift));
    }
}

impl Executor for Pool {
    fn run(&self, class: Class, job: Job) {
        run(&self.runtime, &self.jobs, class, job);
    }

    fn at(&self, when: Instant, job: Job) {
        let (runtime, jobs, until) = (self.runtime.clone(), self.jobs.clone(), self.wake_at(when));
        let timer = async move {
            tokio::time::sleep_until(until).await;
            run(&runtime, &jobs, Class::Background, job);
        };
        let mut timers = self.timers();
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

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// A service can't be built: there is no tokio runtime here.
#[derive(Clone, Debug)]
pub struct BuildError(());

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the service's store needs a tokio runtime: call build() within one, as in `#[tokio::main] async fn main`",
        )
    }
}

impl std::error::Error for BuildError {}
