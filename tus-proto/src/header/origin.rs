//! Where a client behind a proxy believes it is: scheme and host for an absolute `Location`.

use alloc::{format, string::String};

use crate::Head;

/// `scheme://host[:port]` as the proxy tells it, none where no trustworthy host is named. `Forwarded`
/// (RFC 7239) wins over `X-Forwarded-*`, those win over `Host`; a malformed value is as none; the scheme's
/// default port is left out.
pub(crate) fn external_origin(head: &Head<'_>) -> Option<String> {
    let first = |name| head.values(name).next().and_then(first_member);
    let forwarded = head.values("Forwarded").next().and_then(|value| core::str::from_utf8(value).ok());
    let forwarded = forwarded.and_then(|value| split_unquoted(value, ',').next()).unwrap_or_default();
    let scheme = parameter(forwarded, "proto")
        .and_then(scheme)
        .or_else(|| first("X-Forwarded-Proto").and_then(scheme))
        .unwrap_or(if head.secure { "https" } else { "http" });
    let (host, port) = parameter(forwarded, "host")
        .and_then(authority)
        .or_else(|| {
            let (host, port) = first("X-Forwarded-Host").and_then(authority)?;
            Some((host, port.or_else(|| first("X-Forwarded-Port").and_then(port_number))))
        })
        .or_else(|| first("Host").and_then(authority))?;
    let default = if scheme == "https" { 443 } else { 80 };
    Some(match port {
        Some(port) if port != default => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}

/// The first member of a list: what the proxy nearest to the client said.
fn first_member(value: &[u8]) -> Option<&str> {
    core::str::from_utf8(value).ok()?.split(',').next().map(str::trim)
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
        c == separator && !mutation!("quoted-separators", quoted, false)
    })
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| scheme.eq_ignore_ascii_case(text))
}

/// A host and its port: a name, an IPv4 address or a bracketed IPv6 address.
fn authority(text: &str) -> Option<(&str, Option<u16>)> {
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

    fn origin(fields: &[(&str, &str)]) -> Option<String> {
        let fields: alloc::vec::Vec<_> =
            fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let framing = Framing::Length(0);
        external_origin(&Head { method: "POST", target: "/", fields: &fields, framing, secure: false })
    }

    #[test]
    fn forwarded_wins_and_default_ports_are_dropped() {
        let host = ("Host", "inner:8080");
        for (fields, want) in [
            (&[host][..], Some("http://inner:8080")),
            (
                &[host, ("X-Forwarded-Host", "a.example, b"), ("X-Forwarded-Proto", "https")],
                Some("https://a.example"),
            ),
            (&[host, ("X-Forwarded-Host", "a:443"), ("X-Forwarded-Proto", "HTTPS")], Some("https://a")),
            (&[host, ("X-Forwarded-Host", "a"), ("X-Forwarded-Port", "8443")], Some("http://a:8443")),
            (
                &[host, ("Forwarded", "for=1;host=\"f:81\";proto=https, host=g"), ("X-Forwarded-Host", "a")],
                Some("https://f:81"),
            ),
            (&[host, ("Forwarded", "for=1;proto=https")], Some("https://inner:8080")),
            (&[host, ("Forwarded", "for=\"a;host=b,\\\"c;host=d;\";host=e")], Some("http://e")),
            (&[host, ("Forwarded", "host=[2001:db8::1]:80")], Some("http://[2001:db8::1]")),
            (&[], None),
        ] {
            assert_eq!(origin(fields).as_deref(), want, "{fields:?}");
        }
    }

    #[test]
    fn malformed_values_are_as_none() {
        for bad in ["", "a b", "a/b", "a:", "a:0", "a:99999", "[::1", "[x]", "a\"", "é", "user@h"] {
            assert_eq!(
                origin(&[("Host", "h"), ("X-Forwarded-Host", bad)]).as_deref(),
                Some("http://h"),
                "{bad:?}"
            );
        }
        assert_eq!(origin(&[("Host", "h"), ("X-Forwarded-Proto", "gopher")]).as_deref(), Some("http://h"));
    }
}
