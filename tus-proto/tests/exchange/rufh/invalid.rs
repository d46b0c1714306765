//! More bytes than an upload was to have: it is invalid for good.

use tus_proto::{AppendEnd, Cancel, Completion, Event, Framing, Input};

use super::{append, begun, locked, problem};
use crate::script::{Script, record};

#[test]
fn a_body_past_the_length_removes_the_upload() {
    let mut script = locked(&append(3, "?0", Framing::Chunked), &begun(3, 10));
    let grant = script.append();
    assert_eq!(grant.max, 7);
    script.appended(grant, 7, AppendEnd::Overflow);
    script.deletes();
    problem(&mut script, 400, "ERR_UPLOAD_SIZE_EXCEEDED");
    assert_eq!(script.events, [Event::Terminated]);
    // By its head already.
    let mut script = locked(&append(3, "?0", Framing::Length(8)), &begun(3, 10));
    script.deletes();
    problem(&mut script, 400, "ERR_UPLOAD_SIZE_EXCEEDED");
}

#[test]
fn versions_before_that_stop_at_the_length() {
    for version in [6, 7] {
        let sent = append(3, "?0", Framing::Chunked).with("Upload-Draft-Interop-Version", version);
        let mut script = locked(&sent, &begun(3, 10));
        let grant = script.append();
        script.appended(grant, 7, AppendEnd::Overflow);
        assert!(!script.commits(3, 10).finish);
        script.release();
        problem(&mut script, 400, "ERR_UPLOAD_SIZE_EXCEEDED");
    }
}

#[test]
fn an_upload_of_tus_stays_what_it_is() {
    let mut script = locked(&append(3, "?0", Framing::Length(8)), &record(3, 10));
    script.release();
    problem(&mut script, 400, "ERR_UPLOAD_SIZE_EXCEEDED");
}

#[test]
fn who_lost_the_lock_removes_nothing() {
    let mut script = Script::start(&append(3, "?0", Framing::Length(8)));
    script.load(&begun(3, 10));
    script.acquire();
    script.input(Input::Cancel(Cancel::LockLost));
    script.load(&begun(3, 10));
    script.release();
    problem(&mut script, 400, "ERR_UPLOAD_INTERRUPTED");
    let mut script = locked(&append(3, "?0", Framing::Length(8)), &begun(3, 10));
    let (op, _) = script.store();
    script.stored(op, Completion::Conflict { offset: 3 });
    script.release();
    problem(&mut script, 400, "ERR_UPLOAD_INTERRUPTED");
    // It was lost before the removal was handed out.
    let mut script = locked(&append(3, "?0", Framing::Length(8)), &begun(3, 10));
    script.input(Input::Cancel(Cancel::LockLost));
    script.release();
    problem(&mut script, 400, "ERR_UPLOAD_INTERRUPTED");
}
