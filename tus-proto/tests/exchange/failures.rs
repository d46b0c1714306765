//! The store fails, or rejects: nothing is committed after that, and the client learns what it may know.

use tus_proto::{AppendEnd, Command, Completion, Config, Event, Failure, Framing, Input};

use super::script::{Grant, Script, Sent, record};

fn receiving() -> (Script, Grant) {
    let config = Config::builder().checkpoint_bytes(100).build().unwrap();
    Script::receiving(config, &Sent::patch(3, Framing::Length(400)), &record(3, 1000))
}

#[test]
fn a_store_that_takes_no_more_keeps_what_it_has_taken() {
    for (failure, status, code) in [
        (Failure::NoSpace, 507, "ERR_INSUFFICIENT_STORAGE"),
        (Failure::Io, 500, "ERR_INTERNAL_SERVER_ERROR"),
        (Failure::Unavailable, 503, "ERR_STORE_UNAVAILABLE"),
        (Failure::Fenced, 423, "ERR_UPLOAD_LOCKED"),
    ] {
        let (mut script, grant) = receiving();
        script.appended(grant, 40, AppendEnd::Failed(failure));
        script.commits(3, 43);
        script.release();
        assert_eq!(script.refuses(status, code).header("Upload-Offset"), None);
        assert_eq!(script.events, [Event::Received(40)]);
    }
}

#[test]
fn an_append_that_could_not_begin_keeps_nothing() {
    let (mut script, grant) = receiving();
    script.stored(grant.op, Completion::Failed(Failure::NoSpace));
    script.release();
    script.refuses(507, "ERR_INSUFFICIENT_STORAGE");
}

#[test]
fn a_failed_commit_at_the_end_is_the_answer() {
    for (failure, status, code) in [
        (Failure::NoSpace, 507, "ERR_INSUFFICIENT_STORAGE"),
        (Failure::Io, 500, "ERR_INTERNAL_SERVER_ERROR"),
        (Failure::Unavailable, 503, "ERR_STORE_UNAVAILABLE"),
    ] {
        let (mut script, grant) = receiving();
        script.body_ends(grant, 400);
        let commit = script.commit();
        script.stored(commit.op, Completion::Failed(failure));
        script.discards();
        script.release();
        script.refuses(status, code);
        assert_eq!(script.events, []);
    }
}

/// One that says it has moved the offset where nobody wanted it, or not to where the upload is complete.
#[test]
fn a_store_that_tells_an_offset_nobody_asked_for_is_not_believed() {
    for (length, wrong) in [(1000, 404), (1000, 2), (403, 402)] {
        let (mut script, grant) =
            Script::receiving(Config::default(), &Sent::patch(3, Framing::Length(400)), &record(3, length));
        script.body_ends(grant, 400);
        let commit = script.commit();
        script.stored(commit.op, Completion::Committed { offset: wrong });
        script.discards();
        script.release();
        script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
        assert_eq!(script.events, []);
    }
}

#[test]
fn a_failed_checkpoint_stops_the_body_and_nothing_more_is_committed() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let commit = script.commit();
    script.input(Input::Checkpoint);
    script.staged(grant, 300);
    script.stored(commit.op, Completion::Failed(Failure::Io));
    script.stop();
    script.staged(grant, 310);
    script.idle();
    script.appended(grant, 320, AppendEnd::Stopped);
    script.discards();
    script.release();
    script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
}

#[test]
fn a_head_is_not_left_waiting_for_a_commit_that_failed() {
    let (mut script, grant) = receiving();
    script.staged(grant, 10);
    script.input(Input::Checkpoint);
    let commit = script.commit();
    script.stored(commit.op, Completion::Failed(Failure::Io));
    script.checkpointed();
    script.stop();
}

#[test]
fn a_failed_checkpoint_counts_also_where_the_body_has_ended_meanwhile() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let commit = script.commit();
    script.body_ends(grant, 400);
    script.stored(commit.op, Completion::Failed(Failure::Io));
    script.discards();
    script.release();
    script.refuses(500, "ERR_INTERNAL_SERVER_ERROR");
}

#[test]
fn a_conflict_tells_the_committed_offset() {
    let (mut script, grant) = receiving();
    script.body_ends(grant, 400);
    let commit = script.commit();
    script.stored(commit.op, Completion::Conflict { offset: 77 });
    script.discards();
    script.release();
    assert_eq!(script.refuses(409, "ERR_MISMATCHED_OFFSET").header("Upload-Offset"), Some("77"));
}

#[test]
fn an_upload_deleted_under_the_writer_is_a_404() {
    let (mut script, grant) = receiving();
    script.body_ends(grant, 400);
    let commit = script.commit();
    script.stored(commit.op, Completion::Missing);
    script.discards();
    script.release();
    script.refuses(404, "ERR_UPLOAD_NOT_FOUND");
}

#[test]
fn an_append_is_refused_like_a_commit() {
    for (completion, status, code) in [
        (Completion::Missing, 404, "ERR_UPLOAD_NOT_FOUND"),
        (Completion::Conflict { offset: 77 }, 409, "ERR_MISMATCHED_OFFSET"),
    ] {
        let (mut script, grant) = receiving();
        script.stored(grant.op, completion);
        script.release();
        let response = script.refuses(status, code);
        assert_eq!(response.header("Upload-Offset"), (status == 409).then_some("77"));
    }
}

#[test]
fn a_lost_discard_is_harmless() {
    for completion in
        [Completion::Failed(Failure::Io), Completion::Missing, Completion::Conflict { offset: 9 }]
    {
        let (mut script, grant) = receiving();
        script.staged(grant, 20);
        script.input(Input::Yield(Some(3)));
        script.stop();
        script.appended(grant, 20, AppendEnd::Stopped);
        let (op, command) = script.store();
        assert!(matches!(command, Command::Discard { .. }));
        script.idle();
        script.stored(op, completion);
        script.release();
        script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
    }
}
