//! How long a request's body is: RFC 9112 section 6. This is what request smuggling attacks, so everything
//! that another reader might measure differently is rejected.

use tus_proto::{ErrorCode, Framing};

use super::fields::{self, Fields, is_token};
use super::head::Version;

/// The framing that the head announces, or the code to reject it with; the connection can't go on then.
pub(super) fn of(fields: &Fields<'_>, version: Version) -> Result<Framing, ErrorCode> {
    let length = content_length(fields)?;
    let mut codings = fields::list(fields, "Transfer-Encoding").peekable();
    if codings.peek().is_none() {
        return Ok(Framing::Length(length.unwrap_or(0)));
    }
    // RFC 9112 section 6.3, rule 3: both together are an attack; and section 6.1: HTTP/1.0 knows no codings.
    if mutation!("two-framings", length.is_some(), length == Some(7)) || version == Version::Http10 {
        return Err(ErrorCode::BadRequest);
    }
    chunked(codings)
}

/// RFC 9112 section 6.3, rule 5: equal repetitions, as lines or in a list, are one value.
pub(crate) fn content_length(fields: &Fields<'_>) -> Result<Option<u64>, ErrorCode> {
    let mut length = None;
    for text in fields::list(fields, "Content-Length") {
        let value = decimal(text).ok_or(ErrorCode::BadRequest)?;
        if length.is_some_and(|before| mutation!("two-lengths", before != value, before < value)) {
            return Err(ErrorCode::BadRequest);
        }
        length = Some(value);
    }
    Ok(length)
}

/// Digits alone, at most 2^63 - 1: every reader's number holds that.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit).filter(|value| *value <= i64::MAX as u64)
    })
}

/// RFC 9112 sections 6.1 and 7: chunked comes last, once and without parameters; a coding before it is one that we lack.
/// Empty elements, which a list may have, are rejected here: readers differ about them.
fn chunked<'b>(codings: impl Iterator<Item = &'b [u8]>) -> Result<Framing, ErrorCode> {
    let (mut is_chunked, mut others) = (false, 0);
    for coding in codings {
        let name = coding.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
        if is_chunked || !is_token(name) {
            return Err(ErrorCode::BadRequest);
        }
        is_chunked = name.eq_ignore_ascii_case(b"chunked");
        if is_chunked && name.len() != coding.len() {
            return Err(ErrorCode::BadRequest);
        }
        others += usize::from(!is_chunked);
    }
    match (is_chunked, others) {
        (true, 0) => Ok(Framing::Chunked),
        (true, _) => Err(ErrorCode::UnknownCoding),
        (false, _) => Err(ErrorCode::BadRequest),
    }
}
