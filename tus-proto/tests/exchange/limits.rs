//! How many bytes of a body are welcome, and what one more is answered.

use tus_proto::{AppendEnd, Cancel, Completion, Config, Connection, Event, Framing, Input};

use super::script::{Script, Sent, record};

fn config(max_size: u64, max_chunk_size: u64) -> Config {
    Config::builder().max_size(max_size).max_chunk_size(max_chunk_size).build().unwrap()
}

#[test]
fn a_body_that_must_be_too_long_by_its_head_is_refused_unread() {
    for (config, state, code) in [
        (config(0, 0), record(3, 10), "ERR_UPLOAD_SIZE_EXCEEDED"),
        (config(0, 7), record(3, 20), "ERR_CHUNK_SIZE_EXCEEDED"),
        (config(10, 0), record(3, None), "ERR_MAX_SIZE_EXCEEDED"),
    ] {
        let mut script = Script::start_with(config.clone(), &Sent::patch(3, Framing::Length(8)));
        script.load(&state);
        script.acquire();
        script.load(&state);
        script.release();
        assert_eq!(script.refuses(413, code).connection, Connection::Close);
        // One byte less is welcome.
        Script::receiving(config, &Sent::patch(3, Framing::Length(7)), &state);
    }
}

#[test]
fn a_chunked_body_is_kept_up_to_its_limit() {
    for (config, state, code) in [
        (config(0, 0), record(3, 10), "ERR_UPLOAD_SIZE_EXCEEDED"),
        (config(0, 7), record(3, 20), "ERR_CHUNK_SIZE_EXCEEDED"),
        (config(10, 0), record(3, None), "ERR_MAX_SIZE_EXCEEDED"),
    ] {
        let (mut script, grant) = Script::receiving(config, &Sent::patch(3, Framing::Chunked), &state);
        assert_eq!(grant.max, 7);
        script.staged(grant, 2);
        script.appended(grant, 7, AppendEnd::Overflow);
        assert_eq!(script.commits(3, 10).finish, state.length == Some(10));
        script.release();
        let response = script.refuses(413, code);
        assert_eq!((response.connection, response.header("Upload-Offset")), (Connection::Close, None));
        assert_eq!(script.events.contains(&Event::Finished), state.length == Some(10));
    }
}

#[test]
fn a_shutdown_may_come_while_the_overflow_is_committed() {
    let sent = Sent::patch(0, Framing::Chunked);
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(0, 4));
    script.appended(grant, 4, AppendEnd::Overflow);
    let commit = script.commit();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stored(commit.op, Completion::Committed { offset: 4 });
    script.release();
    script.refuses(413, "ERR_UPLOAD_SIZE_EXCEEDED");
}

#[test]
fn without_limits_an_upload_of_unknown_length_takes_what_an_offset_can_say() {
    let sent = Sent::patch(3, Framing::Chunked);
    let (_, grant) = Script::receiving(Config::default(), &sent, &record(3, None));
    assert_eq!(grant.max, i64::MAX.unsigned_abs() - 3);
}

#[test]
fn no_more_than_the_limit_is_committed_whatever_the_store_says_it_staged() {
    let (mut script, grant) =
        Script::receiving(Config::default(), &Sent::patch(0, Framing::Chunked), &record(0, 4));
    script.staged(grant, 9);
    script.appended(grant, 9, AppendEnd::Overflow);
    assert_eq!(script.commit().to, 4);
}

#[test]
fn a_body_that_breaks_two_limits_at_once_is_told_the_uploads_own() {
    let sent = Sent::patch(3, Framing::Chunked);
    let (mut script, grant) = Script::receiving(config(0, 7), &sent, &record(3, 10));
    script.appended(grant, 7, AppendEnd::Overflow);
    script.commits(3, 10);
    script.release();
    script.refuses(413, "ERR_UPLOAD_SIZE_EXCEEDED");
}
