//! The flags for where a running server answers its operator.

use std::path::PathBuf;

use clap::Args;
use tus_mio_server::Address;

use super::value;

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct AdminArgs {
    /// Address and port, or unix:PATH, for metrics, health and administration, which are then not at --listen; may be
    /// repeated. Plain HTTP. Without a token only loopback addresses and UNIX sockets [default: none]
    #[arg(long, env = "TUS_ADMIN_LISTEN", value_name = "ADDRESS")]
    #[arg(value_parser = value::address, value_delimiter = ',', help_heading = "Network")]
    pub(crate) admin_listen: Vec<Address>,

    /// File whose first line is the secret of administration at --admin-listen, sent as Authorization: Bearer.
    /// Metrics and health need none [default: none]
    #[arg(
        long,
        env = "TUS_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        requires = "admin_listen",
        help_heading = "Network"
    )]
    pub(crate) admin_token_file: Option<PathBuf>,
}
