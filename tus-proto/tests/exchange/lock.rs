//! The lock: waited for, renewed at a third of its time to live, released once and before the answer.

use std::time::Duration;

use tus_proto::{
    AppendEnd, Completion, Config, Fence, Framing, Input, LockCall, LockReply, OpId, Output, Reason,
};

use super::script::{FENCE, Grant, Script, Sent, id, record};

const TTL: Duration = Duration::from_secs(60);

fn receiving() -> (Script, Grant) {
    let sent = Sent::patch(3, Framing::Length(400));
    Script::receiving(Config::default(), &sent, &record(3, 1000))
}

/// The call that renews, when its time has come.
#[track_caller]
fn renewal(script: &mut Script) -> OpId {
    assert_eq!(script.wait(), Reason::Renew);
    let (op, call) = script.lock();
    assert_eq!(call, LockCall::Renew { key: id(), ttl: TTL });
    op
}

#[test]
fn it_is_asked_for_with_the_configured_times() {
    let wait = Duration::from_millis(1500);
    let config = Config::builder().lock_wait(wait).lock_ttl(TTL / 2).build().unwrap();
    let mut script = Script::start_with(config, &Sent::patch(3, Framing::Length(4)));
    script.load(&record(3, 10));
    let acquire = LockCall::Acquire { key: id(), offset: Some(3), wait, ttl: TTL / 2, preempt: true };
    assert_eq!(script.lock().1, acquire);
}

#[test]
fn a_lock_not_to_be_had_is_a_423_and_one_out_of_reach_a_500() {
    for (reply, status, code) in [
        (LockReply::TimedOut, 423, "ERR_UPLOAD_LOCKED"),
        (LockReply::Unavailable, 500, "ERR_INTERNAL_SERVER_ERROR"),
    ] {
        let mut script = Script::start(&Sent::patch(3, Framing::Length(4)));
        script.load(&record(3, 10));
        let (op, _) = script.lock();
        script.replied(op, reply);
        script.release();
        assert_eq!(script.refuses(status, code).header("Upload-Offset"), None);
    }
}

#[test]
fn it_is_renewed_at_a_third_of_its_time_to_live_for_as_long_as_it_is_held() {
    let (mut script, _) = receiving();
    for _ in 0..3 {
        assert_eq!(script.deadline(), Some((TTL / 3, Reason::Renew)));
        let op = renewal(&mut script);
        assert_eq!(script.deadline(), None);
        script.replied(op, LockReply::Renewed);
        script.idle();
    }
}

#[test]
fn a_renewal_that_does_not_get_through_is_tried_again_until_the_grant_has_run_out() {
    let (mut script, grant) = receiving();
    let mut left = TTL;
    let mut tries = 0;
    loop {
        left -= script.deadline().unwrap().0;
        let op = renewal(&mut script);
        tries += 1;
        script.replied(op, LockReply::Unavailable);
        if script.deadline().is_none_or(|(time, _)| time > TTL) {
            break;
        }
        assert_eq!(script.deadline(), Some((TTL / 6, Reason::Renew)));
        script.idle();
    }
    assert_eq!((tries, left), (4, TTL / 6));
    script.stop();
    script.appended(grant, 40, AppendEnd::Stopped);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_lock_service_that_comes_back_in_time_is_enough() {
    let (mut script, _) = receiving();
    let op = renewal(&mut script);
    script.replied(op, LockReply::Unavailable);
    let op = renewal(&mut script);
    script.replied(op, LockReply::Renewed);
    assert_eq!(script.deadline(), Some((TTL / 3, Reason::Renew)));
    script.idle();
}

#[test]
fn a_lost_renewal_commits_nothing_more() {
    let (mut script, grant) = receiving();
    let op = renewal(&mut script);
    script.staged(grant, 40);
    script.replied(op, LockReply::Lost);
    script.stop();
    script.appended(grant, 50, AppendEnd::Stopped);
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_renewal_lost_before_the_body_begins_opens_no_append() {
    let mut script = Script::start(&Sent::patch(3, Framing::Length(400)));
    script.load(&record(3, 1000));
    script.acquire();
    let Some(Output::Store(load, _)) = script.next() else { panic!("a Load should come") };
    let op = renewal(&mut script);
    script.replied(op, LockReply::Lost);
    script.stored(load, Completion::Loaded(record(3, 1000)));
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn the_release_waits_for_every_command_and_the_answer_for_the_release() {
    let config = Config::builder().checkpoint_bytes(10).build().unwrap();
    let sent = Sent::patch(3, Framing::Length(400));
    let (mut script, grant) = Script::receiving(config, &sent, &record(3, 1000));
    script.staged(grant, 10);
    let checkpoint = script.commit();
    script.body_ends(grant, 400);
    script.idle();
    script.stored(checkpoint.op, Completion::Committed { offset: 13 });
    let last = script.commit();
    script.idle();
    script.stored(last.op, Completion::Committed { offset: 403 });
    // `release` looks that nothing follows before it is answered.
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn an_answer_to_a_renewal_that_comes_after_the_release_changes_nothing() {
    let (mut script, grant) = receiving();
    let renew = renewal(&mut script);
    script.body_ends(grant, 400);
    script.commits(3, 403);
    let (release, _) = script.lock();
    script.replied(renew, LockReply::Lost);
    script.idle();
    script.replied(release, LockReply::Released);
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn after_the_end_nothing_is_answered_any_more() {
    let (mut script, grant) = receiving();
    script.body_ends(grant, 400);
    script.commits(3, 403);
    script.release();
    script.responds();
    script.staged(grant, 1);
    script.body_ends(grant, 1);
    script.input(Input::Checkpoint);
    script.input(Input::Yield(None));
    script.input(Input::Timeout);
    script.input(Input::Cancel(tus_proto::Cancel::LockLost));
    script.idle();
    assert_eq!(script.deadline(), None);
}

#[test]
fn each_renewal_counts_from_its_own_time() {
    let (mut script, _) = receiving();
    for _ in 0..3 {
        let op = renewal(&mut script);
        script.replied(op, LockReply::Renewed);
    }
    // The last one gave a whole time to live again, whatever went before.
    for _ in 0..3 {
        let op = renewal(&mut script);
        script.replied(op, LockReply::Unavailable);
        script.idle();
    }
}

#[test]
fn the_sooner_of_two_deadlines_comes_first() {
    let interval = TTL / 2;
    let config = Config::builder().checkpoint_interval(interval).build().unwrap();
    let sent = Sent::patch(3, Framing::Length(400));
    let (mut script, grant) = Script::receiving(config, &sent, &record(3, 1000));
    script.staged(grant, 1);
    let op = renewal(&mut script);
    script.replied(op, LockReply::Renewed);
    assert_eq!(script.wait(), Reason::Checkpoint);
    script.commits(3, 4);
}

#[test]
fn only_the_call_itself_can_be_answered() {
    let mut script = Script::start(&Sent::patch(3, Framing::Length(4)));
    let (load, _) = script.store();
    script.stored(load, Completion::Loaded(record(3, 10)));
    let (acquire, _) = script.lock();
    for op in [load, foreign()] {
        script.replied(op, LockReply::Granted { fence: Fence(1), rotate: false });
        script.stored(op, Completion::Loaded(record(3, 10)));
        script.stored(acquire, Completion::Loaded(record(3, 10)));
        script.idle();
    }
    script.replied(acquire, LockReply::Granted { fence: FENCE, rotate: false });
    script.load(&record(3, 10));
    script.append();
}

/// An operation of another exchange, which has come further.
fn foreign() -> OpId {
    let (mut script, grant) = receiving();
    script.body_ends(grant, 1);
    script.commit().op
}
