//! DELETE: under the lock, behind a look that spares the writer of an upload that is not there.

use tus_proto::{Cancel, Command, Completion, Config, Event, Failure, Input, LockReply, OpId};

use super::script::{FENCE, Script, Sent, id, record};

/// A DELETE up to its command.
fn deleting() -> (Script, OpId) {
    let mut script = Script::start(&Sent::delete());
    script.load(&record(3, 10));
    // It does not write: a writer that yields to it commits.
    assert_eq!(script.acquire(), None);
    let (op, command) = script.store();
    assert_eq!(command, Command::Delete { id: id(), fence: FENCE });
    (script, op)
}

#[test]
fn the_upload_goes_then_the_lock_then_the_answer_comes() {
    let (mut script, op) = deleting();
    script.idle();
    script.stored(op, Completion::Deleted);
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.body()), (204, ""));
    assert_eq!(response.header("Upload-Offset"), None);
    assert_eq!(script.events, [Event::Terminated]);
}

#[test]
fn a_finished_upload_may_be_deleted() {
    let mut script = Script::start(&Sent::delete());
    script.load(&record(10, 10));
    script.acquire();
    assert!(matches!(script.store().1, Command::Delete { .. }));
}

#[test]
fn an_upload_that_is_not_there_is_not_locked() {
    let mut script = Script::start(&Sent::delete());
    let (op, _) = script.store();
    script.stored(op, Completion::Missing);
    script.refuses(404, "ERR_UPLOAD_NOT_FOUND");
}

#[test]
fn what_the_store_could_not_do_is_told() {
    for (completion, status, code) in [
        (Completion::Missing, 404, "ERR_UPLOAD_NOT_FOUND"),
        (Completion::Conflict { offset: 3 }, 423, "ERR_UPLOAD_LOCKED"),
        (Completion::Failed(Failure::Io), 500, "ERR_INTERNAL_SERVER_ERROR"),
        (Completion::Failed(Failure::NoSpace), 507, "ERR_INSUFFICIENT_STORAGE"),
    ] {
        let (mut script, op) = deleting();
        script.stored(op, completion);
        script.release();
        assert_eq!(script.refuses(status, code).header("Upload-Offset"), None);
        assert_eq!(script.events, []);
    }
}

#[test]
fn a_writer_that_does_not_yield_is_a_423() {
    let mut script = Script::start(&Sent::delete());
    script.load(&record(3, 10));
    let (op, _) = script.lock();
    script.replied(op, LockReply::TimedOut);
    script.release();
    script.refuses(423, "ERR_UPLOAD_LOCKED");
}

#[test]
fn a_shutdown_meanwhile_does_not_undo_it() {
    let (mut script, op) = deleting();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stored(op, Completion::Deleted);
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn it_may_be_disabled() {
    let config = Config::builder().termination(false).build().unwrap();
    Script::start_with(config, &Sent::delete()).refuses(405, "ERR_METHOD_NOT_ALLOWED");
}

#[test]
fn what_if_match_names_is_looked_for_under_the_lock() {
    for (wanted, record, goes) in [
        ("*", record(3, 10), true),
        ("\"upload-0\"", record(3, 10), false),
        ("\"upload-0\"", record(10, 10), true),
        ("\"other\", \"upload-0\"", record(10, 10), true),
        ("W/\"upload-0\"", record(10, 10), false),
        ("\"other\"", record(10, 10), false),
        ("", record(10, 10), false),
    ] {
        let mut script = Script::start(&Sent::delete().with("If-Match", wanted));
        script.load(&record);
        assert_eq!(script.acquire(), None);
        script.load(&record);
        if goes {
            let (op, command) = script.store();
            assert_eq!(command, Command::Delete { id: id(), fence: FENCE }, "{wanted}");
            script.stored(op, Completion::Deleted);
            script.release();
            assert_eq!(script.responds().status(), 204);
        } else {
            script.release();
            script.refuses(412, "ERR_PRECONDITION_FAILED");
        }
    }
}
