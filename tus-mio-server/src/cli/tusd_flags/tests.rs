#![allow(clippy::unwrap_used)]

use clap::CommandFactory;

use super::*;
use crate::cli::args::Cli;

fn translated(line: &str) -> Result<Vec<String>, String> {
    let arguments = line.split(' ').map(OsString::from).collect();
    match translate(arguments, &Cli::command()) {
        Ok(translated) => {
            Ok(translated.arguments.into_iter().skip(1).map(|flag| flag.into_string().unwrap()).collect())
        }
        Err(Failure::Usage(text)) => Err(text),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn flags_become_their_equals() {
    for (line, expected) in [
        ("tus --tusd-flags", &[][..]),
        (
            "tus serve --tusd-flags -base-path /up/ --max-size=5",
            &["serve", "--base-path=/up/", "--max-size=5"],
        ),
        ("tus --tusd-flags -behind-proxy -host 127.0.0.1", &["--behind-proxy", "--listen=127.0.0.1:8080"]),
        ("tus --tusd-flags -behind-proxy=false -port=1080", &["--listen=0.0.0.0:1080"]),
        ("tus --tusd-flags -host ::1 -port 90", &["--listen=[::1]:90"]),
        ("tus --tusd-flags -unix-sock /run/t.sock -port 90", &["--listen=unix:/run/t.sock"]),
        ("tus --tusd-flags -network-timeout 1m30s", &["--request-timeout=90000ms"]),
        ("tus --tusd-flags -expose-metrics=false -metrics-path=/m", &["--metrics-path=none"]),
        ("tus --tusd-flags -disable-cors -cors-allow-origin https://.*", &[]),
        ("tus --tusd-flags -cors-max-age 60", &["--cors-max-age=60s"]),
        ("tus --tusd-flags -max-size 1 -max-size 2", &["--max-size=2"]),
        ("tus --data-dir /d --tusd-flags -upload-dir /u", &["--data-dir", "/d"]),
        ("tus --tusd-flags -upload-dir /u", &["--data-dir=/u"]),
        ("tus --max-size 1", &["--max-size", "1"]),
    ] {
        assert_eq!(translated(line).unwrap(), expected, "{line}");
    }
}

#[test]
fn what_has_no_equal_is_an_error_that_names_the_flag() {
    for (line, hints) in [
        ("tus --tusd-flags -gcs-bucket x -hooks-grpc y", &["-gcs-bucket", "-hooks-grpc", "-hooks-http"][..]),
        ("tus --tusd-flags -bahind-proxy", &["tusd has no flag -bahind-proxy"]),
        ("tus --tusd-flags -max-size", &["-max-size has no value"]),
        ("tus --tusd-flags -network-timeout 60", &["-network-timeout=60", "30s"]),
        ("tus --tusd-flags -behind-proxy maybe", &["\"maybe\" is no flag"]),
        ("tus --tusd-flags -behind-proxy=maybe", &["true or false"]),
        ("tus --tusd-flags -tls-mode tls13", &["TLS 1.2"]),
        ("tus --tusd-flags -cors-allow-origin https://.*", &["regular expression", "--cors-allow-origin"]),
    ] {
        let error = translated(line).unwrap_err();
        assert!(hints.iter().all(|hint| error.contains(hint)), "{line}: {error}");
    }
}

#[test]
fn what_only_differs_is_a_warning() {
    let arguments =
        "tus --tusd-flags -cors-expose-headers=X -enable-h2c -expose-pprof=false -show-greeting=false";
    let translated = translate(arguments.split(' ').map(OsString::from).collect(), &Cli::command()).unwrap();
    assert_eq!(translated.warnings.len(), 2, "{:?}", translated.warnings);
}

#[test]
fn durations_are_read_as_go_writes_them() {
    for (text, millis) in [
        ("0", Some(0)),
        ("1m0s", Some(60_000)),
        ("1.5h", Some(5_400_000)),
        ("500ms", Some(500)),
        ("1500us", Some(1)),
        (".5s", Some(500)),
        ("", None),
        ("5", None),
        ("5d", None),
        ("-5s", None),
        ("99999999999h", None),
    ] {
        assert_eq!(go_duration(text), millis, "{text}");
    }
}

#[test]
fn the_guide_has_a_row_for_each_flag() {
    let Some(guide) = crate::cli::documented::document("from-tusd.md") else { return };
    let rows: Vec<_> = guide.lines().filter(|line| line.starts_with("| `-")).collect();
    for (name, equal) in FLAGS {
        let row = rows.iter().find(|row| {
            let cell = row.split(" | ").next().unwrap_or_default();
            cell.split(['`', ' ', ',', '|']).any(|word| word.strip_prefix('-') == Some(name))
        });
        let row = row.unwrap_or_else(|| panic!("-{name} is not in docs/from-tusd.md"));
        if let Equal::Text(ours) | Equal::Duration(ours) | Equal::Octal(ours) | Equal::Switch(ours) = equal {
            assert!(row.contains(&format!("`--{ours}`")), "-{name}: {row}");
        }
    }
}
