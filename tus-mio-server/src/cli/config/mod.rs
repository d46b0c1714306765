//! `--config`: settings from a file, below the flags and the environment; and `config check`.
//!
//! What the file says is added to the command line where neither that nor the environment says something of the same flag.
//! So the parser sees one command line, and each rule about flags holds for the file as well.

mod file;

pub(crate) use file::flags;

use std::{
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Arg, ArgMatches, Command, CommandFactory, parser::ValueSource};

use self::file::File;
use super::{
    Failure,
    args::{Cli, ServeArgs},
    serve,
    tusd_flags::{self, Translated},
    usage,
};

/// A command line with what the file adds to it.
#[derive(Clone, Debug)]
pub(crate) struct Completed {
    /// The program, the user's arguments, and those that come from the file or are defaults of tusd's.
    pub(crate) arguments: Vec<OsString>,
    /// The file, with the settings that count here alone.
    file: Option<File>,
    /// What the user should know of the command line.
    pub(crate) warnings: Vec<String>,
}

impl Completed {
    /// Where the file sets a flag, given with its dashes; `None` where another place did.
    pub(crate) fn place_of(&self, flag: &str) -> Option<String> {
        let file = self.file.as_ref()?;
        let line = file.line_of(flag.strip_prefix("--")?)?;
        Some(format!("{}, line {line}", file.path.display()))
    }
}

/// Translates flags of tusd's, and adds what the file says, if there is one, to a command line.
///
/// # Errors
/// The file's, see [`File::read`]; and those of [`tusd_flags::translate`].
pub(crate) fn complete(arguments: Vec<OsString>) -> Result<Completed, Failure> {
    let program = Cli::command();
    let Translated { arguments, defaults, warnings } = tusd_flags::translate(arguments, &program)?;
    let mut completed = add_file(arguments, &program)?;
    let command = named_command(&program, &completed.arguments);
    for (name, value) in defaults {
        let flag = command.get_arguments().find(|flag| flag.get_long() == Some(name));
        if flag.is_some_and(|flag| !is_set(flag, &completed.arguments)) {
            let value = if value.is_empty() { value } else { format!("={value}") };
            completed.arguments.push(format!("--{name}{value}").into());
        }
    }
    completed.warnings = warnings;
    Ok(completed)
}

fn add_file(mut arguments: Vec<OsString>, program: &Command) -> Result<Completed, Failure> {
    let wants_text = |argument: &OsString| {
        argument.to_str().is_some_and(|text| ["--help", "-h", "--version", "-V", "help"].contains(&text))
    };
    let command = named_command(program, &arguments);
    let takes_file = command.get_arguments().any(|flag| flag.get_long() == Some("config"));
    let path = file_of(&arguments).filter(|_| takes_file && !arguments.iter().any(wants_text));
    let Some(path) = path else { return Ok(Completed { arguments, file: None, warnings: Vec::new() }) };
    let mut file = File::read(&path, program)?;
    file.settings.retain(|setting| {
        let mut flags = flags(command);
        flags.any(|(name, flag)| name == setting.key && !is_set(flag, &arguments))
    });
    arguments.extend(file.settings.iter().filter_map(|setting| setting.argument.clone()));
    Ok(Completed { arguments, file: Some(file), warnings: Vec::new() })
}

/// Whether the command line or the environment sets a flag.
fn is_set(flag: &Arg, arguments: &[OsString]) -> bool {
    let aliases = flag.get_all_aliases().unwrap_or_default();
    let mut names = aliases.into_iter().chain(flag.get_long());
    names.any(|name| usage::is_given(&format!("--{name}"), arguments))
        || flag.get_env().is_some_and(|name| std::env::var_os(name).is_some())
}

/// The command that a command line names; the program itself where it names none.
fn named_command<'a>(program: &'a Command, arguments: &[OsString]) -> &'a Command {
    let mut command = program;
    for argument in arguments.iter().skip(1) {
        match command.find_subcommand(argument) {
            Some(inner) => command = inner,
            None => break,
        }
    }
    command
}

/// The file that the command line names, or else the environment. What is wrong with the flag, the parser says.
fn file_of(arguments: &[OsString]) -> Option<PathBuf> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--config" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(path) = argument.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(path.into());
        }
    }
    std::env::var_os("TUS_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// `config check`: whether serve would start with these settings, and where each comes from.
pub(crate) fn check(args: &ServeArgs, completed: &Completed) -> Result<(), Failure> {
    serve::settings(args)?;
    for name in usage::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        usage::print_warning(&format!(
            "{name} in the environment is not a variable of this program: see --help for their names"
        ));
    }
    let matches = Cli::command().try_get_matches_from(&completed.arguments);
    let matches = matches.map_err(|error| Failure::Usage(usage::one_line(&error, completed)))?;
    let of = |matches: &ArgMatches, name| matches.subcommand_matches(name).cloned().unwrap_or_default();
    let report = report(&of(&of(&matches, "config"), "check"), completed);
    let written = io::stdout().lock().write_all(report.as_bytes());
    written.map_err(|error| Failure::Environment(format!("can't write to standard output: {error}")))
}

/// A line for each flag that is not at its default.
fn report(matches: &ArgMatches, completed: &Completed) -> String {
    let program = Cli::command();
    let mut text = String::new();
    for (name, flag) in flags(&program) {
        let place = match matches.value_source(flag.get_id().as_str()) {
            Some(ValueSource::CommandLine) => {
                completed.place_of(&format!("--{name}")).unwrap_or_else(|| "the command line".into())
            }
            Some(ValueSource::EnvVariable) => {
                flag.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
            _ => continue,
        };
        let values = matches.get_raw(flag.get_id().as_str()).into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let shown = super::table::shown(values.join(",").as_bytes());
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name} = {shown} ({place})");
    }
    text.push_str("the configuration is sound\n");
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn completed(text: &str, line: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tus.toml");
        fs::write(&path, text).unwrap();
        let line = line.replace("FILE", path.to_str().unwrap());
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let given = arguments.len();
        let completed = complete(arguments).unwrap();
        completed.arguments.into_iter().skip(given).map(|text| text.into_string().unwrap()).collect()
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let text = "max-size = 1\nworkers = 2\ncors-allow-origin = \"*\"";
        assert_eq!(completed(text, "tus --config FILE --max-size 3 --cors-allow-origins=*"), ["--workers=2"]);
        assert_eq!(completed(text, "tus serve --config=FILE --workers=1").len(), 2);
    }

    #[test]
    fn a_command_takes_what_it_has_a_flag_for() {
        let text = "max-size = 1\ndata-dir = \"/d\"";
        assert_eq!(completed(text, "tus list --config FILE"), ["--data-dir=/d"]);
        assert_eq!(completed(text, "tus show --config FILE abc"), ["--data-dir=/d"]);
        assert_eq!(completed(text, "tus config check --config FILE").len(), 2);
        assert_eq!(completed(text, "tus --config FILE --help").len(), 0);
        assert_eq!(completed("no-demo = false", "tus --config FILE").len(), 0);
    }
}
