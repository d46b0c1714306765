//! Field lines, and the values of the fields that concern the connection: lists, `Host`, `Connection`, `Expect`.

use std::net::Ipv6Addr;

use smallvec::{SmallVec, smallvec};

/// Names and values, in their order.
pub(super) type Fields<'b> = SmallVec<[(&'b str, &'b [u8]); 24]>;

/// A malformed field line or value: the client's fault, 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads `lines` field lines and the empty line after them. httparse checks names (RFC 9110 section 5.1: a
/// token, and by RFC 9112 section 5.1 no blank before the colon) and strips blanks around values.
pub(super) fn parse(section: &[u8], lines: usize) -> Result<Fields<'_>, Malformed> {
    let mut slots: SmallVec<[httparse::Header<'_>; 24]> = smallvec![httparse::EMPTY_HEADER; lines];
    match httparse::parse_headers(section, &mut slots) {
        // What httparse takes for the end of the section must be ours, else one of the two is wrong.
        Ok(httparse::Status::Complete((end, fields))) if end == section.len() && fields.len() == lines => {
            Ok(fields.iter().map(|field| (field.name, field.value)).collect())
        }
        _ => Err(Malformed),
    }
}

/// The values of all fields of this name, in their order.
pub(super) fn values<'b>(fields: &Fields<'b>, name: &str) -> impl Iterator<Item = &'b [u8]> {
    fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// The elements of a list over all lines of a field, without surrounding blanks; empty ones too (RFC 9110
/// section 5.6.1).
pub(super) fn list<'b>(fields: &Fields<'b>, name: &str) -> impl Iterator<Item = &'b [u8]> {
    values(fields, name).flat_map(|value| value.split(|byte| *byte == b',')).map(trim)
}

/// Whether `option` is an element of the list, compared without case.
pub(super) fn names(fields: &Fields<'_>, field: &str, option: &str) -> bool {
    list(fields, field).any(|element| element.eq_ignore_ascii_case(option.as_bytes()))
}

/// RFC 9112 section 3.2: exactly one `Host` on HTTP/1.1, at most one before, and well-formed.
pub(super) fn check_host(fields: &Fields<'_>, required: bool) -> Result<(), Malformed> {
    let mut hosts = values(fields, "Host");
    match (hosts.next(), hosts.next()) {
        (None, _) if !required => Ok(()),
        // RFC 9110 section 7.2: empty where the target has no authority.
        (Some(b""), None) => Ok(()),
        (Some(host), None) if is_authority(host) => Ok(()),
        _ => Err(Malformed),
    }
}

/// Whether this is `uri-host [ ":" port ]` with a host that is not empty: what `Host` holds, and an absolute
/// target. Without userinfo, which RFC 9110 section 4.2.4 has us treat as an error.
pub(super) fn is_authority(text: &[u8]) -> bool {
    port_of(text).is_some()
}

/// What is after the host's colon, empty where there is none; `None` where this is no authority at all.
pub(super) fn port_of(text: &[u8]) -> Option<&[u8]> {
    let end = match text {
        [b'[', literal @ ..] => literal.iter().position(|byte| *byte == b']')? + 2,
        _ => text.iter().position(|byte| *byte == b':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(end);
    let port = if rest.is_empty() { rest } else { rest.strip_prefix(b":")? };
    let number = str::from_utf8(port).ok().and_then(|digits| digits.parse::<u16>().ok());
    let port_ok = port.is_empty() || (port.iter().all(u8::is_ascii_digit) && number.is_some());
    (is_host(host) && port_ok).then_some(port)
}

/// RFC 3986 section 3.2.2: an address in brackets, or a name, where a percent sign begins two hexadecimal digits.
fn is_host(host: &[u8]) -> bool {
    if let [b'[', literal @ .., b']'] = host {
        let address = str::from_utf8(literal).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
        return address.is_some() || is_later_address(literal);
    }
    let encoded =
        |at: usize| host.get(at + 1..at + 3).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    let mut bytes = host.iter().enumerate();
    !host.is_empty() && bytes.all(|(at, byte)| is_reg_name(*byte) || (*byte == b'%' && encoded(at)))
}

/// RFC 3986 section 3.2.2, IPvFuture.
fn is_later_address(literal: &[u8]) -> bool {
    let Some(dot) = literal.iter().position(|byte| *byte == b'.') else { return false };
    let (version, address) = (&literal[..dot], &literal[dot + 1..]);
    let [b'v' | b'V', version @ ..] = version else { return false };
    let all = |text: &[u8], allowed: fn(&u8) -> bool| !text.is_empty() && text.iter().all(allowed);
    all(version, u8::is_ascii_hexdigit) && all(address, |byte| is_reg_name(*byte) || *byte == b':')
}

/// Without the comma that RFC 3986 allows: no host has one, and where somebody has joined two `Host` lines, one does.
fn is_reg_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte)
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Without the blanks around it: SP and HTAB, no others (RFC 9110 section 5.6.3).
fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().take_while(|byte| blank(byte)).count();
    let text = &text[start..];
    let end = text.iter().rev().take_while(|byte| blank(byte)).count();
    &text[..text.len() - end]
}
