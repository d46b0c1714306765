//! Hooks on a tokio runtime: functions on blocking threads, a bounded number at a time, and `async fn`s in tasks.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tus_driver::{
    Limits,
    hooks::{AsyncHooks, AsyncRunner, HookThreads},
};
use tus_proto::Instant;

use crate::executor::Pool;

/// The blocking threads that may call hooks.
#[derive(Debug)]
pub(crate) struct BlockingThreads {
    pool: Arc<Pool>,
    free: Arc<Semaphore>,
}

impl BlockingThreads {
    /// At most so many at once call hooks that a request waits for.
    pub(crate) fn new(pool: Arc<Pool>, most: usize) -> Self {
        Self { pool, free: Arc::new(Semaphore::new(most.clamp(1, 512))) }
    }
}

impl HookThreads for BlockingThreads {
    fn run(&self, deadline: Option<Instant>, call: Box<dyn FnOnce() + Send>) -> bool {
        let runtime = self.pool.runtime().clone();
        let Some(deadline) = deadline else {
            // The schedule of events bounds how many these are.
            runtime.spawn_blocking(call);
            return true;
        };
        let (deadline, free) = (self.pool.wake_at(deadline), self.free.clone());
        self.pool.runtime().spawn(async move {
            // A hook that never returns keeps its thread. Without a thread in time the request has given up.
            let thread = tokio::time::timeout_at(deadline, free.acquire_owned());
            if let Ok(Ok(thread)) = thread.await {
                runtime.spawn_blocking(move || {
                    call();
                    drop(thread);
                });
            }
        });
        true
    }
}

/// `async fn`s, each in a task that is dropped at its deadline.
pub(crate) fn tasks(hooks: impl AsyncHooks, pool: &Pool, limits: &Limits) -> AsyncRunner<impl AsyncHooks> {
    let (runtime, timeout) = (pool.runtime().clone(), limits.hook_timeout);
    AsyncRunner::new(hooks, move |task, limited| match limited {
        true => drop(runtime.spawn(tokio::time::timeout(timeout, task))),
        false => drop(runtime.spawn(task)),
    })
}
