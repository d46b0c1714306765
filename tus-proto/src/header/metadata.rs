//! `Upload-Metadata`: checked, and kept byte for byte as it was sent.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

use crate::{Code, Head};

/// The largest `Upload-Metadata`, in bytes, repeated lines joined.
const MAX_LEN: usize = 4096;

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

impl From<MetadataError> for Code {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::TooLarge => Self::MetadataTooLarge,
            MetadataError::Malformed => Self::InvalidMetadata,
        }
    }
}

/// All lines of `Upload-Metadata`, joined by `, `, if they are well-formed; empty where there is none.
pub(crate) fn joined_metadata(head: &Head<'_>) -> Result<String, MetadataError> {
    let lines: Vec<&[u8]> = head.values("Upload-Metadata").filter(|line| !line.is_empty()).collect();
    let joined = lines.join(&b", "[..]);
    checked_metadata(String::from_utf8(joined).map_err(|_| MetadataError::Malformed)?)
}

/// An `Upload-Metadata` that is well-formed, whoever wrote it.
pub(crate) fn checked_metadata(text: String) -> Result<String, MetadataError> {
    if text.len() > MAX_LEN {
        return Err(MetadataError::TooLarge);
    }
    if !text.is_empty() {
        let mut keys = BTreeSet::new();
        for pair in text.split(',') {
            let pair = pair.trim_matches([' ', '\t']);
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let well_formed = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
            if !well_formed || !keys.insert(key) || BASE64.decode(value.trim_start_matches(' ')).is_err() {
                return Err(MetadataError::Malformed);
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::Framing;

    fn parse(lines: &[&str]) -> Result<String, MetadataError> {
        let fields: Vec<_> = lines.iter().map(|line| ("upload-metadata", line.as_bytes())).collect();
        let framing = Framing::Length(0);
        joined_metadata(&Head { method: "POST", target: "/", fields: &fields, framing, secure: false })
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
    fn the_limit_counts_all_lines() {
        let line = "k ".to_string() + &"A".repeat(4092);
        assert_eq!(parse(&[&line]).map(|text| text.len()), Ok(4094));
        assert_eq!(parse(&[&line, "b"]), Err(MetadataError::TooLarge));
    }
}
