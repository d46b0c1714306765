//! `import tusd`: directories as tusd 2.9.1 has made them (tests/fixtures), and what crashes and hands made of them.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Place, Run};

const UNFINISHED: &str = "cd2edd9822663fbfff2fcd2e72333ba0";
const FINISHED: &str = "6a15c336e36024f326f53616f3de7332";
const PARTS: [&str; 2] = ["b77fff74115d2430024fa9e40f08149d", "e40caa170bc9ad90028830edc51b3cb1"];
const UNFINISHED_PART: &str = "1680bc0ad30c64c61b9415c4cf12c9ec";
const FINAL: &str = "2c104cc3aa82cd19e5ffd27b034e6e61";
const DEFERRED: &str = "70cc6e6ae03be5372ea5d871dc4a6e40";
const EMPTY: &str = "e15018eecaa88ca26f1c12f099fef31b";
const NOT_BEGUN: &str = "d93e9b69d1ae0fc1219aa15a6e2bd363";

/// A place with tusd's directory `data` in it.
fn place() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tusd-2.9.1");
    for entry in fs::read_dir(fixtures).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), place.path("data").join(entry.file_name())).unwrap();
    }
    place
}

fn document(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

fn upload<'a>(document: &'a Value, id: &str) -> &'a Value {
    let mut uploads = document["uploads"].as_array().unwrap().iter();
    uploads.find(|upload| upload["id"] == id).unwrap_or_else(|| panic!("{id} in {document}"))
}

fn info(place: &Place, id: &str, size: &str, rest: &str) {
    let text = format!("{{\"ID\":\"{id}\",\"Size\":{size}{rest}}}");
    fs::write(place.path("data").join(format!("{id}.info")), text).unwrap();
}

fn data(place: &Place, id: &str, bytes: &str) -> PathBuf {
    let path = place.path("data").join(id);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn each_kind_of_upload_is_taken_over_and_a_second_run_finds_all() {
    let place = place();
    let first = place.run(&["import", "tusd", "data", "--json"], &[]);
    let report = document(&first);
    assert_eq!((first.status, first.stderr.as_str()), (Some(0), ""), "{first:?}");
    assert_eq!(
        (&report["imported"], &report["refused"], &report["dry_run"]),
        (&9.into(), &0.into(), &false.into())
    );
    for (id, outcome, kind, offset, length) in [
        (UNFINISHED, "linked", "plain", 6, Some(11)),
        (FINISHED, "linked", "plain", 5, Some(5)),
        (PARTS[0], "linked", "partial", 3, Some(3)),
        (PARTS[1], "linked", "partial", 4, Some(4)),
        (UNFINISHED_PART, "linked", "partial", 2, Some(6)),
        (FINAL, "linked", "final", 7, Some(7)),
        (DEFERRED, "linked", "plain", 4, None),
        (EMPTY, "copied", "plain", 0, Some(0)),
        (NOT_BEGUN, "copied", "plain", 0, Some(9)),
    ] {
        let found = upload(&report, id);
        assert_eq!((&found["outcome"], &found["kind"]), (&outcome.into(), &kind.into()), "{found}");
        assert_eq!((&found["offset"], found["length"].as_u64()), (&offset.into(), length), "{found}");
        assert_eq!(found["complete"], length == Some(offset), "{found}");
    }
    let shown = place.run(&["show", UNFINISHED, "--json"], &[]);
    let shown = document(&shown);
    assert_eq!(shown["metadata"][0]["value"], "hello.txt");
    assert_eq!(shown["metadata"][2]["key"], "private");
    let linked = shown["data"][0]["path"].as_str().unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(Path::new(linked)), inode(&place.path("data").join(UNFINISHED)));
    assert_eq!(place.run(&["cat", FINAL], &[]).assert_quiet_success(), "abcdefg");

    let second = place.run(&["import", "tusd", "data"], &[]);
    let expected =
        "imported: 0 (0 finished, 0 not; 0 bytes; 0 linked, 0 copied)\nalready there: 9\nnot imported: 0\n";
    assert_eq!(second.assert_quiet_success(), expected);
    assert_eq!(place.run(&["verify"], &[]).status, Some(0));
}

#[test]
fn what_cannot_be_taken_over_is_told_with_its_reason() {
    let place = place();
    info(&place, "longer", "3", "");
    data(&place, "longer", "abcd");
    fs::write(place.path("data/crashed.info"), "").unwrap();
    fs::write(place.path("data/broken.info"), "{\"ID\":").unwrap();
    info(&place, "negative", "-1", "");
    info(&place, "lost", "3", "");
    info(&place, "failed-final", "7", ",\"IsFinal\":true,\"PartialUploads\":[\"a\"]");
    data(&place, "failed-final", "abc");
    fs::create_dir(place.path("data/team")).unwrap();
    info(&place, "team/a", "3", "");
    data(&place, "team/a", "abc");
    info(&place, "dot.ted", "3", "");
    data(&place, "dot.ted", "abc");
    // No process has this number: the highest is 4194304.
    fs::write(place.path("data/longer.lock"), "99999999").unwrap();
    fs::write(place.path("data/lost.lock"), "").unwrap();
    data(&place, "leftover", "no document names it");

    let run = place.run(&["import", "tusd", "data"], &[]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(1), ""), "{run:?}");
    for line in [
        "refused longer: its data file has 4 bytes, more than its size of 3",
        "refused crashed: its .info is empty",
        "refused broken: its .info is not JSON",
        "refused negative: its .info has no Size that makes sense",
        "refused lost: its data file ",
        "refused failed-final: it is a concatenation that failed",
        "refused team/a: its id team/a can't stay",
        "refused dot.ted: its id dot.ted can't stay",
        "imported: 9 (5 finished, 4 not; 31 bytes; 7 linked, 2 copied)",
        "not imported: 8",
    ] {
        assert!(run.stdout.lines().any(|found| found.starts_with(line)), "{line}: {}", run.stdout);
    }
}

#[test]
fn data_is_found_where_the_document_says() {
    let place = place();
    fs::create_dir(place.path("elsewhere")).unwrap();
    fs::write(place.path("elsewhere/moved"), "absolute").unwrap();
    fs::write(place.path("elsewhere/relative"), "relative").unwrap();
    let absolute = place.path("elsewhere/moved");
    info(&place, "moved", "9", &format!(",\"Storage\":{{\"Path\":{absolute:?}}}"));
    data(&place, "moved", "wrong");
    info(&place, "near", "9", ",\"Storage\":{\"Path\":\"elsewhere/relative\"}");
    info(&place, "gone", "9", ",\"Storage\":{\"Path\":\"/srv/tusd/data/gone\"}");
    data(&place, "gone", "usual");
    let dry = place.run(&["import", "tusd", "data", "--dry-run"], &[]);
    assert!(dry.assert_quiet_success().starts_with("to import: 12 ("), "{dry:?}");
    assert!(!place.path("tus-data").exists());
    let source = place.path("data");
    let arguments = ["import", "tusd", source.to_str().unwrap(), "--data-dir", "store"];
    let run = place.run(&arguments, &[]);
    assert!(run.assert_quiet_success().starts_with("imported: 12 ("), "{run:?}");
    for (id, bytes) in [("moved", "absolute"), ("near", "relative"), ("gone", "usual")] {
        assert_eq!(place.run(&["cat", id, "--data-dir", "store"], &[]).assert_quiet_success(), bytes);
    }
}

#[test]
fn a_tusd_that_runs_and_directories_that_make_no_sense_are_refused() {
    let place = place();
    let lock = place.path("data").join(format!("{UNFINISHED}.lock"));
    fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
    let process = std::process::id().to_string();
    for arguments in [&["import", "tusd", "data"][..], &["import", "tusd", "data", "--dry-run"]] {
        place.run(arguments, &[]).assert_fails(1, &["tusd is running", &process, "end it"]);
    }
    fs::remove_file(lock).unwrap();
    place
        .run(&["import", "tusd", "data", "--data-dir", "data"], &[])
        .assert_fails(2, &["--data-dir", "another"]);
    place.run(&["import", "tusd", "other"], &[]).assert_fails(1, &["other", "-upload-dir"]);
    place.run(&["import", "tusd"], &[]).assert_fails(2, &["<SOURCE>"]);
    assert_eq!(place.names(), ["data"]);
}

fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.to_lowercase()
}

#[test]
fn a_client_goes_on_with_its_old_url() {
    let place = place();
    place.run(&["import", "tusd", "data"], &[]).assert_quiet_success();
    let mut server = place.start(&["--listen=127.0.0.1:0", "--enable-downloads"], &[], Stdio::piped());
    let line = server.line();
    let address = line.strip_prefix("listening on http://").unwrap().strip_suffix("/files").unwrap();
    let common = "Host: x\nConnection: close\nTus-Resumable: 1.0.0";
    let head = |id: &str| ask(address, &format!("HEAD /files/{id} HTTP/1.1\n{common}\n\n"));
    let patch = |id: &str, at: u64, body: &str, more: &str| {
        let length = body.len();
        let kind = "Content-Type: application/offset+octet-stream";
        let fields = format!("{common}\n{kind}\nUpload-Offset: {at}\nContent-Length: {length}{more}");
        ask(address, &format!("PATCH /files/{id} HTTP/1.1\n{fields}\n\n{body}"))
    };
    let told = head(UNFINISHED);
    assert!(told.contains("upload-offset: 6\r\n") && told.contains("upload-length: 11\r\n"), "{told}");
    let metadata = "upload-metadata: filename agvsbg8udhh0,filetype dgv4dc9wbgfpbg==,private\r\n";
    assert!(told.contains(metadata), "{told}");
    assert!(patch(UNFINISHED, 6, "world", "").contains("upload-offset: 11\r\n"));
    assert!(head(DEFERRED).contains("upload-defer-length: 1\r\n"));
    assert!(patch(DEFERRED, 4, "thing", "\nUpload-Length: 9").contains("upload-offset: 9\r\n"));
    assert!(patch(UNFINISHED_PART, 2, "zabc", "").contains("upload-offset: 6\r\n"));
    let told = head(FINAL);
    let parts = format!("upload-concat: final;/files/{} /files/{}\r\n", PARTS[0], PARTS[1]);
    assert!(told.contains(&parts) && told.contains("upload-offset: 7\r\n"), "{told}");
    // Parts that tusd has finished can be put together here.
    let urls = PARTS.map(|id| format!("/files/{id}")).join(" ");
    let made = ask(
        address,
        &format!("POST /files HTTP/1.1\n{common}\nUpload-Concat: final;{urls}\nContent-Length: 0\n\n"),
    );
    assert!(made.starts_with("http/1.1 201") && made.contains("upload-length: 7\r\n"), "{made}");
    let body = ask(address, &format!("GET /files/{UNFINISHED} HTTP/1.1\nHost: x\nConnection: close\n\n"));
    assert!(body.ends_with("hello world"), "{body}");
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
    assert_eq!(place.run(&["verify"], &[]).status, Some(0));
}
