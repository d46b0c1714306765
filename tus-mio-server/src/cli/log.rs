//! The flags for what is logged, beside level and format.

use clap::Args;

use super::value;

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogArgs {
    /// Log each request at level info, with its id, size, time and status; a request without an id gets one [default:
    /// off]
    #[arg(long, env = "TUS_ACCESS_LOG", value_parser = value::switch, help_heading = "Logging")]
    pub(crate) access_log: bool,
}
