//! The program with its uploads on an object store: in memory, and, where `VERSITYGW` names that program, on a real server that
//! two processes share, with all of them killed again and again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod adoption;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(flags: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tus-mio-server"))
            .args(["--listen=127.0.0.1:0", "--enable-downloads", "--lock-ttl=2s", "--lock-wait=1s"])
            .args(["--log-level=warn", "--store-part-size=5MiB"])
            .args(flags)
            .env("AWS_ACCESS_KEY_ID", "ak")
            .env("AWS_SECRET_ACCESS_KEY", "sksksksk")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.unwrap_or_else(|| panic!("it does not serve: {line:?}")).to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn head_of(method: &str, target: &str, fields: &str) -> String {
        format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n{fields}\r\n"
        )
    }

    /// The status, the fields in lower case, and the body.
    fn ask(&self, method: &str, target: &str, fields: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect();
        stream.write_all(Self::head_of(method, target, fields).as_bytes()).unwrap();
        // Who rejects a body may close before it was sent.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase() + "\r\n", answer[end + 4..].to_vec())
    }

    fn create(&self, length: usize) -> String {
        let fields = format!("Upload-Length: {length}\r\nContent-Length: 0\r\n");
        let (status, head, _) = self.ask("POST", "/files", &fields, &[]);
        assert_eq!(status, 201, "{head}");
        let location = field(&head, "location").unwrap();
        location[location.find("/files").unwrap()..].to_owned()
    }

    fn patch_fields(offset: usize, length: usize) -> String {
        format!(
            "Upload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {length}\r\n"
        )
    }

    fn offset(&self, target: &str) -> Option<usize> {
        let (status, head, _) = self.ask("HEAD", target, "", &[]);
        assert!(status < 500, "a HEAD has no 5xx: {head}");
        (status == 200).then(|| field(&head, "upload-offset").unwrap().parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    let value = head.split(&format!("\r\n{name}: ")).nth(1)?;
    value.split("\r\n").next().map(Into::into)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 977) as u8).collect()
}

#[test]
fn uploads_are_kept_in_a_bucket_in_memory() {
    let server = Server::start(&["--store=memory://".into()]);
    let whole = bytes(12_000_000);
    let target = server.create(whole.len());
    for (from, to) in [(0, 7), (7, 6_000_000), (6_000_000, 12_000_000)] {
        let (status, head, _) =
            server.ask("PATCH", &target, &Server::patch_fields(from, to - from), &whole[from..to]);
        assert_eq!((status, field(&head, "upload-offset")), (204, Some(to.to_string())), "{head}");
        assert_eq!(server.offset(&target), Some(to));
    }
    let (status, _, body) = server.ask("GET", &target, "", &[]);
    assert!(status == 200 && body == whole);
    assert_eq!(server.ask("DELETE", &target, "", &[]).0, 204);
    assert_eq!(server.ask("HEAD", &target, "", &[]).0, 404);
}

/// A real server of S3.
struct Gateway {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

/// Waits until a program listens. A bound, not a measure.
fn await_listener(port: u16, program: &str) {
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "{program} does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Gateway {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bucket")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Self::spawn(port, dir.path())?;
        Some(Self { child, port, dir })
    }

    fn spawn(port: u16, dir: &std::path::Path) -> Option<Child> {
        let program = std::env::var_os("VERSITYGW")?;
        let child = Command::new(program)
            .args(["--port", &format!("127.0.0.1:{port}"), "--quiet", "posix"])
            .arg(dir)
            .env("ROOT_ACCESS_KEY", "ak")
            .env("ROOT_SECRET_KEY", "sksksksk")
            .stdout(Stdio::null())
            .spawn()
            .expect("versitygw runs");
        await_listener(port, "versitygw");
        Some(child)
    }

    /// As by kill -9, and up again.
    fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(self.port, self.dir.path()).unwrap();
    }

    fn flags(&self) -> Vec<String> {
        let endpoint = format!("--store-option=endpoint=http://127.0.0.1:{}", self.port);
        let rest =
            ["--store=s3://bucket/up", "--store-option=allow_http=true", "--store-option=region=us-east-1"];
        rest.iter().map(|flag| (*flag).to_owned()).chain([endpoint]).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command on the bucket, and returns its output.
fn command(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tus-mio-server"))
        .args(arguments)
        .args(gateway.flags())
        .env("AWS_ACCESS_KEY_ID", "ak")
        .env("AWS_SECRET_ACCESS_KEY", "sksksksk")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

fn json(gateway: &Gateway, arguments: &[&str]) -> serde_json::Value {
    let (_, text) = command(gateway, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

fn id(target: &str) -> &str {
    target.rsplit('/').next().unwrap()
}

#[test]
fn a_bucket_keeps_uploads_over_restarts() {
    let Some(gateway) = Gateway::start() else {
        eprintln!("VERSITYGW names no program: nothing was tried");
        return;
    };
    let flags = gateway.flags();
    let server = Server::start(&flags);
    let whole = bytes(12_000_000);
    let target = server.create(whole.len());
    let (status, head, _) =
        server.ask("PATCH", &target, &Server::patch_fields(0, 7_000_000), &whole[..7_000_000]);
    assert_eq!((status, field(&head, "upload-offset")), (204, Some("7000000".into())), "{head}");
    drop(server);
    let server = Server::start(&flags);
    assert_eq!(server.offset(&target), Some(7_000_000));
    let fields = Server::patch_fields(7_000_000, 5_000_000);
    assert_eq!(server.ask("PATCH", &target, &fields, &whole[7_000_000..]).0, 204);
    let (status, _, body) = server.ask("GET", &target, "", &[]);
    assert!(status == 200 && body == whole, "the bytes are others");

    let mut parts = Vec::new();
    for (from, to) in [(0, 10), (10, 6_000_000), (6_000_000, 12_000_000)] {
        let fields = format!(
            "Upload-Length: {}\r\nUpload-Concat: partial\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {}\r\n",
            to - from,
            to - from
        );
        let (status, head, _) = server.ask("POST", "/files", &fields, &whole[from..to]);
        assert_eq!(status, 201, "{head}");
        let location = field(&head, "location").unwrap();
        parts.push(location[location.find("/files").unwrap()..].to_owned());
    }
    let fields = format!("Upload-Concat: final;{}\r\nContent-Length: 0\r\n", parts.join(" "));
    let (status, head, _) = server.ask("POST", "/files", &fields, &[]);
    assert_eq!(status, 201, "{head}");
    let location = field(&head, "location").unwrap();
    let last = location[location.find("/files").unwrap()..].to_owned();
    for part in &parts {
        assert_eq!(server.ask("DELETE", part, "", &[]).0, 204);
    }
    let (status, _, body) = server.ask("GET", &last, "", &[]);
    assert!(status == 200 && body == whole, "the bytes of the final are others");
    assert_eq!(server.ask("DELETE", &target, "", &[]).0, 204);
    assert_eq!(server.ask("HEAD", &target, "", &[]).0, 404);
    let verdict = json(&gateway, &["verify"]);
    assert_eq!(verdict["ok"], true, "{verdict}");
}

#[test]
fn uploads_in_a_bucket_expire() {
    let Some(gateway) = Gateway::start() else {
        eprintln!("VERSITYGW names no program: nothing was tried");
        return;
    };
    let server = Server::start(
        &[gateway.flags(), vec!["--upload-expiry=1s".into(), "--cleanup-interval=1s".into()]].concat(),
    );
    let target = server.create(10);
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.ask("HEAD", &target, "", &[]).0 == 200 {
        assert!(Instant::now() < deadline, "it does not expire");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.ask("HEAD", &target, "", &[]).0, 410);
}

#[test]
fn commands_look_into_a_bucket() {
    let Some(gateway) = Gateway::start() else {
        eprintln!("VERSITYGW names no program: nothing was tried");
        return;
    };
    let server = Server::start(&[gateway.flags(), vec!["--upload-expiry=24h".into()]].concat());
    let whole = bytes(6_000_000);
    let (finished, unfinished) = (server.create(whole.len()), server.create(50));
    assert_eq!(server.ask("PATCH", &finished, &Server::patch_fields(0, whole.len()), &whole).0, 204);
    assert_eq!(server.ask("PATCH", &unfinished, &Server::patch_fields(0, 20), &whole[..20]).0, 204);

    let list = json(&gateway, &["list", "--sort=size", "--descending"]);
    let uploads = list["uploads"].as_array().unwrap();
    let ids: Vec<_> = uploads.iter().map(|upload| upload["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [id(&finished), id(&unfinished)]);
    let limited = json(&gateway, &["list", "--limit=1"]);
    assert_eq!(limited["uploads"].as_array().unwrap().len(), 1);
    let rest = json(&gateway, &["list", "--after", limited["next"].as_str().unwrap()]);
    assert_eq!(rest["uploads"].as_array().unwrap().len(), 1);
    let shown = json(&gateway, &["show", id(&finished)]);
    assert_eq!((&shown["offset"], &shown["complete"]), (&6_000_000.into(), &true.into()), "{shown}");
    assert!(shown["data"][0]["path"].as_str().unwrap().starts_with("d/"), "{shown}");
    let stats = json(&gateway, &["stats"]);
    assert_eq!(
        (&stats["uploads"], &stats["bytes"], &stats["missing"]),
        (&2.into(), &6_000_020.into(), &30.into())
    );
    let (good, text) = command(&gateway, &["cat", id(&unfinished)]);
    assert!(good && text.len() >= 20, "{text}");

    let dir = tempfile::tempdir().unwrap();
    let done = json(&gateway, &["export", dir.path().to_str().unwrap()]);
    assert_eq!(done["exported"], 1, "{done}");
    assert!(std::fs::read(dir.path().join(id(&finished))).unwrap() == whole, "the bytes are others");

    let verdict = json(&gateway, &["verify"]);
    assert_eq!((&verdict["ok"], &verdict["uploads"]), (&true.into(), &2.into()), "{verdict}");
    // An entry of the expiry index and an object go, as no server ever lets them.
    std::fs::remove_dir_all(gateway.dir.path().join("bucket/up/x")).unwrap();
    let object = gateway.dir.path().join("bucket/up").join(shown["data"][0]["path"].as_str().unwrap());
    std::fs::remove_file(object).unwrap();
    let verdict = json(&gateway, &["verify"]);
    let findings = verdict["findings"].as_array().unwrap();
    let mut kinds: Vec<_> = findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["missing-object", "wrong-expiry"], "{verdict}");
    let verdict = json(&gateway, &["verify", "--repair"]);
    assert_eq!(verdict["ok"], false, "{verdict}");
    let verdict = json(&gateway, &["verify"]);
    assert_eq!(verdict["findings"].as_array().unwrap().len(), 1, "{verdict}");

    let deleted = json(&gateway, &["delete", id(&finished)]);
    assert_eq!(deleted["bytes"], 6_000_000);
    assert_eq!(server.ask("HEAD", &finished, "", &[]).0, 404);
    let (good, text) = command(&gateway, &["show", id(&finished)]);
    assert!(!good && text.contains("there is no upload"), "{text}");
    assert_eq!(json(&gateway, &["verify"])["ok"], true);
}

/// `KILLS=50` kills more often than by default.
#[test]
fn two_servers_share_a_bucket_and_kills_lose_nothing() {
    let Some(mut gateway) = Gateway::start() else {
        eprintln!("VERSITYGW names no program: nothing was tried");
        return;
    };
    let flags = gateway.flags();
    let mut servers = [Server::start(&flags), Server::start(&flags)];
    let whole = bytes(40 << 20);
    let kills: usize = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6);
    let (mut kill, mut told, mut target) = (0, 0, servers[0].create(whole.len()));
    let deadline = Instant::now() + Duration::from_secs(120 + 20 * kills as u64);
    while kill < kills {
        assert!(Instant::now() < deadline, "it does not end");
        let one = kill % 2;
        let Some(offset) = servers[one].offset(&target) else { continue };
        assert!(offset >= told, "{offset} after {told}");
        told = offset;
        if offset == whole.len() {
            let (_, _, body) = servers[1 - one].ask("GET", &target, "", &[]);
            assert!(body == whole, "the bytes are others");
            (told, target) = (0, servers[one].create(whole.len()));
            continue;
        }
        // Some of it, then the end of whoever it was sent to.
        let mut stream = servers[one].connect();
        let head = Server::head_of("PATCH", &target, &Server::patch_fields(offset, whole.len() - offset));
        stream.write_all(head.as_bytes()).unwrap();
        let some = (offset + (7 << 20) + kill * 100_003).min(whole.len());
        let _ = stream.write_all(&whole[offset..some]);
        if kill % 3 == 2 {
            gateway.restart();
        }
        servers[one] = Server::start(&flags);
        if kill % 5 == 4 {
            servers[1 - one] = Server::start(&flags);
        }
        kill += 1;
    }
    // What is left is sent in one go, to either.
    let mut tries = 0;
    loop {
        let (one, two) = (tries % 2, 1 - tries % 2);
        assert!(Instant::now() < deadline, "it does not end");
        tries += 1;
        let Some(offset) = servers[one].offset(&target) else { continue };
        assert!(offset >= told, "{offset} after {told}");
        told = offset;
        if offset == whole.len() {
            break;
        }
        let fields = Server::patch_fields(offset, whole.len() - offset);
        if servers[two].ask("PATCH", &target, &fields, &whole[offset..]).0 != 204 {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    let (status, _, body) = servers[0].ask("GET", &target, "", &[]);
    assert!(status == 200 && body == whole, "the bytes are others");
    let verdict = json(&gateway, &["verify"]);
    assert_eq!(verdict["ok"], true, "{verdict}");
}
