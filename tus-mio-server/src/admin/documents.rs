//! The documents of administration, as they are on the wire: JSON objects with these members, in this order. docs/administration.md
//! describes them.

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Serialize};
use tus_proto::{Concat, Now, Record, WallTime};

/// As lenient about a last character's unused bits as the check on creation.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// An upload in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Upload {
    /// Its id: the last part of its URL.
    pub id: String,
    /// `plain`, `partial`, `final`, or `pending` for a final whose parts are not finished.
    pub kind: String,
    /// How many bytes are there.
    pub offset: u64,
    /// How many there will be; `None` while that is deferred.
    pub length: Option<u64>,
    /// Whether all are there.
    pub complete: bool,
    /// When it was created, as [`Rfc3339`] writes it.
    pub created: String,
    /// When it expires, as the calendar is now; `None` if it does not.
    pub expires: Option<String>,
    /// The file's name as its client told it; what of it is not UTF-8 is replaced.
    pub filename: Option<String>,
}

impl Upload {
    /// The document of a record.
    pub fn of(record: &Record, now: Now) -> Self {
        let name = entries(&record.metadata).into_iter().find(|entry| entry.key == "filename");
        Self {
            id: record.id.to_string(),
            kind: kind(record).to_owned(),
            offset: record.offset,
            length: record.length,
            complete: record.is_complete(),
            created: Rfc3339(record.created).to_string(),
            expires: record.expires.map(|expires| Rfc3339(now.dated(expires)).to_string()),
            filename: name
                .and_then(|entry| entry.bytes())
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

/// What an upload is in a concatenation.
fn kind(record: &Record) -> &'static str {
    match &record.concat {
        None => "plain",
        Some(Concat::Partial) => "partial",
        Some(Concat::Final(_)) if record.is_complete() => "final",
        Some(Concat::Final(_)) => "pending",
    }
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UploadPage {
    /// The uploads.
    pub uploads: Vec<Upload>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<String>,
}

/// All that is known of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UploadDetails {
    /// What a list tells.
    #[serde(flatten)]
    pub upload: Upload,
    /// Its metadata, in the order in which it was sent.
    pub metadata: Vec<MetadataEntry>,
    /// Where its bytes are, in order.
    pub data: Vec<Extent>,
    /// SHA-256 over all bytes as they were when it became complete, in hexadecimal digits; `None` if none is kept.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// A key of the metadata, and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetadataEntry {
    /// The key.
    pub key: String,
    /// The value, where it is UTF-8.
    pub value: Option<String>,
    /// The value as it was sent, in Base64; empty where the key stood alone.
    pub base64: String,
}

impl MetadataEntry {
    /// The value; `None` if it is no Base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        BASE64.decode(&self.base64).ok()
    }
}

/// `Upload-Metadata` of a stored record. It was checked when the upload was created; what can't be decoded all the same
/// is shown as it is.
pub(super) fn entries(metadata: &str) -> Vec<MetadataEntry> {
    let pairs =
        metadata.split(',').map(|pair| pair.trim_matches([' ', '\t'])).filter(|pair| !pair.is_empty());
    let entries = pairs.map(|pair| {
        let (key, base64) = pair.split_once(' ').unwrap_or((pair, ""));
        let base64 = base64.trim_start_matches(' ');
        let value = BASE64.decode(base64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        MetadataEntry { key: key.to_owned(), value, base64: base64.to_owned() }
    });
    entries.collect()
}

/// Bytes of an upload that lie one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Extent {
    /// The data file, as an absolute path; `None` if they lie in the records.
    pub path: Option<String>,
    /// How many there are, from the file's first on.
    pub length: u64,
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deleted {
    /// The upload's id.
    pub deleted: String,
    /// How many bytes it had.
    pub bytes: u64,
}

/// What there is in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// How many uploads there are: the sum of the next three.
    pub uploads: u64,
    /// How many of them are finished.
    pub finished: u64,
    /// How many are not.
    pub unfinished: u64,
    /// How many have expired and were not removed yet.
    pub expired: u64,
    /// How many bytes they have. Those that a final shares with its parts count for each of them.
    pub bytes: u64,
    /// How many bytes unfinished uploads have announced and not sent.
    pub missing: u64,
    /// How many events no hook has taken note of yet.
    pub events: u64,
    /// How many bytes more the disk takes; `None` if that is not known.
    pub free: Option<u64>,
}

/// What a step of a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckPage {
    /// How many uploads it has looked at.
    pub uploads: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// What is wrong.
    pub findings: Vec<FindingDocument>,
    /// Where the next step begins; `None` if all was looked at.
    pub next: Option<String>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FindingDocument {
    /// What kind of thing: a word.
    pub kind: String,
    /// The upload that it is about.
    pub id: Option<String>,
    /// The file that it is about.
    pub path: Option<String>,
    /// A sentence.
    pub text: String,
    /// What was done about it; `None` if nothing was.
    pub remedy: Option<String>,
}

impl FindingDocument {
    /// One about an upload, about which nothing was done.
    pub fn of_upload(kind: &str, id: &str, text: String) -> Self {
        Self { kind: kind.to_owned(), id: Some(id.to_owned()), path: None, text, remedy: None }
    }
}

/// A time as RFC 3339 writes it, in UTC, to the millisecond.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub WallTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.0.date();
        let millis = self.0.as_millis();
        let seconds = millis / 1_000;
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        let millis = millis % 1_000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn entries_are_decoded_in_order() {
        let entry = |key: &str, base64: &str, value: Option<&str>| MetadataEntry {
            key: key.into(),
            value: value.map(Into::into),
            base64: base64.into(),
        };
        let expected = [
            entry("filename", "d29ybGQ=", Some("world")),
            entry("private", "", Some("")),
            entry("k", "YR==", Some("a")),
            entry("bad", "!", None),
            entry("latin", "/w==", None),
        ];
        assert_eq!(entries("filename d29ybGQ=, private ,k  YR==,bad !,latin /w=="), expected);
        assert_eq!(expected[4].bytes().unwrap(), [0xff]);
        assert!(entries("").is_empty());
    }

    #[test]
    fn times_are_written_to_the_millisecond() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_868_799_999_999, "2000-02-29T23:59:59.999Z"),
            (1_709_251_200_042_000, "2024-03-01T00:00:00.042Z"),
        ] {
            assert_eq!(Rfc3339(WallTime::from_micros(micros)).to_string(), text);
        }
    }
}
