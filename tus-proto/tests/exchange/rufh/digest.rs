//! `Content-Digest` of one request's content, `Repr-Digest` of the upload, and `Want-Repr-Digest`.
#![cfg(feature = "sha2")]

use base64::{Engine, engine::general_purpose::STANDARD};
use tus_proto::{
    Algorithm, AppendEnd, Command, Completion, Config, Digest, Explicit, Failure, Framing, Hasher, Record,
    Trailers,
};

use super::{append, begun, create, creating, locked, problem};
use crate::script::{Grant, Script, id};

fn digest(of: &str) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(of.as_bytes());
    hasher.finish()
}

fn field(of: &str) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest(of).as_bytes()))
}

/// The Append whose bytes are hashed on their way.
#[track_caller]
fn hashed(script: &mut Script) -> Grant {
    assert_eq!(script.next(), Some(tus_proto::Output::Continue));
    let (op, command) = script.store();
    let Command::Append { at, max, rotate, digest: Some(Algorithm::Sha256), .. } = command else {
        panic!("an Append with a digest should come, not {command:?}")
    };
    Grant { op, at, max, rotate }
}

fn ends(script: &mut Script, grant: Grant, body: &str) {
    let (total, end) = (body.len() as u64, AppendEnd::Complete(Trailers::default()));
    script.stored(grant.op, Completion::Appended { total, end, digest: Some(digest(body)) });
}

/// A Hash of all bytes up to `to`.
#[track_caller]
fn hashes(script: &mut Script, to: u64, completion: Completion) {
    let (op, command) = script.store();
    assert_eq!(command, Command::Hash { id: id(), to, algorithm: Algorithm::Sha256 });
    script.stored(op, completion);
}

#[test]
fn content_that_differs_from_its_digest_is_not_appended() {
    let sent = append(3, "?1", Framing::Length(4)).with("Content-Digest", field("abcd"));
    let mut script = locked(&sent, &begun(3, None));
    let grant = hashed(&mut script);
    ends(&mut script, grant, "abcd");
    assert!(script.commits(3, 7).finish);
    script.release();
    assert_eq!(script.responds().status(), 200);
    let mut script = locked(&sent, &begun(3, None));
    let grant = hashed(&mut script);
    ends(&mut script, grant, "abcx");
    script.discards();
    script.release();
    problem(&mut script, 400, "ERR_CHECKSUM_MISMATCH");
    // No content has a digest as well.
    let sent = append(3, "?1", Framing::Length(0)).with("Content-Digest", field("abcd"));
    problem(&mut Script::start(&sent), 400, "ERR_CHECKSUM_MISMATCH");
}

#[test]
fn the_whole_upload_is_hashed_before_it_is_complete() {
    let sent = create("?0", Framing::Length(0)).with("Repr-Digest", field("abcd"));
    let (_, _, record) = creating(Config::default(), &sent);
    let explicit = record.explicit.unwrap();
    assert_eq!(explicit.digest.as_deref(), Some(&(Algorithm::Sha256, digest("abcd"))));
    let record = Record { explicit: Some(explicit), ..begun(3, None) };
    let sent = append(3, "?1", Framing::Length(1));
    for (found, status) in [("abcd", 200), ("abcx", 400)] {
        let mut script = locked(&sent, &record);
        let grant = script.append();
        script.body_ends(grant, 1);
        assert!(!script.commits(3, 4).finish);
        hashes(&mut script, 4, Completion::Digested(digest(found)));
        if status == 200 {
            let last = script.commits(4, 4);
            assert_eq!((last.length, last.finish), (Some(4), true));
        }
        script.release();
        match status {
            200 => assert_eq!(script.responds().status(), 200),
            _ => drop(problem(&mut script, 400, "ERR_CHECKSUM_MISMATCH")),
        }
    }
    // Who removes an upload has its lock; this request may not have heard of that yet.
    for (completion, status, code) in [
        (Completion::Failed(Failure::Io), 500, "ERR_INTERNAL_SERVER_ERROR"),
        (Completion::Missing, 404, "ERR_UPLOAD_NOT_FOUND"),
    ] {
        let mut script = locked(&sent, &record);
        let grant = script.append();
        script.body_ends(grant, 1);
        script.commits(3, 4);
        hashes(&mut script, 4, completion);
        script.release();
        problem(&mut script, status, code);
    }
}

#[test]
fn who_wants_the_digest_gets_it_with_the_last_answer() {
    let sent = append(4, "?1", Framing::Length(0)).with("Want-Repr-Digest", "sha-256=3, md5=9");
    let mut script = locked(&sent, &begun(4, 4));
    hashes(&mut script, 4, Completion::Digested(digest("abcd")));
    assert!(script.commits(4, 4).finish);
    script.release();
    assert_eq!(script.responds().header("Repr-Digest"), Some(&*field("abcd")));
    // Of no bytes it is known without asking.
    let sent = create("?1", Framing::Length(0)).with("Want-Repr-Digest", "sha-256=3");
    let (mut script, op, record) = creating(Config::default(), &sent);
    assert_eq!(record.explicit, Some(Explicit::new(true)));
    script.stored(op, Completion::Created);
    assert_eq!(script.responds().header("Repr-Digest"), Some(&*field("")));
    let sent = create("?1", Framing::Length(0)).with("Repr-Digest", field("a"));
    problem(&mut Script::start(&sent), 400, "ERR_CHECKSUM_MISMATCH");
}
