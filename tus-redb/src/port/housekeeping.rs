//! Housekeeping as jobs: once a second, after each group and after each chore, gives the chores that are due to the executor.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tus_driver::Class;
use tus_proto::{Failure, Instant};

use crate::{
    mutex::lock,
    port::{
        Shared,
        chores::{Chore, Signals},
        hashing::DIGEST,
    },
};

/// How often housekeeping is looked for where no change comes.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// How many expired uploads are removed in one transaction.
const SWEEP: usize = 64;

/// How many data files are unlinked in one go.
const RECLAIM: usize = 64;

/// How many bytes are consolidated in one go.
const CONSOLIDATE: u64 = 16 << 20;

impl Shared {
    /// Looks for housekeeping once a second.
    pub(super) fn tick(self: Arc<Self>) {
        if self.closing.load(Ordering::Acquire) {
            return;
        }
        if lock(&self.group).is_idle() {
            // An idle store need not hold what was read last.
            self.engine.drop_view();
        }
        self.look_for_chores();
        if self.quota.is_due(self.executor.now().monotonic) {
            self.clone().measure_on();
        }
        let at = self.executor.now().monotonic.after(TICK);
        let weak = Arc::downgrade(&self);
        let again = move || {
            if let Some(this) = weak.upgrade() {
                this.tick();
            }
        };
        self.executor.at(at, Box::new(again));
    }

    pub(super) fn look_for_chores(self: &Arc<Self>) {
        if self.closing.load(Ordering::Acquire) {
            return;
        }
        let now = self.executor.now().monotonic;
        let signals = Signals {
            needs_flush: self.engine.needs_flush(),
            flush_pressing: self.engine.is_flush_pressing(),
            failing: self.is_failing() || self.engine.is_suspect(),
            full: self.engine.is_full(),
            needs_reclaim: self.engine.needs_reclaim(),
            needs_consolidation: self.engine.needs_consolidation(),
            needs_digest: self.engine.needs_digest(),
        };
        while let Some(chore) = self.next_chore(now, signals) {
            self.queue(chore);
        }
        self.tell_trouble();
    }

    /// Reports the last error to the observer.
    pub(super) fn tell_trouble(&self) {
        if let Some(text) = self.engine.trouble() {
            self.observer.error(&text);
        }
    }

    /// Measures how much space uploads take, if that is due, before the first upload is created.
    pub(super) fn measure_all(&self) {
        let now = || self.executor.now().monotonic;
        if self.quota.is_due(now()) {
            while self.quota.measure(&self.engine, now()).unwrap_or(false) {}
        }
    }

    /// The same, a step a job.
    fn measure_on(self: Arc<Self>) {
        let executor = self.executor.clone();
        let step = move || {
            let more = self.quota.measure(&self.engine, self.executor.now().monotonic);
            if more == Ok(true) && !self.closing.load(Ordering::Acquire) {
                self.measure_on();
            }
        };
        executor.run(Class::Background, Box::new(step));
    }

    fn next_chore(&self, now: Instant, signals: Signals) -> Option<Chore> {
        lock(&self.chores).next(now, signals)
    }

    fn queue(self: &Arc<Self>, chore: Chore) {
        let class = match chore {
            Chore::Flush | Chore::Sweep | Chore::Probe => Class::Commit,
            Chore::FlushData | Chore::EndFlush => Class::Blocking,
            Chore::Reclaim => Class::Background,
            Chore::Consolidate | Chore::Digest => Class::Idle,
        };
        let this = self.clone();
        self.executor.run(class, Box::new(move || this.do_chore(chore)));
    }

    fn do_chore(self: &Arc<Self>, chore: Chore) {
        let more = self.carry_out(chore);
        let now = self.executor.now().monotonic;
        let follows = lock(&self.chores).done(now, chore, more);
        if let Some(next) = follows.filter(|_| !self.closing.load(Ordering::Acquire)) {
            self.queue(next);
        }
        self.look_for_chores();
    }

    /// Does a chore. `true` if it left something to do at once.
    fn carry_out(&self, chore: Chore) -> Result<bool, Failure> {
        match chore {
            Chore::FlushData => self.engine.flush_data().map(|()| false),
            Chore::Flush => {
                let begun = self.engine.begin_flush();
                self.observer.flushing();
                match begun {
                    Ok(Some(checkpoint)) => self.checkpoint.store(checkpoint, Ordering::Release),
                    Ok(None) => self.flushed(Ok(())),
                    Err(failure) => self.flushed(Err(failure)),
                }
                begun.map(|checkpoint| checkpoint.is_some())
            }
            Chore::EndFlush => {
                let flushed = self.engine.end_flush(self.checkpoint.load(Ordering::Acquire));
                self.flushed(flushed);
                flushed.map(|()| false)
            }
            Chore::Sweep => {
                let swept = self.engine.sweep(self.executor.now().wall, SWEEP)?;
                self.observer.swept(&swept);
                Ok(swept.more)
            }
            Chore::Reclaim => self.engine.reclaim(RECLAIM).map(|removed| removed == RECLAIM),
            Chore::Consolidate => {
                let more = self.engine.consolidate(CONSOLIDATE);
                // An event that waited for it may be due.
                self.wake_outbox();
                more
            }
            Chore::Digest => self.engine.digest(DIGEST),
            Chore::Probe => {
                let commits_failed = self.failing.load(Ordering::Relaxed);
                let probed = self.engine.probe();
                self.observer.flushing();
                self.observer.flushed(probed);
                let fails = matches!(probed, Err(Failure::Io | Failure::Unavailable));
                if commits_failed {
                    self.failing.store(fails, Ordering::Relaxed);
                }
                self.bodies_fail.store(fails && !commits_failed, Ordering::Relaxed);
                Ok(false)
            }
        }
    }

    /// Whether uploads can't be stored.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) || self.bodies_fail.load(Ordering::Relaxed)
    }

    fn flushed(&self, flushed: Result<(), Failure>) {
        self.observer.flushed(flushed);
        // An eventual store shows its events only now.
        self.wake_outbox();
    }

    /// Does all there is to do.
    pub(super) fn housekeep(&self) -> Result<(), Failure> {
        while self.carry_out(Chore::Sweep)? {}
        // What could not be synced is rolled back by the flush.
        let _ = self.carry_out(Chore::FlushData);
        if self.carry_out(Chore::Flush)? {
            self.carry_out(Chore::EndFlush)?;
        }
        while self.engine.needs_reclaim() && self.carry_out(Chore::Reclaim)? {}
        while self.engine.needs_consolidation() && self.carry_out(Chore::Consolidate)? {}
        while self.engine.needs_digest() && self.carry_out(Chore::Digest)? {}
        self.engine.drop_view();
        Ok(())
    }
}
