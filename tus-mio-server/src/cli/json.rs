//! A writer of JSON, as small as the documents of this program need. It streams, so a listing of any number of
//! uploads takes no memory, and it keeps the keys in the order of the documentation.

use std::io::{self, Write};

/// Writes one JSON document to `out`, which should be buffered. What is begun must be ended by the caller;
/// commas, indentation and escapes are ours.
pub(crate) struct Json<W> {
    out: W,
    /// For each open object or array, how many members it has so far.
    open: Vec<usize>,
    /// A key was written, and its value is next.
    keyed: bool,
}

impl<W: Write> Json<W> {
    /// An empty document.
    pub(crate) fn new(out: W) -> Self {
        Self { out, open: Vec::new(), keyed: false }
    }

    /// Begins an object or array, by its opening bracket.
    pub(crate) fn begin(&mut self, bracket: char) -> io::Result<()> {
        self.separate()?;
        self.open.push(0);
        write!(self.out, "{bracket}")
    }

    /// Ends the innermost object or array, by its closing bracket. The outermost ends its line as well.
    pub(crate) fn end(&mut self, bracket: char) -> io::Result<()> {
        if self.open.pop().unwrap_or(0) > 0 {
            self.new_line()?;
        }
        write!(self.out, "{bracket}")?;
        if self.open.is_empty() { writeln!(self.out) } else { Ok(()) }
    }

    /// Hands on what a buffer holds back.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A member's name; its value comes next.
    pub(crate) fn key(&mut self, name: &str) -> io::Result<&mut Self> {
        self.separate()?;
        self.quoted(name)?;
        write!(self.out, ": ")?;
        self.keyed = true;
        Ok(self)
    }

    /// A text.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        self.separate()?;
        self.quoted(text)
    }

    /// A text, or null.
    pub(crate) fn text_or_null(&mut self, text: Option<&str>) -> io::Result<()> {
        match text {
            Some(text) => self.text(text),
            None => self.literal("null"),
        }
    }

    /// A number.
    pub(crate) fn number(&mut self, number: u64) -> io::Result<()> {
        self.literal(&number.to_string())
    }

    /// A number, or null.
    pub(crate) fn number_or_null(&mut self, number: Option<u64>) -> io::Result<()> {
        match number {
            Some(number) => self.number(number),
            None => self.literal("null"),
        }
    }

    /// True or false.
    pub(crate) fn boolean(&mut self, value: bool) -> io::Result<()> {
        self.literal(if value { "true" } else { "false" })
    }

    fn literal(&mut self, text: &str) -> io::Result<()> {
        self.separate()?;
        self.out.write_all(text.as_bytes())
    }

    /// What must stand between the last member and the next.
    fn separate(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.keyed) {
            return Ok(());
        }
        let Some(members) = self.open.last_mut() else { return Ok(()) };
        *members += 1;
        if *members > 1 {
            write!(self.out, ",")?;
        }
        self.new_line()
    }

    fn new_line(&mut self) -> io::Result<()> {
        write!(self.out, "\n{:indent$}", "", indent = 2 * self.open.len())
    }

    /// RFC 8259 section 7: quotes, backslashes and what is below a blank must be escaped. So is DEL and what
    /// could steer a terminal, as these documents are read there too.
    fn quoted(&mut self, text: &str) -> io::Result<()> {
        write!(self.out, "\"")?;
        for c in text.chars() {
            match c {
                '"' => write!(self.out, "\\\"")?,
                '\\' => write!(self.out, "\\\\")?,
                '\n' => write!(self.out, "\\n")?,
                '\r' => write!(self.out, "\\r")?,
                '\t' => write!(self.out, "\\t")?,
                c if super::table::is_unsafe(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.out, "\\u{unit:04x}")?;
                    }
                }
                c => write!(self.out, "{c}")?,
            }
        }
        write!(self.out, "\"")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn written(write: impl FnOnce(&mut Json<&mut Vec<u8>>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut Json::new(&mut bytes)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn members_are_separated_and_nested() {
        let document = written(|json| {
            json.begin('{')?;
            json.key("list")?.begin('[')?;
            json.number(1)?;
            json.number_or_null(None)?;
            json.begin('{')?;
            json.key("a")?.boolean(true)?;
            json.key("b")?.text_or_null(Some("x"))?;
            json.end('}')?;
            json.end(']')?;
            json.key("none")?.begin('[')?;
            json.end(']')?;
            json.key("last")?.text_or_null(None)?;
            json.end('}')
        });
        let expected = "{\n  \"list\": [\n    1,\n    null,\n    {\n      \"a\": true,\n      \"b\": \"x\"\n    }\n  ],\n  \
                        \"none\": [],\n  \"last\": null\n}\n";
        assert_eq!(document, expected);
    }

    #[test]
    fn what_must_be_escaped_is_and_reads_back() {
        let text = "a\"b\\c\n\r\t\u{0}\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2028}\u{e0001}é😀/";
        let document = written(|json| json.text(text));
        assert_eq!(
            document,
            "\"a\\\"b\\\\c\\n\\r\\t\\u0000\\u001b[31m\\u007f\\u009b\\u202e\\u2028\\udb40\\udc01é😀/\""
        );
        assert_eq!(serde_json::from_str::<String>(&document).unwrap(), text);
    }

    #[test]
    fn keys_are_escaped_as_values_are() {
        let document = written(|json| {
            json.begin('{')?;
            json.key("a\"\n")?.number(u64::MAX)?;
            json.end('}')
        });
        assert_eq!(document, "{\n  \"a\\\"\\n\": 18446744073709551615\n}\n");
    }
}
