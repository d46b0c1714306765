//! A process that may open no more files.

use crate::support::Server;

#[test]
fn without_descriptors_the_idle_make_room_and_nobody_waits_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    server.allow_descriptors(4);
    // More than there are descriptors for; none of them ever asks anything, or goes.
    let silent: Vec<_> = (0..12).map(|_| server.connect()).collect();
    for _ in 0..3 {
        assert_eq!(server.connect().ask("OPTIONS /files HTTP/1.1\r\n").status, 204);
    }
    drop(silent);
    let path = server.create(5);
    assert_eq!(server.patch(&path, 0, b"hello"), 5);
}
