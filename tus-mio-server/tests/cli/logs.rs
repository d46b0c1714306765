//! What the program logs of requests, and how it is told to log other things.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Stdio,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Place, Running};

/// Where a server that has just started listens.
fn address(server: &mut Running) -> String {
    let line = server.line();
    let address = line.strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/files"));
    address.unwrap_or_else(|| panic!("{line:?}")).to_owned()
}

/// The answer to bytes that end their connection.
fn answer(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The next request in the log.
fn next(server: &mut Running) -> Value {
    let line = server.wait_for_log("\"request\"");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn each_request_is_one_document_of_the_access_log() {
    let place = Place::new();
    let arguments =
        ["--listen=127.0.0.1:0", "--access-log", "--log-format=json", "--behind-proxy", "--enable-downloads"];
    let mut server = place.start(&arguments, &[], Stdio::piped());
    let address = address(&mut server);

    let common = "Host: h\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.1, 192.0.2.7\r\n";
    let tus = format!("{common}Tus-Resumable: 1.0.0\r\n");
    let body = "Content-Type: application/offset+octet-stream\r\nContent-Length: 5\r\n\r\nhello";
    let request = format!("POST /files HTTP/1.1\r\n{tus}Upload-Length: 5\r\nX-Request-ID: mine-1\r\n{body}");
    let created = answer(&address, &request);
    let location = field(&created, "Location").unwrap();
    let path = &location[location.find("/files").unwrap()..];
    let upload = path.strip_prefix("/files/").unwrap();
    let event = next(&mut server);
    assert_eq!(event["level"], "INFO");
    for (name, value) in [
        ("method", "POST".into()),
        ("path", "/files".into()),
        ("status", Value::from(201)),
        ("received", Value::from(5)),
        ("sent", Value::from(0)),
        ("upload", upload.into()),
        ("client", "192.0.2.7".into()),
        ("id", "mine-1".into()),
    ] {
        assert_eq!(event[name], value, "{name} of {event}");
    }
    assert!(event["micros"].is_u64() && event.get("code").is_none(), "{event}");

    // One that its client does not name is given a name, which the answer tells.
    let refused = answer(&address, &format!("PATCH {path} HTTP/1.1\r\n{tus}Upload-Offset: 3\r\n{body}"));
    let event = next(&mut server);
    assert_eq!((&event["status"], &event["code"]), (&Value::from(409), &"ERR_MISMATCHED_OFFSET".into()));
    assert_eq!(event["upload"], upload);
    let id = field(&refused, "X-Request-ID").unwrap();
    assert!(id.len() == 20 && event["id"] == id, "{event}");

    // A download, once it is sent; and what the server answers by itself.
    answer(&address, &format!("GET {path} HTTP/1.1\r\n{common}\r\n"));
    let event = next(&mut server);
    assert_eq!((&event["method"], &event["sent"], &event["status"]), (&"GET".into(), &5.into(), &200.into()));
    answer(&address, &format!("GET /healthz HTTP/1.1\r\n{common}\r\n"));
    let event = next(&mut server);
    assert_eq!((&event["path"], &event["sent"]), (&"/healthz".into(), &2.into()));

    // What never becomes a request.
    answer(&address, "GET / HTTP/1.1\r\nX-Request-ID: bad\r\nno field\r\n\r\n");
    let event = next(&mut server);
    assert_eq!((&event["status"], &event["code"]), (&400.into(), &"ERR_BAD_REQUEST".into()));
    assert_eq!(
        (&event["client"], event.get("method"), &event["id"]),
        (&"127.0.0.1".into(), None, &"bad".into())
    );

    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
}

#[test]
fn a_client_that_is_gone_is_in_the_access_log() {
    let place = Place::new();
    let arguments = ["--listen=127.0.0.1:0", "--access-log", "--log-format=json"];
    let mut server = place.start(&arguments, &[], Stdio::piped());
    let address = address(&mut server);
    let head = "POST /files HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 10\r\n\
                Content-Length: 10\r\nContent-Type: application/offset+octet-stream\r\n\r\nhello";
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
    let event = next(&mut server);
    // A reset may take what arrived along.
    assert!([499, 400].map(Value::from).contains(&event["status"]), "{event}");
    assert_eq!(event["code"], "ERR_UNEXPECTED_EOF");
}

#[test]
fn a_hangup_reads_the_level_again_from_the_file() {
    let place = Place::new();
    let file = place.path("tus.toml");
    std::fs::write(&file, "log-level = \"error\"\n").unwrap();
    let mut server = place.start(&["--listen=127.0.0.1:0", "--config=tus.toml"], &[], Stdio::piped());
    let address = address(&mut server);
    let request = "OPTIONS /files HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert!(answer(&address, request).starts_with("HTTP/1.1 204"));
    std::fs::write(&file, "log-level = \"debug\"\n").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("the log level is set");
    assert!(answer(&address, request).starts_with("HTTP/1.1 204"));
    let line = server.wait_for_log("\"OPTIONS\"");
    assert!(line.contains("DEBUG"), "{line}");
    // What can't be read changes nothing.
    std::fs::write(&file, "log-level = 7\n").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("the log level stays as it was");
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
}

/// A full pipe would block its writer.
#[test]
fn a_log_that_nobody_reads_holds_up_no_request() {
    let place = Place::new();
    let mut server = place.start(&["--listen=127.0.0.1:0", "--log-level=debug"], &[], Stdio::piped());
    let address = address(&mut server);
    let mut stream = TcpStream::connect(&address).unwrap();
    // A line each: the pipe takes some hundreds, and a thousand wait.
    for _ in 0..40 {
        let batch = "OPTIONS /files HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
        stream.write_all(batch.as_bytes()).unwrap();
        let (mut answers, mut buffer) = (Vec::new(), [0; 64 << 10]);
        while String::from_utf8_lossy(&answers).matches("HTTP/1.1 204 ").count() < 100
            || !answers.ends_with(b"\r\n\r\n")
        {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0);
            answers.extend_from_slice(&buffer[..count]);
        }
    }
    let get =
        |path| answer(&address, &format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert!(get("/healthz").starts_with("HTTP/1.1 200 "));
    let metrics = get("/metrics");
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("tus_log_lines_dropped_total "));
    assert!(dropped.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
}

#[test]
fn what_concerns_an_operator_is_one_line_however_often_it_comes() {
    let place = Place::new();
    let arguments = ["--listen=127.0.0.1:0", "--max-store-size=5", "--small-uploads=0"];
    let mut server = place.start(&arguments, &[], Stdio::piped());
    let address = address(&mut server);
    let started = server.wait_for_log("started");
    for told in [env!("CARGO_PKG_VERSION"), &address, "tus-data"] {
        assert!(started.contains(told), "{told}: {started}");
    }

    let tus = "Host: h\r\nConnection: close\r\nTus-Resumable: 1.0.0\r\n";
    let body = "Content-Type: application/offset+octet-stream\r\nContent-Length: 5\r\n\r\nhello";
    let create = format!("POST /files HTTP/1.1\r\n{tus}Upload-Length: 10\r\n");
    let created = answer(&address, &format!("{create}{body}"));
    let location = field(&created, "Location").unwrap();
    let path = &location[location.find("/files").unwrap()..];
    let shown = place.run(&["show", "--json", path.strip_prefix("/files/").unwrap()], &[]);
    let shown: Value = serde_json::from_str(shown.assert_quiet_success()).unwrap();
    let file = shown["data"][0]["path"].as_str().unwrap();
    std::fs::rename(place.path(file), place.path("moved")).unwrap();

    let name = std::path::Path::new(file).file_name().unwrap().to_str().unwrap();
    let ask = |status: u16, request: &str| {
        for _ in 0..10 {
            let answer = answer(&address, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        }
    };
    ask(410, &format!("PATCH {path} HTTP/1.1\r\n{tus}Upload-Offset: 5\r\n{body}"));
    assert!(server.wait_for_log(name).contains("ERROR"));
    let long = "x".repeat(100_000);
    for (status, request) in [
        (507, format!("{create}\r\n")),
        (431, format!("OPTIONS /files HTTP/1.1\r\n{tus}X: {long}\r\n\r\n")),
        (414, format!("OPTIONS /{long} HTTP/1.1\r\n{tus}\r\n")),
        (400, format!("OPTIONS /files HTTP/1.1\r\n{tus}no field\r\n\r\n")),
    ] {
        ask(status, &request);
    }
    server.signal(Signal::TERM);
    let run = server.finish();
    for told in ["ERR_INSUFFICIENT_STORAGE", "ERR_HEAD_TOO_LARGE", "ERR_URI_TOO_LONG", "ERR_BAD_REQUEST"] {
        // What was only counted comes after a pause.
        let lines = run.stderr.lines().filter(|line| line.contains(told));
        assert!((1..=3).contains(&lines.count()), "{told}: {}", run.stderr);
    }
    assert!(run.stderr.matches(name).count() <= 3, "{}", run.stderr);
}
