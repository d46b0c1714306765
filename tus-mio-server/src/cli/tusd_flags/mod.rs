//! `--tusd-flags`: what follows it are tusd's flags. Each becomes the flag that is its equal here; one that has none is
//! an error where its lack would change what the server does, else a warning. Where a flag is not given, tusd's default
//! holds, as far as neither the environment nor the file of `--config` says otherwise.

mod origins;
mod table;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    path::Path,
};

use clap::{Args, Command};

use self::table::{Equal, FLAGS};
use super::{Failure, usage, value};

/// The switch.
#[derive(Args, Clone, Debug)]
pub(crate) struct TusdFlags {
    /// Take what follows as flags of tusd's, with one dash or two, and tusd's defaults for those that are not given:
    /// docs/from-tusd.md [default: off]
    #[arg(long, env = "TUS_TUSD_FLAGS", value_parser = value::switch)]
    pub(crate) tusd_flags: bool,
}

/// The name of the switch.
const SWITCH: &str = "--tusd-flags";

/// A command line whose flags of tusd's are translated.
pub(crate) struct Translated {
    /// The program, our own flags, then the translated ones.
    pub(crate) arguments: Vec<OsString>,
    /// What holds where neither these, nor the environment, nor a file sets the flag: empty without the switch.
    pub(crate) defaults: Vec<(&'static str, String)>,
    /// What the user should know of flags without an equal.
    pub(crate) warnings: Vec<String>,
}

/// Translates the flags behind the switch; a command line without it stays as it is.
///
/// # Errors
/// [`Failure::Usage`] that names all flags of tusd's which can't be translated.
pub(crate) fn translate(mut arguments: Vec<OsString>, program: &Command) -> Result<Translated, Failure> {
    let Some(at) = position(&arguments, program) else {
        return Ok(Translated { arguments, defaults: Vec::new(), warnings: Vec::new() });
    };
    let theirs = arguments.split_off(at);
    let theirs = theirs.iter().filter(|argument| *argument != SWITCH).map(OsString::as_os_str);
    let mut translation =
        Translation { known: program, flags: Vec::new(), warnings: Vec::new(), errors: Vec::new() };
    let given = parse(theirs, &mut translation.errors);
    for (name, value) in &given {
        translation.add(name, value);
    }
    translation.combine(&given, &arguments);
    if !translation.errors.is_empty() {
        return Err(Failure::Usage(format!("{}; see docs/from-tusd.md", translation.errors.join("; "))));
    }
    let Translation { flags, warnings, .. } = translation;
    arguments.extend(flags.into_iter().map(OsString::from));
    Ok(Translated { arguments, defaults: defaults(&given), warnings })
}

/// Where tusd's flags begin. The environment's switch is for a server alone: other commands have no such flags.
fn position(arguments: &[OsString], program: &Command) -> Option<usize> {
    let found = arguments.iter().position(|argument| argument == SWITCH);
    let on = || std::env::var("TUS_TUSD_FLAGS").is_ok_and(|text| value::switch(&text) == Ok(true));
    let first = arguments.get(1);
    let named = first.and_then(|name| program.find_subcommand(name)).map(Command::get_name);
    match (found, named) {
        (Some(at), _) => Some(at),
        (None, None) if on() => Some(1),
        (None, Some("serve")) if on() => Some(2),
        _ => None,
    }
}

/// The flags that are given, each with the last of its values.
fn parse<'a>(
    arguments: impl Iterator<Item = &'a OsStr>,
    errors: &mut Vec<String>,
) -> BTreeMap<&'static str, String> {
    let mut given = BTreeMap::new();
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.strip_prefix("--").or(argument.strip_prefix('-')) else {
            errors.push(format!("{argument:?} is no flag: tusd's begin with a dash"));
            return given;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let Some((name, equal)) = FLAGS.iter().find(|(known, _)| *known == name) else {
            errors.push(format!("tusd has no flag -{name}"));
            continue;
        };
        let value = match (value, equal.is_switch()) {
            (Some(value), _) => Some(value),
            (None, true) => Some("true".to_owned()),
            (None, false) => arguments.next(),
        };
        match value {
            Some(value) => drop(given.insert(*name, value)),
            None => errors.push(format!("-{name} has no value")),
        }
    }
    given
}

/// A translation as it grows.
struct Translation<'a> {
    known: &'a Command,
    flags: Vec<String>,
    warnings: Vec<String>,
    errors: Vec<String>,
}

impl Translation<'_> {
    /// Adds what one flag means by itself.
    fn add(&mut self, name: &str, value: &str) {
        let Some((_, equal)) = FLAGS.iter().find(|(known, _)| *known == name) else { return };
        let on = match switch(value) {
            None if equal.is_switch() => {
                self.errors.push(format!("-{name}={value}: write true or false"));
                return;
            }
            on => on.unwrap_or_default(),
        };
        match equal {
            Equal::Text(ours) => self.set(name, ours, value),
            Equal::Duration(ours) => match go_duration(value) {
                Some(millis) => self.set(name, ours, &format!("{millis}ms")),
                None => self.errors.push(format!("-{name}={value}: write a duration, as 30s or 1m30s")),
            },
            Equal::Octal(ours) => self.set(name, ours, &format!("{value:0>4}")),
            Equal::Switch(ours) if on => self.switch_on(name, ours),
            Equal::Warned(why) => self.warnings.push(format!("-{name} has no equal here: {why}")),
            Equal::WarnedSwitch(why) if on => self.warnings.push(format!("-{name} has no equal here: {why}")),
            Equal::Missing(instead) => self.errors.push(format!("-{name} has no equal here: {instead}")),
            Equal::MissingSwitch(instead) if on => {
                self.errors.push(format!("-{name} has no equal here: {instead}"));
            }
            Equal::Combined
            | Equal::CombinedSwitch
            | Equal::Needless
            | Equal::NeedlessSwitch
            | Equal::Switch(_)
            | Equal::WarnedSwitch(_)
            | Equal::MissingSwitch(_) => {}
        }
    }

    fn set(&mut self, name: &str, ours: &str, value: &str) {
        if self.has(ours) {
            self.flags.push(format!("--{ours}={value}"));
        } else {
            self.errors.push(format!("-{name} has no equal in this build: it would be --{ours}"));
        }
    }

    fn switch_on(&mut self, name: &str, ours: &str) {
        if self.has(ours) {
            self.flags.push(format!("--{ours}"));
        } else {
            self.errors.push(format!("-{name} has no equal in this build: it would be --{ours}"));
        }
    }

    fn has(&self, ours: &str) -> bool {
        self.known.get_arguments().any(|flag| flag.get_long() == Some(ours))
    }

    /// Adds what several flags mean together.
    fn combine(&mut self, given: &BTreeMap<&str, String>, ours: &[OsString]) {
        let get = |name: &str| given.get(name).map(String::as_str);
        let on = |name: &str| get(name).and_then(switch).unwrap_or_default();
        match (get("unix-sock").filter(|path| !path.is_empty()), get("host"), get("port")) {
            (Some(path), ..) => self.flags.push(format!("--listen=unix:{path}")),
            (None, None, None) => {}
            (None, host, port) => self.flags.push(listen(host.unwrap_or("0.0.0.0"), port.unwrap_or("8080"))),
        }
        if let Some(origins) = get("cors-allow-origin").filter(|_| !on("disable-cors")) {
            match origins::translate(origins) {
                Ok(origins) => self.flags.push(format!("--cors-allow-origin={origins}")),
                Err(why) => {
                    self.errors.push(format!("-cors-allow-origin={origins} has no equal here: {why}"))
                }
            }
        }
        if let Some(age) = get("cors-max-age").filter(|age| !age.is_empty()) {
            self.flags.push(format!("--cors-max-age={age}{}", if age == "0" { "" } else { "s" }));
        }
        if get("expose-metrics").and_then(switch) == Some(false) {
            self.flags.push("--metrics-path=none".into());
        } else if let Some(path) = get("metrics-path") {
            self.flags.push(format!("--metrics-path={path}"));
        }
        if get("verbose").and_then(switch) == Some(false) {
            self.flags.push("--log-level=warn".into());
        }
        if get("tls-mode") == Some("tls13") {
            self.errors.push("-tls-mode=tls13 has no equal here: TLS 1.2 is accepted as well".into());
        }
        let own_directory = usage::is_given("--data-dir", ours) || std::env::var_os("TUS_DATA_DIR").is_some();
        match get("upload-dir") {
            _ if own_directory => {}
            Some(directory) if holds_uploads(directory) => self.errors.push(format!(
                "-upload-dir={directory} holds uploads of tusd's: take them over first, by \"tus-mio-server import tusd \
                 {directory} --data-dir NEW\", and give --data-dir NEW before {SWITCH}"
            )),
            Some(directory) => self.flags.push(format!("--data-dir={directory}")),
            None if holds_uploads("./data") => self.errors.push(format!(
                "./data holds uploads of tusd's: take them over first, by \"tus-mio-server import tusd ./data --data-dir \
                 NEW\", and give --data-dir NEW before {SWITCH}"
            )),
            None => {}
        }
    }
}

fn listen(host: &str, port: &str) -> String {
    let host =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    // Go listens on all addresses where there is none.
    let host = if host.is_empty() { "[::]".to_owned() } else { host };
    format!("--listen={host}:{port}")
}

/// Whether a directory has an upload of tusd's.
fn holds_uploads(directory: &str) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries
        .flatten()
        .any(|entry| Path::new(&entry.file_name()).extension().is_some_and(|name| name == "info"))
}

/// What holds in tusd where a flag is not given, and is another default than ours.
fn defaults(given: &BTreeMap<&str, String>) -> Vec<(&'static str, String)> {
    let on = |name: &str| given.get(name).map(String::as_str).and_then(switch).unwrap_or_default();
    let mut defaults = vec![
        ("listen", "0.0.0.0:8080".to_owned()),
        ("data-dir", "./data".into()),
        ("request-timeout", "60s".into()),
        ("lock-wait", "20s".into()),
        ("shutdown-timeout", "10s".into()),
        ("no-demo", String::new()),
    ];
    if !on("disable-download") {
        defaults.push(("enable-downloads", String::new()));
    }
    if !on("disable-cors") {
        defaults.extend([("cors-allow-origin", "*".into()), ("cors-max-age", "86400s".into())]);
    }
    defaults
}

/// A switch's value as Go reads it.
fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A duration as Go writes it, `1m30s` or `1.5h`, in milliseconds; what is below one is cut.
fn go_duration(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut nanos) = (text, 0u64);
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let digits = fraction.get(..9).unwrap_or(fraction);
        let part = format!("{digits:0<9}").parse::<u128>().ok()? * u128::from(*factor) / 1_000_000_000;
        nanos = nanos.checked_add(whole.checked_mul(*factor)?)?.checked_add(u64::try_from(part).ok()?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(nanos / 1_000_000)
}

#[cfg(test)]
mod tests;
