//! Checksums: nothing of a body is committed before it matched, and nothing of one that did not.

use tus_proto::{
    Algorithm, AppendEnd, Cancel, Command, Completion, Config, Cut, Digest, ErrorCode, Framing, Hasher,
    Input, Reason, Trailers,
};

use super::script::{Early, Grant, Script, Sent, record};

const HELLO: &str = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=";
const NOTHING: &str = "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=";

fn digest(body: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha1);
    hasher.update(body);
    hasher.finish()
}

fn trailers(value: &str) -> Trailers {
    let mut trailers = Trailers::default();
    trailers.push("upload-checksum", value.as_bytes());
    trailers
}

fn patch() -> Sent {
    Sent::patch(0, Framing::Chunked)
}

fn receiving(sent: &Sent) -> (Script, Grant) {
    Script::receiving(Config::default(), sent, &record(0, 9))
}

/// The Append ends with the body, whose five bytes hash to this.
fn ends(script: &mut Script, grant: Grant, digest: Option<Digest>, trailers: Trailers) {
    script.stored(grant.op, Completion::Appended { total: 5, end: AppendEnd::Complete(trailers), digest });
}

#[track_caller]
fn forgets(script: &mut Script, code: ErrorCode) {
    script.discards();
    script.release();
    let response = script.refuses(code.status(), code.name());
    assert_eq!(response.header("Upload-Offset"), None);
}

#[test]
fn a_body_that_matches_its_header_is_committed_and_not_before() {
    let (mut script, grant) = receiving(&patch().with("Upload-Checksum", HELLO));
    script.staged(grant, 5);
    // No checkpoint is due, however much time passes; only the lock is renewed.
    assert_eq!(script.deadline().map(|(_, reason)| reason), Some(Reason::Renew));
    script.input(Input::Checkpoint);
    script.checkpointed();
    script.idle();
    ends(&mut script, grant, Some(digest(b"hello")), Trailers::default());
    script.commits(0, 5);
    script.release();
    assert_eq!(script.responds().status(), 204);
}

#[test]
fn a_body_that_differs_leaves_no_trace() {
    let (mut script, grant) = receiving(&patch().with("Upload-Checksum", HELLO));
    ends(&mut script, grant, Some(digest(b"hallo")), Trailers::default());
    forgets(&mut script, ErrorCode::ChecksumMismatch);
}

#[test]
fn nothing_of_a_body_that_is_cut_or_too_long_is_kept() {
    for early in [
        Early::Cut(Cut::HalfClosed),
        Early::Cut(Cut::TooSlow),
        Early::Cut(Cut::BadFraming),
        Early::Cancelled(Cancel::Shutdown),
    ] {
        let (mut script, grant) = receiving(&patch().with("Upload-Checksum", HELLO));
        script.body_ends_early(grant, 3, early);
        script.discards();
        script.release();
        assert!(script.responds().status() >= 400);
    }
    let (mut script, grant) = receiving(&patch().with("Trailer", "Upload-Checksum"));
    script.appended(grant, 9, AppendEnd::Overflow);
    forgets(&mut script, ErrorCode::UploadSizeExceeded);
    let (mut script, grant) = receiving(&patch().with("Upload-Checksum", HELLO));
    script.input(Input::Yield(Some(3)));
    script.stop();
    script.appended(grant, 3, AppendEnd::Stopped);
    forgets(&mut script, ErrorCode::UploadInterrupted);
}

/// The staged bytes are read back, and hash to this.
#[track_caller]
fn reads_back(script: &mut Script, body: &[u8]) {
    let (op, command) = script.store();
    let Command::Digest { from: 0, to: 5, algorithm: Algorithm::Sha1, .. } = command else {
        panic!("{command:?}")
    };
    script.idle();
    script.stored(op, Completion::Digested(digest(body)));
}

#[test]
fn an_announced_trailer_is_verified_by_reading_back() {
    let announced = || receiving(&patch().with("Trailer", "X, upload-checksum"));
    let (mut script, grant) = announced();
    ends(&mut script, grant, None, trailers(HELLO));
    reads_back(&mut script, b"hello");
    script.commits(0, 5);
    script.release();
    assert_eq!(script.responds().status(), 204);

    let (mut script, grant) = announced();
    ends(&mut script, grant, None, trailers(HELLO));
    reads_back(&mut script, b"hallo");
    forgets(&mut script, ErrorCode::ChecksumMismatch);

    let (mut script, grant) = announced();
    ends(&mut script, grant, None, Trailers::default());
    forgets(&mut script, ErrorCode::InvalidChecksum);

    let (mut script, grant) = announced();
    ends(&mut script, grant, None, trailers("crc32 AAAA"));
    forgets(&mut script, ErrorCode::UnsupportedChecksum);
}

#[test]
fn header_and_trailer_must_agree() {
    let (mut script, grant) = receiving(&patch().with("Upload-Checksum", HELLO));
    ends(&mut script, grant, Some(digest(b"hello")), trailers(NOTHING));
    forgets(&mut script, ErrorCode::InvalidChecksum);
    let (mut script, grant) = receiving(&patch().with("Upload-Checksum", HELLO));
    ends(&mut script, grant, Some(digest(b"hello")), trailers(HELLO));
    script.commits(0, 5);
}

#[test]
fn a_trailer_that_was_not_announced_counts_unless_a_checkpoint_was_told() {
    let (mut script, grant) = receiving(&patch());
    ends(&mut script, grant, None, trailers(HELLO));
    reads_back(&mut script, b"hallo");
    forgets(&mut script, ErrorCode::ChecksumMismatch);

    let (mut script, grant) = receiving(&patch());
    script.staged(grant, 3);
    assert_eq!(script.wait(), Reason::Checkpoint);
    script.commits(0, 3);
    ends(&mut script, grant, None, trailers(HELLO));
    forgets(&mut script, ErrorCode::InvalidChecksum);
}

#[test]
fn a_body_of_no_bytes_has_a_checksum_too() {
    for (value, status) in [(NOTHING, 204), (HELLO, 460)] {
        let mut script = Script::start(&Sent::patch(0, Framing::Length(0)).with("Upload-Checksum", value));
        script.load(&record(0, 9));
        script.acquire();
        script.load(&record(0, 9));
        script.release();
        assert_eq!(script.responds().status(), status);
    }
}

#[test]
fn a_trailer_announced_for_a_body_with_a_length_means_nothing() {
    let sent = Sent::patch(0, Framing::Length(5)).with("Trailer", "Upload-Checksum");
    let (mut script, grant) = Script::receiving(Config::default(), &sent, &record(0, 9));
    script.body_ends(grant, 5);
    script.commits(0, 5);
}

#[test]
fn nothing_is_read_back_once_the_lock_is_lost() {
    let (mut script, grant) = receiving(&patch().with("Trailer", "Upload-Checksum"));
    script.input(Input::Cancel(Cancel::LockLost));
    script.stop();
    ends(&mut script, grant, None, trailers(HELLO));
    script.release();
    script.refuses(400, "ERR_UPLOAD_INTERRUPTED");
}
