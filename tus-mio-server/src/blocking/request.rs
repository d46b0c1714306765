//! One request in one thread: what its session wants is done on the spot, and what arrives meanwhile is seen to between
//! two reads of the body.

use std::{
    io::{ErrorKind, Read},
    task::Waker,
};

use tus_driver::{BodyLength, Class, Executor as _, RequestDriver, Step, Store, cut_by};
use tus_proto::{Framing, Now, Trailers};

use super::{Reply, Shared};

/// How much of a body is read at once, at the most.
const PIECE: usize = 64 << 10;

/// A request under way.
pub(super) struct Request<'a, S: Store> {
    driver: RequestDriver<S>,
    /// How much of the body is still to come.
    missing: BodyLength,
    /// Whether the peer has left with the body incomplete.
    has_left: &'a dyn Fn() -> bool,
    buffer: Vec<u8>,
    shared: &'a Shared<S>,
}

impl<'a, S: Store> Request<'a, S> {
    pub(super) fn new(
        shared: &'a Shared<S>,
        driver: RequestDriver<S>,
        framing: Framing,
        has_left: &'a dyn Fn() -> bool,
    ) -> Self {
        let missing = BodyLength::new(framing);
        // What lies in the framework's buffers can't be seen.
        let driver = driver.draining_at_once();
        Self { driver, missing, has_left, buffer: Vec::new(), shared }
    }

    /// Carries it out. `None` if the exchange ends without an answer.
    pub(super) fn run(
        mut self,
        body: &mut dyn Read,
        trailers: &mut dyn FnMut() -> Trailers,
    ) -> Option<Reply<S>> {
        let mut response = None;
        let queue = &self.shared.queue;
        let waker = Waker::from(queue.clone());
        loop {
            let (now, seen) = (self.now(), queue.seen());
            let (misses, has_left) = (!self.missing.is_complete(), self.has_left);
            match self.driver.poll(now, &waker, &|| misses && has_left()) {
                Some(Step::Respond(answer)) => response = Some(answer),
                // The framework's business: few can send an answer before the last one.
                Some(Step::Continue | Step::Interim(_)) => {}
                Some(Step::Done) => break,
                None => {
                    let (acted, next) = self.driver.keep_time(now);
                    if acted || queue.run_one(Class::Background) {
                        // That may have brought what this request waits for.
                    } else if self.driver.session().is_receiving() {
                        self.read(body, trailers);
                    } else {
                        queue.wait(seen, next);
                    }
                }
            }
        }
        let session = self.driver.session();
        let (events, source) = (session.events().to_vec(), session.take_source());
        // The request is over, and its events may be told.
        drop(self.driver);
        self.shared.tell_events(&events);
        response.map(|response| Reply::new(response, source))
    }

    fn now(&self) -> Now {
        self.shared.queue.now()
    }

    /// Takes in one piece of the body.
    fn read(&mut self, body: &mut dyn Read, trailers: &mut dyn FnMut() -> Trailers) {
        // One byte more than is welcome shows a body that is too long.
        let welcome = self.driver.session().welcome().saturating_add(1);
        let wanted = usize::try_from(welcome.min(self.missing.left())).unwrap_or(PIECE).min(PIECE);
        self.buffer.resize(wanted, 0);
        let read = body.read(&mut self.buffer);
        let (now, session) = (self.now(), self.driver.session());
        let count = match read {
            Ok(0) => {
                return match self.missing.at_end() {
                    Ok(()) => session.end_body(now, trailers()),
                    Err(cut) => session.cut_body(now, cut),
                };
            }
            Ok(count) => self.missing.take(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            // The framework sees whether anybody is left to read the answer.
            Err(error) => return session.cut_body(now, cut_by(&error)),
        };
        session.write(now, &mut self.buffer.get(..count).unwrap_or_default());
        // What follows the body on the connection is not ours.
        if self.missing.is_complete() {
            session.end_body(now, trailers());
        }
    }
}
