//! Media types: the one of tus, and those that uploads are said to be of.

use super::is_tchar;

/// Whether a `Content-Type` is `application/offset+octet-stream`, whatever its parameters. Types compare
/// without case (RFC 9110 section 8.3.1).
pub(crate) fn is_offset_octet_stream(value: &[u8]) -> bool {
    let essence = value.split(|b| *b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/offset+octet-stream")
}

/// Whether this is a well-formed media type, with parameters or without (RFC 9110 section 8.3.1), in ASCII.
pub(crate) fn is_media_type(text: &str) -> bool {
    fn parse(text: &str) -> Option<()> {
        let mut rest = token(token(text)?.strip_prefix('/')?)?;
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            if rest.is_empty() {
                return Some(());
            }
            rest = rest.strip_prefix(';')?.trim_start_matches([' ', '\t']);
            if rest.is_empty() || rest.starts_with(';') {
                continue;
            }
            rest = token(rest)?.strip_prefix('=')?;
            rest = match rest.strip_prefix('"') {
                Some(quoted) => quoted_string(quoted)?,
                None => token(rest)?,
            };
        }
    }
    parse(text).is_some()
}

/// What follows a token.
fn token(text: &str) -> Option<&str> {
    let end = text.bytes().position(|b| !is_tchar(b)).unwrap_or(text.len());
    text.get(end..).filter(|_| end > 0)
}

/// What follows a quoted string, after its first quote.
fn quoted_string(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return text.get(at + 1..),
            b' '..=b'~' | b'\t' => escaped = byte == b'\\' && !escaped,
            _ => return None,
        }
    }
    None
}

/// Whether HTTP itself would take a body of this type for something: `multipart/byteranges` for several ranges of
/// another, and browsers the other multiparts for a series of bodies.
pub(crate) fn is_multipart(text: &str) -> bool {
    text.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

#[cfg(test)]
mod tests {
    use super::{is_media_type, is_offset_octet_stream as is};

    #[test]
    fn parameters_and_case_do_not_matter() {
        assert!(is(b"application/offset+octet-stream"));
        assert!(is(b"Application/Offset+Octet-Stream ; charset=x"));
        assert!(!is(b"application/octet-stream"));
        assert!(!is(b"application/offset+octet-streams"));
        assert!(!is(b""));
    }

    #[test]
    fn what_goes_out_as_a_media_type_is_one() {
        for text in [
            "text/plain",
            "application/vnd.x+json",
            "text/plain;charset=utf-8",
            "text/plain;",
            "text/plain ; charset=\"a;\\\"b\" ;; x=y;",
        ] {
            assert!(is_media_type(text), "{text:?}");
        }
        for text in [
            "",
            "text",
            "text/",
            "/plain",
            "text /plain",
            "text/plain x",
            "text/plain; charset",
            "text/plain; a=",
            "text/plain; a=\"b",
            "text/plain; a=\"b\"c",
            "text/plain\r\nX: y",
            "text/plän",
            "text/plain; a=\"é\"",
            "text/plain; a=\"\r\"",
            "text/plain, text/html",
            "text/*/x",
            " text/plain",
        ] {
            assert!(!is_media_type(text), "{text:?}");
        }
    }
}
