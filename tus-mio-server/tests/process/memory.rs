//! What memory the server takes must not depend on what is uploaded.

use std::{
    io::{Read, Write},
    thread,
};

use crate::support::{Server, pattern};

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 32 * MIB;

/// Sends `length` bytes in one PATCH. Tells the upload's path.
fn upload(server: &Server, length: u64, block: &[u8]) -> String {
    let path = server.create(length);
    let mut connection = server.begin_patch(&path, 0, length);
    for _ in 0..length / block.len() as u64 {
        connection.stream.write_all(block).unwrap();
    }
    assert_eq!(connection.answer().status, 204);
    path
}

#[test]
fn a_large_upload_takes_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--durability", "eventual"]);
    upload(&server, 2048 * MIB, &pattern(0, MIB as usize));
    let peak = server.peak_memory();
    assert!(peak < LIMIT, "{peak} bytes");
}

#[test]
fn many_uploads_at_once_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let block = pattern(0, MIB as usize);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| upload(&server, 8 * MIB, &block));
        }
    });
    let peak = server.peak_memory();
    assert!(peak < LIMIT, "{peak} bytes");
}

#[test]
fn many_downloads_at_once_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--enable-downloads"]);
    let path = upload(&server, 64 * MIB, &pattern(0, MIB as usize));
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut all: Vec<_> = (0..64).map(|_| server.connect().stream).collect();
    for stream in &mut all {
        stream.write_all(request.as_bytes()).unwrap();
    }
    // All of them are under way: each has sent something, and none can send all of it.
    let mut buffer = vec![0; MIB as usize];
    for stream in &mut all {
        stream.read_exact(&mut buffer).unwrap();
    }
    let (whole, stalled) = all.split_at_mut(4);
    for stream in whole {
        let read = std::io::copy(stream, &mut std::io::sink()).unwrap();
        assert!(read > 63 * MIB);
    }
    let peak = server.peak_memory();
    assert!(peak < LIMIT, "{peak} bytes with {} that wait", stalled.len());
}

/// The flags of a constrained host, what the process may have resident with them, and what an upload may add. How much of
/// the program itself is resident depends on how it was built: all of it counts where it was built as it is shipped.
const CONSTRAINED: &[&str] = &["--threads", "1", "--buffer-memory", "1MiB", "--max-connections", "200"];
const CONSTRAINED_LIMIT: u64 = 8 * MIB;
const CONSTRAINED_GROWTH: u64 = 3 * MIB / 2;

#[test]
fn a_constrained_host_takes_a_large_upload() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), CONSTRAINED);
    let before = server.peak_memory();
    upload(&server, 1024 * MIB, &pattern(0, MIB as usize));
    let peak = server.peak_memory();
    assert!(peak - before < CONSTRAINED_GROWTH, "{before}, then {peak} bytes");
    if !cfg!(debug_assertions) {
        assert!(peak < CONSTRAINED_LIMIT, "{peak} bytes");
    }
}

#[test]
fn a_constrained_host_decodes_many_bodies_at_once() {
    const EACH: u64 = 4 * MIB;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), CONSTRAINED);
    let block = pattern(0, 16 << 10);
    upload(&server, EACH, &block);
    let before = server.peak_memory();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let path = server.create(EACH);
                let mut connection = server.begin_chunked_patch(&path, 0);
                for _ in 0..EACH / block.len() as u64 {
                    connection.stream.write_all(format!("{:x}\r\n", block.len()).as_bytes()).unwrap();
                    connection.stream.write_all(&block).unwrap();
                    connection.stream.write_all(b"\r\n").unwrap();
                }
                connection.stream.write_all(b"0\r\n\r\n").unwrap();
                assert_eq!(connection.answer().status, 204);
            });
        }
    });
    let growth = server.peak_memory() - before;
    assert!(growth < 2 * MIB, "{growth} bytes");
}
