//! The flags of the examples: by the names and with the values of `tus-mio-server`'s, as far as they set the protocol,
//! the store, or a limit that exists here. So the same suites run against all of them.
#![allow(dead_code)]

#[path = "../../../tus-mio-server/src/cli/choices.rs"]
mod choices;
#[path = "../../../tus-mio-server/src/cli/value.rs"]
mod value;

use std::{error::Error, io::Write, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use tus_mio_server::Address;
use tus_tower::{
    Limits,
    tus_proto::Config,
    tus_redb::{self, Options, Store},
};

/// What goes wrong in an example ends it.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A tus server in an application of tower's.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Flags {
    /// Address and port to listen on; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = value::address)]
    pub(crate) listen: Address,
    /// Speak TLS, with the certificate in this PEM file (examples/hyper.rs)
    #[arg(long, env = "TUS_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file
    #[arg(long, env = "TUS_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Threads that serve connections [default: one a core]
    #[arg(long, value_name = "NUMBER", value_parser = value::count(64))]
    threads: Option<usize>,
    /// Blocking threads that may wait for the disk at once
    #[arg(long, value_name = "NUMBER", default_value = "4", value_parser = value::count(64))]
    workers: usize,
    /// What to log on standard error: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: tracing_subscriber::filter::LevelFilter,

    /// Directory of the uploads; made if missing
    #[arg(long, value_name = "DIRECTORY", default_value = "./tus-data")]
    data_dir: PathBuf,
    /// What survives a power cut
    #[arg(long, default_value = "strict")]
    durability: Durability,
    /// Leave a finished concatenation in its parts' files
    #[arg(long, alias = "no-materialize")]
    no_consolidate: bool,
    /// Memory for records
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = value::size)]
    record_cache: u64,
    /// Space that is set aside so that deletes work on a full disk
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = value::size)]
    disk_reserve: u64,
    /// Uploads up to this size are kept with the records
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = value::size)]
    small_uploads: u64,
    /// Create no upload while less of the disk is free; 0 for no limit
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = value::size)]
    min_free_space: u64,
    /// Create no upload while all have as many bytes as this; 0 for no limit
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = value::size)]
    max_store_size: u64,
    /// Count there what unfinished uploads have announced and not sent yet
    #[arg(long)]
    reserve_announced: bool,
    /// Permissions of data files, whatever the umask
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = mode::<0o600>)]
    file_mode: u32,
    /// Permissions of directories that are made for them
    #[arg(long, value_name = "OCTAL", default_value = "0700", value_parser = mode::<0o700>)]
    dir_mode: u32,
    /// How many bytes of a body are committed at a time
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = value::size)]
    checkpoint_size: u64,
    /// How often a slow body's bytes are committed
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = value::duration)]
    checkpoint_interval: Duration,

    /// Path of the uploads in URLs
    #[arg(long, value_name = "PATH", default_value = "/files")]
    pub(crate) base_path: String,
    /// Answer with whole URLs as locations, or with paths
    #[arg(long, value_name = "FORM", default_value = "auto")]
    location: choices::Location,
    /// Answer with locations under this URL
    #[arg(long, value_name = "URL")]
    location_base_url: Option<String>,
    /// Answer with locations from what the proxy's headers say
    #[arg(long)]
    behind_proxy: bool,
    /// In which headers the proxy says how it was reached
    #[arg(long, value_name = "HEADERS", default_value = "x-forwarded")]
    proxy_headers: choices::ProxyHeaders,
    /// Which requests X-HTTP-Method-Override may turn into those of another method
    #[arg(long, value_name = "REQUESTS", default_value = "post")]
    method_override: choices::MethodOverride,
    /// Origins whose pages may upload from a browser
    #[arg(long, alias = "cors-allow-origins", value_name = "ORIGIN", value_delimiter = ',')]
    cors_allow_origin: Vec<String>,
    /// Request headers that those pages may send
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    cors_allow_headers: Vec<String>,
    /// Let those pages send cookies
    #[arg(long)]
    cors_allow_credentials: bool,
    /// How long a browser may remember what it was allowed
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    cors_max_age: Option<Duration>,

    /// Largest upload; 0 for no limit
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = value::size)]
    max_size: u64,
    /// Largest body of one request; 0 for no limit
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = value::size)]
    max_chunk_size: u64,
    /// Largest Upload-Metadata; at most 64KiB
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = value::size)]
    max_metadata_size: u64,
    /// Speak tus alone, not the protocol of the IETF's draft
    #[arg(long)]
    disable_rufh: bool,
    /// Algorithms that checksums may use; none for no checksums
    #[arg(long, value_name = "NAMES", default_value = "sha1,sha256,sha512,md5", value_parser = value::algorithms)]
    checksum_algorithms: value::Algorithms,
    /// Reject deletions
    #[arg(long)]
    disable_termination: bool,
    /// Reject concatenations
    #[arg(long)]
    disable_concatenation: bool,
    /// Reject concatenations of unfinished parts
    #[arg(long)]
    disable_concatenation_unfinished: bool,
    /// Most parts of one concatenation
    #[arg(long, value_name = "NUMBER", default_value = "1000", value_parser = value::count(100_000))]
    max_parts: usize,
    /// How many unfinished final uploads may name one part
    #[arg(long, value_name = "NUMBER", default_value = "4", value_parser = value::count(1_000))]
    max_waiting_finals: usize,
    /// Delete parts once an upload made of them is complete
    #[arg(long)]
    delete_parts: bool,
    /// Let clients download finished uploads
    #[arg(long)]
    enable_downloads: bool,
    /// How long an unfinished upload lives after its last bytes; 0 for ever
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = value::duration)]
    upload_expiry: Duration,
    /// How often expired uploads are removed
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = value::duration)]
    cleanup_interval: Duration,
    /// How long a writer waits for an earlier one of the same upload to yield
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = value::duration)]
    lock_wait: Duration,
    /// How long a writer's lock lives without renewal
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = value::duration)]
    lock_ttl: Duration,

    /// End a request when no byte of its body came for this long; 0 to wait for ever
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = value::duration)]
    request_timeout: Duration,
    /// End a request whose body brings fewer bytes a second, beyond the request timeout
    #[arg(long, value_name = "SIZE", default_value = "500", value_parser = value::size)]
    body_min_rate: u64,
    /// How long a request's head may take (examples/hyper.rs)
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = value::duration)]
    pub(crate) head_timeout: Duration,
    /// Largest head of a request (examples/hyper.rs)
    #[arg(long, value_name = "SIZE", default_value = "96KiB", value_parser = value::size)]
    pub(crate) max_head_size: u64,
    /// Most header fields of a request (examples/hyper.rs)
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = value::count(10_000))]
    pub(crate) max_fields: usize,
    /// Most connections at once; more wait until one ends (examples/hyper.rs)
    #[arg(long, value_name = "NUMBER", default_value = "4096", value_parser = value::count(1_000_000))]
    pub(crate) max_connections: usize,
    /// How long a connection is read from after an answer that ends it
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = value::duration)]
    linger_timeout: Duration,
    /// How much is read there
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = value::size)]
    linger_size: u64,
    /// Largest unwanted body that is read to keep its connection
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = value::size)]
    drain_size: u64,
    /// How long requests may take to finish after SIGTERM or SIGINT
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = value::duration)]
    shutdown_timeout: Duration,
}

/// When an answer may be given.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Durability {
    /// Only after the disk has it.
    Strict,
    /// As soon as a crash of the process can't lose it.
    Eventual,
}

impl Flags {
    /// A runtime of as many threads as were asked for, and the log.
    pub(crate) fn runtime(&self) -> Outcome<tokio::runtime::Runtime> {
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr);
        subscriber.with_max_level(self.log_level).init();
        raise_descriptor_limit();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = self.threads {
            builder.worker_threads(threads);
        }
        Ok(builder.enable_all().build()?)
    }

    /// The address to bind.
    pub(crate) fn address(&self) -> Outcome<SocketAddr> {
        Ok(self.listen.tcp().ok_or("--listen must be an address and a port here")?)
    }

    /// The rules of the protocol.
    pub(crate) fn config(&self) -> Outcome<Config> {
        let mut config = Config::builder()
            .base_path(&self.base_path)
            .max_size(self.max_size)
            .max_chunk_size(self.max_chunk_size)
            .max_metadata(usize::try_from(self.max_metadata_size.min(64 << 10))?)
            .rufh(!self.disable_rufh)
            .termination(!self.disable_termination)
            .downloads(self.enable_downloads)
            .lock_wait(self.lock_wait)
            .lock_ttl(self.lock_ttl)
            .locations(self.location.into())
            .behind_proxy(self.behind_proxy)
            .proxy_headers(self.proxy_headers.into())
            .method_override(self.method_override.into())
            .upload_expiry((!self.upload_expiry.is_zero()).then_some(self.upload_expiry))
            .checksum_algorithms(self.checksum_algorithms.0.clone())
            .concatenation(!self.disable_concatenation)
            .concatenation_unfinished(!self.disable_concatenation_unfinished)
            .max_parts(self.max_parts)
            .delete_parts(self.delete_parts)
            .checkpoint_bytes(self.checkpoint_size)
            .checkpoint_interval(self.checkpoint_interval)
            .cors_allow_origins(self.cors_allow_origin.clone())
            .cors_allow_headers(self.cors_allow_headers.clone())
            .cors_allow_credentials(self.cors_allow_credentials)
            .cors_max_age(self.cors_max_age);
        if let Some(url) = &self.location_base_url {
            config = config.location_base_url(url);
        }
        Ok(config.build()?)
    }

    /// The store. `files`: each upload has a file of its own, for a hook that is told when it is complete.
    pub(crate) fn store(&self, files: bool) -> Outcome<Store> {
        let mut options = Options {
            durability: match self.durability {
                Durability::Strict => tus_redb::Durability::Strict,
                Durability::Eventual => tus_redb::Durability::Eventual,
            },
            cache_bytes: usize::try_from(self.record_cache)?,
            reserve_bytes: self.disk_reserve,
            max_waiting: self.max_waiting_finals,
            consolidate: !self.no_consolidate,
            inline_bytes: if files { 0 } else { usize::try_from(self.small_uploads)? },
            file_mode: self.file_mode,
            dir_mode: self.dir_mode,
            ..Options::default()
        };
        options.space.min_free = self.min_free_space;
        options.space.max_bytes = self.max_store_size;
        options.space.reserve_announced = self.reserve_announced;
        Ok(Store::open(&self.data_dir, &options)?)
    }

    /// What requests may cost.
    pub(crate) fn limits(&self, limits: &mut Limits) {
        limits.request_timeout = self.request_timeout;
        limits.body_min_rate = self.body_min_rate;
        limits.linger_timeout = self.linger_timeout;
        limits.linger_bytes = self.linger_size;
        limits.drain_bytes = self.drain_size;
        limits.shutdown_timeout = self.shutdown_timeout;
        limits.cleanup_interval = self.cleanup_interval;
        limits.threads = self.workers;
    }

    /// Says where uploads go, on standard output.
    pub(crate) fn announce(&self, address: SocketAddr) -> Outcome<()> {
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let path = if self.base_path.is_empty() { "/" } else { &self.base_path };
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening on {scheme}://{address}{path}")?;
        Ok(out.flush()?)
    }
}

/// Permissions in octal digits, which leave the owner what is `NEEDED`.
fn mode<const NEEDED: u32>(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok();
    let mode = mode.filter(|mode| *mode <= 0o777 && mode & NEEDED == NEEDED);
    mode.ok_or_else(|| format!("write octal digits from {NEEDED:04o} to 0777"))
}

/// A connection takes a descriptor, and an upload another: as many as the system allows.
fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
