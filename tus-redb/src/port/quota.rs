//! How much space uploads may take. What they take is measured by a look at all records now and then, in steps; what is
//! committed between two measurements is added, so that the sum is never too small. A store without such limits measures
//! only when somebody asks, and adds nothing.

use std::{sync::Mutex, time::Duration};

use tus_driver::FirstBytes;
use tus_proto::{Completion, Failure, Instant, Record, UploadId};

use crate::{
    admin::inventory::Space,
    mutex::lock,
    options::SpaceLimits,
    store::{Store, change::Change},
};

/// How often is measured, at the most.
const INTERVAL: Duration = Duration::from_secs(60);

/// And how much longer than a measurement takes the pause to the next one is.
const PAUSES: u32 = 20;

/// The same for a store without limits, which measures only for metrics.
const PAUSES_UNLIMITED: u32 = 100;

/// Why an upload is not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Too little of the disk is free.
    FreeSpace,
    /// The uploads have as many bytes as they may have.
    StoreSize,
}

/// The limits, and what is taken.
#[derive(Debug)]
pub(super) struct Quota {
    limits: SpaceLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// What the last measurement has found.
    measured: Space,
    /// What came, or went, since that began.
    since: Growth,
    measuring: Option<Measuring>,
    /// When the next one is due.
    due: Option<Instant>,
    /// Whether a measurement was completed.
    known: bool,
    /// A result was asked for since the last measurement began.
    asked: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    bytes: i64,
    missing: i64,
}

#[derive(Debug)]
struct Measuring {
    begun: Instant,
    sum: Space,
    after: Option<UploadId>,
    since: Growth,
}

impl Growth {
    fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.missing = self.missing.saturating_add(other.missing);
    }
}

impl Quota {
    pub(super) fn new(limits: SpaceLimits) -> Self {
        Self { limits, taken: Mutex::default() }
    }

    /// Why an upload can't be created.
    pub(super) fn refuses(&self, record: &Record, free: Option<u64>) -> Option<Refusal> {
        let SpaceLimits { min_free, max_bytes, reserve_announced } = self.limits;
        if self.limits == SpaceLimits::default() {
            return None;
        }
        let Space { bytes, missing } = self.taken();
        let announced =
            if reserve_announced { missing.saturating_add(record.length.unwrap_or(0)) } else { 0 };
        let limited = min_free > 0 || reserve_announced;
        if free.is_some_and(|free| limited && free < min_free.saturating_add(announced)) {
            return Some(Refusal::FreeSpace);
        }
        let full = max_bytes > 0 && (bytes >= max_bytes || bytes.saturating_add(announced) > max_bytes);
        full.then_some(Refusal::StoreSize)
    }

    fn taken(&self) -> Space {
        let taken = lock(&self.taken);
        Space {
            bytes: taken.measured.bytes.saturating_add_signed(taken.since.bytes),
            missing: taken.measured.missing.saturating_add_signed(taken.since.missing),
        }
    }

    /// Bytes that are there, and bytes that are announced and missing; `None` if they were not measured yet.
    pub(super) fn measured(&self) -> Option<(u64, u64)> {
        let known = {
            let mut taken = lock(&self.taken);
            taken.asked = true;
            taken.known
        };
        known.then(|| {
            let Space { bytes, missing } = self.taken();
            (bytes, missing)
        })
    }

    /// Whether it must be told what groups change: without a limit that counts bytes nothing is looked up for it.
    pub(super) fn measures(&self) -> bool {
        self.limits.measures()
    }

    /// What a deletion will give back, as far as its record tells: bytes that are shared are left to the measurement.
    pub(super) fn before(&self, engine: &Store, change: &Change) -> Option<Record> {
        match change {
            Change::Delete { id, .. } => {
                engine.load(id).ok().flatten().filter(|record| record.concat.is_none())
            }
            _ => None,
        }
    }

    /// A change was carried out; `before` is what [`before`](Self::before) has told of it.
    pub(super) fn changed(
        &self,
        engine: &Store,
        change: &Change,
        completion: &Completion,
        before: Option<&Record>,
    ) {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let growth = match (change, completion) {
            (Change::Create { record, first }, Completion::Created) => {
                let bytes = first.as_ref().map_or(0, FirstBytes::len);
                let missing = record.length.map_or(0, |length| length.saturating_sub(bytes));
                Growth { bytes: signed(bytes), missing: signed(missing) }
            }
            (Change::Commit { id, from, length, .. }, Completion::Committed { offset }) => {
                let bytes = signed(offset.saturating_sub(*from));
                let known = engine.load(id).ok().flatten().is_some_and(|record| record.length.is_some());
                let missing = match length {
                    Some(length) => signed(length.saturating_sub(*offset)),
                    None if known => -bytes,
                    None => 0,
                };
                Growth { bytes, missing }
            }
            (Change::Delete { .. }, Completion::Deleted) => match before {
                Some(record) => Growth {
                    bytes: -signed(record.offset),
                    missing: -signed(record.length.unwrap_or(0).saturating_sub(record.offset)),
                },
                None => return,
            },
            _ => return,
        };
        let mut taken = lock(&self.taken);
        taken.since.add(growth);
        if let Some(measuring) = &mut taken.measuring {
            measuring.since.add(growth);
        }
    }

    /// Begins a measurement, if one is due. Returns whether [`measure`](Self::measure) is to be called.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let mut taken = lock(&self.taken);
        let due = taken.measuring.is_none() && taken.due.is_none_or(|due| due <= now);
        if !(self.limits.measures() || taken.asked) || !due {
            return false;
        }
        taken.asked = false;
        let (sum, since) = (Space::default(), Growth::default());
        taken.measuring = Some(Measuring { begun: now, sum, after: None, since });
        true
    }

    /// Makes the next step of a measurement. Returns whether there is another.
    pub(super) fn measure(&self, engine: &Store, now: Instant) -> Result<bool, Failure> {
        let Some((mut sum, after)) =
            lock(&self.taken).measuring.as_ref().map(|measuring| (measuring.sum, measuring.after.clone()))
        else {
            return Ok(false);
        };
        // What was committed before this began is to be seen by it.
        let seen = if after.is_none() { engine.show_batch() } else { Ok(()) };
        let next = seen.and_then(|()| engine.measure(after.as_ref(), &mut sum));
        let mut taken = lock(&self.taken);
        let Some(mut measuring) = taken.measuring.take() else { return Ok(false) };
        match next {
            Ok(Some(next)) => {
                (measuring.sum, measuring.after) = (sum, Some(next));
                taken.measuring = Some(measuring);
                Ok(true)
            }
            Ok(None) => {
                (taken.measured, taken.since) = (sum, measuring.since);
                taken.known = true;
                let pauses = if self.limits.measures() { PAUSES } else { PAUSES_UNLIMITED };
                taken.due = Some(now.after(INTERVAL.max(now.since(measuring.begun) * pauses)));
                Ok(false)
            }
            Err(failure) => {
                // What was measured before stands.
                taken.due = Some(now.after(INTERVAL));
                Err(failure)
            }
        }
    }
}
