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

use super::{args::Cli, config::Completed, table::is_unsafe};

/// Writes `text` to standard error, in one line. It may quote arguments, so it is made safe for a terminal.
pub(crate) fn print_error(text: &str) {
    print_line("error", text);
}

/// The same for what only may be wrong.
pub(crate) fn print_warning(text: &str) {
    print_line("warning", text);
}

fn print_line(kind: &str, text: &str) {
    let mut line = format!("{kind}: ");
    for c in text.chars() {
        if is_unsafe(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line.push('\n');
    // Where standard error is closed, the exit status has to do.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The parser's error about the command line as one line. It is laid out as paragraphs: the error, tips, the usage,
/// where to find more; we keep what is about this case, and say where a value came from that the user did not write there.
pub(crate) fn one_line(error: &Error, completed: &Completed) -> String {
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
    if let Some(flag) = flag_at_fault(error) {
        if let Some(place) = completed.place_of(&flag) {
            line.push_str(&format!(" (in {place})"));
        } else if let Some(variable) = variable_at_fault(&flag, &completed.arguments) {
            line.push_str(&format!(" (in the environment: {variable})"));
        }
    }
    if error.kind() == ErrorKind::ArgumentConflict && error.get(ContextKind::InvalidSubcommand).is_some() {
        line.push_str("; write flags after the command");
    }
    line + "; see --help"
}

/// Those of the environment's variables that are named as ours and are none: a slip of the pen, most likely.
pub(crate) fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let program = Cli::command();
    let mut commands = vec![&program];
    let mut known = BTreeSet::new();
    while let Some(command) = commands.pop() {
        known.extend(command.get_arguments().filter_map(|flag| flag.get_env()));
        commands.extend(command.get_subcommands());
    }
    let ours = |name: &OsString| name.to_string_lossy().starts_with("TUS_");
    let unknown = names.filter(|name| ours(name) && !known.contains(name.as_os_str()));
    unknown.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// The flag that an error is about, with its dashes.
fn flag_at_fault(error: &Error) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    argument.split([' ', '=']).next().filter(|flag| flag.starts_with("--")).map(str::to_owned)
}

/// The environment's variable that holds the value of a flag; `None` if it came from `arguments`.
fn variable_at_fault(flag: &str, arguments: &[OsString]) -> Option<String> {
    let variable = flag.replacen("--", "TUS_", 1).replace('-', "_").to_ascii_uppercase();
    (!is_given(flag, arguments) && std::env::var_os(&variable).is_some()).then_some(variable)
}

/// Whether a flag, with its dashes, is on the command line. No value of a flag begins with two dashes, so that what looks
/// like one is one.
pub(crate) fn is_given(flag: &str, arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}
