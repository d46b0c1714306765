//! How many connections one address may have.

use std::{
    io::{ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use crate::support::{Connection, Server, head_of};

const OPTIONS: &str = "OPTIONS /files HTTP/1.1\r\n";

/// What the peer is sent, to the end of the connection: nothing, where it is closed without a word.
fn told(mut connection: Connection) -> Vec<u8> {
    let mut answer = Vec::new();
    // The server may have closed it before this came, and then the end is a reset.
    let _ = connection.stream.write_all(head_of(&format!("{OPTIONS}Connection: close\r\n")).as_bytes());
    match connection.stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => answer,
    }
}

#[test]
fn who_has_as_many_as_allowed_is_closed_without_a_word_until_one_ends() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--max-connections-per-address", "2", "--uncounted-addresses", "none"];
    let server = Server::start(dir.path(), &flags);
    let [mut first, mut second] = [server.connect(), server.connect()];
    for connection in [&mut first, &mut second] {
        assert_eq!(connection.ask(OPTIONS).status, 204);
    }
    for _ in 0..2 {
        assert_eq!(String::from_utf8(told(server.connect())).unwrap(), "");
    }
    let mut metrics = String::new();
    first.ask("GET /metrics HTTP/1.1\r\nConnection: close\r\n");
    first.stream.read_to_string(&mut metrics).unwrap();
    assert!(metrics.contains("tus_connections_refused_total 2\n"), "{metrics}");
    drop(first);
    // The server learns of it a moment later.
    let until = Instant::now() + Duration::from_secs(20);
    while told(server.connect()).is_empty() {
        assert!(Instant::now() < until, "nobody is let in again");
    }
    assert_eq!(second.ask(OPTIONS).status, 204);
}

#[test]
fn proxies_on_this_machine_are_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--max-connections-per-address", "1"]);
    let mut connections = [server.connect(), server.connect(), server.connect()];
    for connection in &mut connections {
        assert_eq!(connection.ask(OPTIONS).status, 204);
    }
}
