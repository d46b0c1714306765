//! The flags for what a server may take of its machine: threads, memory, connections, and the time to end.

use std::time::Duration;

use clap::Args;

use super::value;

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct ResourceArgs {
    /// How long requests may take to finish after SIGTERM or SIGINT; a second signal ends at once. After that their
    /// bodies are cut off, and their responses have 2s more
    #[arg(long, env = "TUS_SHUTDOWN_TIMEOUT", value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = value::duration, help_heading = "Deadlines")]
    pub(crate) shutdown_timeout: Duration,

    /// Event loops [default: one for every two cores, with TLS one a core; at most 4]
    #[arg(long, env = "TUS_THREADS", value_name = "NUMBER", value_parser = value::count(64), help_heading = "Resources")]
    pub(crate) threads: Option<usize>,

    /// Memory for bodies that must be decoded, all event loops together; each has at least one buffer of 128KiB
    /// [default: 4MiB an event loop]
    #[arg(long, env = "TUS_BUFFER_MEMORY", value_name = "SIZE", value_parser = value::size)]
    #[arg(help_heading = "Resources")]
    pub(crate) buffer_memory: Option<u64>,

    /// Memory for incomplete heads, all connections together; when it is full, the oldest of more than 4KiB is
    /// rejected
    #[arg(long, env = "TUS_HEAD_MEMORY", value_name = "SIZE", default_value = "4MiB", value_parser = value::size)]
    #[arg(help_heading = "Resources")]
    pub(crate) head_memory: u64,

    /// Threads for the disk
    #[arg(long, env = "TUS_WORKERS", value_name = "NUMBER", default_value = "4", value_parser = value::count(64))]
    #[arg(help_heading = "Resources")]
    pub(crate) workers: usize,

    /// Connections open at once, over all listeners; idle and slow ones are closed to make room for new ones
    #[arg(long, env = "TUS_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "4096")]
    #[arg(value_parser = value::count(1_000_000), help_heading = "Resources")]
    pub(crate) max_connections: usize,

    /// Connections open at once from one address; 0 for no limit
    #[arg(long, env = "TUS_MAX_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER", default_value = "0")]
    #[arg(value_parser = value::count_or_none(1_000_000), help_heading = "Resources")]
    pub(crate) max_connections_per_address: usize,

    /// Addresses and networks that --max-connections-per-address does not count, such as proxies: a list, or none
    #[arg(long, env = "TUS_UNCOUNTED_ADDRESSES", value_name = "LIST", default_value = "127.0.0.0/8,::1")]
    #[arg(value_parser = value::networks, help_heading = "Resources")]
    pub(crate) uncounted_addresses: value::Networks,

    /// How many bits of IPv4 and of IPv6 addresses count as one address in --max-connections-per-address
    #[arg(long, env = "TUS_ADDRESS_PREFIXES", value_name = "BITS,BITS", default_value = "32,64")]
    #[arg(value_parser = value::prefixes, help_heading = "Resources")]
    pub(crate) address_prefixes: (u8, u8),
}
