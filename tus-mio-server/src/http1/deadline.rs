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
    /// It expires at `at`.
    Running { reason: Reason, at: Instant },
    /// The body's timer, stopped with this much left because it is we who are not reading.
    Frozen { left: Duration },
}

impl Timer {
    pub(super) fn start(reason: Reason, now: Instant, time: Duration) -> Self {
        Self::Running { reason, at: now.after(time) }
    }

    pub(super) fn deadline(&self) -> Option<(Instant, Reason)> {
        match *self {
            Self::Running { reason, at } => Some((at, reason)),
            Self::Off | Self::Frozen { .. } => None,
        }
    }

    /// Bytes of the body buy `time`, until at most `most` from now.
    pub(super) fn extend(&mut self, now: Instant, time: Duration, most: Duration) {
        match self {
            Self::Running { reason: Reason::Body, at } => *at = at.after(time).min(now.after(most)),
            Self::Frozen { left } => *left = left.saturating_add(time).min(most),
            Self::Off | Self::Running { .. } => {}
        }
    }

    pub(super) fn freeze(&mut self, now: Instant) {
        if let Self::Running { reason: Reason::Body, at } = *self {
            *self = Self::Frozen { left: at.since(now) };
        }
    }

    pub(super) fn thaw(&mut self, now: Instant) {
        if let Self::Frozen { left } = *self {
            *self = Self::start(Reason::Body, now, left);
        }
    }
}
