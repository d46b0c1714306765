//! The commands that look into a store.

use std::{path::PathBuf, sync::PoisonError};

use serde_json::{Value, json};
use tus_proto::{Completion, Record, UploadId, WallTime};
use tus_redb::{Change, Options, Store};

use crate::program::{Place, Run, STARTING, text};

const CREATED: &str = "2024-03-01T00:00:00.042Z";

/// Makes a store in `tus-data` with a complete upload, a half one whose name is hostile, and one that has not
/// begun and whose length is deferred. Gives the data file of the first.
pub(crate) fn filled(place: &Place) -> PathBuf {
    filled_with(place, 0)
}

/// The same where uploads of so many bytes lie in the records.
fn filled_with(place: &Place, inline_bytes: usize) -> PathBuf {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let options = Options { inline_bytes, ..Options::default() };
    let store = Store::open(&place.path("tus-data"), &options).unwrap();
    upload(&store, "a-complete", Some(5), "filename aGVsbG8udHh0,private", b"hello");
    upload(&store, "b-half", Some(10), "filename G1sySgo=", b"world");
    upload(&store, "c-deferred", None, "", b"");
    let described = store.describe(&UploadId::new("a-complete").unwrap()).unwrap().unwrap();
    described.extents[0].path.clone()
}

fn upload(store: &Store, id: &str, length: Option<u64>, metadata: &str, body: &[u8]) {
    let id = UploadId::new(id).unwrap();
    let created = WallTime::from_micros(1_709_251_200_042_000);
    let record = Record {
        id: id.clone(),
        created,
        offset: 0,
        length,
        metadata: metadata.into(),
        expires: None,
        concat: None,
        explicit: None,
    };
    assert_eq!(store.commit(&[Change::Create { record, first: None }]), [Completion::Created]);
    if body.is_empty() {
        return;
    }
    let fence = store.first_fence();
    let mut sink = store.append(&id, fence, 0).unwrap();
    sink.write(body).unwrap();
    let syncer = sink.syncer();
    let to = body.len() as u64;
    syncer.sync(Some(to)).unwrap();
    let finish = length == Some(to);
    let commit =
        Change::Commit { id, fence, from: 0, to, length: None, expires: None, finish, syncer: Some(syncer) };
    assert_eq!(store.commit(&[commit]), [Completion::Committed { offset: to }]);
}

#[track_caller]
pub(crate) fn document(run: &Run) -> Value {
    serde_json::from_str(run.assert_quiet_success()).unwrap()
}

#[test]
fn without_a_store_each_tool_fails_and_makes_nothing() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    for directory in ["missing", "empty"] {
        for tool in [
            &["list"][..],
            &["list", "--json"],
            &["show", "a"],
            &["cat", "a"],
            &["delete", "a"],
            &["verify"],
            &["stats"],
            &["export", "-"],
            &["export", "out"],
        ] {
            let run = place.run(tool, &[("TUS_DATA_DIR", directory)]);
            run.assert_fails(1, &["there is no store in", directory]);
        }
    }
    assert_eq!(place.names(), ["empty"]);
    assert_eq!(std::fs::read_dir(place.path("empty")).unwrap().count(), 0);
}

#[test]
fn list_names_all_uploads() {
    let place = Place::new();
    filled(&place);
    let run = place.run(&["list"], &[]);
    let lines: Vec<_> = run.assert_quiet_success().lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let cells = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(cells(lines[1]), ["a-complete", "plain", "5", "5", "complete", CREATED, "hello.txt"]);
    assert_eq!(cells(lines[2]), ["b-half", "plain", "5", "10", "50%", CREATED, "\\u{1b}[2J\\n"]);
    assert_eq!(cells(lines[3]), ["c-deferred", "plain", "0", "deferred", "-", CREATED]);

    let run = place.run(&["list", "--json"], &[]);
    let upload = |id, offset, length: Option<u64>, name: Option<&str>| {
        json!({"id": id, "kind": "plain", "offset": offset, "length": length, "complete": length == Some(offset),
               "created": CREATED, "expires": null, "filename": name})
    };
    let expected = [
        upload("a-complete", 5, Some(5), Some("hello.txt")),
        upload("b-half", 5, Some(10), Some("\u{1b}[2J\n")),
        upload("c-deferred", 0, None, None),
    ];
    assert_eq!(document(&run), json!({"uploads": expected, "next": null}));
}

#[test]
fn list_ends_quietly_where_nobody_reads() {
    let place = Place::new();
    filled(&place);
    for arguments in [&["list"][..], &["list", "--json"], &["show", "a-complete"], &["verify"]] {
        place.run_unread(arguments).assert_quiet_success();
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    place.start(&["list"], &[], full.into()).finish().assert_fails(1, &["can't write to standard output"]);
}

#[test]
fn list_goes_through_all_pages() {
    let place = Place::new();
    let starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let store = Store::open(&place.path("tus-data"), &Options::default()).unwrap();
    let created = WallTime::default();
    let ids: Vec<_> = (0..2_500).map(|n| format!("upload-{n:04}")).collect();
    let changes: Vec<_> = ids
        .iter()
        .map(|id| UploadId::new(id).unwrap())
        .map(|id| Change::Create {
            record: Record {
                id,
                created,
                offset: 0,
                length: None,
                metadata: String::new(),
                expires: None,
                concat: None,
                explicit: None,
            },
            first: None,
        })
        .collect();
    assert!(store.commit(&changes).iter().all(|completion| *completion == Completion::Created));
    drop(store);
    drop(starting);
    let listing = document(&place.run(&["list", "--json"], &[]));
    let listed: Vec<_> =
        listing["uploads"].as_array().unwrap().iter().map(|upload| upload["id"].as_str().unwrap()).collect();
    assert_eq!(listed, ids);
}

#[test]
fn show_tells_all_of_one() {
    let place = Place::new();
    let file = filled(&place);
    let run = place.run(&["show", "a-complete"], &[]);
    let shown = run.assert_quiet_success();
    for line in ["id        a-complete", "metadata  filename hello.txt", "metadata  private"] {
        assert!(shown.lines().any(|found| found == line), "{line:?}: {shown}");
    }
    // The tool's data directory is relative; what it shows is right anywhere.
    assert!(shown.contains(&format!("data      5 bytes in {}\n", text(&file))), "{shown}");
    let expected = json!({
        "id": "a-complete", "kind": "plain", "offset": 5, "length": 5, "complete": true, "created": CREATED,
        "expires": null, "filename": "hello.txt", "metadata": [
            {"key": "filename", "value": "hello.txt", "base64": "aGVsbG8udHh0"},
            {"key": "private", "value": "", "base64": ""},
        ],
        "data": [{"path": text(&file), "length": 5}], "sha256": null,
    });
    assert_eq!(document(&place.run(&["show", "--json", "a-complete"], &[])), expected);
    let not_begun = document(&place.run(&["show", "--json", "c-deferred"], &[]));
    assert_eq!(not_begun["data"], json!([]));
}

#[test]
fn small_uploads_lie_in_the_records_and_can_be_written_out() {
    let place = Place::new();
    let file = filled_with(&place, 5);
    assert!(!file.exists());
    let shown = place.run(&["show", "a-complete"], &[]);
    assert!(shown.assert_quiet_success().contains("data      5 bytes in the records: the cat command"));
    let shown = document(&place.run(&["show", "--json", "a-complete"], &[]));
    assert_eq!(shown["data"], json!([{"path": null, "length": 5}]));
    assert_eq!(place.run(&["cat", "a-complete"], &[]).assert_quiet_success(), "hello");
    assert_eq!(
        place.run(&["delete", "a-complete"], &[]).assert_quiet_success(),
        "deleted a-complete, 5 bytes\n"
    );
    place.run(&["cat", "a-complete"], &[]).assert_fails(1, &["there is no upload a-complete in ./tus-data"]);
    assert_eq!(place.run(&["verify"], &[]).assert_quiet_success(), "ok: 2 uploads, 5 bytes\n");
}

#[test]
fn cat_writes_what_is_there() {
    let place = Place::new();
    filled(&place);
    for (id, bytes) in [("a-complete", "hello"), ("b-half", "world"), ("c-deferred", "")] {
        assert_eq!(place.run(&["cat", id], &[]).assert_quiet_success(), bytes, "{id}");
    }
    place.run_unread(&["cat", "a-complete"]).assert_quiet_success();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let run = place.start(&["cat", "a-complete"], &[], full.into()).finish();
    run.assert_fails(1, &["can't write to standard output"]);
}

#[test]
fn delete_removes_record_and_bytes() {
    let place = Place::new();
    let file = filled(&place);
    assert_eq!(std::fs::read(&file).unwrap(), b"hello");
    let run = place.run(&["delete", "a-complete"], &[]);
    assert_eq!(run.assert_quiet_success(), "deleted a-complete, 5 bytes\n");
    assert!(!file.exists());
    place.run(&["show", "a-complete"], &[]).assert_fails(1, &["no upload a-complete in ./tus-data"]);
    let run = place.run(&["delete", "b-half", "--json"], &[]);
    assert_eq!(document(&run), json!({"deleted": "b-half", "bytes": 5}));
    let run = place.run(&["verify"], &[]);
    assert_eq!(run.assert_quiet_success(), "ok: 1 upload, 0 bytes\n");
}

#[test]
fn an_unknown_upload_is_told() {
    let place = Place::new();
    filled(&place);
    for id in ["nobody", "not/an id", "\u{1b}[2J", ""] {
        for tool in ["show", "cat", "delete"] {
            place.run(&[tool, id], &[]).assert_fails(1, &["there is no upload", "./tus-data"]);
        }
    }
}

#[test]
fn verify_finds_what_is_missing() {
    let place = Place::new();
    let file = filled(&place);
    let run = place.run(&["verify"], &[]);
    assert_eq!(run.assert_quiet_success(), "ok: 3 uploads, 10 bytes\n");
    let fine = document(&place.run(&["verify", "--json"], &[]));
    assert_eq!(fine, json!({"ok": true, "format": 6, "uploads": 3, "bytes": 10, "findings": []}));

    std::fs::File::options().write(true).open(&file).unwrap().set_len(4).unwrap();
    let run = place.run(&["verify"], &[]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(1), ""), "{run:?}");
    let (finding, summary) = run.stdout.trim_end().split_once('\n').unwrap();
    assert!(finding.contains("a-complete") && finding.contains("has only 4"), "{run:?}");
    assert_eq!(summary, "not ok: 1 finding in 3 uploads, 10 bytes");

    let stray = file.with_file_name("stray");
    std::fs::write(&stray, "x").unwrap();
    let run = place.run(&["verify", "--repair"], &[]);
    let lines: Vec<_> = run.assert_quiet_success().lines().collect();
    assert!(lines[0].ends_with("has only 4; it was cut back to 4 bytes"), "{run:?}");
    assert!(lines[1].contains("/stray belongs to no upload; it was moved to ./tus-data/aside/"), "{run:?}");
    assert_eq!(lines[2], "ok: 2 findings were mended in 3 uploads, 9 bytes");
    assert!(!stray.exists());
    let run = place.run(&["verify", "--repair"], &[]);
    assert_eq!(run.assert_quiet_success(), "ok: 3 uploads, 9 bytes\n");

    std::fs::remove_file(&file).unwrap();
    let run = place.run(&["verify", "--json"], &[]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(1), ""), "{run:?}");
    let verdict: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(verdict["ok"], json!(false));
    assert_eq!(verdict["findings"][0]["kind"], json!("missing-file"));
    assert_eq!(verdict["findings"][0]["id"], json!("a-complete"));
    assert_eq!(verdict["findings"][0]["remedy"], Value::Null);
    let verdict = document(&place.run(&["verify", "--json", "--repair"], &[]));
    assert_eq!(verdict["ok"], json!(true));
    assert_eq!(verdict["findings"][0]["remedy"], json!("it was cut back to 0 bytes"));
}

#[test]
fn verify_tells_of_records_that_have_rotted() {
    let place = Place::new();
    filled(&place);
    let path = place.path("tus-data/records.redb");
    let mut records = std::fs::read(&path).unwrap();
    let at = records.windows(10).rposition(|bytes| bytes == b"a-complete").unwrap();
    records[at] = b'A';
    std::fs::write(&path, records).unwrap();
    for arguments in [&["verify"][..], &["verify", "--repair"]] {
        let run = place.run(arguments, &[]);
        assert_eq!((run.status, run.stdout.as_str()), (Some(1), ""), "{run:?}");
        assert!(run.stderr.contains("are damaged"), "{run:?}");
        assert!(run.stderr.contains("restore the directory from a backup"), "{run:?}");
    }
}
