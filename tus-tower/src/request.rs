//! One request, polled: at first within the response's future, and once it has to wait, in a task of its own, so that it
//! ends in order even if that future is dropped.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::Version;
use tokio::sync::oneshot;
use tracing::Span;
use tus_driver::{BodyReader, Executor as _, RequestTask, Store, TaskTurn};

use crate::{alarm::Alarm, body::TusBody, executor::Pool, response};

/// How often a request looks for more to do before others have their turn.
const ROUNDS: usize = 32;

pub(crate) struct Request<S: Store> {
    task: RequestTask<S, Box<dyn BodyReader>>,
    alarm: Alarm,
    /// Where the response is waited for.
    waiter: Option<oneshot::Sender<http::Response<TusBody>>>,
    /// The response's future was dropped.
    gone: bool,
    /// HTTP/1: the response may say that the connection closes.
    closes: bool,
    span: Span,
    pool: Arc<Pool>,
}

impl<S: Store> Request<S> {
    /// A request, and where its response will be.
    pub(crate) fn new(
        task: RequestTask<S, Box<dyn BodyReader>>,
        version: Version,
        span: Span,
        pool: Arc<Pool>,
    ) -> (Self, oneshot::Receiver<http::Response<TusBody>>) {
        let (waiter, answer) = oneshot::channel();
        let (alarm, waiter, closes) = (Alarm::default(), Some(waiter), version < Version::HTTP_2);
        (Self { task, alarm, waiter, gone: false, closes, span, pool }, answer)
    }

    /// Does all there is to do now. Ready when nothing is left.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { task, alarm, waiter, gone, closes, span, pool } = self;
        let _entered = span.enter();
        for _ in 0..ROUNDS {
            *gone |= waiter.as_mut().is_some_and(|waiter| waiter.poll_closed(cx).is_ready());
            let now = pool.now();
            match task.poll(cx, now, *gone) {
                TaskTurn::Respond(response, source) => {
                    let answer = response::http(&response, source, pool, *closes);
                    if let Some(waiter) = waiter.take() {
                        // The response is dropped if its future was.
                        let _ = waiter.send(answer);
                    }
                }
                TaskTurn::Again => {}
                TaskTurn::Waits(until) if alarm.poll(cx, pool, now.monotonic, until) => {}
                TaskTurn::Waits(_) => return Poll::Pending,
                TaskTurn::Over => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
