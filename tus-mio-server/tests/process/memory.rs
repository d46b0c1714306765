//! What memory the server takes must not depend on what is uploaded.

use std::{io::Write, thread};

use crate::support::{Server, pattern};

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 32 * MIB;

/// Sends `length` bytes in one PATCH.
fn upload(server: &Server, length: u64, block: &[u8]) {
    let path = server.create(length);
    let mut connection = server.begin_patch(&path, 0, length);
    for _ in 0..length / block.len() as u64 {
        connection.stream.write_all(block).unwrap();
    }
    assert_eq!(connection.answer().status, 204);
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
