//! The one timer of a connection. At every moment at most one thing is waited for by the clock, so it is one
//! value that changes with the connection's state, and no list of timers that could disagree with it.

use std::time::Duration;

use tus_proto::Instant;

/// What a connection waits for by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The rest of a head that has begun.
    Head,
    /// The next request.
    Idle,
    /// The next bytes of the body.
    Body,
    /// The answer to be taken by the peer.
    Response,
    /// The peer to close, after the write side was shut.
    Linger,
}

/// The state of the timer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// Nothing is waited for: it is the server's turn.
    Off,
    /// A head has begun: it expires at `at`, where no further byte comes, and at `end`.
    Head { at: Instant, end: Instant },
    /// It expires at `at`.
    Running { reason: Reason, at: Instant },
    /// Stopped with so many microseconds left, because the server does not read the body now, or does not send the
    /// answer.
    Frozen { reason: Reason, left: u64 },
}

impl Timer {
    pub(super) fn start(reason: Reason, now: Instant, time: Duration) -> Self {
        Self::Running { reason, at: now.after(time) }
    }

    pub(super) fn deadline(&self) -> Option<(Instant, Reason)> {
        match *self {
            Self::Running { reason, at } => Some((at, reason)),
            Self::Head { at, .. } => Some((at, Reason::Head)),
            Self::Off | Self::Frozen { .. } => None,
        }
    }

    /// `count` bytes of a body buy a second for each `rate` of them, until at most `most` from now; without a
    /// rate, all of that.
    pub(super) fn extend(&mut self, now: Instant, count: u64, rate: u64, most: Duration) {
        let bought = count.saturating_mul(1_000_000).checked_div(rate);
        let time = bought.map_or(most, Duration::from_micros);
        match self {
            Self::Running { at, .. } => *at = at.after(time).min(now.after(most)),
            Self::Frozen { left, .. } => *left = left.saturating_add(micros(time)).min(micros(most)),
            Self::Off | Self::Head { .. } => {}
        }
    }

    /// When a head that has begun must be complete.
    pub(super) fn head_end(&self) -> Option<Instant> {
        if let Self::Head { end, .. } = *self { Some(end) } else { None }
    }

    /// Leaves at most this much time, if it runs.
    pub(super) fn hasten(&mut self, now: Instant, most: Duration) {
        if let Self::Running { at, .. } = self {
            *at = (*at).min(now.after(most));
        }
    }

    /// Stops, if it runs for this reason.
    pub(super) fn freeze(&mut self, now: Instant, reason: Reason) {
        if let Self::Running { reason: running, at } = *self
            && running == reason
        {
            *self = Self::Frozen { reason, left: micros(at.since(now)) };
        }
    }

    /// Runs on, if it was stopped.
    pub(super) fn thaw(&mut self, now: Instant) {
        if let Self::Frozen { reason, left } = *self {
            *self = Self::start(reason, now, Duration::from_micros(left));
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
