//! Field lines, and the values of the fields that concern the connection: lists, `Host`, `Connection`, `Expect`.

use smallvec::{SmallVec, smallvec};

/// Names and values, in their order.
pub(super) type Fields<'b> = SmallVec<[(&'b str, &'b [u8]); 24]>;

/// A malformed field line or value: the client's fault, 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads `lines` field lines and the empty line behind them. httparse checks names (RFC 9110 section 5.1: a
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

/// Whether this is `uri-host [ ":" port ]` with a host that is not empty: what `Host` holds, and an absolute or
/// authority-form target. Without userinfo, which RFC 9110 section 4.2.4 has us treat as an error.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let (host_ok, rest) = match text {
        [b'[', literal @ ..] => {
            let end = literal.iter().position(|byte| *byte == b']').unwrap_or(0);
            let allowed = |byte: &u8| is_reg_name(*byte) || *byte == b':';
            (end > 0 && literal[..end].iter().all(allowed), literal.get(end + 1..).unwrap_or(b"?"))
        }
        _ => {
            let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            (end > 0 && is_host_name(&text[..end]), &text[end..])
        }
    };
    let port_ok = match rest {
        [] => true,
        [b':', port @ ..] => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_ok && port_ok
}

/// RFC 3986 section 3.2.2, reg-name: a percent sign begins two hexadecimal digits.
fn is_host_name(name: &[u8]) -> bool {
    let encoded =
        |at: usize| name.get(at + 1..at + 3).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    name.iter().enumerate().all(|(at, byte)| is_reg_name(*byte) || (*byte == b'%' && encoded(at)))
}

fn is_reg_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
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
