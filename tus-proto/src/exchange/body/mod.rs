//! The reception of a body: one standing Append, commits concurrently with it and one after it, and whatever may cut
//! it short. There is no special path for a disconnect, a stall, a yield or a shutdown: the Append ends, what
//! it staged is committed (or, where it must be, forgotten), the lock goes, the answer follows.

pub(super) mod state;

use alloc::boxed::Box;

use super::{
    Exchange, State,
    answer::{self, Answer},
};
use crate::{
    AppendEnd, Cancel, Command, Completion, ErrorCode, Event, Framing, LockCall, Now, OpId, Output, Trailers,
    WallTime, header::Checksum,
};
use state::{Append, ChunkVerdict, End, Failed, InFlight, Outcome, Receiving, Reply, Report, failed};

impl Exchange {
    /// Opens the Append, where there is a body to come, and goes on from there.
    pub(in crate::exchange) fn receive(&mut self, now: Now, receiving: Receiving) {
        let mut receiving = Box::new(receiving);
        receiving.plan_renewal(&self.config, now);
        if self.config.hooks.chunk {
            receiving.chunk_verdict = ChunkVerdict::Due;
        }
        if let Some(interval) = self.config.hooks.progress {
            let (next, told) = (now.monotonic.after(interval), receiving.at);
            receiving.report = Some(Box::new(Report { interval, next, told, op: None }));
        }
        receiving.cancelled = self.cancelled;
        if self.framing == Framing::Length(0) {
            // A body of no bytes needs no Append to be verified.
            receiving.verify(&Trailers::default(), &self.config.checksum_algorithms);
            self.conclude_upload(&mut receiving);
        } else {
            receiving.newcomer = self.newcomer;
            receiving.append = if self.cancelled.is_some() || self.newcomer.is_some() {
                // Nothing was begun, so nothing is lost by giving way.
                Append::Ended(End::Stopped)
            } else {
                self.append(&receiving)
            };
        }
        self.advance(now, receiving);
    }

    pub(in crate::exchange) fn append(&mut self, receiving: &Receiving) -> Append {
        self.outputs.push_back(Output::Continue);
        let (at, max) = (receiving.at, receiving.limit.bytes);
        let digest = receiving.checksums.header.as_ref().map(|checksum| checksum.algorithm);
        let command = match receiving.is_unmade() {
            true => Command::Buffer { max, digest },
            false => {
                let (fence, rotate) = self.lease.grant();
                Command::Append { id: receiving.id.clone(), fence, at, max, rotate, digest }
            }
        };
        let op = self.store(command);
        Append::Open { op, stopping: false }
    }

    /// Moves a reception on as far as it goes by itself.
    pub(in crate::exchange) fn advance(&mut self, now: Now, mut receiving: Box<Receiving>) {
        if receiving.in_flight.is_none() {
            if let Append::Open { .. } = receiving.append {
                let stopped = matches!(receiving.chunk_verdict, ChunkVerdict::Rejected(_));
                let ending = stopped || receiving.failed.is_some() || receiving.newcomer.is_some();
                // Once it is cut short, what may still be committed is decided after the Append.
                if ending || receiving.cancelled.is_some() {
                    self.stop(&mut receiving);
                } else if receiving.wants_checkpoint(&self.config, now.monotonic) {
                    self.commit(now, &mut receiving);
                } else if core::mem::take(&mut receiving.asked) {
                    self.checkpointed();
                }
            } else if let Some(checksum) = receiving.unverified.take().filter(|_| !receiving.is_lost()) {
                self.read_back(&mut receiving, checksum);
            } else if receiving.awaits_verdict() {
                if receiving.wants_checkpoint(&self.config, now.monotonic) {
                    self.commit(now, &mut receiving);
                } else if core::mem::take(&mut receiving.asked) {
                    self.checkpointed();
                }
            } else if let Some(outcome) = receiving.outcome() {
                return self.conclude_body(now, receiving, outcome);
            }
        }
        self.state = State::Receiving(receiving);
    }

    fn read_back(&mut self, receiving: &mut Receiving, checksum: Box<Checksum>) {
        let (id, from, to) = (receiving.id.clone(), receiving.at, receiving.staged);
        let op = self.store(Command::Digest { id, from, to, algorithm: checksum.algorithm });
        receiving.in_flight = Some(InFlight::Digest { op, checksum });
    }

    /// The body's fate is known: bring what is staged to rest, then end.
    fn conclude_body(&mut self, now: Now, mut receiving: Box<Receiving>, outcome: Outcome) {
        if matches!(outcome, Outcome::Overflow) && self.invalidates(&receiving) {
            return self.invalidate(receiving.id, true);
        }
        if let Some(record) = receiving.take_unmade() {
            let kept = !receiving.discards(&outcome);
            return self.make_with_body(now, receiving, record, kept);
        }
        // Nothing that is staged is committed or forgotten then: it is not ours any more, or soon nobody's.
        let lost = matches!(outcome, Outcome::Cancelled(Cancel::LockLost) | Outcome::Stopped(_));
        if receiving.discards(&outcome) && !lost {
            if receiving.staged > receiving.committed {
                let (fence, _) = self.lease.grant();
                let op = self.store(Command::Discard { id: receiving.id.clone(), fence });
                receiving.in_flight = Some(InFlight::Discard { op });
                self.state = State::Receiving(receiving);
                return;
            }
        } else if receiving.needs_verdict() && !lost {
            return self.ask_verdict(receiving);
        } else if receiving.is_dirty()
            && mutation!("answered-without-commit", !lost, !lost && receiving.length.is_none())
        {
            self.commit(now, &mut receiving);
            self.state = State::Receiving(receiving);
            return;
        }
        let code = match outcome {
            Outcome::Stopped(rejection) => return self.stop_upload(*receiving, rejection),
            Outcome::Complete => {
                if self.hash_upload(&mut receiving) {
                    self.state = State::Receiving(receiving);
                    return;
                }
                self.report_last(&receiving);
                let answer = match receiving.reply {
                    Reply::Write => Answer::Written(receiving.committed),
                    Reply::Make(_) => Answer::Failed(ErrorCode::InternalServerError),
                    Reply::Create(location) => {
                        Answer::Created { location, offset: receiving.committed, body_read: true }
                    }
                };
                return self.end(now, Some(answer));
            }
            Outcome::Failed(Failed::Conflict(offset)) if matches!(receiving.reply, Reply::Write) => {
                return self.end(now, Some(Answer::Mismatch(offset)));
            }
            Outcome::Cancelled(cancel) => answer::to_cancel(cancel),
            Outcome::Cut(cut) => match answer::to_cut(cut) {
                Some(code) => code,
                None => return self.end(now, None),
            },
            Outcome::Yielded(_) => {
                self.notify(Event::Yielded);
                ErrorCode::UploadInterrupted
            }
            Outcome::Failed(Failed::Conflict(_)) => ErrorCode::UploadInterrupted,
            Outcome::Overflow => receiving.limit.code,
            Outcome::ChecksumFailed(code) if matches!(receiving.reply, Reply::Write) => {
                return self.end(now, Some(Answer::ChecksumFailed(code)));
            }
            Outcome::Failed(Failed::Code(code)) | Outcome::Rejected(code) | Outcome::ChecksumFailed(code) => {
                code
            }
        };
        self.end(now, Some(receiving.reply.failed(code)));
    }

    /// Commits what may be committed; what is held back may not, but the upload must not expire under it.
    fn commit(&mut self, now: Now, receiving: &mut Receiving) {
        let (fence, _) = self.lease.grant();
        let held = receiving.holds();
        let from = receiving.committed;
        let (to, length) = if held { (from, None) } else { (receiving.staged, receiving.declare) };
        let finish = !held && receiving.length == Some(to);
        let expires = self.expires_then(now, receiving, finish);
        let id = receiving.id.clone();
        let op = self.store(Command::Commit { id, fence, from, to, length, expires, finish });
        let asked = core::mem::take(&mut receiving.asked);
        let last = matches!(receiving.append, Append::Ended(_));
        receiving.in_flight = Some(InFlight::Commit { op, to, length, expires, finish, asked, last });
        receiving.tried = to;
        receiving.dirty_since = None;
        receiving.renew_at = None;
    }

    /// When the upload expires from now on, if the next change finishes it, or does not.
    pub(in crate::exchange) fn expires_then(
        &self,
        now: Now,
        receiving: &Receiving,
        finish: bool,
    ) -> Option<WallTime> {
        match finish && mutation!("finished-expires", !receiving.partial, receiving.partial) {
            true => None,
            false => self.config.expires(now.wall, receiving.expires),
        }
    }

    pub(in crate::exchange) fn stop(&mut self, receiving: &mut Receiving) {
        if let Append::Open { stopping, .. } = &mut receiving.append
            && !core::mem::replace(stopping, true)
        {
            self.store(Command::StopAppend);
        }
    }

    /// A command of the reception completed.
    pub(in crate::exchange) fn on_received(
        &mut self,
        now: Now,
        mut receiving: Box<Receiving>,
        op: OpId,
        completion: Completion,
    ) {
        match (&receiving.append, &receiving.in_flight) {
            (Append::Open { op: append, .. }, _) if mutation!("stale-completion", *append == op, true) => {
                let (total, end) = match completion {
                    Completion::Appended { total, end, digest } => {
                        receiving.digest = digest.map(Box::new);
                        (total, end)
                    }
                    Completion::Failed(failure) => (0, AppendEnd::Failed(failure)),
                    // The upload was taken from us between the look and the Append.
                    other => {
                        receiving.failed = Some(failed(&other));
                        (0, AppendEnd::Stopped)
                    }
                };
                receiving.progress(now.monotonic, total);
                let whole = matches!(end, AppendEnd::Complete(_));
                let end = match end {
                    AppendEnd::Complete(trailers) => {
                        receiving.unverified = receiving.verify(&trailers, &self.config.checksum_algorithms);
                        End::Complete
                    }
                    AppendEnd::Cut(cut) => End::Cut(cut),
                    AppendEnd::Overflow => End::Overflow,
                    AppendEnd::Stopped => End::Stopped,
                    AppendEnd::Failed(failure) => End::Failed(failure),
                };
                receiving.append = Append::Ended(end);
                if whole {
                    self.conclude_upload(&mut receiving);
                }
            }
            (_, Some(InFlight::Commit { op: commit, to, length, expires, finish, asked, last }))
                if *commit == op =>
            {
                let (to, finish, asked, last) = (*to, *finish, *asked, *last);
                let (declared, expires) = (length.is_some(), *expires);
                receiving.in_flight = None;
                // A store that tells an offset which nobody asked for is not to be believed.
                let least = if finish { to } else { receiving.committed };
                match completion {
                    Completion::Committed { offset } if (least..=to).contains(&offset) => {
                        (self.expires, receiving.expires) = (expires, expires);
                        receiving.plan_renewal(&self.config, now);
                        // The end of the body may have shown meanwhile that this commit was to complete the upload: then
                        // another one does.
                        let completes_late = !finish && receiving.length == Some(to);
                        receiving.declare.take_if(|_| declared && !completes_late);
                        if last && receiving.staged == to {
                            // A store with part sizes of its own keeps what it could take; the client sends the rest again.
                            // Of a commit that ran beside the body, that is no answer: the next one takes the rest.
                            receiving.staged = offset;
                        }
                        self.on_committed(now, &mut receiving, offset, finish)
                    }
                    other => receiving.failed = Some(failed(&other)),
                }
                if asked {
                    self.checkpointed();
                }
            }
            (_, Some(InFlight::Create { op: create, first, finish })) if *create == op => {
                let made = (*first, *finish);
                receiving.in_flight = None;
                return self.on_made_with_body(now, receiving, made, &completion);
            }
            (_, Some(InFlight::Digest { op: digest, checksum })) if *digest == op => {
                let expected = checksum.digest;
                receiving.in_flight = None;
                match completion {
                    Completion::Digested(digest)
                        if mutation!("trailer-not-compared", digest == expected, true) => {}
                    Completion::Digested(_) => receiving.checksum_error = Some(ErrorCode::ChecksumMismatch),
                    other => receiving.failed = Some(failed(&other)),
                }
            }
            (_, Some(InFlight::Hash { op: hash })) if *hash == op => {
                receiving.in_flight = None;
                self.on_hashed(&mut receiving, completion);
            }
            (_, Some(InFlight::Discard { op: discard })) if *discard == op => {
                receiving.in_flight = None;
                receiving.staged = receiving.committed;
            }
            _ => return self.stale(State::Receiving(receiving)),
        }
        self.advance(now, receiving);
    }

    pub(in crate::exchange) fn on_committed(
        &mut self,
        now: Now,
        receiving: &mut Receiving,
        offset: u64,
        finish: bool,
    ) {
        let received = offset.saturating_sub(receiving.committed);
        if received > 0 {
            self.notify(Event::Received(received));
        }
        if finish {
            self.notify_finished();
            self.body_finished(receiving, offset);
        }
        receiving.committed = offset;
        if matches!(receiving.append, Append::Open { .. }) {
            self.tell_progress(offset);
        }
        receiving.dirty_since = (receiving.staged > offset).then_some(now.monotonic);
    }

    fn body_finished(&mut self, receiving: &Receiving, offset: u64) {
        if let Some(mut upload) = self.told.as_mut().and_then(|told| told.upload.take()) {
            (upload.offset, upload.length, upload.expires) = (offset, receiving.length, receiving.expires);
            self.finished(&upload);
        }
    }

    pub(in crate::exchange) fn on_staged(&mut self, now: Now, op: OpId, total: u64) {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Receiving(mut receiving) if matches!(receiving.append, Append::Open { op: open, .. } if open == op) =>
            {
                receiving.progress(now.monotonic, total);
                self.report_if_due(now, &mut receiving);
                self.advance(now, receiving);
            }
            other => self.stale(other),
        }
    }

    pub(in crate::exchange) fn on_yield(&mut self, now: Now, offset: Option<u64>) {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Receiving(receiving) if receiving.is_unmade() => self.stale(State::Receiving(receiving)),
            State::Receiving(mut receiving) => {
                if let Append::Open { .. } = receiving.append {
                    receiving.newcomer.get_or_insert(offset);
                    mutation!("lock-released-early", self.stop(&mut receiving), {
                        let (op, key) = (self.op(), self.lock_key());
                        let release = key.map(|key| Output::Lock(op, LockCall::Release { key }));
                        self.outputs.extend(release);
                        self.stop(&mut receiving);
                    });
                }
                self.advance(now, receiving);
            }
            // The rest is short, but for a body that has not begun yet.
            other => {
                self.newcomer.get_or_insert(offset);
                self.state = other;
            }
        }
    }

    pub(in crate::exchange) fn on_checkpoint(&mut self, now: Now) {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Receiving(mut receiving) => {
                receiving.asked = mutation!("head-answered-without-commit", true, {
                    self.checkpointed();
                    false
                });
                mutation!(
                    "head-not-heard",
                    self.advance(now, receiving),
                    self.state = State::Receiving(receiving)
                );
            }
            other => {
                self.state = other;
                self.checkpointed();
            }
        }
    }

    fn checkpointed(&mut self) {
        if let Some(key) = self.lock_key() {
            let op = self.op();
            self.outputs.push_back(Output::Lock(op, LockCall::Checkpointed { key }));
        }
    }
}
