//! The paths that the server answers at beside the uploads' own, and that each path has one meaning.

use std::fmt;

use crate::{listen::Address, page::Page, server::settings::Settings};

/// Where the server tells how it is.
pub(crate) const HEALTH_PATH: &str = "/healthz";

/// Where the server tells whether new requests are welcome.
pub(crate) const READY_PATH: &str = "/readyz";

impl Settings {
    /// Checks that every path has one meaning. [`Server::bind`](crate::Server::bind) does, too.
    ///
    /// # Errors
    /// The caller's: the metrics, the page, the health and the uploads are in each other's way.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_uploads_leave(HEALTH_PATH, "choose another base path")?;
        self.check_uploads_leave(READY_PATH, "choose another base path")?;
        self.check_admin()?;
        let Some(path) = &self.metrics_path else { return Ok(()) };
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        if !path.starts_with('/') || path.len() == 1 || !path.bytes().all(allowed) {
            return Err(SettingsError(format!(
                "the metrics path {path:?} must start with / and have letters, digits and -._~ behind it, as /metrics"
            )));
        }
        let page = self.demo.then(|| Page::new(self.protocol.base_path(), false, false));
        if path == HEALTH_PATH || path == READY_PATH || page.is_some_and(|page| page.asset(path).is_some()) {
            return Err(SettingsError(format!(
                "the metrics path {path} is taken by another part of the server: choose another"
            )));
        }
        self.check_uploads_leave(path, "choose another metrics path, or none")
    }

    /// Without a token, administration is for programs of this machine.
    fn check_admin(&self) -> Result<(), SettingsError> {
        if self.admin_token_file.is_some() {
            return Ok(());
        }
        let remote =
            self.admin_listen.iter().filter_map(Address::tcp).find(|address| !address.ip().is_loopback());
        remote.map_or(Ok(()), |address| {
            Err(SettingsError(format!(
                "administration at {address} needs a token, because other machines reach it: give --admin-token-file, or a \
                 loopback address or a UNIX socket"
            )))
        })
    }

    /// Below the root everything lies; there the server's own paths come first, for it gives no upload such an id.
    fn check_uploads_leave(&self, path: &str, hint: &str) -> Result<(), SettingsError> {
        let base = self.protocol.base_path();
        let rest = path.strip_prefix(base).filter(|_| !base.is_empty());
        match rest {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                Err(SettingsError(format!("{path} lies in the uploads' path {base}: {hint}")))
            }
            _ => Ok(()),
        }
    }
}

/// Settings that contradict themselves. Whoever made them is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}
