//! What each version of the drafts says otherwise.

use tus_proto::{Framing, LockReply};

use super::{begun, created, locked, problem};
use crate::script::{Script, Sent};

/// A request of a version, with its word for an upload that is complete, or not.
fn sent(version: u8, method: &'static str, target: &str, complete: Option<bool>) -> Sent {
    let sent = Sent::bare(method, target).with("Upload-Draft-Interop-Version", version);
    match (complete, version) {
        (None, _) => sent,
        (Some(complete), 3) => sent.with("Upload-Incomplete", if complete { "?0" } else { "?1" }),
        (Some(complete), _) => sent.with("Upload-Complete", if complete { "?1" } else { "?0" }),
    }
}

/// The name and value by which an answer says whether the upload is complete.
fn word(version: u8, complete: bool) -> (&'static str, &'static str) {
    match (version, complete) {
        (3, true) => ("Upload-Incomplete", "?0"),
        (3, false) => ("Upload-Incomplete", "?1"),
        (_, true) => ("Upload-Complete", "?1"),
        (_, false) => ("Upload-Complete", "?0"),
    }
}

#[test]
fn each_has_its_fields_and_statuses() {
    for version in 3..=9 {
        let old = version < 7;
        let mut script = created(&sent(version, "POST", "/files", Some(false)));
        script.interim();
        let response = script.responds();
        let (name, value) = word(version, false);
        assert_eq!((response.status(), response.header(name)), (201, Some(value)), "{version}");
        assert_eq!(response.header("Upload-Offset"), Some("0"), "{version}");

        let mut append = sent(version, "PATCH", "/files/upload", Some(false)).with("Upload-Offset", 3);
        if version > 5 {
            append = append.with("Content-Type", "application/partial-upload");
        }
        let mut script = locked(&append.clone().framed(Framing::Length(4)), &begun(3, None));
        let grant = script.append();
        script.body_ends(grant, 4);
        script.commits(3, 7);
        script.release();
        let response = script.responds();
        let status = if old { 201 } else { 204 };
        assert_eq!((response.status(), response.header(name)), (status, Some(value)), "{version}");
        assert_eq!(response.header("Upload-Offset"), Some("7"), "{version}");

        let mut last = sent(version, "PATCH", "/files/upload", Some(true)).with("Upload-Offset", 7);
        if version > 5 {
            last = last.with("Content-Type", "application/partial-upload");
        }
        let mut script = locked(&last, &begun(7, None));
        assert!(script.commits(7, 7).finish);
        script.release();
        let response = script.responds();
        let (name, value) = word(version, true);
        assert_eq!((response.status(), response.header(name)), (200, Some(value)), "{version}");
        assert_eq!(response.header("Upload-Offset"), Some("7"), "{version}");
    }
}

#[test]
fn appends_have_a_type_of_their_own_from_version_6_on() {
    for version in 3..=9 {
        for content_type in [None, Some("image/png")] {
            let mut sent = sent(version, "PATCH", "/files/upload", Some(true)).with("Upload-Offset", 3);
            if let Some(content_type) = content_type {
                sent = sent.with("Content-Type", content_type);
            }
            let mut script = Script::start(&sent);
            match version {
                3..=5 => script.load(&begun(3, None)),
                _ => drop(problem(&mut script, 415, "ERR_INVALID_CONTENT_TYPE")),
            }
        }
    }
}

#[test]
fn head_and_delete_are_bare_up_to_version_6() {
    for version in 3..=9 {
        for method in ["HEAD", "DELETE"] {
            for sent in [
                sent(version, method, "/files/upload", Some(false)),
                sent(version, method, "/files/upload", None).with("Upload-Offset", 3),
            ] {
                let mut script = Script::start(&sent);
                if version < 7 {
                    let response = script.responds();
                    assert_eq!(response.status(), 400, "{version} {method}");
                } else {
                    assert!(script.next().is_some());
                }
            }
        }
    }
}

#[test]
fn the_offset_is_told_in_each_versions_words() {
    for version in 3..=9 {
        let mut script = Script::start(&sent(version, "HEAD", "/files/upload", None));
        let (op, _) = script.lock();
        script.replied(op, LockReply::Checkpointed);
        let expires = Some(tus_proto::WallTime::default().after(std::time::Duration::from_secs(5)));
        script.load(&tus_proto::Record { expires, ..begun(3, None) });
        let response = script.responds();
        let (name, value) = word(version, false);
        assert_eq!((response.status(), response.header(name)), (204, Some(value)));
        let limits = match version {
            3..=5 => None,
            6 => Some("expires=5"),
            _ => Some("max-age=5"),
        };
        assert_eq!(response.header("Upload-Limit"), limits, "{version}");
    }
}

#[test]
fn who_says_upload_incomplete_and_names_no_version_speaks_the_third() {
    let mut script = created(&Sent::bare("POST", "/files").with("Upload-Incomplete", "?1"));
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Incomplete")), (201, Some("?1")));
}
