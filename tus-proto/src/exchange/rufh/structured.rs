//! Structured field values (RFC 9651), as much as this protocol needs: integers, booleans, and dictionaries of integers
//! and byte sequences. Other types are parsed and skipped. Any bytes give a value or `None`, which means that the
//! whole field is to be ignored.

use alloc::{string::String, vec::Vec};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::Head;

/// A parser should accept missing padding and non-zero pad bits (RFC 9651 section 4.2.7).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The most digits of an integer (RFC 9651 section 3.3.1).
const DIGITS: usize = 15;

/// A value without its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i64),
    Boolean(bool),
    Bytes(Vec<u8>),
    /// A value of a type that no field of this protocol has.
    Other,
}

/// The integer of a field, if it is not negative.
pub(super) fn integer(head: &Head<'_>, name: &str) -> Option<u64> {
    match item(head, name)? {
        Value::Integer(value) => u64::try_from(value).ok(),
        _ => None,
    }
}

/// The boolean of a field.
pub(super) fn boolean(head: &Head<'_>, name: &str) -> Option<bool> {
    match item(head, name)? {
        Value::Boolean(value) => Some(value),
        _ => None,
    }
}

/// The one item of a field. Its parameters are ignored; a repeated field has no value.
fn item(head: &Head<'_>, name: &str) -> Option<Value> {
    let mut lines = head.values(name);
    let mut parser = Parser(lines.next()?);
    if lines.next().is_some() {
        return None;
    }
    parser.spaces();
    let value = parser.item()?;
    parser.spaces();
    parser.0.is_empty().then_some(value)
}

/// The members of a dictionary, over all lines of the field, each key once; empty if the field is absent.
pub(super) fn dictionary(head: &Head<'_>, name: &str) -> Option<Vec<(String, Value)>> {
    let mut members: Vec<(String, Value)> = Vec::new();
    for line in head.values(name) {
        let mut parser = Parser(line);
        parser.spaces();
        while !parser.0.is_empty() {
            let (key, value) = parser.member()?;
            // The last one of a key counts.
            members.retain(|(known, _)| *known != key);
            members.push((key, value));
            parser.blanks();
            if parser.0.is_empty() {
                break;
            }
            parser.byte(b',')?;
            parser.blanks();
            // A comma at the end is an error.
            parser.0.first()?;
        }
    }
    Some(members)
}

/// What is left to parse.
struct Parser<'a>(&'a [u8]);

impl<'a> Parser<'a> {
    fn spaces(&mut self) {
        self.skip(|b| b == b' ');
    }

    fn blanks(&mut self) {
        self.skip(|b| matches!(b, b' ' | b'\t'));
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        self.take(skipped);
    }

    /// The bytes up to the first that does not match.
    fn take(&mut self, taken: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|b| !taken(*b)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Takes this byte.
    fn byte(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// Takes this byte if it comes next.
    fn has(&mut self, wanted: u8) -> bool {
        let has = self.0.first() == Some(&wanted);
        if has {
            self.next();
        }
        has
    }

    fn key(&mut self) -> Option<String> {
        let first = self.0.first()?;
        let key = self
            .take(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.' | b'*'));
        let begins = first.is_ascii_lowercase() || *first == b'*';
        begins.then(|| key.iter().map(|b| char::from(*b)).collect())
    }

    fn member(&mut self) -> Option<(String, Value)> {
        let key = self.key()?;
        if !self.has(b'=') {
            // A key alone is true.
            self.parameters()?;
            return Some((key, Value::Boolean(true)));
        }
        let value = if self.has(b'(') { self.inner_list()? } else { self.item()? };
        Some((key, value))
    }

    /// What follows the opening parenthesis.
    fn inner_list(&mut self) -> Option<Value> {
        loop {
            self.spaces();
            if self.has(b')') {
                self.parameters()?;
                return Some(Value::Other);
            }
            self.item()?;
            // Items are separated by spaces.
            matches!(self.0.first(), Some(b' ' | b')')).then_some(())?;
        }
    }

    fn item(&mut self) -> Option<Value> {
        let value = self.bare_item()?;
        self.parameters()?;
        Some(value)
    }

    fn parameters(&mut self) -> Option<()> {
        while self.has(b';') {
            self.spaces();
            self.key()?;
            if self.has(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn bare_item(&mut self) -> Option<Value> {
        match self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'?' => {
                self.next();
                match self.next()? {
                    b'0' => Some(Value::Boolean(false)),
                    b'1' => Some(Value::Boolean(true)),
                    _ => None,
                }
            }
            b':' => {
                self.next();
                let encoded = self.take(|b| b != b':');
                self.byte(b':')?;
                BASE64.decode(encoded).ok().map(Value::Bytes)
            }
            b'"' => self.string(),
            b'@' => {
                self.next();
                matches!(self.number()?, Value::Integer(_)).then_some(Value::Other)
            }
            b'%' => {
                self.next();
                self.byte(b'"')?;
                let text = self.take(|b| b != b'"');
                self.byte(b'"')?;
                text.iter().all(|b| matches!(b, 0x20..=0x7e)).then_some(Value::Other)
            }
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                self.skip(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b));
                Some(Value::Other)
            }
            _ => None,
        }
    }

    /// An integer, or a decimal, which no field has.
    fn number(&mut self) -> Option<Value> {
        let negative = self.has(b'-');
        let digits = self.take(|b| b.is_ascii_digit());
        if self.has(b'.') {
            let fraction = self.take(|b| b.is_ascii_digit());
            let fits = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
            return fits.then_some(Value::Other);
        }
        if !(1..=DIGITS).contains(&digits.len()) {
            return None;
        }
        let value = digits.iter().fold(0i64, |value, digit| {
            value.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0')))
        });
        Some(Value::Integer(if negative { value.saturating_neg() } else { value }))
    }

    fn string(&mut self) -> Option<Value> {
        self.byte(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(Value::Other),
                b'\\' => matches!(self.next()?, b'"' | b'\\').then_some(())?,
                0x20..=0x7e => {}
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloc::vec;

    use super::*;
    use crate::Framing;

    fn with<T>(lines: &[&str], read: impl Fn(&Head<'_>) -> T) -> T {
        let fields: Vec<_> = lines.iter().map(|line| ("x", line.as_bytes())).collect();
        let framing = Framing::Length(0);
        read(&Head { method: "PUT", target: "/", fields: &fields, framing, secure: false, direct: false })
    }

    #[test]
    fn integers_have_at_most_fifteen_digits_and_are_not_negative() {
        for (text, value) in [
            ("0", Some(0)),
            ("007", Some(7)),
            (" 7 ", Some(7)),
            ("7;a;b=?1;c=\"x\"", Some(7)),
            ("999999999999999", Some(999_999_999_999_999)),
            ("1000000000000000", None),
            ("-0", Some(0)),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("1 2", None),
            ("1, 1", None),
            ("?1", None),
            ("\"1\"", None),
            ("", None),
            ("1;", None),
            ("1\t", None),
        ] {
            assert_eq!(with(&[text], |head| integer(head, "X")), value, "{text:?}");
        }
        assert_eq!(with(&["1", "1"], |head| integer(head, "X")), None);
        assert_eq!(with(&["1"], |head| integer(head, "Y")), None);
    }

    #[test]
    fn booleans_are_a_question_mark_and_a_digit() {
        for (text, value) in [
            ("?1", Some(true)),
            ("?0", Some(false)),
            ("?1;q=0.5", Some(true)),
            ("?1; a=(1)", None),
            ("?2", None),
            ("?", None),
            ("1", None),
            ("true", None),
            ("?1, ?1", None),
            ("?10", None),
        ] {
            assert_eq!(with(&[text], |head| boolean(head, "X")), value, "{text:?}");
        }
    }

    #[test]
    fn dictionaries_keep_the_last_member_of_a_key_over_all_lines() {
        let read = |lines: &[&str]| with(lines, |head| dictionary(head, "X"));
        let one = |key: &str, value| Some(vec![(key.into(), value)]);
        assert_eq!(read(&[]), Some(vec![]));
        assert_eq!(read(&[""]), Some(vec![]));
        assert_eq!(read(&["a"]), one("a", Value::Boolean(true)));
        assert_eq!(read(&["a=1, a=2"]), one("a", Value::Integer(2)));
        assert_eq!(read(&["a=1", "a=:YWI=:;x"]), one("a", Value::Bytes(b"ab".to_vec())));
        assert_eq!(read(&["a=:YWI:"]), one("a", Value::Bytes(b"ab".to_vec())));
        let many = read(&["a=1,b=(1 \"x\\\"\" tok/en);y=1 , c=1.5\t,*d=@9, e=%\"f%c3\", g=\"\""]).unwrap();
        assert_eq!(
            many.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            ["a", "b", "c", "*d", "e", "g"]
        );
        assert!(many.iter().skip(1).all(|(_, value)| *value == Value::Other));
        for bad in [
            "a=1,", ",a", "A=1", "a=", "a= 1", "a=:a", "a=:!:", "a=(1", "a=(1,2)", "a=\"b", "a b", "1=1",
            "a=1 b=2",
        ] {
            assert_eq!(read(&[bad]), None, "{bad:?}");
        }
    }
}
