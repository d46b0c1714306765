//! `serve`: from flags to the server's settings, and its life as a process: the lines on standard output, the
//! signals, the end.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use tus_mio_server::{Address, Handle, Inherited, Server, Settings, TlsFiles};

use super::{
    Failure,
    args::{Cli, Command, LogLevel, ServeArgs},
    bucket, config, logging, notify, usage,
};

/// Serves until a signal ends it.
pub(crate) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let mut settings = settings(args)?;
    let _writing = logging::start(args.log_level, args.log_format);
    settings.log_lines_dropped = Some(logging::dropped);
    for name in usage::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        tracing::warn!(
            "{name} in the environment is not a variable of this program: see --help for their names"
        );
    }
    let inherited = Inherited::from_env().map_err(failed)?;
    if args.listen.is_empty() && !inherited.is_empty() {
        settings.listen.clear();
    }
    let base_path = settings.protocol.base_path().to_owned();
    raise_descriptor_limit();
    let directory = match args.bucket.url() {
        Some(url) => url.to_owned(),
        None => settings.data_dir.display().to_string(),
    };
    let usage = bucket::Use {
        checkpoint_interval: args.storage.checkpoint_interval,
        cleanup_interval: args.cleanup_interval,
    };
    let builder = match args.bucket.url() {
        None => Server::builder(settings),
        Some(_) => {
            #[cfg_attr(not(feature = "object-store"), allow(clippy::let_unit_value))]
            let locks = bucket::locks(&mut settings);
            args.bucket.open(Server::builder(settings), &usage, locks)?
        }
    };
    let server = builder.inherited(inherited).bind().map_err(failed)?;
    // Whoever reads the lines may signal at once: so signals come first.
    let secure = args.tls_cert.is_some();
    heed_signals(server.handle(), secure)?;
    announce(&mut io::stdout().lock(), &server, secure, &base_path);
    let addresses: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
    let listening = addresses.join(" ");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listening, directory, "started");
    notify::ready();
    server.run().map_err(failed)
}

/// A connection takes a descriptor and an upload another: as many as the system allows, where the usual limit
/// is lower for the sake of programs that can't count beyond 1024.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Environment(error.to_string())
}

/// What the flags say, if all of it makes sense.
pub(crate) fn settings(args: &ServeArgs) -> Result<Settings, Failure> {
    let mut protocol = tus_proto::Config::builder()
        .base_path(&args.base_path)
        .max_size(args.max_size)
        .max_chunk_size(args.max_chunk_size)
        .termination(!args.disable_termination)
        .rufh(!args.disable_rufh)
        .downloads(args.enable_downloads)
        .lock_wait(args.lock_wait)
        .lock_ttl(lock_ttl(args))
        .locations(args.location.into())
        .behind_proxy(args.behind_proxy)
        .proxy_headers(args.proxy_headers.into())
        .method_override(args.method_override.into())
        .upload_expiry((!args.upload_expiry.is_zero()).then_some(args.upload_expiry))
        .checksum_algorithms(args.checksum_algorithms.0.clone())
        .concatenation(!args.disable_concatenation)
        .concatenation_unfinished(!args.disable_concatenation_unfinished)
        .max_parts(args.max_parts)
        .max_metadata(args.host.max_metadata()?)
        .delete_parts(args.delete_parts)
        .checkpoint_bytes(args.storage.checkpoint_size)
        .checkpoint_interval(args.storage.checkpoint_interval)
        .cors_allow_origins(args.cors_allow_origin.clone())
        .cors_allow_headers(args.cors_allow_headers.clone())
        .cors_allow_credentials(args.cors_allow_credentials)
        .cors_max_age(args.cors_max_age);
    if let Some(url) = &args.location_base_url {
        protocol = protocol.location_base_url(url);
    }
    let protocol = protocol.build().map_err(|error| Failure::Usage(error.to_string()))?;
    check_listeners(args)?;
    args.bucket.check()?;
    if args.cleanup_interval < Duration::from_secs(1) {
        return Err(Failure::Usage("--cleanup-interval must be at least 1s".into()));
    }
    let mut settings = Settings {
        listen: if args.listen.is_empty() { Settings::default().listen } else { args.listen.clone() },
        tls: args
            .tls_cert
            .clone()
            .zip(args.tls_key.clone())
            .map(|(certificates, key)| TlsFiles { certificates, key }),
        protocol,
        http: args.limits.settings()?,
        buffer_memory: args.buffer_memory,
        head_memory: args.head_memory,
        threads: args.threads,
        workers: args.workers,
        max_connections: args.max_connections,
        max_connections_per_address: args.max_connections_per_address,
        uncounted_addresses: args.uncounted_addresses.0.clone(),
        address_prefixes: args.address_prefixes,
        shutdown_timeout: args.shutdown_timeout,
        cleanup_interval: args.cleanup_interval,
        locks: None,
        max_waiting_finals: args.max_waiting_finals,
        demo: !args.no_demo,
        access_log: args.log.access_log,
        host: args.host.limits()?,
        publish: args.publishing.settings()?,
        admin_listen: args.admin.admin_listen.clone(),
        admin_token_file: args.admin.admin_token_file.clone(),
        metrics_path: (args.metrics_path != "none").then(|| args.metrics_path.clone()),
        ..args.storage.settings()?
    };
    args.hooks.apply(&mut settings)?;
    settings.check().map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(settings)
}

/// A lease on an object store lives as long as its server's last sign of life, and who waits for one that has stopped waits so
/// long: the default is shorter there.
fn lock_ttl(args: &ServeArgs) -> Duration {
    let (default, lease) = (Duration::from_secs(60), Duration::from_secs(15));
    if args.bucket.url().is_some() && args.lock_ttl == default { lease } else { args.lock_ttl }
}

/// The same address twice would only show as a port in use, by ourselves.
fn check_listeners(args: &ServeArgs) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let twice = args.listen.iter().find(|address| !may_repeat(address) && !seen.insert(*address));
    twice.map_or(Ok(()), |address| {
        Err(Failure::Usage(format!("--listen names {address} twice: name it once")))
    })
}

/// Each port 0 is another one.
fn may_repeat(address: &Address) -> bool {
    address.tcp().is_some_and(|address| address.port() == 0)
}

/// One line a listener. Where nobody reads them, the server serves all the same.
fn announce(out: &mut impl Write, server: &Server, secure: bool, base_path: &str) {
    let path = if base_path.is_empty() { "/" } else { base_path };
    let scheme = if secure { "https" } else { "http" };
    let line = |address: &Address| match address {
        Address::Tcp(address) => format!("listening on {scheme}://{address}{path}\n"),
        Address::Unix(_) => format!("listening on {address}\n"),
    };
    let mut lines: String = server.addresses().iter().map(line).collect();
    for address in server.admin_addresses() {
        lines.push_str(&match address {
            Address::Tcp(address) => format!("administration at http://{address}/\n"),
            Address::Unix(_) => format!("administration at {address}\n"),
        });
    }
    if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
}

/// The first SIGTERM or SIGINT lets running requests finish, the second ends them. SIGHUP says that what can be read
/// again was changed: the certificate, and the log level in the file of `--config`. It never ends the process, for which
/// it would be lost work.
fn heed_signals(handle: Handle, secure: bool) -> Result<(), Failure> {
    let cant = |error: io::Error| Failure::Environment(format!("can't wait for signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(cant)?;
    let wait = move || {
        let mut wishes = Wishes::default();
        for signal in signals.forever() {
            if signal == SIGHUP {
                reload(&handle, secure);
                continue;
            }
            if !wishes.is_new(signal, Instant::now()) {
                continue;
            }
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("signal");
            tracing::info!("{name}: ending; another signal ends at once");
            notify::stopping();
            handle.shutdown();
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(cant)?;
    Ok(())
}

fn reload(handle: &Handle, secure: bool) {
    match handle.reload_tls() {
        Ok(()) if !secure => tracing::info!("SIGHUP: there is no certificate to read again"),
        Ok(()) => tracing::info!("SIGHUP: the certificate was read again"),
        Err(error) => tracing::error!(%error, "SIGHUP: the certificate stays as it was"),
    }
    match reread() {
        Ok(args) => {
            let tell = || tracing::info!(level = ?args.log_level, "SIGHUP: the log level is set");
            // While it is a level at which that is logged.
            if args.log_level < LogLevel::Info {
                tell();
                return logging::set_level(args.log_level);
            }
            logging::set_level(args.log_level);
            tell();
        }
        Err(Failure::Usage(error) | Failure::Environment(error)) => {
            tracing::error!(error, "SIGHUP: the settings can't be read again, the log level stays as it was");
        }
        Err(Failure::Told | Failure::PipeClosed) => {}
    }
}

/// The settings as they are now: the command line and the environment of this process, and what the file says today.
fn reread() -> Result<ServeArgs, Failure> {
    let completed = config::complete(std::env::args_os().collect())?;
    let cli = Cli::try_parse_from(&completed.arguments);
    let cli = cli.map_err(|error| Failure::Usage(usage::one_line(&error, &completed)))?;
    match cli.command {
        Some(Command::Serve(args)) => Ok(*args),
        _ => Ok(cli.serve),
    }
}

/// What may be sent twice and meant once: `timeout`, for one, signals the process and then its group as well.
const ECHO: Duration = Duration::from_millis(100);

/// Tells signals that ask anew from echoes of the one before.
#[derive(Default)]
struct Wishes {
    last: Option<(i32, Instant)>,
}

impl Wishes {
    fn is_new(&mut self, signal: i32, now: Instant) -> bool {
        let echo = self.last.is_some_and(|(last, at)| last == signal && now.duration_since(at) < ECHO);
        if !echo {
            self.last = Some((signal, now));
        }
        !echo
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tus_mio_server::{HostLimits, http1};
    use tus_proto::Algorithm;

    use super::*;

    fn settings_of(flags: &[&str]) -> Result<Settings, Failure> {
        let arguments = ["tus-mio-server"].iter().chain(flags);
        settings(&Cli::try_parse_from(arguments).unwrap().serve)
    }

    #[test]
    fn each_flag_reaches_its_setting() {
        let settings = settings_of(&[
            "--listen=127.0.0.1:0",
            "--listen=127.0.0.1:0,[::1]:81,unix:/run/tus.sock",
            "--tls-cert=/c.pem",
            "--tls-key=/k.pem",
            "--base-path=/up/",
            "--location-base-url=https://example.org/up",
            "--cors-allow-origin=https://a.example,https://b.example",
            "--cors-allow-headers=X-One",
            "--cors-allow-credentials",
            "--cors-max-age=24h",
            "--no-demo",
            "--metrics-path=/m/e",
            "--max-metadata-size=2KiB",
            "--min-free-space=1GiB",
            "--max-store-size=1TB",
            "--reserve-announced",
            "--max-uploads-per-hour=60",
            "--file-mode=0640",
            "--dir-mode=0750",
            "--admin-listen=127.0.0.1:0,unix:/run/admin.sock",
            "--admin-token-file=/t",
            "--data-dir=/d",
            "--durability=eventual",
            "--max-size=10GB",
            "--max-chunk-size=64KiB",
            "--disable-termination",
            "--disable-rufh",
            "--no-consolidate",
            "--record-cache=1MiB",
            "--log-size=2MiB",
            "--disk-reserve=0",
            "--small-uploads=1KiB",
            "--checkpoint-size=1MB",
            "--checkpoint-interval=7s",
            "--disable-concatenation",
            "--disable-concatenation-unfinished",
            "--location=absolute",
            "--method-override=any",
            "--max-parts=8",
            "--delete-parts",
            "--enable-downloads",
            "--download-min-rate=1KiB",
            "--upload-expiry=24h",
            "--cleanup-interval=5m",
            "--max-waiting-finals=9",
            "--lock-wait=1s",
            "--lock-ttl=2s",
            "--request-timeout=0",
            "--checksum-algorithms=sha256,sha1",
            "--body-min-rate=2KiB",
            "--head-timeout=3s",
            "--idle-timeout=4s",
            "--response-timeout=5s",
            "--linger-timeout=6s",
            "--linger-size=1MiB",
            "--drain-size=0",
            "--max-head-size=16KiB",
            "--max-fields=50",
            "--max-chunk-line=64",
            "--max-trailer-size=1KiB",
            "--buffer-memory=1MiB",
            "--head-memory=2MiB",
            "--shutdown-timeout=1m",
            "--threads=3",
            "--workers=5",
            "--max-connections=7",
            "--max-connections-per-address=3",
            "--uncounted-addresses=10.0.0.0/8,2001:db8::7",
            "--address-prefixes=24,48",
            "--access-log",
            "--publish=/p",
            "--publish-name={id}",
            "--publish-link",
            "--publish-mode=640",
            "--publish-group=12",
            "--delete-published",
        ]);
        let protocol = tus_proto::Config::builder()
            .base_path("/up")
            .location_base_url("https://example.org/up")
            .rufh(false)
            .checksum_algorithms(vec![Algorithm::Sha256, Algorithm::Sha1])
            .cors_allow_origins(vec!["https://a.example".into(), "https://b.example".into()])
            .cors_allow_headers(vec!["X-One".into()])
            .cors_allow_credentials(true)
            .cors_max_age(Some(Duration::from_secs(86_400)))
            .max_size(10_000_000_000)
            .max_chunk_size(65_536)
            .termination(false)
            .downloads(true)
            .concatenation(false)
            .concatenation_unfinished(false)
            .method_override(tus_proto::MethodOverride::Any)
            .max_parts(8)
            .max_metadata(2 << 10)
            .delete_parts(true)
            .checkpoint_bytes(1_000_000)
            .checkpoint_interval(Duration::from_secs(7))
            .upload_expiry(Some(Duration::from_secs(86_400)))
            .lock_wait(Duration::from_secs(1))
            .lock_ttl(Duration::from_secs(2));
        let expected = Settings {
            listen: ["127.0.0.1:0", "127.0.0.1:0", "[::1]:81", "unix:/run/tus.sock"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            data_dir: "/d".into(),
            tls: Some(TlsFiles { certificates: "/c.pem".into(), key: "/k.pem".into() }),
            durability: tus_redb::Durability::Eventual,
            record_cache: 1 << 20,
            log_size: 2 << 20,
            disk_reserve: 0,
            small_uploads: 1 << 10,
            protocol: protocol.build().unwrap(),
            http: http1::Settings {
                body_timeout: Duration::ZERO,
                download_min_rate: 1024,
                body_rate: 2048,
                head_timeout: Duration::from_secs(3),
                idle_timeout: Duration::from_secs(4),
                response_timeout: Duration::from_secs(5),
                linger_timeout: Duration::from_secs(6),
                linger_bytes: 1 << 20,
                drain_bytes: 0,
                head_bytes: 16 << 10,
                fields: 50,
                chunk_line_bytes: 64,
                trailer_bytes: 1 << 10,
            },
            buffer_memory: Some(1 << 20),
            head_memory: 2 << 20,
            threads: Some(3),
            workers: 5,
            max_connections: 7,
            max_connections_per_address: 3,
            uncounted_addresses: ["10.0.0.0/8", "2001:db8::7"].map(|text| text.parse().unwrap()).to_vec(),
            address_prefixes: (24, 48),
            access_log: true,
            shutdown_timeout: Duration::from_secs(60),
            cleanup_interval: Duration::from_secs(300),
            locks: None,
            consolidate: false,
            max_waiting_finals: 9,
            demo: false,
            publish: Some(tus_mio_server::publish::Publish {
                directory: "/p".into(),
                name: "{id}".parse().unwrap(),
                link: true,
                mode: 0o640,
                group: Some(12),
                delete: true,
            }),
            metrics_path: Some("/m/e".into()),
            host: {
                let mut host = HostLimits::default();
                host.space.min_free = 1 << 30;
                host.space.max_bytes = 1_000_000_000_000;
                host.space.reserve_announced = true;
                (host.max_uploads_per_hour, host.file_mode, host.dir_mode) = (60, 0o640, 0o750);
                host
            },
            admin_listen: ["127.0.0.1:0", "unix:/run/admin.sock"].map(|text| text.parse().unwrap()).to_vec(),
            admin_token_file: Some("/t".into()),
            ..Settings::default()
        };
        assert_eq!(format!("{:?}", settings.unwrap()), format!("{expected:?}"));
        assert_eq!(settings_of(&["--metrics-path=none"]).unwrap().metrics_path, None);
        let behind_proxy = settings_of(&["--behind-proxy"]).unwrap().protocol;
        let expected = tus_proto::Config::builder().behind_proxy(true).build().unwrap();
        assert_eq!(format!("{behind_proxy:?}"), format!("{expected:?}"));
        for (flags, expected) in [
            (
                &["--behind-proxy", "--proxy-headers=forwarded"][..],
                tus_proto::Config::builder()
                    .behind_proxy(true)
                    .proxy_headers(tus_proto::ProxyHeaders::Forwarded),
            ),
            (
                &["--location=relative"],
                tus_proto::Config::builder().locations(tus_proto::Locations::Relative),
            ),
            (
                &["--location=absolute"],
                tus_proto::Config::builder().locations(tus_proto::Locations::Absolute),
            ),
            (
                &["--method-override=off"],
                tus_proto::Config::builder().method_override(tus_proto::MethodOverride::Off),
            ),
        ] {
            let (settings, expected) = (settings_of(flags).unwrap().protocol, expected.build().unwrap());
            assert_eq!(format!("{settings:?}"), format!("{expected:?}"));
        }
    }

    #[test]
    fn without_flags_the_settings_are_the_defaults() {
        let (flags, library) = (settings_of(&[]).unwrap(), Settings::default());
        assert_eq!(format!("{flags:?}"), format!("{library:?}"));
    }

    #[test]
    fn what_makes_no_sense_together_is_a_usage_error() {
        for (flags, hint) in [
            (&["--base-path=files"][..], "must start with /"),
            (&["--location-base-url=example.org"], "absolute http or https URL"),
            (&["--location-base-url=https://example.org", "--behind-proxy"], "not both"),
            (&["--location-base-url=https://example.org", "--location=relative"], "not both"),
            (&["--cors-allow-origin=*", "--cors-allow-credentials"], "name the origins"),
            (&["--cors-allow-origin=https://example.org/app"], "without a path"),
            (&["--lock-ttl=500ms"], "at least 1s"),
            (&["--head-timeout=0"], "--head-timeout can't be 0"),
            (&["--metrics-path=metrics"], "must start with /"),
            (&["--metrics-path=/"], "have letters"),
            (&["--metrics-path=/a?b"], "have letters"),
            (&["--metrics-path=/page.js"], "another part of the server"),
            (&["--metrics-path=/healthz"], "another part of the server"),
            (&["--metrics-path=/files"], "lies in the uploads' path /files"),
            (&["--metrics-path=/files/metrics"], "another metrics path"),
            (&["--base-path=/metrics"], "lies in the uploads' path /metrics"),
            (&["--base-path=/healthz", "--metrics-path=none"], "another base path"),
            (&["--base-path=/readyz"], "another base path"),
            (&["--metrics-path=/readyz"], "another part of the server"),
            (&["--admin-listen=127.0.0.1:81,0.0.0.0:81"], "0.0.0.0:81 needs a token"),
            (&["--idle-timeout=0s"], "--idle-timeout can't be 0"),
            (&["--response-timeout=0"], "--response-timeout can't be 0"),
            (&["--linger-timeout=0"], "--linger-timeout can't be 0"),
            (&["--max-head-size=0"], "--max-head-size must be from 16 bytes to 16MiB"),
            (&["--max-chunk-line=1GB"], "--max-chunk-line must be from 16 bytes to 16MiB"),
            (&["--max-trailer-size=15"], "--max-trailer-size must be from 16 bytes to 16MiB"),
            (&["--listen=127.0.0.1:81", "--listen=127.0.0.1:81"], "127.0.0.1:81 twice"),
            (&["--listen=unix:/a", "--listen=unix:/a"], "unix:/a twice"),
        ] {
            let Err(Failure::Usage(text)) = settings_of(flags) else { panic!("{flags:?}") };
            assert!(text.contains(hint), "{flags:?}: {text}");
        }
    }

    #[test]
    fn paths_that_only_look_alike_are_not_in_each_others_way() {
        for flags in [
            &["--base-path=/metrics", "--metrics-path=none"][..],
            &["--metrics-path=/filesystem"],
            &["--metrics-path=/page.js", "--no-demo"],
            &["--base-path=/"],
        ] {
            assert!(settings_of(flags).is_ok(), "{flags:?}");
        }
    }

    #[test]
    fn an_echo_of_a_signal_is_no_second_one() {
        let start = Instant::now();
        let mut wishes = Wishes::default();
        for (signal, millis, new) in [
            (SIGTERM, 0, true),
            (SIGTERM, 99, false),
            (SIGTERM, 100, true),
            (SIGINT, 101, true),
            (SIGTERM, 102, true),
            (SIGTERM, 103, false),
        ] {
            let now = start + Duration::from_millis(millis);
            assert_eq!(wishes.is_new(signal, now), new, "{signal} after {millis} ms");
        }
    }
}
