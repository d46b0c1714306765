//! The real server on real file systems that are tiny, and full. They are mounted in a namespace of their own, so that
//! nothing of them is left whatever becomes of a test. That takes root, or a system that lets users have namespaces;
//! so these tests are not built by default: `cargo test -p tus-mio-server --features mount --test full`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../process/support.rs"]
#[allow(dead_code)]
mod support;

use std::{
    io::{BufRead, BufReader, Write},
    net::Shutdown,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::PoisonError,
    thread,
};

use support::{FORKING, Server, pattern};
use tempfile::TempDir;
use tus_redb::{Options, Store};

const MIB: u64 = 1 << 20;

/// A small file system, there for as long as this value.
struct Mounted {
    holder: Child,
    /// Its end is the holder's.
    _stdin: ChildStdin,
    root: PathBuf,
    /// Without the directory the mount would be gone.
    _dir: TempDir,
}

impl Mounted {
    /// Runs `mount`, shell commands that mount something at `$DIR`, where nobody else sees it.
    fn new(mount: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-ec"]).arg(format!("{mount}\necho mounted\nread end"));
        command.env("DIR", dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare, of util-linux");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mounted\n", "this test must be allowed to mount: run it as root");
        let seen = Path::new("/proc").join(holder.id().to_string()).join("root");
        let root = seen.join(dir.path().strip_prefix("/").unwrap());
        Self { _stdin: holder.stdin.take().unwrap(), holder, root, _dir: dir }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// More than there is room for, from several clients at once. Tells each upload's path and what the server says it
/// has of it.
fn fill(server: &Server, length: u64) -> Vec<(String, u64)> {
    let upload = || {
        let path = server.create(length);
        let mut connection = server.begin_patch(&path, 0, length);
        let body = pattern(0, length as usize);
        // The rejection may come, and close, before all of it was sent.
        let _ = connection.stream.write_all(&body).and_then(|()| connection.stream.shutdown(Shutdown::Write));
        let answer = connection.answer();
        let offset = server.offset(&path).unwrap();
        // The first may have found room for all of it.
        assert_eq!(answer.status, if offset == length { 204 } else { 507 }, "{answer:?}");
        (path, offset)
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(upload)).collect();
        all.into_iter().map(|upload| upload.join().unwrap()).collect()
    })
}

fn full(disk: &Mounted, durability: &str, size: u64) {
    let dir = disk.root.join(durability);
    let flags = ["--durability", durability];
    let server = Server::start(&dir, &flags);
    let small = server.create(1000);
    let open = server.create(2000);
    assert_eq!(server.patch(&small, 0, &pattern(0, 1000)), 1000);
    let mut halfway = server.begin_patch(&open, 0, 2000);
    halfway.stream.write_all(&pattern(0, 1500)).unwrap();
    let told = (0..20_000).find_map(|_| server.offset(&open).filter(|offset| *offset == 1500));
    assert_eq!(told, Some(1500));

    let mut uploads = fill(&server, size);
    let fitted: u64 = uploads.iter().map(|(_, offset)| offset).sum();
    assert!(fitted > size / 4, "{fitted} bytes fitted");
    // Now at the latest it is full, and what was told stays.
    let refused = |_| new_upload(&server).is_none_or(|path| try_patch(&server, &path) == 507);
    assert!((0..64).any(refused), "more fits than there is room for");
    drop(halfway);
    assert_eq!(server.offset(&small), Some(1000));
    assert_eq!(server.offset(&open), Some(1500));
    // Killed as it is, and started again on the full disk.
    server.kill();
    let server = Server::start(&dir, &flags);
    for (path, offset) in &uploads {
        assert_eq!(server.offset(path), Some(*offset), "{path}");
    }
    // The one with the least is kept: one of them may hold nearly all that fitted, and its space must come back.
    uploads.sort_by_key(|(_, offset)| *offset);
    let (kept, kept_offset) = uploads.remove(0);
    assert!(kept_offset < size, "more fits than there is room for");
    for (path, _) in &uploads {
        assert_eq!(server.connect().ask(&format!("DELETE {path} HTTP/1.1\r\n")).status, 204);
    }
    // Space comes back when the files are gone: a bound on questions, not on time.
    let again = (0..20_000).find_map(|_| new_upload(&server).filter(|path| try_patch(&server, path) == 204));
    assert!(again.is_some(), "there is space again");
    let more = 10_000.min(size - kept_offset);
    let goes_on = server.patch(&kept, kept_offset, &pattern(kept_offset, more as usize));
    assert_eq!(goes_on, kept_offset + more);
    assert_eq!(server.terminate(), Some(0));
    check(&dir, &kept, goes_on);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A new upload, where there is room for its record.
fn new_upload(server: &Server) -> Option<String> {
    let answer = server.connect().ask("POST /files HTTP/1.1\r\nUpload-Length: 1000000\r\n");
    assert!([201, 507].contains(&answer.status), "{answer:?}");
    answer.header("Location")
}

/// What half a megabyte more is answered.
fn try_patch(server: &Server, path: &str) -> u16 {
    let offset = server.offset(path).unwrap();
    let mut connection = server.begin_patch(path, offset, 500_000);
    // The answer may come before them.
    let _ = connection.stream.write_all(&pattern(offset, 500_000));
    connection.answer().status
}

fn check(dir: &Path, path: &str, offset: u64) {
    let _open = FORKING.read().unwrap_or_else(PoisonError::into_inner);
    let store = Store::open_existing(dir, &Options::default()).unwrap();
    assert_eq!(store.verify().unwrap(), []);
    let id = tus_proto::UploadId::new(path.rsplit('/').next().unwrap()).unwrap();
    let mut bytes = Vec::new();
    std::io::copy(&mut store.read(&id).unwrap().unwrap(), &mut bytes).unwrap();
    assert!(bytes == pattern(0, offset as usize), "the stored bytes are others");
}

#[test]
fn a_full_tmpfs_costs_nothing_that_fitted() {
    let disk = Mounted::new("mount -t tmpfs -o size=24m tmpfs $DIR");
    full(&disk, "strict", 16 * MIB);
    full(&disk, "eventual", 16 * MIB);
}

#[test]
fn a_full_ext4_costs_nothing_that_fitted() {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(32 * MIB).unwrap();
    let image = image.path().display();
    let mount = format!("mkfs.ext4 -q {image}\nmount -o loop {image} $DIR");
    let disk = Mounted::new(&mount);
    full(&disk, "strict", 16 * MIB);
    full(&disk, "eventual", 16 * MIB);
}
