//! Header fields, read into typed values. Every parser here is total: any bytes give a value or a rejection.

mod checksum;
mod concat;
mod conditions;
mod disposition;
mod media_type;
mod metadata;
mod number;
mod origin;
mod range;

pub(crate) use checksum::{Checksum, Checksums};
pub(crate) use concat::UploadConcat;
pub(crate) use conditions::{Conditions, IfMatch, Selection};
pub(crate) use disposition::attachment;
pub(crate) use media_type::{is_media_type, is_multipart, is_offset_octet_stream};
pub(crate) use metadata::{checked_metadata, joined_metadata, metadata_value};
pub(crate) use number::number;
pub(crate) use origin::{authority, direct_origin, external_origin, forwarded_for, shows_proxy};
use range::ByteRange;

use alloc::string::String;

use crate::Head;

/// The field was repeated with different values: no one of them can be trusted.
pub(crate) struct Ambiguous;

/// The one value of a field. Repetitions of the same value count as one.
pub(crate) fn single<'a>(head: &Head<'a>, name: &str) -> Result<Option<&'a [u8]>, Ambiguous> {
    let mut values = head.values(name);
    let first = values.next();
    if values.all(|value| Some(value) == first) { Ok(first) } else { Err(Ambiguous) }
}

/// The members of a comma-separated list, over all lines of a field, without blanks and empty members
/// (RFC 9110 section 5.6.1).
pub(crate) fn members<'a>(head: &Head<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines = head.values(name).flat_map(|value| value.split(|b| *b == b','));
    lines.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Whether this is a token (RFC 9110 section 5.6.2), as the name of a field must be.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// Whether a token may have this byte in it.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The longest `X-Request-ID` that is echoed, in characters.
const REQUEST_ID_LEN: usize = 36;

/// `X-Request-ID`, cut to 36 characters that are safe in a log line and a header.
pub(crate) fn request_id(head: &Head<'_>) -> Option<String> {
    let value = head.values("X-Request-ID").next()?;
    let safe = value.iter().filter(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    let id: String = safe.take(REQUEST_ID_LEN).map(|b| char::from(*b)).collect();
    (!id.is_empty()).then_some(id)
}
