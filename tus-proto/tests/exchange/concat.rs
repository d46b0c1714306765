//! Concatenation: parts are uploads that expire even when they are finished; a final is one command, and nobody
//! writes to it.

use std::time::Duration;

use tus_proto::{
    Command, Completion, Concat, ConcatRejection, Config, Connection, Event, Failure, Framing, LockReply,
    OpId, Reason, Record, Response, UploadId, WallTime,
};

use super::script::{Script, Sent, record};

const FINAL: &str = "final;/files/a  http://elsewhere/pre/files/b /files/a";
const HOUR: Duration = Duration::from_secs(3600);

fn location() -> String {
    format!("/files/{}", UploadId::generate(WallTime::default(), [3; 10]))
}

fn sent() -> Sent {
    Sent::post().with("Upload-Concat", FINAL)
}

fn expiring() -> Config {
    Config::builder().upload_expiry(Some(HOUR)).build().unwrap()
}

fn in_an_hour() -> Option<WallTime> {
    Some(WallTime::default().after(HOUR))
}

fn final_record(offset: u64, length: impl Into<Option<u64>>) -> Record {
    Record { concat: Some(Concat::Final(FINAL.into())), ..record(offset, length) }
}

fn part(offset: u64, length: impl Into<Option<u64>>) -> Record {
    Record { concat: Some(Concat::Partial), expires: in_an_hour(), ..record(offset, length) }
}

/// A POST of a final up to its command, and the record that it asks for.
#[track_caller]
fn concatenating(config: Config, sent: &Sent) -> (Script, OpId, Record) {
    let mut script = Script::start_with(config, sent);
    let (op, command) = script.store();
    let Command::Concat { record, .. } = command else { panic!("Concat should come, not {command:?}") };
    (script, op, record)
}

/// What a HEAD tells of `record`.
fn told(record: &Record) -> Response {
    let mut script = Script::start(&Sent::head());
    let (op, _) = script.lock();
    script.replied(op, LockReply::Checkpointed);
    script.load(record);
    script.responds()
}

#[test]
fn a_final_is_one_command_with_its_parts_in_order() {
    let config = Config::builder().max_size(77).delete_parts(true).build().unwrap();
    let mut script = Script::start_with(config, &sent().with("Upload-Metadata", "a YQ=="));
    let (_, command) = script.store();
    let id = UploadId::generate(WallTime::default(), [3; 10]);
    let record = Record { id, metadata: "a YQ==".into(), ..final_record(0, None) };
    let parts = ["a", "b", "a"].map(|id| UploadId::new(id).unwrap()).into();
    assert_eq!(command, Command::Concat { record, parts, max: Some(77), delete_parts: true });
    script.idle();
}

#[test]
fn a_complete_final_tells_its_length_and_does_not_expire() {
    let (mut script, op, record) = concatenating(expiring(), &sent());
    assert_eq!(record.expires, in_an_hour());
    script
        .stored(op, Completion::Concatenated(Record { offset: 9, length: Some(9), expires: None, ..record }));
    let response = script.responds();
    assert_eq!((response.status(), response.header("Location")), (201, Some(&*location())));
    assert_eq!((response.header("Upload-Offset"), response.header("Upload-Length")), (Some("9"), Some("9")));
    assert_eq!(response.header("Upload-Expires"), None);
    assert_eq!(response.connection, Connection::KeepAlive);
    assert_eq!(script.events, [Event::Created, Event::Finished]);
}

#[test]
fn a_pending_final_tells_when_it_expires_and_no_offset() {
    for length in [None, Some(9)] {
        let (mut script, op, record) = concatenating(expiring(), &sent());
        script.stored(op, Completion::Concatenated(Record { length, ..record }));
        let response = script.responds();
        assert_eq!((response.status(), response.header("Location")), (201, Some(&*location())));
        assert_eq!((response.header("Upload-Offset"), response.header("Upload-Length")), (None, None));
        assert_eq!(response.header("Upload-Expires"), Some("Thu, 01 Jan 1970 01:00:00 GMT"));
        assert_eq!(script.events, [Event::Created]);
    }
}

#[test]
fn what_a_final_says_of_its_length_is_ignored() {
    for (name, value) in [("Upload-Length", "5"), ("Upload-Length", "-1"), ("Upload-Defer-Length", "x")] {
        let (_, _, record) = concatenating(Config::default(), &sent().with(name, value));
        assert_eq!(record.length, None);
    }
}

#[test]
fn parts_that_are_not_fit_and_a_store_in_trouble_make_nothing() {
    for (completion, status, code) in [
        (Completion::Rejected(ConcatRejection::Missing), 400, "ERR_INVALID_CONCAT"),
        (Completion::Rejected(ConcatRejection::NotPartial), 400, "ERR_INVALID_CONCAT"),
        (Completion::Rejected(ConcatRejection::UnknownLength), 400, "ERR_INVALID_CONCAT"),
        (Completion::Rejected(ConcatRejection::TooManyWaiting), 400, "ERR_INVALID_CONCAT"),
        (Completion::Rejected(ConcatRejection::TooLarge), 413, "ERR_MAX_SIZE_EXCEEDED"),
        (Completion::Exists, 500, "ERR_INTERNAL_SERVER_ERROR"),
        (Completion::Created, 500, "ERR_INTERNAL_SERVER_ERROR"),
        (Completion::Failed(Failure::NoSpace), 507, "ERR_INSUFFICIENT_STORAGE"),
        (Completion::Failed(Failure::Unavailable), 503, "ERR_STORE_UNAVAILABLE"),
    ] {
        let (mut script, op, _) = concatenating(expiring(), &sent());
        script.stored(op, completion);
        let response = script.refuses(status, code);
        assert_eq!((response.header("Location"), response.header("Upload-Expires")), (None, None));
        assert_eq!(script.events, []);
    }
}

#[test]
fn a_malformed_value_is_refused_by_the_head_alone() {
    let two = Config::builder().max_parts(2).build().unwrap();
    Script::start_with(two, &sent()).refuses(400, "ERR_INVALID_CONCAT");
    let other = sent().with("Upload-Concat", "partial");
    Script::start(&other).refuses(400, "ERR_INVALID_CONCAT");
    for value in ["", "final;", "final;/elsewhere/a", "parts"] {
        let sent = Sent::post().with("Upload-Length", 5).with("Upload-Concat", value);
        Script::start(&sent).refuses(400, "ERR_INVALID_CONCAT");
    }
    let metadata = sent().with("Upload-Metadata", "a !").framed(Framing::Length(1));
    Script::start(&metadata).refuses(400, "ERR_INVALID_METADATA");
    // The same value twice is one value.
    concatenating(Config::default(), &sent().with("Upload-Concat", FINAL));
}

#[test]
fn below_the_root_a_part_is_what_its_last_segment_says() {
    let root = Config::builder().base_path("/").build().unwrap();
    let sent = Sent::tus("POST", "/").with("Upload-Concat", "final;/a http://h/pre/b");
    let mut script = Script::start_with(root, &sent);
    let Command::Concat { parts, .. } = script.store().1 else { panic!("Concat should come") };
    assert_eq!(parts, ["a", "b"].map(|id| UploadId::new(id).unwrap()));
}

#[test]
fn it_may_be_disabled_and_is_not_told_then() {
    let config = Config::builder().concatenation(false).build().unwrap();
    for value in [FINAL, "partial", ""] {
        let sent = Sent::post().with("Upload-Length", 5).with("Upload-Concat", value);
        Script::start_with(config.clone(), &sent).refuses(400, "ERR_CONCATENATION_UNSUPPORTED");
    }
    let extensions = |config| {
        let response = Script::start_with(config, &Sent::bare("OPTIONS", "/files")).responds();
        response.header("Tus-Extension").unwrap().to_owned()
    };
    assert!(!extensions(config).contains("concatenation"));
    assert!(extensions(expiring()).ends_with(",expiration,concatenation,concatenation-unfinished"));
}

#[test]
fn a_body_on_a_final_is_refused_before_anything_is_made() {
    for framing in [Framing::Length(1), Framing::Chunked] {
        for sent in [sent(), sent().with("Content-Type", "application/offset+octet-stream")] {
            let response = Script::start(&sent.framed(framing)).refuses(403, "ERR_MODIFY_FINAL");
            assert_eq!(response.connection, Connection::Close);
        }
    }
    concatenating(Config::default(), &sent().with("Content-Type", "application/offset+octet-stream"));
}

#[test]
fn a_patch_of_a_final_is_refused_whatever_its_offset_and_takes_no_lock() {
    for state in [final_record(0, None), final_record(0, 9), final_record(9, 9)] {
        for offset in [0, 5, 9] {
            for framing in [Framing::Length(0), Framing::Length(4), Framing::Chunked] {
                let mut script = Script::start(&Sent::patch(offset, framing));
                script.load(&state);
                let response = script.refuses(403, "ERR_MODIFY_FINAL");
                assert_eq!(response.header("Upload-Offset"), None);
            }
        }
    }
}

#[test]
fn an_upload_that_becomes_a_final_while_its_lock_is_waited_for_is_not_written_to() {
    let mut script = Script::start(&Sent::patch(0, Framing::Length(4)));
    script.load(&record(0, 4));
    script.acquire();
    script.load(&final_record(0, None));
    script.release();
    script.refuses(403, "ERR_MODIFY_FINAL");
}

#[test]
fn a_final_may_be_deleted_pending_or_not() {
    for state in [final_record(0, None), final_record(9, 9)] {
        let mut script = Script::start(&Sent::delete());
        script.load(&state);
        script.acquire();
        assert!(matches!(script.store().1, Command::Delete { .. }));
    }
}

#[test]
fn a_head_tells_what_an_upload_is_as_it_was_said() {
    assert_eq!(told(&part(3, 9)).header("Upload-Concat"), Some("partial"));
    assert_eq!(told(&part(3, 9)).header("Upload-Offset"), Some("3"));
    assert_eq!(told(&record(3, 9)).header("Upload-Concat"), None);
    for (state, offset, length, deferred) in [
        (final_record(0, None), None, None, Some("1")),
        (final_record(0, 9), None, Some("9"), None),
        (final_record(9, 9), Some("9"), Some("9"), None),
        (final_record(0, 0), Some("0"), Some("0"), None),
    ] {
        let response = told(&state);
        assert_eq!((response.status(), response.header("Upload-Concat")), (200, Some(FINAL)));
        assert_eq!((response.header("Upload-Offset"), response.header("Upload-Length")), (offset, length));
        assert_eq!(response.header("Upload-Defer-Length"), deferred);
    }
    let response = told(&Record { expires: in_an_hour(), ..final_record(0, None) });
    assert_eq!(response.header("Upload-Expires"), Some("Thu, 01 Jan 1970 01:00:00 GMT"));
}

#[test]
fn a_part_is_made_and_filled_as_any_upload_and_keeps_its_expiry_when_it_is_finished() {
    let sent = Sent::post_with_upload(4, Framing::Length(4)).with("Upload-Concat", "partial");
    let mut script = Script::start_with(expiring(), &sent);
    let (op, command) = script.store();
    let Command::Create { record, .. } = command else { panic!("Create should come, not {command:?}") };
    assert_eq!((record.concat, record.expires), (Some(Concat::Partial), in_an_hour()));
    script.stored(op, Completion::Created);
    script.acquire();
    let grant = script.append();
    script.pass(Duration::from_secs(5));
    script.body_ends(grant, 4);
    let asked = script.commits(0, 4);
    assert_eq!((asked.finish, asked.expires), (true, Some(WallTime::from_micros(3_605_000_000))));
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Offset")), (201, Some("4")));
    assert_eq!(response.header("Upload-Expires"), Some("Thu, 01 Jan 1970 01:00:05 GMT"));
    assert_eq!(script.events, [Event::Created, Event::Received(4), Event::Finished]);
}

#[test]
fn a_part_of_no_bytes_is_complete_and_expires() {
    let sent = Sent::post().with("Upload-Length", 0).with("Upload-Concat", "partial");
    let mut script = Script::start_with(expiring(), &sent);
    let (op, command) = script.store();
    let Command::Create { record, .. } = command else { panic!("Create should come, not {command:?}") };
    assert_eq!((record.concat, record.expires), (Some(Concat::Partial), in_an_hour()));
    script.stored(op, Completion::Created);
    assert_eq!(script.responds().header("Upload-Expires"), Some("Thu, 01 Jan 1970 01:00:00 GMT"));
    assert_eq!(script.events, [Event::Created, Event::Finished]);
}

#[test]
fn a_finished_part_is_not_renewed_by_a_body_that_does_not_come() {
    // It would be due before the lock's own renewal.
    let ten = Duration::from_secs(10);
    let config = Config::builder().upload_expiry(Some(ten)).build().unwrap();
    let part = |offset| Record { expires: Some(WallTime::default().after(ten)), ..part(offset, 9) };
    let sent = Sent::patch(9, Framing::Chunked);
    let (mut script, grant) = Script::receiving(config.clone(), &sent, &part(9));
    assert_eq!(script.deadline().map(|(_, reason)| reason), Some(Reason::Renew));
    script.pass(ten);
    script.body_ends(grant, 0);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("9"));
    assert_eq!(script.events, []);
    // Nor by the rest of the body that has finished it.
    let (mut script, grant) = Script::receiving(config, &Sent::patch(3, Framing::Chunked), &part(3));
    script.staged(grant, 6);
    assert_eq!(script.wait(), Reason::Checkpoint);
    assert!(script.commits(3, 9).finish);
    assert_eq!(script.deadline().map(|(_, reason)| reason), Some(Reason::Renew));
    script.body_ends(grant, 6);
    script.release();
    assert_eq!(script.responds().status(), 204);
    assert_eq!(script.events, [Event::Received(6), Event::Finished]);
}

#[test]
fn where_parts_must_be_finished_each_is_looked_at_first() {
    let config = || Config::builder().concatenation_unfinished(false).build().unwrap();
    let mut script = Script::start_with(config(), &sent());
    for id in ["a", "b", "a"] {
        let (op, command) = script.store();
        assert_eq!(command, Command::Load { id: UploadId::new(id).unwrap() });
        script.idle();
        script.stored(op, Completion::Loaded(part(5, 5)));
    }
    assert!(matches!(script.store().1, Command::Concat { .. }));
    for (completion, status, code) in [
        (Completion::Loaded(part(4, 5)), 400, "ERR_INVALID_CONCAT"),
        (Completion::Loaded(part(4, None)), 400, "ERR_INVALID_CONCAT"),
        (Completion::Missing, 400, "ERR_INVALID_CONCAT"),
        (Completion::Gone, 400, "ERR_INVALID_CONCAT"),
        (Completion::Failed(Failure::Io), 500, "ERR_INTERNAL_SERVER_ERROR"),
    ] {
        let mut script = Script::start_with(config(), &sent());
        let (op, _) = script.store();
        script.stored(op, Completion::Loaded(part(5, 5)));
        let (op, _) = script.store();
        script.stored(op, completion);
        script.refuses(status, code);
    }
}
