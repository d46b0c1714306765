//! The flags for hooks out of the process: an HTTP service, or a directory of programs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use tus_mio_server::{
    Settings,
    hooks::{External, ExternalSettings, HookRunner, HookType, HttpSettings, Target},
};

use super::{Failure, value};

/// How much longer a request waits for its hook than the hook may take: for the threads that call hooks.
const QUEUE: Duration = Duration::from_secs(15);

/// The flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct HookArgs {
    /// Send hooks to this URL [default: none]
    #[arg(long, env = "TUS_HOOKS_HTTP", value_name = "URL", help_heading = "Hooks")]
    #[arg(conflicts_with = "hooks_dir")]
    pub(crate) hooks_http: Option<String>,

    /// Run hooks as programs in this directory, named pre-create, post-finish and so on [default: none]
    #[arg(long, env = "TUS_HOOKS_DIR", value_name = "DIRECTORY", help_heading = "Hooks")]
    pub(crate) hooks_dir: Option<PathBuf>,

    /// Which hooks are called, separated by commas
    #[arg(long, env = "TUS_HOOKS_ENABLED_EVENTS", value_name = "LIST", value_delimiter = ',')]
    #[arg(
        default_value = "pre-create,post-create,post-receive,post-terminate,post-finish",
        help_heading = "Hooks"
    )]
    pub(crate) hooks_enabled_events: Vec<HookType>,

    /// Shortest time between two calls of post-receive for an upload; at least 1ms
    #[arg(long, env = "TUS_HOOKS_PROGRESS_INTERVAL", value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = value::duration, help_heading = "Hooks")]
    pub(crate) hooks_progress_interval: Duration,

    /// Headers of a client's request that are sent to --hooks-http, separated by commas [default: none]
    #[arg(long, env = "TUS_HOOKS_HTTP_FORWARD_HEADERS", value_name = "LIST", value_delimiter = ',')]
    #[arg(help_heading = "Hooks")]
    pub(crate) hooks_http_forward_headers: Vec<String>,

    /// How long all attempts of a call may take together; at least 1ms
    #[arg(long, env = "TUS_HOOKS_HTTP_TIMEOUT", value_name = "DURATION", default_value = "15s")]
    #[arg(value_parser = value::duration, help_heading = "Hooks")]
    pub(crate) hooks_http_timeout: Duration,

    /// Number of attempts, on network errors and on 5xx
    #[arg(long, env = "TUS_HOOKS_HTTP_RETRY", value_name = "NUMBER", default_value = "3")]
    #[arg(value_parser = value::count(100), help_heading = "Hooks")]
    pub(crate) hooks_http_retry: usize,

    /// Pause between two attempts
    #[arg(long, env = "TUS_HOOKS_HTTP_BACKOFF", value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = value::duration, help_heading = "Hooks")]
    pub(crate) hooks_http_backoff: Duration,

    /// Largest response of the hook service
    #[arg(long, env = "TUS_HOOKS_HTTP_SIZE_LIMIT", value_name = "SIZE", default_value = "5KiB")]
    #[arg(value_parser = value::size, help_heading = "Hooks")]
    pub(crate) hooks_http_size_limit: u64,

    /// PEM file of the certificates that may have signed the URL's [default: the system's]
    #[arg(long, env = "TUS_HOOKS_HTTP_CA", value_name = "FILE", help_heading = "Hooks")]
    pub(crate) hooks_http_ca: Option<PathBuf>,

    /// How many hooks that requests wait for may run at once; as many more may run for events
    #[arg(long, env = "TUS_HOOKS_CONCURRENCY", value_name = "NUMBER", default_value = "64")]
    #[arg(value_parser = value::count(1024), help_heading = "Hooks")]
    pub(crate) hooks_concurrency: usize,
}

impl HookArgs {
    /// Adds what they say to the settings.
    pub(crate) fn apply(&self, settings: &mut Settings) -> Result<(), Failure> {
        settings.hook_threads = self.hooks_concurrency;
        let target = match (&self.hooks_http, &self.hooks_dir) {
            (Some(url), _) => Target::Http(self.service(url)?),
            (None, Some(directory)) => Target::Directory(directory.clone()),
            (None, None) => return Ok(()),
        };
        if let Target::Http(service) = &target {
            settings.hook_timeout = settings.hook_timeout.max(service.timeout + QUEUE);
        }
        if self.hooks_progress_interval.is_zero() {
            return Err(Failure::Usage("--hooks-progress-interval can't be 0: give at least 1ms".into()));
        }
        let hooks = ExternalSettings {
            target,
            enabled: self.hooks_enabled_events.clone(),
            progress_interval: self.hooks_progress_interval,
        };
        let hooks = External::new(hooks).map_err(|error| Failure::Usage(error.to_string()))?;
        settings.hook_runner = Some(Arc::new(hooks) as Arc<dyn HookRunner>);
        Ok(())
    }

    fn service(&self, url: &str) -> Result<HttpSettings, Failure> {
        if self.hooks_http_timeout.is_zero() {
            return Err(Failure::Usage("--hooks-http-timeout can't be 0: give at least 1ms".into()));
        }
        Ok(HttpSettings {
            forward_headers: self.hooks_http_forward_headers.clone(),
            timeout: self.hooks_http_timeout,
            tries: u32::try_from(self.hooks_http_retry).unwrap_or(u32::MAX),
            backoff: self.hooks_http_backoff,
            size_limit: self.hooks_http_size_limit,
            ca: self.hooks_http_ca.clone(),
            connections: self.hooks_concurrency,
            ..HttpSettings::new(url)
        })
    }
}
