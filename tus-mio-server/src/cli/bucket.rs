//! The flags for uploads on an object store, which many servers share, and how such a store is opened.

use clap::Args;
use tus_mio_server::ServerBuilder;

use super::{Failure, value};

/// Parts of fewer bytes are rejected by S3 and its kin.
const LEAST_PART: u64 = 5 << 20;

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct BucketArgs {
    /// Keep uploads on an object store, which any number of servers may share: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or
    /// az://CONTAINER/PREFIX; memory:// keeps them until the end of the process [default: file:, in --data-dir]
    #[arg(long, env = "TUS_STORE", value_name = "URL", help_heading = "Object store")]
    pub(crate) store: Option<String>,

    /// An option of the object store's client, as endpoint=https://…, region=… or allow_http=true; may be given several
    /// times. Credentials come from the environment, as for that cloud's own tools [default: none]
    #[arg(long, env = "TUS_STORE_OPTION", value_name = "KEY=VALUE", value_delimiter = ',')]
    #[arg(help_heading = "Object store")]
    pub(crate) store_option: Vec<String>,

    /// Size of a part on the object store, at least 5MiB; it doubles after each 1000 parts
    #[arg(long, env = "TUS_STORE_PART_SIZE", value_name = "SIZE", default_value = "8MiB", value_parser = value::size)]
    #[arg(help_heading = "Object store")]
    pub(crate) store_part_size: u64,

    /// Memory for bytes in transit to the object store, of all uploads together; when it is full, bodies wait
    #[arg(long, env = "TUS_STORE_MEMORY", value_name = "SIZE", default_value = "256MiB", value_parser = value::size)]
    #[arg(help_heading = "Object store")]
    pub(crate) store_memory: u64,

    /// How many parts may be in transit to the object store at once
    #[arg(long, env = "TUS_STORE_CONCURRENCY", value_name = "COUNT", default_value = "16")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..), help_heading = "Object store")]
    pub(crate) store_concurrency: u16,
}

impl BucketArgs {
    /// The URL of an object store, if uploads are on one.
    pub(crate) fn url(&self) -> Option<&str> {
        self.store.as_deref().filter(|url| !matches!(*url, "" | "file:" | "file://"))
    }

    /// Whether the flags make sense, and this program can do what they say.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.url().is_none() {
            return Ok(());
        }
        if !cfg!(feature = "object-store") {
            let text = "--store names an object store, and this program was built without them: build it with \
                        --features object-store, or leave --store out";
            return Err(Failure::Usage(text.into()));
        }
        if self.store_part_size < LEAST_PART {
            return Err(Failure::Usage("--store-part-size must be at least 5MiB".into()));
        }
        if self.store_memory < self.store_part_size.saturating_mul(2) {
            return Err(Failure::Usage("--store-memory must be at least twice --store-part-size".into()));
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

/// How a bucket is used, from the flags of serve.
pub(crate) struct Use {
    pub(crate) checkpoint_interval: std::time::Duration,
    pub(crate) cleanup_interval: std::time::Duration,
}

#[cfg(feature = "object-store")]
mod open {
    use std::sync::{Arc, OnceLock};

    use tus_driver::{Caller, LockService};
    use tus_mio_server::Settings;
    use tus_object_store::{BucketStore, LeaseLocks, Options, WithRuntime, connect};
    use tus_proto::{Fence, LockCall, LockEvent, LockReply, OpId};

    use super::{BucketArgs, Failure, ServerBuilder, Use};

    /// The locks of a store that is not open yet.
    #[derive(Debug, Default)]
    pub(crate) struct Later(OnceLock<LeaseLocks>);

    impl LockService for Later {
        fn start(&self, _: Fence) {}

        fn call(&self, caller: &Caller, op: OpId, call: LockCall) {
            match self.0.get() {
                Some(locks) => locks.call(caller, op, call),
                // The store is opened before a request is served.
                None => caller.tell(LockEvent::Reply(op, LockReply::Unavailable)),
            }
        }
    }

    /// Locks by leases in the bucket.
    pub(crate) fn locks(settings: &mut Settings) -> Arc<Later> {
        let later = Arc::new(Later::default());
        settings.locks = Some(later.clone());
        later
    }

    impl BucketArgs {
        pub(crate) fn open(
            &self,
            builder: ServerBuilder,
            usage: &Use,
            locks: Arc<Later>,
        ) -> Result<ServerBuilder, Failure> {
            let Some(url) = self.url() else { return Ok(builder) };
            let bucket =
                connect(url, self.options()?).map_err(|error| Failure::Usage(format!("--store: {error}")))?;
            let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
            let mut options = Options::default();
            options.part_size = size(self.store_part_size);
            options.memory = size(self.store_memory);
            options.concurrency = self.store_concurrency.into();
            options.checkpoint_interval = usage.checkpoint_interval;
            options.sweep_interval = usage.cleanup_interval;
            Ok(builder.store(move |executor| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
                // The loops and workers know no tasks; two threads of their own talk to the bucket.
                let executor = Arc::new(WithRuntime::new(executor, 2)?);
                let store = BucketStore::open_blocking(bucket, executor, options)?;
                // It is set once, here.
                let _ = locks.0.set(store.locks());
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
impl BucketArgs {
    pub(crate) fn open(&self, builder: ServerBuilder, usage: &Use, (): ()) -> Result<ServerBuilder, Failure> {
        let _ = (usage.checkpoint_interval, usage.cleanup_interval);
        self.check().map(|()| builder)
    }
}
