//! A newcomer wants the lock. Where it goes on from the committed offset, it sends the rest itself; else
//! what arrived is committed, and the newcomer is told.

use tus_proto::{AppendEnd, Cancel, Completion, Config, Event, Framing, Input, Trailers};

use super::script::{Grant, Script, Sent, record};

fn receiving() -> (Script, Grant) {
    let config = Config::builder().checkpoint_bytes(100).build().unwrap();
    Script::receiving(config, &Sent::patch(3, Framing::Length(400)), &record(3, 1000))
}

#[track_caller]
fn interrupted(script: &mut Script) {
    script.release();
    let response = script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
    assert_eq!(response.header("Upload-Offset"), None);
    assert!(script.events.contains(&Event::Yielded));
}

#[test]
fn to_one_who_starts_at_the_committed_offset_the_rest_is_left() {
    let (mut script, grant) = receiving();
    script.staged(grant, 20);
    script.input(Input::Yield(Some(3)));
    script.stop();
    script.idle();
    script.appended(grant, 40, AppendEnd::Stopped);
    script.discards();
    interrupted(&mut script);
    assert!(!script.events.iter().any(|event| matches!(event, Event::Received(_))));
}

#[test]
fn before_one_who_starts_elsewhere_or_does_not_write_what_arrived_is_committed() {
    for offset in [Some(4), Some(43), Some(500), None] {
        let (mut script, grant) = receiving();
        script.staged(grant, 20);
        script.input(Input::Yield(offset));
        script.stop();
        script.appended(grant, 40, AppendEnd::Stopped);
        script.commits(3, 43);
        interrupted(&mut script);
    }
}

#[test]
fn the_offset_is_compared_when_the_commit_under_way_is_done() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let commit = script.commit();
    script.input(Input::Yield(Some(3)));
    script.stop();
    script.appended(grant, 150, AppendEnd::Stopped);
    script.idle();
    script.stored(commit.op, Completion::Committed { offset: 103 });
    // The newcomer is behind now: it will be told 153.
    script.commits(103, 153);
    interrupted(&mut script);
}

#[test]
fn a_body_of_which_nothing_is_staged_has_nothing_to_forget() {
    let (mut script, grant) = receiving();
    script.input(Input::Yield(Some(3)));
    script.stop();
    script.appended(grant, 0, AppendEnd::Stopped);
    interrupted(&mut script);
}

#[test]
fn a_body_that_ended_all_the_same_is_committed_and_answered() {
    let (mut script, grant) = receiving();
    script.input(Input::Yield(Some(3)));
    script.stop();
    script.appended(grant, 400, AppendEnd::Complete(Trailers::default()));
    script.commits(3, 403);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("403"));
}

#[test]
fn only_one_stop_is_sent_however_many_wait() {
    let (mut script, grant) = receiving();
    script.input(Input::Yield(Some(3)));
    script.input(Input::Yield(None));
    script.stop();
    script.idle();
    script.appended(grant, 10, AppendEnd::Stopped);
    // The first of them comes next.
    script.discards();
    interrupted(&mut script);
}

#[test]
fn a_newcomer_before_the_body_begins_is_given_way_at_once() {
    let mut script = Script::start(&Sent::patch(3, Framing::Length(400)));
    script.load(&record(3, 1000));
    script.acquire();
    script.input(Input::Yield(Some(3)));
    script.load(&record(3, 1000));
    interrupted(&mut script);
}

#[test]
fn a_shutdown_once_the_writer_has_yielded_changes_nothing() {
    let (mut script, grant) = receiving();
    script.staged(grant, 20);
    script.input(Input::Yield(Some(3)));
    script.stop();
    script.appended(grant, 20, AppendEnd::Stopped);
    script.input(Input::Cancel(Cancel::Shutdown));
    script.discards();
    interrupted(&mut script);
}
