//! The memory for bytes on their way to the bucket, of all uploads together.

use std::{sync::Mutex, task::Waker};

use crate::requests::lock;

/// The smallest share of the free bytes.
const LEAST: usize = 4 << 10;

/// Counts bytes that are held. A sink asks for room before it takes more, and waits where there is none.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// How many sinks there are.
    sinks: usize,
    /// Of these, on their way.
    sending: usize,
    waiting: Vec<Waker>,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, state: Mutex::default() }
    }

    /// A sink's share of the free bytes, at most `most`; if none are free, the waker that `waker` makes is woken when some
    /// are. Nothing is reserved, as a sink may take its share late: so all together exceed the total a little.
    pub(crate) fn share(&self, most: usize, waker: &dyn Fn() -> Waker) -> usize {
        let mut state = lock(&self.state);
        let free = self.total.saturating_sub(state.used);
        if free == 0 {
            state.waiting.push(waker());
        }
        most.min(free).min((free / state.sinks.max(1)).max(LEAST))
    }

    /// Counts a sink more, or one less.
    pub(crate) fn count_sink(&self, is_new: bool) {
        let sinks = &mut lock(&self.state).sinks;
        *sinks = if is_new { *sinks + 1 } else { sinks.saturating_sub(1) };
    }

    /// Takes bytes, whether or not they are free: those who ask first exceed the total by what they take at once.
    pub(crate) fn take(&self, bytes: usize) {
        lock(&self.state).used += bytes;
    }

    /// So many of the bytes that were taken are on their way.
    pub(crate) fn send(&self, bytes: usize) {
        lock(&self.state).sending += bytes;
    }

    /// Gives bytes back; `sent` if they were on their way.
    pub(crate) fn give(&self, bytes: usize, sent: bool) {
        let mut state = lock(&self.state);
        state.used = state.used.saturating_sub(bytes);
        if sent {
            state.sending = state.sending.saturating_sub(bytes);
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether so little is on its way that waiting for it would not help those who wait.
    pub(crate) fn is_stuck(&self) -> bool {
        let state = lock(&self.state);
        state.used >= self.total && state.sending < self.total / 4
    }

    /// How many bytes are held.
    pub(crate) fn used(&self) -> usize {
        lock(&self.state).used
    }
}
