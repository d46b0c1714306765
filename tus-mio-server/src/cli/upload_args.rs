//! The flags for which uploads are taken, and what clients may do with them.

use std::time::Duration;

use clap::Args;

use super::value;

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct UploadArgs {
    /// Largest upload; 0 for no limit
    #[arg(long, env = "TUS_MAX_SIZE", value_name = "SIZE", default_value = "0", value_parser = value::size)]
    #[arg(help_heading = "Uploads")]
    pub(crate) max_size: u64,

    /// Largest body of one request; 0 for no limit
    #[arg(long, env = "TUS_MAX_CHUNK_SIZE", value_name = "SIZE", default_value = "0", value_parser = value::size)]
    #[arg(help_heading = "Uploads")]
    pub(crate) max_chunk_size: u64,

    /// Algorithms that checksums may use, separated by commas; "none" for no checksums
    #[arg(
        long,
        env = "TUS_CHECKSUM_ALGORITHMS",
        value_name = "NAMES",
        default_value = "sha1,sha256,sha512,md5"
    )]
    #[arg(value_parser = value::algorithms, help_heading = "Uploads")]
    pub(crate) checksum_algorithms: value::Algorithms,

    /// Reject clients' requests to delete uploads [default: off]
    #[arg(long, env = "TUS_DISABLE_TERMINATION", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) disable_termination: bool,

    /// Speak only tus 1.0.0, and not the IETF's resumable uploads [default: off]
    #[arg(long, env = "TUS_DISABLE_RUFH", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) disable_rufh: bool,

    /// Take ID+NAME in a URL for the upload ID, whatever NAME is: URLs of tusd's on S3 end with the name of a multipart
    /// upload. For uploads that `import tusd s3://…` has taken over [default: off]
    #[arg(long, env = "TUS_TUSD_URLS", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) tusd_urls: bool,

    /// Reject requests to concatenate uploads [default: off]
    #[arg(long, env = "TUS_DISABLE_CONCATENATION", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) disable_concatenation: bool,

    /// Reject requests to concatenate uploads that are not finished [default: off]
    #[arg(long, env = "TUS_DISABLE_CONCATENATION_UNFINISHED", value_parser = value::switch)]
    #[arg(help_heading = "Uploads")]
    pub(crate) disable_concatenation_unfinished: bool,

    /// Largest number of parts of one concatenation
    #[arg(long, env = "TUS_MAX_PARTS", value_name = "NUMBER", default_value = "1000")]
    #[arg(value_parser = value::count(100_000), help_heading = "Uploads")]
    pub(crate) max_parts: usize,

    /// Delete the parts of a concatenation as soon as it is complete [default: off]
    #[arg(long, env = "TUS_DELETE_PARTS", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) delete_parts: bool,

    /// Let clients download finished uploads with GET [default: off]
    #[arg(long, env = "TUS_ENABLE_DOWNLOADS", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) enable_downloads: bool,

    /// How long an unfinished upload lives after its last bytes; 0 means forever
    #[arg(long, env = "TUS_UPLOAD_EXPIRY", value_name = "DURATION", default_value = "0")]
    #[arg(value_parser = value::duration, help_heading = "Uploads")]
    pub(crate) upload_expiry: Duration,

    /// How often expired uploads are removed; at least 1s
    #[arg(long, env = "TUS_CLEANUP_INTERVAL", value_name = "DURATION", default_value = "60s")]
    #[arg(value_parser = value::duration, help_heading = "Uploads")]
    pub(crate) cleanup_interval: Duration,

    /// How many unfinished concatenations may name the same part
    #[arg(long, env = "TUS_MAX_WAITING_FINALS", value_name = "NUMBER", default_value = "4")]
    #[arg(value_parser = value::count(1_000), help_heading = "Uploads")]
    pub(crate) max_waiting_finals: usize,

    /// How long a request waits for an earlier writer of the same upload to yield; 0 rejects it at once
    #[arg(long, env = "TUS_LOCK_WAIT", value_name = "DURATION", default_value = "5s")]
    #[arg(value_parser = value::duration, help_heading = "Uploads")]
    pub(crate) lock_wait: Duration,

    /// How long a writer's lock lives without renewal; at least 1s
    #[arg(long, env = "TUS_LOCK_TTL", value_name = "DURATION", default_value = "60s")]
    #[arg(value_parser = value::duration, help_heading = "Uploads")]
    pub(crate) lock_ttl: Duration,
}
