//! Text for people: columns, times, and what clients chose themselves, made safe for a terminal.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// Writes rows under a heading, in columns. Rows come in pages, so that a large store need not be held in
/// memory: a column is as wide as its widest cell so far.
pub(crate) struct Table<const N: usize> {
    heading: Option<[&'static str; N]>,
    widths: [usize; N],
    right: [bool; N],
}

impl<const N: usize> Table<N> {
    /// A table of these columns; those marked with `>` before their name are flush right.
    pub(crate) fn new(columns: [&'static str; N]) -> Self {
        let heading = columns.map(|name| name.trim_start_matches('>'));
        let widths = heading.map(str::len);
        Self { heading: Some(heading), widths, right: columns.map(|name| name.starts_with('>')) }
    }

    /// Writes the next page. The heading comes with the first, also where that is empty.
    pub(crate) fn page(&mut self, out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if let Some(heading) = self.heading.take() {
            self.row(out, heading.iter().copied())?;
        }
        rows.iter().try_for_each(|row| self.row(out, row.iter().map(String::as_str)))
    }

    fn row<'a>(&self, out: &mut impl Write, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let mut line = String::new();
        for (cell, (&width, &right)) in cells.zip(self.widths.iter().zip(&self.right)) {
            // Writing to a String can't fail.
            let _ = if right { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Whether a terminal could take `c` for a command, or show the text around it in another order: controls,
/// line separators, bidirectional and invisible formatting characters.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `bytes` as text that can be shown: unsafe characters, backslashes and what is not UTF-8 are escaped.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || is_unsafe(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String can't fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// How much of an upload is there: `complete`, a percentage rounded down, or nothing where the length is
/// not known yet.
pub(crate) fn progress(offset: u64, length: Option<u64>) -> String {
    match length {
        Some(length) if offset >= length => "complete".into(),
        Some(length) => format!("{}%", u128::from(offset) * 100 / u128::from(length)),
        None => "-".into(),
    }
}

/// A length, or what it means that there is none.
pub(crate) fn length(length: Option<u64>) -> String {
    length.map_or_else(|| "deferred".into(), |length| length.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_so_far() {
        let mut table = Table::new(["id", ">offset", "name"]);
        let mut out = Vec::new();
        let row = |cells: [&str; 3]| cells.map(String::from);
        table.page(&mut out, &[row(["a", "5", "é"]), row(["bcd", "12345678", ""])]).unwrap();
        table.page(&mut out, &[row(["e", "7", "x"])]).unwrap();
        let expected = "id     offset  name\na           5  é\nbcd  12345678\ne           7  x\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_empty_table_has_its_heading() {
        let mut out = Vec::new();
        Table::new(["id", ">offset"]).page(&mut out, &[]).unwrap();
        assert_eq!(out, b"id  offset\n");
    }

    #[test]
    fn nothing_unsafe_is_shown() {
        for (bytes, text) in [
            (&b"plain name.txt"[..], "plain name.txt"),
            ("é 😀".as_bytes(), "é 😀"),
            (b"a\nb\tc\r", "a\\nb\\tc\\r"),
            (b"\x1b[2J\x7f", "\\u{1b}[2J\\u{7f}"),
            ("gpj.\u{202e}exe".as_bytes(), "gpj.\\u{202e}exe"),
            (b"a\\n", "a\\\\n"),
            (b"a\xff\xc3", "a\\xff\\xc3"),
        ] {
            assert_eq!(shown(bytes), text);
        }
    }

    #[test]
    fn progress_reaches_the_end_only_there() {
        for (offset, length, text) in [
            (0, Some(0), "complete"),
            (0, Some(10), "0%"),
            (999, Some(1_000), "99%"),
            (u64::MAX - 1, Some(u64::MAX), "99%"),
            (10, Some(10), "complete"),
            (10, None, "-"),
        ] {
            assert_eq!(progress(offset, length), text, "{offset} of {length:?}");
        }
    }
}
