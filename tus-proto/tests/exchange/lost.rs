//! An upload whose bytes are not in the store any more: 410 for every method but DELETE, which removes it.

use tus_proto::{Command, Completion, Config, Event, Framing, LockReply};

use super::script::{Script, Sent, id, record};

fn lost() -> Completion {
    Completion::Lost(record(3, 10))
}

#[test]
fn a_patch_is_refused_before_it_asks_for_the_lock() {
    for offset in [0, 3] {
        let mut script = Script::start(&Sent::patch(offset, Framing::Length(4)));
        let (op, _) = script.store();
        script.stored(op, lost());
        script.refuses(410, "ERR_UPLOAD_GONE");
    }
}

#[test]
fn a_patch_that_notices_it_is_refused_too() {
    let (mut script, grant) =
        Script::receiving(Config::default(), &Sent::patch(3, Framing::Length(4)), &record(3, 10));
    script.stored(grant.op, lost());
    script.release();
    script.refuses(410, "ERR_UPLOAD_GONE");
}

#[test]
fn a_head_is_told_without_a_body_in_both_dialects() {
    let ietf = Sent::bare("HEAD", "/files/upload").with("Upload-Draft-Interop-Version", 9);
    for sent in [Sent::head(), ietf] {
        let mut script = Script::start(&sent);
        let (op, _) = script.lock();
        script.replied(op, LockReply::Checkpointed);
        let (op, _) = script.store();
        script.stored(op, lost());
        let response = script.responds();
        assert_eq!((response.status(), response.body()), (410, ""));
        assert_eq!(response.header("Upload-Offset"), None);
    }
}

#[test]
fn a_final_of_it_is_refused() {
    let sent = Sent::post().with("Upload-Concat", "final;/files/upload");
    let config = Config::builder().concatenation_unfinished(false).build().unwrap();
    let mut script = Script::start_with(config, &sent);
    let (op, command) = script.store();
    assert_eq!(command, Command::Load { id: id() });
    script.stored(op, lost());
    script.refuses(400, "ERR_INVALID_CONCAT");
}

#[test]
fn it_can_be_deleted() {
    let mut script = Script::start(&Sent::delete());
    let (op, _) = script.store();
    script.stored(op, lost());
    script.acquire();
    script.deletes();
    assert_eq!(script.responds().status(), 204);
    assert_eq!(script.events, [Event::Terminated]);
}
