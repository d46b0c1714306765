//! What the representation's own fields say of an upload, as `Upload-Metadata`: so hooks, downloads and tus 1.0.0 find
//! it where they look for it.

use alloc::{string::String, vec::Vec};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    ErrorCode, Head,
    header::{checked_metadata, joined_metadata, metadata_value, single},
};

/// The media type of an append, which says nothing of the upload.
pub(super) const PARTIAL_UPLOAD: &str = "application/partial-upload";

/// Whether a `Content-Type` is `application/partial-upload`, whatever its parameters.
pub(super) fn is_partial_upload(value: &[u8]) -> bool {
    let essence = value.split(|b| *b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(PARTIAL_UPLOAD.as_bytes())
}

/// `Upload-Metadata` as it was sent, and after it what `Content-Type`, `Content-Disposition` and `Content-Encoding` say,
/// as `filetype`, `filename` and `contentencoding`, unless it has these. No more than `max` bytes.
pub(super) fn of(head: &Head<'_>, max: usize) -> Result<String, ErrorCode> {
    let mut metadata = joined_metadata(head, max)?;
    let field = |name| single(head, name).ok().flatten();
    let content_type = field("Content-Type").filter(|value| !is_partial_upload(value)).map(<[u8]>::to_vec);
    let values = [
        ("filetype", content_type),
        ("filename", field("Content-Disposition").and_then(filename)),
        ("contentencoding", field("Content-Encoding").map(<[u8]>::to_vec)),
    ];
    for (key, value) in values {
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        if metadata_value(&metadata, key).is_some() {
            continue;
        }
        if !metadata.is_empty() {
            metadata.push(',');
        }
        metadata.push_str(key);
        metadata.push(' ');
        STANDARD.encode_string(value, &mut metadata);
    }
    Ok(checked_metadata(metadata, max)?)
}

/// The file name in a `Content-Disposition` (RFC 6266): `filename*` counts before `filename`.
fn filename(value: &[u8]) -> Option<Vec<u8>> {
    let (mut plain, mut extended) = (None, None);
    for parameter in parameters(value) {
        let Some(at) = parameter.iter().position(|b| *b == b'=') else { continue };
        let (name, value) = parameter.split_at_checked(at)?;
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        match name.trim_ascii() {
            name if name.eq_ignore_ascii_case(b"filename") => plain = Some(unquoted(value)),
            name if name.eq_ignore_ascii_case(b"filename*") => extended = decoded(value),
            _ => {}
        }
    }
    extended.or(plain)
}

/// What stands between the semicolons after the first one; those in quoted strings separate nothing.
fn parameters(value: &[u8]) -> Vec<&[u8]> {
    let (mut parameters, mut quoted, mut escaped, mut from) = (Vec::new(), false, false, 0);
    for (at, byte) in value.iter().enumerate() {
        match byte {
            b'"' if !escaped => quoted = !quoted,
            b';' if !quoted => {
                parameters.push(value.get(from..at).unwrap_or_default());
                from = at.saturating_add(1);
            }
            _ => {}
        }
        escaped = quoted && !escaped && *byte == b'\\';
    }
    parameters.push(value.get(from..).unwrap_or_default());
    parameters.into_iter().skip(1).collect()
}

/// A token, or a quoted string without its quotes and escapes.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"").map(|rest| rest.strip_suffix(b"\"").unwrap_or(rest)) else {
        return value.to_vec();
    };
    let mut escaped = false;
    let mut keeps = |byte: &u8| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    };
    inner.iter().copied().filter(|byte| keeps(byte)).collect()
}

/// `UTF-8''…` with percent signs (RFC 8187 section 3.2.1).
fn decoded(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = value.splitn(3, |b| *b == b'\'');
    let (charset, _, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case(b"utf-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = core::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    core::str::from_utf8(&bytes).is_ok().then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Framing;

    fn read(fields: &[(&str, &str)]) -> Result<String, ErrorCode> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let framing = Framing::Length(0);
        of(
            &Head { method: "POST", target: "/", fields: &fields, framing, secure: false, direct: false },
            4096,
        )
    }

    #[test]
    fn the_representations_fields_become_metadata() {
        let fields = [
            ("Content-Type", "image/jpeg"),
            ("Content-Disposition", "inline; filename=\"a;b.jpg\""),
            ("Content-Encoding", "gzip"),
        ];
        let metadata = read(&fields).unwrap();
        assert_eq!(metadata, "filetype aW1hZ2UvanBlZw==,filename YTtiLmpwZw==,contentencoding Z3ppcA==");
        assert_eq!(read(&[("Content-Type", "Application/Partial-Upload; x=y")]).unwrap(), "");
        assert_eq!(read(&[]).unwrap(), "");
    }

    #[test]
    fn what_the_client_says_itself_counts_first() {
        let fields = [("Upload-Metadata", "filetype eA==,k"), ("Content-Type", "text/plain")];
        assert_eq!(read(&fields).unwrap(), "filetype eA==,k");
        let fields = [("Upload-Metadata", "k"), ("Content-Type", "a/b")];
        assert_eq!(read(&fields).unwrap(), "k,filetype YS9i");
        assert_eq!(read(&[("Upload-Metadata", "k !")]), Err(ErrorCode::InvalidMetadata));
        let long = alloc::format!("a/{}", "b".repeat(4096));
        assert_eq!(read(&[("Content-Type", &long)]), Err(ErrorCode::MetadataTooLarge));
    }

    #[test]
    fn file_names_are_read_in_all_their_forms() {
        for (value, name) in [
            ("inline; filename=a.txt", Some("a.txt")),
            ("attachment;filename = \"a \\\"b\\\\.txt\" ; x=y", Some("a \"b\\.txt")),
            ("inline; filename=\"x\"; filename*=UTF-8''na%C3%AFve%20%e2%82%ac", Some("naïve €")),
            ("inline; filename*=utf-8'en'b; filename=x", Some("b")),
            ("inline; filename*=iso-8859-1''%E9; filename=x", Some("x")),
            ("inline; filename*=UTF-8''%F; filename=x", Some("x")),
            ("inline; filename*=UTF-8''%ff; filename=x", Some("x")),
            ("inline; filename=\"open", Some("open")),
            ("inline; name=x", None),
            ("filename=x", None),
            ("", None),
        ] {
            assert_eq!(filename(value.as_bytes()).as_deref(), name.map(str::as_bytes), "{value:?}");
        }
    }
}
