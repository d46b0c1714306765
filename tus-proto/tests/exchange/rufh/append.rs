//! Appends: what they must say, offsets, completion, and complete uploads.

use tus_proto::{Completion, Cut, Event, Framing, Input};

use super::{append, begun, complete, locked, problem};
use crate::script::{Script, Sent, record};

#[test]
fn an_append_that_does_not_complete_says_so() {
    let mut script = locked(&append(3, "?0", Framing::Length(4)), &begun(3, 10));
    let grant = script.append();
    assert_eq!((grant.at, grant.max), (3, 7));
    script.body_ends(grant, 4);
    let commit = script.commits(3, 7);
    assert_eq!((commit.length, commit.finish), (None, false));
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Complete")), (204, Some("?0")));
    assert_eq!(script.events, [Event::Received(4)]);
}

#[test]
fn the_length_alone_does_not_complete() {
    let mut script = locked(&append(3, "?0", Framing::Length(7)), &begun(3, 10));
    let grant = script.append();
    script.body_ends(grant, 7);
    assert!(!script.commits(3, 10).finish);
    script.release();
    assert_eq!(script.responds().header("Upload-Complete"), Some("?0"));
    // Nor does an empty append, but one that says it.
    let mut script = locked(&append(10, "?0", Framing::Length(0)), &begun(10, 10));
    script.release();
    assert_eq!(script.responds().header("Upload-Complete"), Some("?0"));
    let mut script = locked(&append(10, "?1", Framing::Length(0)), &begun(10, 10));
    let commit = script.commits(10, 10);
    assert_eq!((commit.length, commit.finish), (Some(10), true));
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Complete")), (200, Some("?1")));
    assert_eq!(script.events, [Event::Finished]);
}

#[test]
fn the_last_append_tells_the_length_by_its_end() {
    let mut script = locked(&append(3, "?1", Framing::Length(4)), &begun(3, None));
    let grant = script.append();
    assert_eq!(grant.max, 4);
    script.staged(grant, 2);
    script.input(Input::Checkpoint);
    let commit = script.commits(3, 5);
    assert_eq!((commit.length, commit.finish), (Some(7), false));
    script.checkpointed();
    script.body_ends(grant, 4);
    let commit = script.commits(5, 7);
    assert_eq!((commit.length, commit.finish), (Some(7), true));
    script.release();
    assert_eq!(script.responds().status(), 200);
}

#[test]
fn the_length_may_come_with_any_append_and_again() {
    let sent = append(3, "?0", Framing::Length(4)).with("Upload-Length", 10);
    let mut script = locked(&sent, &begun(3, None));
    let grant = script.append();
    script.body_ends(grant, 4);
    let commit = script.commits(3, 7);
    assert_eq!((commit.length, commit.finish), (Some(10), false));
    let sent = append(3, "?1", Framing::Length(7)).with("Upload-Length", 10);
    let mut script = locked(&sent, &begun(3, 10));
    script.append();
    for (sent, record) in [
        (append(3, "?0", Framing::Length(4)).with("Upload-Length", 11), begun(3, 10)),
        (append(3, "?1", Framing::Length(4)), begun(3, 10)),
        (append(3, "?0", Framing::Length(0)).with("Upload-Length", 2), begun(3, None)),
        (append(3, "?1", Framing::Length(4)).with("Upload-Length", 7), record(3, 10)),
    ] {
        let mut script = locked(&sent, &record);
        script.release();
        problem(&mut script, 400, "ERR_INCONSISTENT_UPLOAD_LENGTH");
    }
}

#[test]
fn another_offset_is_told_the_right_one() {
    for offset in [2, 4] {
        let mut script = Script::start(&append(offset, "?1", Framing::Length(6)));
        script.load(&begun(3, None));
        if offset > 3 {
            script.acquire();
            script.load(&begun(3, None));
            script.release();
        }
        let response = problem(&mut script, 409, "ERR_MISMATCHED_OFFSET");
        assert_eq!(response.header("Upload-Complete"), Some("?0"));
        assert_eq!(response.header("Upload-Offset"), Some("3"));
        let members = format!("\"expected-offset\":3,\"provided-offset\":{offset}");
        assert!(response.body().contains(&members), "{}", response.body());
        let kind = "http-problem-types#mismatching-upload-offset\"";
        assert!(response.body().contains(kind), "{}", response.body());
    }
}

#[test]
fn an_append_must_say_what_it_is() {
    let bare = || Sent::bare("PATCH", "/files/upload").framed(Framing::Length(4));
    let typed = || bare().with("Content-Type", "Application/Partial-Upload;x=y");
    for (sent, status, code) in [
        (bare().with("Upload-Offset", 3).with("Upload-Complete", "?0"), 415, "ERR_INVALID_CONTENT_TYPE"),
        (typed().with("Upload-Complete", "?0"), 400, "ERR_INVALID_OFFSET"),
        (typed().with("Upload-Complete", "?0").with("Upload-Offset", "-1"), 400, "ERR_INVALID_OFFSET"),
        (typed().with("Upload-Complete", "?0").with("Upload-Offset", "3.0"), 400, "ERR_INVALID_OFFSET"),
        (typed().with("Upload-Offset", 3), 400, "ERR_INVALID_UPLOAD_COMPLETE"),
        (append(3, "?0", Framing::Length(4)).with("Expect", "x"), 417, "ERR_EXPECTATION_FAILED"),
    ] {
        problem(&mut Script::start(&sent), status, code);
    }
    let mut script = Script::start(&append(3, "?0", Framing::Length(4)));
    let (op, _) = script.store();
    script.stored(op, Completion::Missing);
    problem(&mut script, 404, "ERR_UPLOAD_NOT_FOUND");
}

#[test]
fn a_complete_upload_takes_nothing_and_repeats_its_answer() {
    for sent in [
        append(10, "?1", Framing::Length(1)),
        append(10, "?0", Framing::Length(0)),
        append(10, "?1", Framing::Chunked),
        append(3, "?1", Framing::Length(7)),
    ] {
        let mut script = Script::start(&sent);
        script.load(&complete(10));
        let response = problem(&mut script, 400, "ERR_UPLOAD_COMPLETED");
        assert_eq!(response.header("Upload-Complete"), Some("?0"));
    }
    for record in [complete(10), record(10, 10)] {
        let mut script = Script::start(&append(10, "?1", Framing::Length(0)));
        script.load(&record);
        let response = script.responds();
        assert_eq!((response.status(), response.header("Upload-Complete")), (200, Some("?1")));
    }
    // It became complete while the lock was waited for.
    let mut script = Script::start(&append(10, "?1", Framing::Length(0)));
    script.load(&begun(10, None));
    script.acquire();
    script.load(&complete(10));
    script.release();
    assert_eq!(script.responds().status(), 200);
}

#[test]
fn what_came_before_a_cut_is_kept_and_not_complete() {
    let mut script = locked(&append(3, "?1", Framing::Length(7)), &begun(3, 10));
    let grant = script.append();
    script.body_is_cut(grant, 7, Cut::HalfClosed);
    assert!(!script.commits(3, 10).finish);
    script.release();
    problem(&mut script, 400, "ERR_UNEXPECTED_EOF");
}

#[test]
fn progress_is_told_while_the_body_comes() {
    let sent = append(3, "?1", Framing::Length(7)).with("Upload-Draft-Interop-Version", 8);
    let mut script = locked(&sent, &begun(3, 10));
    let grant = script.append();
    script.staged(grant, 4);
    script.input(Input::Checkpoint);
    script.commits(3, 7);
    let interim = script.interim();
    assert_eq!((interim.header("Upload-Offset"), interim.header("Location")), (Some("7"), None));
    script.checkpointed();
    // Nobody else is told, nor by versions before that.
    for sent in [
        append(3, "?1", Framing::Length(7)),
        append(3, "?1", Framing::Length(7)).with("Upload-Draft-Interop-Version", 7),
    ] {
        let mut script = locked(&sent, &begun(3, 10));
        let grant = script.append();
        script.staged(grant, 4);
        script.input(Input::Checkpoint);
        script.commits(3, 7);
        script.checkpointed();
    }
}

#[test]
fn cancel_is_delete() {
    let mut script =
        Script::start(&Sent::bare("DELETE", "/files/upload").with("Upload-Draft-Interop-Version", 9));
    script.load(&begun(3, 10));
    script.acquire();
    let (op, _) = script.store();
    script.stored(op, Completion::Deleted);
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Tus-Resumable")), (204, None));
}

#[test]
fn a_commit_that_is_under_way_when_the_body_ends_is_followed_by_the_one_that_completes() {
    let sent = append(3, "?1", Framing::Chunked).with("Upload-Length", 10);
    let mut script = locked(&sent, &begun(3, None));
    let grant = script.append();
    script.staged(grant, 7);
    // All of the upload is staged, and its end is not known yet.
    script.input(Input::Checkpoint);
    let early = script.commit();
    assert_eq!((early.from, early.to, early.length, early.finish), (3, 10, Some(10), false));
    script.body_ends(grant, 7);
    script.stored(early.op, Completion::Committed { offset: 10 });
    script.checkpointed();
    let last = script.commits(10, 10);
    assert!(last.finish, "the upload is complete with it");
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Complete")), (200, Some("?1")));
}
