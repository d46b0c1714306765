//! Settings from a file, completion scripts and the manual page.

use std::{fs, process::Stdio};

use rustix::process::Signal;

use crate::program::Place;

fn place(text: &str) -> Place {
    let place = Place::new();
    fs::write(place.path("tus.toml"), text).unwrap();
    place
}

#[test]
fn check_writes_each_setting_and_where_it_comes_from() {
    let place = place("max-size = \"10GB\"\nworkers = 3\nbase-path = \"/a\"\nno-demo = true\n");
    let arguments = ["config", "check", "--config", "tus.toml", "--workers", "7"];
    let run = place.run(&arguments, &[("TUS_BASE_PATH", "/b")]);
    let lines: Vec<_> = run.assert_quiet_success().lines().collect();
    let expected = [
        "base-path = /b (TUS_BASE_PATH)",
        "no-demo = true (tus.toml, line 4)",
        "max-size = 10GB (tus.toml, line 1)",
        "workers = 7 (the command line)",
        "the configuration is sound",
    ];
    assert_eq!(lines, expected);
    assert_eq!(place.names(), ["tus.toml"]);
    let run = place.run(&["config", "check"], &[("TUS_CONFIG", "tus.toml"), ("TUS_WORKER", "1")]);
    assert!(run.stderr.starts_with("warning: TUS_WORKER "), "{run:?}");
    assert!(run.status == Some(0) && run.stdout.contains("workers = 3 (tus.toml, line 2)"), "{run:?}");
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line() {
    for (text, status, hints) in [
        ("\nmax-sise = 1\n", 2, &["tus.toml, line 2:", "\"max-sise\"", "max-size?"][..]),
        ("\n\nmax-size = \"10K\"\n", 2, &["'10K'", "--max-size", "(in tus.toml, line 3)"]),
        ("tls-cert = \"c.pem\"\n", 2, &["--tls-key"]),
        ("lock-ttl = \"1ms\"\n", 2, &["at least 1s"]),
        ("listen = \n", 2, &["tus.toml, line 1:"]),
    ] {
        for command in [&["--config", "tus.toml"][..], &["config", "check", "--config=tus.toml"]] {
            place(text).run(command, &[]).assert_fails(status, hints);
        }
    }
    place("").run(&["--config", "other.toml"], &[]).assert_fails(1, &["other.toml", "--config"]);
    place("").run(&["--config"], &[]).assert_fails(2, &["--config"]);
}

#[test]
fn a_server_and_the_tools_are_set_up_by_one_file() {
    let place = place("data-dir = \"uploads\"\nlisten = \"127.0.0.1:0\"\nbase-path = \"/up\"\n");
    let mut server = place.start(&["--config", "tus.toml"], &[], Stdio::piped());
    assert!(server.line().ends_with("/up"));
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
    let listed = place.run(&["list", "--config", "tus.toml"], &[]);
    assert!(listed.status == Some(0) && place.path("uploads").exists(), "{listed:?}");
}

#[test]
fn completions_and_manual_pages_know_the_flags() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = place.run(&["completions", shell], &[]);
        assert!(run.assert_quiet_success().contains("max-size"), "{shell}");
    }
    place.run(&["completions", "csh"], &[]).assert_fails(2, &["'csh'", "bash"]);
    let page = place.run(&["man"], &[]);
    let page = page.assert_quiet_success();
    assert!(page.contains(".TH tus") && page.contains("MAX_SIZE"), "{page}");
    let page = place.run(&["man", "verify"], &[]);
    assert!(page.assert_quiet_success().contains(r"\-\-repair"));
    place.run(&["man", "lost"], &[]).assert_fails(2, &["\"lost\"", "verify"]);
    assert_eq!(place.names(), [""; 0]);
}
