//! Creation: which methods, what the record says, 104, and the answers.

use tus_proto::{Completion, Config, Connection, Cut, Event, Framing};

use super::{create, created, creating, location, problem};
use crate::script::{Script, Sent};

#[test]
fn post_put_and_patch_on_the_collection_create() {
    for method in ["POST", "PUT", "PATCH"] {
        let sent = Sent::bare(method, "/files/").with("Upload-Complete", "?0");
        let (mut script, op, record) = creating(Config::default(), &sent);
        assert_eq!((record.offset, record.length), (0, None));
        assert!(record.explicit.is_some_and(|explicit| !explicit.complete));
        script.stored(op, Completion::Created);
        let response = script.responds();
        assert_eq!(response.status(), 201, "{method}");
        assert_eq!(response.header("Location"), Some(&*location()));
        assert_eq!(response.header("Upload-Complete"), Some("?0"));
        assert_eq!(response.header("Upload-Limit"), Some("min-size=0"));
        assert_eq!(response.header("Upload-Offset"), Some("0"));
        assert_eq!(response.header("Tus-Resumable"), None);
        assert_eq!(script.events, [Event::Created]);
    }
    for method in ["GET", "DELETE", "HEAD", "BREW"] {
        let mut script = Script::start(&Sent::bare(method, "/files").with("Upload-Complete", "?0"));
        let response = script.responds();
        assert_eq!((response.status(), response.header("Allow")), (405, Some("OPTIONS, POST, PUT, PATCH")));
    }
}

#[test]
fn an_empty_complete_upload_is_complete_at_once() {
    let (mut script, op, record) = creating(Config::default(), &create("?1", Framing::Length(0)));
    assert!(record.is_complete());
    script.stored(op, Completion::Created);
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Complete")), (200, Some("?1")));
    assert_eq!(response.header("Location"), Some(&*location()));
    assert_eq!(script.events, [Event::Created, Event::Finished]);
}

#[test]
fn an_upload_of_length_0_is_not_complete_before_it_is_said() {
    let sent = create("?0", Framing::Length(0)).with("Upload-Length", 0);
    let (mut script, op, record) = creating(Config::default(), &sent);
    assert_eq!((record.length, record.is_complete()), (Some(0), false));
    script.stored(op, Completion::Created);
    assert_eq!(script.responds().header("Upload-Complete"), Some("?0"));
    assert_eq!(script.events, [Event::Created]);
}

#[test]
fn a_whole_upload_in_one_request_is_complete_when_its_body_is() {
    let (mut script, op, record) = creating(Config::default(), &create("?1", Framing::Length(5)));
    assert_eq!((record.length, record.is_complete()), (Some(5), false));
    script.stored(op, Completion::Created);
    script.acquire();
    let grant = script.append();
    assert_eq!((grant.at, grant.max), (0, 5));
    // All bytes are staged, but the body has not been seen to end: a checkpoint does not complete the upload.
    script.staged(grant, 5);
    script.input(tus_proto::Input::Checkpoint);
    assert!(!script.commits(0, 5).finish);
    script.checkpointed();
    script.body_ends(grant, 5);
    let last = script.commits(5, 5);
    assert_eq!((last.length, last.finish), (Some(5), true));
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Complete")), (200, Some("?1")));
    assert_eq!(response.header("Location"), Some(&*location()));
    assert_eq!(response.connection, Connection::KeepAlive);
}

#[test]
fn a_chunked_body_tells_the_length_at_its_end() {
    let mut script = created(&create("?1", Framing::Chunked));
    script.acquire();
    let grant = script.append();
    script.body_ends(grant, 7);
    let last = script.commits(0, 7);
    assert_eq!((last.length, last.finish), (Some(7), true));
    script.release();
    assert_eq!(script.responds().status(), 200);
    assert_eq!(script.events, [Event::Created, Event::Received(7), Event::Finished]);
}

#[test]
fn an_interrupted_creation_keeps_what_came_and_is_not_complete() {
    let mut script = created(&create("?1", Framing::Length(5)));
    script.acquire();
    let grant = script.append();
    script.body_is_cut(grant, 3, Cut::PeerGone);
    let last = script.commits(0, 3);
    assert_eq!((last.length, last.finish), (None, false));
    script.release();
    script.ends();
}

#[test]
fn a_part_is_answered_by_201_and_the_same_location() {
    let sent =
        create("?0", Framing::Length(5)).with("Upload-Draft-Interop-Version", 9).with("Upload-Length", 9);
    let mut script = created(&sent);
    let interim = script.interim();
    script.acquire();
    let grant = script.append();
    script.body_ends(grant, 5);
    assert!(!script.commits(0, 5).finish);
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Complete")), (201, Some("?0")));
    assert_eq!(response.header("Location"), interim.header("Location"));
}

#[test]
fn only_who_names_a_known_version_gets_a_104() {
    for version in 3..=9 {
        let field = if version == 3 { "Upload-Incomplete" } else { "Upload-Complete" };
        let value = if version == 3 { "?0" } else { "?1" };
        let sent = Sent::bare("POST", "/files").with(field, value).framed(Framing::Length(5));
        let config = Config::builder().max_size(100).build().unwrap();
        let sent = sent.with("Upload-Draft-Interop-Version", version);
        let (mut script, op, _) = creating(config, &sent);
        script.idle();
        script.stored(op, Completion::Created);
        let interim = script.interim();
        assert_eq!(interim.status(), 104);
        assert_eq!(interim.header("upload-draft-interop-version"), Some(&*version.to_string()));
        assert_eq!(interim.header("Location"), Some(&*location()));
        assert_eq!(interim.header("Upload-Limit"), (version > 5).then_some("max-size=100"));
        assert_eq!(interim.headers().count(), if version > 5 { 3 } else { 2 });
        // The lock follows, and 100 Continue is not left out.
        script.acquire();
        script.append();
    }
    for version in ["2", "10", "9;x, 9", "\"9\"", "?1"] {
        let sent = create("?1", Framing::Length(5)).with("Upload-Draft-Interop-Version", version);
        let mut script = created(&sent);
        script.acquire();
    }
}

#[test]
fn limits_are_told_and_kept() {
    let config = || {
        let config = Config::builder().max_size(100).max_chunk_size(50);
        config.upload_expiry(Some(std::time::Duration::from_secs(60))).build().unwrap()
    };
    let (mut script, op, _) = creating(config(), &create("?0", Framing::Length(0)));
    script.stored(op, Completion::Created);
    let limits = "max-size=100, max-append-size=50, max-age=60";
    assert_eq!(script.responds().header("Upload-Limit"), Some(limits));
    for (sent, code) in [
        (create("?0", Framing::Length(51)), "ERR_CHUNK_SIZE_EXCEEDED"),
        (create("?0", Framing::Length(0)).with("Upload-Length", 101), "ERR_MAX_SIZE_EXCEEDED"),
        (create("?1", Framing::Length(101)), "ERR_MAX_SIZE_EXCEEDED"),
    ] {
        let response = problem(&mut Script::start_with(config(), &sent), 413, code);
        assert_eq!(response.header("Upload-Limit"), Some("max-size=100, max-append-size=50"));
    }
}

#[test]
fn lengths_that_contradict_each_other_are_rejected() {
    let sent = create("?1", Framing::Length(5)).with("Upload-Length", 6);
    let response = problem(&mut Script::start(&sent), 400, "ERR_INCONSISTENT_UPLOAD_LENGTH");
    let kind = "\"type\":\"https://iana.org/assignments/http-problem-types#inconsistent-upload-length\"";
    assert!(response.body().contains(kind), "{}", response.body());
    // Longer than was announced, and not even complete by that.
    let sent = create("?0", Framing::Length(7)).with("Upload-Length", 6);
    problem(&mut Script::start(&sent), 400, "ERR_UPLOAD_SIZE_EXCEEDED");
}

#[test]
fn malformed_fields_count_as_absent() {
    for length in ["x", "-5", "5.0", "\"5\"", "1000000000000000", "?1", ""] {
        let (_, _, record) =
            creating(Config::default(), &create("?0", Framing::Length(0)).with("Upload-Length", length));
        assert_eq!(record.length, None, "{length:?}");
    }
    for value in ["1", "true", "?2", "", "?1, ?1"] {
        problem(&mut Script::start(&create(value, Framing::Length(5))), 400, "ERR_INVALID_UPLOAD_COMPLETE");
    }
    let (_, _, record) = creating(Config::default(), &create("?1;x=y", Framing::Length(5)));
    assert_eq!(record.length, Some(5));
}

#[test]
fn a_body_that_ends_before_its_announced_length_does_not_complete() {
    let mut script = created(&create("?1", Framing::Chunked).with("Upload-Length", 9));
    script.acquire();
    let grant = script.append();
    script.body_ends(grant, 5);
    assert!(!script.commits(0, 5).finish);
    script.release();
    let response = problem(&mut script, 400, "ERR_INCONSISTENT_UPLOAD_LENGTH");
    assert_eq!(response.header("Location"), Some(&*location()));
    assert_eq!(response.header("Upload-Complete"), Some("?0"));
}

#[test]
fn the_representations_fields_are_its_metadata() {
    let sent = create("?0", Framing::Length(0))
        .with("Content-Type", "image/png")
        .with("Content-Disposition", "inline; filename=a.png");
    let (_, _, record) = creating(Config::default(), &sent);
    assert_eq!(record.metadata, "filetype aW1hZ2UvcG5n,filename YS5wbmc=");
}
