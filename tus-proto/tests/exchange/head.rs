//! HEAD: it asks the writer for a checkpoint, waits a second at most, takes no lock, and never answers 5xx.

use std::time::Duration;

use tus_proto::{
    Cancel, Command, Completion, Connection, Event, Failure, Input, LockCall, LockReply, OpId, Reason, Record,
};

use super::script::{Script, Sent, id, record};

/// A HEAD that has asked for its checkpoint.
fn asking() -> (Script, OpId) {
    let mut script = Script::start(&Sent::head());
    let (op, call) = script.lock();
    assert_eq!(call, LockCall::Checkpoint { key: id() });
    script.idle();
    (script, op)
}

/// A HEAD that reads the record.
fn reading() -> (Script, OpId) {
    let (mut script, op) = asking();
    script.replied(op, LockReply::Checkpointed);
    let (op, command) = script.store();
    assert_eq!(command, Command::Load { id: id() });
    (script, op)
}

fn told(record: Record) -> tus_proto::Response {
    let (mut script, op) = reading();
    script.stored(op, Completion::Loaded(record));
    script.responds()
}

#[test]
fn it_tells_offset_length_and_metadata() {
    let response = told(Record { metadata: "name d29ybGQ=, empty".into(), ..record(3, 10) });
    assert_eq!((response.status(), response.body()), (200, ""));
    assert_eq!(response.header("Upload-Offset"), Some("3"));
    assert_eq!(response.header("Upload-Length"), Some("10"));
    assert_eq!(response.header("Upload-Defer-Length"), None);
    assert_eq!(response.header("Upload-Metadata"), Some("name d29ybGQ=, empty"));
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    assert_eq!(response.connection, Connection::KeepAlive);
}

#[test]
fn a_deferred_length_is_told_as_that_and_no_metadata_as_nothing() {
    let response = told(record(3, None));
    assert_eq!(response.header("Upload-Length"), None);
    assert_eq!(response.header("Upload-Defer-Length"), Some("1"));
    assert_eq!(response.header("Upload-Metadata"), None);
}

#[test]
fn it_waits_one_second_for_the_writer_and_then_tells_what_is_committed() {
    let (mut script, asked) = asking();
    assert_eq!(script.deadline(), Some((Duration::from_secs(1), Reason::CheckpointWait)));
    script.pass(Duration::from_millis(999));
    script.input(Input::Timeout);
    script.idle();
    assert_eq!(script.wait(), Reason::CheckpointWait);
    // It leaves the list of those who asked.
    assert_eq!(script.lock().1, LockCall::Release { key: id() });
    let (op, command) = script.store();
    assert_eq!(command, Command::Load { id: id() });
    // The late answer changes nothing.
    script.replied(asked, LockReply::Checkpointed);
    script.idle();
    assert_eq!(script.events, [Event::Stale]);
    script.stored(op, Completion::Loaded(record(3, 10)));
    assert_eq!(script.responds().status(), 200);
}

#[test]
fn a_lock_service_out_of_reach_does_not_keep_it() {
    let (mut script, op) = asking();
    script.replied(op, LockReply::Unavailable);
    assert!(matches!(script.store().1, Command::Load { .. }));
}

#[test]
fn trouble_of_the_store_is_a_423_without_a_body() {
    for failure in [Failure::Io, Failure::NoSpace, Failure::Unavailable] {
        let (mut script, op) = reading();
        script.stored(op, Completion::Failed(failure));
        let response = script.responds();
        assert_eq!((response.status(), response.body()), (423, ""));
        assert_eq!(response.header("Upload-Offset"), None);
    }
}

#[test]
fn an_unknown_upload_is_a_404_without_a_body() {
    let (mut script, op) = reading();
    script.stored(op, Completion::Missing);
    let response = script.responds();
    assert_eq!((response.status(), response.body()), (404, ""));
}

#[test]
fn a_shutdown_lets_it_finish() {
    let (mut script, op) = reading();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stored(op, Completion::Loaded(record(3, 10)));
    assert_eq!(script.responds().status(), 200);
}
