//! What the head alone decides, and in which order: each request here offends against one rule and all that
//! come after it.

use tus_proto::{Algorithm, Config, Connection, Framing, MethodOverride, Output};

use super::script::{Script, Sent, record, tus_alone};

#[track_caller]
fn refused(sent: &Sent, status: u16, code: &str) {
    Script::start(sent).refuses(status, code);
}

/// Breaks every rule of the head but its path.
fn wrong(method: &'static str, target: &str) -> Sent {
    Sent::bare(method, target)
        .with("Upload-Offset", "-1")
        .with("Upload-Length", "x")
        .with("Expect", "something")
        .framed(Framing::Length(5))
}

#[test]
fn the_path_comes_first() {
    refused(&wrong("BREW", "/elsewhere").with("X-HTTP-Method-Override", "BREW"), 404, "ERR_NOT_FOUND");
    refused(&wrong("BREW", "/filesystem").with("X-HTTP-Method-Override", "BREW"), 404, "ERR_NOT_FOUND");
    let long = format!("/files/{}", "a".repeat(129));
    for target in ["/files/a/b", "/files/a.b", "/files/%61", "/files/..", "/files//", &long] {
        refused(&Sent::tus("PATCH", target), 404, "ERR_UPLOAD_NOT_FOUND");
    }
}

#[test]
fn then_the_method_override() {
    let bad = wrong("POST", "/files/upload").with("X-HTTP-Method-Override", "BREW, BREW");
    refused(&bad, 400, "ERR_INVALID_METHOD_OVERRIDE");
    let two = wrong("POST", "/files/upload")
        .with("X-HTTP-Method-Override", "PATCH")
        .with("X-HTTP-Method-Override", "DELETE");
    refused(&two, 400, "ERR_INVALID_METHOD_OVERRIDE");
}

#[test]
fn then_options_which_no_override_changes() {
    for value in ["PATCH", "BREW", "a b"] {
        let sent = wrong("OPTIONS", "/files/upload").with("X-HTTP-Method-Override", value);
        assert_eq!(Script::start(&sent).responds().status(), 204);
    }
}

#[test]
fn then_the_version() {
    for sent in [wrong("BREW", "/files"), wrong("BREW", "/files").with("Tus-Resumable", "0.2.2")] {
        let response = Script::start(&sent).refuses(412, "ERR_UNSUPPORTED_VERSION");
        assert_eq!(response.header("Tus-Version"), Some("1.0.0"));
    }
    let two = wrong("BREW", "/files").with("Tus-Resumable", "1.0.0").with("Tus-Resumable", "1.0.1");
    refused(&two, 412, "ERR_UNSUPPORTED_VERSION");
}

#[test]
fn then_the_method_with_a_true_allow() {
    let allow = |config: &Config, method, target: &str| {
        let sent = wrong(method, target).with("Tus-Resumable", "1.0.0");
        let response = Script::start_with(config.clone(), &sent).refuses(405, "ERR_METHOD_NOT_ALLOWED");
        response.header("Allow").unwrap().to_owned()
    };
    let config = Config::default();
    assert_eq!(allow(&config, "BREW", "/files/upload"), "OPTIONS, HEAD, PATCH, DELETE");
    assert_eq!(allow(&config, "patch", "/files/upload"), "OPTIONS, HEAD, PATCH, DELETE");
    assert_eq!(allow(&config, "POST", "/files/upload"), "OPTIONS, HEAD, PATCH, DELETE");
    assert_eq!(allow(&config, "PATCH", "/files/"), "OPTIONS, POST");
    assert_eq!(allow(&config, "POST", "*"), "OPTIONS");
    let config = Config::builder().termination(false).build().unwrap();
    assert_eq!(allow(&config, "DELETE", "/files/upload"), "OPTIONS, HEAD, PATCH");
}

#[test]
fn a_get_needs_no_version_to_be_told_that_it_is_not_allowed() {
    Script::start_with(tus_alone(), &Sent::bare("GET", "/files/upload"))
        .refuses(405, "ERR_METHOD_NOT_ALLOWED");
}

#[test]
fn then_the_syntax_of_the_headers_and_after_it_the_expectation() {
    let patch = || Sent::tus("PATCH", "/files/upload").with("Expect", "something");
    let typed = || patch().with("Content-Type", "application/offset+octet-stream");
    refused(&patch().with("Upload-Offset", 0), 415, "ERR_INVALID_CONTENT_TYPE");
    for value in ["", "-1", "+1", "x", "1.0", "9223372036854775808"] {
        refused(&typed().with("Upload-Offset", value), 400, "ERR_INVALID_OFFSET");
        let length = typed().with("Upload-Offset", 0).with("Upload-Length", value);
        refused(&length, 400, "ERR_INVALID_UPLOAD_LENGTH");
    }
    refused(&typed(), 400, "ERR_INVALID_OFFSET");
    refused(&typed().with("Upload-Offset", 0).with("Upload-Offset", 1), 400, "ERR_INVALID_OFFSET");
    refused(&typed().with("Upload-Offset", 0), 417, "ERR_EXPECTATION_FAILED");
}

#[test]
fn a_checksum_that_would_not_be_verified_is_refused() {
    let refuses = |sent: &Sent, algorithms: Vec<Algorithm>, code| {
        let config = Config::builder().checksum_algorithms(algorithms).build().unwrap();
        Script::start_with(config, sent).refuses(400, code);
    };
    let patch = || Sent::patch(0, Framing::Chunked);
    let sha1 = || patch().with("Upload-Checksum", "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
    refuses(&sha1(), vec![], "ERR_UNSUPPORTED_CHECKSUM");
    refuses(&patch().with("Trailer", "X, upload-checksum"), vec![], "ERR_UNSUPPORTED_CHECKSUM");
    refuses(&sha1(), vec![Algorithm::Sha256], "ERR_UNSUPPORTED_CHECKSUM");
    refuses(&patch().with("Upload-Checksum", "sha1 AAAA=="), vec![Algorithm::Sha1], "ERR_INVALID_CHECKSUM");
    let twice = sha1().with("Upload-Checksum", "sha1 AAAA");
    refuses(&twice, vec![Algorithm::Sha1], "ERR_INVALID_CHECKSUM");
}

#[test]
fn the_store_is_asked_only_after_all_that() {
    let sent = Sent::patch(0, Framing::Length(5)).with("Expect", "100-Continue");
    let mut script = Script::start(&sent);
    script.load(&record(0, 5));
}

#[test]
fn every_form_of_a_target_names_the_same_upload() {
    for target in
        ["/files/upload", "/files/upload?x=/y", "http://host:1/files/upload", "HTTPS://h/files/upload?q"]
    {
        let mut script = Script::start(&Sent::tus("DELETE", target));
        script.load(&record(0, 5));
    }
    for target in ["/files", "/files/", "/files?x", "http://h/files/", "*"] {
        assert_eq!(Script::start(&Sent::bare("OPTIONS", target)).responds().status(), 204, "{target}");
    }
}

#[test]
fn an_override_makes_the_request_that_method_where_it_is_heeded() {
    let patched = |requests, actual, name| {
        let config = Config::builder().method_override(requests).build().unwrap();
        let sent = Sent::tus(actual, "/files/upload")
            .with("X-HTTP-Method-Override", name)
            .with("Content-Type", "application/offset+octet-stream; x=y")
            .with("Upload-Offset", 3);
        let mut script = Script::start_with(config, &sent);
        script.load(&record(3, 5));
        assert_eq!(script.acquire(), Some(3));
    };
    for name in ["Patch", "PATCH", "patch"] {
        patched(MethodOverride::Post, "POST", name);
        patched(MethodOverride::Post, "PATCH", "DELETE");
        patched(MethodOverride::Off, "PATCH", "DELETE");
        for actual in ["POST", "GET", "BREW", "DELETE"] {
            patched(MethodOverride::Any, actual, name);
        }
    }
    let post = Sent::bare("POST", "/files/upload").with("X-HTTP-Method-Override", "HEAD");
    refused_without_body(&post, 412);
    let delete = Sent::tus("GET", "/files/upload").with("X-HTTP-Method-Override", "DELETE");
    refused(&delete, 405, "ERR_METHOD_NOT_ALLOWED");
    // Nor for what only looks like a POST.
    let post = Sent::tus("post", "/files/upload").with("X-HTTP-Method-Override", "DELETE");
    refused(&post, 405, "ERR_METHOD_NOT_ALLOWED");
}

#[track_caller]
fn refused_without_body(sent: &Sent, status: u16) {
    let response = Script::start_with(tus_alone(), sent).responds();
    assert_eq!((response.status(), response.body()), (status, ""));
}

#[test]
fn a_refused_head_has_no_body() {
    refused_without_body(&Sent::tus("HEAD", "/elsewhere"), 404);
    refused_without_body(&Sent::bare("HEAD", "/files/upload"), 412);
    refused_without_body(&Sent::tus("HEAD", "/files"), 405);
    refused_without_body(&Sent::head().with("Expect", "x"), 417);
    refused_without_body(&Sent::bare("HEAD", "/files/upload").with("X-HTTP-Method-Override", "x"), 412);
    refused_without_body(&Sent::tus("POST", "/files").with("X-HTTP-Method-Override", "HEAD"), 405);
}

#[test]
fn options_tells_what_is_enabled() {
    let bare = Config::builder().max_size(77).termination(false).concatenation(false);
    let config = bare.checksum_algorithms(vec![]).build().unwrap();
    let response = Script::start_with(config, &Sent::bare("OPTIONS", "*")).responds();
    assert_eq!(response.header("Tus-Version"), Some("1.0.0"));
    let extensions = "creation,creation-with-upload,creation-defer-length";
    assert_eq!(response.header("Tus-Extension"), Some(extensions));
    assert_eq!(response.header("Tus-Max-Size"), Some("77"));
    let response = Script::start(&Sent::bare("OPTIONS", "/files")).responds();
    assert_eq!(
        response.header("Tus-Extension"),
        Some(&*format!(
            "{extensions},termination,checksum,checksum-trailer,concatenation,concatenation-unfinished"
        ))
    );
    assert_eq!(response.header("Tus-Checksum-Algorithm"), Some("sha1,sha256,sha512,md5"));
    assert_eq!(response.header("Tus-Max-Size"), None);
}

#[test]
fn an_unread_body_closes_the_connection_of_a_refusal_and_no_body_keeps_it() {
    let refusal = |framing| {
        let sent = Sent::tus("PATCH", "/elsewhere").framed(framing);
        Script::start(&sent).refuses(404, "ERR_NOT_FOUND").connection
    };
    assert_eq!(refusal(Framing::Length(0)), Connection::KeepAlive);
    assert_eq!(refusal(Framing::Length(1)), Connection::Close);
    assert_eq!(refusal(Framing::Chunked), Connection::Close);
}

#[test]
fn a_request_id_is_echoed_in_safe_characters() {
    let sent =
        Sent::bare("OPTIONS", "/files").with("X-Request-ID", "a b\"c-_.d".to_owned() + &"e".repeat(50));
    let response = Script::start(&sent).responds();
    assert_eq!(response.header("X-Request-ID"), Some(&*("abc-_.d".to_owned() + &"e".repeat(29))));
}

#[test]
fn what_the_head_decides_is_decided_at_once() {
    let mut script = Script::start(&Sent::bare("OPTIONS", "*"));
    assert!(matches!(script.next(), Some(Output::Respond(_))));
    script.ends();
}

#[test]
fn a_body_that_nobody_asked_for_is_drained_where_the_request_succeeds() {
    for framing in [Framing::Length(9), Framing::Chunked] {
        let response = Script::start(&Sent::bare("OPTIONS", "/files").framed(framing)).responds();
        assert_eq!(response.connection, Connection::Drain);
    }
    assert_eq!(Script::start(&Sent::bare("OPTIONS", "/files")).responds().connection, Connection::KeepAlive);
}
