//! The lock table, by calls in any order and at any time: whoever holds, waits, gives up or dies, an upload has one
//! writer, the others wait in line, and in the end nothing is left.

use std::time::Duration;

use tus_proto::{
    Config, Exchange, Fence, Framing, Head, Input, Instant, LockCall, LockReply, LockTable, Now, OpId,
    Output, Owner, UploadId,
};

use crate::choice::Choice;
use oracle::{Role, Seen};

mod oracle;

const STEPS: usize = 80;
/// A key has several owners, an owner several keys to choose from.
const OWNERS: u64 = 8;
const KEYS: [&str; 3] = ["a", "a", "b"];

const SECOND: Duration = Duration::from_secs(1);
const TIMES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_micros(1),
    SECOND,
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::MAX,
];

/// Lets these bytes call a lock table, and lets them choose when.
///
/// # Panics
/// If it breaks a promise: that is the finding.
pub fn locks(data: &[u8]) {
    run(Choice::by(data));
}

fn run(mut choice: Choice) -> Seen {
    let first = Fence(choice.below(10));
    let (table, seen) = (LockTable::new(first), Seen::new(first));
    let mut run = Run { choice, table, seen, ops: ops(), now: Instant::from_micros(1) };
    for _ in 0..STEPS {
        run.step();
    }
    // Everybody leaves, and whoever is granted something by that leaves after it.
    while let Some((owner, key)) = run.seen.anybody() {
        run.call(owner, LockCall::Release { key });
    }
    assert!(run.table.is_empty() && run.table.deadline().is_none(), "{:?}", run.table);
    run.seen
}

/// Two calls that can be told apart, for only an exchange numbers them: those of a HEAD.
fn ops() -> [OpId; 2] {
    let now = Now::default();
    let fields: [(&str, &[u8]); 1] = [("Tus-Resumable", b"1.0.0")];
    let framing = Framing::Length(0);
    let head =
        Head { method: "HEAD", target: "/files/a", fields: &fields, framing, secure: false, direct: false };
    let mut exchange = Exchange::new(Config::default().into(), &head, [0; 10], now);
    let Some(Output::Lock(first, _)) = exchange.poll() else { panic!("{exchange:?}") };
    exchange.handle(now, Input::Lock(first, LockReply::Checkpointed));
    let Some(Output::Store(second, _)) = exchange.poll() else { panic!("{exchange:?}") };
    [first, second]
}

struct Run {
    choice: Choice,
    table: LockTable,
    seen: Seen,
    ops: [OpId; 2],
    now: Instant,
}

impl Run {
    fn step(&mut self) {
        match self.choice.below(8) {
            0 => {
                let time = self.choice.pick(&[Duration::from_micros(1), SECOND, Duration::from_secs(30)]);
                self.now = self.now.after(time);
            }
            1 => self.timeout(),
            2 => {
                let due = self.table.deadline().filter(|at| *at > self.now);
                self.now = due.unwrap_or(self.now);
                self.timeout();
            }
            _ => {
                let owner = Owner(self.choice.below(OWNERS));
                let call = self.any_call(owner);
                self.call(owner, call);
            }
        }
    }

    /// What an owner may do now; or something that is none of its business, and must be without effect.
    fn any_call(&mut self, owner: Owner) -> LockCall {
        let own = self.seen.key(owner);
        let any = UploadId::new(self.choice.pick(&KEYS)).unwrap();
        let key = own.clone().filter(|_| self.choice.percent(90)).unwrap_or(any);
        let ttl = self.choice.pick(&TIMES);
        match (self.choice.below(8), self.seen.role(owner)) {
            (0..6, None) => {
                let offset = self.choice.pick(&[None, Some(0), Some(7)]);
                let (wait, preempt) = (self.choice.pick(&TIMES), self.choice.percent(90));
                LockCall::Acquire { key, offset, wait, ttl, preempt }
            }
            (6, None) => LockCall::Checkpoint { key },
            (0..3, Some(Role::Holds { .. })) => LockCall::Renew { key, ttl },
            (3..6, Some(Role::Holds { .. })) => LockCall::Checkpointed { key },
            (0, _) => LockCall::Renew { key, ttl },
            (1, _) => LockCall::Checkpointed { key },
            _ => LockCall::Release { key },
        }
    }

    fn call(&mut self, owner: Owner, call: LockCall) {
        let op = self.choice.pick(&self.ops);
        self.seen.called(self.now, owner, op, &call);
        self.table.call(self.now, owner, op, call);
        self.drain();
    }

    fn timeout(&mut self) {
        self.seen.timeout();
        self.table.timeout(self.now);
        self.drain();
        assert!(self.table.deadline().is_none_or(|at| at > self.now), "the deadline stays in the past");
    }

    fn drain(&mut self) {
        while let Some((owner, event)) = self.table.poll() {
            self.seen.see(self.now, owner, event);
        }
        self.seen.rest(self.now, &self.table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_any_order_find_one_holder_and_leave_nothing() {
        let mut told = oracle::Told::default();
        for seed in 0..20_000 {
            told.add(run(Choice::seeded(seed)).told);
        }
        // The runs are of use only where much happens in them.
        assert!(told.granted > 100_000 && told.taken_away > 10_000 && told.sent_away > 10_000, "{told:?}");
        assert!(told.checkpoints > 1_000 && told.of_holders > 1_000, "{told:?}");
    }
}
