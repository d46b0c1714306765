//! One request in one thread: what its session wants is done on the spot, and what arrives meanwhile is seen to between
//! two reads of the body.

use std::io::{ErrorKind, Read};

use tus_driver::{Arrival, Class, Effect, Inlet, Session, Store, Ticket};
use tus_proto::{Cut, Framing, Head, HookReply, Instant, LockCall, Now, Trailers};

use super::{Reply, Shared, calls::Seat};

/// How much of a body is read at once, at the most.
const PIECE: usize = 64 << 10;

/// A request under way. The seat comes last: when a reader panics, the lock goes when nothing can be written any more.
pub(super) struct Request<'a, S: Store> {
    session: Session<S>,
    /// How many bytes of the body are still to come; `None` if only its end tells.
    missing: Option<u64>,
    /// Whether the peer has left with the body incomplete.
    has_left: &'a dyn Fn() -> bool,
    buffer: Vec<u8>,
    shared: &'a Shared<S>,
    seat: Seat<'a, S>,
}

impl<'a, S: Store> Request<'a, S> {
    pub(super) fn new(
        shared: &'a Shared<S>,
        head: &Head<'_>,
        entropy: [u8; 10],
        now: &'a dyn Fn() -> Instant,
        has_left: &'a dyn Fn() -> bool,
    ) -> Self {
        let missing = match head.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let session = Session::new(shared.config.clone(), head, entropy, shared.clock.now());
        let seat = Seat::new(&shared.locks, &shared.requests, &shared.queue, now);
        Self { session, missing, has_left, buffer: Vec::new(), shared, seat }
    }

    /// Carries it out. `None` if the exchange ends without an answer.
    pub(super) fn run(
        mut self,
        body: &mut dyn Read,
        trailers: &mut dyn FnMut() -> Trailers,
    ) -> Option<Reply<S>> {
        let mut response = None;
        loop {
            let (now, seen) = (self.now(), self.shared.queue.seen());
            // What came while a read or the disk held us up comes before all else: a request that has lost its lock by now
            // must learn that before its commit is rejected.
            if let Some(arrival) = self.seat.arrival() {
                self.session.handle(now, arrival);
                // What lies in the framework's buffers can't be seen: what was read is all there is.
                self.session.drained(now);
            } else if let Some(effect) =
                self.session.poll(now, &self.shared.store, &|| self.seat.address().clone())
            {
                match effect {
                    Effect::Lock(op, call @ LockCall::Acquire { .. })
                        if self.misses() && (self.has_left)() =>
                    {
                        self.seat.call(op, call.without_preemption());
                    }
                    Effect::Lock(op, call) => self.seat.call(op, call),
                    Effect::Hook(op, call) => {
                        let address = self.seat.address().clone();
                        let ticket = Ticket::new(move |reply| address.post(Arrival::Hook(op, reply)));
                        match &self.shared.outbox {
                            Some(outbox) => outbox.hooks().decide(call, ticket),
                            None => ticket.answer(HookReply::Proceed),
                        }
                    }
                    Effect::Respond(answer) => response = Some(answer),
                    Effect::Notify(event) => tracing::trace!(?event),
                    Effect::Failed(failure) => tracing::trace!(?failure),
                    // The framework's business: few can send an answer before the last one.
                    Effect::Continue | Effect::Interim(_) => {}
                    Effect::Done => {
                        self.shared.tell_events(self.session.events());
                        let source = self.session.take_source();
                        return response.map(|response| Reply::new(response, source));
                    }
                }
            } else if self.session.deadline().is_some_and(|(at, _)| at <= now.monotonic) {
                self.session.timeout(now);
            } else if self.shared.queue.run_one(Class::Background) {
                // A job may have brought what this request waits for.
            } else if self.session.is_receiving() {
                self.read(body, trailers);
            } else {
                let session = self.session.deadline().map(|(at, _)| at);
                let until = session.into_iter().chain(self.seat.keep_time()).min();
                self.shared.queue.wait(seen, until);
            }
        }
    }

    /// Whether something of the body is still to be read.
    fn misses(&self) -> bool {
        self.missing != Some(0)
    }

    fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// Takes in one piece of the body.
    fn read(&mut self, body: &mut dyn Read, trailers: &mut dyn FnMut() -> Trailers) {
        // One byte more than is welcome shows a body that is too long.
        let wanted = self.session.welcome().saturating_add(1).min(self.missing.unwrap_or(u64::MAX));
        let wanted = usize::try_from(wanted).unwrap_or(PIECE).min(PIECE);
        self.buffer.resize(wanted, 0);
        let count = match body.read(&mut self.buffer) {
            Ok(0) if self.missing.is_none_or(|missing| missing == 0) => {
                return self.session.end_body(self.now(), trailers());
            }
            Ok(count @ 1..) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            ended => return self.session.cut_body(self.now(), cut(&ended)),
        };
        self.session.write(self.now(), &mut self.buffer.get(..count).unwrap_or_default());
        if let Some(missing) = &mut self.missing {
            *missing = missing.saturating_sub(count as u64);
            // A connection's next bytes are not ours.
            if *missing == 0 {
                self.session.end_body(self.now(), trailers());
            }
        }
    }
}

/// Why a body that came to no good end did not.
fn cut(ended: &std::io::Result<usize>) -> Cut {
    match ended.as_ref().map_err(std::io::Error::kind) {
        Err(ErrorKind::TimedOut | ErrorKind::WouldBlock) => Cut::TooSlow,
        Err(ErrorKind::InvalidData) => Cut::BadFraming,
        // Whether somebody is left to read the answer is the framework's to see.
        Ok(_) | Err(_) => Cut::HalfClosed,
    }
}
