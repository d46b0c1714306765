//! A body that is cut short: what arrived is committed, then the lock goes, then the answer comes, where
//! somebody is left to read it. Only a lost lock commits nothing more.

use std::time::Duration;

use tus_proto::{
    Abort, AppendEnd, Completion, Config, Connection, Event, Framing, Input, LockCall, LockReply,
};

use super::script::{Grant, Script, Sent, id, record};

const ALL: [(Abort, Option<(u16, &str)>); 5] = [
    (Abort::PeerGone, None),
    (Abort::HalfClosed, Some((400, "ERR_UNEXPECTED_EOF"))),
    (Abort::TooSlow, Some((500, "ERR_READ_TIMEOUT"))),
    (Abort::BadFraming, Some((400, "ERR_BAD_REQUEST"))),
    (Abort::Shutdown, Some((503, "ERR_SERVER_SHUTDOWN"))),
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
    for (abort, answer) in ALL {
        let (mut script, grant) = receiving();
        script.body_is_cut(grant, 40, abort);
        script.commits(3, 43);
        script.release();
        answered(&mut script, answer);
        assert_eq!(script.events, [Event::Received(40)], "{abort:?}");
    }
}

#[test]
fn nothing_arrived_and_nothing_is_committed() {
    for (abort, answer) in ALL {
        let (mut script, grant) = receiving();
        script.body_is_cut(grant, 0, abort);
        script.release();
        answered(&mut script, answer);
    }
}

#[test]
fn a_commit_under_way_is_waited_for_and_the_rest_committed_behind_it() {
    for (abort, answer) in ALL {
        let (mut script, grant) = receiving();
        script.staged(grant, 100);
        let first = script.commit();
        script.body_is_cut(grant, 150, abort);
        script.idle();
        script.stored(first.op, Completion::Committed { offset: 103 });
        script.commits(103, 153);
        script.release();
        answered(&mut script, answer);
    }
}

#[test]
fn an_abort_that_comes_while_the_append_is_open_stops_it_first() {
    let (mut script, grant) = receiving();
    script.staged(grant, 10);
    script.input(Input::Abort(Abort::Shutdown));
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
    script.input(Input::Abort(Abort::Shutdown));
    script.stored(commit.op, Completion::Committed { offset: 403 });
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("403"));
}

#[test]
fn a_lost_lock_commits_nothing_more() {
    let (mut script, grant) = receiving();
    script.staged(grant, 40);
    script.input(Input::Abort(Abort::LockLost));
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
    script.input(Input::Abort(Abort::LockLost));
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
    script.input(Input::Abort(Abort::LockLost));
    script.stop();
    script.appended(grant, 200, AppendEnd::Stopped);
    script.idle();
    script.stored(first.op, Completion::Committed { offset: 103 });
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_commit_refused_because_the_lock_is_lost_is_answered_as_that() {
    let (mut script, grant) = receiving();
    script.staged(grant, 100);
    let commit = script.commit();
    script.input(Input::Abort(Abort::LockLost));
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
    script.input(Input::Abort(Abort::LockLost));
    script.load(&record(3, 1000));
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn an_abort_before_the_body_begins_ends_the_request_where_it_is() {
    for (abort, answer) in ALL {
        let mut script = Script::start(&Sent::patch(3, Framing::Length(400)));
        script.input(Input::Abort(abort));
        script.load(&record(3, 1000));
        answered(&mut script, answer);
        let mut script = Script::start(&Sent::patch(3, Framing::Length(400)));
        script.load(&record(3, 1000));
        script.acquire();
        script.input(Input::Abort(abort));
        script.load(&record(3, 1000));
        script.release();
        answered(&mut script, answer);
    }
}

#[test]
fn an_abort_while_the_lock_is_waited_for_gives_the_place_in_the_queue_back() {
    for (abort, answer) in ALL {
        let mut script = Script::start(&Sent::patch(3, Framing::Length(400)));
        script.load(&record(3, 1000));
        let (acquire, _) = script.lock();
        script.input(Input::Abort(abort));
        let (release, call) = script.lock();
        assert_eq!(call, LockCall::Release { key: id() });
        // The grant may have been on its way already: the release frees that, too.
        script.replied(acquire, LockReply::Granted { fence: super::script::FENCE, fresh: false });
        script.idle();
        script.replied(release, LockReply::Released);
        answered(&mut script, answer);
    }
}

#[test]
fn a_second_abort_changes_nothing() {
    let (mut script, grant) = receiving();
    script.body_is_cut(grant, 40, Abort::HalfClosed);
    let commit = script.commit();
    script.input(Input::Abort(Abort::Shutdown));
    script.stored(commit.op, Completion::Committed { offset: 43 });
    script.release();
    script.refuses(400, "ERR_UNEXPECTED_EOF");
}
