//! A server as a whole: how it is built, bound and ended.

mod assemble;
mod endpoints;
pub(crate) mod error;
mod limits;
pub(crate) mod settings;

use std::{fmt, sync::Arc};

use tus_driver::{Executor, Store, Task};
use tus_redb::RedbStore;

pub use error::ServeError;
pub use settings::Settings;

use self::{assemble::Parts, endpoints::admin_socket};
use crate::{
    admin::{Closed, Running},
    listen::{Address, Inherited},
    runtime::{Metrics, Spawner, StoreObserver},
    tls::TlsError,
};

/// A server that listens and does not serve yet.
///
/// ```no_run
/// use tus_mio_server::{Server, Settings};
///
/// let server = Server::bind(Settings::default())?;
/// let handle = server.handle(); // for another thread, to end it
/// println!("{:?}", server.addresses());
/// server.run()?;
/// # drop(handle);
/// # Ok::<(), tus_mio_server::ServeError>(())
/// ```
pub struct Server {
    addresses: Vec<Address>,
    admin_addresses: Vec<Address>,
    handle: Handle,
    /// Serves until the server has drained. Boxed: which store it has is nobody's business from here on.
    serve: Box<dyn FnOnce() -> Result<(), ServeError> + Send>,
}

/// Ends a server from another thread.
#[derive(Clone, Debug)]
pub struct Handle {
    control: Arc<dyn Control>,
}

/// What can be asked of a server that runs, whatever its store is.
trait Control: fmt::Debug + Send + Sync {
    /// See [`Handle::shutdown`].
    fn shutdown(&self);

    /// See [`Handle::reload_tls`].
    fn reload_tls(&self) -> Result<(), TlsError>;
}

impl Server {
    /// Begins to build a server that is to be like this.
    ///
    /// ```
    /// use std::convert::Infallible;
    ///
    /// use tus_driver::MemoryStore;
    /// use tus_mio_server::{Server, Settings};
    ///
    /// let listen = vec!["127.0.0.1:0".parse()?];
    /// let settings = Settings { listen, ..Settings::default() };
    /// let server = Server::builder(settings).store(|_| Ok::<_, Infallible>(MemoryStore::default())).bind()?;
    /// # drop(server);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(settings: Settings) -> ServerBuilder {
        ServerBuilder {
            settings,
            inherited: Inherited::default(),
            spawner: None,
            assemble: Box::new(with_redb),
        }
    }

    /// Listens, and opens the store in [`Settings::data_dir`]. If either can't be done, nothing was changed.
    ///
    /// # Errors
    /// The environment's: an address in use, a directory that can't be written or is in use. The caller's, if
    /// [`Settings::check`] finds something.
    pub fn bind(settings: Settings) -> Result<Self, ServeError> {
        Self::builder(settings).bind()
    }

    /// The addresses it listens on, ports resolved: inherited ones, then those of the settings, in their order.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The addresses of [`Settings::admin_listen`], ports resolved.
    pub fn admin_addresses(&self) -> &[Address] {
        &self.admin_addresses
    }

    /// What ends this server.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until the server has drained. What was acknowledged is durable then, in either durability.
    ///
    /// # Errors
    /// The system's, if it gives no threads or no events. Connections are cut off then.
    pub fn run(self) -> Result<(), ServeError> {
        (self.serve)()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Builds a [`Server`]: see [`Server::builder`].
#[must_use = "a builder does nothing until it is bound"]
pub struct ServerBuilder {
    settings: Settings,
    inherited: Inherited,
    spawner: Option<Spawner>,
    assemble: Box<dyn FnOnce(Parts) -> Result<Server, ServeError> + Send>,
}

impl ServerBuilder {
    /// Keeps uploads in this store, in place of one in [`Settings::data_dir`]; what the settings say about that one is
    /// unused then. `open` gets the executor whose threads, timers and clock are the store's.
    pub fn store<S, E>(
        mut self,
        open: impl FnOnce(Arc<dyn Executor>) -> Result<S, E> + Send + 'static,
    ) -> Self
    where
        S: Store,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.assemble = Box::new(|parts| {
            if parts.publisher.is_some() {
                let error = "uploads can be published from a store of the server's own kind alone";
                return Err(ServeError::OwnStore(error.into()));
            }
            if parts.settings.store_digest || parts.settings.host.finished_expiry.is_some() {
                let error =
                    "a store of the server's own kind alone keeps digests and lets finished uploads expire";
                return Err(ServeError::OwnStore(error.into()));
            }
            let open = |executor, _| open(executor).map_err(|error| ServeError::OwnStore(error.into()));
            parts.assemble(None, open, |_, _| Arc::new(Closed))
        });
        self
    }

    /// Runs the tasks of a store that awaits: [`Executor::spawn`] hands them to `spawn`, which must run each to its
    /// end on threads of its own. Without it such a store can't be opened.
    pub fn tasks(mut self, spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        self.spawner = Some(Arc::new(spawn));
        self
    }

    /// Listens on sockets that the process was started with as well.
    pub fn inherited(mut self, inherited: Inherited) -> Self {
        self.inherited = inherited;
        self
    }

    /// Listens, and opens the store. If either can't be done, nothing was changed.
    ///
    /// # Errors
    /// As [`Server::bind`]; and the store's own.
    pub fn bind(self) -> Result<Server, ServeError> {
        (self.assemble)(Parts::prepare(self.settings, self.inherited, self.spawner)?)
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The server with the store that it has if it is given no other.
fn with_redb(mut parts: Parts) -> Result<Server, ServeError> {
    let engine = parts.open_redb()?;
    parts.endpoints.extend(admin_socket(&parts.settings));
    let interval = parts.settings.cleanup_interval;
    let time = engine.time();
    let publisher = parts.publisher.clone();
    let open = move |executor, metrics: Arc<Metrics>| {
        let observer = Box::new(StoreObserver(metrics.clone()));
        let store = RedbStore::start(engine, executor, observer, interval);
        metrics.host.ask(&store, publisher.is_some());
        if let Some(publisher) = publisher {
            publisher.set_origin(Arc::new(store.clone()));
            publisher.count_in(metrics.host.publishing());
        }
        Ok(store)
    };
    parts.assemble(time, open, |shared, deletions| Arc::new(Running { shared, deletions }))
}

impl Handle {
    /// Asks the server to end. The first time it drains: no new connections, what is under way is answered,
    /// bodies are cut off after the shutdown's time with what arrived committed. The second time it ends at
    /// once.
    pub fn shutdown(&self) {
        self.control.shutdown();
    }

    /// Reads the files for TLS again; new connections get what is in them now. Does nothing for a server without.
    ///
    /// # Errors
    /// The files can't be used: new connections get what they got before.
    pub fn reload_tls(&self) -> Result<(), TlsError> {
        self.control.reload_tls()
    }
}
