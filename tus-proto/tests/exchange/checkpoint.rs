//! Commits beside an open Append: by bytes, by time, and when a HEAD asks.

use std::time::Duration;

use tus_proto::{Completion, Config, Event, Framing, Input, Reason};

use super::script::{Grant, Script, Sent, record};

const INTERVAL: Duration = Duration::from_secs(2);

/// A body that is committed every 100 bytes or 2 seconds.
fn receiving() -> (Script, Grant) {
    let config = Config::builder().checkpoint_bytes(100).checkpoint_interval(INTERVAL).build().unwrap();
    Script::receiving(config, &Sent::patch(50, Framing::Length(900)), &record(50, 1000))
}

#[test]
fn enough_new_bytes_are_committed_while_more_come() {
    let (mut script, grant) = receiving();
    script.staged(grant, 99);
    script.idle();
    script.staged(grant, 100);
    script.commits(50, 150);
    script.staged(grant, 199);
    script.idle();
    script.staged(grant, 230);
    assert!(!script.commits(150, 280).finish);
    script.idle();
    assert_eq!(script.events, [Event::Received(100), Event::Received(130)]);
    script.body_ends(grant, 900);
    script.commits(280, 950);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("950"));
}

#[test]
fn the_clock_starts_at_the_first_uncommitted_byte() {
    let (mut script, grant) = receiving();
    assert_ne!(script.deadline().unwrap().1, Reason::Checkpoint);
    script.pass(Duration::from_secs(5));
    script.staged(grant, 1);
    script.pass(Duration::from_millis(500));
    script.staged(grant, 2);
    assert_eq!(script.deadline(), Some((INTERVAL - Duration::from_millis(500), Reason::Checkpoint)));
    script.input(Input::Timeout);
    script.idle();
    assert_eq!(script.wait(), Reason::Checkpoint);
    script.commits(50, 52);
    // Nothing new has come since.
    assert_ne!(script.deadline().unwrap().1, Reason::Checkpoint);
    script.staged(grant, 3);
    assert_eq!(script.deadline(), Some((INTERVAL, Reason::Checkpoint)));
}

#[test]
fn one_commit_at_a_time() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let first = script.commit();
    script.staged(grant, 500);
    script.pass(INTERVAL * 3);
    script.input(Input::Timeout);
    script.idle();
    script.stored(first.op, Completion::Committed { offset: 150 });
    script.commits(150, 550);
}

#[test]
fn a_head_is_answered_when_what_was_staged_is_committed() {
    let (mut script, grant) = receiving();
    script.staged(grant, 10);
    script.input(Input::Checkpoint);
    let commit = script.commit();
    assert_eq!((commit.from, commit.to), (50, 60));
    script.idle();
    script.stored(commit.op, Completion::Committed { offset: 60 });
    script.checkpointed();
    script.idle();
}

#[test]
fn a_head_that_finds_nothing_new_is_answered_at_once() {
    let (mut script, _) = receiving();
    script.input(Input::Checkpoint);
    script.checkpointed();
    script.idle();
}

#[test]
fn a_head_that_comes_while_a_commit_is_under_way_gets_one_of_its_own() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let first = script.commit();
    script.staged(grant, 130);
    script.input(Input::Checkpoint);
    script.idle();
    script.stored(first.op, Completion::Committed { offset: 150 });
    // Those 30 bytes were there when the HEAD came.
    let second = script.commit();
    assert_eq!((second.from, second.to), (150, 180));
    script.idle();
    script.stored(second.op, Completion::Committed { offset: 180 });
    script.checkpointed();
}

#[test]
fn a_head_under_way_does_not_hide_the_next() {
    let (mut script, grant) = receiving();
    script.staged(grant, 10);
    script.input(Input::Checkpoint);
    let first = script.commit();
    script.staged(grant, 20);
    script.input(Input::Checkpoint);
    script.stored(first.op, Completion::Committed { offset: 60 });
    script.checkpointed();
    script.commits(60, 70);
    script.checkpointed();
    script.idle();
}

#[test]
fn a_head_at_the_end_of_the_body_is_answered_by_its_last_commit() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let first = script.commit();
    script.input(Input::Checkpoint);
    script.body_ends(grant, 900);
    script.idle();
    script.stored(first.op, Completion::Committed { offset: 150 });
    script.commits(150, 950);
    script.checkpointed();
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn a_head_beside_a_writer_without_a_body_yet_is_answered_at_once() {
    let mut script = Script::start(&Sent::patch(0, Framing::Length(4)));
    script.load(&record(0, 4));
    script.acquire();
    let (_, load) = script.store();
    assert!(matches!(load, tus_proto::Command::Load { .. }));
    script.input(Input::Checkpoint);
    script.checkpointed();
    script.idle();
}

#[test]
fn all_bytes_staged_finish_the_upload_even_before_the_body_ends() {
    let config = Config::builder().checkpoint_bytes(4).build().unwrap();
    let sent = Sent::patch(0, Framing::Chunked);
    let (mut script, grant) = Script::receiving(config, &sent, &record(0, 4));
    script.staged(grant, 4);
    assert!(script.commits(0, 4).finish);
    script.body_ends(grant, 4);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("4"));
    assert_eq!(script.events, [Event::Received(4), Event::Finished]);
}

#[test]
fn what_a_stale_append_stages_counts_for_nothing() {
    let (mut script, grant) = receiving();
    // An operation of this script that is not its Append.
    script.input(Input::Checkpoint);
    let (op, _) = script.lock();
    script.staged(Grant { op, ..grant }, 500);
    script.idle();
    assert_eq!(script.events, [Event::Stale]);
    script.body_ends(grant, 10);
    script.staged(grant, 800);
    script.commits(50, 60);
}

#[test]
fn what_came_during_a_commit_is_due_an_interval_after_it() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let commit = script.commit();
    script.staged(grant, 120);
    script.pass(INTERVAL);
    script.stored(commit.op, Completion::Committed { offset: 150 });
    assert_eq!(script.deadline(), Some((INTERVAL, Reason::Checkpoint)));
    script.wait();
    script.commits(150, 170);
}

/// A store that lags behind an open body is asked again for the rest. Only what it says of a body that had ended counts.
#[test]
fn a_lower_offset_beside_the_body_is_not_its_end() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let checkpoint = script.commit();
    script.body_ends(grant, 100);
    script.stored(checkpoint.op, Completion::Committed { offset: 120 });
    let last = script.commit();
    assert_eq!((last.from, last.to), (120, 150));
    script.stored(last.op, Completion::Committed { offset: 130 });
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("130"));
}
