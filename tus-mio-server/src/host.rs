//! What a server leaves of its host to others.

use std::time::Duration;

use tus_redb::SpaceLimits;

/// Limits for the sake of the host, and of those who share it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostLimits {
    /// How much of the disk uploads may take. Creations beyond it are 507. Default all.
    pub space: SpaceLimits,
    /// How many uploads one address may create in an hour, which begins with its first; 0 for no limit. Beyond it 429. The
    /// address is the client's by the proxy's word, where there is one, else the connection's; those of
    /// [`Settings::uncounted_addresses`](crate::Settings::uncounted_addresses) are not counted, and
    /// [`Settings::address_prefixes`](crate::Settings::address_prefixes) tells them apart. Default 0.
    pub max_uploads_per_hour: u32,
    /// How long finished uploads stay, parts excepted, counted from when they are finished; at least 1 s. An upload whose event
    /// or publication is outstanding stays until that is done. Default `None`: until somebody deletes them.
    pub finished_expiry: Option<Duration>,
    /// The permissions of data files, whatever the umask. Default 0600.
    pub file_mode: u32,
    /// The permissions of directories that are made for them, whatever the umask. Default 0700.
    pub dir_mode: u32,
}

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            space: SpaceLimits::default(),
            max_uploads_per_hour: 0,
            finished_expiry: None,
            file_mode: 0o600,
            dir_mode: 0o700,
        }
    }
}
