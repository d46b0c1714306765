//! From flags to the server's settings.

use std::{collections::BTreeSet, time::Duration};

use tus_mio_server::{Address, Settings, TlsFiles};

use super::super::{Failure, args::ServeArgs};

/// What the flags say, if all of it makes sense.
pub(crate) fn settings(args: &ServeArgs) -> Result<Settings, Failure> {
    let mut protocol = tus_proto::Config::builder()
        .base_path(&args.base_path)
        .max_size(args.uploads.max_size)
        .max_chunk_size(args.uploads.max_chunk_size)
        .termination(!args.uploads.disable_termination)
        .rufh(!args.uploads.disable_rufh)
        .tusd_urls(args.uploads.tusd_urls)
        .downloads(args.uploads.enable_downloads)
        .lock_wait(args.uploads.lock_wait)
        .lock_ttl(lock_ttl(args))
        .locations(args.location.into())
        .behind_proxy(args.behind_proxy)
        .proxy_headers(args.proxy_headers.into())
        .method_override(args.method_override.into())
        .upload_expiry((!args.uploads.upload_expiry.is_zero()).then_some(args.uploads.upload_expiry))
        .checksum_algorithms(args.uploads.checksum_algorithms.0.clone())
        .concatenation(!args.uploads.disable_concatenation)
        .concatenation_unfinished(!args.uploads.disable_concatenation_unfinished)
        .max_parts(args.uploads.max_parts)
        .max_metadata(args.host.max_metadata()?)
        .delete_parts(args.uploads.delete_parts)
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
    if args.uploads.cleanup_interval < Duration::from_secs(1) {
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
        buffer_memory: args.resources.buffer_memory,
        head_memory: args.resources.head_memory,
        threads: args.resources.threads,
        workers: args.resources.workers,
        max_connections: args.resources.max_connections,
        max_connections_per_address: args.resources.max_connections_per_address,
        uncounted_addresses: args.resources.uncounted_addresses.0.clone(),
        address_prefixes: args.resources.address_prefixes,
        shutdown_timeout: args.resources.shutdown_timeout,
        cleanup_interval: args.uploads.cleanup_interval,
        locks: None,
        max_waiting_finals: args.uploads.max_waiting_finals,
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
    if args.bucket.url().is_some() && args.uploads.lock_ttl == default {
        lease
    } else {
        args.uploads.lock_ttl
    }
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
