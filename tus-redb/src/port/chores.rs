//! Which housekeeping is due: flushes, sweeps, unlinks, consolidation, health checks. A machine without threads: the port
//! asks it after each group and once a second, runs what it says, and tells it what came of it.

use std::time::Duration;

use tus_proto::{Failure, Instant};

/// How long an eventual store may hold back what a power cut would take.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// How often a store that can't commit is tried, where no change comes that would.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Back-off after an unlink that failed: the disk, or a descriptor, may be available again soon. A flush that failed waits for
/// [`FLUSH_INTERVAL`].
const PAUSE: Duration = Duration::from_secs(1);

/// Back-off after a failed consolidation (usually a full disk), or a digest that failed.
const BACKOFF: Duration = Duration::from_secs(60);

/// A piece of housekeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    /// Syncs data while commits go on. `Flush` follows.
    FlushData,
    /// Writes the records of synced data, without waiting for the disk. `EndFlush` follows.
    Flush,
    /// Makes them durable while commits go on.
    EndFlush,
    /// Removes what has expired.
    Sweep,
    /// Unlinks what nothing refers to.
    Reclaim,
    /// Puts an upload that lies in several files into one.
    Consolidate,
    /// Reads complete uploads to keep their digests.
    Digest,
    /// Tries whether the disk works again.
    Probe,
}

/// What the store says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signals {
    pub needs_flush: bool,
    pub flush_pressing: bool,
    pub failing: bool,
    pub full: bool,
    pub needs_reclaim: bool,
    pub needs_consolidation: bool,
    pub needs_digest: bool,
}

/// When each chore was done last, and which are under way.
#[derive(Debug)]
pub(super) struct Chores {
    sweep_interval: Duration,
    flushed: Option<Instant>,
    swept: Option<Instant>,
    probed: Option<Instant>,
    /// The last flush failed, so an urgent one waits for its interval too.
    flush_failed: bool,
    reclaim_at: Instant,
    consolidate_at: Instant,
    digest_at: Instant,
    flushing: bool,
    sweeping: bool,
    reclaiming: bool,
    consolidating: bool,
    digesting: bool,
    probing: bool,
}

impl Chores {
    pub(super) fn new(sweep_interval: Duration) -> Self {
        Self {
            sweep_interval,
            flushed: None,
            // What expired while no server ran goes at once.
            swept: None,
            probed: None,
            flush_failed: false,
            reclaim_at: Instant::from_micros(0),
            consolidate_at: Instant::from_micros(0),
            digest_at: Instant::from_micros(0),
            flushing: false,
            sweeping: false,
            reclaiming: false,
            consolidating: false,
            digesting: false,
            probing: false,
        }
    }

    /// What is to be done next; ask until there is nothing.
    pub(super) fn next(&mut self, now: Instant, signals: Signals) -> Option<Chore> {
        let due = |last: Option<Instant>, interval| last.is_none_or(|last| now.since(last) >= interval);
        if (signals.failing || signals.full) && !self.probing && due(self.probed, PROBE_INTERVAL) {
            (self.probing, self.probed) = (true, Some(now));
            Some(Chore::Probe)
        } else if signals.needs_flush
            && !self.flushing
            && ((signals.flush_pressing && !self.flush_failed) || due(self.flushed, FLUSH_INTERVAL))
        {
            (self.flushing, self.flushed) = (true, Some(now));
            Some(Chore::FlushData)
        } else if !self.sweeping && due(self.swept, self.sweep_interval) {
            (self.sweeping, self.swept) = (true, Some(now));
            Some(Chore::Sweep)
        } else if signals.needs_reclaim && !self.reclaiming && self.reclaim_at <= now {
            self.reclaiming = true;
            Some(Chore::Reclaim)
        } else if signals.needs_consolidation && !self.consolidating && self.consolidate_at <= now {
            self.consolidating = true;
            Some(Chore::Consolidate)
        } else if signals.needs_digest && !self.digesting && self.digest_at <= now {
            self.digesting = true;
            Some(Chore::Digest)
        } else {
            None
        }
    }

    /// A chore was done. Returns what follows at once: `more` says that it left something to do.
    pub(super) fn done(&mut self, now: Instant, chore: Chore, more: Result<bool, Failure>) -> Option<Chore> {
        let (again, failed) = (more == Ok(true), more.is_err());
        let rest = |at: &mut Instant, pause| {
            if failed {
                *at = now.after(pause);
            }
        };
        let flag = match chore {
            // What could not be synced is rolled back by the flush.
            Chore::FlushData => return Some(Chore::Flush),
            // There may be nothing to wait for.
            Chore::Flush if again => return Some(Chore::EndFlush),
            Chore::Flush | Chore::EndFlush => {
                self.flush_failed = failed;
                &mut self.flushing
            }
            Chore::Sweep => &mut self.sweeping,
            Chore::Reclaim => {
                rest(&mut self.reclaim_at, PAUSE);
                &mut self.reclaiming
            }
            Chore::Consolidate => {
                rest(&mut self.consolidate_at, BACKOFF);
                &mut self.consolidating
            }
            Chore::Digest => {
                rest(&mut self.digest_at, BACKOFF);
                &mut self.digesting
            }
            Chore::Probe => &mut self.probing,
        };
        *flag = again;
        again.then_some(chore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_flush_is_three_steps_and_comes_once_a_second_unless_it_presses() {
        let mut chores = Chores::new(Duration::from_secs(60));
        assert_eq!(chores.next(at(10), Signals::default()), Some(Chore::Sweep));
        assert_eq!(chores.done(at(10), Chore::Sweep, Ok(false)), None);
        let dirty = Signals { needs_flush: true, ..Signals::default() };
        assert_eq!(chores.next(at(10), dirty), Some(Chore::FlushData));
        assert_eq!(chores.next(at(12), dirty), None, "one is under way");
        assert_eq!(chores.done(at(12), Chore::FlushData, Ok(false)), Some(Chore::Flush));
        assert_eq!(chores.done(at(12), Chore::Flush, Ok(true)), Some(Chore::EndFlush));
        assert_eq!(chores.next(at(12), dirty), None, "it is not done yet");
        assert_eq!(chores.done(at(12), Chore::EndFlush, Ok(false)), None);
        assert_eq!(chores.next(at(12), dirty), Some(Chore::FlushData));
        assert_eq!(chores.done(at(12), Chore::Flush, Ok(false)), None, "nothing was to be made durable");
        assert_eq!(chores.next(at(12), dirty), None);
        let pressing = Signals { flush_pressing: true, ..dirty };
        assert_eq!(chores.next(at(12), pressing), Some(Chore::FlushData));
    }

    #[test]
    fn a_flush_or_an_unlink_that_failed_is_tried_again_a_second_later() {
        let mut chores = Chores::new(Duration::from_secs(60));
        let signals =
            Signals { needs_flush: true, flush_pressing: true, needs_reclaim: true, ..Signals::default() };
        let due =
            |chores: &mut Chores, at| std::iter::from_fn(|| chores.next(at, signals)).collect::<Vec<_>>();
        assert_eq!(due(&mut chores, at(1)), [Chore::FlushData, Chore::Sweep, Chore::Reclaim]);
        chores.done(at(1), Chore::Sweep, Ok(false));
        chores.done(at(1), Chore::Flush, Err(Failure::Io));
        chores.done(at(1), Chore::Reclaim, Err(Failure::Unavailable));
        assert_eq!(due(&mut chores, at(1)), [], "the disk, or descriptors, would be asked without a pause");
        assert_eq!(due(&mut chores, at(2)), [Chore::FlushData, Chore::Reclaim]);
        chores.done(at(2), Chore::EndFlush, Ok(false));
        assert_eq!(due(&mut chores, at(2)), [Chore::FlushData], "the last one was good");
    }

    #[test]
    fn what_left_something_to_do_follows_itself_and_a_failure_rests() {
        let mut chores = Chores::new(Duration::from_secs(60));
        let signals = Signals { needs_consolidation: true, ..Signals::default() };
        assert_eq!(chores.next(at(1), signals), Some(Chore::Sweep));
        assert_eq!(chores.done(at(1), Chore::Sweep, Ok(true)), Some(Chore::Sweep));
        assert_eq!(chores.next(at(1), signals), Some(Chore::Consolidate));
        assert_eq!(chores.done(at(1), Chore::Consolidate, Err(Failure::NoSpace)), None);
        assert_eq!(chores.next(at(59), signals), None);
        assert_eq!(chores.next(at(61), signals), Some(Chore::Consolidate));
    }
}
