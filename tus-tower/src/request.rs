//! One request: what its driver wants is done, and its body is pumped. A state machine that is polled: at first within
//! the response's future, and from when it must wait on in a task of its own, so that it ends well whatever becomes of
//! that future.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Version, header::EXPECT, request::Parts};
use tokio::sync::oneshot;
use tracing::Span;
use tus_driver::{Executor as _, RequestDriver, Step, Store};
use tus_proto::{Connection, Instant, Now};

use crate::{TusBody, alarm::Alarm, core::Core, ingress::Ingress, pump::Pump, response};

/// How often a request looks for more to do before others have their turn.
const ROUNDS: usize = 32;

pub(crate) struct Request<S: Store> {
    /// `None` once it is over: what is left is to read what the client still sends, so that it can read the response.
    driver: Option<RequestDriver<S>>,
    pump: Pump<S>,
    alarm: Alarm,
    /// Where the response is waited for.
    waiter: Option<oneshot::Sender<http::Response<TusBody>>>,
    /// The response's future was dropped.
    gone: bool,
    /// How many bytes of a body are still read once the request is over, and until when.
    linger: (u64, Instant),
    /// HTTP/1: the response may say that the connection closes.
    closes: bool,
    /// The client sends no body before it is asked to.
    expects_continue: bool,
    span: Span,
    core: Arc<Core<S>>,
}

impl<S: Store> Request<S> {
    pub(crate) fn new(
        core: Arc<Core<S>>,
        driver: RequestDriver<S>,
        ingress: Ingress,
        head: &Parts,
        span: Span,
    ) -> Self {
        Self {
            driver: Some(driver),
            pump: Pump::new(ingress),
            alarm: Alarm::default(),
            waiter: None,
            gone: false,
            linger: (0, Instant::from_micros(0)),
            closes: head.version < Version::HTTP_2,
            expects_continue: head.headers.contains_key(EXPECT),
            span,
            core,
        }
    }

    /// Gives the response to this waiter.
    pub(crate) fn answer_to(&mut self, waiter: oneshot::Sender<http::Response<TusBody>>) {
        self.waiter = Some(waiter);
    }

    /// Does all there is to do now. Ready when nothing is left.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let span = self.span.clone();
        let _entered = span.enter();
        for _ in 0..ROUNDS {
            self.gone |= self.waiter.as_mut().is_some_and(|waiter| waiter.poll_closed(cx).is_ready());
            let now = self.core.pool.now();
            let carried_out = self.carry_out(cx, now);
            let Some(driver) = &mut self.driver else { return self.poll_rest(cx, now.monotonic) };
            let Some(pumped) = self.pump.poll(cx, now, driver.session(), &self.core.pool, self.gone) else {
                // Its lock is released.
                self.driver = None;
                continue;
            };
            let stalled = self.pump.ingress.time_out(now.monotonic);
            if stalled {
                self.core.service.counters().deadline_passed("body");
            }
            let (acted, next) = driver.keep_time(now);
            let next = next.into_iter().chain(self.pump.ingress.deadline()).min();
            let due = self.alarm.poll(cx, &self.core.pool, now.monotonic, next);
            if !(carried_out || pumped || stalled || acted || due) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what the driver wants. Returns whether that was anything.
    fn carry_out(&mut self, cx: &Context<'_>, now: Now) -> bool {
        let Some(driver) = &mut self.driver else { return false };
        // Of a client that has gone with its body incomplete, nobody is left to send the rest.
        let has_left = self.gone && self.pump.ingress.misses();
        let mut progress = false;
        while let Some(step) = driver.poll(now, cx.waker(), &|| has_left) {
            progress = true;
            match step {
                // The server of the connection does it when the body is first polled.
                Step::Continue | Step::Interim(_) => {}
                Step::Respond(response) => {
                    let source = driver.session().take_source();
                    let answer = response::http(&response, source, &self.core.pool, self.closes);
                    // Dropped, if nobody waits.
                    if let Some(waiter) = self.waiter.take() {
                        let _ = waiter.send(answer);
                    }
                    let limits = &self.core.limits;
                    let bytes = match response.connection {
                        Connection::KeepAlive => 0,
                        Connection::Drain => limits.drain_bytes,
                        Connection::Close => limits.linger_bytes,
                    };
                    self.linger = (bytes, now.monotonic.after(limits.linger_timeout));
                }
                Step::Done => {
                    self.driver = None;
                    self.pump.ingress.drop_unless_begun(self.expects_continue);
                    break;
                }
            }
        }
        progress
    }

    /// Reads what the client still sends, as far as that is allowed.
    fn poll_rest(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let (bytes, until) = &mut self.linger;
        let read = self.pump.ingress.poll_forget(cx, now, bytes);
        if read.is_ready() || self.alarm.poll(cx, &self.core.pool, now, Some(*until)) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
