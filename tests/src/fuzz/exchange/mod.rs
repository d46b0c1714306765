//! One exchange, and inputs in any order, legal ones and illegal ones: what must hold in every order.

use std::time::Duration;

use tus_proto::{
    AppendEnd, Cancel, Command, Completion, Cut, Exchange, HookReply, Input, Instant, LockCall, LockReply,
    Now, OpId, WallTime,
};

use crate::choice::Choice;
use answers::natural_reply;
use oracle::{Due, Seen};
use request::Sent;

mod answers;
mod oracle;
mod request;

const STEPS: usize = 60;

/// Drives an exchange as these bytes say, to its end.
///
/// # Panics
/// If it breaks a promise: that is the finding.
pub fn exchange(data: &[u8]) {
    run(Choice::by(data));
}

fn run(choice: Choice) -> Seen {
    let mut run = Run::new(choice);
    run.drain();
    for _ in 0..STEPS {
        run.step();
    }
    run.finish();
    // Whatever comes after the end is without effect: `drain` looks.
    for _ in 0..5 {
        run.step();
        run.stale();
    }
    run.seen
}

struct Run {
    choice: Choice,
    exchange: Exchange,
    now: Now,
    /// Where the PATCH wants to write.
    offset: u64,
    /// The bytes are what the client's checksum says they are.
    honest: bool,
    seen: Seen,
}

impl Run {
    fn new(mut choice: Choice) -> Self {
        let (config, hooks) = request::config(&mut choice);
        let sent = Sent::by(&mut choice);
        let honest = choice.percent(80);
        let now =
            Now { monotonic: Instant::from_micros(1), wall: WallTime::default(), date: WallTime::default() };
        let exchange = sent.exchange(config, now);
        let mut seen = Seen::new(hooks, sent.checksum, sent.announced);
        seen.ietf = sent.ietf;
        Self { choice, exchange, now, offset: sent.offset, honest, seen }
    }

    /// Takes what the exchange puts out, and holds it against what it has promised.
    fn drain(&mut self) {
        while let Some(output) = self.exchange.poll() {
            self.seen.see(output);
        }
    }

    fn handle(&mut self, input: Input) {
        let overdue = self.exchange.deadline().is_some_and(|(at, _)| at <= self.now.monotonic);
        let timeout = input == Input::Timeout;
        self.exchange.handle(self.now, input);
        if timeout && overdue {
            let later = self.exchange.deadline().is_none_or(|(at, _)| at > self.now.monotonic);
            assert!(later, "the deadline stays in the past");
        }
        self.drain();
    }

    /// One random input.
    fn step(&mut self) {
        match self.choice.below(20) {
            0..8 if !self.seen.due.is_empty() => {
                let at = self.choice.index(self.seen.due.len());
                // A body takes its time.
                let body = matches!(
                    self.seen.due[at],
                    Due::Store(_, Command::Append { .. } | Command::Buffer { .. })
                );
                if !body || self.choice.percent(20) {
                    self.complete(at);
                }
            }
            8..11 => {
                let more = self.choice.below(12);
                self.stage(more);
            }
            11 => {
                let trailers = self.trailers();
                // Most bodies have bytes; one without ends as any call completes.
                if self.seen.staged > self.seen.at {
                    self.body_ends(AppendEnd::Complete(trailers));
                }
            }
            12 => {
                let end = self.choice.pick(&[
                    Ok(Cut::PeerGone),
                    Ok(Cut::HalfClosed),
                    Ok(Cut::TooSlow),
                    Ok(Cut::BadFraming),
                    Err(Cancel::LockLost),
                    Err(Cancel::Shutdown),
                ]);
                if self.choice.percent(8) {
                    match end {
                        Ok(cut) => self.body_ends(AppendEnd::Cut(cut)),
                        Err(cancel) => self.cancel(cancel),
                    }
                }
            }
            13 => self.handle(Input::Checkpoint),
            14 => {
                let offset = self.choice.pick(&[None, Some(0), Some(2), Some(self.seen.committed), Some(50)]);
                if self.choice.percent(8) {
                    self.handle(Input::Yield(offset));
                }
            }
            15 => self.stale(),
            16 => {
                let micros = self.choice.pick(&[1, 1_000, 900_000, 2_000_000, 30_000_000]);
                self.pass(Duration::from_micros(micros));
            }
            17 => self.handle(Input::Timeout),
            _ => {
                if let Some((at, _)) = self.exchange.deadline() {
                    self.pass(at.since(self.now.monotonic));
                    self.handle(Input::Timeout);
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic.after(time);
        self.now.wall = self.now.wall.after(time);
        self.now.date = self.now.date.after(time);
    }

    fn cancel(&mut self, cancel: Cancel) {
        self.seen.lock_lost |= cancel == Cancel::LockLost;
        self.handle(Input::Cancel(cancel));
    }

    /// The body ends so, and with it the open Append.
    fn body_ends(&mut self, end: AppendEnd) {
        let open = |due: &Due| matches!(due, Due::Store(_, Command::Append { .. } | Command::Buffer { .. }));
        let Some(at) = self.seen.due.iter().position(open) else { return };
        if let Due::Store(op, command) = self.seen.due.remove(at) {
            let completion = self.appended(&command, end);
            self.tell(op, &command, completion);
        }
    }

    /// The open Append stages some more.
    fn stage(&mut self, more: u64) {
        let Some(op) = self.seen.append else { return };
        let end = (self.seen.staged + more).min(self.seen.at.saturating_add(self.seen.max));
        self.seen.staged = end;
        self.handle(Input::Staged(op, end - self.seen.at));
    }

    /// A call completes: mostly as it should, at times as it must not.
    fn complete(&mut self, at: usize) {
        let due = self.seen.due.remove(at);
        match due {
            Due::Lock(op, call) => {
                let rotate = matches!(call, LockCall::Acquire { .. }) && self.choice.percent(20);
                let natural = match natural_reply(&call) {
                    LockReply::Granted { fence, .. } => LockReply::Granted { fence, rotate },
                    other => other,
                };
                let reply = if self.choice.percent(95) { natural } else { self.any_reply() };
                let renewing = matches!(call, LockCall::Renew { .. });
                self.seen.lock_lost |= renewing && reply == LockReply::Lost && self.seen.appends == 1;
                self.seen.release_due &= !matches!(call, LockCall::Release { .. });
                self.handle(Input::Lock(op, reply));
            }
            Due::Store(op, command) => {
                let natural = self.natural(&command);
                let completion = if self.choice.percent(95) { natural } else { self.any_completion() };
                self.tell(op, &command, completion);
            }
            Due::Hook(op) => {
                let reply = if self.choice.percent(70) { HookReply::Proceed } else { self.any_decision() };
                self.decide(op, reply);
            }
        }
    }

    fn decide(&mut self, op: OpId, reply: HookReply) {
        self.seen.decided(&reply);
        self.handle(Input::Hook(op, reply));
    }

    /// The completion reaches the exchange, and what it says is remembered first.
    fn tell(&mut self, op: OpId, command: &Command, completion: Completion) {
        self.seen.completed(command, &completion);
        self.handle(Input::Store(op, completion));
    }

    /// A completion of a call that is over, or of the other kind.
    fn stale(&mut self) {
        let over: Vec<OpId> = self.seen.ops.iter().copied().filter(|op| !self.seen.is_due(*op)).collect();
        if over.is_empty() {
            return;
        }
        let op = self.choice.pick(&over);
        let input = match self.choice.below(4) {
            3 => Input::Hook(op, self.any_decision()),
            0 => Input::Lock(op, self.any_reply()),
            1 => Input::Store(op, self.any_completion()),
            _ => Input::Staged(op, self.choice.below(50)),
        };
        self.handle(input);
    }

    /// The peer goes, and all that is due completes as it should: now the exchange must come to its end.
    fn finish(&mut self) {
        for _ in 0..50 {
            if self.seen.done {
                return;
            }
            match self.seen.due.pop() {
                Some(Due::Lock(op, call)) => {
                    let reply = match call {
                        LockCall::Acquire { .. } => LockReply::TimedOut,
                        _ => natural_reply(&call),
                    };
                    self.seen.release_due &= !matches!(call, LockCall::Release { .. });
                    self.handle(Input::Lock(op, reply));
                }
                Some(Due::Store(op, command)) => {
                    let completion = match command {
                        Command::Append { .. } | Command::Buffer { .. } => Completion::Appended {
                            total: self.seen.staged - self.seen.at,
                            end: AppendEnd::Cut(Cut::PeerGone),
                            digest: None,
                        },
                        _ => self.natural(&command),
                    };
                    self.tell(op, &command, completion);
                }
                Some(Due::Hook(op)) => self.decide(op, HookReply::Proceed),
                None => self.cancel(Cancel::Shutdown),
            }
        }
        panic!("it does not end: {:?}", self.exchange);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const RUNS: u64 = 40_000;

    /// The seeds are fixed, so a failing run can be had again.
    #[test]
    fn in_every_order_of_inputs_the_promises_hold() {
        let (mut answered, mut received, mut verified) = (0, 0, 0);
        let mut asked = BTreeMap::new();
        for seed in 0..RUNS {
            let outcome = std::panic::catch_unwind(|| run(Choice::seeded(seed)));
            let seen = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
            answered += seen.responses;
            let committed = seen.committed > seen.at;
            received += u32::from(committed);
            verified += u32::from(committed && seen.is_guarded());
            for name in seen.asked {
                *asked.entry(name).or_insert(0) += 1;
            }
        }
        // The runs are of use only where many come far.
        assert!(answered > 33_000 && received > 3_000, "{answered} answered, {received} received");
        assert!(verified > 100, "{verified} verified");
        assert!(asked.len() == 4 && asked.values().all(|times| *times > 700), "{asked:?}");
    }
}
