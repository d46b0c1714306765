//! `bench`: the same work against any list of tus servers in one run, interleaved, and what it cost each of them.
//! docs/performance.md says how it measures and what it found. `cargo test` runs only the unit tests in here.

mod args;
mod client;
mod contender;
mod drive;
mod figures;
mod floor;
mod growth;
mod hostile;
mod http;
mod process;
mod report;
mod rounds;
mod stats;
mod tus;
mod work;

use std::process::ExitCode;

use clap::Parser;

/// Why something could not be done, in words for whoever started the run.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let done = match args::Cli::parse().command {
        args::Command::Run(args) => rounds::run(&args),
        args::Command::Hostile(args) => hostile::run(&args),
        args::Command::Floor(args) => floor::serve(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            report::say(&format!("bench: {trouble}"));
            ExitCode::FAILURE
        }
    }
}
