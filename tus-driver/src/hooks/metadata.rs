//! `Upload-Metadata`, decoded for hooks, and encoded again where they change it.

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

/// As lenient about a last character's unused bits as the check on creation.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// An upload's metadata: keys and values, in the order they were sent.
///
/// ```
/// use tus_driver::hooks::Metadata;
///
/// let mut metadata = Metadata::parse("filename d29ybGQ=,private");
/// assert_eq!(metadata.get_str("filename"), Some("world"));
/// assert_eq!(metadata.get("private"), Some(&b""[..]));
/// metadata.set("owner", "me")?;
/// metadata.remove("private");
/// assert_eq!(metadata.to_string(), "filename d29ybGQ=,owner bWU=");
///
/// let other = Metadata::from_pairs([("a", "1"), ("b", "2")])?;
/// assert_eq!(other.iter().collect::<Vec<_>>(), [("a", &b"1"[..]), ("b", b"2")]);
/// assert!(Metadata::from_pairs([("a key", "1")]).is_err());
/// # Ok::<(), tus_driver::hooks::InvalidKey>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pairs: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    /// No pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the header's value says. It was checked when the upload was made; a value that can't be decoded all
    /// the same is empty.
    pub fn parse(text: &str) -> Self {
        let pairs =
            text.split(',').map(|pair| pair.trim_matches([' ', '\t'])).filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            (key.to_owned(), BASE64.decode(value.trim_start_matches(' ')).unwrap_or_default())
        });
        Self { pairs: decoded.collect() }
    }

    /// These pairs; of a key that comes twice, the last.
    ///
    /// # Errors
    /// The caller's: a key that can't be one.
    pub fn from_pairs<K: AsRef<str>, V: AsRef<[u8]>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, InvalidKey> {
        let mut metadata = Self::new();
        for (key, value) in pairs {
            metadata.set(key.as_ref(), value)?;
        }
        Ok(metadata)
    }

    /// The value of this key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// The value of this key, where it is UTF-8.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|value| str::from_utf8(value).ok())
    }

    /// Sets a key, in its place if it is there, else at the end.
    ///
    /// # Errors
    /// The caller's: a key that can't be one.
    pub fn set(&mut self, key: &str, value: impl AsRef<[u8]>) -> Result<(), InvalidKey> {
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic() && b != b',') {
            return Err(InvalidKey(key.to_owned()));
        }
        let value = value.as_ref().to_vec();
        match self.pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((key.to_owned(), value)),
        }
        Ok(())
    }

    /// Removes a key. Returns whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.pairs.len();
        self.pairs.retain(|(known, _)| known != key);
        self.pairs.len() < before
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// As the header's value.
impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let space = if value.is_empty() { "" } else { " " };
            write!(f, "{comma}{key}{space}{}", BASE64.encode(value))?;
        }
        Ok(())
    }
}

/// A key that can't stand in `Upload-Metadata`: it is empty, or has a blank, a comma or anything but ASCII in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKey(String);

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} can't be a key of Upload-Metadata: use ASCII letters without blanks and commas",
            self.0
        )
    }
}

impl std::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_clients_send_is_read_in_order() {
        let metadata = Metadata::parse("filename d29ybGQ=, private ,k  YR==,,bad !");
        let pairs: Vec<_> = metadata.iter().collect();
        let expected = [("filename", &b"world"[..]), ("private", b""), ("k", b"a"), ("bad", b"")];
        assert_eq!(pairs, expected);
        assert!(Metadata::parse("").is_empty());
        assert_eq!(Metadata::from_pairs([("bytes", [0xff])]).unwrap().get_str("bytes"), None);
    }

    #[test]
    fn what_is_set_is_written_and_read_again() {
        let mut metadata = Metadata::from_pairs([("a", "1"), ("b", ""), ("a", "2")]).unwrap();
        assert_eq!(metadata.to_string(), "a Mg==,b");
        assert_eq!(Metadata::parse(&metadata.to_string()), metadata);
        assert!(metadata.remove("b") && !metadata.remove("b"));
        for bad in ["", "a b", "a,b", "é", "\u{7f}"] {
            assert_eq!(metadata.set(bad, "x"), Err(InvalidKey(bad.into())));
        }
        assert_eq!(metadata.to_string(), "a Mg==");
    }
}
