//! A bucket for tests: on versitygw, a real S3 server, where the environment's `VERSITYGW` names that program; else in
//! memory.

use std::{
    env,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tus_object_store::{Bucket, connect};

/// How long versitygw may take to listen. A bound, not a measure.
const START: Duration = Duration::from_secs(20);

/// A running versitygw, over a directory of its own.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Gateway {
    /// Starts one. `None` if `VERSITYGW` is not set.
    pub fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bucket")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Some(Self { child: spawn(port, dir.path())?, port, dir })
    }

    /// Ends it as kill -9 does, and starts it again over the same directory.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.port, self.dir.path()).unwrap();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, dir: &Path) -> Option<Child> {
    let child = Command::new(env::var_os("VERSITYGW")?)
        .args(["--port", &format!("127.0.0.1:{port}"), "--quiet", "posix"])
        .arg(dir)
        .env("ROOT_ACCESS_KEY", "ak")
        .env("ROOT_SECRET_KEY", "sksksksk")
        .stdout(Stdio::null())
        .spawn()
        .expect("versitygw runs");
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < START, "versitygw does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(child)
}

/// A client of the bucket `bucket` at an address that speaks S3.
pub fn client(address: SocketAddr, prefix: &str) -> Arc<dyn Bucket> {
    let endpoint = format!("http://{address}");
    let options = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("region", "us-east-1"),
        ("access_key_id", "ak"),
        ("secret_access_key", "sksksksk"),
    ];
    connect(&format!("s3://bucket/{prefix}"), options).unwrap()
}

/// A bucket, and what keeps it alive.
pub fn bucket() -> (Option<Gateway>, Arc<dyn Bucket>) {
    match Gateway::start() {
        Some(gateway) => {
            let bucket = client(gateway.address(), "up");
            (Some(gateway), bucket)
        }
        None => (None, connect("memory://", []).unwrap()),
    }
}
