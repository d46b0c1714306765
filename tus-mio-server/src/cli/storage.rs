//! The flags for where uploads are kept, and what that may cost.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use tus_mio_server::Settings;

use super::{Failure, value};

/// With less, each read of a record is one of the disk.
const LEAST_CACHE: usize = 64 << 10;

/// With a smaller log, most of the time goes into checkpoints.
const LEAST_LOG: u64 = 64 << 10;

/// Larger ones are quicker in files of their own.
const MOST_SMALL: usize = 64 << 10;

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct StorageArgs {
    /// Directory of the uploads, for this process alone; made if missing
    #[arg(long, env = "TUS_DATA_DIR", value_name = "DIRECTORY", default_value = "./tus-data")]
    #[arg(help_heading = "Storage")]
    pub(crate) data_dir: PathBuf,

    /// What survives a power cut: with strict, all that was acknowledged; with eventual, all but the last second's.
    /// A crash of the server alone loses nothing in either
    #[arg(long, env = "TUS_DURABILITY", default_value = "strict", help_heading = "Storage")]
    pub(crate) durability: Durability,

    /// Leave a finished concatenation in the files of its parts, and never copy it into one file [default: off]
    #[arg(long, alias = "no-materialize", env = "TUS_NO_CONSOLIDATE", value_parser = value::switch, help_heading = "Storage")]
    pub(crate) no_consolidate: bool,

    /// Compute a digest of each upload that becomes complete, and keep it: verify --deep compares it with the bytes. Costs
    /// reading each upload once more, when workers are idle
    #[arg(
        long,
        env = "TUS_STORE_DIGEST",
        value_name = "ALGORITHM",
        default_value = "none",
        help_heading = "Storage"
    )]
    pub(crate) store_digest: StoreDigest,

    /// Memory for cached records; with many uploads, more of it saves reads. At least 64KiB
    #[arg(long, env = "TUS_RECORD_CACHE", value_name = "SIZE", default_value = "4MiB", value_parser = value::size)]
    #[arg(help_heading = "Storage")]
    pub(crate) record_cache: u64,

    /// Size of the commit log, at least 64KiB; a smaller one shortens a start after a crash, and means more checkpoints
    #[arg(long, env = "TUS_LOG_SIZE", value_name = "SIZE", default_value = "16MiB", value_parser = value::size)]
    #[arg(help_heading = "Storage")]
    pub(crate) log_size: u64,

    /// Space set aside so that deletes work on a full disk; 0 for none
    #[arg(long, env = "TUS_DISK_RESERVE", value_name = "SIZE", default_value = "8MiB", value_parser = value::size)]
    #[arg(help_heading = "Storage")]
    pub(crate) disk_reserve: u64,

    /// Keep uploads of at most this size with the records, not in files of their own; 0 for none. At most 64KiB
    #[arg(long, env = "TUS_SMALL_UPLOADS", value_name = "SIZE", default_value = "16KiB", value_parser = value::size)]
    #[arg(help_heading = "Storage")]
    pub(crate) small_uploads: u64,

    /// How many bytes of a body are committed at a time; a crash costs at most twice as many
    #[arg(long, env = "TUS_CHECKPOINT_SIZE", value_name = "SIZE", default_value = "32MiB", value_parser = value::size)]
    #[arg(help_heading = "Storage")]
    pub(crate) checkpoint_size: u64,

    /// How often a slow body's bytes are committed; at least 1ms
    #[arg(long, env = "TUS_CHECKPOINT_INTERVAL", value_name = "DURATION", default_value = "2s")]
    #[arg(value_parser = value::duration, help_heading = "Storage")]
    pub(crate) checkpoint_interval: Duration,
}

impl StorageArgs {
    /// What they say of the store, and the defaults of all else.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        let too_small = || Failure::Usage("--record-cache must be at least 64KiB".into());
        Ok(Settings {
            data_dir: self.data_dir.clone(),
            durability: match self.durability {
                Durability::Strict => tus_redb::Durability::Strict,
                Durability::Eventual => tus_redb::Durability::Eventual,
            },
            consolidate: !self.no_consolidate,
            store_digest: self.store_digest == StoreDigest::Sha256,
            record_cache: usize::try_from(self.record_cache)
                .ok()
                .filter(|size| *size >= LEAST_CACHE)
                .ok_or_else(too_small)?,
            log_size: Some(self.log_size)
                .filter(|size| *size >= LEAST_LOG)
                .ok_or_else(|| Failure::Usage("--log-size must be at least 64KiB".into()))?,
            disk_reserve: self.disk_reserve,
            small_uploads: usize::try_from(self.small_uploads)
                .ok()
                .filter(|size| *size <= MOST_SMALL)
                .ok_or_else(|| Failure::Usage("--small-uploads must be at most 64KiB".into()))?,
            ..Settings::default()
        })
    }
}

/// Which digest of a complete upload is kept.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreDigest {
    /// None.
    None,
    /// SHA-256.
    Sha256,
}

/// When an answer may be given: see `tus_redb::Durability`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Only after the disk has it.
    Strict,
    /// As soon as a crash of the process can't lose it.
    Eventual,
}
