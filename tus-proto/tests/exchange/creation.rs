//! POST: what is rejected before anything is made, what is made, and that a failure after it carries its
//! `Location` all the same.

use tus_proto::{
    AppendEnd, Cancel, Command, Completion, Config, Connection, Cut, Event, Exchange, Failure, Framing, Head,
    Input, Locations, LockReply, Now, OpId, Output, ProxyHeaders, Record, UploadId, WallTime,
};

use super::script::{Script, Sent};

/// Where the upload is that the script's clock and entropy make.
fn location() -> String {
    format!("/files/{}", UploadId::generate(WallTime::default(), [3; 10]))
}

/// A POST up to its Create.
#[track_caller]
fn creating(config: Config, sent: &Sent) -> (Script, OpId, Record) {
    let mut script = Script::start_with(config, sent);
    let (op, command) = script.store();
    let Command::Create { record, .. } = command else { panic!("Create should come, not {command:?}") };
    (script, op, record)
}

/// A POST whose upload is made.
#[track_caller]
fn created(sent: &Sent) -> Script {
    let (mut script, op, _) = creating(Config::default(), sent);
    script.stored(op, Completion::Created);
    script
}

#[test]
fn a_length_makes_an_upload() {
    let sent = Sent::post().with("Upload-Length", 10).with("Upload-Metadata", "a YQ==, b");
    let (mut script, op, record) = creating(Config::default(), &sent);
    assert_eq!((format!("/files/{}", record.id), record.offset, record.length), (location(), 0, Some(10)));
    assert_eq!(record.metadata, "a YQ==, b");
    script.idle();
    script.stored(op, Completion::Created);
    let response = script.responds();
    assert_eq!(response.status(), 201);
    assert_eq!(response.header("Location"), Some(&*location()));
    assert_eq!(response.header("Upload-Offset"), Some("0"));
    assert_eq!(response.connection, Connection::KeepAlive);
    assert_eq!(script.events, [Event::Created]);
}

#[test]
fn an_empty_upload_is_complete_at_once() {
    let mut script = created(&Sent::post().with("Upload-Length", 0));
    assert_eq!(script.responds().header("Upload-Offset"), Some("0"));
    assert_eq!(script.events, [Event::Created, Event::Finished]);
}

#[test]
fn the_length_may_come_later_when_that_is_said_exactly() {
    let (_, _, record) = creating(Config::default(), &Sent::post().with("Upload-Defer-Length", 1));
    assert_eq!(record.length, None);
    for (sent, code) in [
        (Sent::post(), "ERR_INVALID_UPLOAD_LENGTH"),
        (Sent::post().with("Upload-Defer-Length", 0), "ERR_INVALID_UPLOAD_LENGTH_DEFER"),
        (Sent::post().with("Upload-Defer-Length", 2), "ERR_INVALID_UPLOAD_LENGTH_DEFER"),
        (Sent::post().with("Upload-Defer-Length", 1).with("Upload-Length", 5), "ERR_AMBIGUOUS_UPLOAD_LENGTH"),
        (Sent::post().with("Upload-Length", "-5"), "ERR_INVALID_UPLOAD_LENGTH"),
        (Sent::post().with("Upload-Length", 5).with("Upload-Metadata", "a !"), "ERR_INVALID_METADATA"),
    ] {
        Script::start(&sent).refuses(400, code);
    }
}

#[test]
fn what_must_fail_by_its_size_is_not_made() {
    let config = Config::builder().max_size(100).max_chunk_size(10).build().unwrap();
    let refused = |sent: &Sent, code| Script::start_with(config.clone(), sent).refuses(413, code);
    refused(&Sent::post().with("Upload-Length", 101), "ERR_MAX_SIZE_EXCEEDED");
    refused(&Sent::post_with_upload(5, Framing::Length(6)), "ERR_UPLOAD_SIZE_EXCEEDED");
    refused(&Sent::post_with_upload(100, Framing::Length(11)), "ERR_CHUNK_SIZE_EXCEEDED");
    creating(config.clone(), &Sent::post_with_upload(100, Framing::Length(10)));
    // A body that is not the upload's has no part in it.
    let sent = Sent::post().with("Upload-Length", 5).framed(Framing::Length(60));
    creating(config, &sent);
}

#[test]
fn a_body_of_another_type_is_not_stored() {
    let sent =
        Sent::post().with("Upload-Length", 10).with("Content-Type", "text/plain").framed(Framing::Length(4));
    let mut script = created(&sent);
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Offset")), (201, Some("0")));
    assert_eq!(response.connection, Connection::Drain);
}

#[test]
fn a_body_of_the_uploads_type_is_stored_under_the_lock() {
    let mut script = created(&Sent::post_with_upload(10, Framing::Length(4)));
    assert_eq!(script.acquire(), Some(0));
    let grant = script.append();
    assert_eq!((grant.at, grant.max), (0, 10));
    script.body_ends(grant, 4);
    assert!(!script.commits(0, 4).finish);
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Offset")), (201, Some("4")));
    assert_eq!(response.header("Location"), Some(&*location()));
    assert_eq!(response.connection, Connection::KeepAlive);
    assert_eq!(script.events, [Event::Created, Event::Received(4)]);
}

#[test]
fn the_whole_upload_may_come_with_it() {
    let mut script = created(&Sent::post_with_upload(4, Framing::Chunked));
    script.acquire();
    let grant = script.append();
    script.body_ends(grant, 4);
    assert!(script.commits(0, 4).finish);
    script.release();
    assert_eq!(script.responds().header("Upload-Offset"), Some("4"));
}

#[test]
fn a_store_that_makes_nothing_is_answered_without_a_location() {
    for (completion, status) in [
        (Completion::Failed(Failure::NoSpace), 507),
        (Completion::Failed(Failure::Io), 500),
        (Completion::Failed(Failure::Unavailable), 503),
        (Completion::Exists, 500),
    ] {
        let (mut script, op, _) = creating(Config::default(), &Sent::post().with("Upload-Length", 1));
        script.stored(op, completion);
        let response = script.responds();
        assert_eq!((response.status(), response.header("Location")), (status, None));
        assert_eq!(script.events, []);
    }
}

#[test]
fn what_fails_after_the_upload_was_made_tells_where_it_is() {
    let location = location();
    // The body is longer than the upload.
    let mut script = created(&Sent::post_with_upload(4, Framing::Chunked));
    script.acquire();
    let grant = script.append();
    script.appended(grant, 4, AppendEnd::Overflow);
    assert!(script.commits(0, 4).finish);
    script.release();
    let response = script.refuses(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    assert_eq!((response.header("Location"), response.header("Upload-Offset")), (Some(&*location), None));
    // The client closed its side.
    let mut script = created(&Sent::post_with_upload(9, Framing::Chunked));
    script.acquire();
    let grant = script.append();
    script.body_is_cut(grant, 3, Cut::HalfClosed);
    script.commits(0, 3);
    script.release();
    let response = script.refuses(400, "ERR_UNEXPECTED_EOF");
    assert_eq!(response.header("Location"), Some(&*location));
    // The commit failed.
    let mut script = created(&Sent::post_with_upload(9, Framing::Chunked));
    script.acquire();
    let grant = script.append();
    script.body_ends(grant, 9);
    let commit = script.commit();
    script.stored(commit.op, Completion::Failed(Failure::NoSpace));
    let (op, command) = script.store();
    assert!(matches!(command, Command::Discard { .. }));
    script.stored(op, Completion::Discarded);
    script.release();
    assert_eq!(script.refuses(507, "ERR_INSUFFICIENT_STORAGE").header("Location"), Some(&*location));
    // The lock was not to be had.
    let mut script = created(&Sent::post_with_upload(9, Framing::Chunked));
    let (op, _) = script.lock();
    script.replied(op, LockReply::TimedOut);
    script.release();
    assert_eq!(script.refuses(423, "ERR_UPLOAD_LOCKED").header("Location"), Some(&*location));
    // The server ends before the body begins.
    let (mut script, op, _) = creating(Config::default(), &Sent::post_with_upload(9, Framing::Chunked));
    script.input(Input::Cancel(Cancel::Shutdown));
    script.stored(op, Completion::Created);
    assert_eq!(script.refuses(503, "ERR_SERVER_SHUTDOWN").header("Location"), Some(&*location));
}

#[test]
fn the_location_is_written_as_configured() {
    let told = |config: Config, sent: Sent| {
        let (mut script, op, _) = creating(config, &sent.with("Upload-Length", 1).with("Host", "h:80"));
        script.stored(op, Completion::Created);
        script.responds().header("Location").unwrap().to_owned()
    };
    let under = Config::builder().location_base_url("https://x/y/").build().unwrap();
    assert_eq!(told(under, Sent::post()), location().replace("/files", "https://x/y"));
    let behind = Config::builder().behind_proxy(true).build().unwrap();
    assert_eq!(told(behind.clone(), Sent::post()), format!("http://h{}", location()));
    let forwarded = Sent::post().with("Forwarded", "host=f:8443;proto=https");
    assert_eq!(told(behind, forwarded.clone()), format!("http://h{}", location()));
    let standard =
        Config::builder().behind_proxy(true).proxy_headers(ProxyHeaders::Forwarded).build().unwrap();
    assert_eq!(told(standard, forwarded.clone()), format!("https://f:8443{}", location()));
    // Nobody who is not asked to believes a client's word about its address.
    assert_eq!(told(Config::default(), forwarded.clone()), location());
    let absolute = Config::builder().locations(Locations::Absolute).build().unwrap();
    assert_eq!(told(absolute, forwarded), format!("http://h{}", location()));
}

#[test]
fn by_default_the_location_is_absolute_where_nothing_shows_a_proxy() {
    let told = |direct: bool, name: &str| {
        let fields = [("Tus-Resumable", &b"1.0.0"[..]), ("Upload-Length", b"1"), (name, b"h:81")];
        let framing = Framing::Length(0);
        let head = Head { method: "POST", target: "/files", fields: &fields, framing, secure: true, direct };
        let mut exchange = Exchange::new(Config::default().into(), &head, [3; 10], Now::default());
        loop {
            match exchange.poll().unwrap() {
                Output::Store(op, _) => {
                    exchange.handle(Now::default(), Input::Store(op, Completion::Created))
                }
                Output::Respond(response) => return response.header("Location").unwrap().to_owned(),
                _ => {}
            }
        }
    };
    assert_eq!(told(true, "Host"), format!("https://h:81{}", location()));
    // HTTP/1.0, or a UNIX socket; a request that names no host.
    assert_eq!(told(false, "Host"), location());
    assert_eq!(told(true, "X-Host"), location());
}

#[test]
fn an_upload_taken_over_by_another_while_its_first_bytes_come_tells_where_it_is() {
    let mut script = created(&Sent::post_with_upload(9, Framing::Chunked));
    script.acquire();
    let grant = script.append();
    script.body_ends(grant, 0);
    script.release();
    assert_eq!(script.responds().status(), 201);
    let mut script = created(&Sent::post_with_upload(9, Framing::Chunked));
    script.acquire();
    let grant = script.append();
    script.stored(grant.op, Completion::Conflict { offset: 5 });
    script.release();
    let response = script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
    assert_eq!(response.header("Location"), Some(&*location()));
    assert_eq!(response.header("Upload-Offset"), None);
}
