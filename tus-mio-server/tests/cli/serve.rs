//! `serve` as a process: the lines it prints, the signals, and what the environment may deny it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Stdio,
};

use rustix::process::Signal;

use crate::program::{Place, Running, text};

/// The address in a line `listening on http://ADDRESS` with `path` behind it.
#[track_caller]
fn address(line: &str, path: &str) -> String {
    let address = line.strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix(path));
    address.unwrap_or_else(|| panic!("{line:?}")).to_owned()
}

/// The status line of the answer to one request.
fn status_of(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[track_caller]
fn assert_drains(server: Running, signal: Signal) {
    server.signal(signal);
    let run = server.finish();
    assert_eq!(run.status, Some(0), "{run:?}");
}

#[test]
fn each_listener_is_told_and_a_signal_ends_all() {
    let place = Place::new();
    let arguments = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let mut server = place.start(&arguments, &[], Stdio::piped());
    for _ in 0..2 {
        let address = address(&server.line(), "/files");
        assert_eq!(status_of(&address, "OPTIONS", "/files"), "HTTP/1.1 204 No Content");
        assert_eq!(status_of(&address, "GET", "/"), "HTTP/1.1 200 OK");
    }
    assert_drains(server, Signal::TERM);
    assert_eq!(place.names(), ["tus-data"]);
}

#[test]
fn the_environment_sets_what_flags_do_not() {
    let place = Place::new();
    let environment = [
        ("TUS_LISTEN", "127.0.0.1:0,[::1]:0"),
        ("TUS_DATA_DIR", "elsewhere"),
        ("TUS_BASE_PATH", "/wrong"),
        ("TUS_NO_DEMO", "yes"),
        ("TUS_LOG_LEVEL", "off"),
    ];
    let mut server = place.start(&["serve", "--base-path", "/"], &environment, Stdio::piped());
    let address = address(&server.line(), "/");
    assert!(server.line().starts_with("listening on http://[::1]:"));
    assert_eq!(status_of(&address, "GET", "/"), "HTTP/1.1 405 Method Not Allowed");
    server.signal(Signal::INT);
    server.finish().assert_quiet_success();
    assert_eq!(place.names(), ["elsewhere"]);
}

#[test]
fn a_second_signal_ends_at_once() {
    let place = Place::new();
    let arguments = ["--listen=127.0.0.1:0", "--shutdown-timeout=1h", "--request-timeout=0"];
    let mut server = place.start(&arguments, &[], Stdio::piped());
    let address = address(&server.line(), "/files");
    // A request whose body does not end keeps the first signal's drain waiting.
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /files HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 10\r\nContent-Length: 10\r\n\
                Content-Type: application/offset+octet-stream\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 12];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100");
    // Two of the same kind could arrive as one.
    server.signal(Signal::TERM);
    assert_drains(server, Signal::INT);
}

#[test]
fn serving_goes_on_where_nobody_reads_the_lines() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let arguments = ["--listen=127.0.0.1:0", "--log-level=debug"];
    let mut server = place.start(&arguments, &[], writer.into());
    server.wait_for_log("standard output is closed");
    assert_drains(server, Signal::TERM);
}

#[test]
fn events_are_lines_of_text_or_json() {
    let place = Place::new();
    for format in ["text", "json"] {
        let arguments = ["--listen=127.0.0.1:0", "--log-format", format];
        let mut server = place.start(&arguments, &[], Stdio::piped());
        server.line();
        server.signal(Signal::TERM);
        let event = server.wait_for_log("SIGTERM");
        assert_eq!(server.finish().status, Some(0));
        let time = if format == "json" {
            let event: serde_json::Value = serde_json::from_str(&event).unwrap();
            assert_eq!(event["level"], "INFO");
            event["timestamp"].as_str().unwrap().to_owned()
        } else {
            assert!(event.contains(" INFO "), "{event}");
            event.split(' ').next().unwrap().to_owned()
        };
        let shape = time.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    }
}

#[test]
fn a_port_in_use_is_told_and_nothing_touched() {
    let place = Place::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    place.run(&["--listen", "127.0.0.1:0", "--listen", &taken], &[]).assert_fails(1, &[&taken, "in use"]);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_directory_that_cannot_be_is_told() {
    let place = Place::new();
    std::fs::write(place.path("file"), "x").unwrap();
    for directory in [place.path("file"), place.path("file/below"), "/proc/tus-data".into()] {
        let run = place.run(&["--listen", "127.0.0.1:0", "--data-dir", text(&directory)], &[]);
        run.assert_fails(1, &[text(&directory)]);
    }
    assert_eq!(std::fs::read(place.path("file")).unwrap(), b"x");
}

#[test]
fn a_directory_in_use_is_told_to_servers_and_to_tools_that_find_no_socket() {
    let place = Place::new();
    let mut server = place.start(&["--listen", "127.0.0.1:0"], &[], Stdio::piped());
    let address = address(&server.line(), "/files");
    place.run(&["--listen", "127.0.0.1:0"], &[]).assert_fails(1, &["./tus-data", "in use"]);
    std::fs::remove_file(place.path("tus-data/admin.sock")).unwrap();
    for tool in [&["list"][..], &["delete", "a"], &["verify", "--repair"]] {
        place.run(tool, &[]).assert_fails(1, &["./tus-data", "in use"]);
    }
    assert_eq!(status_of(&address, "OPTIONS", "/files"), "HTTP/1.1 204 No Content");
    assert_drains(server, Signal::INT);
}
