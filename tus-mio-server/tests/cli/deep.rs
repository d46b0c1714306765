//! `verify --deep`: every byte against the digest that was kept when the upload was complete.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    thread::sleep,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    beside::{answer, send, serve},
    program::Place,
    store::document,
};

/// Creates an upload of this body, and returns its id.
fn upload(address: &str, fields: &str, body: &str) -> String {
    let head = format!(
        "POST /files HTTP/1.1\r\nUpload-Length: {0}\r\nContent-Length: {0}\r\n\
         Content-Type: application/offset+octet-stream{fields}",
        body.len()
    );
    let answer = answer(send(address, &head, body));
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
    location.unwrap_or_else(|| panic!("{answer}")).rsplit('/').next().unwrap().to_owned()
}

fn shown(place: &Place, id: &str) -> Value {
    document(&place.run(&["show", "--json", id], &[]))
}

/// Waits until an upload has a digest: it is computed when nothing else is to do.
fn digest(place: &Place, id: &str) -> String {
    loop {
        match shown(place, id)["sha256"].as_str() {
            Some(digest) => return digest.to_owned(),
            None => sleep(Duration::from_millis(10)),
        }
    }
}

fn verify(place: &Place) -> (Option<i32>, Value) {
    let run = place.run(&["verify", "--deep", "--json"], &[]);
    (run.status, serde_json::from_str(&run.stdout).unwrap())
}

#[test]
fn a_changed_byte_is_found_with_a_server_and_without_one() {
    let place = Place::new();
    let (server, address) = serve(&place, "tus-data", &["--small-uploads", "8"]);
    let before = upload(&address, "", "from before digests were kept");
    server.signal(Signal::TERM);
    server.finish();
    let flags = ["--small-uploads", "8", "--store-digest", "sha256"];
    let (server, address) = serve(&place, "tus-data", &flags);
    let file = upload(&address, "", "the bytes of a file of its own");
    let small = upload(&address, "", "hello");
    let a = upload(&address, "\r\nUpload-Concat: partial", "the first of two parts, ");
    let b = upload(&address, "\r\nUpload-Concat: partial", "and the second");
    let whole = {
        let head = format!("POST /files HTTP/1.1\r\nUpload-Concat: final;/files/{a} /files/{b}");
        let answer = answer(send(&address, &head, ""));
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        location.unwrap_or_else(|| panic!("{answer}")).rsplit('/').next().unwrap().to_owned()
    };
    assert_eq!(digest(&place, &small), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    for id in [&file, &a, &b, &whole] {
        assert_eq!(digest(&place, id).len(), 64);
    }
    assert_eq!(shown(&place, &before)["sha256"], Value::Null);
    let read = json!({"uploads": 5, "bytes": 30 + 5 + 24 + 14 + 38, "without": 1});
    let (status, verdict) = verify(&place);
    assert_eq!((status, &verdict["deep"], &verdict["findings"]), (Some(0), &read, &json!([])), "{verdict}");
    // A byte changes on the disk. What a final shares with its part is both's.
    let path = |id: &str| PathBuf::from(shown(&place, id)["data"][0]["path"].as_str().unwrap());
    for id in [&file, &b] {
        let data = OpenOptions::new().write(true).open(path(id)).unwrap();
        data.write_all_at(b"X", 4).unwrap();
    }
    let check = || {
        let (status, verdict) = verify(&place);
        assert_eq!((status, &verdict["ok"], &verdict["deep"]), (Some(1), &json!(false), &read), "{verdict}");
        let found = verdict["findings"].as_array().unwrap().iter();
        let mut found: Vec<_> =
            found.map(|finding| (finding["id"].clone(), finding["kind"].clone())).collect();
        let mut wrong = [&file, &b, &whole].map(|id| (json!(id), json!("wrong-digest")));
        found.sort_by_key(|(id, _)| id.to_string());
        wrong.sort_by_key(|(id, _)| id.to_string());
        assert_eq!(found, wrong);
        assert_eq!(place.run(&["verify"], &[]).status, Some(0), "lengths are right");
    };
    check();
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
    check();
    let text = place.run(&["verify", "--deep"], &[]);
    assert!(
        text.stdout
            .contains("\nread: 5 uploads, 111 bytes; without a digest: 1\nnot ok: 3 findings in 6 uploads")
    );
    // A file that is gone is told once by the check, and once by the reading.
    fs::remove_file(path(&a)).unwrap();
    let (status, verdict) = verify(&place);
    let kinds: Vec<_> = verdict["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["kind"].as_str().unwrap())
        .collect();
    assert!(
        status == Some(1) && kinds.contains(&"missing-file") && kinds.contains(&"unreadable"),
        "{verdict}"
    );
    place.run(&["verify", "--deep", "--repair"], &[]).assert_fails(2, &["--deep", "--repair"]);
}
