//! The flags for what is logged, and how.

use clap::{Args, ValueEnum};

use super::value;

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogArgs {
    /// What to log on standard error. On SIGHUP it is read again from the configuration file
    #[arg(
        long,
        env = "TUS_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Logging"
    )]
    pub(crate) log_level: LogLevel,

    /// How to log: a line of text, or a JSON object, for each event
    #[arg(
        long,
        env = "TUS_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Logging"
    )]
    pub(crate) log_format: LogFormat,

    /// Log each request at level info, with its id, size, time and status; a request without an id gets one [default:
    /// off]
    #[arg(long, env = "TUS_ACCESS_LOG", value_parser = value::switch, help_heading = "Logging")]
    pub(crate) access_log: bool,
}

/// The least important events that are logged.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// None at all.
    Off,
    /// What the server could not do.
    Error,
    /// What an operator should look at.
    Warn,
    /// Beginnings and ends.
    Info,
    /// Each request.
    Debug,
    /// Each step.
    Trace,
}

/// How an event is written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object in a line.
    Json,
}
