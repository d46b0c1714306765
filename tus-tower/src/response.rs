//! From the protocol's responses to those of the `http` crate, and from heads of the one to heads of the other.

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH},
    request::Parts,
    uri::Scheme,
};
use tus_driver::Source;
use tus_proto::{Body, Connection, Framing, Head, Response};

use crate::{body::TusBody, executor::Pool};

/// The response as it goes to the server of the connection.
pub(crate) fn http<S: Source>(
    response: &Response,
    source: Option<S>,
    pool: &Arc<Pool>,
    may_close: bool,
) -> http::Response<TusBody> {
    let body = match (response.content(), source) {
        (Body::Upload { from, to }, Some(source)) => TusBody::upload(source, *from, *to, pool.clone()),
        _ => TusBody::text(response.body()),
    };
    let mut answer = http::Response::new(body);
    // The protocol's statuses are all in range.
    *answer.status_mut() =
        StatusCode::from_u16(response.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    for (name, value) in response.headers() {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    }
    if let Body::Omitted { length } = response.content() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(*length));
    }
    if may_close && response.connection == Connection::Close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// How long the body is: as far as the body itself knows it, else as far as the head says it.
pub(crate) fn framing(headers: &HeaderMap, ended: bool, exact: Option<u64>) -> Framing {
    let said = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    match if ended { Some(0) } else { exact.or_else(said) } {
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

/// Whether a connection was secured, as far as that is known: by an extension of the request's, by how HTTP/2 names the
/// target, or because the application has said it of all.
fn scheme<'a>(parts: &'a Parts, default: Option<&'a Scheme>) -> Option<&'a Scheme> {
    let named = || parts.uri.scheme().filter(|_| parts.version == Version::HTTP_2);
    parts.extensions.get::<Scheme>().or_else(named).or(default)
}

/// The address that the connection comes from, if an extension tells it: axum's `ConnectInfo`, or a `SocketAddr`.
pub(crate) fn remote(parts: &Parts) -> Option<SocketAddr> {
    #[cfg(feature = "axum")]
    if let Some(info) = parts.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>() {
        return Some(info.0);
    }
    parts.extensions.get().copied()
}

/// Shows the protocol a request's head.
pub(crate) fn with_head<R>(
    parts: &Parts,
    framing: Framing,
    base_path: &str,
    default: Option<&Scheme>,
    look: impl FnOnce(&Head<'_>) -> R,
) -> R {
    let fields: Vec<_> =
        parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let scheme = scheme(parts, default);
    look(&Head {
        method: parts.method.as_str(),
        target: &target(parts, base_path),
        fields: &fields,
        framing,
        secure: scheme == Some(&Scheme::HTTPS),
        direct: scheme.is_some() && parts.version >= Version::HTTP_11,
    })
}

/// The target as the client has sent it, also where a router has stripped its prefix.
fn target(parts: &Parts, base_path: &str) -> String {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return original.0.to_string();
    }
    let path = parts.uri.path();
    let below = path.strip_prefix(base_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below || path == "*" {
        return parts.uri.to_string();
    }
    let origin = match (parts.uri.scheme_str(), parts.uri.authority()) {
        (Some(scheme), Some(authority)) => Cow::Owned(format!("{scheme}://{authority}")),
        _ => Cow::Borrowed(""),
    };
    let rest = parts.uri.path_and_query().map_or("/", |rest| rest.as_str());
    format!("{origin}{base_path}{rest}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::Request;

    use super::*;

    fn told(uri: &str) -> String {
        target(&Request::builder().uri(uri).body(()).unwrap().into_parts().0, "/files")
    }

    #[test]
    fn a_stripped_prefix_is_put_back() {
        for (uri, whole) in [
            ("/files/a?b", "/files/a?b"),
            ("/files", "/files"),
            ("/a?b", "/files/a?b"),
            ("/", "/files/"),
            ("/filesystem", "/files/filesystem"),
            ("*", "*"),
            ("http://h:1/files/a", "http://h:1/files/a"),
            ("http://h:1/a", "http://h:1/files/a"),
        ] {
            assert_eq!(told(uri), whole, "{uri}");
        }
    }

    #[cfg(feature = "axum")]
    #[test]
    fn axum_says_what_the_target_was() {
        let original = axum::extract::OriginalUri("/api/files/x?y".parse().unwrap());
        let request = Request::builder().uri("/x?y").extension(original).body(()).unwrap();
        assert_eq!(target(&request.into_parts().0, "/files"), "/api/files/x?y");
    }

    #[test]
    fn a_scheme_is_told_by_who_knows_it() {
        let direct = |request: Request<()>, default: Option<Scheme>| {
            let (parts, ()) = request.into_parts();
            let framing = Framing::Length(0);
            with_head(&parts, framing, "/files", default.as_ref(), |head| (head.direct, head.secure))
        };
        let plain = || Request::new(());
        assert_eq!(direct(plain(), None), (false, false));
        assert_eq!(direct(plain(), Some(Scheme::HTTP)), (true, false));
        let mut secured = plain();
        secured.extensions_mut().insert(Scheme::HTTPS);
        assert_eq!(direct(secured, Some(Scheme::HTTP)), (true, true));
        // A whole URL in a request line of HTTP/1.1 is the client's word alone.
        let whole = || Request::builder().uri("https://h/files");
        assert_eq!(direct(whole().body(()).unwrap(), None), (false, false));
        assert_eq!(direct(whole().version(Version::HTTP_2).body(()).unwrap(), None), (true, true));
        let old = Request::builder().version(Version::HTTP_10).body(()).unwrap();
        assert_eq!(direct(old, Some(Scheme::HTTP)), (false, false));
    }

    #[test]
    fn a_body_knows_its_length_best() {
        let mut headers = HeaderMap::new();
        assert_eq!(framing(&headers, false, None), Framing::Chunked);
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
        assert_eq!(framing(&headers, false, None), Framing::Length(7));
        assert_eq!(framing(&headers, false, Some(5)), Framing::Length(5));
        assert_eq!(framing(&headers, true, None), Framing::Length(0));
    }
}
