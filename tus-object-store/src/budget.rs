//! The memory for bytes on their way to the bucket, of all uploads together.

use std::{sync::Mutex, task::Waker};

use crate::requests::lock;

/// The smallest share of the free bytes.
const LEAST: usize = 4 << 10;

/// The largest.
pub(crate) const MOST: usize = 128 << 10;

/// Counts bytes that are held. A sink asks for room before it takes more, and waits where there is none.
///
/// Nothing is reserved for a sink that was offered its share, as it may take that late or never. So that all together
/// still hold no more than the total, shares are of the bytes under a line that lies as far below it as all sinks may
/// take at once: a share and an inline tail each, up to half of the total. With more sinks than that a share is so small that
/// all of them are within the other half; with more than an eighth of a million to the GiB [`LEAST`] exceeds it.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    /// What a sink may take without asking: a tail that lies in the record.
    unasked: usize,
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
    pub(crate) fn new(total: usize, unasked: usize) -> Self {
        Self { total, unasked, state: Mutex::default() }
    }

    /// Below which the bytes are that may be taken.
    fn line(&self, state: &State) -> usize {
        let headroom = state.sinks.saturating_mul(MOST + self.unasked);
        self.total - headroom.min(self.total / 2)
    }

    /// A sink's share of the free bytes; if none are free, the waker that `waker` makes is woken when some are.
    pub(crate) fn share(&self, waker: &dyn Fn() -> Waker) -> usize {
        let mut state = lock(&self.state);
        let free = self.line(&state).saturating_sub(state.used);
        if free == 0 {
            state.waiting.push(waker());
        }
        MOST.min(free).min((free / state.sinks.max(1)).max(LEAST))
    }

    /// Takes bytes if they are free, or if none are held at all.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let fits = state.used == 0 || state.used.saturating_add(bytes) <= self.line(&state);
        if fits {
            state.used += bytes;
        }
        fits
    }

    /// Counts a sink more, or one less.
    pub(crate) fn count_sink(&self, is_new: bool) {
        let sinks = &mut lock(&self.state).sinks;
        *sinks = if is_new { *sinks + 1 } else { sinks.saturating_sub(1) };
    }

    /// Takes bytes that were offered, or that need no offer.
    pub(crate) fn take(&self, bytes: usize) {
        lock(&self.state).used += bytes;
    }

    /// Takes bytes for a slow body, which may hold them for long: if no more than a quarter of all is held then, so that
    /// sinks, whose shares end at half of all at the least, go on.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let fits = state.used.saturating_add(bytes) <= self.total / 4;
        if fits {
            state.used += bytes;
        }
        fits
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
        state.used >= self.line(&state) && state.sending < self.total / 4
    }

    /// How many bytes are held.
    pub(crate) fn used(&self) -> usize {
        lock(&self.state).used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sinks_that_take_what_they_were_offered_stay_within_the_total() {
        const INLINE: usize = 32 << 10;
        for (total, sinks) in
            [(32 << 20, 1), (32 << 20, 64), (256 << 20, 64), (32 << 20, 1000), (8 << 20, 1024)]
        {
            let budget = Budget::new(total, INLINE);
            (0..sinks).for_each(|_| budget.count_sink(true));
            let mut most = 0;
            // Each round all are offered a share before the first takes its own.
            for _ in 0..3 * total / (sinks * LEAST) {
                let shares: Vec<usize> =
                    (0..sinks).map(|_| budget.share(&|| Waker::noop().clone())).collect();
                shares.iter().for_each(|share| budget.take(*share));
                most = most.max(budget.used());
            }
            assert!(most <= total && most >= total / 2, "{sinks} sinks hold {most} of {total} bytes");
        }
    }

    #[test]
    fn what_needs_much_waits_until_that_is_free() {
        let budget = Budget::new(10 << 20, 0);
        assert!(budget.try_take(20 << 20), "nothing is held");
        assert!(!budget.try_take(1));
        budget.give(20 << 20, false);
        assert!(budget.try_take(8 << 20) && !budget.try_take(3 << 20) && budget.try_take(1 << 20));
    }
}
