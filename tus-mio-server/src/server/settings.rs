//! What a server is to be: everything that can be set, with its default.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tus_driver::{
    LockService,
    hooks::{HookRunner, Hooks},
};
use tus_proto::Config;
use tus_redb::Durability;

use crate::{cidr::IpNet, host::HostLimits, http1, listen::Address, publish::Publish, tls::TlsFiles};

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
    /// How long the commit log may become before the records are made durable, in bytes: a start after a crash takes time in
    /// proportion to it. Default 16 MiB.
    pub log_size: u64,
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
    /// [`IpNet::LOOPBACK`].
    pub uncounted_addresses: Vec<IpNet>,
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
    /// Whether a SHA-256 is computed of each upload that becomes complete, and kept: `verify --deep` compares it with the
    /// bytes. Costs reading each upload once more. Default no.
    pub store_digest: bool,
    /// Whether a finished concatenation is put into one file, behind all other work. Default yes.
    pub consolidate: bool,
    /// Code of yours that is asked and told, see [`hooks`](crate::hooks). Default none.
    pub hooks: Hooks,
    /// Other hooks in place of those: [`hooks::External`](crate::hooks::External), or any [`HookRunner`]. Default none.
    pub hook_runner: Option<Arc<dyn HookRunner>>,
    /// How many hooks that come before the fact may run at once, 1 to 1024, and as many of those that come after it.
    /// Default 64. Threads are started when they are needed, and end when they are idle.
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
    /// What is left of the host to others.
    pub host: HostLimits,
    /// Where metrics, health and administration are to be had; none for metrics and health beside the uploads, and
    /// administration at the socket `admin.sock` in the data directory alone, where it is in any case. Default none.
    pub admin_listen: Vec<Address>,
    /// A file with a secret that administration there asks for, in its first line. Without one the addresses must be
    /// loopback ones or UNIX sockets. Default none.
    pub admin_token_file: Option<PathBuf>,
    /// Whether each request is logged as an event at info, and given an id where its client sends none. Default no.
    pub access_log: bool,
    /// Where finished uploads are put under names of their own, and how. Only with a store of this server's own kind.
    /// Default none: they stay in the store alone.
    pub publish: Option<Publish>,
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
            log_size: 16 << 20,
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
            uncounted_addresses: IpNet::LOOPBACK.into(),
            address_prefixes: (32, 64),
            shutdown_timeout: Duration::from_secs(10),
            cleanup_interval: Duration::from_secs(60),
            locks: None,
            store_digest: false,
            consolidate: true,
            max_waiting_finals: 4,
            hooks: Hooks::new(),
            hook_runner: None,
            hook_threads: 64,
            hook_timeout: Duration::from_secs(30),
            hook_pause: Duration::from_secs(1),
            hook_longest_pause: Duration::from_secs(300),
            demo: true,
            metrics_path: Some("/metrics".into()),
            host: HostLimits::default(),
            admin_listen: Vec::new(),
            admin_token_file: None,
            access_log: false,
            publish: None,
            log_lines_dropped: None,
        }
    }
}
