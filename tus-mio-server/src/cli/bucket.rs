//! The flags for uploads on an object store, which many servers share, and how such a store is opened.

use clap::Args;
use tus_mio_server::{
    ServerBuilder,
    admin::{AdminError, Administration, CheckPage},
};

use super::{Failure, value};

/// Parts of fewer bytes are rejected by S3 and its kin.
const LEAST_PART: u64 = 5 << 20;

/// Which object store, for serve and for the commands.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PlaceArgs {
    /// Keep uploads on an object store, which any number of servers may share: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or
    /// az://CONTAINER/PREFIX; memory:// keeps them until the end of the process [default: file:, in --data-dir]
    #[arg(long, env = "TUS_STORE", value_name = "URL", help_heading = "Object store")]
    pub(crate) store: Option<String>,

    /// An option of the object store's client, as endpoint=https://…, region=… or allow_http=true; may be given several
    /// times. Credentials come from the environment, as for that cloud's own tools [default: none]
    #[arg(long, env = "TUS_STORE_OPTION", value_name = "KEY=VALUE", value_delimiter = ',')]
    #[arg(help_heading = "Object store")]
    pub(crate) store_option: Vec<String>,
}

/// The flags of serve.
#[derive(Args, Clone, Debug)]
pub(crate) struct BucketArgs {
    /// Which object store.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// Size of a part on the object store, at least 5MiB; it doubles after each 1000 parts
    #[arg(long, env = "TUS_STORE_PART_SIZE", value_name = "SIZE", default_value = "8MiB", value_parser = value::size)]
    #[arg(help_heading = "Object store")]
    pub(crate) store_part_size: u64,

    /// All parts but the last have the same size, as Cloudflare's R2 demands; 10000 of them are then the largest upload
    /// [default: off]
    #[arg(long, env = "TUS_STORE_UNIFORM_PARTS", value_parser = value::switch, help_heading = "Object store")]
    pub(crate) store_uniform_parts: bool,

    /// Memory for bytes in transit to the object store, of all uploads together; when it is full, bodies wait
    #[arg(long, env = "TUS_STORE_MEMORY", value_name = "SIZE", default_value = "256MiB", value_parser = value::size)]
    #[arg(help_heading = "Object store")]
    pub(crate) store_memory: u64,

    /// How many parts may be in transit to the object store at once
    #[arg(long, env = "TUS_STORE_CONCURRENCY", value_name = "COUNT", default_value = "16")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..), help_heading = "Object store")]
    pub(crate) store_concurrency: u16,

    /// Copy each finished upload to PREFIX/ID/NAME in the bucket, below the prefix of --store; the copy stays when the
    /// upload is deleted. All servers of the bucket must say the same [default: none]
    #[arg(long, env = "TUS_PUBLISH_PREFIX", value_name = "PREFIX", help_heading = "Object store")]
    pub(crate) publish_prefix: Option<String>,

    /// Address and port at which other servers of the same bucket ask this one to give an upload up, or to commit what has
    /// arrived of it. Plain HTTP, for a network of your own [default: none]
    #[arg(long, env = "TUS_PEER_LISTEN", value_name = "ADDRESS", requires = "peer_secret_file")]
    #[arg(help_heading = "Object store")]
    pub(crate) peer_listen: Option<std::net::SocketAddr>,

    /// URL by which the others reach this server's --peer-listen [default: http:// and that address]
    #[arg(
        long,
        env = "TUS_PEER_URL",
        value_name = "URL",
        requires = "peer_listen",
        help_heading = "Object store"
    )]
    pub(crate) peer_url: Option<String>,

    /// File whose first line is the secret that the servers of a bucket show each other [default: none]
    #[arg(long, env = "TUS_PEER_SECRET_FILE", value_name = "FILE", requires = "peer_listen")]
    #[arg(help_heading = "Object store")]
    pub(crate) peer_secret_file: Option<std::path::PathBuf>,
}

impl PlaceArgs {
    /// The URL of an object store, if uploads are on one.
    pub(crate) fn url(&self) -> Option<&str> {
        self.store.as_deref().filter(|url| !matches!(*url, "" | "file:" | "file://"))
    }

    /// Whether this program can do what the flags say.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.url().is_none() {
            return Ok(());
        }
        if !cfg!(feature = "object-store") {
            let text = "--store names an object store, and this program was built without them: build it with \
                        --features object-store, or leave --store out";
            return Err(Failure::Usage(text.into()));
        }
        self.options().map(drop)
    }

    fn options(&self) -> Result<Vec<(&str, &str)>, Failure> {
        let split = |option| {
            let option: &String = option;
            option
                .split_once('=')
                .ok_or_else(|| Failure::Usage(format!("--store-option {option} must be KEY=VALUE")))
        };
        self.store_option.iter().map(split).collect()
    }
}

impl BucketArgs {
    /// The URL of an object store, if uploads are on one.
    pub(crate) fn url(&self) -> Option<&str> {
        self.place.url()
    }

    /// Whether the flags make sense, and this program can do what they say.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.place.check()?;
        if self.url().is_none() {
            return match self.peer_listen {
                Some(_) => Err(Failure::Usage("--peer-listen is for servers that share a --store".into())),
                None => Ok(()),
            };
        }
        if self.store_part_size < LEAST_PART {
            return Err(Failure::Usage("--store-part-size must be at least 5MiB".into()));
        }
        if self.publish_prefix.as_deref().is_some_and(|prefix| !is_folder_of_its_own(prefix)) {
            let text = "--publish-prefix must be a name of letters, digits, _, - and / that is longer than one letter";
            return Err(Failure::Usage(text.into()));
        }
        if self.store_memory < self.store_part_size.saturating_mul(2) {
            return Err(Failure::Usage("--store-memory must be at least twice --store-part-size".into()));
        }
        Ok(())
    }
}

/// Whether a prefix is a folder apart from those of the store, whose names have one letter.
fn is_folder_of_its_own(prefix: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-/".contains(c);
    let first = prefix.split('/').next().unwrap_or_default();
    prefix.chars().all(harmless) && first.len() > 1 && prefix.split('/').all(|part| !part.is_empty())
}

/// A bucket that a command looks into.
pub(crate) struct Opened {
    /// What may be asked.
    pub(crate) administration: Box<dyn Administration>,
    /// Checks it, and mends what it finds.
    pub(crate) repair: Box<dyn Fn() -> Result<CheckPage, AdminError>>,
}

/// How a bucket is used, from the flags of serve.
pub(crate) struct Use {
    pub(crate) checkpoint_interval: std::time::Duration,
    pub(crate) cleanup_interval: std::time::Duration,
}

#[cfg(feature = "object-store")]
mod open {
    use std::{net::TcpListener, sync::Arc};

    use tus_mio_server::{Settings, admin::InBucket};
    use tus_object_store::{
        Bucket, BucketStore, DeferredLocks, HttpPeers, Options, PeerSecret, WithRuntime, connect,
    };

    use super::{BucketArgs, Failure, Opened, PlaceArgs, ServerBuilder, Use};

    /// Locks by leases in the bucket.
    pub(crate) fn locks(settings: &mut Settings) -> Arc<DeferredLocks> {
        let locks = Arc::new(DeferredLocks::default());
        settings.locks = Some(locks.clone());
        locks
    }

    impl PlaceArgs {
        /// The bucket, if uploads are in one.
        fn connect(&self) -> Result<Option<Arc<dyn Bucket>>, Failure> {
            let Some(url) = self.url() else { return Ok(None) };
            let bucket = connect(url, self.options()?);
            bucket.map(Some).map_err(|error| Failure::Usage(format!("--store: {error}")))
        }

        /// The store in the bucket, if uploads are in one.
        pub(crate) fn in_bucket(&self) -> Result<Option<InBucket>, Failure> {
            let Some(bucket) = self.connect()? else { return Ok(None) };
            let opened = InBucket::open(bucket).map_err(|error| Failure::Environment(error.to_string()))?;
            Ok(Some(opened))
        }

        /// What an operator may ask of the bucket, if uploads are in one.
        pub(crate) fn administration(&self) -> Result<Option<Opened>, Failure> {
            let Some(opened) = self.in_bucket()? else { return Ok(None) };
            let repaired = opened.clone();
            Ok(Some(Opened { administration: Box::new(opened), repair: Box::new(move || repaired.repair()) }))
        }
    }

    impl BucketArgs {
        /// Listens for other servers, if the flags say so, and puts into the options how they are reached.
        fn peers(&self, options: &mut Options) -> Result<Option<(TcpListener, PeerSecret)>, Failure> {
            let Some((address, file)) = self.peer_listen.zip(self.peer_secret_file.as_ref()) else {
                return Ok(None);
            };
            let secret = PeerSecret::load(file).map_err(|error| {
                Failure::Environment(format!("--peer-secret-file {}: {error}", file.display()))
            })?;
            let listener = TcpListener::bind(address).and_then(|listener| {
                let address = listener.local_addr()?;
                Ok((listener, address))
            });
            let (listener, address) = listener
                .map_err(|error| Failure::Environment(format!("--peer-listen {address}: {error}")))?;
            if self.peer_url.is_none() && address.ip().is_unspecified() {
                let text = "--peer-listen is every address of this machine: say with --peer-url which one others reach";
                return Err(Failure::Usage(text.into()));
            }
            let url = self.peer_url.clone().unwrap_or_else(|| format!("http://{address}"));
            let peers = HttpPeers::new(&url, secret.clone())
                .map_err(|error| Failure::Usage(format!("--peer-url: {error}")))?;
            options.peers = Some(Arc::new(peers));
            Ok(Some((listener, secret)))
        }

        pub(crate) fn open(
            &self,
            builder: ServerBuilder,
            usage: &Use,
            locks: Arc<DeferredLocks>,
        ) -> Result<ServerBuilder, Failure> {
            let Some(bucket) = self.place.connect()? else { return Ok(builder) };
            let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
            let mut options = Options::default();
            options.part_size = size(self.store_part_size);
            options.uniform_parts = self.store_uniform_parts;
            options.memory = size(self.store_memory);
            options.concurrency = self.store_concurrency.into();
            options.checkpoint_interval = usage.checkpoint_interval;
            options.sweep_interval = usage.cleanup_interval;
            options.publish_prefix.clone_from(&self.publish_prefix);
            let peers = self.peers(&mut options)?;
            Ok(builder.store(move |executor| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
                // The loops and workers know no tasks; two threads of their own talk to the bucket.
                let executor = Arc::new(WithRuntime::new(executor, 2)?);
                let store = BucketStore::open_blocking(bucket, executor, options)?;
                locks.set(store.locks());
                if let Some((listener, secret)) = peers {
                    store.serve_peers(listener, secret)?;
                }
                Ok(store)
            }))
        }
    }
}

#[cfg(feature = "object-store")]
pub(crate) use open::locks;

#[cfg(not(feature = "object-store"))]
pub(crate) fn locks(_: &mut tus_mio_server::Settings) {}

#[cfg(not(feature = "object-store"))]
impl PlaceArgs {
    pub(crate) fn administration(&self) -> Result<Option<Opened>, Failure> {
        self.check().map(|()| None)
    }
}

#[cfg(not(feature = "object-store"))]
impl BucketArgs {
    pub(crate) fn open(&self, builder: ServerBuilder, usage: &Use, (): ()) -> Result<ServerBuilder, Failure> {
        let _ = (usage.checkpoint_interval, usage.cleanup_interval);
        self.check().map(|()| builder)
    }
}
