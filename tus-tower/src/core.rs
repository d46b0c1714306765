//! The service as a trait object, so that its type does not name its store.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use http::{request::Parts, uri::Scheme};
use tokio::sync::oneshot;
use tus_driver::{
    BodyReader, Executor as _, Service, Store,
    outbox::{Delivery, Turn},
};
use tus_proto::{ErrorCode, Failure, Framing, Response};

use crate::{alarm::Alarm, body::TusBody, executor::Pool, request::Request, response};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A service over any store.
pub(crate) trait Serve: fmt::Debug + Send + Sync {
    /// Takes a request up. Nothing is done before the future is polled.
    fn begin(
        self: Arc<Self>,
        parts: &Parts,
        framing: Framing,
        body: Box<dyn BodyReader>,
    ) -> BoxFuture<http::Response<TusBody>>;

    /// Ends all requests and closes the store.
    fn shutdown(self: Arc<Self>) -> BoxFuture<Result<(), Failure>>;

    /// How many requests are under way, also those whose futures were dropped.
    fn requests(&self) -> usize;

    /// Whether nothing is under way, and no lock is held or waited for.
    fn is_idle(&self) -> bool;
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Core<S: Store> {
    pub(crate) service: Arc<Service<S>>,
    pub(crate) pool: Arc<Pool>,
    /// How clients reach the application, as far as it has said it.
    pub(crate) scheme: Option<Scheme>,
}

impl<S: Store> Serve for Core<S> {
    fn begin(
        self: Arc<Self>,
        parts: &Parts,
        framing: Framing,
        body: Box<dyn BodyReader>,
    ) -> BoxFuture<http::Response<TusBody>> {
        let span = tracing::debug_span!("tus", method = %parts.method, path = parts.uri.path());
        let (base_path, scheme) = (self.service.config().base_path(), self.scheme.as_ref());
        let begun = response::with_head(parts, framing, base_path, scheme, |head| {
            self.service.begin_task(head, response::remote(parts), body)
        });
        match begun {
            Ok(task) => {
                let (request, answer) = Request::new(task, parts.version, span, self.pool.clone());
                Box::pin(Begun { core: self, request: Some(Box::new(request)), answer })
            }
            Err(refusal) => Box::pin(std::future::ready(self.own_answer(&refusal))),
        }
    }

    fn shutdown(self: Arc<Self>) -> BoxFuture<Result<(), Failure>> {
        Box::pin(async move {
            let result = self.service.shutdown().await;
            self.pool.stop_timers();
            result
        })
    }

    fn requests(&self) -> usize {
        self.service.requests().len()
    }

    fn is_idle(&self) -> bool {
        self.service.requests().is_empty()
    }
}

impl<S: Store> Core<S> {
    fn own_answer(&self, response: &Response) -> http::Response<TusBody> {
        response::http(response, None::<S::Source>, &self.pool, true)
    }
}

/// A request that is polled here until it must wait, and goes on in a task of its own then.
struct Begun<S: Store> {
    core: Arc<Core<S>>,
    request: Option<Box<Request<S>>>,
    answer: oneshot::Receiver<http::Response<TusBody>>,
}

impl<S: Store> Future for Begun<S> {
    type Output = http::Response<TusBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(mut request) = self.request.take() {
            // The task that polls this need not be one of tokio's.
            let runtime = self.core.pool.runtime().clone();
            let _entered = runtime.enter();
            if request.poll(cx).is_pending() {
                runtime.spawn(poll_fn(move |cx| request.poll(cx)));
            }
        }
        let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(cx) else { return Poll::Pending };
        // The request may have panicked in its task.
        let core = &*self.core;
        let failed = |_| core.own_answer(&core.service.refusal(ErrorCode::InternalServerError, None));
        Poll::Ready(answer.unwrap_or_else(failed))
    }
}

/// The task that delivers events until a shutdown, or until the service is dropped.
pub(crate) async fn deliver<S: Store>(service: Weak<Service<S>>, pool: Arc<Pool>, mut delivery: Delivery) {
    let mut alarm = Alarm::default();
    poll_fn(|cx| {
        loop {
            let Some(service) = service.upgrade() else { return Poll::Ready(()) };
            let Turn::Waits(until) = service.poll_delivery(&mut delivery, cx.waker()) else {
                return Poll::Ready(());
            };
            if !alarm.poll(cx, &pool, pool.now().monotonic, until) {
                return Poll::Pending;
            }
        }
    })
    .await;
}
