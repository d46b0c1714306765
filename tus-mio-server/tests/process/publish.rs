//! `--publish`, with `kill -9` at any moment: each finished upload is there once, whole, under a name of its own.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use crate::support::{Server, pattern};

const EACH: usize = 6;

/// How many files are published.
fn published(shelf: &Path) -> Vec<fs::DirEntry> {
    let entries = fs::read_dir(shelf).unwrap().map(Result::unwrap);
    entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")).collect()
}

/// Waits until so many are; a server that hangs fails the test.
fn wait_for(shelf: &Path, count: usize) {
    let begin = Instant::now();
    while published(shelf).len() < count {
        assert!(begin.elapsed() < Duration::from_secs(60), "{} of {count}", published(shelf).len());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn metrics(server: &Server) -> String {
    let mut connection = server.connect();
    connection.stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.stream.read_to_string(&mut text).unwrap();
    text
}

fn wait_for_metric(server: &Server, line: &str) {
    let begin = Instant::now();
    while !metrics(server).contains(&format!("\n{line}\n")) {
        assert!(begin.elapsed() < Duration::from_secs(60), "{line}: {}", metrics(server));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until nothing is to be published any more: what was there before a kill is seen to once more.
fn wait_for_outbox(server: &Server) {
    let begin = Instant::now();
    loop {
        let text = metrics(server);
        if text.contains("tus_outbox_entries 0\n") {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "the outbox does not empty:\n{text}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The content of an upload: its own, and so long that some lie in the records and some take more than one read.
fn content(number: usize) -> Vec<u8> {
    let length = [9, 5000, 300_000, 40_000, 20, 1 << 20][number % 6];
    [&number.to_le_bytes()[..], &pattern(number as u64, length)].concat()
}

/// Makes a finished upload, which has a name that all others have.
fn upload(server: &Server, body: &[u8]) {
    let mut connection = server.connect();
    // same.txt
    let head = format!(
        "POST /files HTTP/1.1\r\nUpload-Length: {0}\r\nContent-Length: {0}\r\n\
         Content-Type: application/offset+octet-stream\r\nUpload-Metadata: filename c2FtZS50eHQ=\r\n",
        body.len()
    );
    connection.stream.write_all(crate::support::head_of(&head).as_bytes()).unwrap();
    connection.stream.write_all(body).unwrap();
    assert_eq!(connection.answer().status, 201);
}

fn killed_and_killed_again(rounds: usize, flags: &[&str], each_is_deleted: bool) {
    let (dir, shelf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let flags = [&["--publish", shelf.path().to_str().unwrap(), "--log-level", "warn"], flags].concat();
    let mut made = 0;
    for round in 0..rounds {
        let server = Server::start(dir.path(), &flags);
        for _ in 0..EACH {
            upload(&server, &content(made));
            made += 1;
        }
        // At another moment each time: none of these is published yet, or some are, or all.
        wait_for(shelf.path(), made.saturating_sub(EACH - round % (EACH + 1)));
        server.kill();
    }
    let server = Server::start(dir.path(), &flags);
    wait_for(shelf.path(), made);
    wait_for_outbox(&server);
    // What is told to end finishes what it has begun, and removes what it must.
    let told = metrics(&server);
    assert!(told.contains("\ntus_publications_outstanding 0\n"), "{told}");
    assert_eq!(server.terminate(), Some(0));
    let mut found: Vec<_> =
        published(shelf.path()).iter().map(|entry| fs::read(entry.path()).unwrap()).collect();
    found.sort();
    let mut expected: Vec<_> = (0..made).map(content).collect();
    expected.sort();
    assert_eq!(found.len(), made);
    assert!(found == expected, "the published bytes are others");
    let hidden = fs::read_dir(shelf.path()).unwrap().count() - made;
    assert_eq!(hidden, 0);
    let options = tus_redb::Options::default();
    let store = tus_redb::Store::open_existing(dir.path(), &options).unwrap();
    assert_eq!(store.outbox_len(), Ok(0));
    let left = store.list(None, made + 1).unwrap().len();
    assert_eq!(left, if each_is_deleted { 0 } else { made });
}

#[test]
fn each_upload_is_published_once_when_strict() {
    killed_and_killed_again(50, &[], false);
}

#[test]
fn each_upload_is_published_once_and_deleted_when_eventual() {
    // Events are shown with the flush, once a second.
    killed_and_killed_again(15, &["--durability", "eventual", "--delete-published"], true);
}

#[test]
fn a_directory_that_is_not_there_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_tus-mio-server"))
        .args(["--listen", "127.0.0.1:0", "--data-dir", "data", "--publish"])
        .arg(&missing)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code() == Some(1) && error.contains("can't publish in"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn what_is_published_fails_and_is_outstanding_is_counted() {
    let (dir, shelf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = shelf.path().join("inbox");
    fs::create_dir(&place).unwrap();
    let flags = ["--publish", place.to_str().unwrap(), "--log-level", "off", "--finished-expiry", "1s"];
    let server = Server::start(dir.path(), &[&flags[..], &["--cleanup-interval", "1s"]].concat());
    upload(&server, b"one");
    wait_for_metric(&server, "tus_uploads_published_total 1");
    wait_for_metric(&server, "tus_publications_outstanding 0");
    fs::rename(&place, shelf.path().join("away")).unwrap();
    upload(&server, b"two");
    wait_for_metric(&server, "tus_publications_outstanding 1");
    // It outlives its time, as it is not published; the other one does not.
    wait_for_metric(&server, "tus_finished_uploads_expired_total 1");
    assert!(!metrics(&server).contains("\ntus_publish_failures_total 0\n"));
    fs::rename(shelf.path().join("away"), &place).unwrap();
    wait_for_metric(&server, "tus_uploads_published_total 2");
    wait_for_metric(&server, "tus_publications_outstanding 0");
    wait_for_metric(&server, "tus_finished_uploads_expired_total 2");
    assert_eq!(published(&place).len(), 2);
    server.kill();
}
