//! Thousands of runs in random orders of inputs, legal ones and illegal ones: what must hold in every order.
//! The seeds are fixed, so a failing run can be had again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tus_proto::{
    Abort, AppendEnd, Command, Completion, Concat, Config, Exchange, Failure, Fence, Framing, Head,
    HookReply, Input, Instant, LockCall, LockReply, Now, OpId, Record, Rejection, Subscriptions, Trailers,
    Unfit, UploadId, WallTime,
};

use super::script::record;
use oracle::{Due, Seen};
use prng::Random;

mod oracle;
mod prng;

const RUNS: u64 = 40_000;
const STEPS: usize = 60;
const TYPE: &str = "application/offset+octet-stream";
const TYPES: [&str; 5] = [TYPE, TYPE, TYPE, TYPE, "x/y"];

struct Run {
    random: Random,
    exchange: Exchange,
    now: Now,
    /// Where the PATCH wants to write.
    offset: u64,
    seen: Seen,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let limits = [0, 0, 7, 100];
        // In half of the runs nobody subscribes to anything.
        let hooked = random.chance(50);
        let mut subscribed = || hooked && random.chance(60);
        let hooks = Subscriptions {
            incoming: subscribed(),
            create: subscribed(),
            chunk: subscribed(),
            terminate: subscribed(),
        };
        let config = Config::builder()
            .max_size(random.one(&limits))
            .max_chunk_size(random.one(&limits))
            .checkpoint_bytes(random.one(&[1, 5, 1000]))
            .hooks(hooks)
            .downloads(random.chance(80))
            .lock_ttl(Duration::from_secs(random.one(&[1, 3, 60])))
            .build()
            .unwrap();
        let method =
            random.one(&["POST", "POST", "PATCH", "PATCH", "PATCH", "PATCH", "HEAD", "DELETE", "GET"]);
        let framing =
            random.one(&[Framing::Length(0), Framing::Length(20), Framing::Chunked, Framing::Chunked]);
        let mut fields = vec![("Tus-Resumable", "1.0.0".to_owned())];
        fields.push(("Content-Type", random.one(&TYPES).to_owned()));
        let offset = random.below(4);
        if method == "PATCH" {
            fields.push(("Upload-Offset", offset.to_string()));
        }
        if method == "POST" && random.chance(30) {
            fields.push(("Upload-Concat", random.one(&["partial", "final;/files/a /files/b"]).to_owned()));
        }
        if method == "GET" && random.chance(50) {
            fields.push(("Range", random.one(&["bytes=1-2", "bytes=-1", "bytes=50-"]).to_owned()));
        }
        if random.chance(if method == "PATCH" { 15 } else { 50 }) {
            fields.push(("Upload-Length", random.below(30).to_string()));
        } else if method == "POST" {
            fields.push(("Upload-Defer-Length", "1".to_owned()));
        }
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let target = if method == "POST" { "/files" } else { "/files/upload" };
        let head = Head { method, target, fields: &fields, framing, secure: false };
        let now = Now { monotonic: Instant::from_micros(1), wall: WallTime::default() };
        let exchange = Exchange::new(Arc::new(config), &head, [1; 10], now);
        Self { random, exchange, now, offset, seen: Seen::new(hooks) }
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
        match self.random.below(20) {
            0..8 if !self.seen.due.is_empty() => {
                let at = usize::try_from(self.random.below(self.seen.due.len() as u64)).unwrap();
                // A body takes its time.
                let body = matches!(self.seen.due[at], Due::Store(_, Command::Append { .. }));
                if !body || self.random.chance(20) {
                    self.complete(at);
                }
            }
            8..11 => {
                let more = self.random.below(12);
                self.stage(more);
            }
            11 => self.handle(Input::BodyEnd(Trailers::default())),
            12 => {
                let abort = self.random.one(&[
                    Abort::PeerGone,
                    Abort::HalfClosed,
                    Abort::TooSlow,
                    Abort::BadFraming,
                    Abort::LockLost,
                    Abort::Shutdown,
                ]);
                if self.random.chance(8) {
                    self.abort(abort);
                }
            }
            13 => self.handle(Input::Checkpoint),
            14 => {
                let offset = self.random.one(&[None, Some(0), Some(2), Some(self.seen.committed), Some(50)]);
                if self.random.chance(8) {
                    self.handle(Input::Yield(offset));
                }
            }
            15 => self.stale(),
            16 => {
                let micros = self.random.one(&[1, 1_000, 900_000, 2_000_000, 30_000_000]);
                self.now.monotonic = self.now.monotonic.after(Duration::from_micros(micros));
            }
            17 => self.handle(Input::Timeout),
            _ => {
                if let Some((at, _)) = self.exchange.deadline() {
                    self.now.monotonic = self.now.monotonic.max(at);
                    self.handle(Input::Timeout);
                }
            }
        }
    }

    fn abort(&mut self, abort: Abort) {
        self.seen.lock_lost |= abort == Abort::LockLost;
        self.handle(Input::Abort(abort));
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
                let natural = match call {
                    LockCall::Acquire { .. } => {
                        LockReply::Granted { fence: Fence(9), fresh: self.random.chance(20) }
                    }
                    LockCall::Renew { .. } => LockReply::Renewed,
                    LockCall::Release { .. } => LockReply::Released,
                    LockCall::Checkpoint { .. } | LockCall::Checkpointed { .. } => LockReply::Checkpointed,
                };
                let reply = if self.random.chance(95) { natural } else { self.any_reply() };
                let renewing = matches!(call, LockCall::Renew { .. });
                self.seen.lock_lost |= renewing && reply == LockReply::Lost && self.seen.appends == 1;
                if matches!(call, LockCall::Release { .. }) {
                    self.seen.release_due = false;
                }
                self.handle(Input::Lock(op, reply));
            }
            Due::Store(op, command) => {
                let natural = self.natural(&command);
                let completion = if self.random.chance(95) { natural } else { self.any_completion() };
                self.tell(op, &command, completion);
            }
            Due::Hook(op) => {
                let reply = if self.random.chance(70) { HookReply::Proceed } else { self.any_decision() };
                self.decide(op, reply);
            }
        }
    }

    fn decide(&mut self, op: OpId, reply: HookReply) {
        self.seen.decided(&reply);
        self.handle(Input::Hook(op, reply));
    }

    /// What a store in good health answers.
    fn natural(&mut self, command: &Command) -> Completion {
        match command {
            Command::Load { .. } | Command::Open { .. } => {
                let offset = if self.random.chance(90) { self.offset } else { self.random.below(4) };
                let length = self.random.one(&[None, None, Some(offset), Some(offset + 30), Some(100)]);
                let concat = self.concat();
                let record = Record { concat, ..record(offset, length) };
                let open = matches!(command, Command::Open { .. });
                if open { Completion::Opened(record) } else { Completion::Loaded(record) }
            }
            Command::Concat { record, .. } if self.random.chance(80) => {
                let length = self.random.one(&[None, Some(9)]);
                let offset = self.random.one(&[0, length.unwrap_or(0)]);
                Completion::Concatenated(Record { offset, length, ..record.clone() })
            }
            Command::Concat { .. } => {
                Completion::Refused(self.random.one(&[Unfit::Missing, Unfit::TooLarge, Unfit::UnknownLength]))
            }
            Command::Create { .. } => Completion::Created,
            Command::Append { .. } => {
                let end = self.random.one(&[AppendEnd::BodyEnd, AppendEnd::Stopped, AppendEnd::Overflow]);
                Completion::Appended { total: self.seen.staged - self.seen.at, end, digest: None }
            }
            Command::Commit { to, .. } => Completion::Committed { offset: *to },
            Command::Digest { .. } => unreachable!("no body of these has a checksum"),
            Command::Discard { .. } => Completion::Discarded,
            Command::Delete { .. } => Completion::Deleted,
            Command::Stop => unreachable!("Stop has no completion"),
        }
    }

    /// What an upload is in a concatenation: mostly nothing.
    fn concat(&mut self) -> Option<Concat> {
        let some = [Concat::Partial, Concat::Final("final;/files/a".into())];
        self.random.chance(15).then(|| self.random.one(&some))
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
        let op = self.random.one(&over);
        let input = match self.random.below(4) {
            3 => Input::Hook(op, self.any_decision()),
            0 => Input::Lock(op, self.any_reply()),
            1 => Input::Store(op, self.any_completion()),
            _ => Input::Staged(op, self.random.below(50)),
        };
        self.handle(input);
    }

    fn any_reply(&mut self) -> LockReply {
        self.random.one(&[
            LockReply::Granted { fence: Fence(1), fresh: true },
            LockReply::TimedOut,
            LockReply::Renewed,
            LockReply::Lost,
            LockReply::Released,
            LockReply::Checkpointed,
            LockReply::Unavailable,
        ])
    }

    fn any_decision(&mut self) -> HookReply {
        let rejection = |status| Rejection { status, headers: Vec::new(), body: String::new() };
        self.random.one(&[
            HookReply::Proceed,
            HookReply::Change { metadata: Some("a YQ==".into()), id: UploadId::new("other") },
            HookReply::Change { metadata: Some("a !".into()), id: None },
            HookReply::Refuse(rejection(403)),
            HookReply::Refuse(rejection(99)),
            HookReply::Failed,
        ])
    }

    fn any_completion(&mut self) -> Completion {
        let total = self.random.below(200);
        self.random.one(&[
            Completion::Loaded(record(total, None)),
            Completion::Opened(record(total, total)),
            Completion::Missing,
            Completion::Created,
            Completion::Exists,
            Completion::Concatenated(record(total, total)),
            Completion::Refused(Unfit::NotPartial),
            Completion::Appended { total, end: AppendEnd::BodyEnd, digest: None },
            Completion::Appended { total: 0, end: AppendEnd::Failed(Failure::NoSpace), digest: None },
            Completion::Committed { offset: total },
            Completion::Conflict { offset: total },
            Completion::Discarded,
            Completion::Deleted,
            Completion::Failed(Failure::NoSpace),
            Completion::Failed(Failure::Io),
            Completion::Failed(Failure::Unavailable),
        ])
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
                        LockCall::Renew { .. } => LockReply::Renewed,
                        LockCall::Release { .. } => {
                            self.seen.release_due = false;
                            LockReply::Released
                        }
                        LockCall::Checkpoint { .. } | LockCall::Checkpointed { .. } => {
                            LockReply::Checkpointed
                        }
                    };
                    self.handle(Input::Lock(op, reply));
                }
                Some(Due::Store(op, command)) => {
                    let completion = match command {
                        Command::Append { .. } => Completion::Appended {
                            total: self.seen.staged - self.seen.at,
                            end: AppendEnd::Stopped,
                            digest: None,
                        },
                        _ => self.natural(&command),
                    };
                    self.tell(op, &command, completion);
                }
                Some(Due::Hook(op)) => self.decide(op, HookReply::Proceed),
                None => self.handle(Input::Abort(Abort::PeerGone)),
            }
        }
        panic!("it does not end: {:?}", self.exchange);
    }
}

#[test]
fn in_every_order_of_inputs_the_promises_hold() {
    let mut answered = 0;
    let mut received = 0;
    let mut asked = BTreeMap::new();
    for seed in 0..RUNS {
        let outcome = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
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
            (run.seen.responses, u32::from(run.seen.committed > run.seen.at), run.seen.asked)
        });
        let (responses, commits, hooks) = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        answered += responses;
        received += commits;
        for name in hooks {
            *asked.entry(name).or_insert(0) += 1;
        }
    }
    // The runs are of use only where many come far.
    assert!(answered > 34_000 && received > 3_000, "{answered} answered, {received} received");
    assert!(asked.len() == 4 && asked.values().all(|times| *times > 700), "{asked:?}");
}
