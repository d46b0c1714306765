//! Flags become settings, and what makes no sense is told.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use clap::Parser;
use tus_mio_server::{HostLimits, Settings, TlsFiles, http1};
use tus_proto::Algorithm;

use super::settings;
use crate::cli::{Failure, args::Cli};

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
        "--finished-expiry=30d",
        "--store-digest=sha256",
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
        store_digest: true,
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
            host.finished_expiry = Some(Duration::from_secs(30 * 86_400));
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
            tus_proto::Config::builder().behind_proxy(true).proxy_headers(tus_proto::ProxyHeaders::Forwarded),
        ),
        (&["--location=relative"], tus_proto::Config::builder().locations(tus_proto::Locations::Relative)),
        (&["--location=absolute"], tus_proto::Config::builder().locations(tus_proto::Locations::Absolute)),
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
        (&["--finished-expiry=500ms"], "--finished-expiry must be at least 1s"),
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
