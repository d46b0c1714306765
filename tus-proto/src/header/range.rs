//! `Range`, RFC 9110 section 14.2: one range of bytes. Whatever else it may say is ignored, as the standard allows,
//! and the whole is sent: another unit, several ranges, what is malformed.

use super::single;
use crate::Head;

/// A range of bytes, before the length is known that it is a range of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From the first to the last, both included; to the end where no last one is named.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl ByteRange {
    /// The one range of bytes that the head asks for.
    pub(crate) fn of(head: &Head<'_>) -> Option<Self> {
        let value = single(head, "Range").ok()??;
        let (unit, set) = core::str::from_utf8(value).ok()?.split_once('=')?;
        let mut specs =
            set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
        let (spec, more) = (specs.next()?, specs.next());
        if !unit.eq_ignore_ascii_case("bytes") || more.is_some() {
            return None;
        }
        match spec.split_once('-')? {
            ("", last) => Some(Self::Last(position(last)?)),
            (first, "") => Some(Self::From(position(first)?, None)),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// The bytes it means of `length` bytes: the first, and the one after the last. `None` if there is no such
    /// byte.
    pub(crate) fn within(self, length: u64) -> Option<(u64, u64)> {
        let (from, to) = match self {
            Self::From(first, last) => (
                first,
                last.map_or(length, |last| mutation!("range-end", last.saturating_add(1), last).min(length)),
            ),
            Self::Last(bytes) => (length.saturating_sub(bytes), length),
        };
        (from < to).then_some((from, to))
    }
}

/// A position of any number of digits: what does not fit is beyond the end of everything.
fn position(digits: &str) -> Option<u64> {
    let well_formed = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    well_formed.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Framing;

    fn range(value: &[u8]) -> Option<ByteRange> {
        let fields = [("range", value)];
        ByteRange::of(&Head {
            method: "GET",
            target: "/",
            fields: &fields,
            framing: Framing::Length(0),
            secure: false,
            direct: false,
        })
    }

    #[test]
    fn one_range_of_bytes_is_understood() {
        for (value, expected) in [
            ("bytes=0-0", ByteRange::From(0, Some(0))),
            ("Bytes=5-9", ByteRange::From(5, Some(9))),
            ("bytes=5-", ByteRange::From(5, None)),
            ("bytes=-5", ByteRange::Last(5)),
            ("bytes=-0", ByteRange::Last(0)),
            ("bytes= , 5-9 ,", ByteRange::From(5, Some(9))),
            ("bytes=5-99999999999999999999", ByteRange::From(5, Some(u64::MAX))),
            ("bytes=99999999999999999999-", ByteRange::From(u64::MAX, None)),
        ] {
            assert_eq!(range(value.as_bytes()), Some(expected), "{value:?}");
        }
    }

    #[test]
    fn anything_else_is_no_range() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=9-5",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=1 -2",
            "bytes =1-2",
            "items=0-5",
            "bytes=0-1,3-4",
            "bytes:0-1",
        ] {
            assert_eq!(range(value.as_bytes()), None, "{value:?}");
        }
        assert_eq!(range(b"bytes=0-\xff"), None);
    }

    #[test]
    fn a_range_is_cut_to_what_is_there() {
        for (range, length, expected) in [
            (ByteRange::From(0, Some(0)), 10, Some((0, 1))),
            (ByteRange::From(3, None), 10, Some((3, 10))),
            (ByteRange::From(9, Some(u64::MAX)), 10, Some((9, 10))),
            (ByteRange::From(10, None), 10, None),
            (ByteRange::From(u64::MAX, Some(u64::MAX)), u64::MAX, None),
            (ByteRange::Last(3), 10, Some((7, 10))),
            (ByteRange::Last(30), 10, Some((0, 10))),
            (ByteRange::Last(0), 10, None),
            (ByteRange::From(0, None), 0, None),
        ] {
            assert_eq!(range.within(length), expected, "{range:?} of {length}");
        }
    }
}
