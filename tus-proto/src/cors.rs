//! Cross-origin resource sharing (the Fetch standard, section 3.2): which pages of other origins a browser lets
//! talk to the server, and read what it answers, a 412 as well as a 201.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use crate::{ConfigError, Response, header::is_token};

/// The request headers that clients of this protocol send. An operator may add to them.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, If-Match, If-None-Match, If-Range, Range, Tus-Resumable, Upload-Checksum, \
     Upload-Concat, Upload-Defer-Length, Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override, \
     X-Request-ID, X-Requested-With";

/// The response headers that a page may read.
const EXPOSED_HEADERS: &str = "Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, Date, ETag, Location, \
     Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Concat, \
     Upload-Defer-Length, Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset, X-Request-ID";

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

impl Cors {
    /// Checks what an operator has written.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for origin in &self.origins {
            let rest =
                origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, rest)| rest);
            let host = |rest: &str| {
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b',')
            };
            if origin != "*" && origin != "null" && !rest.is_some_and(host) {
                return Err(ConfigError::from(format!(
                    "the allowed origin {origin:?} must be * or an origin as https://example.org, without a path"
                )));
            }
        }
        match self.headers.iter().find(|name| !is_token(name)) {
            Some(name) => {
                Err(ConfigError::from(format!("the allowed header {name:?} is not a header's name")))
            }
            None => Ok(()),
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
        let listed =
            |origin: &&str| self.any() || self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin));
        match origin.filter(listed) {
            // Where every origin gets the same answer, nothing needs to say that they might not.
            _ if self.any() && !self.credentials => Origin::Allowed("*".to_string()),
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
    fn any_origin_is_told_so_unless_credentials_forbid_it() {
        let any = list(&["*"]);
        let response = answer(&any, Some("https://a.example"), None);
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(response.header("Vary"), None);
        let response = answer(&Cors { credentials: true, ..any }, Some("https://a.example"), None);
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("https://a.example"));
        assert_eq!(response.header("Access-Control-Allow-Credentials"), Some("true"));
        assert_eq!(response.header("Vary"), Some("Origin"));
        assert!(answer(&Cors::default(), Some("https://a.example"), Some("POST")).header("Vary").is_none());
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
        assert!(list(&["*", "null", "http://localhost:3000"]).check().is_ok());
        for bad in
            ["", "example.org", "https://", "https://a/b", "https://a,https://b", "://a", "https://a\r\nX: y"]
        {
            assert!(list(&[bad]).check().is_err(), "{bad:?}");
        }
        assert!(Cors { headers: vec!["X Y".into()], ..Cors::default() }.check().is_err());
    }
}
