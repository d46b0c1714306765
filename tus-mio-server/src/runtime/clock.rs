//! The one place where clocks are read.

use std::time::{Instant as StdInstant, SystemTime, UNIX_EPOCH};

use tus_proto::{Instant, Now, WallTime};

/// The clocks of a server: deadlines count from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: StdInstant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: StdInstant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let micros = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // A calendar before 1970 is no calendar: dates are then told from the epoch.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map(micros).unwrap_or(0);
        Now {
            monotonic: Instant::from_micros(micros(self.start.elapsed())),
            wall: WallTime::from_micros(wall),
        }
    }
}
