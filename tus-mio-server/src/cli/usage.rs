//! What is said of a command line that makes no sense: one line, what is wrong and how to put it right.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{self, Write},
};

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};

use super::{args::Cli, table::is_unsafe};

/// Writes `text` to standard error, in one line. It may quote arguments, so it is made safe for a terminal.
pub(crate) fn print_error(text: &str) {
    let mut line = String::from("error: ");
    for c in text.chars() {
        if is_unsafe(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line.push('\n');
    // Where standard error is closed, the exit status has to do.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The parser's error about `arguments` as one line. It is laid out as paragraphs: the error, tips, the usage,
/// where to find more; we keep what is about this case, and say where a value came from that isn't in `arguments`.
pub(crate) fn one_line(error: &Error, arguments: &[OsString]) -> String {
    let rendered = error.render().to_string();
    let mut parts: Vec<String> = Vec::new();
    for paragraph in rendered.split("\n\n") {
        let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.is_empty() && !text.starts_with("Usage:") && !text.starts_with("For more information") {
            parts.push(text);
        }
    }
    let mut line = parts.join("; ");
    if let Some(text) = line.strip_prefix("error: ") {
        line = text.into();
    }
    if let Some(variable) = variable_at_fault(error, arguments) {
        line.push_str(&format!(" (in the environment: {variable})"));
    }
    if error.kind() == ErrorKind::ArgumentConflict && error.get(ContextKind::InvalidSubcommand).is_some() {
        line.push_str("; write flags after the command");
    }
    line + "; see --help"
}

/// Those of the environment's variables that are named as ours and are none: a slip of the pen, most likely.
pub(crate) fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let program = Cli::command();
    let commands = std::iter::once(&program).chain(program.get_subcommands());
    let known: BTreeSet<_> =
        commands.flat_map(|command| command.get_arguments().filter_map(|flag| flag.get_env())).collect();
    let ours = |name: &OsString| name.to_string_lossy().starts_with("TUS_");
    let unknown = names.filter(|name| ours(name) && !known.contains(name.as_os_str()));
    unknown.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// The environment's variable that holds the value an error is about; none if it came from `arguments`.
fn variable_at_fault(error: &Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = argument.split([' ', '=']).next().filter(|flag| flag.starts_with("--"))?;
    let given = arguments.iter().any(|argument| {
        argument
            .to_string_lossy()
            .strip_prefix(flag)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    let variable = flag.replacen("--", "TUS_", 1).replace('-', "_").to_ascii_uppercase();
    (!given && std::env::var_os(&variable).is_some()).then_some(variable)
}
