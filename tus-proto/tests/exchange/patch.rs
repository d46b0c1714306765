//! PATCH where all goes well, and what is told by the record before a byte is read.

use tus_proto::{
    AppendEnd, Command, Completion, Config, Connection, Event, Failure, Framing, LockReply, Output,
};

use super::script::{FENCE, Script, Sent, record};

/// A PATCH that holds the lock and has seen the record again.
fn looked_up(sent: &Sent, record: &tus_proto::Record) -> Script {
    let mut script = Script::start(sent);
    script.load(record);
    script.acquire();
    script.load(record);
    script
}

#[test]
fn the_bytes_are_committed_then_the_lock_goes_then_the_answer_comes() {
    let sent = Sent::patch(3, Framing::Length(4));
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(3, 10));
    assert_eq!((grant.at, grant.max, grant.rotate), (3, 7, false));
    script.idle();
    script.body_ends(grant, 4);
    let commit = script.commit();
    assert_eq!((commit.from, commit.to, commit.length, commit.finish), (3, 7, None, false));
    script.idle();
    script.stored(commit.op, Completion::Committed { offset: 7 });
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Offset")), (204, Some("7")));
    assert_eq!(response.connection, Connection::KeepAlive);
    assert_eq!(script.events, [Event::Received(4)]);
}

#[test]
fn the_last_byte_finishes_the_upload() {
    let sent = Sent::patch(3, Framing::Chunked);
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(3, 10));
    script.body_ends(grant, 7);
    assert!(script.commits(3, 10).finish);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("10"));
    assert_eq!(script.events, [Event::Received(7), Event::Finished]);
}

#[test]
fn a_store_with_part_sizes_of_its_own_keeps_what_it_could_take() {
    let sent = Sent::patch(0, Framing::Length(100));
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(0, 1000));
    script.body_ends(grant, 100);
    let commit = script.commit();
    script.stored(commit.op, Completion::Committed { offset: 64 });
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("64"));
    assert_eq!(script.events, [Event::Received(64)]);
}

#[test]
fn an_offset_below_the_committed_one_is_told_without_disturbing_the_writer() {
    for length in [Some(5), Some(10), None] {
        let mut script = Script::start(&Sent::patch(3, Framing::Length(4)));
        script.load(&record(5, length));
        let response = script.refuses(409, "ERR_MISMATCHED_OFFSET");
        assert_eq!(response.header("Upload-Offset"), Some("5"));
        assert_eq!(response.connection, Connection::Close);
    }
}

#[test]
fn an_offset_above_it_is_told_under_the_lock() {
    let mut script = Script::start(&Sent::patch(8, Framing::Length(4)));
    script.load(&record(5, 20));
    assert_eq!(script.acquire(), Some(8));
    script.load(&record(7, 20));
    script.release();
    assert_eq!(script.refuses(409, "ERR_MISMATCHED_OFFSET").header("Upload-Offset"), Some("7"));
}

#[test]
fn the_record_under_the_lock_counts() {
    let mut script = Script::start(&Sent::patch(8, Framing::Length(4)));
    script.load(&record(5, 20));
    script.acquire();
    script.load(&record(8, 20));
    assert_eq!(script.append().at, 8);
}

#[test]
fn a_finished_upload_takes_no_byte_more() {
    let mut script = looked_up(&Sent::patch(10, Framing::Length(4)), &record(10, 10));
    script.release();
    script.refuses(403, "ERR_UPLOAD_COMPLETED");
    // The offset comes before that: a client whose last answer was lost finishes by it.
    let mut script = Script::start(&Sent::patch(3, Framing::Length(4)));
    script.load(&record(10, 10));
    assert_eq!(script.refuses(409, "ERR_MISMATCHED_OFFSET").header("Upload-Offset"), Some("10"));
}

#[test]
fn a_chunked_body_to_a_finished_upload_counts_as_empty_until_its_first_byte() {
    let sent = Sent::patch(10, Framing::Chunked);
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(10, 10));
    assert_eq!((grant.at, grant.max), (10, 0));
    script.body_ends(grant, 0);
    script.release();
    assert_eq!(script.responds().status(), 204);
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(10, 10));
    script.appended(grant, 0, AppendEnd::Overflow);
    script.release();
    assert_eq!(script.refuses(403, "ERR_UPLOAD_COMPLETED").header("Upload-Offset"), None);
}

#[test]
fn an_empty_body_commits_nothing() {
    for state in [record(3, 10), record(10, 10), record(3, None)] {
        let mut script = looked_up(&Sent::patch(state.offset, Framing::Length(0)), &state);
        script.release();
        let response = script.responds();
        assert_eq!(response.status(), 204);
        assert_eq!(response.header("Upload-Offset"), Some(&*state.offset.to_string()));
    }
    let sent = Sent::patch(3, Framing::Chunked);
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(3, 10));
    script.body_ends(grant, 0);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("3"));
}

#[test]
fn a_grant_whose_predecessor_never_released_starts_a_fresh_extent() {
    for rotate in [false, true] {
        let mut script = Script::start(&Sent::patch(3, Framing::Length(4)));
        script.load(&record(3, 10));
        let (op, _) = script.lock();
        script.replied(op, LockReply::Granted { fence: FENCE, rotate });
        script.load(&record(3, 10));
        assert_eq!(script.append().rotate, rotate);
    }
}

#[test]
fn an_upload_that_is_not_there_is_not_locked() {
    for (completion, status, code) in [
        (Completion::Missing, 404, "ERR_UPLOAD_NOT_FOUND"),
        (Completion::Failed(Failure::Io), 500, "ERR_INTERNAL_SERVER_ERROR"),
        (Completion::Failed(Failure::Unavailable), 503, "ERR_STORE_UNAVAILABLE"),
    ] {
        let mut script = Script::start(&Sent::patch(0, Framing::Length(4)));
        let (op, _) = script.store();
        script.stored(op, completion);
        script.refuses(status, code);
    }
}

#[test]
fn an_upload_that_went_while_the_lock_was_waited_for_is_a_404() {
    let mut script = Script::start(&Sent::patch(0, Framing::Length(4)));
    script.load(&record(0, 10));
    script.acquire();
    let (op, command) = script.store();
    assert!(matches!(command, Command::Load { .. }));
    script.stored(op, Completion::Missing);
    script.release();
    script.refuses(404, "ERR_UPLOAD_NOT_FOUND");
}

#[test]
fn nobody_is_told_to_go_on_who_will_be_refused() {
    for (sent, state) in [
        (Sent::patch(0, Framing::Length(11)), record(0, 10)),
        (Sent::patch(0, Framing::Length(4)).with("Upload-Length", 9), record(0, 10)),
        (Sent::patch(10, Framing::Length(4)), record(10, 10)),
        (Sent::patch(1, Framing::Length(4)), record(0, 10)),
    ] {
        let mut script = looked_up(&sent, &state);
        let next = script.next();
        assert!(!matches!(next, Some(Output::Continue)), "{next:?}");
    }
}
