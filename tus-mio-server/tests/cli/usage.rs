//! Bad usage, and help.

use crate::program::Place;

#[test]
fn bad_usage_is_one_line_and_touches_nothing() {
    let place = Place::new();
    for (arguments, hints) in [
        (&["--lissten", "127.0.0.1:0"][..], &["'--lissten'", "'--listen'"][..]),
        (&["--max-size", "10K"], &["'10K'", "--max-size", "write KB (by 1000) or KiB (by 1024)"]),
        (&["--max-chunk-size", "-1"], &["'-1'", "--max-chunk-size", "not a size"]),
        (&["serve", "--max-size", "-5"], &["'-5'", "--max-size", "not a size"]),
        (&["--request-timeout", "30"], &["'30'", "--request-timeout", "30s"]),
        (&["--listen", "localhost"], &["'localhost'", "127.0.0.1:8080"]),
        (&["--durability", "fast"], &["'fast'", "strict, eventual"]),
        (&["--record-cache", "1KiB"], &["--record-cache", "at least 64KiB"]),
        (&["--small-uploads", "1MiB"], &["--small-uploads", "at most 64KiB"]),
        (&["--checkpoint-size", "0"], &["at least 1 byte"]),
        (&["--threads", "0"], &["'0'", "from 1 to 64"]),
        (&["--base-path", "files"], &["\"files\"", "must start with /"]),
        (&["--cors-allow-origin", "*", "--cors-allow-credentials"], &["credentials", "origin"]),
        (&["--behind-proxy", "--location-base-url", "https://example.org"], &["not both"]),
        (&["--max-parts", "0"], &["'0'", "from 1 to 100000"]),
        (&["--idle-timeout", "0"], &["--idle-timeout", "at least 1ms"]),
        (&["--uncounted-addresses", "10.0.0.1/8"], &["'10.0.0.1/8'", "10.0.0.0/8", "or none"]),
        (&["--data-dir", "d", "list"], &["'list'", "'--data-dir ", "after the command"]),
        (&["--publish-link"], &["--publish <DIRECTORY>"]),
        (&["--publish-name", "{date}/{id}"], &["no slashes"]),
        (&["--publish", "p", "--publish-mode", "9"], &["octal"]),
        (&["--publish", "p", "--publish-group", "no such group"], &["--publish-group", "/etc/group"]),
        (&["lost"], &["'lost'", "--help"]),
        (&["show"], &["<ID>"]),
        (&["list", "a\u{202e}b\nc"], &["'a\\u{202e}b c'"]),
    ] {
        place.run(arguments, &[]).assert_fails(2, hints);
    }
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_bad_variable_is_named_unless_the_flag_was_given() {
    let place = Place::new();
    for (name, value) in [
        ("TUS_MAX_SIZE", "10K"),
        ("TUS_LISTEN", "127.0.0.1:0,here"),
        ("TUS_NO_DEMO", "maybe"),
        ("TUS_LOG_LEVEL", "loud"),
        ("TUS_WORKERS", "many"),
    ] {
        place.run(&[], &[(name, value)]).assert_fails(2, &[name]);
    }
    let run = place.run(&["--max-size=10K"], &[("TUS_MAX_SIZE", "10K")]);
    run.assert_fails(2, &["'10K'"]);
    assert!(!run.stderr.contains("TUS_MAX_SIZE"), "{run:?}");
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn help_explains_each_flag_with_its_default() {
    let place = Place::new();
    let bare = place.run(&["--help"], &[]);
    let named = place.run(&["serve", "--help"], &[]);
    for help in [bare.assert_quiet_success(), named.assert_quiet_success()] {
        for (flag, default) in [
            ("listen", "the sockets that the process was started with, else 127.0.0.1:8080"),
            ("data-dir", "./tus-data"),
            ("base-path", "/files"),
            ("max-size", "0"),
            ("max-chunk-size", "0"),
            ("request-timeout", "30s"),
            ("body-min-rate", "500"),
            ("head-timeout", "30s"),
            ("response-timeout", "30s"),
            ("linger-timeout", "10s"),
            ("linger-size", "16MiB"),
            ("drain-size", "256KiB"),
            ("max-head-size", "96KiB"),
            ("max-fields", "100"),
            ("max-chunk-line", "256"),
            ("max-trailer-size", "8KiB"),
            ("buffer-memory", "4MiB an event loop"),
            ("head-memory", "4MiB"),
            ("idle-timeout", "75s"),
            ("shutdown-timeout", "10s"),
            ("lock-wait", "5s"),
            ("lock-ttl", "60s"),
            ("durability", "strict"),
            ("record-cache", "4MiB"),
            ("disk-reserve", "8MiB"),
            ("small-uploads", "16KiB"),
            ("checkpoint-size", "32MiB"),
            ("checkpoint-interval", "2s"),
            ("threads", "one for every two cores, with TLS one a core; at most 4"),
            ("workers", "4"),
            ("max-connections", "4096"),
            ("tls-cert", "none, plain HTTP"),
            ("tls-key", "none"),
            ("max-connections-per-address", "0"),
            ("uncounted-addresses", "127.0.0.0/8,::1"),
            ("address-prefixes", "32,64"),
            ("location", "auto"),
            ("location-base-url", "none"),
            ("proxy-headers", "x-forwarded"),
            ("method-override", "post"),
            ("behind-proxy", "off"),
            ("disable-termination", "off"),
            ("no-consolidate", "off"),
            ("disable-concatenation", "off"),
            ("disable-concatenation-unfinished", "off"),
            ("max-parts", "1000"),
            ("delete-parts", "off"),
            ("enable-downloads", "off"),
            ("download-min-rate", "4KiB"),
            ("no-demo", "off"),
            ("cors-allow-origin", "none"),
            ("cors-allow-headers", "none"),
            ("cors-allow-credentials", "off"),
            ("cors-max-age", "the browser's own rule"),
            ("publish", "none"),
            ("publish-name", "{filename}"),
            ("publish-link", "off"),
            ("publish-mode", "0644"),
            ("publish-group", "the system's rule"),
            ("delete-published", "off"),
            ("log-level", "info"),
            ("log-format", "text"),
        ] {
            // From this flag to the next one. Lines of text are indented more, and may begin with another flag.
            let of_flag = |section: &&str| {
                section.starts_with(&format!("{flag} ")) || section.starts_with(&format!("{flag}\n"))
            };
            let section = help.split("\n      --").find(of_flag).unwrap_or_else(|| panic!("--{flag}"));
            let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(section.contains(&format!("[default: {default}]")), "--{flag}: {section}");
            let variable = format!("[env: TUS_{}=]", flag.replace('-', "_").to_uppercase());
            assert!(section.contains(&variable), "--{flag}: {section}");
        }
    }
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn help_and_version_are_commands_too() {
    let place = Place::new();
    for (command, flag) in [
        (&["version"][..], &["--version"][..]),
        (&["help"], &["--help"]),
        (&["help", "list"], &["list", "--help"]),
    ] {
        let (command, flag) = (place.run(command, &[]), place.run(flag, &[]));
        assert_eq!(command.assert_quiet_success(), flag.assert_quiet_success());
    }
}

#[test]
fn help_and_version_end_quietly_where_nobody_reads() {
    let place = Place::new();
    for arguments in [["--help"], ["--version"]] {
        place.run_unread(&arguments).assert_quiet_success();
    }
    let version = place.run(&["--version"], &[]);
    assert_eq!(version.assert_quiet_success(), concat!("tus-mio-server ", env!("CARGO_PKG_VERSION"), "\n"));
}
