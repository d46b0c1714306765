//! The flags and their defaults. What `--help` says of a flag stands here, once; so does its name in the
//! environment, which is always `TUS_` and the flag in capitals.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use tus_mio_server::Address;

use super::{
    admin_args::AdminArgs,
    bucket::BucketArgs,
    choices::{Location, MethodOverride, ProxyHeaders},
    config_args::ConfigArgs,
    health::HealthArgs,
    help::{
        AFTER_HELP, CAT_HELP, CHECK_HELP, COMPLETIONS_HELP, DELETE_HELP, EXPORT_HELP, LIST_HELP, MAN_HELP,
        SHOW_HELP, STATS_HELP, VERIFY_HELP,
    },
    hooks::HookArgs,
    host_args::HostArgs,
    import::ImportCommand,
    limits::LimitArgs,
    listing_args::{ExportArgs, ListArgs},
    log::LogArgs,
    publish::PublishArgs,
    resource_args::ResourceArgs,
    storage::StorageArgs,
    store_args::{CatArgs, OneUploadArgs, StoreArgs, VerifyArgs},
    tusd_flags::TusdFlags,
    upload_args::UploadArgs,
    value,
};

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
    Show(OneUploadArgs),
    /// Write the committed bytes of an upload to standard output
    #[command(after_help = CAT_HELP)]
    Cat(CatArgs),
    /// Delete an upload, its record and its bytes, without a question
    #[command(after_help = DELETE_HELP)]
    Delete(OneUploadArgs),
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

    /// Which uploads are taken, and what clients may do with them.
    #[command(flatten)]
    pub(crate) uploads: UploadArgs,

    /// What one connection may cost.
    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Hooks out of the process.
    #[command(flatten)]
    pub(crate) hooks: HookArgs,

    /// What the server may take of the machine.
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,

    /// What is logged, and how.
    #[command(flatten)]
    pub(crate) log: LogArgs,
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
        assert_eq!((named.uploads.max_size, named.no_demo), (10_000_000_000, true));
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
            if args.id == "abc" && args.store.json && args.store.which.data_dir.as_os_str() == "d"));
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
