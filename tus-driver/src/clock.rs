//! The one place where clocks are read.

use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use tus_proto::{Instant, Now, WallTime};

/// The clocks of a server: deadlines count from its start, the lives of uploads from where they stood.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: StdInstant,
    wall: WallTime,
}

impl Clock {
    /// Starts it. `reached` is how far the lives of uploads had come when the store was open last; they begin by today's date
    /// where there is no last time. How long the store was closed is not asked: only the calendar could tell, and
    /// with a wrong one all that is unfinished would be over at once.
    pub fn start(reached: Option<WallTime>) -> Self {
        Self { start: StdInstant::now(), wall: reached.unwrap_or_else(system) }
    }

    /// The time.
    pub fn now(&self) -> Now {
        self.after(self.start.elapsed())
    }

    /// The time so long after the start: for runtimes that have a clock of their own, which may stand.
    pub fn after(&self, elapsed: Duration) -> Now {
        self.at(elapsed, system())
    }

    fn at(&self, elapsed: Duration, date: WallTime) -> Now {
        Now { monotonic: Instant::from_micros(micros(elapsed)), wall: self.wall.after(elapsed), date }
    }
}

/// The system's calendar. One before 1970 is none: dates are then told from the epoch.
fn system() -> WallTime {
    WallTime::from_micros(SystemTime::now().duration_since(UNIX_EPOCH).map(micros).unwrap_or(0))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A life of a day, the date at which it is told to end, and whether it is over.
    fn life(born: Now, now: Now) -> (String, bool) {
        let end = born.wall.after(DAY);
        (now.dated(end).imf_fixdate().to_string(), end <= now.wall)
    }

    #[test]
    fn a_calendar_that_jumps_ahead_and_back_ends_no_life() {
        let date = WallTime::default().after(seconds(1_704_067_200));
        let clock = Clock { start: StdInstant::now(), wall: date };
        let born = clock.at(seconds(0), date);
        let jumped = clock.at(seconds(1), date.after(2 * DAY));
        assert_eq!(life(born, jumped), ("Wed, 03 Jan 2024 23:59:59 GMT".to_owned(), false));
        let back = clock.at(seconds(4), date.after(seconds(4)));
        assert_eq!(life(born, back), ("Tue, 02 Jan 2024 00:00:00 GMT".to_owned(), false));
        assert!(!life(born, clock.at(DAY - seconds(1), WallTime::default())).1);
        assert!(life(born, clock.at(DAY, WallTime::default())).1);
    }

    #[test]
    fn a_host_that_learns_the_date_only_when_it_is_up_keeps_what_it_has() {
        let clock = Clock { start: StdInstant::now(), wall: WallTime::default().after(seconds(9)) };
        let born = clock.at(seconds(1), WallTime::default().after(seconds(10)));
        assert_eq!(life(born, born).0, "Fri, 02 Jan 1970 00:00:10 GMT");
        let met = clock.at(seconds(6), WallTime::default().after(seconds(1_704_067_205)));
        assert_eq!(life(born, met), ("Tue, 02 Jan 2024 00:00:00 GMT".to_owned(), false));
    }

    #[test]
    fn a_life_goes_on_where_it_stood() {
        let stood = WallTime::from_micros(5_000_000);
        let clock = Clock::start(Some(stood));
        assert_eq!(clock.at(seconds(3), clock.now().date).wall, stood.after(seconds(3)));
        // Where nothing stood, it begins today.
        assert!(Clock::start(None).now().wall > stood);
    }
}
