//! A body that is cut short: what arrived is committed, then the lock goes, then the answer comes, where
//! somebody is left to read it. Only a lost lock commits nothing more.

use std::time::Duration;

use tus_proto::{
    AppendEnd, Cancel, Completion, Config, Connection, Cut, Event, Failure, Framing, Input, LockCall,
    LockReply, Trailers,
};

use super::script::{Early, Grant, Script, Sent, id, record};

const ALL: [(Early, Option<(u16, &str)>); 5] = [
    (Early::Cut(Cut::PeerGone), None),
    (Early::Cut(Cut::HalfClosed), Some((400, "ERR_UNEXPECTED_EOF"))),
    (Early::Cut(Cut::TooSlow), Some((500, "ERR_READ_TIMEOUT"))),
    (Early::Cut(Cut::BadFraming), Some((400, "ERR_BAD_REQUEST"))),
    (Early::Cancelled(Cancel::Shutdown), Some((503, "ERR_SERVER_SHUTDOWN"))),
];

const CANCELS: [(Cancel, Option<(u16, &str)>); 2] = [
    (Cancel::LockLost, Some((400, "ERR_UPLOAD_INTERRUPTED"))),
    (Cancel::Shutdown, Some((503, "ERR_SERVER_SHUTDOWN"))),
];

fn receiving() -> (Script, Grant) {
    let config = Config::builder().checkpoint_bytes(100).build().unwrap();
    Script::receiving(config, &Sent::patch(3, Framing::Length(400)), &record(3, 1000))
}

#[track_caller]
fn answered(script: &mut Script, answer: Option<(u16, &str)>) {
    match answer {
        Some((status, code)) => {
            let response = script.refuses(status, code);
            assert_eq!(response.connection, Connection::Close);
            assert_eq!(response.header("Upload-Offset"), None);
        }
        None => script.ends(),
    }
}

#[test]
fn what_arrived_is_committed() {
    for (early, answer) in ALL {
        let (mut script, grant) = receiving();
        script.body_ends_early(grant, 40, early);
        script.commits(3, 43);
        script.release();
        answered(&mut script, answer);
        assert_eq!(script.events, [Event::Received(40)], "{early:?}");
    }
}

#[test]
fn nothing_arrived_and_nothing_is_committed() {
    for (early, answer) in ALL {
        let (mut script, grant) = receiving();
        script.body_ends_early(grant, 0, early);
        script.release();
        answered(&mut script, answer);
    }
}

#[test]
fn a_commit_under_way_is_waited_for_and_the_rest_committed_behind_it() {
    for (early, answer) in ALL {
        let (mut script, grant) = receiving();
        script.staged(grant, 100);
        let first = script.commit();
        script.body_ends_early(grant, 150, early);
        script.idle();
        script.stored(first.op, Completion::Committed { offset: 103 });
        script.commits(103, 153);
        script.release();
        answered(&mut script, answer);
    }
}

#[test]
fn a_cancel_stops_the_open_append_first() {
    let (mut script, grant) = receiving();
    script.staged(grant, 10);
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stop();
    script.idle();
    script.appended(grant, 12, AppendEnd::Stopped);
    script.commits(3, 15);
    script.release();
    script.refuses(503, "ERR_SERVER_SHUTDOWN");
}

#[test]
fn a_body_that_was_complete_is_answered_as_that() {
    let (mut script, grant) = receiving();
    script.body_ends(grant, 400);
    let commit = script.commit();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stored(commit.op, Completion::Committed { offset: 403 });
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("403"));
}

#[test]
fn a_lost_lock_commits_nothing_more() {
    let (mut script, grant) = receiving();
    script.staged(grant, 40);
    script.input(Input::Cancel(Cancel::LockLost));
    script.stop();
    // Neither bytes, nor time, nor a HEAD bring a commit now.
    script.staged(grant, 300);
    script.input(Input::Checkpoint);
    script.pass(Duration::from_secs(10));
    script.input(Input::Timeout);
    while let Some(output) = script.next() {
        assert!(
            matches!(
                output,
                tus_proto::Output::Lock(_, LockCall::Renew { .. } | LockCall::Checkpointed { .. })
            ),
            "{output:?}"
        );
    }
    script.appended(grant, 300, AppendEnd::Stopped);
    script.release();
    answered(&mut script, Some((400, "ERR_UPLOAD_INTERRUPTED")));
}

#[test]
fn a_lock_lost_at_the_very_moment_of_a_checkpoint_wins() {
    let (mut script, grant) = receiving();
    script.staged(grant, 40);
    script.pass(Duration::from_secs(10));
    script.input(Input::Cancel(Cancel::LockLost));
    script.stop();
    script.idle();
    script.appended(grant, 40, AppendEnd::Stopped);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_lock_lost_beside_a_commit_waits_for_it_and_sends_no_other() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let first = script.commit();
    script.input(Input::Cancel(Cancel::LockLost));
    script.stop();
    script.appended(grant, 200, AppendEnd::Stopped);
    script.idle();
    script.stored(first.op, Completion::Committed { offset: 103 });
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_lost_lock_takes_back_a_commit_that_was_not_handed_out_yet() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    script.input(Input::Yield(Some(3)));
    script.input(Input::Cancel(Cancel::LockLost));
    script.stop();
    script.idle();
    script.appended(grant, 100, AppendEnd::Stopped);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
    // A HEAD that waited for it is told what is committed without it.
    let (mut script, grant) = receiving();
    script.staged(grant, 40);
    script.input(Input::Checkpoint);
    script.input(Input::Cancel(Cancel::LockLost));
    script.stop();
    script.checkpointed();
    script.idle();
    script.appended(grant, 40, AppendEnd::Stopped);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_commit_refused_because_the_lock_is_lost_is_answered_as_that() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let commit = script.commit();
    script.input(Input::Cancel(Cancel::LockLost));
    script.stop();
    script.stored(commit.op, Completion::Conflict { offset: 500 });
    script.appended(grant, 200, AppendEnd::Stopped);
    script.release();
    answered(&mut script, Some((400, "ERR_UPLOAD_INTERRUPTED")));
}

#[test]
fn a_lock_lost_before_the_body_begins_opens_no_append() {
    let mut script = Script::start(&Sent::patch(3, Framing::Length(400)));
    script.load(&record(3, 1000));
    script.acquire();
    script.input(Input::Cancel(Cancel::LockLost));
    script.load(&record(3, 1000));
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_lost_lock_says_more_than_a_shutdown_before_it() {
    // A length that is declared without a body is written, too.
    let mut script = Script::start(&Sent::patch(3, Framing::Length(0)).with("Upload-Length", 1000));
    script.load(&record(3, None));
    script.acquire();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.input(Input::Cancel(Cancel::LockLost));
    script.load(&record(3, None));
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_cancel_before_the_body_begins_ends_the_request_where_it_is() {
    for (cancel, answer) in CANCELS {
        let mut script = Script::start(&Sent::patch(3, Framing::Length(400)));
        script.input(Input::Cancel(cancel));
        script.load(&record(3, 1000));
        answered(&mut script, answer);
        let mut script = Script::start(&Sent::patch(3, Framing::Length(400)));
        script.load(&record(3, 1000));
        script.acquire();
        script.input(Input::Cancel(cancel));
        script.load(&record(3, 1000));
        script.release();
        answered(&mut script, answer);
    }
}

#[test]
fn a_cancel_while_the_lock_is_waited_for_gives_the_place_in_the_queue_back() {
    for (cancel, answer) in CANCELS {
        let mut script = Script::start(&Sent::patch(3, Framing::Length(400)));
        script.load(&record(3, 1000));
        let (acquire, _) = script.lock();
        script.input(Input::Cancel(cancel));
        let (release, call) = script.lock();
        assert_eq!(call, LockCall::Release { key: id() });
        // The grant may have been on its way already: the release frees that, too.
        script.replied(acquire, LockReply::Granted { fence: super::script::FENCE, rotate: false });
        script.idle();
        script.replied(release, LockReply::Released);
        answered(&mut script, answer);
    }
}

#[test]
fn a_cancel_after_the_body_was_cut_changes_nothing() {
    let (mut script, grant) = receiving();
    script.body_is_cut(grant, 40, Cut::HalfClosed);
    let commit = script.commit();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stored(commit.op, Completion::Committed { offset: 43 });
    script.release();
    script.refuses(400, "ERR_UNEXPECTED_EOF");
}

#[test]
fn a_second_cancel_changes_nothing_unless_the_lock_is_lost() {
    let (mut script, grant) = receiving();
    script.staged(grant, 40);
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stop();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.idle();
    script.input(Input::Cancel(Cancel::LockLost));
    script.idle();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.appended(grant, 40, AppendEnd::Stopped);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

/// The Append ends in whatever way it does although it was told to stop.
fn ends_after(cancel: Cancel, end: AppendEnd) -> Script {
    let (mut script, grant) = receiving();
    script.staged(grant, 40);
    script.input(Input::Cancel(cancel));
    script.stop();
    let total = if let AppendEnd::Complete(_) = end { 400 } else { 40 };
    script.appended(grant, total, end);
    script
}

#[test]
fn a_body_that_is_complete_when_a_shutdown_comes_is_answered_as_that() {
    let mut script = ends_after(Cancel::Shutdown, AppendEnd::Complete(Trailers::default()));
    script.commits(3, 403);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("403"));
}

#[test]
fn a_body_that_is_cut_while_a_shutdown_stops_it_is_answered_as_that() {
    let mut script = ends_after(Cancel::Shutdown, AppendEnd::Cut(Cut::HalfClosed));
    script.commits(3, 43);
    script.release();
    script.refuses(400, "ERR_UNEXPECTED_EOF");
}

#[test]
fn however_the_append_ends_a_lost_lock_commits_nothing() {
    for end in [
        AppendEnd::Complete(Trailers::default()),
        AppendEnd::Cut(Cut::PeerGone),
        AppendEnd::Overflow,
        AppendEnd::Stopped,
        AppendEnd::Failed(Failure::NoSpace),
    ] {
        let mut script = ends_after(Cancel::LockLost, end);
        script.release();
        script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
    }
}

#[test]
fn a_lock_lost_before_a_request_without_bytes_makes_no_length_known() {
    let mut script = Script::start(&Sent::patch(3, Framing::Length(0)).with("Upload-Length", 20));
    script.load(&record(3, None));
    script.acquire();
    script.input(Input::Cancel(Cancel::LockLost));
    script.load(&record(3, None));
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_request_without_bytes_is_complete_when_a_shutdown_comes() {
    let mut script = Script::start(&Sent::patch(3, Framing::Length(0)).with("Upload-Length", 20));
    script.load(&record(3, None));
    script.acquire();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.load(&record(3, None));
    script.commits(3, 3);
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn an_append_that_stops_unasked_is_answered_as_a_shutdown() {
    let (mut script, grant) = receiving();
    script.appended(grant, 40, AppendEnd::Stopped);
    script.commits(3, 43);
    script.release();
    script.refuses(503, "ERR_SERVER_SHUTDOWN");
}
