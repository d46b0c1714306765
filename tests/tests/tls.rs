//! What TLS adds to a connection: large bodies through it in both directions, and all the ways it can go wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use tests::{Answer, Request, client::Client, server::Running, tls::Identity};
use tus_proto::Config;

const MIB: usize = 1 << 20;

/// Bytes that are nowhere the same as a few bytes further.
fn data(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// A server, and the certificate it has.
struct Secured {
    server: Running,
    identity: Identity,
}

impl Secured {
    fn start(change: impl FnOnce(&mut tus_mio_server::Settings)) -> Self {
        let identity = Identity::new();
        let server = Running::start(|settings| {
            settings.tls = Some(identity.files());
            change(settings);
        });
        Self { server, identity }
    }

    fn connect(&self) -> Client {
        Client::connect_secured(self.server.address(), self.identity.client())
    }

    fn send(&self, request: &Request) -> Answer {
        let mut client = self.connect();
        client.request(request);
        client.answer(request.method == "HEAD").unwrap()
    }

    fn create(&self, length: usize) -> String {
        let answer = self.send(&Request::post().with("Upload-Length", length));
        assert_eq!(answer.status, 201);
        answer.value("Location").unwrap().to_owned()
    }

    /// A client that has sent the first `sent` bytes of a PATCH of all of `data`.
    fn sending(&self, location: &str, data: &[u8], sent: usize) -> Client {
        let patch = Request::patch(0).announcing(data.len() as u64, "");
        let mut client = self.connect();
        // With this answer come the session's tickets: left unread, they would turn a close into a reset, which
        // takes back what is still on its way.
        assert!(client.is_kept());
        client.request(&Request { target: location.into(), ..patch });
        client.write(&data[..sent]);
        client
    }

    fn get(&self, location: &str) -> Vec<u8> {
        let answer = self.send(&Request::bare("GET", location));
        assert_eq!(answer.status, 200);
        answer.body
    }
}

fn downloads() -> Config {
    Config::builder().downloads(true).build().unwrap()
}

#[test]
fn large_bodies_come_out_as_they_went_in() {
    let secured = Secured::start(|settings| settings.protocol = downloads());
    let data = data(24 * MIB + 17);
    let location = secured.create(data.len());
    let answer = secured.sending(&location, &data, data.len()).answer(false).unwrap();
    assert_eq!((answer.status, answer.value("Upload-Offset")), (204, Some(&*data.len().to_string())));
    assert!(secured.get(&location) == data, "other bytes come out");
    let location = secured.create(data.len());
    let chunks: Vec<_> = data.chunks(100_003).map(<[u8]>::to_vec).collect();
    let body = tests::Body::Chunked(chunks, tests::message::Last::Sent);
    let patch = Request { target: location.clone(), body, ..Request::patch(0) };
    assert_eq!(secured.send(&patch).status, 204);
    assert!(secured.get(&location) == data, "other bytes come out");
}

#[test]
fn a_reader_that_stops_for_a_moment_gets_all_of_a_download() {
    let secured = Secured::start(|settings| (settings.protocol, settings.threads) = (downloads(), Some(1)));
    let data = data(16 * MIB);
    let location = secured.create(data.len());
    assert_eq!(secured.sending(&location, &data, data.len()).answer(false).unwrap().status, 204);
    let mut readers: Vec<_> = (0..40).map(|_| secured.connect()).collect();
    for reader in &mut readers {
        reader.request(&Request::bare("GET", &location));
        assert_eq!(reader.answer_head().unwrap().status, 200);
    }
    // All but the last wait, and hold up nobody: another upload has its turn.
    let other = secured.create(MIB);
    assert_eq!(secured.sending(&other, &data[..MIB], MIB).answer(false).unwrap().status, 204);
    for mut reader in readers.drain(36..) {
        assert!(reader.take(data.len()).unwrap() == data, "other bytes come out");
    }
}

#[test]
fn downloads_that_are_broken_off_keep_no_buffer() {
    let secured = Secured::start(|settings| {
        (settings.protocol, settings.threads, settings.buffer_memory) = (downloads(), Some(1), Some(0));
    });
    let data = data(4 * MIB);
    let location = secured.create(data.len());
    assert_eq!(secured.sending(&location, &data, data.len()).answer(false).unwrap().status, 204);
    // Some of them while a worker has the one buffer that there is.
    for at in 0..60 {
        let mut reader = secured.connect();
        reader.request(&Request::bare("GET", &location));
        assert_eq!(reader.answer_head().unwrap().status, 200);
        reader.take(1 + at * 7_001).unwrap();
        reader.reset();
    }
    assert!(secured.get(&location) == data, "other bytes come out");
}

#[test]
fn a_connection_that_breaks_off_unannounced_loses_no_byte_that_arrived() {
    let secured = Secured::start(|_| {});
    let data = data(3 * MIB);
    let location = secured.create(data.len());
    let sent = 2 * MIB + 3;
    // Dropped, it says no close_notify: it is as if the network had gone.
    drop(secured.sending(&location, &data, sent));
    let told = (0..20_000).find_map(|_| {
        let answer = secured.send(&Request { target: location.clone(), ..Request::head() });
        let offset = answer.value("Upload-Offset").unwrap().parse::<usize>().unwrap();
        assert!(offset <= sent);
        (offset == sent).then_some(offset)
    });
    assert_eq!(told, Some(sent));
}

#[test]
fn a_close_is_announced_and_locations_are_https() {
    let proxied = Config::builder().behind_proxy(true).build().unwrap();
    let secured = Secured::start(|settings| settings.protocol = proxied);
    let mut client = secured.connect();
    client.request(&Request::post().with("Upload-Length", 1).with("Connection", "close"));
    let answer = client.answer(false).unwrap();
    assert!(answer.value("Location").unwrap().starts_with("https://localhost/files/"), "{answer:?}");
    // rustls would call an end without close_notify an error.
    client.expect_close().unwrap();
}

/// All that comes until the server closes; a reset is an error.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_handshake_that_does_not_end_is_cut_off_in_time() {
    let secured = Secured::start(|settings| settings.http.head_timeout = Duration::from_millis(50));
    let mut stream = TcpStream::connect(secured.server.address()).unwrap();
    // The beginning of a ClientHello. Of the idle it would be closed in a minute.
    stream.write_all(&[0x16, 0x03, 0x01, 0x02]).unwrap();
    rest(stream);
    rest(TcpStream::connect(secured.server.address()).unwrap());
}

#[test]
fn a_handshake_that_is_too_long_is_cut_off_at_once() {
    let secured = Secured::start(|_| {});
    let mut stream = TcpStream::connect(secured.server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A ClientHello of 60 KiB, in records of 15 KiB: the last is missing, and would be waited for.
    let length = 60_u32 << 10;
    let mut hello = vec![1];
    hello.extend_from_slice(&length.to_be_bytes()[1..]);
    hello.resize(45 << 10, 3);
    for part in hello.chunks(15 << 10) {
        let record = [&[0x16, 0x03, 0x01][..], &(part.len() as u16).to_be_bytes(), part].concat();
        // What comes too late to be read turns the close into a reset.
        let _ = stream.write_all(&record);
    }
    let end = stream.read(&mut [0]);
    assert!(
        end.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |count| *count == 0),
        "{end:?}"
    );
}

#[test]
fn plain_http_is_turned_away() {
    let secured = Secured::start(|_| {});
    let mut stream = TcpStream::connect(secured.server.address()).unwrap();
    stream.write_all(b"OPTIONS /files HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let answer = rest(stream);
    assert_eq!(answer.first(), Some(&0x15), "an alert, and no HTTP: {answer:?}");
}

#[test]
fn a_renewed_certificate_is_for_new_connections_and_a_broken_one_for_none() {
    let mut secured = Secured::start(|_| {});
    let mut kept = secured.connect();
    assert!(kept.is_kept());
    let before = secured.identity.client();
    secured.identity.renew();
    assert!(Client::connect_secured(secured.server.address(), before.clone()).is_kept(), "not read yet");
    secured.server.handle().reload_tls().unwrap();
    assert!(secured.connect().is_kept());
    assert!(!Client::connect_secured(secured.server.address(), before).is_kept());
    assert!(kept.is_kept(), "who is connected stays");
    let key = secured.identity.path("key.pem");
    std::fs::write(&key, "no key").unwrap();
    let error = secured.server.handle().reload_tls().unwrap_err().to_string();
    assert!(error.contains(key.to_str().unwrap()) && error.contains("no private key"), "{error}");
    assert!(secured.connect().is_kept());
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let identity = Identity::new();
    let other = Identity::new();
    for (name, content, hint) in [
        ("key.pem", Some(std::fs::read(other.path("key.pem")).unwrap()), "not the key of the certificate"),
        ("key.pem", Some(Vec::new()), "no private key"),
        ("cert.pem", Some(b"text".to_vec()), "no certificate"),
        ("cert.pem", None, "No such file"),
    ] {
        let path = identity.path(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let settings = tus_mio_server::Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            data_dir: dir.path().join("data"),
            tls: Some(identity.files()),
            ..tus_mio_server::Settings::default()
        };
        let error = tus_mio_server::Server::bind(settings).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains(hint), "{error}");
        std::fs::write(&path, whole).unwrap();
    }
}
