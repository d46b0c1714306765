//! A connection that breaks while the server is not looking: all of it comes at once, the request, its body and
//! the end.

use std::{io::Write, time::Duration};

use crate::support::{Server, pattern};

#[test]
fn a_reset_that_comes_together_with_its_request_costs_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--durability", "eventual"]);
    for _ in 0..10 {
        let path = server.create(100_000);
        // The server knows the connection already: all that follows is one event to it.
        let mut connection = server.connect();
        assert_eq!(connection.ask("OPTIONS /files HTTP/1.1\r\n").status, 204);
        server.freeze();
        connection.begin_patch(&path, 0, 100_000);
        connection.stream.write_all(&pattern(0, 60_000)).unwrap();
        socket2::SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(connection);
        server.thaw();
        // A bound on questions, not on time: the server may only just be looking.
        let told = (0..20_000).find_map(|_| server.offset(&path).filter(|offset| *offset > 0));
        assert_eq!(told, Some(60_000));
    }
}
