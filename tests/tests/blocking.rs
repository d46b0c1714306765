//! The blocking entry beyond the wire contract: what a body's reader may do, threads that meet at an upload, and
//! the housekeeping that is left to the caller.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tests::{Request, embed::handle};
use tus_mio_server::{Blocking, Reply};
use tus_proto::{Config, ConfigBuilder, Framing, Head, Response, Trailers, UploadId};
use tus_redb::{Durability, Options, Store};

/// sha1 of "hello".
const HELLO_SHA1: &str = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=";

struct Place {
    uploads: Blocking,
    dir: TempDir,
}

fn place(config: ConfigBuilder, durability: Durability) -> Place {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), &Options { durability, ..Options::default() }).unwrap();
    Place { uploads: Blocking::new(store, config.build().unwrap()), dir }
}

fn uploads(config: ConfigBuilder) -> Place {
    place(config, Durability::Strict)
}

impl Place {
    fn send(&self, location: &str, request: Request) -> Reply {
        send(&self.uploads, location, request)
    }

    fn create(&self, length: u64) -> String {
        let response = self.send("", Request::post().with("Upload-Length", length));
        response.header("Location").unwrap().to_owned()
    }

    fn offset(&self, location: &str) -> u64 {
        let response = self.send(location, Request::head());
        assert_eq!(response.status(), 200);
        response.header("Upload-Offset").unwrap().parse().unwrap()
    }

    fn stored(&self, location: &str) -> Vec<u8> {
        let id = location.rsplit('/').next().and_then(UploadId::new).unwrap();
        let mut bytes = Vec::new();
        self.uploads.store().engine().read(&id).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// How many files the store keeps, its records beside.
    fn files(&self) -> usize {
        fn count(dir: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(self.dir.path())
    }
}

fn at(location: &str, request: Request) -> Request {
    Request { target: request.target.replace("{upload}", location), ..request }
}

fn send(uploads: &Blocking, location: &str, request: Request) -> Reply {
    let request = at(location, request);
    handle(uploads, &request, &*request.body.sent())
}

#[track_caller]
fn is(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status(), response.body().split(':').next()), (status, Some(code)));
}

#[track_caller]
fn written(response: &Response, offset: &str) {
    assert_eq!((response.status(), response.header("Upload-Offset")), (204, Some(offset)));
}

/// A body whose reader blocks until something comes, says when it does so, and looks up only for an empty piece.
struct Silent {
    asked: Sender<()>,
    pieces: Receiver<&'static str>,
}

fn silent() -> (Silent, Receiver<()>, Sender<&'static str>) {
    let ((asked, was_asked), (sender, pieces)) = (channel(), channel());
    (Silent { asked, pieces }, was_asked, sender)
}

impl Read for Silent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = self.asked.send(());
        let piece = self.pieces.recv().unwrap();
        if piece.is_empty() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        buffer[..piece.len()].copy_from_slice(piece.as_bytes());
        Ok(piece.len())
    }
}

#[test]
fn a_body_is_read_to_its_length_and_no_further() {
    let place = uploads(Config::builder());
    let location = place.create(9);
    let request = at(&location, Request::patch(0).announcing(5, ""));
    let mut connection = &b"helloPATCH"[..];
    written(&handle(&place.uploads, &request, &mut connection), "5");
    assert_eq!(connection, b"PATCH");
    // Without a length the reader's end is the body's.
    let fields: [(&str, &[u8]); 3] = [
        ("tus-resumable", b"1.0.0"),
        ("upload-offset", b"5"),
        ("content-type", b"application/offset+octet-stream"),
    ];
    written(&place.uploads.handle_request("PATCH", &location, &fields, &b"you!"[..]), "9");
    assert_eq!(place.stored(&location), b"helloyou!");
}

#[test]
fn a_framing_that_contradicts_itself_is_refused() {
    let place = uploads(Config::builder().cors_allow_origins(vec!["*".into()]));
    let length = |value: &'static str| ("Content-Length", value.as_bytes());
    for fields in [
        vec![length("-1")],
        vec![length("x")],
        vec![length("")],
        vec![length("1"), length("2")],
        vec![length("1"), ("transfer-encoding", b"chunked")],
    ] {
        let response = place.uploads.handle_request("POST", "/files", &fields, &b"x"[..]);
        is(&response, 400, "ERR_BAD_REQUEST");
        assert!(response.header("Access-Control-Allow-Origin").is_some());
    }
    let fields = [length("0"), length("0"), ("Tus-Resumable", b"1.0.0"), ("Upload-Length", b"1")];
    assert_eq!(place.uploads.handle_request("POST", "/files", &fields, io::empty()).status(), 201);
}

#[test]
fn a_checksum_in_the_header_is_verified() {
    let place = uploads(Config::builder());
    let location = place.create(5);
    let patch = |body| Request::patch(0).with("Upload-Checksum", HELLO_SHA1).sized(body);
    is(&place.send(&location, patch("hallo")), 460, "ERR_CHECKSUM_MISMATCH");
    assert_eq!(place.offset(&location), 0);
    written(&place.send(&location, patch("hello")), "5");
    assert_eq!(place.stored(&location), b"hello");
}

#[test]
fn a_checksum_in_the_trailer_is_verified_with_and_without_an_announcement() {
    let place = uploads(Config::builder());
    for announced in [&b"Upload-Checksum"[..], b"Nothing"] {
        let location = place.create(5);
        let fields: [(&str, &[u8]); 4] = [
            ("Tus-Resumable", b"1.0.0"),
            ("Upload-Offset", b"0"),
            ("Content-Type", b"application/offset+octet-stream"),
            ("Trailer", announced),
        ];
        let head = Head {
            method: "PATCH",
            target: &location,
            fields: &fields,
            framing: Framing::Chunked,
            secure: false,
            direct: false,
        };
        let patch = |mut body: &[u8]| {
            let mut asked = 0;
            let mut trailers = || {
                asked += 1;
                let mut trailers = Trailers::default();
                trailers.push("upload-checksum", HELLO_SHA1.as_bytes());
                trailers
            };
            let response = place.uploads.handle(&head, &mut body, &mut trailers);
            assert_eq!(asked, 1);
            response
        };
        is(&patch(b"hallo"), 460, "ERR_CHECKSUM_MISMATCH");
        assert_eq!(place.offset(&location), 0);
        written(&patch(b"hello"), "5");
        assert_eq!(place.stored(&location), b"hello");
    }
}

#[test]
fn a_writer_in_a_read_can_not_give_way_and_clients_are_told_the_truth() {
    let config = Config::builder().lock_wait(Duration::from_millis(50));
    let place = uploads(config.checkpoint_interval(Duration::from_secs(3600)));
    let location = place.create(9);
    let (body, asked, pieces) = silent();
    std::thread::scope(|scope| {
        let request = at(&location, Request::patch(0).announcing(9, ""));
        let uploads = &place.uploads;
        let writer = scope.spawn(move || handle(uploads, &request, body));
        asked.recv().unwrap();
        pieces.send("hello").unwrap();
        asked.recv().unwrap();
        assert_eq!(place.offset(&location), 0);
        is(&place.send(&location, Request::patch(0).sized("HELLO")), 423, "ERR_UPLOAD_LOCKED");
        is(&place.send(&location, Request::delete()), 423, "ERR_UPLOAD_LOCKED");
        // It was asked to commit and to give way, and does both when the read returns.
        pieces.send("you").unwrap();
        is(&writer.join().unwrap(), 400, "ERR_UPLOAD_INTERRUPTED");
    });
    written(&place.send(&location, Request::patch(8).sized("!")), "9");
    assert_eq!(place.stored(&location), b"helloyou!");
}

#[test]
fn a_newcomer_goes_on_as_soon_as_the_writer_lets_go() {
    // Nobody waits that long here: who does has missed a wake.
    let place = uploads(Config::builder().lock_wait(Duration::from_secs(60)));
    let location = place.create(9);
    let (body, asked, pieces) = silent();
    std::thread::scope(|scope| {
        let uploads = &place.uploads;
        let request = at(&location, Request::patch(0).announcing(9, ""));
        let writer = scope.spawn(move || handle(uploads, &request, body));
        asked.recv().unwrap();
        pieces.send("hello").unwrap();
        asked.recv().unwrap();
        let newcomers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| place.send(&location, Request::patch(0).sized("HELLO")).status()))
            .collect();
        // Until one of them stands in the queue, the writer is not asked to give way.
        let looks = (0..1_000_000).take_while(|_| pieces.send("").is_ok() && asked.recv().is_ok()).count();
        assert!(looks < 1_000_000, "nobody asked the writer to give way");
        is(&writer.join().unwrap(), 400, "ERR_UPLOAD_INTERRUPTED");
        let statuses: Vec<_> = newcomers.into_iter().map(|thread| thread.join().unwrap()).collect();
        // Exactly one writes; the others gave way to one after them, or came after the one that wrote.
        assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 204 | 400 | 409)), "{statuses:?}");
    });
    written(&place.send(&location, Request::patch(5).sized("YOU!")), "9");
    assert_eq!(place.stored(&location), b"HELLOYOU!");
}

#[test]
fn a_writer_that_lost_its_lock_in_a_read_changes_nothing_more() {
    let place = uploads(Config::builder().lock_ttl(Duration::from_secs(1)));
    let location = place.create(9);
    let (body, asked, pieces) = silent();
    std::thread::scope(|scope| {
        let uploads = &place.uploads;
        let request = at(&location, Request::patch(0).announcing(9, ""));
        let writer = scope.spawn(move || handle(uploads, &request, body));
        asked.recv().unwrap();
        pieces.send("hello").unwrap();
        asked.recv().unwrap();
        // A second later the lock is anybody's.
        written(&place.send(&location, Request::patch(0).sized("HELLOYOU!")), "9");
        pieces.send("you!").unwrap();
        is(&writer.join().unwrap(), 400, "ERR_UPLOAD_INTERRUPTED");
    });
    assert_eq!(place.stored(&location), b"HELLOYOU!");
}

#[test]
fn a_reader_that_panics_lets_the_lock_go() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            // Without the hook's report, which would be noise here.
            std::panic::resume_unwind(Box::new("a reader's fault"))
        }
    }
    let place = uploads(Config::builder().lock_wait(Duration::ZERO));
    let location = place.create(5);
    let request = at(&location, Request::patch(0).announcing(5, ""));
    let panicked = catch_unwind(AssertUnwindSafe(|| handle(&place.uploads, &request, Panics)));
    assert!(panicked.is_err());
    assert_eq!(place.offset(&location), 0);
    written(&place.send(&location, Request::patch(0).sized("hello")), "5");
}

#[test]
fn uploads_in_many_threads_stay_apart() {
    let place = place(Config::builder().checkpoint_bytes(1 << 16), Durability::Eventual);
    let body = |n: u8| (0..300_000_u32).map(|at| (at as u8).wrapping_mul(n | 1)).collect::<Vec<_>>();
    let locations: Vec<_> = (0..8).map(|_| place.create(300_000)).collect();
    std::thread::scope(|scope| {
        for (n, location) in (0..).zip(&locations) {
            let (uploads, body) = (&place.uploads, body(n));
            scope.spawn(move || {
                for (piece, offset) in body.chunks(100_000).zip([0, 100_000, 200_000]) {
                    let request = at(location, Request::patch(offset).announcing(100_000, ""));
                    assert_eq!(handle(uploads, &request, piece).status(), 204);
                }
            });
        }
    });
    for (n, location) in (0..).zip(&locations) {
        assert!(place.stored(location) == body(n), "upload {n}");
    }
}

#[test]
fn housekeeping_makes_durable_and_gives_space_back() {
    let place = place(Config::builder(), Durability::Eventual);
    place.uploads.housekeeping().unwrap();
    let before = place.files();
    let locations: Vec<_> = (0..100).map(|_| place.create(5)).collect();
    for location in &locations {
        written(&place.send(location, Request::patch(0).sized("hello")), "5");
    }
    assert!(place.files() >= before + 100);
    for location in &locations {
        assert_eq!(place.send(location, Request::delete()).status(), 204);
    }
    place.uploads.housekeeping().unwrap();
    assert!(!place.uploads.store().engine().needs_flush());
    assert_eq!(place.files(), before);
}

#[test]
fn requests_do_the_housekeeping_by_the_way() {
    let place = place(Config::builder(), Durability::Eventual);
    let location = place.create(5);
    written(&place.send(&location, Request::patch(0).sized("hello")), "5");
    assert!(place.uploads.store().engine().needs_flush());
    let begun = Instant::now();
    while place.uploads.store().engine().needs_flush() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no request flushed");
        assert_eq!(place.offset(&location), 5);
    }
}

#[test]
fn what_has_expired_is_told_as_such_and_swept() {
    let place = uploads(Config::builder().upload_expiry(Some(Duration::from_secs(1))));
    place.uploads.housekeeping().unwrap();
    let before = place.files();
    let location = place.create(9);
    written(&place.send(&location, Request::patch(0).sized("hello")), "5");
    assert_eq!(place.files(), before + 1);
    let begun = Instant::now();
    while place.send(&location, Request::head()).status() != 410 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it lives on");
    }
    assert_eq!(place.files(), before + 1);
    place.uploads.housekeeping().unwrap();
    assert_eq!(place.files(), before);
    assert_eq!(place.send(&location, Request::head()).status(), 410);
    assert_eq!(place.send(&location, Request::patch(5).sized("you!")).status(), 410);
}

#[test]
fn a_download_is_read_from_the_reply_even_if_the_upload_is_gone_by_then() {
    let place = uploads(Config::builder().downloads(true));
    let location = place.create(9);
    written(&place.send(&location, Request::patch(0).sized("helloyou!")), "9");
    let get = |range: &str| {
        let request = Request { target: location.clone(), ..Request::bare("GET", "").with("Range", range) };
        handle(&place.uploads, &request, io::empty()).into_parts()
    };
    let (response, mut body) = get("bytes=3-6");
    let files = place.files();
    assert_eq!(place.send(&location, Request::delete()).status(), 204);
    place.uploads.housekeeping().unwrap();
    assert_eq!((response.status(), response.content().len(), response.body()), (206, 4, ""));
    let mut text = String::new();
    assert_eq!(body.read_to_string(&mut text).unwrap(), 4);
    assert_eq!(text, "loyo");
    drop(body);
    place.uploads.housekeeping().unwrap();
    assert_eq!(place.files(), files - 1);
    let (response, mut body) = get("bytes=3-6");
    assert_eq!(response.status(), 404);
    text.clear();
    body.read_to_string(&mut text).unwrap();
    assert_eq!(text, response.body());
}
