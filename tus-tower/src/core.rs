//! What all requests of a service share, and the service itself, without the type of its store.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::{request::Parts, uri::Scheme};
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    task::JoinHandle,
};
use tus_driver::{BodyTimer, Executor as _, Requests, Session, Store, Ticket};
use tus_proto::{Cancel, Config, ErrorCode, Failure, Framing};

use crate::{
    Limits, TusBody,
    counters::Counters,
    executor::{Pool, lock},
    hooks::HookCalls,
    ingress::{Frames, Ingress},
    outbox::{self, News},
    request::{Facts, Request},
    response,
};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) struct Core<S: Store> {
    pub(crate) config: Arc<Config>,
    pub(crate) store: S,
    pub(crate) requests: Arc<Requests<S>>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    /// What connections are, as far as the application has said it.
    pub(crate) scheme: Option<Scheme>,
    pub(crate) closing: AtomicBool,
    /// `None` if no hook is called.
    pub(crate) hooks: Option<HookCalls>,
    /// To the task that delivers events, if there is one, and its end.
    pub(crate) news: Option<UnboundedSender<News>>,
    pub(crate) delivering: Mutex<Option<JoinHandle<()>>>,
}

/// A service over any store.
pub(crate) trait Serve: Send + Sync {
    /// Takes a request up. Nothing is done before the future is polled.
    fn begin(
        self: Arc<Self>,
        parts: &Parts,
        framing: Framing,
        body: Pin<Box<dyn Frames>>,
    ) -> BoxFuture<http::Response<TusBody>>;

    /// Ends all requests and closes the store.
    fn shutdown(self: Arc<Self>) -> BoxFuture<Result<(), Failure>>;

    /// How many requests are under way, whoever waits for them.
    fn requests(&self) -> usize;

    /// Whether nothing is under way, and no lock is held or waited for.
    fn is_idle(&self) -> bool;
}

impl<S: Store> Serve for Core<S> {
    fn begin(
        self: Arc<Self>,
        parts: &Parts,
        framing: Framing,
        body: Pin<Box<dyn Frames>>,
    ) -> BoxFuture<http::Response<TusBody>> {
        let span = tracing::debug_span!("tus", method = %parts.method, path = parts.uri.path());
        let now = self.pool.now();
        self.counters.request(Some(parts.method.as_str()));
        let origin = parts.headers.get(http::header::ORIGIN).map(|value| value.as_bytes());
        // A shutdown waits for it from here on.
        let handle = self.requests.begin();
        if self.closing.load(Ordering::Acquire) {
            // Some clients start anew on a 5xx of HEAD.
            let head = parts.method == http::Method::HEAD;
            let code = if head { ErrorCode::UploadLocked } else { ErrorCode::ServerShutdown };
            return Box::pin(std::future::ready(self.refusal(code, origin)));
        }
        let mut entropy = [0; 10];
        if !self.pool.random(&mut entropy) {
            tracing::error!("the system gives no random bytes");
            return Box::pin(std::future::ready(self.refusal(ErrorCode::InternalServerError, origin)));
        }
        let (base_path, scheme) = (self.config.base_path(), self.scheme.as_ref());
        let session = response::with_head(parts, framing, base_path, scheme, |head| {
            Session::new(self.config.clone(), head, entropy, now)
        });
        let timer = BodyTimer::new(self.limits.request_timeout, self.limits.body_min_rate);
        let facts = Facts {
            closes: parts.version < http::Version::HTTP_2,
            expects_continue: parts.headers.contains_key(http::header::EXPECT),
        };
        let request =
            Request::new(self.clone(), handle, session, Ingress::new(body, framing, timer), facts, span);
        Box::pin(Begun { core: self, request: Some(Box::new(request)), answer: None })
    }

    fn shutdown(self: Arc<Self>) -> BoxFuture<Result<(), Failure>> {
        Box::pin(async move {
            self.closing.store(true, Ordering::Release);
            let grace = self.limits.shutdown_timeout;
            let ended = || std::future::poll_fn(|cx| self.requests.poll_empty(cx));
            if tokio::time::timeout(grace, ended()).await.is_err() {
                self.requests.cancel(Cancel::Shutdown);
                ended().await;
            }
            outbox::post(&self.news, News::Stop(self.pool.now().monotonic.after(grace)));
            let delivering = lock(&self.delivering).take();
            if let Some(delivering) = delivering {
                // It fails only with its runtime.
                let _ = delivering.await;
            }
            let (done, closed) = oneshot::channel();
            self.store.close(Ticket::new(move |result| {
                let _ = done.send(result);
            }));
            let result = closed.await.unwrap_or(Err(Failure::Unavailable));
            self.pool.stop_timers();
            result
        })
    }

    fn requests(&self) -> usize {
        self.requests.len()
    }

    fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }
}

impl<S: Store> Core<S> {
    /// The response where a request begins no session, or has come to no end of its own.
    fn refusal(&self, code: ErrorCode, origin: Option<&[u8]>) -> http::Response<TusBody> {
        let refusal = self.config.refusal(code, origin, self.pool.now().date);
        self.counters.answered(refusal.status(), refusal.code());
        response::http(&refusal, None::<S::Source>, &self.pool, true)
    }
}

/// A request that is polled here until it must wait, and goes on in a task of its own then.
struct Begun<S: Store> {
    core: Arc<Core<S>>,
    request: Option<Box<Request<S>>>,
    answer: Option<oneshot::Receiver<http::Response<TusBody>>>,
}

impl<S: Store> Future for Begun<S> {
    type Output = http::Response<TusBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(mut request) = self.request.take() {
            // Whoever polls this need not be a task of tokio's.
            let runtime = self.core.pool.runtime().clone();
            let _entered = runtime.enter();
            let done = request.poll(cx).is_ready();
            let answer = request.take_answer();
            if answer.is_none() && !done {
                let (waiter, answered) = oneshot::channel();
                request.answer_to(waiter);
                self.answer = Some(answered);
            }
            if !done {
                runtime.spawn(async move {
                    std::future::poll_fn(|cx| request.poll(cx)).await;
                    finish(*request).await;
                });
            } else if let Some(mut rest) = request.into_rest() {
                runtime.spawn(std::future::poll_fn(move |cx| rest.poll(cx)));
            }
            if let Some(answer) = answer {
                return Poll::Ready(answer);
            }
        }
        let core = self.core.clone();
        let failed = || core.refusal(ErrorCode::InternalServerError, None);
        let Some(answer) = &mut self.answer else { return Poll::Ready(failed()) };
        Pin::new(answer).poll(cx).map(|answer| answer.unwrap_or_else(|_| failed()))
    }
}

/// Lets a request go, and reads what its client still sends.
async fn finish<S: Store>(request: Request<S>) {
    if let Some(mut rest) = request.into_rest() {
        std::future::poll_fn(|cx| rest.poll(cx)).await;
    }
}

impl<S: Store> fmt::Debug for Core<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("config", &self.config).finish_non_exhaustive()
    }
}
