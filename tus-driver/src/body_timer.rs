//! The time that a body has: no byte for too long, or too few of them, ends it. It counts only while the runtime
//! waits for the client.

use std::time::Duration;

use tus_proto::Instant;

/// The timer of one body. It begins stopped.
#[derive(Clone, Copy, Debug)]
pub struct BodyTimer {
    timeout: Duration,
    rate: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Runs { until: Instant },
    Stands { left: Duration },
}

impl BodyTimer {
    /// No byte may come for at most `timeout`; zero for ever. `rate` bytes buy one more second, up to `timeout` from
    /// then; with 0 any byte buys all of it.
    pub fn new(timeout: Duration, rate: u64) -> Self {
        Self { timeout, rate, state: State::Stands { left: timeout } }
    }

    /// The runtime waits for the client.
    pub fn run(&mut self, now: Instant) {
        if let State::Stands { left } = self.state {
            self.state = State::Runs { until: now.after(left) };
        }
    }

    /// The runtime does not read.
    pub fn stop(&mut self, now: Instant) {
        if let State::Runs { until } = self.state {
            self.state = State::Stands { left: until.since(now) };
        }
    }

    /// So many bytes came.
    pub fn received(&mut self, now: Instant, count: u64) {
        let bought = count.saturating_mul(1_000_000).checked_div(self.rate);
        let bought = bought.map_or(self.timeout, Duration::from_micros);
        self.state = match self.state {
            State::Runs { until } => State::Runs { until: until.after(bought).min(now.after(self.timeout)) },
            State::Stands { left } => State::Stands { left: left.saturating_add(bought).min(self.timeout) },
        };
    }

    /// When the body is over if nothing comes. `None` while the timer is stopped, or if there is no limit.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Runs { until } if !self.timeout.is_zero() => Some(until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn bytes_buy_time_up_to_the_timeout() {
        let mut timer = BodyTimer::new(Duration::from_secs(30), 500);
        assert_eq!(timer.deadline(), None);
        timer.run(at(0));
        assert_eq!(timer.deadline(), Some(at(30)));
        timer.received(at(10), 1000);
        assert_eq!(timer.deadline(), Some(at(32)));
        timer.received(at(20), 1 << 30);
        assert_eq!(timer.deadline(), Some(at(50)));
    }

    #[test]
    fn it_stands_while_the_runtime_does_not_read() {
        let mut timer = BodyTimer::new(Duration::from_secs(30), 500);
        timer.run(at(0));
        timer.stop(at(10));
        assert_eq!(timer.deadline(), None);
        timer.received(at(90), 500);
        timer.run(at(100));
        assert_eq!(timer.deadline(), Some(at(121)));
    }

    #[test]
    fn without_a_rate_any_byte_buys_all_and_without_a_timeout_there_is_no_end() {
        let mut timer = BodyTimer::new(Duration::from_secs(30), 0);
        timer.run(at(0));
        timer.received(at(29), 1);
        assert_eq!(timer.deadline(), Some(at(59)));
        let mut timer = BodyTimer::new(Duration::ZERO, 500);
        timer.run(at(0));
        assert_eq!(timer.deadline(), None);
    }
}
