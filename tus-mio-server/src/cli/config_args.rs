//! The flag `--config`, which names the file of settings.

use std::path::PathBuf;

use clap::Args;

/// The flag for the file.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    /// Read settings from this TOML file, whose keys are the flags' names. Flags override the environment, which
    /// overrides the file [default: none]
    #[arg(long, env = "TUS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
