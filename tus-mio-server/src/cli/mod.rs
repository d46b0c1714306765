//! The command line: what was asked for, checked as a whole before anything is touched, and then done.

mod access;
mod admin_args;
mod args;
mod bucket;
mod choices;
mod config;
mod config_args;
mod deep;
#[cfg(test)]
mod documented;
mod export;
mod health;
mod help;
mod hooks;
mod host_args;
mod import;
mod json;
mod limits;
mod listing_args;
mod log;
mod logging;
mod manual;
mod notify;
mod progress;
mod publish;
mod report;
mod resource_args;
mod serve;
mod storage;
mod store;
mod store_args;
mod table;
mod tusd_flags;
mod upload_args;
mod usage;
mod value;
mod verdict;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::{CommandFactory, Parser};

use args::{Cli, Command, ConfigCommand};

/// Why the program ends without having done what it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command line or the environment's variables make no sense: the caller's fault, nothing was touched.
    Usage(String),
    /// The system, or what is stored, does not allow it.
    Environment(String),
    /// What was to be said is said already.
    Told,
    /// Nobody reads our output any more.
    PipeClosed,
}

/// By default a write beyond the limit of a file's size (`ulimit -f`) ends the process. With a handler it fails, as one
/// to a full disk does.
fn survive_file_limits() {
    // What can't be caught stays as it is.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Does what `arguments` (the first is the program) and the environment ask for, and tells how it went.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    survive_file_limits();
    let completed = match config::complete(arguments) {
        Ok(completed) => completed,
        Err(failure) => return finish(Err(failure)),
    };
    completed.warnings.iter().for_each(|warning| usage::print_warning(warning));
    match Cli::try_parse_from(&completed.arguments) {
        Ok(cli) => finish(dispatch(cli, &completed)),
        Err(error) if !error.use_stderr() => {
            // Help or the version. Where nobody reads it, nobody misses it.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        Err(error) => finish(Err(Failure::Usage(usage::one_line(&error, &completed)))),
    }
}

fn dispatch(cli: Cli, completed: &config::Completed) -> Result<(), Failure> {
    match cli.command {
        None => serve::serve(&cli.serve),
        Some(Command::Serve(args)) => serve::serve(&args),
        Some(Command::List(args)) => store::list(&args),
        Some(Command::Show(args)) => store::show(&args),
        Some(Command::Cat(args)) => store::cat(&args),
        Some(Command::Delete(args)) => store::delete(&args),
        Some(Command::Export(args)) => export::export(&args),
        Some(Command::Stats(args)) => store::stats(&args),
        Some(Command::Verify(args)) => store::verify(&args),
        Some(Command::Health(args)) => health::health(&args),
        Some(Command::Import(command)) => import::import(&command),
        Some(Command::Config(ConfigCommand::Check(args))) => config::check(&args, completed),
        Some(Command::Completions(args)) => manual::completions(args.shell),
        Some(Command::Man(args)) => manual::page(args.command.as_deref()),
        Some(Command::Version) => {
            // Where nobody reads it, nobody misses it.
            let _ = write!(io::stdout(), "{}", Cli::command().render_version());
            Ok(())
        }
    }
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    let (text, status) = match result {
        Ok(()) | Err(Failure::PipeClosed) => return ExitCode::SUCCESS,
        Err(Failure::Told) => return ExitCode::from(1),
        Err(Failure::Environment(text)) => (text, 1),
        Err(Failure::Usage(text)) => (text, 2),
    };
    usage::print_error(&text);
    ExitCode::from(status)
}
