//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{hostile::Trial, work::Work};

/// Measures tus servers side by side.
#[derive(Parser, Debug)]
#[command(name = "bench", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Do the same work against several servers, in turns, and compare them
    Run(RunArgs),
    /// Attack this project's server, and see that it keeps its promises
    Hostile(HostileArgs),
    /// Serve as the floor: the least that a program can do to take the same bytes
    Floor(FloorArgs),
}

const SERVERS_HELP: &str = "\
Servers:
  ours-strict, ours-eventual  this project's, in both durabilities
  floor-splice                a bare loop that splices bodies from socket to file; -sync: and then fdatasync
  floor-copy                  a bare loop that reads and writes, and hashes where a checksum is asked for
  floor-loop                  a bare loop of constant answers, which keeps nothing
  floor-log                   the same loop, which appends each POST and PATCH to one file and syncs it once a turn
  PEER                        what tests/bench/peers/install has installed
  NAME,url=URL,pid=PID        any other that listens already; it is neither started nor ended";

#[derive(Args, Debug)]
#[command(after_help = SERVERS_HELP)]
pub(crate) struct RunArgs {
    /// What to measure [default: all]
    #[arg(value_enum, value_name = "WORK")]
    pub(crate) works: Vec<Work>,

    /// A server to measure; may be repeated [default: the floors, ours and all peers]
    #[arg(long = "server", value_name = "SERVER")]
    pub(crate) servers: Vec<String>,

    /// How often each server does each work; the report has the medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Factor for all sizes, counts and times: 0.01 tries the command itself
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    pub(crate) scale: f64,

    /// How long many small requests are made, in each round; seconds
    #[arg(long, default_value_t = 5.0, value_parser = scale)]
    pub(crate) seconds: f64,

    /// Where the servers keep what they are sent; all of it is deleted [default: bench-data beside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Where the peers are installed [default: bench-peers in the target directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) peers: Option<PathBuf>,

    /// This project's server [default: tus-mio-server beside this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,

    /// Write all figures here as JSON as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct HostileArgs {
    /// What to try [default: all]
    #[arg(value_enum, value_name = "TRIAL")]
    pub(crate) trials: Vec<Trial>,

    /// Factor for all sizes and counts: 0.01 tries the command itself
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    pub(crate) scale: f64,

    /// Where the server keeps what it is sent; all of it is deleted [default: bench-data beside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// The server [default: tus-mio-server beside this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct FloorArgs {
    /// What is done with a body
    #[arg(long, value_enum)]
    pub(crate) how: How,
    /// Address and port to listen on
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Where bodies are kept
    #[arg(long)]
    pub(crate) data_dir: PathBuf,
}

/// What a floor does with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum How {
    /// From socket to pipe to file
    Splice,
    /// The same, then fdatasync
    SpliceSync,
    /// Through a buffer; hashed where a checksum is asked for
    Copy,
    /// Dropped: the answers are constant
    Loop,
    /// Appended with its head to one file, which is synced once for all requests that are there
    Log,
}

fn scale(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value > 0.0 && value <= 100.0 { Ok(value) } else { Err("must be above 0 and at most 100".into()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_scale_is_a_positive_number() {
        assert_eq!(scale("0.25"), Ok(0.25));
        for bad in ["0", "-1", "NaN", "1e9", "x"] {
            assert!(scale(bad).is_err(), "{bad}");
        }
    }
}
