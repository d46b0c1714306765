//! The program `tus-mio-server`: a server of resumable uploads, and a look into its store.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os().collect())
}
