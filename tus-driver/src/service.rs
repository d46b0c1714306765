//! What the requests of one service share, and one of its requests: for runtimes whose requests are tasks or threads. A
//! runtime with event loops has its own.

mod request;
mod shared;
mod task;

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
};

use tus_proto::{Cancel, Config, ErrorCode, Failure, Head, Response};

use self::shared::Shared;
pub use self::{
    request::{RequestDriver, Step},
    task::{RequestTask, TaskTurn},
};
use crate::{
    BodyReader, Counters, Executor, Limits, LockService, OpenStore, Requests, Session, Store, StoreRuntime,
    Ticket,
    hooks::{Attributions, HookCalls, subscriptions},
    mailbox::{WakeQueue, lock},
    outbox::{Delivery, DeliveryHandle, Turn},
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
    /// What requests may cost.
    pub limits: Limits,
}

/// A store with its locks, hooks and counters, and the requests under way.
pub struct Service<S: Store> {
    shared: Arc<Shared<S>>,
    closing: AtomicBool,
    delivery: DeliveryHandle,
    /// Whether a delivery was made, and is not over.
    delivering: AtomicBool,
    delivered: Mutex<Vec<Waker>>,
}

impl<S: Store> Service<S> {
    /// Opens the store on this executor.
    pub fn new(
        store: impl OpenStore<Store = S>,
        executor: Arc<dyn Executor>,
        mut config: Config,
        settings: ServiceSettings,
    ) -> Self {
        let ServiceSettings { hooks, locks, counters, limits } = settings;
        config.set_hooks(subscriptions(hooks.as_ref()));
        let runtime = StoreRuntime::new(executor.clone(), limits.cleanup_interval, counters.clone());
        let store = store.open(runtime);
        let delivery = DeliveryHandle::default();
        if let Some(hooks) = &hooks {
            let news = delivery.clone();
            store.keep_events(hooks.runner().events(), Box::new(move || news.wake()));
        }
        let requests = Arc::new(Requests::new(executor.clone(), store.first_fence(), locks));
        let config = Arc::new(config);
        let attributions = Arc::default();
        let shared = Shared { config, store, executor, requests, hooks, attributions, counters, limits };
        Self {
            shared: Arc::new(shared),
            closing: AtomicBool::new(false),
            delivery,
            delivering: AtomicBool::new(false),
            delivered: Mutex::default(),
        }
    }

    /// The rules of the protocol.
    pub fn config(&self) -> &Arc<Config> {
        &self.shared.config
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// The requests under way.
    pub fn requests(&self) -> &Arc<Requests<S>> {
        &self.shared.requests
    }

    /// The hooks. `None` if there are none.
    pub fn hooks(&self) -> Option<&HookCalls> {
        self.shared.hooks.as_ref()
    }

    /// Of which request an event is.
    pub fn attributions(&self) -> &Attributions {
        &self.shared.attributions
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Takes a request up, which comes from `remote` if that is known.
    ///
    /// # Errors
    /// The response, if the service ends, or the system has no random bytes.
    pub fn begin(&self, head: &Head<'_>, remote: Option<SocketAddr>) -> Result<RequestDriver<S>, Response> {
        let Shared { config, executor, requests, attributions, counters, .. } = &*self.shared;
        counters.request(Some(head.method));
        // A shutdown waits for it from here on.
        let handle = requests.begin();
        let origin = head.values("Origin").next();
        if self.closing.load(Ordering::Acquire) {
            // Some clients start anew on a 5xx of HEAD.
            let code =
                if head.method == "HEAD" { ErrorCode::UploadLocked } else { ErrorCode::ServerShutdown };
            return Err(self.refusal(code, origin));
        }
        let mut entropy = [0; 10];
        if !executor.random(&mut entropy) {
            tracing::error!("the system gives no random bytes");
            return Err(self.refusal(ErrorCode::InternalServerError, origin));
        }
        let now = executor.now();
        let mut session = Session::new(config.clone(), head, entropy, now);
        let hooks = config.hooks();
        if hooks.requests || hooks.finish {
            session.set_witness(attributions.witness(remote, hooks.finish));
        }
        Ok(RequestDriver::new(self.shared.clone(), session, handle, remote, now.monotonic))
    }

    /// As [`begin`](Self::begin), together with the request's body.
    ///
    /// # Errors
    /// As there.
    pub fn begin_task<B: BodyReader>(
        &self,
        head: &Head<'_>,
        remote: Option<SocketAddr>,
        body: B,
    ) -> Result<RequestTask<S, B>, Response> {
        Ok(RequestTask::new(self.begin(head, remote)?, head, body))
    }

    /// The response where a request begins no session, or has come to no end of its own.
    pub fn refusal(&self, code: ErrorCode, origin: Option<&[u8]>) -> Response {
        let Shared { config, executor, counters, .. } = &*self.shared;
        let refusal = config.refusal(code, origin, executor.now().date);
        counters.answered(refusal.status(), refusal.code());
        refusal
    }

    /// What delivers events; `None` if no hook is told of any. Poll it with [`poll_delivery`](Self::poll_delivery) until
    /// it is over.
    pub fn delivery(&self) -> Option<Delivery> {
        let Shared { hooks, attributions, counters, limits, .. } = &*self.shared;
        let hooks = hooks.clone().filter(|hooks| hooks.runner().delivers())?;
        // Weak: a hook that never returns would keep the store open.
        let shared = Arc::downgrade(&self.shared);
        let files = move |id: &_| shared.upgrade().ok_or(Failure::Unavailable)?.store.files(id);
        self.delivering.store(true, Ordering::Release);
        let (hooks, bounds) = ((hooks, attributions.clone()), (limits.hook_threads, limits.pauses()));
        Some(Delivery::new(&self.delivery, hooks, counters.clone(), Arc::new(files), bounds))
    }

    /// Lets events be delivered. When the delivery is over, a shutdown goes on.
    pub fn poll_delivery(&self, delivery: &mut Delivery, waker: &Waker) -> Turn {
        let turn = delivery.turn(self.shared.executor.now(), &self.shared.store, waker);
        if turn == Turn::Done {
            let mut waiting = lock(&self.delivered);
            self.delivering.store(false, Ordering::Release);
            waiting.drain(..).for_each(Waker::wake);
        }
        turn
    }

    /// Rejects new requests, lets those under way end by themselves for [`Limits::shutdown_timeout`] and then ends them,
    /// does the same with deliveries, and closes the store: what was acknowledged is durable then.
    ///
    /// # Errors
    /// The store's.
    pub async fn shutdown(&self) -> Result<(), Failure> {
        let Shared { store, executor, requests, limits, .. } = &*self.shared;
        self.closing.store(true, Ordering::Release);
        let over = WakeQueue::default();
        let alarm = over.clone();
        let end = || executor.now().monotonic.after(limits.shutdown_timeout);
        executor.at(end(), Box::new(move || alarm.push(())));
        let mut ended = pin!(poll_fn(|cx| requests.poll_empty(cx)));
        poll_fn(|cx| {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if over.pop(cx.waker()).is_some() {
                requests.cancel(Cancel::Shutdown);
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
        store.close(Ticket::new(move |result| tell.push(result)));
        poll_fn(|cx| closed.pop(cx.waker()).map_or(Poll::Pending, Poll::Ready)).await
    }
}

impl<S: Store> fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("config", &self.shared.config)
            .field("requests", &self.shared.requests)
            .finish_non_exhaustive()
    }
}
