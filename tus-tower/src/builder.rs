//! From a store and what differs from the defaults to a service.

use std::{fmt, sync::Arc, time::Duration};

use http::uri::Scheme;
use tus_driver::{
    LockService, OpenStore, Service, ServiceSettings,
    hooks::{AsyncHooks, HookCalls, HookRunner, HookSet, Hooks},
    outbox::Pauses,
};
use tus_proto::Config;

use crate::{
    Tus,
    core::{Core, deliver},
    executor::{Pool, TokioExecutor},
    hooks::{BlockingThreads, tasks},
};

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
    limits: Limits,
    scheme: Option<Scheme>,
    hooks: Option<MakeRunner>,
    executor: Option<TokioExecutor>,
    settings: ServiceSettings,
}

/// Makes a runner of hooks, once there is a runtime.
type MakeRunner = Box<dyn FnOnce(&Pool, &Limits) -> Option<Arc<dyn HookRunner>> + Send>;

impl Tus {
    /// Starts from the defaults: `store` is a [`tus_redb::Store`](https://docs.rs/tus-redb), a
    /// [`MemoryStore`](tus_driver::MemoryStore), or a function that opens another on the
    /// [`Executor`](tus_driver::Executor) that it is given.
    pub fn builder<O: OpenStore>(store: O) -> Builder<O> {
        let (config, limits, settings) = Default::default();
        Builder { store, config, limits, scheme: None, hooks: None, executor: None, settings }
    }
}

impl<O: OpenStore> Builder<O> {
    /// The rules of the protocol. Their base path is where the service is mounted: `/files` by default.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What grants locks, if other processes write to the same uploads.
    pub fn locks(mut self, locks: Arc<dyn LockService>) -> Self {
        self.settings.locks = Some(locks);
        self
    }

    /// Functions that decide, or are told. They may block: they are called on blocking threads, at most
    /// [`Limits::hook_threads`] at a time.
    ///
    /// A hook that never returns keeps its thread, also beyond a shutdown of the runtime: end that with
    /// `shutdown_timeout`.
    pub fn hooks(self, hooks: Hooks) -> Self {
        self.make_runner(|_, _| Some(Arc::new(HookSet::new(hooks)?)))
    }

    /// Hooks that await.
    pub fn async_hooks(self, hooks: impl AsyncHooks) -> Self {
        self.make_runner(|pool, limits| Some(Arc::new(tasks(hooks, pool, limits))))
    }

    /// Hooks that are neither: see [`HookRunner`].
    pub fn hook_runner(self, runner: Arc<dyn HookRunner>) -> Self {
        self.make_runner(|_, _| Some(runner))
    }

    fn make_runner(
        mut self,
        make: impl FnOnce(&Pool, &Limits) -> Option<Arc<dyn HookRunner>> + Send + 'static,
    ) -> Self {
        self.hooks = Some(Box::new(make));
        self
    }

    /// Counts in this registry, by the names that `tus-mio-server` has.
    #[cfg(feature = "metrics")]
    pub fn metrics(
        mut self,
        registry: &mut tus_driver::metrics::prometheus_client::registry::Registry,
    ) -> Self {
        self.settings.counters = tus_driver::Counters::new(registry);
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
        let Self { store, config, limits, scheme, hooks, executor, mut settings } = self;
        let own = || TokioExecutor::start(limits.threads, store.time());
        let pool = executor.map_or_else(own, Ok)?.0;
        settings.hooks = hooks.and_then(|make| make(&pool, &limits)).map(|runner| {
            let threads = BlockingThreads::new(pool.clone(), limits.hook_threads);
            HookCalls::new(runner, Arc::new(threads), limits.hook_timeout)
        });
        let service = Service::new(store, pool.clone(), config, settings, limits.cleanup_interval);
        let service = Arc::new(service);
        let first = limits.hook_pause.max(Duration::from_millis(1));
        let pauses = Pauses { first, longest: limits.hook_longest_pause.max(first) };
        if let Some(delivery) = service.delivery(limits.hook_threads, pauses) {
            pool.runtime().spawn(deliver(Arc::downgrade(&service), pool.clone(), delivery));
        }
        Ok(Tus::new(Arc::new(Core { service, pool, limits, scheme })))
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
