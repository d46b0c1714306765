//! The flags for what one connection may cost, in time and in bytes: all of [`http1::Settings`].

use std::time::Duration;

use clap::Args;
use tus_mio_server::http1;

use super::{Failure, value};

/// The largest of what is collected in memory before it is looked at.
const MOST_COLLECTED: u64 = 16 << 20;

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct LimitArgs {
    /// End a request when no byte of its head or body arrives for this long; 0 means never
    #[arg(long, env = "TUS_REQUEST_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = value::duration, help_heading = "Deadlines")]
    pub(crate) request_timeout: Duration,

    /// End a request whose body arrives at fewer bytes per second, after the request timeout; 0 means no minimum
    #[arg(long, env = "TUS_BODY_MIN_RATE", value_name = "SIZE", default_value = "500", value_parser = value::size)]
    #[arg(help_heading = "Deadlines")]
    pub(crate) body_min_rate: u64,

    /// End a download whose client takes fewer bytes per second, after the response timeout; 0 means no minimum
    #[arg(long, env = "TUS_DOWNLOAD_MIN_RATE", value_name = "SIZE", default_value = "4KiB", value_parser = value::size)]
    #[arg(help_heading = "Deadlines")]
    pub(crate) download_min_rate: u64,

    /// How long a request's head may take from its first byte; at least 1ms
    #[arg(long, env = "TUS_HEAD_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = value::duration, help_heading = "Deadlines")]
    pub(crate) head_timeout: Duration,

    /// How long a connection may stay open between requests; at least 1ms
    #[arg(long, env = "TUS_IDLE_TIMEOUT", value_name = "DURATION", default_value = "75s")]
    #[arg(value_parser = value::duration, help_heading = "Deadlines")]
    pub(crate) idle_timeout: Duration,

    /// How long a client may take to take a response, or take no byte of a download; at least 1ms
    #[arg(long, env = "TUS_RESPONSE_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = value::duration, help_heading = "Deadlines")]
    pub(crate) response_timeout: Duration,

    /// How long a connection is read after a response that ends it, so that the response arrives; at least 1ms
    #[arg(long, env = "TUS_LINGER_TIMEOUT", value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = value::duration, help_heading = "Deadlines")]
    pub(crate) linger_timeout: Duration,

    /// How many bytes are read in --linger-timeout
    #[arg(long, env = "TUS_LINGER_SIZE", value_name = "SIZE", default_value = "16MiB", value_parser = value::size)]
    #[arg(help_heading = "Connections")]
    pub(crate) linger_size: u64,

    /// Largest unwanted body that is read to keep its connection open
    #[arg(long, env = "TUS_DRAIN_SIZE", value_name = "SIZE", default_value = "256KiB", value_parser = value::size)]
    #[arg(help_heading = "Connections")]
    pub(crate) drain_size: u64,

    /// Largest head of a request; at most 16MiB
    #[arg(long, env = "TUS_MAX_HEAD_SIZE", value_name = "SIZE", default_value = "96KiB", value_parser = value::size)]
    #[arg(help_heading = "Connections")]
    pub(crate) max_head_size: u64,

    /// Largest number of fields in a head, and in a trailer section
    #[arg(long, env = "TUS_MAX_FIELDS", value_name = "NUMBER", default_value = "100")]
    #[arg(value_parser = value::count(10_000), help_heading = "Connections")]
    pub(crate) max_fields: usize,

    /// Longest line that begins a chunk of a body; at most 16MiB
    #[arg(long, env = "TUS_MAX_CHUNK_LINE", value_name = "SIZE", default_value = "256", value_parser = value::size)]
    #[arg(help_heading = "Connections")]
    pub(crate) max_chunk_line: u64,

    /// Largest trailer section of a chunked body; at most 16MiB
    #[arg(long, env = "TUS_MAX_TRAILER_SIZE", value_name = "SIZE", default_value = "8KiB", value_parser = value::size)]
    #[arg(help_heading = "Connections")]
    pub(crate) max_trailer_size: u64,
}

impl LimitArgs {
    /// What they say, if all of it makes sense.
    pub(crate) fn settings(&self) -> Result<http1::Settings, Failure> {
        Ok(http1::Settings {
            head_bytes: collected("--max-head-size", self.max_head_size)?,
            fields: self.max_fields,
            chunk_line_bytes: collected("--max-chunk-line", self.max_chunk_line)?,
            trailer_bytes: collected("--max-trailer-size", self.max_trailer_size)?,
            head_timeout: some_time("--head-timeout", self.head_timeout)?,
            idle_timeout: some_time("--idle-timeout", self.idle_timeout)?,
            body_timeout: self.request_timeout,
            body_rate: self.body_min_rate,
            response_timeout: some_time("--response-timeout", self.response_timeout)?,
            download_min_rate: self.download_min_rate,
            linger_bytes: self.linger_size,
            linger_timeout: some_time("--linger-timeout", self.linger_timeout)?,
            drain_bytes: self.drain_size,
        })
    }
}

/// A head that may take for ever, or a connection that may idle for ever, is an invitation to fill the server.
fn some_time(flag: &str, time: Duration) -> Result<Duration, Failure> {
    if time.is_zero() {
        Err(Failure::Usage(format!("{flag} can't be 0: give at least 1ms")))
    } else {
        Ok(time)
    }
}

/// What is collected has a bound, and where that is too low no request comes through.
fn collected(flag: &str, size: u64) -> Result<usize, Failure> {
    let size = usize::try_from(size).ok().filter(|size| (16..=MOST_COLLECTED).contains(&(*size as u64)));
    size.ok_or_else(|| Failure::Usage(format!("{flag} must be from 16 bytes to 16MiB")))
}
