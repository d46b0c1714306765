//! Requests that are tried again: on the executor's clock and timers alone, so that a simulator sees all of it. The
//! client's own retries are off, because a conditional write whose answer was lost must be told from one that failed.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::future::{Either, select};
use tus_driver::Executor;
use tus_proto::Instant;

use crate::bucket::{Bucket, Fault, Reply};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// How long all attempts of a request may take together.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The first pause between two attempts; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The bucket, and the means to ask it patiently.
#[derive(Clone)]
pub(crate) struct Requests {
    pub bucket: Arc<dyn Bucket>,
    pub executor: Arc<dyn Executor>,
    timers: Arc<Mutex<Timers>>,
}

/// What waits until when. One timer of the executor's stands for all: most waits are time-outs of requests, which end long
/// before.
#[derive(Default)]
struct Timers {
    waiting: BTreeMap<(Instant, u64), Option<Waker>>,
    serial: u64,
    /// The earliest time at which the executor calls.
    set: Option<Instant>,
}

impl Requests {
    pub(crate) fn new(bucket: Arc<dyn Bucket>, executor: Arc<dyn Executor>) -> Self {
        Self { bucket, executor, timers: Arc::default() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.executor.now().monotonic
    }

    /// Random bits; the time where the system has none to give.
    pub(crate) fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        if self.executor.random(&mut bytes) { u64::from_le_bytes(bytes) } else { self.now().as_micros() }
    }

    /// Repeats a request until it has a clear answer, for [`PATIENCE`] at most.
    pub(crate) async fn clear<T: Send + 'static>(
        &self,
        make: impl Fn(&dyn Bucket) -> Reply<T>,
    ) -> Result<T, Fault> {
        self.clear_by(self.now().after(PATIENCE), Duration::ZERO, make).await
    }

    /// As [`clear`](Self::clear), until a time, each attempt with so much more time than usual.
    pub(crate) async fn clear_by<T: Send + 'static>(
        &self,
        until: Instant,
        more: Duration,
        make: impl Fn(&dyn Bucket) -> Reply<T>,
    ) -> Result<T, Fault> {
        let mut pauses = Pauses::new(until);
        loop {
            match self.once(more, make(&*self.bucket)).await {
                Err(Fault::Unclear(why)) => {
                    if !pauses.pause(self).await {
                        return Err(Fault::Unclear(why));
                    }
                }
                other => return other,
            }
        }
    }

    /// Makes one attempt. One that takes too long is given up: it may still have its effect.
    pub(crate) async fn once<T>(&self, more: Duration, reply: Reply<T>) -> Result<T, Fault> {
        let late = self.sleep(ATTEMPT + more);
        match select(reply, late).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Fault::Unclear("no answer came in time".into())),
        }
    }

    /// Waits, on the executor's timers.
    pub(crate) fn sleep(&self, time: Duration) -> Sleep {
        let at = self.now().after(time);
        let mut timers = lock(&self.timers);
        timers.serial += 1;
        let key = (at, timers.serial);
        timers.waiting.insert(key, None);
        set(&self.timers, &mut timers, &self.executor);
        Sleep { key, timers: self.timers.clone() }
    }
}

/// Sees that the executor calls when the first wait is over.
fn set(timers: &Arc<Mutex<Timers>>, state: &mut Timers, executor: &Arc<dyn Executor>) {
    let Some(((at, _), _)) = state.waiting.first_key_value() else { return };
    let at = *at;
    if state.set.is_some_and(|set| set <= at) {
        return;
    }
    state.set = Some(at);
    let (timers, on) = (Arc::downgrade(timers), Arc::downgrade(executor));
    let call = move || {
        let (Some(timers), Some(executor)) = (timers.upgrade(), on.upgrade()) else { return };
        let mut state = lock(&timers);
        if state.set == Some(at) {
            state.set = None;
        }
        let now = executor.now().monotonic;
        let mut over = Vec::new();
        while let Some(first) = state.waiting.first_entry().filter(|first| first.key().0 <= now) {
            over.extend(first.remove());
        }
        set(&timers, &mut state, &executor);
        drop(state);
        over.into_iter().for_each(Waker::wake);
    };
    executor.at(at, Box::new(call));
}

/// Pauses between attempts: each twice as long as the one before, and a random part shorter.
pub(crate) struct Pauses {
    until: Instant,
    next: Duration,
}

impl Pauses {
    pub(crate) fn new(until: Instant) -> Self {
        Self { until, next: PAUSE }
    }

    /// Pauses. `false` at once if the time would be over then.
    pub(crate) async fn pause(&mut self, requests: &Requests) -> bool {
        let micros = u64::try_from(self.next.as_micros()).unwrap_or(u64::MAX);
        let pause = Duration::from_micros(micros / 2 + requests.random() % (micros / 2 + 1));
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        if requests.now().after(pause) >= self.until {
            return false;
        }
        requests.sleep(pause).await;
        true
    }
}

/// Ends when its time has come.
pub(crate) struct Sleep {
    key: (Instant, u64),
    timers: Arc<Mutex<Timers>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match lock(&self.timers).waiting.get_mut(&self.key) {
            // It was taken out when its time came.
            None => Poll::Ready(()),
            Some(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.timers).waiting.remove(&self.key);
    }
}

/// Locks a mutex. What is under it is whole between two statements, so a panic elsewhere leaves nothing to fear.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
