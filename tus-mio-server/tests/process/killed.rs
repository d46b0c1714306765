//! `kill -9` at any moment: what was acknowledged is there when the server is started again.

use std::{io::Write, path::Path, sync::PoisonError};

use tus_redb::{Options, Store};

use crate::support::{FORKING, Server, pattern};

const MIB: u64 = 1 << 20;

/// The stored bytes of an upload, read with no server running.
fn stored(data_dir: &Path, path: &str) -> Vec<u8> {
    let id = tus_proto::UploadId::new(path.rsplit('/').next().unwrap()).unwrap();
    let _open = FORKING.read().unwrap_or_else(PoisonError::into_inner);
    let store = Store::open_existing(data_dir, &Options::default()).unwrap();
    let mut bytes = Vec::new();
    std::io::copy(&mut store.read(&id).unwrap().unwrap(), &mut bytes).unwrap();
    bytes
}

/// One PATCH of which `sent` bytes are on their way when the server is killed. The rest is sent to its
/// successor, from the offset that one tells.
fn large_patch(durability: &str) {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--durability", durability];
    let (length, sent) = (200 * MIB, 160 * MIB);
    let body = pattern(0, length as usize);

    let server = Server::start(dir.path(), &flags);
    let path = server.create(length);
    let mut connection = server.begin_patch(&path, 0, length);
    connection.stream.write_all(&body[..sent as usize]).unwrap();
    server.kill();

    let server = Server::start(dir.path(), &flags);
    let offset = server.offset(&path).unwrap();
    // 64 MiB may be staged and not committed; what lay in the sockets' buffers never reached the server.
    assert!(offset >= sent - (64 + 32) * MIB && offset <= sent, "{offset} of {sent}");
    assert_eq!(server.patch(&path, offset, &body[offset as usize..]), length);
    server.kill();
    assert!(stored(dir.path(), &path) == body, "the stored bytes are others");
}

#[test]
fn a_large_patch_loses_a_bounded_end_when_strict() {
    large_patch("strict");
}

#[test]
fn a_large_patch_loses_a_bounded_end_when_eventual() {
    large_patch("eventual");
}

/// Everything that was acknowledged, creations, bytes, completions and deletions, killed and started again
/// several times, without a pause that could have given the store time to write anything behind our back.
fn acknowledged(durability: &str) {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--durability", durability];
    let mut uploads: Vec<(String, u64)> = Vec::new();
    let mut deleted: Vec<String> = Vec::new();
    for round in 0..6 {
        let server = Server::start(dir.path(), &flags);
        for (path, offset) in &uploads {
            assert_eq!(server.offset(path), Some(*offset), "round {round}");
        }
        for path in &deleted {
            assert_eq!(server.offset(path), None, "round {round}");
        }
        for (path, offset) in &mut uploads {
            // Half of what is missing, and at last all of it.
            let more = if 5000 - *offset > 100 { (5000 - *offset) / 2 } else { 5000 - *offset };
            *offset = server.patch(path, *offset, &pattern(*offset, more as usize));
        }
        for _ in 0..8 {
            uploads.push((server.create(5000), 0));
        }
        let (path, _) = uploads.remove(round);
        let answer = server.connect().ask(&format!("DELETE {path} HTTP/1.1\r\n"));
        assert_eq!(answer.status, 204);
        deleted.push(path);
        server.kill();
    }
    let server = Server::start(dir.path(), &flags);
    for (path, offset) in &uploads {
        assert_eq!(server.offset(path), Some(*offset));
    }
    server.kill();
    for (path, offset) in uploads {
        assert!(stored(dir.path(), &path) == pattern(0, offset as usize), "{path}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_strict() {
    acknowledged("strict");
}

#[test]
fn nothing_acknowledged_is_lost_when_eventual() {
    acknowledged("eventual");
}
