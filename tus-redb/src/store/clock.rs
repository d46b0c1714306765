//! The clock by which uploads expire and events are due: told by the runtime, kept from one opening to the next.

use std::sync::atomic::Ordering;

use redb::WriteTransaction;
use tus_proto::WallTime;

use crate::{error::Error, records::database, store::Store};

impl Store {
    /// Sets the time. Events of what is committed next are due from then on.
    pub(crate) fn tell_time(&self, now: WallTime) {
        self.now.fetch_max(now.as_micros(), Ordering::Relaxed);
    }

    /// The time by which uploads expire, as of the last sweep of this opening or an earlier one. The next opening continues
    /// from it, however long the store was closed and whatever the calendar says. `None` if it is not known.
    pub fn time(&self) -> Option<WallTime> {
        Some(self.time.load(Ordering::Relaxed)).filter(|time| *time > 0).map(WallTime::from_micros)
    }

    /// Writes the time into a transaction that is made anyway. Returns it, so that the caller can note it as durable later.
    pub(crate) fn note_time(&self, txn: &WriteTransaction) -> Result<u64, Error> {
        let time = self.time.load(Ordering::Relaxed);
        if time > self.noted_time.load(Ordering::Relaxed) {
            database::set_time(txn, time)?;
        }
        Ok(time)
    }
}
