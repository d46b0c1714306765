//! What a server leaves of its host to others: space, requests, permissions.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::{
    beside::{answer, ask, send, serve},
    program::Place,
};

/// The answer to a creation of this length, and its path where there is one.
fn create(address: &str, length: u64, fields: &str) -> (String, String) {
    let head = format!("POST /files HTTP/1.1\r\nUpload-Length: {length}{fields}");
    let answer = answer(send(address, &head, ""));
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
    let path = location.and_then(|url| url.split_once("/files/")).map(|(_, id)| format!("/files/{id}"));
    (answer.clone(), path.unwrap_or_default())
}

#[track_caller]
fn created(address: &str, length: u64) -> String {
    let (answer, path) = create(address, length, "");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    path
}

#[track_caller]
fn refused(address: &str, length: u64) {
    let (answer, path) = create(address, length, "");
    assert!(answer.starts_with("HTTP/1.1 507 ") && answer.contains("ERR_INSUFFICIENT_STORAGE"), "{answer}");
    assert_eq!(path, "");
}

fn patch(address: &str, path: &str, body: &str) -> String {
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {}",
        body.len()
    );
    answer(send(address, &head, body))
}

fn metric(address: &str, name: &str) -> String {
    let (_, text) = ask(address, "GET /metrics HTTP/1.1");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).trim().to_owned()
}

#[test]
fn a_store_that_is_as_large_as_it_may_be_takes_no_new_upload() {
    let place = Place::new();
    let flags = ["--max-store-size", "10", "--reserve-announced"];
    let (server, address) = serve(&place, "tus-data", &flags);
    let first = created(&address, 8);
    refused(&address, 3);
    assert_eq!(metric(&address, "tus_uploads_refused_total{limit=\"store_size\"}"), "1");
    // What was announced and has come counts once.
    assert!(patch(&address, &first, "12345678").starts_with("HTTP/1.1 204 "));
    created(&address, 2);
    refused(&address, 1);
    assert_eq!(ask(&address, &format!("DELETE {first} HTTP/1.1")).0, 204);
    created(&address, 7);
    refused(&address, 2);
    server.signal(Signal::TERM);
    server.finish();
    // Measured when it starts.
    let (server, address) = serve(&place, "tus-data", &flags);
    refused(&address, 2);
    created(&address, 1);
    server.signal(Signal::TERM);
    server.finish();
    // Without what was announced, only bytes that are there count, and a body goes on past the limit.
    let (_server, address) = serve(&place, "tus-data", &["--max-store-size", "4"]);
    let long = created(&address, 100);
    assert!(patch(&address, &long, "12345").starts_with("HTTP/1.1 204 "));
    refused(&address, 0);
}

#[test]
fn no_upload_is_created_while_too_little_of_the_disk_is_free() {
    let place = Place::new();
    let (_server, address) = serve(&place, "tus-data", &["--min-free-space", "9000000000000000000"]);
    refused(&address, 1);
    assert_eq!(metric(&address, "tus_uploads_refused_total{limit=\"free_space\"}"), "1");
    assert_eq!(ask(&address, "GET /healthz HTTP/1.1").0, 200, "it is a limit, and no full disk");
    let place = Place::new();
    let (_server, address) = serve(&place, "tus-data", &["--min-free-space", "1"]);
    created(&address, 1);
}

#[test]
fn an_address_that_creates_too_many_uploads_waits() {
    let place = Place::new();
    let limit = ["--max-uploads-per-hour", "2", "--behind-proxy", "--uncounted-addresses", "203.0.113.0/24"];
    let (_server, address) = serve(&place, "tus-data", &limit);
    let by = |client: &str| create(&address, 1, &format!("\r\nX-Forwarded-For: 10.0.0.1, {client}")).0;
    for _ in 0..2 {
        assert!(by("192.0.2.1").starts_with("HTTP/1.1 201 "));
    }
    let told = by("192.0.2.1");
    assert!(told.starts_with("HTTP/1.1 429 ") && told.contains("ERR_TOO_MANY_REQUESTS"), "{told}");
    let wait =
        told.lines().find_map(|line| line.strip_prefix("Retry-After: ")).unwrap().parse::<u64>().unwrap();
    assert!((3_500..=3_601).contains(&wait), "{wait}");
    assert!(by("192.0.2.2").starts_with("HTTP/1.1 201 "), "another client");
    for _ in 0..5 {
        assert!(by("203.0.113.7").starts_with("HTTP/1.1 201 "), "one that is not counted");
    }
    // The connection's own, where the proxy tells none; and other requests are not counted.
    for status in ["201", "201", "429"] {
        assert!(create(&address, 1, "").0.starts_with(&format!("HTTP/1.1 {status} ")));
        assert_eq!(ask(&address, "OPTIONS /files HTTP/1.1").0, 204);
    }
    assert_eq!(metric(&address, "tus_uploads_refused_total{limit=\"rate\"}"), "2");
}

#[test]
fn metadata_has_the_size_that_is_allowed() {
    let place = Place::new();
    let (_server, address) = serve(&place, "tus-data", &["--max-metadata-size", "16"]);
    let with = |metadata: &str| create(&address, 1, &format!("\r\nUpload-Metadata: {metadata}")).0;
    assert!(with("filename d29ybA==").contains("ERR_METADATA_TOO_LARGE"));
    assert!(with("name d29ybGQ=").starts_with("HTTP/1.1 201 "));
    assert_eq!(metric(&address, "tus_uploads_refused_total{limit=\"metadata\"}"), "1");
}

#[test]
fn finished_uploads_go_after_their_time() {
    let place = Place::new();
    let flags = ["--finished-expiry", "1s", "--cleanup-interval", "1s"];
    let (_server, address) = serve(&place, "tus-data", &flags);
    let (kept, gone) = (created(&address, 5), created(&address, 5));
    assert!(patch(&address, &gone, "hello").starts_with("HTTP/1.1 204 "));
    let head = |path: &str| answer(send(&address, &format!("HEAD {path} HTTP/1.1"), ""));
    // Clients are told of no expiry: the protocol has it for unfinished uploads.
    assert!(!head(&gone).contains("Upload-Expires") || head(&gone).starts_with("HTTP/1.1 410 "));
    while metric(&address, "tus_finished_uploads_expired_total") != "1" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(head(&gone).starts_with("HTTP/1.1 410 "), "{}", head(&gone));
    assert!(head(&kept).starts_with("HTTP/1.1 200 "));
}

#[test]
fn what_uploads_take_is_counted_where_it_is_limited_and_measured_elsewhere() {
    let place = Place::new();
    let (server, address) = serve(&place, "tus-data", &["--max-store-size", "1GiB", "--reserve-announced"]);
    let path = created(&address, 8);
    created(&address, 3);
    assert!(patch(&address, &path, "12345678").starts_with("HTTP/1.1 204 "));
    assert_eq!(metric(&address, "tus_store_size_bytes"), "8");
    assert_eq!(metric(&address, "tus_store_announced_bytes"), "3");
    server.signal(Signal::TERM);
    server.finish();
    let (_server, address) = serve(&place, "tus-data", &[]);
    assert_eq!(metric(&address, "tus_store_size_bytes"), "-1");
    // The first scrape had it measured. A bound, not a measure.
    let begun = std::time::Instant::now();
    while metric(&address, "tus_store_size_bytes") != "8" {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        std::thread::yield_now();
    }
    assert_eq!(metric(&address, "tus_store_announced_bytes"), "3");
}

#[test]
fn files_and_directories_have_the_permissions_that_are_asked_for() {
    let place = Place::new();
    let flags = ["--file-mode", "0640", "--dir-mode", "0750", "--small-uploads", "0"];
    let (_server, address) = serve(&place, "tus-data", &flags);
    let path = created(&address, 5);
    assert!(patch(&address, &path, "hello").starts_with("HTTP/1.1 204 "));
    let shown = place.run(&["show", "--json", path.strip_prefix("/files/").unwrap()], &[]);
    let shown: serde_json::Value = serde_json::from_str(shown.assert_quiet_success()).unwrap();
    let file = std::path::PathBuf::from(shown["data"][0]["path"].as_str().unwrap());
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o640);
    for dir in file.ancestors().skip(1).take(3) {
        assert_eq!(mode(dir), 0o750, "{}", dir.display());
    }
    assert_eq!(mode(&place.path("tus-data/records.redb")), 0o600);
    assert_eq!(mode(&place.path("tus-data/admin.sock")), 0o600);
}
