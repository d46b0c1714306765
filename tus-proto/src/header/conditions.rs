//! Conditions, RFC 9110 section 13: what the client has already, and whether it is still that.
//! There is no date of the last change to compare with, so those by date are ignored, as the standard asks.

use alloc::vec::Vec;

use super::{ByteRange, single};
use crate::Head;

/// `If-Match`: what the upload must be for the request to be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IfMatch(Option<Vec<u8>>);

impl IfMatch {
    pub(crate) fn of(head: &Head<'_>) -> Self {
        Self(list(head, "If-Match"))
    }

    /// Whether it says anything.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it lets the request go on, where the upload is there. `tag` is a strong entity tag, its quotes
    /// included; empty where the upload has none.
    pub(crate) fn holds(&self, tag: &str) -> bool {
        self.0.as_deref().is_none_or(|list| names(list, tag, false))
    }
}

/// What a GET asks for, and on which conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    if_match: IfMatch,
    if_none_match: Option<Vec<u8>>,
    if_range: Option<Vec<u8>>,
    range: Option<ByteRange>,
}

/// What becomes of the GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    Whole,
    /// From this byte to the one before that.
    Part(u64, u64),
    /// There is no such byte.
    Unsatisfiable,
    /// The client has it.
    NotModified,
    /// It is not what the client thinks it is.
    Failed,
}

impl Conditions {
    pub(crate) fn of(head: &Head<'_>) -> Self {
        // Of two validators that differ at most one is right: neither is believed.
        let if_range = single(head, "If-Range").map_or(Some(Vec::new()), |value| value.map(<[u8]>::to_vec));
        Self {
            if_match: IfMatch::of(head),
            if_none_match: list(head, "If-None-Match"),
            if_range,
            range: ByteRange::of(head),
        }
    }

    /// Holds the conditions against what is there, in the order of RFC 9110 section 13.2.2. `tag` is a strong
    /// entity tag, its quotes included.
    pub(crate) fn select(&self, tag: &str, length: u64) -> Selection {
        if !self.if_match.holds(tag) {
            return Selection::Failed;
        }
        if self.if_none_match.as_deref().is_some_and(|list| names(list, tag, true)) {
            return Selection::NotModified;
        }
        let current = self.if_range.as_deref().is_none_or(|validator| validator == tag.as_bytes());
        match self.range.filter(|_| current) {
            // The end of nothing is nothing, and can't be told as a range.
            Some(ByteRange::Last(bytes)) if bytes > 0 && length == 0 => Selection::Whole,
            Some(range) => {
                range.within(length).map_or(Selection::Unsatisfiable, |(from, to)| Selection::Part(from, to))
            }
            None => Selection::Whole,
        }
    }
}

/// A field's lines as one list; `None` if it is not there.
fn list(head: &Head<'_>, name: &str) -> Option<Vec<u8>> {
    let mut lines = head.values(name);
    let mut list = lines.next()?.to_vec();
    for line in lines {
        list.extend_from_slice(b", ");
        list.extend_from_slice(line);
    }
    Some(list)
}

/// Whether a list of entity tags, or `*`, names `tag`: as a weak one too, where `weak`. What is after something
/// malformed is not read.
fn names(list: &[u8], tag: &str, weak: bool) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        rest = rest.trim_ascii_start();
        if let Some(next) = rest.strip_prefix(b",") {
            rest = next;
            continue;
        }
        let (strong, opaque) = match rest.strip_prefix(b"W/") {
            Some(opaque) => (false, opaque),
            None => (true, rest),
        };
        let Some(inner) = opaque.strip_prefix(b"\"") else { return false };
        let Some(end) = inner.iter().position(|b| *b == b'"') else { return false };
        // The quotes are one byte each.
        let (this, next) = opaque.split_at(end + 2);
        if this == tag.as_bytes() && (strong || weak) {
            return true;
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Framing;

    const TAG: &str = "\"a-1\"";

    fn select(fields: &[(&str, &str)], length: u64) -> Selection {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let framing = Framing::Length(0);
        let head =
            Head { method: "GET", target: "/", fields: &fields, framing, secure: false, direct: false };
        Conditions::of(&head).select(TAG, length)
    }

    #[test]
    fn a_list_names_a_tag_weakly_or_strongly() {
        for (list, strong, weak) in [
            ("\"a-1\"", true, true),
            ("W/\"a-1\"", false, true),
            ("*", true, true),
            (" * ", true, true),
            ("\"x\", \"a-1\"", true, true),
            (",, \"x,y\" ,W/\"z\",\"a-1\",", true, true),
            ("\"a-2\"", false, false),
            ("a-1", false, false),
            ("\"a-1", false, false),
            ("x, \"a-1\"", false, false),
            ("w/\"a-1\"", false, false),
            ("*, \"x\"", false, false),
            ("", false, false),
            ("\"", false, false),
        ] {
            assert_eq!(names(list.as_bytes(), TAG, false), strong, "{list:?}");
            assert_eq!(names(list.as_bytes(), TAG, true), weak, "{list:?}");
        }
    }

    #[test]
    fn conditions_are_held_in_their_order() {
        use Selection::*;
        let range = ("Range", "bytes=2-3");
        for (fields, expected) in [
            (&[][..], Whole),
            (&[range], Part(2, 4)),
            (&[("If-Match", "\"x\""), ("If-None-Match", TAG), range], Failed),
            (&[("If-Match", "\"x\""), ("If-Match", TAG)], Whole),
            (&[("If-Match", "")], Failed),
            (&[("If-Match", TAG), ("If-None-Match", TAG), range], NotModified),
            (&[("If-None-Match", "\"x\""), ("If-None-Match", "W/\"a-1\"")], NotModified),
            (&[("If-None-Match", "*"), ("Range", "bytes=90-")], NotModified),
            (&[("If-None-Match", "\"x\""), range], Part(2, 4)),
            (&[("If-Range", TAG), range], Part(2, 4)),
            (&[("If-Range", "W/\"a-1\""), range], Whole),
            (&[("If-Range", "\"x\""), ("Range", "bytes=90-")], Whole),
            (&[("If-Range", "Thu, 01 Jan 1970 00:00:00 GMT"), range], Whole),
            (&[("If-Range", TAG), ("If-Range", "\"x\""), range], Whole),
            (&[("If-Range", TAG)], Whole),
            (&[("If-Modified-Since", "Thu, 01 Jan 2970 00:00:00 GMT")], Whole),
            (&[("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")], Whole),
            (&[("Range", "bytes=10-")], Unsatisfiable),
            (&[("Range", "bytes=-0")], Unsatisfiable),
            (&[("Range", "bytes=0-1,3-4")], Whole),
        ] {
            assert_eq!(select(fields, 10), expected, "{fields:?}");
        }
        assert_eq!(select(&[], 0), Whole);
        assert_eq!(select(&[("Range", "bytes=-5")], 0), Whole);
        for nothing in ["bytes=0-", "bytes=-0"] {
            assert_eq!(select(&[("Range", nothing)], 0), Unsatisfiable, "{nothing}");
        }
    }
}
