//! A tokio runtime in threads of its own, for servers that have none.

use std::time::Duration;

use std::{fmt, io, sync::Arc};

use tokio::runtime::{Builder, Runtime};
use tus_driver::{Class, Executor, Job, Task};
use tus_proto::{Instant, Now};

/// An executor whose tasks and timers run on a tokio runtime of its own; jobs, clock and randomness are another's.
pub struct WithRuntime {
    inner: Arc<dyn Executor>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl WithRuntime {
    /// Starts so many threads for tasks: they talk to the bucket, and hash what they send.
    ///
    /// # Errors
    /// The system's, that has no threads to give.
    pub fn new(inner: Arc<dyn Executor>, threads: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(threads.max(1)).thread_name("object-store").enable_all().build()?;
        Ok(Self { inner, runtime: Some(runtime) })
    }
}

impl Executor for WithRuntime {
    fn run(&self, class: Class, job: Job) {
        self.inner.run(class, job);
    }

    fn at(&self, when: Instant, job: Job) {
        let Some(runtime) = &self.runtime else { return };
        let pause: Duration = when.since(self.inner.now().monotonic);
        runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            job();
        });
    }

    fn spawn(&self, task: Task) -> Result<(), Task> {
        match &self.runtime {
            Some(runtime) => {
                runtime.spawn(task);
                Ok(())
            }
            None => Err(task),
        }
    }

    fn now(&self) -> Now {
        self.inner.now()
    }

    fn random(&self, out: &mut [u8]) -> bool {
        self.inner.random(out)
    }
}

impl Drop for WithRuntime {
    fn drop(&mut self) {
        // A runtime that waits for its threads must not be dropped on one of them.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for WithRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithRuntime").finish_non_exhaustive()
    }
}
