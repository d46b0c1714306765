//! One request with its body, for runtimes whose requests are tasks: a state machine that is polled until it is over. What
//! is left to its runtime is to send the response, and to poll it again in time.

use std::{
    fmt,
    task::{Context, Poll},
};

use tus_proto::{Connection, Head, Instant, Now, Response};

use super::request::{RequestDriver, Step};
use crate::{
    BodyReader, BodyTimer, Limits, Store,
    ingress::{Ingress, Pump},
};

/// A request under way, with its body. Dropped at any point, it leaves no lock; polled to its end, it loses no byte that
/// had arrived, whatever becomes of its client.
pub struct RequestTask<S: Store, B> {
    /// `None` once the request is over and the store released. Only the rest of the client's body is read then, so that the
    /// client can read the response.
    driver: Option<RequestDriver<S>>,
    pump: Pump<S, B>,
    /// How many bytes of a body are still read once the request is over, and until when.
    linger: (u64, Instant),
    /// The client sends no body before it is asked to.
    expects_continue: bool,
}

/// What a task wants of its runtime.
#[derive(Debug)]
pub enum TaskTurn<T> {
    /// Send this, at most once, and poll on. If its body is an upload's, the source has the bytes.
    Respond(Response, Option<T>),
    /// There is more to do: poll again, at once or after others have had their turn.
    Again,
    /// Poll again when the waker is woken, or this time has come if there is one.
    Waits(Option<Instant>),
    /// The request is over. Last.
    Over,
}

impl<S: Store, B: BodyReader> RequestTask<S, B> {
    pub(super) fn new(driver: RequestDriver<S>, head: &Head<'_>, body: B) -> Self {
        let Limits { request_timeout, body_min_rate, .. } = driver.shared().limits;
        let timer = BodyTimer::new(request_timeout, body_min_rate);
        Self {
            driver: Some(driver),
            pump: Pump::new(Ingress::new(body, head.framing, timer)),
            linger: (0, Instant::from_micros(0)),
            expects_continue: head.values("Expect").next().is_some(),
        }
    }

    /// Does what there is to do now. `gone`: the response is not waited for any more; what has arrived of the body is still
    /// taken, and nothing after it.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Now, gone: bool) -> TaskTurn<S::Source> {
        // A client that has gone with its body incomplete sends no more of it.
        let has_left = gone && self.pump.ingress.misses();
        let mut progress = false;
        while let Some(driver) = &mut self.driver
            && let Some(step) = driver.poll(now, cx.waker(), &|| has_left)
        {
            progress = true;
            match step {
                // The connection's server sends `100 Continue` when the body is first polled. Interim responses are left out.
                Step::Continue | Step::Interim(_) => {}
                Step::Respond(response) => {
                    let source = driver.session().take_source();
                    self.linger = linger(&driver.shared().limits, now.monotonic, response.connection);
                    return TaskTurn::Respond(response, source);
                }
                Step::Done => {
                    self.driver = None;
                    self.pump.ingress.drop_unless_begun(self.expects_continue);
                }
            }
        }
        let Some(driver) = &mut self.driver else { return self.poll_rest(cx, now.monotonic) };
        let executor = driver.shared().executor.clone();
        let Some(pumped) = self.pump.poll(cx, now, driver.session(), &*executor, gone) else {
            // A write has panicked. The request has no response, and its lock is released.
            self.driver = None;
            return TaskTurn::Again;
        };
        let stalled = self.pump.ingress.time_out(now.monotonic);
        if stalled {
            driver.shared().counters.deadline_passed("body");
        }
        let (acted, next) = driver.keep_time(now);
        let next = next.into_iter().chain(self.pump.ingress.deadline()).min();
        if progress || pumped || stalled || acted { TaskTurn::Again } else { TaskTurn::Waits(next) }
    }

    /// Reads what the client still sends, as far as that is allowed.
    fn poll_rest(&mut self, cx: &mut Context<'_>, now: Instant) -> TaskTurn<S::Source> {
        let (bytes, until) = &mut self.linger;
        let read = self.pump.ingress.poll_forget(cx, now, bytes);
        if read == Poll::Pending && *until > now { TaskTurn::Waits(Some(*until)) } else { TaskTurn::Over }
    }
}

/// How many bytes of a body are still read after a response, and until when.
fn linger(limits: &Limits, now: Instant, connection: Connection) -> (u64, Instant) {
    let bytes = match connection {
        Connection::KeepAlive => 0,
        Connection::Drain => limits.drain_bytes,
        Connection::Close => limits.linger_bytes,
    };
    (bytes, now.after(limits.linger_timeout))
}

impl<S: Store, B> fmt::Debug for RequestTask<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTask")
            .field("driver", &self.driver)
            .field("ingress", &self.pump.ingress)
            .finish_non_exhaustive()
    }
}
