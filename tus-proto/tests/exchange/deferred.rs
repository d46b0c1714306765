//! A length that comes later than the upload: told by a PATCH, made known with its first commit.

use tus_proto::{AppendEnd, Cancel, Completion, Config, Cut, Event, Framing, Input, Record};

use super::script::{Script, Sent, record};

#[track_caller]
fn refused(config: Config, sent: &Sent, record: &Record, status: u16, code: &str) {
    let mut script = Script::start_with(config, sent);
    script.load(record);
    script.acquire();
    script.load(record);
    script.release();
    script.refuses(status, code);
}

#[test]
fn the_first_commit_makes_it_known_and_the_next_ones_do_not_repeat_it() {
    let config = Config::builder().checkpoint_bytes(4).build().unwrap();
    let sent = Sent::patch(3, Framing::Length(7)).with("Upload-Length", 20);
    let (mut script, grant) = Script::receiving(config, &sent, &record(3, None));
    assert_eq!(grant.max, 17);
    script.staged(grant, 4);
    assert_eq!(script.commits(3, 7).length, Some(20));
    script.body_ends(grant, 7);
    let last = script.commits(7, 10);
    assert_eq!((last.length, last.finish), (None, false));
}

#[test]
fn it_is_made_known_without_a_byte_too() {
    let mut script = Script::start(&Sent::patch(3, Framing::Length(0)).with("Upload-Length", 20));
    script.load(&record(3, None));
    script.acquire();
    script.load(&record(3, None));
    let commit = script.commits(3, 3);
    assert_eq!((commit.length, commit.finish), (Some(20), false));
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("3"));
    // By one that brings nothing but its end.
    let sent = Sent::patch(3, Framing::Chunked).with("Upload-Length", 20);
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(3, None));
    script.body_ends(grant, 0);
    assert_eq!(script.commits(3, 3).length, Some(20));
    // And by one that was cut short.
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(3, None));
    script.body_is_cut(grant, 0, Cut::PeerGone);
    assert_eq!(script.commits(3, 3).length, Some(20));
}

#[test]
fn the_length_that_is_there_already_completes_the_upload() {
    let mut script = Script::start(&Sent::patch(3, Framing::Length(0)).with("Upload-Length", 3));
    script.load(&record(3, None));
    script.acquire();
    script.load(&record(3, None));
    let commit = script.commits(3, 3);
    assert_eq!((commit.length, commit.finish), (Some(3), true));
    script.release();
    assert_eq!(script.responds().status(), 204);
    assert_eq!(script.events, [Event::Finished]);
}

#[test]
fn one_that_contradicts_is_refused() {
    let patch =
        |offset, body, length: u64| Sent::patch(offset, Framing::Length(body)).with("Upload-Length", length);
    let code = "ERR_INVALID_UPLOAD_LENGTH";
    refused(Config::default(), &patch(3, 0, 2), &record(3, None), 400, code);
    refused(Config::default(), &patch(3, 5, 7), &record(3, None), 400, code);
    refused(Config::default(), &patch(3, 5, 11), &record(3, 10), 400, code);
    refused(Config::default(), &patch(3, 0, 9), &record(3, 10), 400, code);
    let config = Config::builder().max_size(10).build().unwrap();
    refused(config, &patch(3, 5, 11), &record(3, None), 413, "ERR_MAX_SIZE_EXCEEDED");
    let sent = Sent::patch(3, Framing::Chunked).with("Upload-Length", 2);
    refused(Config::default(), &sent, &record(3, None), 400, code);
}

#[test]
fn the_same_length_again_is_accepted() {
    let sent = Sent::patch(3, Framing::Length(7)).with("Upload-Length", 10);
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(3, 10));
    script.body_ends(grant, 7);
    let commit = script.commits(3, 10);
    assert_eq!((commit.length, commit.finish), (None, true));
}

#[test]
fn without_it_bytes_are_welcome_up_to_max_size() {
    let config = Config::builder().max_size(100).build().unwrap();
    let (mut script, grant) = Script::receiving(config, &Sent::patch(3, Framing::Chunked), &record(3, None));
    assert_eq!(grant.max, 97);
    script.body_ends(grant, 97);
    let commit = script.commits(3, 100);
    assert_eq!((commit.length, commit.finish), (None, false));
}

#[test]
fn a_body_past_the_length_it_came_with_finishes_the_upload_and_is_refused() {
    let sent = Sent::patch(3, Framing::Chunked).with("Upload-Length", 10);
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(3, None));
    script.appended(grant, 7, AppendEnd::Overflow);
    let commit = script.commits(3, 10);
    assert_eq!((commit.length, commit.finish), (Some(10), true));
    script.release();
    script.refuses(413, "ERR_UPLOAD_SIZE_EXCEEDED");
}

#[test]
fn nobody_who_gives_way_or_lost_its_lock_makes_it_known() {
    let sent = Sent::patch(3, Framing::Chunked).with("Upload-Length", 20);
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(3, None));
    script.input(Input::Yield(Some(3)));
    script.stop();
    script.appended(grant, 0, AppendEnd::Stopped);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(3, None));
    script.input(Input::Cancel(Cancel::LockLost));
    script.stop();
    script.appended(grant, 2, AppendEnd::Stopped);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_failed_commit_made_nothing_known() {
    let mut script = Script::start(&Sent::patch(3, Framing::Length(0)).with("Upload-Length", 20));
    script.load(&record(3, None));
    script.acquire();
    script.load(&record(3, None));
    let commit = script.commit();
    script.stored(commit.op, Completion::Conflict { offset: 5 });
    script.release();
    assert_eq!(script.refuses(409, "ERR_MISMATCHED_OFFSET").header("Upload-Offset"), Some("5"));
}

#[test]
fn a_length_of_max_size_itself_is_welcome() {
    let config = Config::builder().max_size(10).build().unwrap();
    let sent = Sent::patch(3, Framing::Length(5)).with("Upload-Length", 10);
    let (_, grant) = Script::receiving(config, &sent, &record(3, None));
    assert_eq!(grant.max, 7);
}
