//! `completions` and `man`: what shells and `man` show, made of the same declarations as `--help`.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::{Failure, args::Cli};

/// Writes the completion script for a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut program = Cli::command();
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut script);
    write(&script)
}

/// Writes the manual page of the program, or of one command.
pub(crate) fn page(command: Option<&str>) -> Result<(), Failure> {
    let mut program = Cli::command();
    program.build();
    let described = match command {
        None => program,
        Some(name) => program.find_subcommand(name).cloned().ok_or_else(|| unknown(name, &program))?,
    };
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(described).render(&mut page);
    rendered.map_err(|error| Failure::Environment(format!("the page can't be made: {error}")))?;
    write(&page)
}

fn unknown(name: &str, program: &Command) -> Failure {
    let names: Vec<_> = program.get_subcommands().map(Command::get_name).collect();
    Failure::Usage(format!("there is no command {name:?}: name one of {}, or none", names.join(", ")))
}

fn write(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::PipeClosed),
        Err(error) => Err(Failure::Environment(format!("can't write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
