//! The flags for what a server leaves of its host to others.

use std::time::Duration;

use clap::Args;
use tus_mio_server::HostLimits;

use super::{Failure, value};

/// More is not for metadata, and fits into no head.
const MOST_METADATA: u64 = 64 << 10;

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct HostArgs {
    /// Reject new uploads while less space than this is free on the disk; 0 for no limit
    #[arg(long, env = "TUS_MIN_FREE_SPACE", value_name = "SIZE", default_value = "0", value_parser = value::size)]
    #[arg(help_heading = "Uploads")]
    pub(crate) min_free_space: u64,

    /// Reject new uploads while all uploads together have this many bytes; 0 for no limit. The server reads all
    /// records when it starts
    #[arg(long, env = "TUS_MAX_STORE_SIZE", value_name = "SIZE", default_value = "0", value_parser = value::size)]
    #[arg(help_heading = "Uploads")]
    pub(crate) max_store_size: u64,

    /// Let --min-free-space and --max-store-size also count the announced bytes of unfinished uploads that have not
    /// arrived, those of the new one too [default: off]
    #[arg(long, env = "TUS_RESERVE_ANNOUNCED", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) reserve_announced: bool,

    /// Uploads that one address may create in an hour; 0 for no limit. --uncounted-addresses are exempt; with
    /// --behind-proxy it is the client's address from the proxy's headers
    #[arg(long, env = "TUS_MAX_UPLOADS_PER_HOUR", value_name = "NUMBER", default_value = "0")]
    #[arg(value_parser = value::count_or_none(1_000_000), help_heading = "Uploads")]
    pub(crate) max_uploads_per_hour: usize,

    /// How long finished uploads stay, parts excepted; not before hooks have taken note of them and they are published.
    /// Holds for those that are finished from now on; 0 for no limit
    #[arg(long, env = "TUS_FINISHED_EXPIRY", value_name = "DURATION", default_value = "0")]
    #[arg(value_parser = value::duration, help_heading = "Uploads")]
    pub(crate) finished_expiry: Duration,

    /// Largest Upload-Metadata; at most 64KiB, and a head must have room for it
    #[arg(long, env = "TUS_MAX_METADATA_SIZE", value_name = "SIZE", default_value = "4KiB", value_parser = value::size)]
    #[arg(help_heading = "Uploads")]
    pub(crate) max_metadata_size: u64,

    /// Permissions of new data files, regardless of the umask; 0640 lets the group read them
    #[arg(long, env = "TUS_FILE_MODE", value_name = "OCTAL", default_value = "0600", value_parser = mode::<0o600>)]
    #[arg(help_heading = "Storage")]
    pub(crate) file_mode: u32,

    /// Permissions of new directories, the data directory included, regardless of the umask; 0750 lets the group in
    #[arg(long, env = "TUS_DIR_MODE", value_name = "OCTAL", default_value = "0700", value_parser = mode::<0o700>)]
    #[arg(help_heading = "Storage")]
    pub(crate) dir_mode: u32,
}

impl HostArgs {
    /// What they say of the host.
    pub(crate) fn limits(&self) -> Result<HostLimits, Failure> {
        let mut limits = HostLimits::default();
        limits.space.min_free = self.min_free_space;
        limits.space.max_bytes = self.max_store_size;
        limits.space.reserve_announced = self.reserve_announced;
        // The parser lets no larger number pass.
        limits.max_uploads_per_hour = u32::try_from(self.max_uploads_per_hour).unwrap_or(u32::MAX);
        if !self.finished_expiry.is_zero() && self.finished_expiry < Duration::from_secs(1) {
            return Err(Failure::Usage("--finished-expiry must be at least 1s, or 0 for no limit".into()));
        }
        limits.finished_expiry = Some(self.finished_expiry).filter(|expiry| !expiry.is_zero());
        (limits.file_mode, limits.dir_mode) = (self.file_mode, self.dir_mode);
        Ok(limits)
    }

    /// The largest metadata, in bytes.
    pub(crate) fn max_metadata(&self) -> Result<usize, Failure> {
        usize::try_from(self.max_metadata_size)
            .ok()
            .filter(|_| self.max_metadata_size <= MOST_METADATA)
            .ok_or_else(|| Failure::Usage("--max-metadata-size must be at most 64KiB".into()))
    }
}

/// Permissions in octal digits, which leave the owner what is `NEEDED`.
fn mode<const NEEDED: u32>(text: &str) -> Result<u32, String> {
    let mode =
        u32::from_str_radix(text.trim(), 8).ok().filter(|mode| *mode <= 0o777 && mode & NEEDED == NEEDED);
    mode.ok_or_else(|| {
        format!("write octal digits from {NEEDED:04o} to 0777 that leave the owner {NEEDED:04o}")
    })
}
