//! Which protocol a request speaks, and uploads that both write to.

use tus_proto::{Command, Completion, Config, Framing, LockReply};

use super::{append, begun, complete, locked, problem};
use crate::script::{Script, Sent, record};

fn bare(method: &'static str) -> Sent {
    Sent::bare(method, "/files/upload")
}

#[track_caller]
fn asked(config: Config, sent: &Sent) -> Script {
    let mut script = Script::start_with(config, sent);
    let (op, _) = script.lock();
    script.replied(op, LockReply::Checkpointed);
    script
}

#[test]
fn a_bare_head_is_of_the_protocol_that_began_the_upload() {
    let mut script = asked(Config::default(), &bare("HEAD"));
    script.load(&begun(3, 10));
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Complete")), (204, Some("?0")));
    let mut script = asked(Config::default(), &bare("HEAD"));
    script.load(&record(3, 10));
    let response = script.responds();
    assert_eq!((response.status(), response.header("Tus-Version")), (412, Some("1.0.0")));
    assert_eq!((response.header("Upload-Offset"), response.body()), (None, ""));
}

#[test]
fn a_bare_get_too() {
    let mut script = asked(Config::default(), &bare("GET"));
    script.load(&begun(3, 10));
    assert_eq!(script.responds().status(), 204);
    let mut script = asked(Config::default(), &bare("GET"));
    script.load(&record(3, 10));
    script.refuses(405, "ERR_METHOD_NOT_ALLOWED");
}

#[test]
fn a_bare_delete_too() {
    let mut script = Script::start(&bare("DELETE"));
    script.load(&begun(3, 10));
    script.acquire();
    assert!(matches!(script.store().1, Command::Delete { .. }));
    let mut script = Script::start(&bare("DELETE"));
    script.load(&record(3, 10));
    script.refuses(412, "ERR_UNSUPPORTED_VERSION");
    let off = Config::builder().termination(false).build().unwrap();
    Script::start_with(off, &bare("DELETE")).refuses(412, "ERR_UNSUPPORTED_VERSION");
}

#[test]
fn a_patch_with_an_offset_alone_too() {
    let sent = bare("PATCH").with("Upload-Offset", 3).framed(Framing::Length(4));
    let mut script = Script::start(&sent);
    script.load(&begun(3, 10));
    problem(&mut script, 415, "ERR_INVALID_CONTENT_TYPE");
    let mut script = Script::start(&sent);
    script.load(&record(3, 10));
    script.refuses(412, "ERR_UNSUPPORTED_VERSION");
}

#[test]
fn fields_of_tus_alone_are_tus() {
    let tus = "application/offset+octet-stream";
    for sent in [
        bare("HEAD").with("Upload-Metadata", "a"),
        bare("PATCH").with("Upload-Offset", 0).with("Content-Type", tus),
        bare("PATCH"),
        bare("DELETE").with("Upload-Concat", "partial"),
        Sent::bare("POST", "/files").with("Upload-Length", 3),
        Sent::bare("POST", "/files"),
        Sent::bare("PUT", "/files"),
        bare("HEAD").with("Tus-Resumable", "0.2.2").with("Upload-Complete", "?1"),
    ] {
        let response = Script::start(&sent).responds();
        assert_eq!((response.status(), response.header("Tus-Resumable")), (412, Some("1.0.0")));
    }
    // Whatever else they say.
    let mut script = Script::start(&Sent::patch(3, Framing::Length(4)).with("Upload-Complete", "?1"));
    script.load(&record(2, 10));
}

#[test]
fn without_the_protocol_its_requests_are_not_understood() {
    let off = || Config::builder().rufh(false).build().unwrap();
    for sent in [bare("HEAD"), append(3, "?1", Framing::Length(1)), bare("PUT").with("Upload-Complete", "?1")]
    {
        let response = Script::start_with(off(), &sent).responds();
        assert_eq!(response.status(), 412);
    }
}

#[test]
fn where_downloads_are_on_only_unfinished_uploads_of_this_protocol_are_looked_at() {
    let on = || Config::builder().downloads(true).build().unwrap();
    let opened = |method, record: &tus_proto::Record| {
        let mut script = Script::start_with(on(), &bare(method));
        let (op, command) = script.store();
        assert!(matches!(command, Command::Open { .. }), "{command:?}");
        script.stored(op, Completion::Opened(record.clone()));
        script
    };
    for method in ["HEAD", "GET"] {
        let mut script = opened(method, &begun(3, 10));
        let (op, _) = script.lock();
        script.replied(op, LockReply::Checkpointed);
        script.load(&begun(4, 10));
        assert_eq!(script.responds().header("Upload-Offset"), Some("4"));
        let response = opened(method, &record(10, 10)).responds();
        assert_eq!((response.status(), response.header("Tus-Resumable")), (200, Some("1.0.0")));
        assert_eq!(opened(method, &record(3, 10)).responds().status(), 404);
    }
    assert_eq!(opened("GET", &complete(10)).responds().status(), 200);
    let response = opened("HEAD", &complete(10)).responds();
    assert_eq!((response.status(), response.header("Upload-Complete")), (204, Some("?1")));
}

#[test]
fn a_tus_patch_that_reaches_the_length_completes() {
    let sent = Sent::patch(3, Framing::Length(7));
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &begun(3, 10));
    script.body_ends(grant, 7);
    assert!(script.commits(3, 10).finish);
    script.release();
    assert_eq!(script.responds().status(), 204);
    // Where all bytes are there already, an empty one does.
    for sent in
        [Sent::patch(10, Framing::Length(0)), Sent::patch(10, Framing::Length(0)).with("Upload-Length", 10)]
    {
        let mut script = locked(&sent, &begun(10, 10));
        let commit = script.commits(10, 10);
        assert_eq!((commit.length, commit.finish), (Some(10), true));
        script.release();
        assert_eq!(script.responds().status(), 204);
    }
}

#[test]
fn an_append_to_an_upload_of_tus_completes_it_at_its_length() {
    let mut script = locked(&append(3, "?0", Framing::Length(7)), &record(3, 10));
    let grant = script.append();
    script.body_ends(grant, 7);
    let commit = script.commits(3, 10);
    assert_eq!((commit.length, commit.finish), (None, true));
    script.release();
    let response = script.responds();
    assert_eq!((response.status(), response.header("Upload-Complete")), (200, Some("?1")));
    // The last word may come with it, and once only is it told.
    let mut script = locked(&append(3, "?1", Framing::Length(7)), &record(3, 10));
    let grant = script.append();
    script.body_ends(grant, 7);
    assert!(script.commits(3, 10).finish);
    script.release();
    assert_eq!(script.responds().status(), 200);
    assert_eq!(script.events, [tus_proto::Event::Received(7), tus_proto::Event::Finished]);
    // A deferred length is known by the end.
    let mut script = locked(&append(3, "?1", Framing::Chunked), &record(3, None));
    let grant = script.append();
    script.body_ends(grant, 2);
    let commit = script.commits(3, 5);
    assert_eq!((commit.length, commit.finish), (Some(5), true));
}
