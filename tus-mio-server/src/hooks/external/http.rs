//! Hooks that are an HTTP service: each is a POST of the document, which is tried again where that may help.

use std::{
    fmt, fs,
    net::IpAddr,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body,
    http::{Response, StatusCode, Uri},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem},
};

use super::{Answer, Call, ExternalError, HttpSettings, Invoke, document::canonical};

/// An HTTP service.
pub(super) struct Service {
    settings: HttpSettings,
    agent: Agent,
}

impl Service {
    pub(super) fn new(settings: HttpSettings) -> Result<Self, ExternalError> {
        let url = settings.url.parse::<Uri>().ok().filter(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
        });
        let Some(url) = url else {
            let text =
                format!("{:?} is no URL of hooks: give one as http://127.0.0.1:5000/hooks", settings.url);
            return Err(ExternalError(text));
        };
        let roots = settings.ca.as_deref().map_or(Ok(RootCerts::PlatformVerifier), certificates)?;
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let mut config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .user_agent(concat!("tus-mio-server/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections(settings.connections)
            .max_idle_connections_per_host(settings.connections);
        if is_local(&url) {
            // The proxy that the environment names is for others, as Go has it.
            config = config.proxy(None);
        }
        let agent = config.build().new_agent();
        Ok(Self { settings, agent })
    }

    /// One try, in the time that is left.
    fn send(&self, call: &Call<'_>, text: &str, left: Duration) -> Result<Response<Body>, ureq::Error> {
        let mut request = self.agent.post(&self.settings.url).config().timeout_global(Some(left)).build();
        for name in &self.settings.forward_headers {
            let wanted = canonical(name);
            let fields = call.request.iter().flat_map(|request| &request.fields);
            for (_, value) in fields.filter(|(field, _)| canonical(field) == wanted) {
                request = request.header(name.as_str(), value.as_slice());
            }
        }
        request = request.header("Content-Type", "application/json");
        if let Some(id) = &call.event_id {
            request = request.header("Idempotency-Key", id.as_str());
        }
        request.send(text)
    }

    fn read(&self, mut response: Response<Body>) -> Result<Answer, String> {
        let status = response.status();
        let limit = self.settings.size_limit;
        let wrong = |error: ureq::Error| match error {
            ureq::Error::BodyExceedsLimit(_) => format!("its answer is longer than {limit} bytes"),
            error => format!("its answer can't be read: {error}"),
        };
        // An answer of exactly the limit is none too many.
        let body = response.body_mut().with_config().limit(limit.saturating_add(1)).read_to_vec();
        if !status.is_success() {
            let body = body.unwrap_or_default();
            return Err(format!("it answered {status}: {:?}", String::from_utf8_lossy(&body)));
        }
        let body = body.map_err(wrong)?;
        if body.len() as u64 > limit {
            return Err(format!("its answer is longer than {limit} bytes"));
        }
        if status == StatusCode::NO_CONTENT || body.trim_ascii().is_empty() {
            return Ok(Answer::default());
        }
        let media_type = response.body().mime_type().unwrap_or_default().to_ascii_lowercase();
        if media_type != "application/json" {
            return Err(format!("its answer is of the type {media_type:?}, and must be application/json"));
        }
        let cache_control = response.headers().get("Cache-Control").and_then(|value| value.to_str().ok());
        Answer::parse(&body).map(|answer| answer.cached(cache_control))
    }
}

/// The certificates in a file, as the only ones that are trusted.
fn certificates(file: &Path) -> Result<RootCerts, ExternalError> {
    let wrong = |error: String| {
        ExternalError(format!("the certificates of hooks in {} can't be used: {error}", file.display()))
    };
    let text = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let items = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    let certificates: Vec<Certificate<'static>> =
        items.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("there is none".into()));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// Whether a URL names this machine.
fn is_local(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Invoke for Service {
    fn invoke(&self, call: &Call<'_>) -> Result<Answer, String> {
        let text = call.document.json.to_string();
        let end = Instant::now() + self.settings.timeout;
        let mut tries = 1;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("no answer within {:?}", self.settings.timeout));
            }
            let sent = self.send(call, &text, left);
            let again = sent.as_ref().map_or(true, |response| response.status().is_server_error());
            let left = end.saturating_duration_since(Instant::now());
            if !again || tries >= self.settings.tries || left <= self.settings.backoff {
                let response =
                    sent.map_err(|error| format!("{} can't be asked: {error}", self.settings.url))?;
                return self.read(response);
            }
            tries += 1;
            thread::sleep(self.settings.backoff);
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("settings", &self.settings).finish_non_exhaustive()
    }
}
