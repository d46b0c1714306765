//! Cross-origin resource sharing (the Fetch standard, section 3.2): which pages of other origins a browser lets
//! talk to the server, and read what it answers, a 412 as well as a 201.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{net::Ipv6Addr, time::Duration};

use crate::{
    ConfigError, Response,
    header::{authority, is_token},
};

/// The request headers that clients of this protocol send. An operator may add to them.
const REQUEST_HEADERS: &str = "Authorization, Content-Digest, Content-Disposition, Content-Encoding, Content-Type, If-Match, \
     If-None-Match, If-Range, Range, Repr-Digest, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, \
     Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Incomplete, Upload-Length, Upload-Metadata, Upload-Offset, \
     Want-Repr-Digest, X-HTTP-Method-Override, X-Request-ID, X-Requested-With";

/// The response headers that a page may read.
const EXPOSED_HEADERS: &str = "Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, Date, ETag, Location, \
     Repr-Digest, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Complete, \
     Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, Upload-Incomplete, Upload-Length, \
     Upload-Limit, Upload-Metadata, Upload-Offset, X-Request-ID";

/// The origins that may use the server from a browser, and how. By default none: then no header of this kind is
/// ever sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cors {
    /// `*`, or origins as browsers send them.
    pub origins: Vec<String>,
    pub headers: Vec<String>,
    pub credentials: bool,
    pub max_age: Option<Duration>,
}

/// The origin of a request, where there is one and the server has an opinion of it.
#[derive(Debug)]
pub(crate) enum Origin {
    /// No list is set, or no browser asks.
    None,
    /// Not one of ours, or none at all: the answer differs by origin all the same.
    Other,
    /// Ours; named in the answer.
    Allowed(String),
}

impl Origin {
    /// Which pages may show a download, whatever the answer says of reading it.
    pub(crate) fn resource_policy(&self) -> &'static str {
        if matches!(self, Self::Allowed(_)) { "cross-origin" } else { "same-origin" }
    }
}

impl Cors {
    /// What an operator has written, with origins as browsers send them.
    pub(crate) fn checked(mut self) -> Result<Self, ConfigError> {
        for origin in &mut self.origins {
            *origin = normalised(origin).ok_or_else(|| {
                ConfigError::from(format!(
                    "the allowed origin {origin:?} must be * or an origin as https://example.org, without a path"
                ))
            })?;
        }
        // Any page can have the origin null: from within a frame that is a sandbox.
        let anybody = self.origins.iter().find(|origin| matches!(origin.as_str(), "*" | "null"));
        if let Some(anybody) = anybody.filter(|_| self.credentials) {
            return Err(ConfigError::from(format!(
                "with {anybody} as allowed origin any page could act for its visitors: name the origins, or allow no credentials"
            )));
        }
        match self.headers.iter().find(|name| !is_token(name)) {
            Some(name) => {
                Err(ConfigError::from(format!("the allowed header {name:?} is not a header's name")))
            }
            None => Ok(self),
        }
    }

    fn any(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    /// What the server thinks of a request with this `Origin`.
    pub(crate) fn origin(&self, origin: Option<&[u8]>) -> Origin {
        if self.origins.is_empty() {
            return Origin::None;
        }
        let origin = origin.and_then(|value| core::str::from_utf8(value).ok());
        let listed = |origin: &&str| self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin));
        match origin.filter(listed) {
            // Where every origin gets the same answer, nothing needs to say that they might not.
            _ if self.any() => Origin::Allowed("*".to_string()),
            Some(origin) => Origin::Allowed(origin.to_string()),
            None => Origin::Other,
        }
    }

    /// Adds what a browser wants to know. `methods` are those of the server, where the request is an OPTIONS.
    pub(crate) fn extend(&self, response: &mut Response, origin: &Origin, methods: Option<&str>) {
        let Origin::Allowed(allowed) = origin else {
            if matches!(origin, Origin::Other) {
                response.push("Vary", "Origin");
            }
            return;
        };
        if allowed != "*" {
            response.push("Vary", "Origin");
        }
        response.push("Access-Control-Allow-Origin", allowed);
        if self.credentials {
            response.push("Access-Control-Allow-Credentials", "true");
        }
        // On an OPTIONS too: a script may send one to learn what the server can do.
        response.push("Access-Control-Expose-Headers", EXPOSED_HEADERS);
        let Some(methods) = methods else { return };
        response.push("Access-Control-Allow-Methods", methods);
        let more = self.headers.iter().map(|name| format!(", {name}")).collect::<String>();
        response.push("Access-Control-Allow-Headers", format_args!("{REQUEST_HEADERS}{more}"));
        if let Some(age) = self.max_age {
            response.push("Access-Control-Max-Age", age.as_secs());
        }
    }
}

/// An origin as browsers send it: in small letters, without the port that goes without saying. `None` if no
/// browser would send anything like it.
fn normalised(origin: &str) -> Option<String> {
    if matches!(origin, "*" | "null") {
        return Some(origin.into());
    }
    let (scheme, rest) = origin.split_once("://")?;
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(letter) {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        // Those of apps that have a browser in them.
        _ => {
            let allowed = |b: u8| b.is_ascii_graphic() && !b"/\\?#@*,\"".contains(&b);
            let well_formed = !rest.is_empty() && rest.bytes().all(allowed);
            return well_formed.then(|| format!("{scheme}://{}", rest.to_ascii_lowercase()));
        }
    };
    let (host, port) = authority(rest)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
        None => host.to_ascii_lowercase(),
    };
    Some(match port {
        Some(port) if port != default => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::WallTime;

    fn answer(cors: &Cors, origin: Option<&str>, methods: Option<&str>) -> Response {
        let mut response = Response::new(204, WallTime::default());
        cors.extend(&mut response, &cors.origin(origin.map(str::as_bytes)), methods);
        response
    }

    fn list(origins: &[&str]) -> Cors {
        Cors { origins: origins.iter().map(ToString::to_string).collect(), ..Cors::default() }
    }

    #[test]
    fn a_listed_origin_is_echoed_and_the_answer_varies() {
        let cors = list(&["https://a.example", "https://b.example"]);
        let response = answer(&cors, Some("https://b.example"), None);
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("https://b.example"));
        assert_eq!(response.header("Vary"), Some("Origin"));
        assert!(
            response
                .header("Access-Control-Expose-Headers")
                .is_some_and(|names| names.contains("Upload-Offset"))
        );
        assert_eq!(response.header("Access-Control-Allow-Methods"), None);
        for other in [Some("https://c.example"), None] {
            let response = answer(&cors, other, Some("POST"));
            assert_eq!(response.header("Vary"), Some("Origin"));
            assert!(response.headers().all(|(name, _)| !name.starts_with("Access-Control")), "{other:?}");
        }
    }

    #[test]
    fn any_origin_is_told_so_and_never_with_credentials() {
        let any = list(&["*"]);
        let response = answer(&any, Some("https://a.example"), None);
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(response.header("Vary"), None);
        for anybody in [&["*"][..], &["https://a.example", "*"], &["null"]] {
            assert!(Cors { credentials: true, ..list(anybody) }.checked().is_err(), "{anybody:?}");
        }
        let named = Cors { credentials: true, ..list(&["https://a.example"]) }.checked();
        let response = answer(&named.unwrap_or_default(), Some("https://a.example"), None);
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("https://a.example"));
        assert_eq!(response.header("Access-Control-Allow-Credentials"), Some("true"));
        assert_eq!(response.header("Vary"), Some("Origin"));
        assert!(answer(&Cors::default(), Some("https://a.example"), Some("POST")).header("Vary").is_none());
    }

    #[test]
    fn origins_become_what_browsers_send() {
        for (written, sent) in [
            ("https://app.example:443", "https://app.example"),
            ("http://App.Example:80", "http://app.example"),
            ("HTTPS://app.example:8443", "https://app.example:8443"),
            ("http://app.example:443", "http://app.example:443"),
            ("https://app.example:0443", "https://app.example"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://[2001:DB8:0:0::1]:443", "https://[2001:db8::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("app://.", "app://."),
            ("*", "*"),
            ("null", "null"),
        ] {
            assert_eq!(normalised(written).as_deref(), Some(sent), "{written:?}");
            let cors = list(&[written]).checked().unwrap_or_default();
            let allowed = if sent == "*" { "https://x.example" } else { sent };
            let told = answer(&cors, Some(allowed), None);
            assert_eq!(told.header("Access-Control-Allow-Origin"), Some(sent), "{written:?}");
        }
    }

    #[test]
    fn a_preflight_learns_methods_headers_and_how_long_that_holds() {
        let headers = vec!["X-Mine".into()];
        let cors = Cors { headers, max_age: Some(Duration::from_secs(600)), ..list(&["*"]) };
        let response = answer(&cors, Some("https://a.example"), Some("POST, PATCH"));
        assert_eq!(response.header("Access-Control-Allow-Methods"), Some("POST, PATCH"));
        let allowed = response.header("Access-Control-Allow-Headers").unwrap_or_default();
        assert!(allowed.contains("Upload-Offset") && allowed.ends_with(", X-Mine"), "{allowed}");
        assert_eq!(response.header("Access-Control-Max-Age"), Some("600"));
    }

    #[test]
    fn what_is_no_origin_or_header_is_refused() {
        assert!(list(&["*", "null", "http://localhost:3000"]).checked().is_ok());
        for bad in [
            "",
            "example.org",
            "https://",
            "https://a/b",
            "https://a/",
            "https://a,https://b",
            "://a",
            "https://a\r\nX: y",
            "https://*.example",
            "https://a?b",
            "https://a#b",
            "https://user@a",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://\u{e9}",
            "https://[::g]",
            "app://*",
            "1x://a",
        ] {
            assert!(list(&[bad]).checked().is_err(), "{bad:?}");
        }
        assert!(Cors { headers: vec!["X Y".into()], ..Cors::default() }.checked().is_err());
    }
}
