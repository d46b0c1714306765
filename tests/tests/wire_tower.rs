//! The wire contract against the tower service, mounted in axum: every row over HTTP/1.1 and, as far as HTTP/2 can say
//! it, over that, but for what the framework answers itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tests::{
    Request, Row, Step,
    client::{Client, Tcp},
    h2::H2,
    remove_data_files, row,
    row::End,
    rules,
    table::{self, framing::Raw},
    tower::Mounted,
};

/// Rows that HTTP/2 can't say: a stream that is reset takes along what its client has not sent yet.
const NOT_OF_HTTP2: [&str; 1] = ["a client that closes at once"];

/// Rows that need what a framework does not tell: that a client has closed its side, before its body is read.
const UNTOLD: [&str; 2] =
    ["a request whose peer has left leaves the writer undisturbed", "the same with a chunked body"];

/// Cases of framing that hyper answers itself: what it can't understand, with an empty 400 or 431; an HTTP/1.0 client in
/// its own version; and what it lets pass because it understands it in one way only. Its limits are its own, too.
const HYPERS: [&str; 27] = [
    "a negative Content-Length",
    "a Content-Length with a sign",
    "a Content-Length of letters",
    "an empty Content-Length",
    "a Content-Length beyond all numbers",
    "two different Content-Length",
    "a list of different Content-Length",
    "Content-Length with Transfer-Encoding",
    "a last coding other than chunked",
    "chunked twice",
    "a coding we lack before chunked",
    "no Host",
    "two Host",
    "a malformed Host",
    "a blank before a colon",
    "a folded field",
    "a line without a colon",
    "a NUL in a value",
    "a request line of one word",
    "no HTTP at all",
    "HTTP/2 in the request line",
    "a head that is too large",
    "a head with too many fields",
    "a request target that is too long",
    "a malformed request behind a good one",
    "HTTP/1.0 closes",
    "HTTP/1.0 may ask to be kept",
];

fn start(row: &Row) -> Mounted {
    Mounted::start(row.protocol(), |limits| {
        if row.stalls {
            limits.request_timeout = Duration::from_millis(300);
        }
    })
}

fn run(row: &Row, shared: &Mounted, http2: bool) -> Result<(), String> {
    if UNTOLD.contains(&row.name.as_str()) || (http2 && !is_of_http2(row)) {
        return Ok(());
    }
    let own = (row.config.is_some() || row.stalls).then(|| start(row));
    let server = own.as_ref().unwrap_or(shared);
    let address = server.address();
    if http2 { row::attempt(row, || H2::new(address)) } else { row::attempt(row, || Tcp::new(address)) }
}

/// A stream ends with its length, or is reset: nothing is half closed or badly framed.
fn is_of_http2(row: &Row) -> bool {
    let foreign =
        |step: &Step| matches!(step, Step::End(_, End::HalfClose | End::BadFraming) | Step::Break(..));
    !NOT_OF_HTTP2.contains(&row.name.as_str()) && !row.steps.iter().any(foreign)
}

#[track_caller]
fn section(name: &str, http2: bool) {
    let shared = Mounted::start(tus_proto::Config::default(), |_| {});
    table::run_section(name, |row| run(row, &shared, http2));
}

mod http1 {
    #[track_caller]
    fn section(name: &str) {
        super::section(name, false);
    }

    tests::section_tests!(section);
}

mod http2 {
    #[track_caller]
    fn section(name: &str) {
        super::section(name, true);
    }

    tests::section_tests!(section);
}

fn case(raw: &Raw, server: &Mounted) -> Result<(), String> {
    let mut client = Client::connect(server.address());
    client.write(raw.sent.as_bytes());
    for (at, status) in raw.statuses.iter().enumerate() {
        let answer = client.answer(false)?;
        if answer.status != *status {
            return Err(format!("answer {} must be {status}, and is {}", at + 1, answer.status));
        }
        rules::check(&Request::bare("OPTIONS", "*"), &answer)?;
        let code = str::from_utf8(&answer.body).unwrap().split_once(": ").map(|(code, _)| code);
        if at + 1 == raw.statuses.len() && code != raw.code {
            return Err(format!("the code must be {:?}, and is {code:?}", raw.code));
        }
    }
    if raw.closes {
        client.expect_close()
    } else if client.is_kept() {
        Ok(())
    } else {
        Err("the connection must be kept".into())
    }
}

#[test]
fn framing() {
    let server = Mounted::start(tus_proto::Config::default(), |_| {});
    let cases = table::framing::cases();
    let failed: Vec<_> = cases
        .iter()
        .filter(|raw| !HYPERS.contains(&raw.name))
        .filter_map(|raw| case(raw, &server).err().map(|error| format!("{:?}: {error}", raw.name)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn what_is_left_out_is_in_the_table() {
    let rows: Vec<_> = table::SECTIONS.iter().flat_map(|(_, rows)| rows()).collect();
    for name in NOT_OF_HTTP2.into_iter().chain(UNTOLD) {
        assert!(rows.iter().any(|row| row.name == name), "{name:?}");
    }
    for name in HYPERS {
        assert!(table::framing::cases().iter().any(|raw| raw.name == name), "{name:?}");
    }
}

#[test]
fn an_upload_whose_data_file_is_gone_is_told_as_such_and_can_be_deleted() {
    let server = Mounted::start(tus_proto::Config::default(), |_| {});
    let send = |request: Request| {
        let mut client = Client::connect(server.address());
        client.request(&request);
        client.answer(request.is_head()).unwrap()
    };
    // More than goes into the records.
    let body = "a".repeat(1 << 20);
    let created = send(Request::post().with("Upload-Length", body.len() + 5));
    let location = created.value("Location").unwrap();
    let location = location.split_once("//").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    let at = |request: Request| Request { target: location.unwrap().to_owned(), ..request };
    assert_eq!(send(at(Request::patch(0).sized(&body))).status, 204);
    remove_data_files(server.data_dir());
    assert_eq!(send(at(Request::head())).status, 200, "nobody has noticed");
    for _ in 0..2 {
        let answer = send(at(Request::patch(body.len() as u64).sized("hello")));
        assert_eq!(answer.status, 410);
        assert!(answer.body.starts_with(b"ERR_UPLOAD_GONE"), "{answer:?}");
        assert_eq!(send(at(Request::head())).status, 410);
    }
    assert_eq!(send(at(Request::delete())).status, 204);
    assert_eq!(send(at(Request::head())).status, 404);
}
