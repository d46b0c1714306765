//! Lengths and offsets.

/// The largest length or offset, in bytes: 2^63 - 1. What is larger can't be a file anywhere.
const MAX: u64 = i64::MAX as u64;

/// A length or an offset: digits and nothing else, at most 2^63 - 1.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        let value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        (value <= mutation!("number-limit", MAX, MAX + 1)).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_within_the_range_are_numbers() {
        for (text, value) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("9223372036854775807", Some(MAX)),
            ("9223372036854775808", None),
            ("99999999999999999999", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1 ", None),
            ("1,1", None),
            ("0x1", None),
            ("1.0", None),
            ("\u{661}", None),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text:?}");
        }
    }
}
