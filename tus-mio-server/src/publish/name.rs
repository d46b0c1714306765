//! Under which names finished uploads are published: a pattern, filled from what clients say, and made harmless. Nothing
//! that a client sends leads out of the directory, hides there, steers a terminal, or is a device to anybody who reads it.

use std::{fmt, str::FromStr};

use tus_driver::hooks::Metadata;
use tus_proto::Record;

/// Most bytes of a name. File systems take 255; what is left is for the numbers of equal names.
const MAX_NAME: usize = 240;

/// An extension is no longer; else it is a part of the name.
const MAX_EXTENSION: usize = 20;

/// A pattern of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Id,
    Date,
    /// The value of a key of the metadata.
    Key(String),
}

impl Default for NamePattern {
    fn default() -> Self {
        Self(vec![Piece::Key("filename".into())])
    }
}

/// Why a text is no pattern of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamePatternError {
    /// A brace without its other one.
    Braces,
    /// Nothing between two braces, or what can't be a key of metadata.
    Key,
    /// It has a slash, or a NUL.
    Slash,
    /// It has nothing in braces, so that all names would be one.
    Constant,
}

impl fmt::Display for NamePatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Braces => "a brace without its other one: write as {filename}",
            Self::Key => "no key in braces: write {filename}, {id}, {date} or a key of the metadata",
            Self::Slash => "a name has no slashes: all files are in one directory",
            Self::Constant => {
                "all names would be the same: write {filename}, {id}, {date} or a key of the metadata"
            }
        })
    }
}

impl std::error::Error for NamePatternError {}

impl FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(text: &str) -> Result<Self, NamePatternError> {
        if text.contains(['/', '\0']) {
            return Err(NamePatternError::Slash);
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once('{') {
            let (key, next) = behind.split_once('}').ok_or(NamePatternError::Braces)?;
            if key.contains('{') || before.contains('}') {
                return Err(NamePatternError::Braces);
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(match key {
                "id" => Piece::Id,
                "date" => Piece::Date,
                "" => return Err(NamePatternError::Key),
                key if key.bytes().all(|b| b.is_ascii_graphic() && b != b',') => Piece::Key(key.into()),
                _ => return Err(NamePatternError::Key),
            });
            rest = next;
        }
        if rest.contains('}') {
            return Err(NamePatternError::Braces);
        }
        if pieces.is_empty() {
            return Err(NamePatternError::Constant);
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
    }
}

impl NamePattern {
    /// The name of an upload, harmless and never empty: its id where the client's words leave nothing.
    pub(crate) fn name(&self, record: &Record) -> String {
        let metadata = Metadata::parse(&record.metadata);
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Id => name.push_str(record.id.as_str()),
                Piece::Date => {
                    let (year, month, day) = record.created.date();
                    // Writing to a string can't fail.
                    let _ = fmt::Write::write_fmt(&mut name, format_args!("{year:04}-{month:02}-{day:02}"));
                }
                Piece::Key(key) => name.push_str(&value(&metadata, key, record)),
            }
        }
        let name = harmless(&name);
        if name.is_empty() { harmless(record.id.as_str()) } else { name }
    }
}

/// The value of a key; a file's name without the directories that some clients send along.
fn value(metadata: &Metadata, key: &str, record: &Record) -> String {
    let text = |key| metadata.get(key).map(|value| String::from_utf8_lossy(value).into_owned());
    if key != "filename" {
        return text(key).unwrap_or_default();
    }
    // Uppy's clients say `name`, older ones that alone.
    let name = text("filename").or_else(|| text("name")).unwrap_or_default();
    let last = name.rsplit(['/', '\\']).find(|part| !part.trim().is_empty());
    last.map_or_else(|| record.id.as_str().to_owned(), str::to_owned)
}

/// A name without what is harmful in any of the places where it may be read: here, in a terminal, on a share. Empty where
/// nothing is left.
fn harmless(name: &str) -> String {
    let replaced: String = name.chars().map(|c| if is_harmful(c) { '_' } else { c }).collect();
    // Blanks and dots at the end are dropped by some systems, which then see another name.
    let mut name = replaced.trim().trim_end_matches([' ', '.']).to_owned();
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    if name.chars().all(|c| c == '_') && replaced.chars().any(is_dot_or_blank) {
        // Nothing but dots.
        return String::new();
    }
    if is_device(&name) {
        name.insert(0, '_');
    }
    shortened(&name, MAX_NAME)
}

fn is_dot_or_blank(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// Whether a character does more than be seen, or is none in names of other systems.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '\u{fffd}')
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e007f}' | '\u{fe00}'..='\u{fe0e}')
}

/// Whether Windows takes a name for a device, whatever its extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |prefix| {
        let digit = stem.strip_prefix(prefix);
        digit.is_some_and(|digit| {
            ["1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"].contains(&digit)
        })
    };
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"].contains(&stem.as_str())
        || numbered("COM")
        || numbered("LPT")
}

/// Where a name's extension begins, with its dot: `.tar.gz` is one.
fn extension(name: &str) -> usize {
    let Some(dot) = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot <= MAX_EXTENSION) else {
        return name.len();
    };
    match name.get(..dot) {
        Some(stem) if stem.ends_with(".tar") && stem.len() > 4 => dot - 4,
        _ => dot,
    }
}

/// A name of at most so many bytes, with its extension.
fn shortened(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    let (stem, extension) = name.split_at(extension(name));
    let end = (0..=most.saturating_sub(extension.len())).rev().find(|end| stem.is_char_boundary(*end));
    let stem = stem.get(..end.unwrap_or(0)).unwrap_or_default().trim_end_matches([' ', '.']);
    format!("{stem}{extension}")
}

/// The `number`-th of equal names: `a.txt`, `a (2).txt` and so on.
pub(crate) fn numbered(name: &str, number: u64) -> String {
    if number < 2 {
        return name.to_owned();
    }
    let (stem, extension) = name.split_at(extension(name));
    format!("{stem} ({number}){extension}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tus_proto::{UploadId, WallTime};

    use super::*;

    fn record(pairs: &[(&str, &[u8])]) -> Record {
        Record {
            id: UploadId::new("the-id").unwrap(),
            created: WallTime::from_micros(1_709_251_200_042_000),
            offset: 0,
            length: Some(0),
            metadata: Metadata::from_pairs(pairs.iter().copied()).unwrap().to_string(),
            expires: None,
            concat: None,
        }
    }

    fn named(pattern: &str, pairs: &[(&str, &[u8])]) -> String {
        pattern.parse::<NamePattern>().unwrap().name(&record(pairs))
    }

    #[test]
    fn hostile_names_are_harmless() {
        for (sent, name) in [
            ("report.pdf", "report.pdf"),
            ("été 😀.txt", "été 😀.txt"),
            ("../x", "x"),
            ("../../etc/passwd", "passwd"),
            ("/etc/shadow", "shadow"),
            (r"C:\Users\me\a.txt", "a.txt"),
            ("dir/", "dir"),
            ("..", "the-id"),
            (".", "the-id"),
            ("/", "the-id"),
            ("", "the-id"),
            ("   ", "the-id"),
            (". . .", "the-id"),
            (".htaccess", "_htaccess"),
            (".tus-publish-a", "_tus-publish-a"),
            ("a\0b.txt", "a_b.txt"),
            ("a\nb\u{1b}[2J.txt", "a_b_[2J.txt"),
            ("gpj.\u{202e}exe", "gpj._exe"),
            ("a\u{200b}\u{2066}b\u{feff}", "a__b_"),
            ("CON", "_CON"),
            ("con.txt", "_con.txt"),
            ("Nul .tar.gz", "_Nul .tar.gz"),
            ("LPT1", "_LPT1"),
            ("com¹.x", "_com¹.x"),
            ("COM10", "COM10"),
            ("console.log", "console.log"),
            ("what is <this>?|*\".txt", "what is _this_____.txt"),
            ("a.txt. . ", "a.txt"),
            ("a:stream", "a_stream"),
            (" a ", "a"),
        ] {
            assert_eq!(named("{filename}", &[("filename", sent.as_bytes())]), name, "{sent:?}");
        }
        assert_eq!(named("{filename}", &[("filename", b"a\xff\xfeb")]), "a__b");
        assert_eq!(named("{filename}", &[("name", b"n")]), "n");
        assert_eq!(named("{filename}", &[]), "the-id");
    }

    #[test]
    fn names_are_as_long_as_file_systems_take() {
        for (sent, end) in [
            ("a".repeat(300), "aaaa"),
            (format!("{}.jpeg", "b".repeat(300)), "bb.jpeg"),
            (format!("{}.tar.gz", "ü".repeat(300)), "ü.tar.gz"),
            (format!("x.{}", "c".repeat(300)), "cccc"),
            (format!("{}.txt", ". ".repeat(200)), "_ .txt"),
        ] {
            let name = named("{filename}", &[("filename", sent.as_bytes())]);
            assert!(name.len() <= 240 && name.len() > 3, "{name}");
            let last = numbered(&name, 99_999_999);
            assert!(last.len() <= 255, "{last}");
            if end != "_ .txt" {
                assert!(name.ends_with(end), "{name}");
            }
        }
    }

    #[test]
    fn patterns_are_filled() {
        let pairs: &[(&str, &[u8])] = &[("filename", b"a.txt"), ("user", b"../me"), ("empty", b"")];
        for (pattern, name) in [
            ("{id}", "the-id"),
            ("{date} {filename}", "2024-03-01 a.txt"),
            ("{user}-{filename}", "_._me-a.txt"),
            ("{none}{filename}", "a.txt"),
            ("{none}", "the-id"),
            ("{empty}", "the-id"),
            ("x-{id}.bin", "x-the-id.bin"),
        ] {
            assert_eq!(named(pattern, pairs), name, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        use NamePatternError::{Braces, Constant, Key, Slash};
        for (text, error) in [
            ("", Constant),
            ("a.txt", Constant),
            ("{filename", Braces),
            ("filename}", Braces),
            ("{a{b}}", Braces),
            ("{}", Key),
            ("{a b}", Key),
            ("{date}/{id}", Slash),
        ] {
            assert_eq!(text.parse::<NamePattern>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn equal_names_are_numbered_before_their_extension() {
        for (name, expected) in [
            ("a.txt", "a (2).txt"),
            ("a", "a (2)"),
            ("a.tar.gz", "a (2).tar.gz"),
            ("_htaccess", "_htaccess (2)"),
            ("a.this is no extension", "a.this is no extension (2)"),
        ] {
            assert_eq!((numbered(name, 1).as_str(), numbered(name, 2).as_str()), (name, expected));
        }
    }
}
