//! The clocks of the protocol, as values. Nothing here reads one: whoever drives an exchange passes
//! [`Now`] in with every input, so that a run can be replayed from its inputs alone.

use core::{fmt, time::Duration};

/// A point on a clock that never goes back, in microseconds since some start of the runtime's choosing.
/// Deadlines are measured on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// `micros` microseconds after the clock's start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This point moved on by `by`, saturating at the end of the clock.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// A calendar time: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

impl WallTime {
    /// `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// This time moved on by `by`, saturating.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The year, month (1 to 12) and day (1 to 31) of the proleptic Gregorian calendar, in UTC.
    pub fn date(self) -> (u64, u64, u64) {
        // Days are counted from 0000-03-01, so that the leap day ends a year and 400 years repeat.
        let days = self.0 / 86_400_000_000 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        (era * 400 + year_of_era + u64::from(month <= 2), month, day)
    }

    /// This time as HTTP writes dates: IMF-fixdate, RFC 9110 section 5.6.7. Fractions of a second are cut.
    ///
    /// ```
    /// use tus_proto::WallTime;
    /// let time = WallTime::from_micros(784_111_777_000_000);
    /// assert_eq!(time.imf_fixdate().to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
    /// ```
    pub fn imf_fixdate(self) -> impl fmt::Display {
        ImfFixdate(self)
    }
}

struct ImfFixdate(WallTime);

impl fmt::Display for ImfFixdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAYS: &str = "ThuFriSatSunMonTueWed";
        const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let seconds = self.0.as_micros() / 1_000_000;
        let (year, month, day) = self.0.date();
        // Every answer has a date: as one piece it costs a fraction of what names and numbers one by one do.
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        put(&mut text, 0, name(DAYS, seconds / 86_400 % 7));
        put(&mut text, 5, &two_digits(day));
        put(&mut text, 8, name(MONTHS, month - 1));
        put(&mut text, 12, &two_digits(year / 100));
        put(&mut text, 14, &two_digits(year));
        put(&mut text, 17, &two_digits(seconds / 3_600 % 24));
        put(&mut text, 20, &two_digits(seconds / 60 % 60));
        put(&mut text, 23, &two_digits(seconds % 60));
        // All of it is ASCII.
        f.write_str(core::str::from_utf8(&text).unwrap_or_default())
    }
}

/// One of `names`, which have three letters each.
fn name(names: &str, index: u64) -> &[u8] {
    names.as_bytes().chunks_exact(3).nth(index as usize).unwrap_or_default()
}

/// Writes `part` over `text` from `at` on.
fn put(text: &mut [u8], at: usize, part: &[u8]) {
    if let Some(place) = text.get_mut(at..at + part.len()) {
        place.copy_from_slice(part);
    }
}

/// The last two digits of a number.
fn two_digits(number: u64) -> [u8; 2] {
    let digit = |number: u64| b'0' + (number % 10) as u8;
    [digit(number / 10), digit(number)]
}

/// All clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub monotonic: Instant,
    /// For the lives of uploads. It goes on at the pace of the monotonic clock, and where an opening of the store
    /// left it the next one takes it up: whoever sets the system's calendar ends no life by that.
    pub wall: WallTime,
    /// The system's calendar, for dates that people or clients see. It may jump.
    pub date: WallTime,
}

impl Now {
    /// The date of a point on [`wall`](Self::wall): as far from today's as that point is from now.
    pub fn dated(&self, at: WallTime) -> WallTime {
        let ahead = Duration::from_micros(at.0.saturating_sub(self.wall.0));
        WallTime(self.date.after(ahead).0.saturating_sub(self.wall.0.saturating_sub(at.0)))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn dates_around_leap_days_and_the_ends_of_years() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_704_067_199, "Sun, 31 Dec 2023 23:59:59 GMT"),
            (1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(WallTime::from_micros(seconds * 1_000_000).imf_fixdate().to_string(), text);
        }
    }

    #[test]
    fn a_life_is_told_by_the_calendar_of_today() {
        let of = |wall, date| {
            let (wall, date) = (WallTime::from_micros(wall), WallTime::from_micros(date));
            Now { monotonic: Instant::from_micros(1), wall, date }
        };
        for (now, at, dated) in [
            (of(100, 100), 130, 130),
            (of(100, 5_000), 130, 5_030),
            (of(100, 5_000), 70, 4_970),
            (of(100, 7), 130, 37),
            (of(100, 7), 70, 0),
            (of(0, u64::MAX), 1, u64::MAX),
        ] {
            assert_eq!(now.dated(WallTime::from_micros(at)), WallTime::from_micros(dated), "{now:?}, {at}");
        }
    }

    #[test]
    fn instants_saturate_at_both_ends() {
        let early = Instant::from_micros(5);
        assert_eq!(early.since(Instant::from_micros(9)), Duration::ZERO);
        assert_eq!(early.after(Duration::MAX), Instant::from_micros(u64::MAX));
    }
}
