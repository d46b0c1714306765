//! `Upload-Metadata`: checked, and kept byte for byte as it was sent.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

use crate::{ErrorCode, Head};

/// What clients' encoders leave in the last character's unused bits is not ours to judge.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// What is wrong with an `Upload-Metadata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetadataError {
    /// Longer than its limit.
    TooLarge,
    /// A key that is empty, repeated or not ASCII, or a value that is not Base64.
    Malformed,
}

impl From<MetadataError> for ErrorCode {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::TooLarge => Self::MetadataTooLarge,
            MetadataError::Malformed => Self::InvalidMetadata,
        }
    }
}

/// All lines of `Upload-Metadata`, joined by `, `, if they are well-formed; empty where there is none.
pub(crate) fn joined_metadata(head: &Head<'_>, limit: usize) -> Result<String, MetadataError> {
    let lines: Vec<&[u8]> = head.values("Upload-Metadata").filter(|line| !line.is_empty()).collect();
    let joined = lines.join(&b", "[..]);
    checked_metadata(String::from_utf8(joined).map_err(|_| MetadataError::Malformed)?, limit)
}

/// An `Upload-Metadata` that is well-formed and has at most `limit` bytes, whoever wrote it.
pub(crate) fn checked_metadata(text: String, limit: usize) -> Result<String, MetadataError> {
    if text.len() > limit {
        return Err(MetadataError::TooLarge);
    }
    if !text.is_empty() {
        let mut keys = BTreeSet::new();
        for (key, value) in pairs(&text) {
            let well_formed = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
            if !well_formed || !keys.insert(key) || BASE64.decode(value).is_err() {
                return Err(MetadataError::Malformed);
            }
        }
    }
    Ok(text)
}

/// The value of a key in metadata that was found well-formed, where it is text.
pub(crate) fn metadata_value(metadata: &str, key: &str) -> Option<String> {
    let (_, value) = pairs(metadata).find(|(name, _)| *name == key)?;
    String::from_utf8(BASE64.decode(value).ok()?).ok()
}

/// Keys, and values in Base64.
fn pairs(metadata: &str) -> impl Iterator<Item = (&str, &str)> {
    metadata.split(',').map(|pair| {
        let pair = pair.trim_matches([' ', '\t']);
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        (key, value.trim_start_matches(' '))
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::Framing;

    fn parse(lines: &[&str]) -> Result<String, MetadataError> {
        let fields: Vec<_> = lines.iter().map(|line| ("upload-metadata", line.as_bytes())).collect();
        let framing = Framing::Length(0);
        let head =
            Head { method: "POST", target: "/", fields: &fields, framing, secure: false, direct: false };
        joined_metadata(&head, 4096)
    }

    #[test]
    fn what_clients_send_is_kept_as_it_is() {
        for text in
            ["", "filename d29ybGQ=", "a YQ==,b Yg==", "a YQ==, b Yg==", "is_private", "is_private ", "k ,l"]
        {
            assert_eq!(parse(&[text]), Ok(text.to_string()), "{text:?}");
        }
        assert_eq!(parse(&["a YQ==", "", "b Yg=="]), Ok("a YQ==, b Yg==".to_string()));
        assert_eq!(parse(&[]), Ok(String::new()));
    }

    #[test]
    fn malformed_pairs_are_refused() {
        for text in [
            ",",
            "a YQ==,",
            " ,a",
            "a YQ",
            "a !!",
            "a YQ== x",
            "a,a",
            "a YQ==,a Yg==",
            "é YQ==",
            "a\u{7f} YQ==",
        ] {
            assert_eq!(parse(&[text]), Err(MetadataError::Malformed), "{text:?}");
        }
        assert_eq!(parse(&["a", "a"]), Err(MetadataError::Malformed));
    }

    #[test]
    fn a_value_is_found_by_its_key_where_it_is_text() {
        let metadata = "name d29ybGQ=, filename  bmHDr3Zl,empty, bytes /w==";
        assert_eq!(metadata_value(metadata, "name").as_deref(), Some("world"));
        assert_eq!(metadata_value(metadata, "filename").as_deref(), Some("naïve"));
        assert_eq!(metadata_value(metadata, "empty").as_deref(), Some(""));
        for key in ["bytes", "Name", "d29ybGQ=", "other", ""] {
            assert_eq!(metadata_value(metadata, key), None, "{key:?}");
        }
    }

    #[test]
    fn the_limit_counts_all_lines() {
        let line = "k ".to_string() + &"A".repeat(4092);
        assert_eq!(parse(&[&line]).map(|text| text.len()), Ok(4094));
        assert_eq!(parse(&[&line, "b"]), Err(MetadataError::TooLarge));
    }
}
