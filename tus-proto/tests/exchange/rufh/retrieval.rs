//! HEAD and GET: where to go on.

use std::time::Duration;

use tus_proto::{Completion, Config, LockReply, Record, WallTime};

use super::{begun, complete};
use crate::script::{Script, Sent, record};

/// The answer to a request for this upload's offset.
#[track_caller]
fn told(sent: &Sent, record: &Record) -> tus_proto::Response {
    let mut script = Script::start(sent);
    let (op, _) = script.lock();
    script.replied(op, LockReply::Checkpointed);
    script.load(record);
    script.responds()
}

#[test]
fn the_offset_is_told_by_head_and_get() {
    let expires = Some(WallTime::default().after(Duration::from_secs(90)));
    for method in ["HEAD", "GET"] {
        let sent = Sent::bare(method, "/files/upload").with("Upload-Draft-Interop-Version", 9);
        let response = told(&sent, &Record { expires, ..begun(3, 10) });
        assert_eq!(response.status(), 204);
        assert_eq!(response.header("Upload-Offset"), Some("3"));
        assert_eq!(response.header("Upload-Complete"), Some("?0"));
        assert_eq!(response.header("Upload-Length"), Some("10"));
        assert_eq!(response.header("Upload-Limit"), Some("max-age=90"));
        assert_eq!(response.header("Cache-Control"), Some("no-store"));
        assert_eq!((response.header("Tus-Resumable"), response.header("Upload-Expires")), (None, None));
        let response = told(&sent, &complete(10));
        assert_eq!(response.header("Upload-Complete"), Some("?1"));
        let response = told(&sent, &begun(10, 10));
        assert_eq!(
            (response.header("Upload-Offset"), response.header("Upload-Complete")),
            (Some("10"), Some("?0"))
        );
        assert_eq!(told(&sent, &begun(10, None)).header("Upload-Length"), None);
    }
}

#[test]
fn what_is_not_there_is_told_to_a_head_without_a_body() {
    for (method, has_body) in [("HEAD", false), ("GET", true)] {
        let mut script =
            Script::start(&Sent::bare(method, "/files/upload").with("Upload-Draft-Interop-Version", 9));
        let (op, _) = script.lock();
        script.replied(op, LockReply::Checkpointed);
        let (op, _) = script.store();
        script.stored(op, Completion::Gone);
        let response = script.responds();
        assert_eq!((response.status(), !response.body().is_empty()), (410, has_body), "{method}");
    }
}

#[test]
fn options_tells_the_limits() {
    let limits = |config| Script::start_with(config, &Sent::bare("OPTIONS", "/files")).responds();
    assert_eq!(limits(Config::default()).header("Upload-Limit"), Some("min-size=0"));
    let config = Config::builder().max_size(9).max_chunk_size(5).build().unwrap();
    assert_eq!(limits(config).header("Upload-Limit"), Some("max-size=9, max-append-size=5"));
    let off = Config::builder().rufh(false).build().unwrap();
    assert_eq!(limits(off).header("Upload-Limit"), None);
    let huge = Config::builder().max_size(u64::MAX).build().unwrap();
    assert_eq!(limits(huge).header("Upload-Limit"), Some("max-size=999999999999999"));
}

#[test]
fn a_tus_head_sees_a_length_only_while_it_says_the_truth() {
    assert_eq!(told(&Sent::head(), &begun(3, 10)).header("Upload-Length"), Some("10"));
    let response = told(&Sent::head(), &begun(10, 10));
    assert_eq!((response.header("Upload-Offset"), response.header("Upload-Length")), (Some("10"), None));
    assert_eq!(response.header("Upload-Defer-Length"), Some("1"));
    assert_eq!(told(&Sent::head(), &complete(10)).header("Upload-Length"), Some("10"));
    assert_eq!(told(&Sent::head(), &record(10, 10)).header("Upload-Length"), Some("10"));
}
