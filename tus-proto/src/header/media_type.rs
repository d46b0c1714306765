//! The one media type of tus.

/// Whether a `Content-Type` is `application/offset+octet-stream`, whatever its parameters. Types compare
/// without case (RFC 9110 section 8.3.1).
pub(crate) fn is_offset_octet_stream(value: &[u8]) -> bool {
    let essence = value.split(|b| *b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/offset+octet-stream")
}

#[cfg(test)]
mod tests {
    use super::is_offset_octet_stream as is;

    #[test]
    fn parameters_and_case_do_not_matter() {
        assert!(is(b"application/offset+octet-stream"));
        assert!(is(b"Application/Offset+Octet-Stream ; charset=x"));
        assert!(!is(b"application/octet-stream"));
        assert!(!is(b"application/offset+octet-streams"));
        assert!(!is(b""));
    }
}
