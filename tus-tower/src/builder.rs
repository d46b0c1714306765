//! From a store and what differs from the defaults to a service.

use std::{
    fmt,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use http::uri::Scheme;
use tokio::{runtime::Handle, sync::mpsc::unbounded_channel};
use tus_driver::{
    Executor, LockService, MemoryStore, Requests, Store,
    hooks::{AsyncHooks, HookRunner, HookSet, Hooks},
    outbox::Pauses,
};
use tus_proto::{Config, Subscriptions, WallTime};

use crate::{
    Tus,
    core::Core,
    counters::Counters,
    executor::{TokioExecutor, lock},
    hooks::{HookCalls, Tasks},
    outbox::{News, Outbox, post},
};

/// What a service's store is made of, once there is a runtime whose threads do its work.
///
/// Any function that makes a [`Store`] of an [`Executor`] is one.
pub trait OpenStore {
    /// The store.
    type Store: Store;

    /// Opens it.
    fn open(self, runtime: StoreRuntime) -> Self::Store;

    /// How far the lives of uploads had come when the store was open last. `None` if it does not know.
    fn time(&self) -> Option<WallTime> {
        None
    }
}

/// What a service's store gets.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreRuntime {
    /// Where its work is to be done.
    pub executor: Arc<dyn Executor>,
    /// How often it is to look for expired uploads.
    pub cleanup_interval: Duration,
    counters: Counters,
}

impl fmt::Debug for StoreRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRuntime")
            .field("cleanup_interval", &self.cleanup_interval)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl<S: Store, F: FnOnce(Arc<dyn Executor>) -> S> OpenStore for F {
    type Store = S;

    fn open(self, runtime: StoreRuntime) -> S {
        self(runtime.executor)
    }
}

impl OpenStore for MemoryStore {
    type Store = Self;

    fn open(self, _: StoreRuntime) -> Self {
        self
    }
}

#[cfg(feature = "redb")]
impl OpenStore for tus_redb::Store {
    type Store = tus_redb::RedbStore;

    fn open(self, runtime: StoreRuntime) -> Self::Store {
        let StoreRuntime { executor, cleanup_interval, counters } = runtime;
        tus_redb::RedbStore::start(self, executor, Box::new(Watch(counters)), cleanup_interval)
    }

    fn time(&self) -> Option<WallTime> {
        Self::time(self)
    }
}

/// Counts and logs what the store does.
#[cfg(feature = "redb")]
struct Watch(Counters);

#[cfg(feature = "redb")]
impl tus_redb::Observer for Watch {
    fn committed(&self, changes: usize, took: Duration) {
        self.0.committed(changes, took);
    }

    fn finals_finished(&self, count: u64) {
        self.0.finished(count);
    }

    fn swept(&self, expired: usize) {
        self.0.swept(expired);
    }

    fn error(&self, text: &str) {
        tracing::error!("the store: {text}");
    }
}

/// What requests may cost, in time and in bytes. Made from the defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How long no byte of a body may come while it is waited for; zero for ever. Default 30 s.
    pub request_timeout: Duration,
    /// How many bytes of a body buy one more second, up to `request_timeout`; with 0 any byte buys all of it. Default
    /// 500.
    pub body_min_rate: u64,
    /// How many bytes of an unwanted body are read so that its connection can be kept. Default 256 KiB.
    pub drain_bytes: u64,
    /// How many are read after a response that ends the connection, so that the client can read the response. Default
    /// 16 MiB.
    pub linger_bytes: u64,
    /// How long such bodies are read. Default 10 s.
    pub linger_timeout: Duration,
    /// How long a request waits for a hook before it is answered 500. Default 30 s.
    pub hook_timeout: Duration,
    /// How many hooks that block may run at once while requests wait for them, and as many of those that are told after
    /// the fact, and of tasks that are. Default 4.
    pub hook_threads: usize,
    /// How long after its first failure a hook is told an event again; it doubles with each further one. Default 1 s.
    pub hook_pause: Duration,
    /// The longest such pause. Default 5 min.
    pub hook_longest_pause: Duration,
    /// How long requests may go on after a shutdown was asked for. Default 10 s.
    pub shutdown_timeout: Duration,
    /// How often expired uploads are looked for. Default 60 s.
    pub cleanup_interval: Duration,
    /// How many of the runtime's blocking threads may work at once for requests; one more commits, and one keeps house.
    /// Default 4.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            body_min_rate: 500,
            drain_bytes: 256 << 10,
            linger_bytes: 16 << 20,
            linger_timeout: Duration::from_secs(10),
            hook_timeout: Duration::from_secs(30),
            hook_threads: 4,
            hook_pause: Duration::from_secs(1),
            hook_longest_pause: Duration::from_secs(300),
            shutdown_timeout: Duration::from_secs(10),
            cleanup_interval: Duration::from_secs(60),
            threads: 4,
        }
    }
}

/// Collects what differs from the defaults; [`build`](Self::build) makes the service.
#[must_use = "nothing is served until the service is built and mounted"]
pub struct Builder<O> {
    store: O,
    config: Config,
    locks: Option<Arc<dyn LockService>>,
    limits: Limits,
    scheme: Option<Scheme>,
    hooks: Option<MakeRunner>,
    counters: Counters,
    executor: Option<TokioExecutor>,
}

/// Makes a runner of hooks, once there is a runtime.
type MakeRunner = Box<dyn FnOnce(&Handle, &Limits) -> Option<Arc<dyn HookRunner>> + Send>;

impl Tus {
    /// Starts from the defaults: `store` is a [`tus_redb::Store`](https://docs.rs/tus-redb), a [`MemoryStore`], or a
    /// function that opens another on the [`Executor`] that it is given.
    pub fn builder<O: OpenStore>(store: O) -> Builder<O> {
        let (config, limits) = (Config::default(), Limits::default());
        let counters = Counters::default();
        Builder { store, config, locks: None, limits, scheme: None, hooks: None, counters, executor: None }
    }
}

impl<O: OpenStore> Builder<O> {
    /// The rules of the protocol. Their base path is where the service is mounted: `/files` by default.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Who grants locks, if not this process alone writes to the uploads.
    pub fn locks(mut self, locks: Arc<dyn LockService>) -> Self {
        self.locks = Some(locks);
        self
    }

    /// Functions that decide, or are told. They may block: they are called on blocking threads, at most
    /// [`Limits::hook_threads`] at a time.
    ///
    /// A hook that never returns keeps its thread, also beyond a shutdown of the runtime: end that with
    /// `shutdown_timeout`.
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = Some(Box::new(|_, _| Some(Arc::new(HookSet::new(hooks)?))));
        self
    }

    /// Hooks that await.
    pub fn async_hooks(mut self, hooks: impl AsyncHooks) -> Self {
        let hooks = Arc::new(hooks);
        self.hooks = Some(Box::new(move |runtime, limits| {
            let (runtime, timeout) = (runtime.clone(), limits.hook_timeout);
            Some(Arc::new(Tasks { hooks, runtime, timeout }))
        }));
        self
    }

    /// Hooks that are neither: see [`HookRunner`].
    pub fn hook_runner(mut self, runner: Arc<dyn HookRunner>) -> Self {
        self.hooks = Some(Box::new(|_, _| Some(runner)));
        self
    }

    /// Counts in this registry, by the names that `tus-mio-server` has.
    #[cfg(feature = "metrics")]
    pub fn metrics(
        mut self,
        registry: &mut tus_driver::metrics::prometheus_client::registry::Registry,
    ) -> Self {
        self.counters = Counters(Some(Arc::new(tus_driver::metrics::RequestMetrics::new(registry))));
        self
    }

    /// Changes what requests may cost.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// The executor of a store that is open already: its work, and the service's, is done there from now on. What the
    /// builder was given is then a function that returns that store.
    pub fn executor(mut self, executor: TokioExecutor) -> Self {
        self.executor = Some(executor);
        self
    }

    /// How clients reach the application's own sockets. New uploads' addresses are then whole URLs, which many clients
    /// need; else they are paths. What proxies and browsers get follows
    /// [`Config`](tus_proto::ConfigBuilder::locations) as always.
    ///
    /// Where it differs from one connection to another, give each request a `Scheme` among its extensions.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = Some(scheme);
        self
    }

    /// Opens the store, and starts its work on the tokio runtime in which this is called.
    ///
    /// # Errors
    /// There is no runtime here.
    pub fn build(self) -> Result<Tus, BuildError> {
        let Self { store, mut config, locks, limits, scheme, hooks, counters, executor } = self;
        let own = || TokioExecutor::start(limits.threads, store.time());
        let pool = executor.map_or_else(own, Ok)?.0;
        let runtime = pool.runtime().clone();
        let runner = hooks.and_then(|make| make(&runtime, &limits));
        // Events are told without the requests that made them: none is kept for that.
        let before = runner.as_ref().map(|runner| runner.subscriptions()).unwrap_or_default();
        config.set_hooks(Subscriptions { requests: false, ..before });
        let hooks = runner
            .map(|runner| HookCalls::new(runner, runtime.clone(), limits.hook_timeout, limits.hook_threads));
        let cleanup_interval = limits.cleanup_interval;
        let executor = pool.clone();
        let store = store.open(StoreRuntime { executor, cleanup_interval, counters: counters.clone() });
        let told = hooks.clone().filter(|hooks| hooks.runner.delivers());
        let (news, heard) = told.as_ref().map(|_| unbounded_channel()).unzip();
        let requests = Arc::new(Requests::new(pool.clone(), store.first_fence(), locks));
        let core = Arc::new(Core {
            config: Arc::new(config),
            store,
            requests,
            pool,
            limits,
            counters,
            scheme,
            closing: AtomicBool::new(false),
            hooks,
            news,
            delivering: Mutex::default(),
        });
        if let Some((hooks, news)) = told.zip(heard) {
            let to = core.news.clone();
            core.store.keep_events(hooks.runner.events(), Box::new(move || post(&to, News::Committed)));
            let Limits { hook_threads: threads, hook_pause, hook_longest_pause, .. } = core.limits;
            let first = hook_pause.max(Duration::from_millis(1));
            let pauses = Pauses { first, longest: hook_longest_pause.max(first) };
            let outbox = Outbox { core: Arc::downgrade(&core), hooks, news };
            *lock(&core.delivering) = Some(runtime.spawn(outbox.run(threads, pauses)));
        }
        Ok(Tus::new(core))
    }
}

impl<O> fmt::Debug for Builder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A service can't be built: there is no tokio runtime here.
#[derive(Clone, Debug)]
pub struct BuildError(pub(crate) ());

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the service's store needs a tokio runtime: call build() within one, as in `#[tokio::main] async fn main`",
        )
    }
}

impl std::error::Error for BuildError {}
