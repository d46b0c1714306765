//! The IETF's resumable uploads, on the same exchange.

mod append;
mod creation;
mod dialect;
mod digest;
mod invalid;
mod retrieval;
mod versions;

use tus_proto::{Command, Completion, Config, Explicit, Framing, OpId, Record, Response, UploadId, WallTime};

use super::script::{Script, Sent, record};

/// Where the upload is that the script's clock and entropy make.
fn location() -> String {
    format!("/files/{}", UploadId::generate(WallTime::default(), [3; 10]))
}

/// An upload that this protocol began, and that is not complete.
fn begun(offset: u64, length: impl Into<Option<u64>>) -> Record {
    Record { explicit: Some(Explicit::new(false)), ..record(offset, length) }
}

/// The same, complete.
fn complete(length: u64) -> Record {
    Record { explicit: Some(Explicit::new(true)), ..record(length, length) }
}

/// A creation. `complete` is the value of `Upload-Complete`.
fn create(complete: &'static str, framing: Framing) -> Sent {
    Sent::bare("POST", "/files").with("Upload-Complete", complete).framed(framing)
}

/// An append by the newest version.
fn append(offset: u64, complete: &'static str, framing: Framing) -> Sent {
    Sent::bare("PATCH", "/files/upload")
        .with("Content-Type", "application/partial-upload")
        .with("Upload-Offset", offset)
        .with("Upload-Complete", complete)
        .framed(framing)
}

/// A creation up to its Create.
#[track_caller]
fn creating(config: Config, sent: &Sent) -> (Script, OpId, Record) {
    let mut script = Script::start_with(config, sent);
    let (op, command) = script.store();
    let Command::Create { record, .. } = command else { panic!("Create should come, not {command:?}") };
    (script, op, record)
}

/// A creation whose upload is made.
#[track_caller]
fn created(sent: &Sent) -> Script {
    let (mut script, op, _) = creating(Config::default(), sent);
    script.stored(op, Completion::Created);
    script
}

/// An append that has its lock and the record under it.
#[track_caller]
fn locked(sent: &Sent, record: &Record) -> Script {
    let mut script = Script::start(sent);
    script.load(record);
    script.acquire();
    script.load(record);
    script
}

/// The answer is an error of this status and code, as a problem document, and says nothing of tus.
#[track_caller]
fn problem(script: &mut Script, status: u16, code: &str) -> Response {
    let response = script.responds();
    assert_eq!(response.status(), status, "{}", response.body());
    assert_eq!(response.header("Content-Type"), Some("application/problem+json"));
    assert_eq!(response.header("Tus-Resumable"), None);
    assert!(response.body().contains(&format!("\"code\":\"{code}\"")), "{}", response.body());
    assert!(response.body().contains(&format!("\"status\":{status},")), "{}", response.body());
    response
}
