//! What the requests of one service share, and one of its requests: for runtimes whose requests are tasks or threads. A
//! runtime with event loops has its own.

mod request;

use std::{
    fmt,
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use tus_proto::{Cancel, Config, ErrorCode, Failure, Head, Response};

pub use self::request::{RequestDriver, Step};
use crate::{
    Counters, Executor, LockService, OpenStore, Requests, Session, Store, StoreRuntime, Ticket,
    hooks::{Attributions, HookCalls, subscriptions},
    mailbox::{WakeQueue, lock},
    outbox::{Delivery, DeliveryHandle, Pauses, Turn},
};

/// What differs from a service without hooks, whose locks are those of this process.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServiceSettings {
    /// Hooks, and where they are called. Default none.
    pub hooks: Option<HookCalls>,
    /// What grants locks. Default none: the locks of this process.
    pub locks: Option<Arc<dyn LockService>>,
    /// Where is counted. Default nowhere.
    pub counters: Counters,
}

/// A store with its locks, hooks and counters, and the requests under way.
pub struct Service<S: Store> {
    config: Arc<Config>,
    store: S,
    executor: Arc<dyn Executor>,
    requests: Arc<Requests<S>>,
    hooks: Option<HookCalls>,
    attributions: Arc<Attributions>,
    counters: Counters,
    closing: AtomicBool,
    delivery: DeliveryHandle,
    /// Whether a delivery was made, and is not over.
    delivering: AtomicBool,
    delivered: Mutex<Vec<Waker>>,
}

impl<S: Store> Service<S> {
    /// Opens the store on this executor. Expired uploads are looked for every `cleanup_interval`.
    pub fn new(
        store: impl OpenStore<Store = S>,
        executor: Arc<dyn Executor>,
        mut config: Config,
        settings: ServiceSettings,
        cleanup_interval: Duration,
    ) -> Self {
        let ServiceSettings { hooks, locks, counters } = settings;
        config.set_hooks(subscriptions(hooks.as_ref()));
        let store = store.open(StoreRuntime::new(executor.clone(), cleanup_interval, counters.clone()));
        let delivery = DeliveryHandle::default();
        if let Some(hooks) = &hooks {
            let news = delivery.clone();
            store.keep_events(hooks.runner().events(), Box::new(move || news.wake()));
        }
        let requests = Arc::new(Requests::new(executor.clone(), store.first_fence(), locks));
        Self {
            config: Arc::new(config),
            store,
            executor,
            requests,
            hooks,
            attributions: Arc::default(),
            counters,
            closing: AtomicBool::new(false),
            delivery,
            delivering: AtomicBool::new(false),
            delivered: Mutex::default(),
        }
    }

    /// The rules of the protocol.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The requests under way.
    pub fn requests(&self) -> &Arc<Requests<S>> {
        &self.requests
    }

    /// The hooks. `None` if there are none.
    pub fn hooks(&self) -> Option<&HookCalls> {
        self.hooks.as_ref()
    }

    /// Of which request an event is.
    pub fn attributions(&self) -> &Attributions {
        &self.attributions
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes a request up, which comes from `remote` if that is known.
    ///
    /// # Errors
    /// The response, if the service ends, or the system has no random bytes.
    pub fn begin(
        self: &Arc<Self>,
        head: &Head<'_>,
        remote: Option<SocketAddr>,
    ) -> Result<RequestDriver<S>, Response> {
        self.counters.request(Some(head.method));
        // A shutdown waits for it from here on.
        let handle = self.requests.begin();
        let origin = head.values("Origin").next();
        if self.closing.load(Ordering::Acquire) {
            // Some clients start anew on a 5xx of HEAD.
            let code =
                if head.method == "HEAD" { ErrorCode::UploadLocked } else { ErrorCode::ServerShutdown };
            return Err(self.refusal(code, origin));
        }
        let mut entropy = [0; 10];
        if !self.executor.random(&mut entropy) {
            tracing::error!("the system gives no random bytes");
            return Err(self.refusal(ErrorCode::InternalServerError, origin));
        }
        let now = self.executor.now();
        let mut session = Session::new(self.config.clone(), head, entropy, now);
        let hooks = self.config.hooks();
        if hooks.requests || hooks.finish {
            session.set_witness(self.attributions.witness(remote, hooks.finish));
        }
        Ok(RequestDriver::new(self.clone(), session, handle, remote, now.monotonic))
    }

    /// The response where a request begins no session, or has come to no end of its own.
    pub fn refusal(&self, code: ErrorCode, origin: Option<&[u8]>) -> Response {
        let refusal = self.config.refusal(code, origin, self.executor.now().date);
        self.counters.answered(refusal.status(), refusal.code());
        refusal
    }

    /// What delivers events, at most `limit` at once; `None` if no hook is told of any. Poll it with
    /// [`poll_delivery`](Self::poll_delivery) until it is over.
    pub fn delivery(self: &Arc<Self>, limit: usize, pauses: Pauses) -> Option<Delivery> {
        let hooks = self.hooks.clone().filter(|hooks| hooks.runner().delivers())?;
        // Weak: a hook that never returns would keep the store open.
        let this = Arc::downgrade(self);
        let files = move |id: &_| this.upgrade().ok_or(Failure::Unavailable)?.store.files(id);
        self.delivering.store(true, Ordering::Release);
        let hooks = (hooks, self.attributions.clone());
        let bounds = (limit, pauses);
        Some(Delivery::new(&self.delivery, hooks, self.counters.clone(), Arc::new(files), bounds))
    }

    /// Lets events be delivered. When the delivery is over, a shutdown goes on.
    pub fn poll_delivery(&self, delivery: &mut Delivery, waker: &Waker) -> Turn {
        let turn = delivery.turn(self.executor.now(), &self.store, waker);
        if turn == Turn::Done {
            let mut waiting = lock(&self.delivered);
            self.delivering.store(false, Ordering::Release);
            waiting.drain(..).for_each(Waker::wake);
        }
        turn
    }

    /// Rejects new requests, lets those under way end by themselves for `grace` and then ends them, does the same with
    /// deliveries, and closes the store: what was acknowledged is durable then.
    ///
    /// # Errors
    /// The store's.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), Failure> {
        self.closing.store(true, Ordering::Release);
        let over = WakeQueue::default();
        let alarm = over.clone();
        let end = || self.executor.now().monotonic.after(grace);
        self.executor.at(end(), Box::new(move || alarm.push(())));
        let mut ended = pin!(poll_fn(|cx| self.requests.poll_empty(cx)));
        poll_fn(|cx| {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if over.pop(cx.waker()).is_some() {
                self.requests.cancel(Cancel::Shutdown);
            }
            Poll::Pending
        })
        .await;
        self.delivery.stop(end());
        poll_fn(|cx| {
            let mut waiting = lock(&self.delivered);
            if !self.delivering.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        let closed = WakeQueue::default();
        let tell = closed.clone();
        self.store.close(Ticket::new(move |result| tell.push(result)));
        poll_fn(|cx| closed.pop(cx.waker()).map_or(Poll::Pending, Poll::Ready)).await
    }
}

impl<S: Store> fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("config", &self.config)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}
