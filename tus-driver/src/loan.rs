//! A value that is lent to a job on another thread: a sink that it writes to, a source that it reads.

use std::{
    fmt,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use crate::{Class, Executor, mailbox::lock};

/// A value that a job has, and gives back when it is done.
pub(crate) struct Loan<T>(Arc<Mutex<State<T>>>);

enum State<T> {
    /// The job has the value, and wakes this waker when it is done.
    Out(Option<Waker>),
    Back(T),
    /// The job has panicked, or was dropped.
    Lost,
}

impl<T: Send + 'static> Loan<T> {
    /// Has the executor run `work`, which may block and returns the value.
    pub(crate) fn new(executor: &dyn Executor, work: impl FnOnce() -> T + Send + 'static) -> Self {
        let state = Arc::new(Mutex::new(State::Out(None)));
        let returns = Returns(state.clone());
        executor.run(Class::Blocking, Box::new(move || returns.set(State::Back(work()))));
        Self(state)
    }

    /// Takes the value back; `None` if the job has panicked or was dropped. `Pending` until the job is done: the waker is woken
    /// then.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Option<T>> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Lost) {
            State::Out(_) => {
                *state = State::Out(Some(waker.clone()));
                Poll::Pending
            }
            State::Back(thing) => Poll::Ready(Some(thing)),
            State::Lost => Poll::Ready(None),
        }
    }
}

impl<T> fmt::Debug for Loan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").finish_non_exhaustive()
    }
}

/// The job's end of a loan.
struct Returns<T>(Arc<Mutex<State<T>>>);

impl<T> Returns<T> {
    fn set(&self, new: State<T>) {
        let mut state = lock(&self.0);
        if let State::Out(waker) = &mut *state {
            let waker = waker.take();
            *state = new;
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl<T> Drop for Returns<T> {
    fn drop(&mut self) {
        self.set(State::Lost);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;
    use crate::{Clock, JobQueue};

    fn queue() -> JobQueue {
        let clock = Clock::start(None);
        JobQueue::new(move || clock.now(), |_| true)
    }

    #[test]
    fn what_is_lent_comes_back_when_its_job_is_done() {
        let queue = queue();
        let mut loan = Loan::new(&queue, || 7);
        assert_eq!(loan.poll(Waker::noop()), Poll::Pending);
        assert!(queue.run_one(Class::Blocking));
        assert_eq!(loan.poll(Waker::noop()), Poll::Ready(Some(7)));
    }

    #[test]
    fn what_a_job_loses_is_lost_and_not_waited_for() {
        let queue = queue();
        let mut panics: Loan<u8> = Loan::new(&queue, || resume_unwind(Box::new("on purpose")));
        let mut dropped = Loan::new(&queue, || 7);
        assert!(catch_unwind(AssertUnwindSafe(|| queue.run_one(Class::Blocking))).is_err());
        assert_eq!(panics.poll(Waker::noop()), Poll::Ready(None));
        queue.clear();
        assert_eq!(dropped.poll(Waker::noop()), Poll::Ready(None));
    }
}
