//! The flags and their defaults. What `--help` says of a flag stands here, once; so does its name in the
//! environment, which is always `TUS_` and the flag in capitals.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tus_mio_server::Address;

use super::{
    admin_args::AdminArgs,
    bucket::{BucketArgs, PlaceArgs},
    choices::{Location, MethodOverride, ProxyHeaders},
    config::ConfigArgs,
    health::HealthArgs,
    hooks::HookArgs,
    host_args::HostArgs,
    import::ImportCommand,
    limits::LimitArgs,
    listing_args::{ExportArgs, ListArgs},
    log::LogArgs,
    publish::PublishArgs,
    storage::StorageArgs,
    tusd_flags::TusdFlags,
    value,
};

const AFTER_HELP: &str = "\
Every flag can also be given in the environment: TUS_ and its name in capitals, as TUS_DATA_DIR=/srv/tus, \
TUS_LISTEN=127.0.0.1:8080,[::1]:8080 or TUS_NO_DEMO=true, and in the file that --config names: listen = \
[\"127.0.0.1:8080\", \"[::1]:8080\"] or no-demo = true. A flag on the command line wins over the environment, and that \
over the file.

Sizes are bytes or have a unit: 1048576, 64KiB, 10GB, 1.5GiB. Durations have units: 30s, 24h, 500ms, 1h30m; 0 \
needs none.

Exit status: 0 after a drained shutdown, 1 if the environment does not allow it (a port or the data directory is \
in use, a disk fails), 2 for bad usage.";

const LIST_HELP: &str = "\
With --json: {\"uploads\": [{\"id\", \"kind\", \"offset\", \"length\", \"complete\", \"created\", \"expires\", \"filename\"}], \
\"next\"}. kind is plain, partial, final, or pending for a final whose parts are not finished; \
offset and length are bytes, length is null while it is deferred; created and expires are RFC 3339 in UTC, expires null \
where it does not; filename is null where the metadata has none; next is what --after takes where there are more than \
--limit, else null.";

const SHOW_HELP: &str = "\
With --json: {\"id\", \"kind\", \"offset\", \"length\", \"complete\", \"created\", \"expires\", \"filename\", \"metadata\": [{\"key\", \"value\", \
\"base64\"}], \"data\": [{\"path\", \"length\"}]}, the first eight as list has them. value is null where it is not \
UTF-8; data names the files that hold the upload, in order, each with how many bytes from its first are committed. Where path \
is null, the bytes lie in the records, as those of small uploads do.";

const CAT_HELP: &str = "\
What is committed, from the first byte on, wherever it lies. An unfinished concatenation has no bytes yet.";

const DELETE_HELP: &str = "With --json: {\"deleted\", \"bytes\"}: the id, and how many bytes it had.";

const EXPORT_HELP: &str = "\
A file that is there already is left as it is, so that an export that was interrupted can be repeated. With --json and a \
directory: {\"exported\", \"bytes\", \"left\"}: how many uploads were written, their bytes, and how many were there.";

const STATS_HELP: &str = "\
bytes are those that are there, where a final shares some with its parts for each of them; missing are those that \
unfinished uploads have announced and not sent; events wait for hooks; free is the disk's space. It reads every record.

With --json: {\"uploads\", \"finished\", \"unfinished\", \"expired\", \"bytes\", \"missing\", \"events\", \"free\"}.";

const VERIFY_HELP: &str = "\
Beside a running server the check goes on while uploads do, and leaves out how many uploads share a file; --repair needs \
the store alone.

Exit status 1 if there are findings, with --repair only if some are left. --repair destroys no byte: tables are written \
anew from the records; an upload whose bytes are not all there is cut back to those that are, and is not complete any \
more, so that its client can send the rest; files of nobody are moved to the directory aside in the data directory. A \
record that can't be read, and a complete concatenation that lost bytes, are left: restore them from a backup, or \
delete the latter.

With --json: {\"ok\", \"format\", \"uploads\", \"bytes\", \"findings\": [{\"kind\", \"id\", \"path\", \"text\", \"remedy\"}]}. kind is \
damaged-record, missing-file, short-file, wrong-count, condemned, wrong-expiry, wrong-tombstone, wrong-waiting, \
not-scattered, damaged-event, foreign-journal, stray or other; id and path are null where a finding is about none; \
remedy is what was done about it, null where nothing was.";

const CHECK_HELP: &str = "\
It takes the flags of serve, reads the same file and the same environment, and opens neither sockets nor the data \
directory. Exit status 0 if serve would start with these settings, 1 if the file can't be read, 2 if something is wrong; \
the error names the flag, the variable or the line.";

const COMPLETIONS_HELP: &str = "\
For bash: tus-mio-server completions bash > /etc/bash_completion.d/tus-mio-server";

const MAN_HELP: &str = "\
To install it: tus-mio-server man > /usr/local/share/man/man1/tus-mio-server.1";

/// A server for resumable uploads (tus 1.0.0).
///
/// Without a command it serves. The other commands read or change a store, through the running server if there is one.
#[derive(Parser, Debug)]
#[command(name = "tus-mio-server", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
#[command(allow_negative_numbers = true)]
pub(crate) struct Cli {
    /// The command; `None` serves.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The flags of serve.
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Serve uploads (the default)
    #[command(after_help = AFTER_HELP, allow_negative_numbers = true)]
    Serve(Box<ServeArgs>),
    /// List the uploads in a store, oldest first by default
    #[command(after_help = LIST_HELP)]
    List(ListArgs),
    /// Show an upload: its state, metadata and data files
    #[command(after_help = SHOW_HELP)]
    Show(UploadArgs),
    /// Write the committed bytes of an upload to standard output
    #[command(after_help = CAT_HELP)]
    Cat(CatArgs),
    /// Delete an upload, its record and its bytes, without a question
    #[command(after_help = DELETE_HELP)]
    Delete(UploadArgs),
    /// Write finished uploads to files named by their ids, each with its metadata as ID.json
    #[command(after_help = EXPORT_HELP)]
    Export(ExportArgs),
    /// Count uploads and their bytes
    #[command(after_help = STATS_HELP)]
    Stats(StoreArgs),
    /// Check all records against all data files, and repair with --repair
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
    /// Ask a running server whether it can commit uploads: exit status 0 if it can, else 1
    Health(HealthArgs),
    /// Import the uploads of another server
    #[command(subcommand)]
    Import(ImportCommand),
    /// Check a configuration without serving
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write a completion script for a shell to standard output
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsArgs),
    /// Write the manual page, or that of one command, to standard output
    #[command(after_help = MAN_HELP)]
    Man(ManArgs),
    /// Write the version, as --version does
    Version,
}

/// What to do with a configuration.
#[derive(Subcommand, Debug)]
pub(crate) enum ConfigCommand {
    /// Check flags, environment and file as serve would, and write each setting with its source
    #[command(after_help = CHECK_HELP, allow_negative_numbers = true)]
    Check(Box<ServeArgs>),
}

/// The flags of `completions`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// The flags of `man`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ManArgs {
    /// The command [default: the program as a whole]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}

/// The flags of `serve`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArgs {
    /// Where else the settings are.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Whether the flags are another server's.
    #[command(flatten)]
    pub(crate) tusd: TusdFlags,

    /// Address and port to listen on, or unix:PATH; may be repeated. Port 0 lets the system choose [default: the
    /// sockets that the process was started with, else 127.0.0.1:8080]
    #[arg(long, env = "TUS_LISTEN", value_name = "ADDRESS")]
    #[arg(value_parser = value::address, value_delimiter = ',', help_heading = "Network")]
    pub(crate) listen: Vec<Address>,

    /// Speak TLS at all TCP addresses, with the certificates in this PEM file: the server's first, followed by the
    /// intermediate ones. SIGHUP reads it again [default: none, plain HTTP]
    #[arg(long, env = "TUS_TLS_CERT", value_name = "FILE", requires = "tls_key", help_heading = "Network")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The certificate's private key, a PEM file. SIGHUP reads it again [default: none]
    #[arg(long, env = "TUS_TLS_KEY", value_name = "FILE", requires = "tls_cert", help_heading = "Network")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Path of the uploads in URLs
    #[arg(
        long,
        env = "TUS_BASE_PATH",
        value_name = "PATH",
        default_value = "/files",
        help_heading = "Network"
    )]
    pub(crate) base_path: String,

    /// Path of the metrics for Prometheus, or none to have none. Health is always at /healthz
    #[arg(long, env = "TUS_METRICS_PATH", value_name = "PATH", default_value = "/metrics")]
    #[arg(help_heading = "Network")]
    pub(crate) metrics_path: String,

    /// Whether Location is a URL or a path. auto: a path if the request shows a proxy or a browser, else a URL
    #[arg(long, env = "TUS_LOCATION", value_name = "FORM", default_value = "auto", help_heading = "Network")]
    pub(crate) location: Location,

    /// Make Location from this http or https URL, under which clients reach the uploads [default: none]
    #[arg(long, env = "TUS_LOCATION_BASE_URL", value_name = "URL", help_heading = "Network")]
    pub(crate) location_base_url: Option<String>,

    /// Make Location from the proxy's headers, else from Host. Only use it with a proxy that sets these headers or
    /// adds to them [default: off]
    #[arg(long, env = "TUS_BEHIND_PROXY", value_parser = value::switch, help_heading = "Network")]
    pub(crate) behind_proxy: bool,

    /// The headers of the proxy that are believed: X-Forwarded-Host, -Proto and -Port, or Forwarded. Of a list the
    /// last member counts
    #[arg(long, env = "TUS_PROXY_HEADERS", value_name = "HEADERS", default_value = "x-forwarded")]
    #[arg(help_heading = "Network")]
    pub(crate) proxy_headers: ProxyHeaders,

    /// Which requests X-HTTP-Method-Override may turn into those of another method. any passes a proxy's rules by
    /// method
    #[arg(long, env = "TUS_METHOD_OVERRIDE", value_name = "REQUESTS", default_value = "post")]
    #[arg(help_heading = "Network")]
    pub(crate) method_override: MethodOverride,

    /// Origins whose pages may upload from a browser, such as https://example.org, or * for all; may be repeated
    /// [default: none]
    #[arg(
        long,
        alias = "cors-allow-origins",
        env = "TUS_CORS_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    #[arg(help_heading = "Browsers")]
    pub(crate) cors_allow_origin: Vec<String>,

    /// Request headers that those pages may send in addition to the protocol's own; may be repeated [default: none]
    #[arg(long, env = "TUS_CORS_ALLOW_HEADERS", value_name = "NAME", value_delimiter = ',')]
    #[arg(help_heading = "Browsers")]
    pub(crate) cors_allow_headers: Vec<String>,

    /// Let those pages send cookies and other credentials; not possible with origin * [default: off]
    #[arg(long, env = "TUS_CORS_ALLOW_CREDENTIALS", value_parser = value::switch, help_heading = "Browsers")]
    pub(crate) cors_allow_credentials: bool,

    /// How long a browser may cache what CORS allows [default: the browser's own rule]
    #[arg(long, env = "TUS_CORS_MAX_AGE", value_name = "DURATION", value_parser = value::duration)]
    #[arg(help_heading = "Browsers")]
    pub(crate) cors_max_age: Option<Duration>,

    /// Leave out the upload page at / [default: off]
    #[arg(long, env = "TUS_NO_DEMO", value_parser = value::switch, help_heading = "Browsers")]
    pub(crate) no_demo: bool,

    /// What is left of the host to others.
    #[command(flatten)]
    pub(crate) host: HostArgs,

    /// Where the operator is answered.
    #[command(flatten)]
    pub(crate) admin: AdminArgs,

    /// Where uploads are kept, and how.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,

    /// Uploads on an object store.
    #[command(flatten)]
    pub(crate) bucket: BucketArgs,

    /// Where finished uploads go.
    #[command(flatten)]
    pub(crate) publishing: PublishArgs,

    /// Largest upload; 0 for no limit
    #[arg(long, env = "TUS_MAX_SIZE", value_name = "SIZE", default_value = "0", value_parser = value::size)]
    #[arg(help_heading = "Uploads")]
    pub(crate) max_size: u64,

    /// Largest body of one request; 0 for no limit
    #[arg(long, env = "TUS_MAX_CHUNK_SIZE", value_name = "SIZE", default_value = "0", value_parser = value::size)]
    #[arg(help_heading = "Uploads")]
    pub(crate) max_chunk_size: u64,

    /// Algorithms that checksums may use, separated by commas; "none" for no checksums
    #[arg(
        long,
        env = "TUS_CHECKSUM_ALGORITHMS",
        value_name = "NAMES",
        default_value = "sha1,sha256,sha512,md5"
    )]
    #[arg(value_parser = value::algorithms, help_heading = "Uploads")]
    pub(crate) checksum_algorithms: value::Algorithms,

    /// Reject clients' requests to delete uploads [default: off]
    #[arg(long, env = "TUS_DISABLE_TERMINATION", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) disable_termination: bool,

    /// Speak only tus 1.0.0, and not the IETF's resumable uploads [default: off]
    #[arg(long, env = "TUS_DISABLE_RUFH", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) disable_rufh: bool,

    /// Reject requests to concatenate uploads [default: off]
    #[arg(long, env = "TUS_DISABLE_CONCATENATION", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) disable_concatenation: bool,

    /// Reject requests to concatenate uploads that are not finished [default: off]
    #[arg(long, env = "TUS_DISABLE_CONCATENATION_UNFINISHED", value_parser = value::switch)]
    #[arg(help_heading = "Uploads")]
    pub(crate) disable_concatenation_unfinished: bool,

    /// Largest number of parts of one concatenation
    #[arg(long, env = "TUS_MAX_PARTS", value_name = "NUMBER", default_value = "1000")]
    #[arg(value_parser = value::count(100_000), help_heading = "Uploads")]
    pub(crate) max_parts: usize,

    /// Delete the parts of a concatenation as soon as it is complete [default: off]
    #[arg(long, env = "TUS_DELETE_PARTS", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) delete_parts: bool,

    /// Let clients download finished uploads with GET [default: off]
    #[arg(long, env = "TUS_ENABLE_DOWNLOADS", value_parser = value::switch, help_heading = "Uploads")]
    pub(crate) enable_downloads: bool,

    /// How long an unfinished upload lives after its last bytes; 0 means forever
    #[arg(long, env = "TUS_UPLOAD_EXPIRY", value_name = "DURATION", default_value = "0")]
    #[arg(value_parser = value::duration, help_heading = "Uploads")]
    pub(crate) upload_expiry: Duration,

    /// How often expired uploads are removed; at least 1s
    #[arg(long, env = "TUS_CLEANUP_INTERVAL", value_name = "DURATION", default_value = "60s")]
    #[arg(value_parser = value::duration, help_heading = "Uploads")]
    pub(crate) cleanup_interval: Duration,

    /// How many unfinished concatenations may name the same part
    #[arg(long, env = "TUS_MAX_WAITING_FINALS", value_name = "NUMBER", default_value = "4")]
    #[arg(value_parser = value::count(1_000), help_heading = "Uploads")]
    pub(crate) max_waiting_finals: usize,

    /// How long a request waits for an earlier writer of the same upload to yield; 0 rejects it at once
    #[arg(long, env = "TUS_LOCK_WAIT", value_name = "DURATION", default_value = "5s")]
    #[arg(value_parser = value::duration, help_heading = "Uploads")]
    pub(crate) lock_wait: Duration,

    /// How long a writer's lock lives without renewal; at least 1s
    #[arg(long, env = "TUS_LOCK_TTL", value_name = "DURATION", default_value = "60s")]
    #[arg(value_parser = value::duration, help_heading = "Uploads")]
    pub(crate) lock_ttl: Duration,

    /// What one connection may cost.
    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Hooks out of the process.
    #[command(flatten)]
    pub(crate) hooks: HookArgs,

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

    /// What to log on standard error. SIGHUP reads it again from the configuration file
    #[arg(
        long,
        env = "TUS_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Logging"
    )]
    pub(crate) log_level: LogLevel,

    /// Format of the log: a line of text, or a JSON object, for each event
    #[arg(
        long,
        env = "TUS_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Logging"
    )]
    pub(crate) log_format: LogFormat,

    /// What else to log.
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Which store, and how to write what is in it.
#[derive(Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    /// Where else the directory may stand.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Directory of the uploads; beside a running server it is asked
    #[arg(long, env = "TUS_DATA_DIR", value_name = "DIRECTORY", default_value = "./tus-data")]
    pub(crate) data_dir: PathBuf,

    /// The bucket, if uploads are in one.
    #[command(flatten)]
    pub(crate) bucket: PlaceArgs,

    /// Write one JSON document in place of text [default: off]
    #[arg(long, env = "TUS_JSON", value_parser = value::switch)]
    pub(crate) json: bool,
}

/// Which store, and what to do about it.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// Mend what is wrong, as far as that has one right answer; no byte is destroyed [default: off]
    #[arg(long, env = "TUS_REPAIR", value_parser = value::switch)]
    pub(crate) repair: bool,
}

/// Which upload of which store.
#[derive(Args, Clone, Debug)]
pub(crate) struct UploadArgs {
    /// The upload: the last part of its URL
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Which store, and how to write.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Which upload of which store.
#[derive(Args, Clone, Debug)]
pub(crate) struct CatArgs {
    /// The upload: the last part of its URL
    #[arg(value_name = "ID")]
    pub(crate) id: String,

    /// Where else the directory may stand.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Directory of the uploads; beside a running server it is asked
    #[arg(long, env = "TUS_DATA_DIR", value_name = "DIRECTORY", default_value = "./tus-data")]
    pub(crate) data_dir: PathBuf,

    /// The bucket, if uploads are in one.
    #[command(flatten)]
    pub(crate) bucket: PlaceArgs,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::documented::document;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn flags_work_with_and_without_the_word() {
        let bare = parse("tus --max-size 10GB --listen [::1]:0 --no-demo");
        assert!(bare.command.is_none());
        let Some(Command::Serve(named)) =
            parse("tus serve --max-size 10GB --listen [::1]:0 --no-demo").command
        else {
            panic!("serve")
        };
        assert_eq!(format!("{:?}", bare.serve), format!("{named:?}"));
        assert_eq!((named.max_size, named.no_demo), (10_000_000_000, true));
    }

    #[test]
    fn the_unit_in_the_documentation_starts_it() {
        let Some(unit) = document("systemd.md") else { return };
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap_or_default();
        let cli = parse(line);
        assert!(cli.serve.listen.is_empty(), "the sockets are systemd's");
        assert_eq!(cli.serve.storage.data_dir.as_os_str(), "/var/lib/tus");
    }

    #[test]
    fn a_command_takes_its_own_flags_only() {
        assert!(matches!(parse("tus show abc --json --data-dir d").command, Some(Command::Show(args))
            if args.id == "abc" && args.store.json && args.store.data_dir.as_os_str() == "d"));
        for bad in
            ["tus --no-demo list", "tus list --listen 127.0.0.1:1", "tus show", "tus show a b", "tus lost"]
        {
            assert!(Cli::try_parse_from(bad.split(' ')).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_flag_has_its_name_in_the_environment_a_text_and_a_default() {
        let mut cli = Cli::command();
        cli.build();
        let commands = std::iter::once(&cli).chain(cli.get_subcommands());
        let mut flags = 0;
        for arg in commands.flat_map(clap::Command::get_arguments) {
            let Some(long) = arg.get_long().filter(|long| !["help", "version"].contains(long)) else {
                continue;
            };
            flags += 1;
            let variable = format!("TUS_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(variable.as_str()), "--{long}");
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let by_hand = help.contains("[default: ");
            let by_parser = arg.get_action().takes_values() && !arg.get_default_values().is_empty();
            assert!(help.len() > 10 && by_hand != by_parser, "--{long}: {help}");
        }
        assert!(flags > 130, "{flags}");
    }
}
