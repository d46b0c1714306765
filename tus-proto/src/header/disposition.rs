//! `Content-Disposition` (RFC 6266): under which name a browser is to save an upload. The name is the client's
//! word, and so it must not say where to save it, nor look like what it is not.

use alloc::{format, string::String};
use core::fmt::Write;

/// `attachment`, with the name in a form that every browser reads, and in full where that is another.
pub(crate) fn attachment(name: Option<&str>) -> String {
    let Some(name) = name.and_then(safe) else { return "attachment".into() };
    // In a quoted string some browsers read a percent sign as an escape, and a backslash is one.
    let plain = |c: char| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%') { c } else { '_' };
    let fallback: String = name.chars().map(plain).collect();
    let mut value = format!("attachment; filename=\"{fallback}\"");
    if fallback != name {
        value.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            // RFC 8187 section 3.2.1: attr-char.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                value.push(char::from(byte));
            } else {
                // Writing to a string can't fail.
                let _ = write!(value, "%{byte:02X}");
            }
        }
    }
    value
}

/// The last segment of a path, without what can't be seen; `None` if nothing is left that could be a file's name.
fn safe(name: &str) -> Option<String> {
    let last = name.rsplit(['/', mutation!("file-name", '\\', '/')]).next().unwrap_or_default();
    let seen: String = last.chars().filter(|c| !c.is_control() && !is_directional(*c)).collect();
    let name = seen.trim();
    (!name.is_empty() && name != "." && name != "..").then(|| name.into())
}

/// Characters that turn the direction of those after them: with one, `exe.gpj` looks like `jpg.exe`.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_in_ascii_and_in_full_where_that_is_another() {
        for (name, expected) in [
            ("a.txt", "attachment; filename=\"a.txt\""),
            ("a b;c.txt", "attachment; filename=\"a b;c.txt\""),
            (
                "naïve €.txt",
                "attachment; filename=\"na_ve _.txt\"; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.txt",
            ),
            ("a\"b.txt", "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
            ("100%.txt", "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
            ("it's*.txt", "attachment; filename=\"it's*.txt\""),
            ("é'(*).txt", "attachment; filename=\"_'(*).txt\"; filename*=UTF-8''%C3%A9%27%28%2A%29.txt"),
        ] {
            assert_eq!(attachment(Some(name)), expected, "{name:?}");
        }
    }

    #[test]
    fn a_name_is_neither_a_path_nor_a_disguise_nor_another_header() {
        for (name, expected) in [
            ("../../etc/passwd", "attachment; filename=\"passwd\""),
            ("C:\\x\\a.txt", "attachment; filename=\"a.txt\""),
            ("a\r\nSet-Cookie: x", "attachment; filename=\"aSet-Cookie: x\""),
            ("a\0\u{7f}\u{85}.txt", "attachment; filename=\"a.txt\""),
            ("jpg\u{202e}gpj.exe", "attachment; filename=\"jpggpj.exe\""),
            (" a ", "attachment; filename=\"a\""),
        ] {
            assert_eq!(attachment(Some(name)), expected, "{name:?}");
        }
        for nothing in [None, Some(""), Some(".."), Some("."), Some("a/"), Some(" \r\n"), Some("/..")] {
            assert_eq!(attachment(nothing), "attachment", "{nothing:?}");
        }
    }
}
