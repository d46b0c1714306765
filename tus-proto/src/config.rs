//! What an operator decides about the protocol. A [`Config`] is valid by construction: whoever holds one
//! need not check it again.

use alloc::{format, string::String, vec::Vec};
use core::{fmt, time::Duration};

use crate::{
    Algorithm, ErrorCode, Head, Response, Subscriptions, UploadId, WallTime, cors::Cors,
    header::forwarded_for,
};

/// The rules the exchanges of a server share. Made by [`Config::builder`].
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) base_path: String,
    pub(crate) max_size: u64,
    pub(crate) max_chunk_size: u64,
    pub(crate) termination: bool,
    pub(crate) method_override: MethodOverride,
    pub(crate) location: Location,
    /// Where a proxy says how it was reached, and by whom; `None` if there is no proxy to believe.
    pub(crate) proxy: Option<ProxyHeaders>,
    pub(crate) lock_wait: Duration,
    pub(crate) lock_ttl: Duration,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) upload_expiry: Option<Duration>,
    pub(crate) cors: Cors,
    pub(crate) checksum_algorithms: Vec<Algorithm>,
    pub(crate) concatenation: bool,
    pub(crate) concatenation_unfinished: bool,
    pub(crate) delete_parts: bool,
    pub(crate) max_parts: usize,
    pub(crate) max_metadata: usize,
    pub(crate) downloads: bool,
    pub(crate) rufh: bool,
    pub(crate) tusd_urls: bool,
    pub(crate) hooks: Subscriptions,
}

/// How `Location` is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// As nothing else decides.
    By(Locations),
    /// Under this URL, which ends without a slash.
    Under(String),
    /// Absolute, from what the proxy says in these, else from `Host`.
    BehindProxy(ProxyHeaders),
}

/// Whether the `Location` of a new upload is a whole URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locations {
    /// A whole URL, by the connection's scheme and the request's host, where nothing shows a proxy or a browser;
    /// else a path. A path is right behind every proxy that keeps it, and browsers understand it; many programs
    /// do not.
    #[default]
    Auto,
    /// A path always: `/files/ID`.
    Relative,
    /// A whole URL always, as far as the request names a host.
    Absolute,
}

/// The headers in which a proxy says how its client has reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeaders {
    /// `X-Forwarded-Host`, `X-Forwarded-Proto` and `X-Forwarded-Port`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Which requests `X-HTTP-Method-Override` may turn into those of another method. tus asks for all of them; but a
/// proxy that allows some methods and not others sees the actual one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MethodOverride {
    /// Those of POST.
    #[default]
    Post,
    /// All but OPTIONS.
    Any,
    /// None: the header means nothing.
    Off,
}

impl Config {
    /// The same rules for a request of the operator's own: uploads can be terminated, and no hook is asked before.
    pub fn for_operator(&self) -> Self {
        Self { termination: true, hooks: Subscriptions::default(), ..self.clone() }
    }

    /// Starts from the defaults.
    ///
    /// ```
    /// use tus_proto::Config;
    /// let config = Config::builder().base_path("/uploads/").max_size(10 << 30).build()?;
    /// assert_eq!(config.base_path(), "/uploads");
    /// assert!(Config::builder().base_path("uploads").build().is_err());
    /// # Ok::<(), tus_proto::ConfigError>(())
    /// ```
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder {
            config: Self {
                base_path: "/files".into(),
                max_size: 0,
                max_chunk_size: 0,
                termination: true,
                method_override: MethodOverride::Post,
                location: Location::By(Locations::Auto),
                proxy: None,
                lock_wait: Duration::from_secs(5),
                lock_ttl: Duration::from_secs(60),
                checkpoint_bytes: 32 << 20,
                checkpoint_interval: Duration::from_secs(2),
                upload_expiry: None,
                cors: Cors::default(),
                checksum_algorithms: Algorithm::ALL.to_vec(),
                concatenation: true,
                concatenation_unfinished: true,
                delete_parts: false,
                max_parts: 1000,
                max_metadata: 4096,
                downloads: false,
                rufh: true,
                tusd_urls: false,
                hooks: Subscriptions::default(),
            },
            locations: Locations::Auto,
            location_base_url: None,
            behind_proxy: false,
            proxy_headers: ProxyHeaders::XForwarded,
        }
    }

    /// The answer to a request whose head can't be read, or that fails before an exchange begins. `origin` is the
    /// value of its `Origin`, as far as that was read: without it no page of another origin may see the answer.
    pub fn refusal(&self, code: ErrorCode, origin: Option<&[u8]>, wall: WallTime) -> Response {
        let mut response = Response::error(code, wall);
        self.cors.extend(&mut response, &self.cors.origin(origin), None);
        response
    }

    /// The address of the client, where this server is behind a proxy that tells it: the last member of
    /// `X-Forwarded-For`, or of `Forwarded`, as [`ConfigBuilder::proxy_headers`] says.
    pub fn client_address(&self, head: &Head<'_>) -> Option<core::net::IpAddr> {
        forwarded_for(head, self.proxy?)
    }

    /// Returns whether finished uploads may be downloaded.
    pub fn downloads(&self) -> bool {
        self.downloads
    }

    /// The path of the collection, without a trailing slash; empty for the root.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// The upload that the last part of a URL's path names. `None` if it can't be one.
    pub fn upload_id(&self, segment: &str) -> Option<UploadId> {
        match segment.split_once('+') {
            // A slash in the name would be a path below the upload's.
            Some((id, name)) if self.tusd_urls && !name.contains('/') => UploadId::new(id),
            _ => UploadId::new(segment),
        }
    }

    /// The largest upload, in bytes; `None` if there is no limit.
    pub fn max_size(&self) -> Option<u64> {
        (self.max_size > 0).then_some(self.max_size)
    }

    /// How long an unfinished upload lives after its last commit; none for ever.
    pub fn upload_expiry(&self) -> Option<Duration> {
        self.upload_expiry
    }

    /// Which hooks the runtime carries out.
    pub fn hooks(&self) -> Subscriptions {
        self.hooks
    }

    /// Which hooks the runtime carries out, see [`ConfigBuilder::hooks`]: a runtime knows it better than who
    /// made the rules.
    pub fn set_hooks(&mut self, hooks: Subscriptions) {
        self.hooks = hooks;
    }

    /// When an upload that is written to now is to expire; `kept` where no rule of this server says otherwise.
    pub(crate) fn expires(&self, wall: WallTime, kept: Option<WallTime>) -> Option<WallTime> {
        self.upload_expiry.map(|expiry| wall.after(expiry)).or(kept)
    }

    /// The algorithms that `Upload-Checksum` may name; empty if the extension is disabled.
    pub fn checksum_algorithms(&self) -> &[Algorithm] {
        &self.checksum_algorithms
    }

    /// The largest body of one request, in bytes; `None` if there is no limit.
    pub fn max_chunk_size(&self) -> Option<u64> {
        (self.max_chunk_size > 0).then_some(self.max_chunk_size)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::builder().config
    }
}

/// Collects what differs from the defaults; [`ConfigBuilder::build`] checks it.
#[derive(Clone, Debug)]
pub struct ConfigBuilder {
    config: Config,
    locations: Locations,
    location_base_url: Option<String>,
    behind_proxy: bool,
    proxy_headers: ProxyHeaders,
}

impl ConfigBuilder {
    /// The path of the collection: starts with a slash, of unreserved characters and slashes. Default `/files`.
    pub fn base_path(mut self, path: &str) -> Self {
        self.config.base_path = path.into();
        self
    }

    /// The largest upload, in bytes; 0 (the default) for no limit.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.config.max_size = bytes;
        self
    }

    /// The largest body of one request, in bytes; 0 (the default) for no limit.
    pub fn max_chunk_size(mut self, bytes: u64) -> Self {
        self.config.max_chunk_size = bytes;
        self
    }

    /// Whether clients may delete uploads. Default yes.
    pub fn termination(mut self, enabled: bool) -> Self {
        self.config.termination = enabled;
        self
    }

    /// Which requests `X-HTTP-Method-Override` may turn into those of another method. Default those of POST.
    pub fn method_override(mut self, requests: MethodOverride) -> Self {
        self.config.method_override = requests;
        self
    }

    /// Whether `Location` is absolute, where neither a base URL nor a proxy decides. Default by the request.
    pub fn locations(mut self, locations: Locations) -> Self {
        self.locations = locations;
        self
    }

    /// Makes `Location` absolute, under this `http` or `https` URL: the collection's, as clients reach it.
    pub fn location_base_url(mut self, url: &str) -> Self {
        self.location_base_url = Some(url.into());
        self
    }

    /// Makes `Location` absolute, from what a proxy says of the address the client used. Only where a proxy
    /// sets those headers or adds to them: otherwise clients choose what they are told. With
    /// [`Locations::Relative`] it stays relative.
    pub fn behind_proxy(mut self, enabled: bool) -> Self {
        self.behind_proxy = enabled;
        self
    }

    /// In which headers the proxy says it; what others say is the client's own. Of a list the last member counts,
    /// which is the one that the proxy has added. Default `X-Forwarded-*`.
    pub fn proxy_headers(mut self, headers: ProxyHeaders) -> Self {
        self.proxy_headers = headers;
        self
    }

    /// How long a writer waits for the one before it to yield, before it is told 423. Default 5 s.
    pub fn lock_wait(mut self, wait: Duration) -> Self {
        self.config.lock_wait = wait;
        self
    }

    /// How long a lock lives without renewal: at least 1 s. Default 60 s.
    pub fn lock_ttl(mut self, ttl: Duration) -> Self {
        self.config.lock_ttl = ttl;
        self
    }

    /// A long body is committed whenever this many new bytes are staged: at least 1. Default 32 MiB.
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.config.checkpoint_bytes = bytes;
        self
    }

    /// A long body is committed whenever this time has passed since its first uncommitted byte: at least
    /// 1 ms. Default 2 s.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.config.checkpoint_interval = interval;
        self
    }

    /// How long an unfinished upload lives after its last commit: at least 1 s. Default for ever.
    pub fn upload_expiry(mut self, expiry: Option<Duration>) -> Self {
        self.config.upload_expiry = expiry;
        self
    }

    /// The algorithms that `Upload-Checksum` may name, in the order they are told; none disables the extension.
    /// Default all that were compiled in.
    pub fn checksum_algorithms(mut self, algorithms: Vec<Algorithm>) -> Self {
        self.config.checksum_algorithms = algorithms;
        self
    }

    /// Whether uploads may be concatenated. Default yes.
    pub fn concatenation(mut self, enabled: bool) -> Self {
        self.config.concatenation = enabled;
        self
    }

    /// Whether a final may be made before its parts are finished. Default yes.
    pub fn concatenation_unfinished(mut self, enabled: bool) -> Self {
        self.config.concatenation_unfinished = enabled;
        self
    }

    /// Whether the parts of a final are deleted once it is complete. Default no: they may be used again.
    pub fn delete_parts(mut self, enabled: bool) -> Self {
        self.config.delete_parts = enabled;
        self
    }

    /// How many parts a final may have: at least 1. Default 1000.
    pub fn max_parts(mut self, parts: usize) -> Self {
        self.config.max_parts = parts;
        self
    }

    /// The largest `Upload-Metadata`, in bytes, repeated lines joined. Default 4096.
    pub fn max_metadata(mut self, bytes: usize) -> Self {
        self.config.max_metadata = bytes;
        self
    }

    /// Whether finished uploads can be downloaded with GET. Default no.
    pub fn downloads(mut self, enabled: bool) -> Self {
        self.config.downloads = enabled;
        self
    }

    /// Whether the IETF's resumable uploads (draft-ietf-httpbis-resumable-upload) are spoken as well. Default yes.
    pub fn rufh(mut self, enabled: bool) -> Self {
        self.config.rufh = enabled;
        self
    }

    /// Whether `ID+NAME` names the upload `ID`, whatever `NAME` is: tusd's URLs on S3 end with the name of the multipart
    /// upload. Default no.
    pub fn tusd_urls(mut self, enabled: bool) -> Self {
        self.config.tusd_urls = enabled;
        self
    }

    /// Which hooks the runtime carries out. Default none.
    pub fn hooks(mut self, hooks: Subscriptions) -> Self {
        self.config.hooks = hooks;
        self
    }

    /// The origins whose pages may use the server from a browser, as `https://example.org`, or `*` for all (but not
    /// with credentials). Default none: browsers then keep pages of other origins away.
    pub fn cors_allow_origins(mut self, origins: Vec<String>) -> Self {
        self.config.cors.origins = origins;
        self
    }

    /// Request headers that those pages may send beside the protocol's own.
    pub fn cors_allow_headers(mut self, names: Vec<String>) -> Self {
        self.config.cors.headers = names;
        self
    }

    /// Whether those pages may send cookies and the like. Default no.
    pub fn cors_allow_credentials(mut self, allowed: bool) -> Self {
        self.config.cors.credentials = allowed;
        self
    }

    /// How long a browser may remember the answer to a preflight, in whole seconds. Default: its own rule.
    pub fn cors_max_age(mut self, age: Option<Duration>) -> Self {
        self.config.cors.max_age = age;
        self
    }

    /// The configuration, if all of it makes sense. The error is the caller's, and says how to mend it.
    pub fn build(mut self) -> Result<Config, ConfigError> {
        let config = &mut self.config;
        config.cors = core::mem::take(&mut config.cors).checked()?;
        config.base_path = checked_base_path(&config.base_path)?;
        config.proxy = self.behind_proxy.then_some(self.proxy_headers);
        config.location = match (&self.location_base_url, self.behind_proxy, self.locations) {
            (Some(_), true, _) => {
                return Err(ConfigError::new("give either a location base URL or behind-proxy, not both"));
            }
            (Some(_), _, Locations::Relative) => {
                return Err(ConfigError::new(
                    "give either a location base URL or relative locations, not both",
                ));
            }
            (Some(url), ..) => Location::Under(checked_url(url)?),
            (None, true, Locations::Auto | Locations::Absolute) => Location::BehindProxy(self.proxy_headers),
            (None, _, locations) => Location::By(locations),
        };
        if config.upload_expiry.is_some_and(|expiry| expiry < Duration::from_secs(1)) {
            return Err(ConfigError::new("an upload must live at least 1s"));
        }
        if config.lock_ttl < Duration::from_secs(1) {
            return Err(ConfigError::new("the lock's time to live must be at least 1s"));
        }
        if config.max_parts == 0 {
            return Err(ConfigError::new("a final needs room for at least 1 part"));
        }
        if config.checkpoint_bytes == 0 || config.checkpoint_interval < Duration::from_millis(1) {
            return Err(ConfigError::new("checkpoints need at least 1 byte and 1ms between them"));
        }
        Ok(self.config)
    }
}

fn checked_base_path(path: &str) -> Result<String, ConfigError> {
    let trimmed = path.trim_end_matches('/');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let dots = trimmed.split('/').any(|segment| segment == "." || segment == "..");
    if !path.starts_with('/') || !trimmed.bytes().all(allowed) || trimmed.contains("//") || dots {
        return Err(ConfigError(format!(
            "the base path {path:?} must start with / and have only letters, digits and -._~ between slashes, as /files"
        )));
    }
    Ok(trimmed.into())
}

fn checked_url(url: &str) -> Result<String, ConfigError> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let well_formed = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\".contains(&b))
    });
    if !well_formed {
        return Err(ConfigError(format!(
            "the location base URL {url:?} must be an absolute http or https URL without query or fragment, as https://example.org/files"
        )));
    }
    Ok(url.trim_end_matches('/').into())
}

/// What is wrong with a configuration, and how to put it right. The caller's fault; nothing was done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    fn new(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for ConfigError {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_tusd_name_the_upload_before_the_plus_sign_if_they_are_taken() {
        let id = |taken: bool, segment: &str| {
            let config = Config::builder().tusd_urls(taken).build().unwrap();
            config.upload_id(segment).map(|id| String::from(id.as_str()))
        };
        let name = "c1+2~ZW5vbmU.x_y-z--";
        assert_eq!(id(true, name).as_deref(), Some("c1"));
        assert_eq!(id(true, "c1+").as_deref(), Some("c1"));
        assert_eq!(id(true, "c1").as_deref(), Some("c1"));
        assert_eq!(id(false, name), None);
        for bad in ["+a", "a/b", "a+b/c", "a/b+c", "a%2Bb", ""] {
            assert_eq!(id(true, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn base_paths_are_normalised_or_refused() {
        let path = |text: &str| Config::builder().base_path(text).build().map(|c| c.base_path);
        assert_eq!(path("/"), Ok("".into()));
        assert_eq!(path("/a/b//"), Ok("/a/b".into()));
        for bad in ["", "files", "/a b", "/a//b", "/a/../b", "/ä", "/a?b", "/a%20b"] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn location_base_urls_are_checked_and_exclude_behind_proxy() {
        let url = |text: &str| Config::builder().location_base_url(text).build().map(|c| c.location);
        assert_eq!(url("https://h/up/"), Ok(Location::Under("https://h/up".into())));
        for bad in ["", "h/up", "ftp://h", "https://", "https:///x", "https://h/?q", "https://h/\r\nX: y"] {
            assert!(url(bad).is_err(), "{bad:?}");
        }
        assert!(Config::builder().location_base_url("http://h").behind_proxy(true).build().is_err());
        let relative = || Config::builder().locations(Locations::Relative);
        assert!(relative().location_base_url("http://h").build().is_err());
        let location = relative().behind_proxy(true).build().map(|c| c.location);
        assert_eq!(location, Ok(Location::By(Locations::Relative)));
    }
}
