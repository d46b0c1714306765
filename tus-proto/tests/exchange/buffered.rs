//! POST with a small body: it is received into memory, and the upload is made together with it. Whatever becomes of the
//! body, the client is told what it would be told if the upload had been made first.

use std::time::Duration;

use tus_proto::{
    AppendEnd, Cancel, Command, Completion, Config, Cut, Event, Failure, Framing, Hasher, HookCall,
    HookReply, Input, LockCall, LockReply, OpId, Output, Record, Response, Subscriptions, Trailers, UploadId,
    WallTime,
};

use super::script::{FENCE, Script, Sent};

const HOUR: Duration = Duration::from_secs(3600);

/// A POST of an upload of `length` bytes, with so many of them.
fn post(length: u64, body: u64) -> Sent {
    Sent::post_with_upload(length, Framing::Length(body))
}

fn start(config: Config, sent: &Sent) -> Script {
    let mut script = Script::start_with(config, sent);
    script.reserves = true;
    script
}

/// The memory is there, and the body comes.
#[track_caller]
fn buffers(script: &mut Script) -> (OpId, u64) {
    let (op, command) = script.store();
    assert!(matches!(command, Command::Reserve { .. }), "{command:?}");
    script.stored(op, Completion::Reserved);
    assert_eq!(script.next(), Some(Output::Continue));
    let (op, command) = script.store();
    let Command::Buffer { max, .. } = command else { panic!("Buffer should come, not {command:?}") };
    script.idle();
    (op, max)
}

#[track_caller]
fn makes(script: &mut Script) -> (OpId, Record, u64) {
    let (op, command) = script.store();
    let Command::Create { record, first } = command else { panic!("Create should come, not {command:?}") };
    script.idle();
    (op, record, first)
}

fn ends(script: &mut Script, op: OpId, total: u64, end: AppendEnd) {
    script.stored(op, Completion::Appended { total, end, digest: None });
}

fn complete() -> AppendEnd {
    AppendEnd::Complete(Trailers::default())
}

#[test]
fn the_upload_is_made_once_with_its_body() {
    let mut script = start(Config::default(), &post(4, 4));
    let (op, max) = buffers(&mut script);
    assert_eq!(max, 4);
    script.input(Input::Staged(op, 4));
    script.idle();
    ends(&mut script, op, 4, complete());
    let (op, record, first) = makes(&mut script);
    assert_eq!((record.offset, record.length, first), (0, Some(4), 4));
    script.stored(op, Completion::Created);
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Offset")), (201, Some("4")));
    assert_eq!(response.header("Location"), Some(&*format!("/files/{}", record.id)));
    assert_eq!(script.events, [Event::Created, Event::Received(4), Event::Finished]);
}

#[test]
fn a_store_without_memory_for_it_makes_the_upload_first() {
    let mut script = start(Config::default(), &post(4, 4));
    let (op, command) = script.store();
    assert_eq!(command, Command::Reserve { bytes: 4 });
    script.stored(op, Completion::Declined);
    let (op, _, first) = makes(&mut script);
    assert_eq!(first, 0);
    script.stored(op, Completion::Created);
    script.acquire();
    let grant = script.append();
    script.body_ends(grant, 4);
    assert!(script.commits(0, 4).finish);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("4"));
}

#[test]
fn only_a_body_of_known_length_that_nobody_waits_for_is_buffered() {
    let hooks = |hooks| Config::builder().hooks(hooks).build().unwrap();
    let plain = Config::default;
    let ietf = Sent::bare("POST", "/files")
        .with("Upload-Draft-Interop-Version", 6)
        .with("Upload-Complete", "?1")
        .framed(Framing::Length(4));
    for (config, sent) in [
        (plain(), Sent::post_with_upload(4, Framing::Chunked)),
        (plain(), post(4, 4).with("Expect", "100-continue")),
        (plain(), Sent::post().with("Upload-Length", 4).framed(Framing::Length(4))),
        (plain(), Sent::post().with("Upload-Length", 4)),
        (plain(), ietf),
        (hooks(Subscriptions { chunk: true, ..Subscriptions::NONE }), post(4, 4)),
        (hooks(Subscriptions { progress: Some(HOUR), ..Subscriptions::NONE }), post(4, 4)),
    ] {
        let mut script = start(config, &sent);
        let (_, command) = script.store();
        assert!(matches!(command, Command::Create { first: 0, .. }), "{command:?}");
    }
}

#[test]
fn while_it_comes_there_is_no_lock_and_nothing_to_commit() {
    let config = Config::builder().checkpoint_bytes(1).upload_expiry(Some(HOUR)).build().unwrap();
    let mut script = start(config, &post(9, 9));
    let (op, _) = buffers(&mut script);
    script.input(Input::Staged(op, 5));
    assert_eq!(script.deadline(), None);
    script.pass(2 * HOUR);
    for input in [
        Input::Timeout,
        Input::Checkpoint,
        Input::Yield(None),
        Input::Yield(Some(0)),
        Input::Cancel(Cancel::LockLost),
    ] {
        script.input(input);
        script.idle();
    }
    ends(&mut script, op, 9, complete());
    let (op, ..) = makes(&mut script);
    script.input(Input::Cancel(Cancel::LockLost));
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stored(op, Completion::Created);
    assert_eq!(script.responds().status(), 201);
}

#[test]
fn a_store_that_makes_nothing_is_answered_without_a_location() {
    for (completion, status) in [
        (Completion::Failed(Failure::NoSpace), 507),
        (Completion::Failed(Failure::Io), 500),
        (Completion::Exists, 500),
    ] {
        for (end, total) in [(complete(), 4), (AppendEnd::Cut(Cut::HalfClosed), 2)] {
            let mut script = start(Config::default(), &post(4, 4));
            let (op, _) = buffers(&mut script);
            ends(&mut script, op, total, end);
            let (op, ..) = makes(&mut script);
            script.stored(op, completion.clone());
            let response = script.responds();
            assert_eq!((response.status(), response.header("Location")), (status, None));
            assert_eq!(script.events, []);
        }
        // Nobody is there to hear it.
        let mut script = start(Config::default(), &post(4, 4));
        let (op, _) = buffers(&mut script);
        ends(&mut script, op, 2, AppendEnd::Cut(Cut::PeerGone));
        let (op, ..) = makes(&mut script);
        script.stored(op, completion);
        script.ends();
    }
}

#[test]
fn a_request_that_must_end_before_its_body_begins_makes_the_upload_first() {
    let mut script = start(Config::default(), &post(4, 4));
    let (op, _) = script.store();
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stored(op, Completion::Reserved);
    let (op, record, first) = makes(&mut script);
    assert_eq!(first, 0);
    script.stored(op, Completion::Created);
    let response = script.refuses(503, "ERR_SERVER_SHUTDOWN");
    assert_eq!(response.header("Location"), Some(&*format!("/files/{}", record.id)));
}

#[test]
fn it_expires_as_if_it_was_written_to_when_it_is_made() {
    let made = |length, sent: fn(Sent) -> Sent| {
        let config = Config::builder().upload_expiry(Some(HOUR)).build().unwrap();
        let mut script = start(config, &sent(post(length, 4)));
        let (op, _) = buffers(&mut script);
        script.pass(HOUR / 2);
        ends(&mut script, op, 4, complete());
        makes(&mut script).1.expires
    };
    let then = Some(WallTime::default().after(HOUR / 2).after(HOUR));
    assert_eq!(made(9, |sent| sent), then);
    assert_eq!(made(4, |sent| sent), None);
    assert_eq!(made(4, |sent| sent.with("Upload-Concat", "partial")), then);
}

#[test]
fn a_finish_hook_sees_the_upload_as_it_is_then() {
    let hooks = Subscriptions { create: true, finish: true, ..Subscriptions::NONE };
    let config = Config::builder().hooks(hooks).upload_expiry(Some(HOUR)).build().unwrap();
    let mut script = start(config, &post(4, 4));
    let (op, _) = script.hook();
    let id = UploadId::new("theirs");
    script.decided(op, HookReply::Change { metadata: Some("a YQ==".into()), id: id.clone(), response: None });
    let (op, _) = buffers(&mut script);
    ends(&mut script, op, 4, complete());
    let (op, record, _) = makes(&mut script);
    assert_eq!((Some(record.id), record.metadata), (id.clone(), "a YQ==".into()));
    script.stored(op, Completion::Created);
    let (op, call) = script.hook();
    let HookCall::Finish { upload, .. } = call else { panic!("{call:?}") };
    assert_eq!((upload.offset, upload.expires, Some(upload.id)), (4, None, id));
    script.decided(op, HookReply::Proceed);
    assert_eq!(script.responds().status(), 201);
}

/// How a body ends: `Err` if its request must.
type End = Result<AppendEnd, Cancel>;

/// A store that does all it is asked for, and a body of `total` bytes that ends so. What is answered and counted, and
/// how many bytes the upload has in the end.
fn told(
    reserves: bool,
    config: &Config,
    sent: &Sent,
    total: u64,
    end: &End,
) -> (Option<Response>, Vec<Event>, u64) {
    let mut script = Script::start_with(config.clone(), sent);
    script.reserves = reserves;
    let (mut committed, mut response, mut append, mut changes) = (0, None, None, 0);
    loop {
        let Some(output) = script.next() else { panic!("nothing is wanted") };
        match output {
            Output::Lock(op, LockCall::Acquire { .. }) => {
                script.replied(op, LockReply::Granted { fence: FENCE, rotate: false });
            }
            Output::Lock(op, LockCall::Release { .. }) => script.replied(op, LockReply::Released),
            Output::Store(op, Command::Append { digest, .. } | Command::Buffer { digest, .. }) => {
                let appended = |end| {
                    let digest = digest.map(|algorithm| Hasher::new(algorithm).finish());
                    Completion::Appended { total, end, digest }
                };
                script.input(Input::Staged(op, total));
                match end {
                    Ok(end) => script.stored(op, appended(end.clone())),
                    Err(cancel) => {
                        script.input(Input::Cancel(*cancel));
                        append = Some((op, appended(AppendEnd::Stopped)));
                    }
                }
            }
            Output::Store(_, Command::StopAppend) => {
                let (op, completion) = append.take().unwrap();
                script.stored(op, completion);
            }
            Output::Store(op, command) => {
                let completion = match command {
                    Command::Reserve { .. } => Completion::Reserved,
                    Command::Create { first, .. } => {
                        committed = first;
                        Completion::Created
                    }
                    Command::Commit { to, .. } => {
                        committed = to;
                        Completion::Committed { offset: to }
                    }
                    Command::Digest { algorithm, .. } => {
                        Completion::Digested(Hasher::new(algorithm).finish())
                    }
                    Command::Discard { .. } => Completion::Discarded,
                    other => panic!("{other:?}"),
                };
                changes += u32::from(!matches!(completion, Completion::Reserved | Completion::Digested(_)));
                script.stored(op, completion);
            }
            Output::Respond(told) => response = Some(told),
            Output::Continue => {}
            Output::Done => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(!reserves || changes == 1, "{changes} changes for {end:?}");
    (response, script.events, committed)
}

#[test]
fn whatever_the_end_the_client_is_told_the_same() {
    let mut trailers = Trailers::default();
    trailers.push("Upload-Checksum", b"sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
    let mut wrong = Trailers::default();
    wrong.push("Upload-Checksum", b"sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=");
    let cuts = [Cut::PeerGone, Cut::HalfClosed, Cut::TooSlow, Cut::BadFraming];
    let mut ends: Vec<(u64, End)> = vec![
        (5, Ok(complete())),
        (5, Ok(AppendEnd::Complete(trailers))),
        (5, Ok(AppendEnd::Complete(wrong))),
        (5, Ok(AppendEnd::Overflow)),
        (2, Ok(AppendEnd::Stopped)),
        (2, Ok(AppendEnd::Failed(Failure::NoSpace))),
        (2, Err(Cancel::Shutdown)),
        (0, Err(Cancel::Shutdown)),
    ];
    ends.extend(cuts.iter().flat_map(|cut| [0, 2].map(|total| (total, Ok(AppendEnd::Cut(*cut))))));
    let configs = [
        Config::default(),
        Config::builder().upload_expiry(Some(HOUR)).build().unwrap(),
        Config::builder().max_chunk_size(5).build().unwrap(),
    ];
    // The digest that bodies have here is that of nothing.
    let checksums = ["sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="];
    let length = |length| post(length, 5);
    let deferred = Sent::post()
        .with("Upload-Defer-Length", 1)
        .with("Content-Type", "application/offset+octet-stream")
        .framed(Framing::Length(5));
    let mut requests = vec![length(5), length(9), length(5).with("Upload-Concat", "partial"), deferred];
    requests.extend(checksums.map(|checksum| length(5).with("Upload-Checksum", checksum)));
    for config in &configs {
        for (at, sent) in requests.iter().enumerate() {
            for (total, end) in &ends {
                let first = told(false, config, sent, *total, end);
                assert_eq!(told(true, config, sent, *total, end), first, "request {at}, {total}, {end:?}");
            }
        }
    }
}
