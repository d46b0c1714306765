//! The clock by which uploads expire and events are due: told by the runtime, kept from one opening to the next.

use std::sync::atomic::Ordering;

use redb::WriteTransaction;
use tus_proto::WallTime;

use crate::{error::Error, records::database, store::Store};

impl Store {
    /// The time now: from when on the events of what is committed next are due.
    pub(crate) fn tell_time(&self, now: WallTime) {
        self.now.fetch_max(now.as_micros(), Ordering::Relaxed);
    }

    /// How far the lives of uploads have come, as sweeps have told in this opening or the last: whoever opens the store
    /// goes on from there, however long it was closed and whatever the calendar says. `None` if nothing is known.
    pub fn time(&self) -> Option<WallTime> {
        Some(self.time.load(Ordering::Relaxed)).filter(|time| *time > 0).map(WallTime::from_micros)
    }

    /// Notes the time in a transaction that is made anyway, and tells it for when that is durable.
    pub(crate) fn note_time(&self, txn: &WriteTransaction) -> Result<u64, Error> {
        let time = self.time.load(Ordering::Relaxed);
        if time > self.noted_time.load(Ordering::Relaxed) {
            database::set_time(txn, time)?;
        }
        Ok(time)
    }
}
