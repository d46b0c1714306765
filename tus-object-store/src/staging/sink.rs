//! The driver's view of a body's bytes.

use std::{
    fmt,
    sync::Arc,
    task::{Poll, Waker},
};

use bytes::Buf;
use tus_driver::Sink;
use tus_proto::Failure;

use super::{Staging, send::IN_FLIGHT};
use crate::requests::lock;

/// Names what a [`BucketSink`] has staged.
#[derive(Clone)]
pub struct Staged(pub(crate) Arc<Staging>);

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("upload", &self.0.id).finish_non_exhaustive()
    }
}

/// Takes the bytes of a body, as fast as the bucket takes them and as there is memory.
#[derive(Debug)]
pub struct BucketSink {
    staged: Staged,
    /// The upload's offset at which its bytes begin.
    at: u64,
}

impl BucketSink {
    pub(crate) fn new(staging: Arc<Staging>, at: u64) -> Self {
        staging.shared.budget.count_sink(true);
        Self { staged: Staged(staging), at }
    }
}

impl Sink for BucketSink {
    type Staged = Staged;

    fn poll_room(&mut self, waker: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        let staging = &self.staged.0;
        {
            let mut state = lock(&staging.state);
            if let Some(failure) = state.failure {
                return Poll::Ready(Err(failure));
            }
            if state.in_flight >= IN_FLIGHT {
                state.waiting.push(waker());
                return Poll::Pending;
            }
        }
        let share = staging.shared.budget.share(waker);
        if share > 0 {
            return Poll::Ready(Ok(share));
        }
        staging.shared.relieve();
        Poll::Pending
    }

    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        self.staged.0.write(data)
    }

    fn blocks(&self, _: usize) -> bool {
        false
    }

    fn len(&self) -> u64 {
        lock(&self.staged.0.state).end.saturating_sub(self.at)
    }

    fn staged(&self) -> Staged {
        self.staged.clone()
    }
}

impl Drop for BucketSink {
    fn drop(&mut self) {
        self.staged.0.shared.budget.count_sink(false);
        lock(&self.staged.0.state).closed = true;
    }
}
