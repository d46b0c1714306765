//! Where a client behind a proxy believes it is: scheme and host for an absolute `Location`.

use alloc::{format, string::String};
use core::net::IpAddr;

use crate::{Head, ProxyHeaders, Target};

/// `scheme://host[:port]` as the proxy tells it in the headers that the operator has named, `Host` where it does
/// not; `None` if no host is named. What is malformed is as none; the scheme's default port is left out.
pub(crate) fn external_origin(head: &Head<'_>, headers: ProxyHeaders) -> Option<String> {
    let (told_scheme, told) = match headers {
        ProxyHeaders::XForwarded => {
            let port = || last_member(head, "X-Forwarded-Port").and_then(port_number);
            let told = last_member(head, "X-Forwarded-Host").and_then(authority);
            (last_member(head, "X-Forwarded-Proto"), told.map(|(host, known)| (host, known.or_else(port))))
        }
        ProxyHeaders::Forwarded => {
            let element = last_value(head, "Forwarded").map(last_element).unwrap_or_default();
            (parameter(element, "proto"), parameter(element, "host").and_then(authority))
        }
    };
    let scheme = told_scheme.and_then(scheme).unwrap_or_else(|| own_scheme(head));
    Some(written(scheme, told.or_else(|| host(head))?))
}

/// The address of the client, as the proxy tells it in the headers that the operator has named: the last member of a
/// list is what the proxy has added. `None` if there is none, or it is no address.
pub(crate) fn forwarded_for(head: &Head<'_>, headers: ProxyHeaders) -> Option<IpAddr> {
    let told = match headers {
        ProxyHeaders::XForwarded => last_member(head, "X-Forwarded-For")?,
        ProxyHeaders::Forwarded => parameter(last_element(last_value(head, "Forwarded")?), "for")?,
    };
    if let Ok(address) = told.parse() {
        return Some(address);
    }
    // With a port, IPv6 in brackets (RFC 7239 section 6).
    let bracketed = told.strip_prefix('[').and_then(|rest| rest.split(']').next());
    bracketed.or_else(|| told.rsplit_once(':').map(|(host, _)| host))?.parse().ok()
}

/// `scheme://host[:port]` by the connection and the request alone; `None` if that names no host.
pub(crate) fn direct_origin(head: &Head<'_>) -> Option<String> {
    Some(written(own_scheme(head), host(head)?))
}

/// Whether a request has come through a proxy, or from a page in a browser, as far as its head shows.
pub(crate) fn shows_proxy(head: &Head<'_>) -> bool {
    let begins = |name: &str, prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    head.fields.iter().any(|(name, _)| {
        let known = ["Forwarded", "Via", "X-Real-IP", "Origin"];
        known.iter().any(|known| known.eq_ignore_ascii_case(name))
            || begins(name, "X-Forwarded-")
            || begins(name, "Sec-Fetch-")
    })
}

/// The host that the request is for. Where the target has it, `Host` does not count (RFC 9112 section 3.2.2).
fn host<'a>(head: &Head<'a>) -> Option<(&'a str, Option<u16>)> {
    let target = Target::of(head.target).authority();
    target.or_else(|| last_value(head, "Host")).and_then(authority)
}

fn own_scheme(head: &Head<'_>) -> &'static str {
    if head.secure { "https" } else { "http" }
}

fn written(scheme: &str, (host, port): (&str, Option<u16>)) -> String {
    let default = if scheme == "https" { 443 } else { 80 };
    match port {
        Some(port) if port != default => format!("{scheme}://{host}:{port}"),
        _ => [scheme, "://", host].concat(),
    }
}

/// The last line of a field.
fn last_value<'a>(head: &Head<'a>, name: &str) -> Option<&'a str> {
    head.values(name).last().and_then(|value| core::str::from_utf8(value).ok())
}

/// The last member of a list: what the proxy has added to it. All before it may be the client's invention.
fn last_member<'a>(head: &Head<'a>, name: &str) -> Option<&'a str> {
    last_value(head, name)?.rsplit(',').next().map(str::trim)
}

/// The last element of a list whose separators may stand within quotes. It is looked for from the end, which is the
/// proxy's and well-formed: what a client has written before it may leave a quote open.
fn last_element(list: &str) -> &str {
    let bytes = list.as_bytes();
    let mut quoted = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        match byte {
            b'"' => {
                let before = bytes.get(..at).unwrap_or_default();
                let escapes = before.iter().rev().take_while(|b| **b == b'\\').count();
                quoted ^= escapes % 2 == 0;
            }
            b',' if !mutation!("quoted-separators", quoted, false) => {
                return list.get(at + 1..).unwrap_or_default();
            }
            _ => {}
        }
    }
    list
}

/// The value of `name` in `a=b;c="d"`, without its quotes.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = split_unquoted(element, ';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value))
}

/// Splits where the separator stands outside of quoted strings.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        if core::mem::take(&mut escaped) {
            return false;
        }
        escaped = quoted && c == '\\';
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| scheme.eq_ignore_ascii_case(text))
}

/// A host and its port: a name, an IPv4 address or a bracketed IPv6 address.
pub(crate) fn authority(text: &str) -> Option<(&str, Option<u16>)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at_checked(end)?;
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let well_formed = match inner {
        Some(address) => {
            !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
        }
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port_number(port)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    well_formed.then_some((host, port))
}

fn port_number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Framing;

    const X: ProxyHeaders = ProxyHeaders::XForwarded;
    const RFC: ProxyHeaders = ProxyHeaders::Forwarded;

    fn with<R>(target: &str, fields: &[(&str, &str)], look: impl FnOnce(&Head<'_>) -> R) -> R {
        let fields: alloc::vec::Vec<_> =
            fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let framing = Framing::Length(0);
        look(&Head { method: "POST", target, fields: &fields, framing, secure: false, direct: true })
    }

    fn origin(headers: ProxyHeaders, fields: &[(&str, &str)]) -> Option<String> {
        with("/", fields, |head| external_origin(head, headers))
    }

    #[test]
    fn the_named_headers_count_and_default_ports_are_dropped() {
        let host = ("Host", "inner:8080");
        for (headers, fields, want) in [
            (X, &[host][..], Some("http://inner:8080")),
            (X, &[host, ("X-Forwarded-Host", "a:443"), ("X-Forwarded-Proto", "HTTPS")], Some("https://a")),
            (X, &[host, ("X-Forwarded-Host", "a"), ("X-Forwarded-Port", "8443")], Some("http://a:8443")),
            (X, &[host, ("X-Forwarded-Proto", "https")], Some("https://inner:8080")),
            (X, &[host, ("Forwarded", "host=f;proto=https"), ("X-Forwarded-Host", "a")], Some("http://a")),
            (RFC, &[host, ("Forwarded", "host=f;proto=https"), ("X-Forwarded-Host", "a")], Some("https://f")),
            (
                RFC,
                &[host, ("X-Forwarded-Host", "a"), ("X-Forwarded-Proto", "https")],
                Some("http://inner:8080"),
            ),
            (RFC, &[host, ("Forwarded", "for=1;proto=https")], Some("https://inner:8080")),
            (RFC, &[host, ("Forwarded", "for=\"a;host=b,\\\"c;host=d;\";host=e")], Some("http://e")),
            (RFC, &[host, ("Forwarded", "host=[2001:db8::1]:80")], Some("http://[2001:db8::1]")),
            (X, &[], None),
            (RFC, &[], None),
        ] {
            assert_eq!(origin(headers, fields).as_deref(), want, "{fields:?}");
        }
    }

    #[test]
    fn the_proxy_tells_the_clients_address() {
        for (headers, field, value, want) in [
            (X, "X-Forwarded-For", "10.0.0.1, 192.0.2.7", Some("192.0.2.7")),
            (X, "x-forwarded-for", "2001:db8::1", Some("2001:db8::1")),
            (X, "X-Forwarded-For", "192.0.2.7:4711", Some("192.0.2.7")),
            (X, "X-Forwarded-For", "[2001:db8::1]:4711", Some("2001:db8::1")),
            (X, "X-Forwarded-For", "unknown", None),
            (X, "X-Forwarded-For", "", None),
            (X, "Forwarded", "for=192.0.2.7", None),
            (RFC, "Forwarded", "for=10.0.0.1, for=192.0.2.7;proto=https", Some("192.0.2.7")),
            (RFC, "Forwarded", "for=\"[2001:db8::1]:80\"", Some("2001:db8::1")),
            (RFC, "Forwarded", "for=_hidden", None),
            (RFC, "X-Forwarded-For", "192.0.2.7", None),
        ] {
            let told = with("/", &[(field, value)], |head| forwarded_for(head, headers));
            assert_eq!(told, want.and_then(|text| text.parse().ok()), "{field}: {value}");
        }
    }

    #[test]
    fn what_a_client_has_put_before_the_proxys_word_does_not_count() {
        for (headers, fields) in [
            (X, &[("X-Forwarded-Host", "evil, real"), ("X-Forwarded-Proto", "http, https")][..]),
            (
                X,
                &[("X-Forwarded-Host", "evil"), ("X-Forwarded-Host", "real"), ("X-Forwarded-Proto", "https")],
            ),
            (RFC, &[("Forwarded", "host=evil;proto=http, host=real;proto=https")]),
            (RFC, &[("Forwarded", "host=evil"), ("Forwarded", "for=1;host=real;proto=https")]),
            (RFC, &[("Forwarded", "host=evil;x=\", for=\"1.2.3.4:5\";host=real;proto=https")]),
            (RFC, &[("Forwarded", "host=evil;x=\"\\, for=\"a,\\\"b\";host=\"real\";proto=https")]),
        ] {
            assert_eq!(origin(headers, fields).as_deref(), Some("https://real"), "{fields:?}");
        }
    }

    #[test]
    fn malformed_values_are_as_none() {
        for bad in ["", "a b", "a/b", "a:", "a:0", "a:99999", "[::1", "[x]", "a\"", "é", "user@h"] {
            assert_eq!(
                origin(X, &[("Host", "h"), ("X-Forwarded-Host", bad)]).as_deref(),
                Some("http://h"),
                "{bad:?}"
            );
        }
        assert_eq!(origin(X, &[("Host", "h"), ("X-Forwarded-Proto", "gopher")]).as_deref(), Some("http://h"));
    }

    #[test]
    fn the_target_names_the_host_where_it_can() {
        let host = [("Host", "h:81")];
        assert_eq!(with("/", &host, direct_origin).as_deref(), Some("http://h:81"));
        assert_eq!(with("http://t/files", &host, direct_origin).as_deref(), Some("http://t"));
        assert_eq!(with("/", &[], direct_origin), None);
        assert_eq!(with("/", &[("Host", "")], direct_origin), None);
    }

    #[test]
    fn proxies_and_browsers_show() {
        for name in ["forwarded", "Via", "X-Real-IP", "x-forwarded-anything", "Origin", "Sec-Fetch-Mode"] {
            assert!(with("/", &[("Host", "h"), (name, "")], shows_proxy), "{name}");
        }
        for name in ["X-Forwarded", "Via-Me", "Referer", "User-Agent", "é"] {
            assert!(!with("/", &[("Host", "h"), (name, "x")], shows_proxy), "{name}");
        }
    }
}
