//! The name of an upload: what follows the base path in its URL, and the key of its record.

use alloc::sync::Arc;
use core::fmt;

use crate::WallTime;

/// An upload's id: 1 to 128 of `A-Z a-z 0-9 _ -`. Anything else in a URL is nobody's upload.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 128;

    /// `text` as an id, or none if it can't be one.
    ///
    /// ```
    /// use tus_proto::UploadId;
    /// assert!(UploadId::new("0q1-x_Z").is_some());
    /// assert!(UploadId::new("..%2F..").is_none());
    /// assert!(UploadId::new("").is_none());
    /// ```
    pub fn new(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let fits = (1..=Self::MAX_LEN).contains(&text.len());
        (fits && text.bytes().all(allowed)).then(|| Self(text.into()))
    }

    /// A new id from the time and 80 random bits: 26 characters that sort by time, so that the records of
    /// live uploads are neighbours in an ordered store.
    pub fn generate(wall: WallTime, entropy: [u8; 10]) -> Self {
        // Base 32 in ASCII order (RFC 4648 section 7, in lower case): the text sorts as the number does.
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let random = entropy.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        let bits = u128::from(wall.as_millis()) << 80 | random;
        let mut text = [0u8; 26];
        for (place, digit) in text.iter_mut().rev().enumerate() {
            let value = (bits >> (5 * place)) & 31;
            *digit = usize::try_from(value).ok().and_then(|v| DIGITS.get(v)).copied().unwrap_or(b'0');
        }
        Self(core::str::from_utf8(&text).unwrap_or("0").into())
    }

    /// The id as it stands in a URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_sort_by_time_and_hold_all_the_entropy() {
        let at = |micros, entropy| UploadId::generate(WallTime::from_micros(micros), entropy);
        let early = at(1_000, [0xff; 10]);
        assert!(early < at(2_000, [0; 10]));
        assert_eq!(at(0, [0; 10]).as_str(), "00000000000000000000000000");
        assert_eq!(at(0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 33]).as_str(), "00000000000000000000000011");
        let last = at((1 << 48) * 1_000 - 1, [0xff; 10]);
        assert_eq!(last.as_str(), "7vvvvvvvvvvvvvvvvvvvvvvvvv");
        assert_eq!(UploadId::new(last.as_str()), Some(last));
    }

    #[test]
    fn length_and_alphabet_are_limited() {
        assert!(UploadId::new(&"a".repeat(128)).is_some());
        assert!(UploadId::new(&"a".repeat(129)).is_none());
        for bad in ["a/b", "a.b", "a b", "a%20", "é", "a?b", "a\0"] {
            assert!(UploadId::new(bad).is_none(), "{bad:?}");
        }
    }
}
