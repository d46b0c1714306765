//! A server as a whole: what it is made of, how it starts and how it ends.

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use mio::{Poll, Waker};
use tus_driver::{
    Clock, Inbox, LockService, Locks, Store as _, Ticket,
    hooks::{HookRunner, HookSet, Hooks},
    outbox::Pauses,
};
use tus_proto::Config;
use tus_redb::{Durability, OpenError, RedbStore, Store};

use crate::{
    admin::{AdminServer, Desk, Endpoint, Guard, Running, SOCKET, Token, TokenError, Waiters},
    http1,
    listen::{Address, Inherited, Listener},
    network::Network,
    page::Page,
    paths::SettingsError,
    runtime::{
        self, Admission, EventLoop, Heads, Hooked, Limits, Loops, Mailbox, Message, Metrics, Shared,
        StoreObserver, Threads, Workers,
    },
    tls::{Acceptor, TlsError, TlsFiles},
};

/// What a server is to be. Made from the defaults, with what differs changed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen. Default `127.0.0.1:8080`.
    pub listen: Vec<Address>,
    /// Where uploads are kept; made if it is not there. Default `./tus-data`.
    pub data_dir: PathBuf,
    /// What an acknowledgement survives. Default strict: a power cut.
    pub durability: Durability,
    /// Memory for records, in bytes: where there are many uploads, more of it spares reads. Default 4 MiB.
    pub record_cache: usize,
    /// Disk space set aside so that commits and deletes still work on a full disk, in bytes. Default 8 MiB; with 0
    /// they fail there.
    pub disk_reserve: u64,
    /// Up to how many bytes an upload is kept with the records, not in a file of its own, which takes ten times as
    /// long to make as all else about it. Where hooks are told of finished uploads, and so of their files, each has
    /// one. Default 16 KiB; with 0 each has one in any case.
    pub small_uploads: usize,
    /// The rules of the protocol.
    pub protocol: Config,
    /// What a connection may cost.
    pub http: http1::Settings,
    /// Threads that serve connections, 1 to 64. Default: one for every two cores, as workers and the committer need the
    /// others; with [`Self::tls`], which these threads encrypt themselves, one a core; in any case at most 4.
    pub threads: Option<usize>,
    /// Memory for buffers of bodies that must be decoded, in bytes, all event loops together: each has at least one
    /// buffer of 128 KiB. Default: 4 MiB an event loop.
    pub buffer_memory: Option<u64>,
    /// Memory for heads that are not complete, in bytes, all connections together: beyond it the oldest of those that
    /// hold more than 4 KiB is rejected with 431. Default 4 MiB.
    pub head_memory: u64,
    /// Threads that may block on the disk, 1 to 64. Default 4.
    pub workers: usize,
    /// What all TCP listeners speak TLS with; none for plain HTTP. UNIX sockets never do. Default none.
    pub tls: Option<TlsFiles>,
    /// The most connections at once, at least 1; fewer where the process may not open two files for each. Default
    /// 4096.
    pub max_connections: usize,
    /// The most connections from one address; 0 for no limit. Beyond it they are closed without a word. Default 0:
    /// behind a proxy, all come from one.
    pub max_connections_per_address: usize,
    /// Whose connections are not counted there: those of the proxies. UNIX sockets' never are. Default
    /// [`Network::LOOPBACK`].
    pub uncounted_addresses: Vec<Network>,
    /// How many bits of an IPv4 and of an IPv6 address tell one from another there. Default 32 and 64.
    pub address_prefixes: (u8, u8),
    /// How long requests may go on after a shutdown was asked for. Default 10 s.
    pub shutdown_timeout: Duration,
    /// How often expired uploads are looked for. Default 60 s. Where uploads expire, see
    /// [`ConfigBuilder::upload_expiry`](tus_proto::ConfigBuilder::upload_expiry).
    pub cleanup_interval: Duration,
    /// Who grants locks; none for this process alone, as long as no other writes to the same uploads. Default none.
    pub locks: Option<Arc<dyn LockService>>,
    /// How many unfinished finals may name one part. Default 4.
    pub max_waiting_finals: usize,
    /// Whether a finished concatenation is put into one file, behind all other work. Default yes.
    pub materialize: bool,
    /// Code of yours that is asked and told, see [`hooks`](crate::hooks). Default none.
    pub hooks: Hooks,
    /// How many hooks that come before the fact may run at once, 1 to 64, and as many of those that come after it.
    /// Default 4. No thread is started for what is not subscribed.
    pub hook_threads: usize,
    /// How long a request waits for a hook before it is answered 500. Default 30 s.
    pub hook_timeout: Duration,
    /// How long after its first failure a hook is told an event again; it doubles with each further
    /// one. At least 1 ms. Default 1 s.
    pub hook_pause: Duration,
    /// The longest such pause, at least that. Default 5 min.
    pub hook_longest_pause: Duration,
    /// Whether a page to upload from is at `/`. Default yes.
    pub demo: bool,
    /// Where metrics are to be read, in the text form of Prometheus; none for nowhere. Default `/metrics`. How
    /// the server is, is told at `/healthz` always.
    pub metrics_path: Option<String>,
    /// Where metrics, health and administration are to be had; none for metrics and health beside the uploads, and
    /// administration at the socket `admin.sock` in the data directory alone, where it is in any case. Default none.
    pub admin_listen: Vec<Address>,
    /// A file with a secret that administration there asks for, in its first line. Without one the addresses must be
    /// loopback ones or UNIX sockets. Default none.
    pub admin_token_file: Option<PathBuf>,
    /// Tells how many lines of the log were dropped so far, for the metrics. Default none: a program's log is its own.
    pub log_lines_dropped: Option<fn() -> u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080)).into()],
            data_dir: PathBuf::from("./tus-data"),
            durability: Durability::Strict,
            record_cache: 4 << 20,
            disk_reserve: 8 << 20,
            small_uploads: 16 << 10,
            protocol: Config::default(),
            http: http1::Settings::default(),
            threads: None,
            buffer_memory: None,
            head_memory: 4 << 20,
            workers: 4,
            tls: None,
            max_connections: 4096,
            max_connections_per_address: 0,
            uncounted_addresses: Network::LOOPBACK.into(),
            address_prefixes: (32, 64),
            shutdown_timeout: Duration::from_secs(10),
            cleanup_interval: Duration::from_secs(60),
            locks: None,
            materialize: true,
            max_waiting_finals: 4,
            hooks: Hooks::new(),
            hook_threads: 4,
            hook_timeout: Duration::from_secs(30),
            hook_pause: Duration::from_secs(1),
            hook_longest_pause: Duration::from_secs(300),
            demo: true,
            metrics_path: Some("/metrics".into()),
            admin_listen: Vec::new(),
            admin_token_file: None,
            log_lines_dropped: None,
        }
    }
}

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
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    loops: Vec<EventLoop>,
    workers: usize,
    addresses: Vec<Address>,
    admin_addresses: Vec<Address>,
    admin: AdminServer,
}

/// Ends a server from another thread.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Server {
    /// Listens, and opens the store. If either can't be done, nothing was changed.
    ///
    /// # Errors
    /// The environment's: an address in use, a directory that can't be written or is in use. The caller's, where
    /// [`Settings::check`] finds something.
    pub fn bind(settings: Settings) -> Result<Self, ServeError> {
        Self::bind_with(settings, Inherited::default())
    }

    /// The same, with listening sockets that the process was started with beside those of the settings.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_with(mut settings: Settings, inherited: Inherited) -> Result<Self, ServeError> {
        settings.check().map_err(ServeError::Settings)?;
        let tls = settings.tls.as_ref().map(Acceptor::load).transpose().map_err(ServeError::Tls)?;
        let mut listeners = inherited.into_listeners();
        for address in &settings.listen {
            let failed = |error| ServeError::Listen(address.clone(), error);
            listeners.push(Listener::bind(address, &settings.listen).map_err(failed)?);
        }
        let mut endpoints = admin_endpoints(&settings)?;
        let admin_addresses = endpoints.iter().map(|endpoint| endpoint.listener.address().clone()).collect();
        let addresses = listeners.iter().map(|listener| listener.address().clone()).collect();
        let hooks = HookSet::new(std::mem::take(&mut settings.hooks));
        let hooks = hooks.map(|hooks| Arc::new(hooks) as Arc<dyn HookRunner>);
        settings.protocol.set_hooks(hooks.as_ref().map(|hooks| hooks.subscriptions()).unwrap_or_default());
        let events = hooks.as_ref().map(|hooks| hooks.events()).unwrap_or_default();
        let (limits, max_unflushed_files) = limits(&settings);
        let options = tus_redb::Options {
            max_unflushed_files,
            durability: settings.durability,
            cache_bytes: settings.record_cache,
            reserve_bytes: settings.disk_reserve,
            max_waiting: settings.max_waiting_finals,
            materialize: settings.materialize,
            events,
            small_bytes: if events.completed { 0 } else { settings.small_uploads },
            check: false,
        };
        let store = Store::open(&settings.data_dir, &options).map_err(ServeError::Store)?;
        endpoints.extend(admin_socket(&settings));
        let workers = settings.workers.clamp(1, 64);
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        let loops = if settings.tls.is_some() { cores() } else { cores().div_ceil(2) };
        for _ in 0..settings.threads.unwrap_or(loops.min(4)).clamp(1, 64) {
            let poll = Poll::new().map_err(ServeError::System)?;
            let waker = Waker::new(poll.registry(), runtime::WAKER).map_err(ServeError::System)?;
            polls.push(poll);
            mailboxes.push(Mailbox::new(waker));
        }
        let mailboxes: Arc<[Mailbox]> = mailboxes.into();
        let clock = Clock::start(store.time());
        let hooks = hooks.map(|hooks| hooked(hooks, clock, &settings));
        let pool = Arc::new(Workers::new(workers, cores()));
        let threads = Arc::new(Threads::new(pool.clone(), clock));
        let metrics = Arc::new(Metrics::new().counting_log_drops(settings.log_lines_dropped));
        let observer = Box::new(StoreObserver(metrics.clone()));
        let store = RedbStore::start(store, threads.clone(), observer, settings.cleanup_interval);
        if let Some(deliverer) = hooks.as_ref().and_then(|hooks| hooks.deliverer.clone()) {
            store.keep_events(events, Box::new(move || deliverer.wake()));
        }
        let waiters: Arc<Waiters<RedbStore>> = Arc::default();
        let inbox: Arc<dyn Inbox> = Arc::new(Loops(mailboxes.clone(), waiters.clone()));
        let locks = Locks::new(store.first_fence(), settings.locks.map(|service| (service, inbox.clone())));
        let shared = Arc::new(Shared {
            clock,
            hooks,
            page: settings.demo.then(|| Page::new(settings.protocol.base_path())),
            metrics_path: settings.metrics_path,
            status_is_public: settings.admin_listen.is_empty(),
            notices: runtime::Notices::default(),
            metrics,
            protocol: Arc::new(settings.protocol),
            http: Arc::new(settings.http),
            locks,
            store,
            mailboxes,
            inbox: inbox.clone(),
            workers: pool,
            threads,
            buffers: runtime::buffers_of_each(settings.buffer_memory, polls.len()),
            admission: Admission::new(limits),
            heads: Heads::new(settings.head_memory),
            tls,
            shutdown_timeout: settings.shutdown_timeout,
            shutdowns: AtomicU8::new(0),
        });
        let mut loops: Vec<_> = polls
            .into_iter()
            .enumerate()
            .map(|(index, poll)| EventLoop::new(index, shared.clone(), poll))
            .collect();
        if let Some(first) = loops.first_mut() {
            for listener in listeners {
                first.listen(listener).map_err(ServeError::System)?;
            }
        }
        let running = Arc::new(Running { shared: shared.clone(), inbox, waiters });
        let desk = Desk { administration: running.clone(), status: running };
        let admin = AdminServer::new(endpoints, desk, clock).map_err(ServeError::System)?;
        Ok(Self { shared, loops, workers, addresses, admin_addresses, admin })
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
        Handle { shared: self.shared.clone() }
    }

    /// Serves until the server has drained. What was acknowledged is durable then, in either durability.
    ///
    /// # Errors
    /// The system's, if it gives no threads or no events. Connections are cut off then.
    pub fn run(mut self) -> Result<(), ServeError> {
        let shared = &self.shared;
        let first = self.loops.remove(0);
        let rest = std::mem::take(&mut self.loops);
        let closed = AtomicBool::new(false);
        let admin = self.admin;
        let admin_stopper = admin.stopper();
        thread::scope(|scope| {
            let mut serving = Vec::new();
            let mut helping = Vec::new();
            let mut telling = None;
            let mut administering = None;
            let closed = &closed;
            let started = (|| {
                for index in 0..self.workers {
                    let work = || shared.workers.run(&shared.mailboxes);
                    helping.push(named("worker", index).spawn_scoped(scope, work)?);
                }
                if let Some(hooks) = &shared.hooks {
                    hooks.start()?;
                    if let Some(deliverer) = &hooks.deliverer {
                        telling = Some(named("deliverer", 0).spawn_scoped(scope, || deliverer.run(shared))?);
                    }
                }
                let commit = || {
                    shared.threads.commit(|| {
                        shared.notices.flush(std::time::Instant::now());
                        closed.load(Ordering::Acquire)
                    })
                };
                let committer = named("committer", 0).spawn_scoped(scope, commit)?;
                administering = Some(named("admin", 0).spawn_scoped(scope, || admin.run())?);
                for (index, event_loop) in rest.into_iter().enumerate() {
                    serving.push(named("loop", index + 1).spawn_scoped(scope, || event_loop.run())?);
                }
                Ok::<_, io::Error>(committer)
            })();
            let mut result = started.as_ref().map(|_| ()).map_err(|error| io::Error::from(error.kind()));
            if result.is_ok() {
                result = first.run();
            }
            if result.is_err() {
                Handle { shared: shared.clone() }.end_now();
            }
            for thread in serving {
                result = result
                    .and(thread.join().unwrap_or_else(|_| Err(io::Error::other("an event loop failed"))));
            }
            admin_stopper.stop();
            if let Some(thread) = administering {
                result = result.and(
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(io::Error::other("the administrator's thread failed"))),
                );
            }
            if telling.is_some_and(|thread| thread.join().is_err()) {
                result = result.and(Err(io::Error::other("the deliverer failed")));
            }
            if let Some(hooks) = &shared.hooks {
                hooks.close();
            }
            shared.store.close(Ticket::new(|flushed: Result<(), _>| {
                if flushed.is_err() {
                    tracing::error!("what was committed last could not be made durable");
                }
            }));
            // The workers may have a last step for the committing thread.
            shared.workers.close();
            for thread in helping {
                if thread.join().is_err() {
                    result = result.and(Err(io::Error::other("a worker failed")));
                }
            }
            closed.store(true, Ordering::Release);
            shared.threads.notify();
            result.map_err(ServeError::System)
        })
    }
}

/// The listeners for metrics, health and administration, but for the socket in the data directory.
fn admin_endpoints(settings: &Settings) -> Result<Vec<Endpoint>, ServeError> {
    let token =
        settings.admin_token_file.as_deref().map(Token::load).transpose().map_err(ServeError::AdminToken)?;
    let endpoint = |address: &Address| {
        let failed = |error| ServeError::Listen(address.clone(), error);
        let listener = Listener::bind(address, &settings.admin_listen).map_err(failed)?;
        let guard = match (&token, address) {
            (Some(token), _) => Guard::Token(token.clone()),
            (None, Address::Tcp(_)) => Guard::Local,
            (None, Address::Unix(_)) => Guard::File,
        };
        Ok(Endpoint { listener, guard })
    };
    settings.admin_listen.iter().map(endpoint).collect()
}

/// The socket in the data directory. A file system that has no sockets keeps nobody from uploading.
fn admin_socket(settings: &Settings) -> Option<Endpoint> {
    match Listener::bind_private(&settings.data_dir.join(SOCKET)) {
        Ok(listener) => Some(Endpoint { listener, guard: Guard::File }),
        Err(error) => {
            let dir = settings.data_dir.display();
            tracing::warn!(%error, %dir, "there is no socket in the data directory: commands can't ask this server");
            None
        }
    }
}

fn hooked(hooks: Arc<dyn HookRunner>, clock: Clock, settings: &Settings) -> Hooked {
    let first = settings.hook_pause.max(Duration::from_millis(1));
    let pauses = Pauses { first, longest: settings.hook_longest_pause.max(first) };
    // A request waits for one hook at a time.
    let limit = settings.max_connections.max(1);
    Hooked::new(hooks, clock, (settings.hook_threads.clamp(1, 64), limit), settings.hook_timeout, pauses)
}

/// How many cores this process may use.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What the store, the log and the loops have open besides.
const OTHER_FILES: usize = 64;

/// With eventual durability, the most files that connections must leave to those that await a flush: with more of them
/// at once a flush is hardly cheaper for each.
const UNFLUSHED_FILES: usize = 256;

/// How many connections there may be, and how many files that await a flush.
fn limits(settings: &Settings) -> (Limits, usize) {
    let wanted = settings.max_connections.max(1);
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let (all, unflushed) = share_files(files, wanted, settings.durability);
    if all < wanted {
        tracing::warn!(wanted, possible = all, "the limit of open files allows fewer connections");
    }
    let limits = Limits {
        all,
        each: settings.max_connections_per_address,
        uncounted: settings.uncounted_addresses.clone(),
        prefixes: settings.address_prefixes,
    };
    (limits, unflushed)
}

/// Shares the files that the process may open among connections and what awaits a flush.
fn share_files(files: usize, wanted: usize, durability: Durability) -> (usize, usize) {
    let files = files.saturating_sub(OTHER_FILES);
    let left = match durability {
        Durability::Strict => 0,
        Durability::Eventual => (files / 4).min(UNFLUSHED_FILES),
    };
    // A connection has a descriptor, and its upload another.
    let all = wanted.min((files - left) / 2).max(1);
    (all, files.saturating_sub(all.saturating_mul(2)))
}

fn named(role: &str, index: usize) -> thread::Builder {
    // What a worker or the committer does is shallow; a small stack keeps a small host small.
    thread::Builder::new().name(format!("{role}-{index}")).stack_size(512 << 10)
}

impl Handle {
    /// Asks the server to end. The first time it drains: no new connections, what is under way is answered,
    /// bodies are cut off after the shutdown's time with what arrived committed. The second time it ends at
    /// once.
    pub fn shutdown(&self) {
        let more = |n: u8| Some(n.saturating_add(1));
        let before = self.shared.shutdowns.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        // A drain begins where connections come from; an end is everywhere at once.
        let drains = before == Ok(0);
        let told = self.shared.mailboxes.iter().enumerate();
        for (_, mailbox) in told.filter(|(index, _)| !drains || *index == runtime::ACCEPTING) {
            mailbox.post(Message::Shutdown);
        }
        if let Some(deliverer) = self.shared.deliverer() {
            deliverer.stop();
        }
    }

    /// Reads the files for TLS again; new connections get what is in them now. Does nothing for a server without.
    ///
    /// # Errors
    /// The files can't be used: new connections get what they got before.
    pub fn reload_tls(&self) -> Result<(), TlsError> {
        self.shared.tls.as_ref().map_or(Ok(()), Acceptor::reload)
    }

    fn end_now(&self) {
        self.shared.shutdowns.store(2, Ordering::Release);
        self.shutdown();
    }
}

/// Why a server can't start, or can't go on. But for the settings the environment's fault.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The settings contradict themselves.
    Settings(SettingsError),
    /// It can't listen on this address.
    Listen(Address, io::Error),
    /// What it was started with are not all sockets to listen on.
    Inherited(io::Error),
    /// The files for TLS can't be used.
    Tls(TlsError),
    /// There is no token to administer by.
    AdminToken(TokenError),
    /// The store can't be opened.
    Store(OpenError),
    /// The system gives no threads, no sockets or no events.
    System(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address @ Address::Tcp(_), error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "can't listen on {address}: the address is in use by another program; choose another port, or 0"
                )
            }
            Self::Listen(address, error) => write!(f, "can't listen on {address}: {error}"),
            Self::Inherited(error) => write!(f, "can't listen on what the process was started with: {error}"),
            Self::Settings(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "can't speak TLS: {error}"),
            Self::AdminToken(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::System(error) => write!(f, "the system can't run the server: {error}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, error) | Self::Inherited(error) | Self::System(error) => Some(error),
            Self::Settings(error) => Some(error),
            Self::Tls(error) => Some(error),
            Self::AdminToken(error) => Some(error),
            Self::Store(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_what_awaits_a_flush_share_the_files() {
        let strict = Durability::Strict;
        let eventual = Durability::Eventual;
        assert_eq!(share_files(400, 4096, strict), (168, 0));
        assert_eq!(share_files(400, 4096, eventual), (126, 84));
        assert_eq!(share_files(2112, 4096, eventual), (896, 256));
        assert_eq!(share_files(10_064, 4096, eventual), (4096, 1808));
        assert_eq!(share_files(usize::MAX, 10, eventual), (10, usize::MAX - 84));
        assert_eq!(share_files(3, 10, eventual), (1, 0));
    }
}
