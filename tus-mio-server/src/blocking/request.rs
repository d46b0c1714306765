//! One request in one thread: what its session wants is done on the spot, and what arrives meanwhile is seen to between
//! two reads of the body.

use std::{
    io::{ErrorKind, Read},
    task::Waker,
};

use tus_driver::{Class, Executor as _, RequestDriver, Step, Store};
use tus_proto::{Cut, Framing, Now, Trailers};

use super::{Reply, Shared};

/// How much of a body is read at once, at the most.
const PIECE: usize = 64 << 10;

/// A request under way.
pub(super) struct Request<'a, S: Store> {
    driver: RequestDriver<S>,
    /// How many bytes of the body are still to come; `None` if only its end tells.
    missing: Option<u64>,
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
        let missing = match framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
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
            let (misses, has_left) = (self.misses(), self.has_left);
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

    /// Whether something of the body is still to be read.
    fn misses(&self) -> bool {
        self.missing != Some(0)
    }

    fn now(&self) -> Now {
        self.shared.queue.now()
    }

    /// Takes in one piece of the body.
    fn read(&mut self, body: &mut dyn Read, trailers: &mut dyn FnMut() -> Trailers) {
        // One byte more than is welcome shows a body that is too long.
        let welcome = self.driver.session().welcome().saturating_add(1);
        let wanted = welcome.min(self.missing.unwrap_or(u64::MAX));
        let wanted = usize::try_from(wanted).unwrap_or(PIECE).min(PIECE);
        self.buffer.resize(wanted, 0);
        let read = body.read(&mut self.buffer);
        let (now, session) = (self.now(), self.driver.session());
        let count = match read {
            Ok(0) if self.missing.is_none_or(|missing| missing == 0) => {
                return session.end_body(now, trailers());
            }
            Ok(count @ 1..) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            ended => return session.cut_body(now, cut(&ended)),
        };
        session.write(now, &mut self.buffer.get(..count).unwrap_or_default());
        if let Some(missing) = &mut self.missing {
            *missing = missing.saturating_sub(count as u64);
            // A connection's next bytes are not ours.
            if *missing == 0 {
                session.end_body(now, trailers());
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
