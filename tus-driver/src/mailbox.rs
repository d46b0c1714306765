//! A queue that wakes its one reader, a task or a thread. Everything that a request or the delivery of events is told
//! from other threads comes through one.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tus_proto::Instant;

use crate::{Answer, Ticket};

/// A queue with one reader. A clone is the same queue.
pub(crate) struct WakeQueue<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    items: VecDeque<T>,
    waker: Option<Waker>,
}

impl<T> WakeQueue<T> {
    /// Appends an item and wakes the reader. Never waits.
    pub(crate) fn push(&self, item: T) {
        let mut state = lock(&self.0);
        state.items.push_back(item);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Removes the first item. If there is none, the waker is woken when one comes.
    pub(crate) fn pop(&self, waker: &Waker) -> Option<T> {
        let mut state = lock(&self.0);
        let first = state.items.pop_front();
        if first.is_none() && !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        first
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).items.is_empty()
    }
}

impl<T> Default for WakeQueue<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { items: VecDeque::new(), waker: None })))
    }
}

impl<T> Clone for WakeQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for WakeQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeQueue").field("len", &lock(&self.0).items.len()).finish()
    }
}

/// Locks a mutex whose data is whole between any two statements, so that a holder's panic leaves nothing to fear.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that unparks the calling thread.
pub fn thread_waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// Parks the calling thread until its [`thread_waker`] wakes it or the time has come. May return earlier.
pub fn park(now: Instant, until: Option<Instant>) {
    match until {
        // A microsecond more: the clock counts whole ones.
        Some(until) => thread::park_timeout(until.since(now) + Duration::from_micros(1)),
        None => thread::park(),
    }
}

/// Calls a store and parks the calling thread until the answer is there. For threads that do none of the store's jobs.
pub fn ask<T: Send + 'static>(call: impl FnOnce(&dyn Fn() -> Ticket<T>) -> Answer<T>) -> T {
    let answers = WakeQueue::default();
    let later = || {
        let answers = answers.clone();
        Ticket::new(move |answer| answers.push(answer))
    };
    if let Answer::Now(answer) = call(&later) {
        return answer;
    }
    let waker = thread_waker();
    loop {
        match answers.pop(&waker) {
            Some(answer) => return answer,
            None => thread::park(),
        }
    }
}
