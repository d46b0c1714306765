//! `Upload-Metadata` of a stored record, decoded for people. It was checked when the upload was created; what
//! can't be decoded all the same is shown as it is.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

/// As lenient about a last character's unused bits as the check on creation.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The key.
    pub(crate) key: &'a str,
    /// The value as it was sent, in Base64; empty where the key stood alone.
    pub(crate) base64: &'a str,
    /// The value decoded; none where it isn't Base64.
    pub(crate) value: Option<Vec<u8>>,
}

/// The entries in the order they were sent.
pub(crate) fn entries(metadata: &str) -> impl Iterator<Item = Entry<'_>> {
    metadata.split(',').map(|pair| pair.trim_matches([' ', '\t'])).filter(|pair| !pair.is_empty()).map(
        |pair| {
            let (key, base64) = pair.split_once(' ').unwrap_or((pair, ""));
            let base64 = base64.trim_start_matches(' ');
            Entry { key, base64, value: BASE64.decode(base64).ok() }
        },
    )
}

/// The file's name, as the client told it.
pub(crate) fn filename(metadata: &str) -> Option<Vec<u8>> {
    entries(metadata).find(|entry| entry.key == "filename").and_then(|entry| entry.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_decoded_in_order() {
        let found: Vec<_> = entries("filename d29ybGQ=, private ,k  YR==,bad !").collect();
        let entry =
            |key, base64, value: Option<&[u8]>| Entry { key, base64, value: value.map(<[u8]>::to_vec) };
        let expected = [
            entry("filename", "d29ybGQ=", Some(b"world")),
            entry("private", "", Some(b"")),
            entry("k", "YR==", Some(b"a")),
            entry("bad", "!", None),
        ];
        assert_eq!(found, expected);
        assert_eq!(entries("").count(), 0);
    }

    #[test]
    fn the_file_name_is_where_the_metadata_has_one() {
        assert_eq!(filename("type YQ==,filename d29ybGQ="), Some(b"world".to_vec()));
        assert_eq!(filename("Filename d29ybGQ="), None);
        assert_eq!(filename(""), None);
    }
}
