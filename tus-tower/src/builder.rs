//! From a store and what differs from the defaults to a service.

use std::{fmt, sync::Arc};

use http::uri::Scheme;
use tus_driver::{
    Limits, LockService, OpenStore, Service, ServiceSettings,
    hooks::{AsyncHooks, HookCalls, HookRunner, HookSet, Hooks},
};
use tus_proto::Config;

use crate::{
    core::{Core, deliver},
    executor::{BuildError, Pool, TokioExecutor},
    hooks::{BlockingThreads, tasks},
    service::Tus,
};

/// Collects what differs from the defaults; [`build`](Self::build) makes the service.
#[must_use = "nothing is served until the service is built and mounted"]
pub struct Builder<O> {
    store: O,
    config: Config,
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
        let (config, settings) = Default::default();
        Builder { store, config, scheme: None, hooks: None, executor: None, settings }
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
        change(&mut self.settings.limits);
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
        let Self { store, config, scheme, hooks, executor, mut settings } = self;
        let limits = &settings.limits;
        let own = || TokioExecutor::start(limits.threads, store.time());
        let pool = executor.map_or_else(own, Ok)?.0;
        settings.hooks = hooks.and_then(|make| make(&pool, limits)).map(|runner| {
            let threads = BlockingThreads::new(pool.clone(), limits.hook_threads);
            HookCalls::new(runner, Arc::new(threads), limits.hook_timeout)
        });
        let service = Arc::new(Service::new(store, pool.clone(), config, settings));
        if let Some(delivery) = service.delivery() {
            pool.runtime().spawn(deliver(Arc::downgrade(&service), pool.clone(), delivery));
        }
        Ok(Tus::new(Arc::new(Core { service, pool, scheme })))
    }
}

impl<O> fmt::Debug for Builder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("limits", &self.settings.limits)
            .finish_non_exhaustive()
    }
}
