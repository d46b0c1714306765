//! Where `serve` listens: at UNIX sockets, and at sockets that outlive it.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::{UnixDatagram, UnixListener, UnixStream},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::program::{Place, Running};

/// Sends a request and reads all that comes until the server closes.
fn ask(mut stream: impl Read + Write, line: &str, fields: &str, body: &[u8]) -> std::io::Result<String> {
    let usual = "Host: h\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n\
                 Content-Type: application/offset+octet-stream\r\n";
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\n{usual}{fields}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn location(answer: &str) -> &str {
    let line = answer.lines().find_map(|line| line.strip_prefix("Location: "));
    line.unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn a_unix_socket_serves_uploads_and_goes_with_its_server() {
    let place = Place::new();
    let socket = place.path("socket");
    let connect = || UnixStream::connect(&socket).unwrap();
    let arguments = ["--listen=unix:socket", "--log-level=debug"];
    let mut killed = place.start(&arguments, &[], Stdio::piped());
    assert_eq!(killed.line(), "listening on unix:socket");
    let length = 5_000_000;
    let body: Vec<u8> = (0..length as u32).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
    let created = ask(connect(), "POST /files", &format!("Upload-Length: {length}\r\n"), b"");
    let created = created.unwrap();
    let path = location(&created);
    let half = length / 2;
    let patch = |at: usize, body: &[u8]| {
        ask(connect(), &format!("PATCH {path}"), &format!("Upload-Offset: {at}\r\n"), body).unwrap()
    };
    let answer = patch(0, &body[..half]);
    assert!(answer.contains(&format!("Upload-Offset: {half}\r\n")), "{answer}");
    // Killed, it leaves its socket to its successor.
    drop(killed);
    assert!(socket.exists());
    let mut server = place.start(&arguments, &[], Stdio::piped());
    assert_eq!(server.line(), "listening on unix:socket");
    let answer = patch(half, &body[half..]);
    assert!(answer.contains(&format!("Upload-Offset: {length}\r\n")), "{answer}");
    let other = place.run(&["--listen=unix:socket", "--data-dir=other"], &[]);
    other.assert_fails(1, &["unix:socket", "another program listens there"]);
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
    assert!(!socket.exists());
    let id = path.rsplit('/').next().unwrap();
    let shown = place.run(&["show", id, "--json"], &[]);
    let shown: serde_json::Value = serde_json::from_str(shown.assert_quiet_success()).unwrap();
    let stored = std::fs::read(place.path("tus-data").join(shown["data"][0]["path"].as_str().unwrap()));
    assert!(stored.unwrap()[..length] == body, "other bytes are stored than were sent");
}

/// What a service manager keeps while servers come and go.
struct Manager {
    place: Place,
    tcp: TcpListener,
    unix: UnixListener,
    told: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let place = Place::new();
        let unix = UnixListener::bind(place.path("socket")).unwrap();
        let told = UnixDatagram::bind(place.path("notify")).unwrap();
        told.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { tcp: TcpListener::bind("127.0.0.1:0").unwrap(), unix, told, place }
    }

    fn start(&self) -> Running {
        let sockets = [self.tcp.try_clone().unwrap().into(), self.unix.try_clone().unwrap().into()];
        let server = self.place.activate(sockets, &["--threads=2"], &self.place.path("notify"));
        assert_eq!(self.state(), "READY=1");
        server
    }

    fn state(&self) -> String {
        let mut buffer = [0; 64];
        let count = self.told.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    fn socket(&self) -> std::path::PathBuf {
        self.place.path("socket")
    }
}

#[test]
fn a_restart_behind_inherited_sockets_refuses_nobody() {
    let manager = Manager::new();
    let address = manager.tcp.local_addr().unwrap();
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let serve = |answer: std::io::Result<String>| {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer:?}");
        answered.fetch_add(1, Ordering::SeqCst);
    };
    let by_tcp = || ask(std::net::TcpStream::connect(address).unwrap(), "OPTIONS /files", "", b"");
    let by_unix = || ask(UnixStream::connect(manager.socket()).unwrap(), "OPTIONS /files", "", b"");
    thread::scope(|scope| {
        for index in 0..4 {
            let (over, serve) = (&over, &serve);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    if index % 2 == 0 { serve(by_tcp()) } else { serve(by_unix()) }
                }
            });
        }
        // Whatever happens, the clients must come to their end.
        let restarted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                let server = manager.start();
                let more = answered.load(Ordering::SeqCst) + 100;
                while answered.load(Ordering::SeqCst) < more {
                    thread::yield_now();
                }
                server.signal(Signal::TERM);
                assert_eq!(manager.state(), "STOPPING=1");
                let run = server.finish();
                assert_eq!(run.status, Some(0), "{run:?}");
            }
            manager.start()
        }));
        over.store(true, Ordering::SeqCst);
        restarted.unwrap()
    });
    assert!(manager.socket().exists(), "what others have opened, they remove");
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_told() {
    let manager = Manager::new();
    let file = std::fs::File::open(manager.place.path(".")).unwrap();
    let sockets = [manager.tcp.try_clone().unwrap().into(), file.into()];
    let run = manager.place.activate(sockets, &[], Path::new("/nowhere")).finish();
    run.assert_fails(1, &["started with", "fd 4"]);
}

fn address_of(server: &mut Running) -> String {
    let line = server.line();
    line.strip_prefix("listening on http://").unwrap().trim_end_matches("/files").to_owned()
}

#[test]
fn a_hangup_ends_nothing_and_an_unknown_variable_is_said() {
    let place = Place::new();
    let mut server = place.start(&["--listen=localhost:0"], &[("TUS_MAX_SIZES", "1")], Stdio::piped());
    assert!(server.wait_for_log("not a variable").contains("TUS_MAX_SIZES"));
    let address = address_of(&mut server);
    for _ in 0..2 {
        server.signal(Signal::HUP);
        server.wait_for_log("no certificate to read again");
    }
    let answer = ask(std::net::TcpStream::connect(address).unwrap(), "OPTIONS /files", "", b"").unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer:?}");
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_file_sizes_is_no_space_left() {
    let place = Place::new();
    let arguments = ["--listen=127.0.0.1:0", "--small-uploads=0", "--disk-reserve=0"];
    let mut server = place.start(&arguments, &[], Stdio::piped());
    let address = address_of(&mut server);
    let connect = || std::net::TcpStream::connect(&address).unwrap();
    server.limit_files(8 << 20);
    let length = 16 << 20;
    let created = ask(connect(), "POST /files", &format!("Upload-Length: {length}\r\n"), b"").unwrap();
    let patch = format!("PATCH {}", location(&created));
    let answer = ask(connect(), &patch, "Upload-Offset: 0\r\n", &vec![1; length]).unwrap();
    assert!(answer.starts_with("HTTP/1.1 507 "), "{answer:?}");
    let answer = ask(connect(), "OPTIONS /files", "", b"").unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer:?}");
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
}

#[cfg(feature = "tls")]
#[test]
fn an_encrypted_key_is_told_so() {
    let place = Place::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(place.path("cert.pem"), made.cert.pem()).unwrap();
    let arguments = ["--listen=127.0.0.1:0", "--tls-cert=cert.pem", "--tls-key=key.pem"];
    for key in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIC\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIC\n-----END RSA PRIVATE KEY-----\n",
    ] {
        std::fs::write(place.path("key.pem"), key).unwrap();
        place.run(&arguments, &[]).assert_fails(1, &["key.pem", "encrypted", "openssl pkey"]);
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_certificate_is_read_again_on_sighup() {
    let place = Place::new();
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(place.path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(place.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    };
    renew();
    let arguments = ["--listen=127.0.0.1:0", "--tls-cert=cert.pem", "--tls-key=key.pem"];
    let mut server = place.start(&arguments, &[], Stdio::piped());
    assert!(server.line().starts_with("listening on https://127.0.0.1:"));
    renew();
    server.signal(Signal::HUP);
    server.wait_for_log("the certificate was read again");
    std::fs::write(place.path("cert.pem"), "").unwrap();
    server.signal(Signal::HUP);
    assert!(server.wait_for_log("stays as it was").contains("cert.pem"));
    server.signal(Signal::TERM);
    assert_eq!(server.finish().status, Some(0));
    place.run(&arguments, &[]).assert_fails(1, &["TLS", "cert.pem"]);
    place.run(&arguments[..2], &[]).assert_fails(2, &["--tls-key"]);
}
