//! The file of settings as it is written: TOML, one key a flag. Each setting becomes the argument that it stands for, so
//! that a value is checked by the same code wherever it comes from.

use std::{
    ffi::OsString,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command};
use toml::de::{DeTable, DeValue};

use crate::cli::Failure;

/// A larger file is not one of settings; it would be read into memory as a whole.
const MAX_BYTES: u64 = 1 << 20;

/// How alike two names must be for one to be offered in place of the other.
const SIMILAR: f64 = 0.75;

/// A key and its value in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The flag's name, without dashes.
    pub(crate) key: String,
    /// The line that it stands in, the first of a file being 1.
    pub(crate) line: usize,
    /// The flag with its value; `None` where the value says what holds without the flag.
    pub(crate) argument: Option<OsString>,
}

/// A file of settings, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// The path as the user gave it.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) settings: Vec<Setting>,
}

impl File {
    /// Reads a file for a command with these flags.
    ///
    /// # Errors
    /// [`Failure::Environment`] if it can't be read; [`Failure::Usage`] if it is not TOML, or has a key that is no flag.
    pub(crate) fn read(path: &Path, command: &Command) -> Result<Self, Failure> {
        let unread = |what: String| {
            Failure::Environment(format!(
                "the configuration {} can't be read: {what}: check the path of --config",
                path.display()
            ))
        };
        let length = fs::metadata(path).map_err(|error| unread(error.to_string()))?.len();
        if length > MAX_BYTES {
            return Err(unread(format!("it has {length} bytes, more than {MAX_BYTES}")));
        }
        let text = fs::read_to_string(path).map_err(|error| unread(error.to_string()))?;
        let settings = parse(&text, command)
            .map_err(|(line, what)| Failure::Usage(format!("{}, line {line}: {what}", path.display())))?;
        Ok(Self { path: path.to_owned(), settings })
    }

    /// The line of a key.
    pub(crate) fn line_of(&self, key: &str) -> Option<usize> {
        self.settings.iter().find(|setting| setting.key == key).map(|setting| setting.line)
    }
}

/// The settings in the order of their lines; or a line and what is wrong in it.
fn parse(text: &str, command: &Command) -> Result<Vec<Setting>, (usize, String)> {
    let line = |span: Range<usize>| {
        1 + text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count()
    };
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        (error.span().map_or(1, line), message)
    })?;
    let mut settings = Vec::new();
    for (key, value) in table.get_ref() {
        let at = line(key.span());
        let flag = flag(key.get_ref(), value.get_ref(), command).map_err(|what| (at, what))?;
        let argument =
            argument(flag, key.get_ref(), value.get_ref()).map_err(|what| (line(value.span()), what))?;
        settings.push(Setting { key: key.get_ref().to_string(), line: at, argument });
    }
    settings.sort_by_key(|setting| setting.line);
    Ok(settings)
}

/// The flag that a key names.
fn flag<'a>(key: &str, value: &DeValue<'_>, command: &'a Command) -> Result<&'a Arg, String> {
    let found = flags(command).find(|(name, _)| *name == key);
    if let Some((_, flag)) = found {
        return Ok(flag);
    }
    if matches!(value, DeValue::Table(_)) && suggestion(key, command).is_none() {
        return Err(format!("{key:?} is a table: write the flags' names as keys, outside of any table"));
    }
    let hint = suggestion(key, command).map_or_else(
        || "the keys are the names of the flags that serve --help lists, without the dashes".to_owned(),
        |name| format!("did you mean {name}?"),
    );
    Err(format!("there is no setting {key:?}: {hint}"))
}

/// The flags that a file may set.
pub(crate) fn flags(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let named = command.get_arguments().filter_map(|flag| Some((flag.get_long()?, flag)));
    named.filter(|(name, _)| !["config", "help", "tusd-flags", "version"].contains(name))
}

fn suggestion<'a>(key: &str, command: &'a Command) -> Option<&'a str> {
    let plain = key.replace('_', "-").to_lowercase();
    let alias = flags(command)
        .find(|(_, flag)| flag.get_all_aliases().is_some_and(|aliases| aliases.contains(&plain.as_str())));
    if let Some((name, _)) = alias {
        return Some(name);
    }
    let likeness = flags(command).map(|(name, _)| (strsim::jaro_winkler(&plain, name), name));
    let best = likeness.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness >= SIMILAR).map(|(_, name)| name)
}

/// The argument that a setting stands for.
fn argument(flag: &Arg, key: &str, value: &DeValue<'_>) -> Result<Option<OsString>, String> {
    if matches!(flag.get_action(), ArgAction::SetTrue) {
        return match value {
            DeValue::Boolean(on) => Ok(on.then(|| format!("--{key}").into())),
            _ => Err(format!("{key} is on or off: write true or false, without quotes")),
        };
    }
    let text = match value {
        DeValue::Array(values) if values.is_empty() => return Ok(None),
        DeValue::Array(values) => {
            let texts: Option<Vec<_>> = values.iter().map(|value| scalar(value.get_ref())).collect();
            texts.map(|texts| texts.join(","))
        }
        value => scalar(value),
    };
    let text = text.ok_or_else(|| {
        format!("{key} takes what its flag takes: write a text in quotes, a whole number, or a list of these")
    })?;
    Ok(Some(format!("--{key}={text}").into()))
}

/// A text or a whole number as the flag would have it.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

    fn parsed(text: &str) -> Result<Vec<(usize, String)>, (usize, String)> {
        let settings = parse(text, &Cli::command())?;
        let line = |setting: Setting| {
            (setting.line, setting.argument.map_or_else(String::new, |text| text.into_string().unwrap()))
        };
        Ok(settings.into_iter().map(line).collect())
    }

    #[test]
    fn a_setting_is_its_flag() {
        let text = "# a comment\nmax-size = \"10GB\"\nlisten = [\"127.0.0.1:1\",\n  \"[::1]:2\"]\nworkers = 5\n\
                    no-demo = true\ndelete-parts = false\ncors-allow-origin = []\nmax-parts = 0x10\n";
        let expected = [
            (2, "--max-size=10GB"),
            (3, "--listen=127.0.0.1:1,[::1]:2"),
            (5, "--workers=5"),
            (6, "--no-demo"),
            (7, ""),
            (8, ""),
            (9, "--max-parts=16"),
        ];
        assert_eq!(parsed(text).unwrap(), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn what_is_wrong_has_its_line_and_a_way_out() {
        for (text, line, hint) in [
            ("\nmax-sise = 1", 2, "\"max-sise\": did you mean max-size?"),
            ("max_size = 1", 1, "did you mean max-size?"),
            ("cors-allow-origins = []", 1, "did you mean cors-allow-origin?"),
            ("zzzz = 1", 1, "serve --help"),
            ("config = \"x\"", 1, "there is no setting \"config\""),
            ("workers = 1\n[network]\nlisten = \"x\"", 2, "\"network\" is a table"),
            ("no-demo = \"yes\"", 1, "write true or false"),
            ("max-size = 1.5", 1, "in quotes"),
            ("\nmax-size =\n  true", 0, ""),
            ("max-size = true", 1, "in quotes"),
            ("listen = [[\"a\"]]", 1, "in quotes"),
            ("workers = 1\nworkers = 2", 2, "duplicate key"),
            ("workers", 1, ""),
        ] {
            let (at, what) = parsed(text).unwrap_err();
            assert!((line == 0 || at == line) && what.contains(hint), "{text:?}: line {at}: {what}");
            assert_eq!(what.lines().count(), 1, "{what:?}");
        }
    }
}
