//! A server process, and the least of an HTTP client that can drive it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{PoisonError, RwLock},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// Held while a process is started, and shared while a store is open in this one: between fork and exec a child
/// has all descriptors of its parent, the store's lock among them.
pub(crate) static FORKING: RwLock<()> = RwLock::new(());

/// The program that serves: `TUS_SERVE_BIN` names another that takes the same flags and keeps the same store.
fn program() -> std::ffi::OsString {
    std::env::var_os("TUS_SERVE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tus-mio-server").into())
}

/// A running server; killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(data_dir: &Path, flags: &[&str]) -> Self {
        Self::start_in(data_dir, flags, &[])
    }

    /// The same with variables of the environment.
    pub(crate) fn start_in(data_dir: &Path, flags: &[&str], env: &[(&str, &Path)]) -> Self {
        let forking = FORKING.write().unwrap_or_else(PoisonError::into_inner);
        let mut child = Command::new(program())
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(flags)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(forking);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim_end().strip_prefix("listening on http://").and_then(|url| url.strip_suffix("/files"));
        Self { address: address.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap(), child }
    }

    /// Stops all its threads; returns when they stand.
    pub(crate) fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
        let stands = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        };
        while !std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().all(stands) {
            std::thread::yield_now();
        }
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    /// SIGKILL: nothing of the process's own has a chance to run.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: lets it end by itself, and tells how it did.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// How many descriptors it has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The highest resident memory so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Allows it so many descriptors more than it has open.
    pub(crate) fn allow_descriptors(&self, more: u64) {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count() as u64;
        let limit = Rlimit { current: Some(open + more), maximum: Some(open + more) };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).unwrap();
    }

    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        // A server that hangs fails the test; it is no measure of speed.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        Connection { stream }
    }

    /// Creates an upload and tells its path.
    pub(crate) fn create(&self, length: u64) -> String {
        let answer = self.connect().ask(&format!("POST /files HTTP/1.1\r\nUpload-Length: {length}\r\n"));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.header("Location").unwrap()
    }

    /// The offset that HEAD tells; `None` if there is no such upload.
    pub(crate) fn offset(&self, path: &str) -> Option<u64> {
        let answer = self.connect().ask(&format!("HEAD {path} HTTP/1.1\r\n"));
        match answer.status {
            404 => None,
            200 => Some(answer.header("Upload-Offset").unwrap().parse().unwrap()),
            status => panic!("HEAD: {status}"),
        }
    }

    /// A connection on which a PATCH of `length` bytes has begun.
    pub(crate) fn begin_patch(&self, path: &str, offset: u64, length: u64) -> Connection {
        let mut connection = self.connect();
        connection.begin_patch(path, offset, length);
        connection
    }

    /// A connection on which a chunked PATCH has begun.
    pub(crate) fn begin_chunked_patch(&self, path: &str, offset: u64) -> Connection {
        let mut connection = self.connect();
        connection.send_head(&format!(
            "PATCH {path} HTTP/1.1\r\nUpload-Offset: {offset}\r\nTransfer-Encoding: chunked\r\n\
             Content-Type: application/offset+octet-stream\r\n"
        ));
        connection
    }

    /// A whole PATCH, with the offset it is answered.
    pub(crate) fn patch(&self, path: &str, offset: u64, body: &[u8]) -> u64 {
        let mut connection = self.begin_patch(path, offset, body.len() as u64);
        connection.stream.write_all(body).unwrap();
        let answer = connection.answer();
        assert_eq!(answer.status, 204, "{answer:?}");
        answer.header("Upload-Offset").unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to the server.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
}

impl Connection {
    pub(crate) fn ask(&mut self, head: &str) -> Answer {
        self.send_head(head);
        self.answer()
    }

    pub(crate) fn begin_patch(&mut self, path: &str, offset: u64, length: u64) {
        self.send_head(&format!(
            "PATCH {path} HTTP/1.1\r\nUpload-Offset: {offset}\r\nContent-Length: {length}\r\n\
             Content-Type: application/offset+octet-stream\r\n"
        ));
    }

    fn send_head(&mut self, head: &str) {
        self.stream.write_all(head_of(head).as_bytes()).unwrap();
    }

    /// The head of the next answer; a body is left where it is.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(
                self.stream.read(&mut byte).unwrap(),
                1,
                "closed after {:?}",
                String::from_utf8_lossy(&head)
            );
            head.push(byte[0]);
        }
        Answer::new(String::from_utf8(head).unwrap())
    }
}

/// A whole head: `head`, and what every request has.
pub(crate) fn head_of(head: &str) -> String {
    format!("{head}Host: localhost\r\nTus-Resumable: 1.0.0\r\n\r\n")
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
}

impl Answer {
    pub(crate) fn new(head: String) -> Self {
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head }
    }

    /// Whether no other can follow it on its connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("Connection").is_some_and(|value| value == "close")
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.into())
    }
}

/// Byte `at` of every upload in these tests: a sequence that tells where in it one is.
pub(crate) fn pattern(at: u64, length: usize) -> Vec<u8> {
    let word = |index: u64| (index ^ (index << 21)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let skip = (at % 8) as usize;
    let words = (at / 8..).flat_map(word);
    words.skip(skip).take(length).collect()
}
