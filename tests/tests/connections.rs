//! What becomes of bytes on real connections: cut ones, slow ones, kept ones, and those of a server that ends.
//! Bodies are large enough to go all the ways a body can go.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::Duration,
};

use tempfile::TempDir;
use tests::{
    Answer, Request,
    client::{Client, serialise},
    message::Body,
    server::Running,
};
use tus_mio_server::Address;
use tus_proto::UploadId;
use tus_redb::{Options, Store};

const MIB: usize = 1 << 20;

/// Bytes that are nowhere the same as a few bytes further.
fn data(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// Sends a request on a connection of its own.
fn send(server: &Running, request: &Request) -> Answer {
    let mut client = Client::connect(server.address());
    client.request(request);
    client.answer(request.method == "HEAD").unwrap()
}

fn create(server: &Running, length: usize) -> String {
    let answer = send(server, &Request::post().with("Upload-Length", length));
    assert_eq!(answer.status, 201);
    answer.value("Location").unwrap().to_owned()
}

/// A PATCH that announces `length` bytes and has none yet.
fn patch(location: &str, offset: usize, length: usize) -> Request {
    Request { target: location.into(), ..Request::patch(offset as u64).announcing(length as u64, "") }
}

fn head(location: &str) -> Request {
    Request { target: location.into(), ..Request::head() }
}

/// What HEAD tells, asked on a connection of its own.
fn offset(server: &Running, location: &str) -> usize {
    let answer = send(server, &head(location));
    assert_eq!(answer.status, 200);
    answer.value("Upload-Offset").unwrap().parse().unwrap()
}

/// Asks until HEAD tells `expected`, which must not be passed.
#[track_caller]
fn tells(server: &Running, location: &str, expected: usize) {
    let mut client = Client::connect(server.address());
    for _ in 0..20_000 {
        client.request(&head(location));
        let answer = client.answer(true).unwrap();
        let told: usize = answer.value("Upload-Offset").unwrap().parse().unwrap();
        assert!(told <= expected, "{told} is more than was sent");
        if told == expected {
            return;
        }
    }
    panic!("HEAD does not tell {expected}");
}

/// Ends the server and holds what it stored against what was sent.
#[track_caller]
fn stored(server: Running, location: &str, expected: &[u8]) {
    server.handle().shutdown();
    let dir = server.join().unwrap();
    assert!(read(&dir, location) == expected, "other bytes are stored than were sent");
}

fn read(dir: &Arc<TempDir>, location: &str) -> Vec<u8> {
    let store = Store::open(&dir.path().join("data"), &Options::default()).unwrap();
    let id = UploadId::new(location.rsplit('/').next().unwrap()).unwrap();
    let mut bytes = Vec::new();
    store.read(&id).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A client that has sent the first `sent` bytes of a PATCH of all of `data`.
fn sending(server: &Running, location: &str, data: &[u8], sent: usize) -> Client {
    let mut client = Client::connect(server.address());
    client.request(&patch(location, 0, data.len()));
    client.write(&data[..sent]);
    client
}

#[test]
fn a_body_comes_out_as_it_went_in() {
    let server = Running::start(|_| {});
    let data = data(5 * MIB + 17);
    let location = create(&server, data.len());
    let mut client = sending(&server, &location, &data, data.len());
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, answer.value("Upload-Offset")), (204, Some(&*data.len().to_string())));
    stored(server, &location, &data);
}

#[test]
fn a_chunked_body_comes_out_as_it_went_in() {
    let server = Running::start(|_| {});
    let data = data(3 * MIB + 17);
    let location = create(&server, data.len());
    let chunks = data.chunks(100_003).map(<[u8]>::to_vec).collect();
    let body = Body::Chunked(chunks, tests::message::Last::Sent);
    let answer = send(&server, &Request { body, ..patch(&location, 0, 0) });
    assert_eq!((answer.status, answer.value("Upload-Offset")), (204, Some(&*data.len().to_string())));
    stored(server, &location, &data);
}

#[test]
fn head_tells_all_bytes_that_arrived_while_the_connection_is_still_open() {
    let server = Running::start(|_| {});
    let data = data(4 * MIB);
    let location = create(&server, data.len());
    let mut client = sending(&server, &location, &data, 0);
    let mut sent = 0;
    for piece in data[..3 * MIB].chunks(777_777) {
        client.write(piece);
        sent += piece.len();
        tells(&server, &location, sent);
    }
    client.write(&data[sent..]);
    assert_eq!(client.answer(false).unwrap().status, 204);
    stored(server, &location, &data);
}

#[test]
fn the_first_head_tells_what_lies_in_the_receive_buffer() {
    const ROUNDS: usize = 40;
    let server = Running::start(|_| {});
    let data = data(ROUNDS * 4096 + MIB);
    let location = create(&server, data.len());
    let mut client = sending(&server, &location, &data, MIB);
    tells(&server, &location, MIB);
    let mut asking = Client::connect(server.address());
    let mut told_at_once = 0;
    for round in 0..ROUNDS {
        let (from, to) = (MIB + round * 4096, MIB + (round + 1) * 4096);
        client.write(&data[from..to]);
        asking.request(&head(&location));
        let answer = asking.answer(true).unwrap();
        told_at_once += usize::from(answer.value("Upload-Offset") == Some(&*to.to_string()));
        tells(&server, &location, to);
    }
    // The loopback hands bytes over within the write, but for a rare moment: nobody promises it.
    assert!(told_at_once * 10 >= ROUNDS * 9, "{told_at_once} of {ROUNDS}");
}

#[test]
fn a_client_that_closes_loses_no_byte_that_arrived() {
    let server = Running::start(|_| {});
    let data = data(3 * MIB);
    let location = create(&server, data.len());
    drop(sending(&server, &location, &data, 2 * MIB + 3));
    tells(&server, &location, 2 * MIB + 3);
    stored(server, &location, &data[..2 * MIB + 3]);
}

#[test]
fn a_client_that_closes_its_side_is_told_when_all_its_bytes_are_committed() {
    let server = Running::start(|_| {});
    let data = data(3 * MIB);
    let location = create(&server, data.len());
    let mut client = sending(&server, &location, &data, 2 * MIB + 3);
    client.half_close();
    let answer = client.answer(false).unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with(b"ERR_UNEXPECTED_EOF: "));
    client.expect_close().unwrap();
    assert_eq!(offset(&server, &location), 2 * MIB + 3);
    stored(server, &location, &data[..2 * MIB + 3]);
}

#[test]
fn a_reset_loses_no_byte_that_was_taken_in() {
    let server = Running::start(|_| {});
    let data = data(3 * MIB);
    let location = create(&server, data.len());
    let client = sending(&server, &location, &data, 2 * MIB + 3);
    tells(&server, &location, 2 * MIB + 3);
    client.reset();
    // The upload is free: who comes back goes on at once.
    let mut client = Client::connect(server.address());
    client.request(&patch(&location, 2 * MIB + 3, data.len() - 2 * MIB - 3));
    client.write(&data[2 * MIB + 3..]);
    assert_eq!(client.answer(false).unwrap().status, 204);
    stored(server, &location, &data);
}

#[test]
fn a_reset_at_any_moment_leaves_a_beginning_of_what_was_sent() {
    let server = Running::start(|_| {});
    let data = data(2 * MIB);
    let location = create(&server, data.len());
    sending(&server, &location, &data, MIB).reset();
    // The newcomer waits for the writer, whatever the reset left it: 409 tells, or 204.
    let mut client = Client::connect(server.address());
    let at = offset(&server, &location);
    assert!(at <= MIB);
    client.request(&patch(&location, at, data.len() - at));
    client.write(&data[at..]);
    let answer = client.answer(false).unwrap();
    let end = if answer.status == 409 {
        answer.value("Upload-Offset").unwrap().parse().unwrap()
    } else {
        data.len()
    };
    assert!([204, 409].contains(&answer.status), "{}", answer.status);
    stored(server, &location, &data[..end]);
}

#[test]
fn a_newcomer_takes_over_from_a_connection_that_is_still_held() {
    let server = Running::start(|_| {});
    let data = data(4 * MIB);
    let location = create(&server, data.len());
    let mut held = sending(&server, &location, &data, MIB + 5);
    tells(&server, &location, MIB + 5);
    let mut client = Client::connect(server.address());
    client.request(&patch(&location, MIB + 5, data.len() - MIB - 5));
    client.write(&data[MIB + 5..]);
    assert_eq!(client.answer(false).unwrap().status, 204);
    let answer = held.answer(false).unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with(b"ERR_UPLOAD_INTERRUPTED: "));
    drop(held);
    stored(server, &location, &data);
}

#[test]
fn requests_with_bodies_may_be_pipelined() {
    let server = Running::start(|_| {});
    let data = data(MIB);
    let location = create(&server, data.len());
    let mut bytes = Vec::new();
    for (at, piece) in data.chunks(MIB / 8).enumerate() {
        bytes.extend(serialise(&patch(&location, at * MIB / 8, piece.len())));
        bytes.extend(piece);
        bytes.extend(serialise(&head(&location)));
    }
    let mut client = Client::connect(server.address());
    client.write(&bytes);
    for at in 1..=8 {
        let end = (at * MIB / 8).to_string();
        for (status, is_head) in [(204, false), (200, true)] {
            let answer = client.answer(is_head).unwrap();
            assert_eq!((answer.status, answer.value("Upload-Offset")), (status, Some(&*end)));
        }
    }
    stored(server, &location, &data);
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = Running::start(|_| {});
    let mut client = Client::connect(server.address());
    for _ in 0..3 {
        client.request(&Request::post().with("Upload-Length", 5));
        let location = client.answer(false).unwrap().value("Location").unwrap().to_owned();
        client.request(&Request { target: location.clone(), ..Request::patch(0).sized("hello") });
        assert_eq!(client.answer(false).unwrap().status, 204);
        client.request(&head("/files/unknown"));
        assert_eq!(client.answer(true).unwrap().status, 404);
        client.request(&Request { target: location, ..Request::delete() });
        assert_eq!(client.answer(false).unwrap().status, 204);
    }
}

#[test]
fn an_answer_before_the_body_was_read_reaches_a_client_that_goes_on_sending() {
    let server = Running::start(|_| {});
    let location = create(&server, MIB);
    let data = data(8 * MIB);
    let mut client = Client::connect(server.address());
    client.request(&patch(&location, 0, data.len()));
    // All of it is sent before the answer is looked at: a reset would have destroyed it meanwhile.
    client.write(&data);
    let answer = client.answer(false).unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(answer.value("Connection"), Some("close"));
    assert!(answer.body.starts_with(b"ERR_UPLOAD_SIZE_EXCEEDED: "));
    client.expect_close().unwrap();
    assert_eq!(offset(&server, &location), 0);
}

#[test]
fn a_body_without_an_end_is_not_listened_to_for_ever() {
    let server = Running::start(|settings| settings.http.linger_bytes = MIB as u64);
    let location = create(&server, MIB);
    let data = data(MIB);
    let mut client = Client::connect(server.address());
    client.request(&patch(&location, 0, 1 << 40));
    assert_eq!(client.answer(false).unwrap().status, 413);
    let taken = (0..64).map(|_| client.write_while_taken(&data)).sum::<usize>();
    assert!(taken < 64 * MIB, "the server takes bytes without an end");
}

#[test]
fn a_client_that_waits_for_100_sends_its_body_only_where_it_is_wanted() {
    let server = Running::start(|_| {});
    let location = create(&server, 9);
    let expecting = |offset, length| patch(&location, offset, length).with("Expect", "100-continue");
    let mut client = Client::connect(server.address());
    client.request(&expecting(0, 5));
    client.wait_for_continue().unwrap();
    client.write(b"hello");
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, client.continues), (204, 0));
    for (request, status) in [
        (expecting(0, 5), 409),
        (expecting(5, 5), 413),
        (expecting(5, 4).with("Content-Type", "text/plain"), 415),
        (Request { target: "/elsewhere".into(), ..expecting(5, 4) }, 404),
    ] {
        let mut client = Client::connect(server.address());
        client.request(&request);
        let answer = client.answer(false).unwrap();
        assert_eq!((answer.status, client.continues), (status, 0));
    }
    // Nobody who does not wait is told to go on.
    let mut client = Client::connect(server.address());
    client.request(&patch(&location, 5, 4));
    client.write(b"you!");
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, client.continues), (204, 0));
}

#[test]
fn an_http_1_0_client_uploads_and_its_connection_is_closed() {
    let server = Running::start(|_| {});
    let location = create(&server, 5);
    let mut client = Client::connect(server.address());
    let lines = "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: 5\r\n\
                 Content-Type: application/offset+octet-stream\r\nExpect: 100-continue\r\n";
    client.write(format!("PATCH {location} HTTP/1.0\r\n{lines}\r\nhello").as_bytes());
    let answer = client.answer(false).unwrap();
    // RFC 9110 section 10.1.1: an HTTP/1.0 client can't read a 100.
    assert_eq!((answer.status, client.continues), (204, 0));
    client.expect_close().unwrap();
    drop(client);
    stored(server, &location, b"hello");
}

#[test]
fn a_shutdown_in_the_middle_of_a_body_commits_what_arrived() {
    let server = Running::start(|_| {});
    let data = data(3 * MIB);
    let location = create(&server, data.len());
    let mut client = sending(&server, &location, &data, 2 * MIB + 3);
    tells(&server, &location, 2 * MIB + 3);
    server.handle().shutdown();
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, answer.value("Connection")), (503, Some("close")));
    assert!(answer.body.starts_with(b"ERR_SERVER_SHUTDOWN: "));
    drop(client);
    let dir = server.join().unwrap();
    // The next server goes on where this one was.
    let server = Running::start_in(dir, |_| {});
    assert_eq!(offset(&server, &location), 2 * MIB + 3);
    let mut client = Client::connect(server.address());
    client.request(&patch(&location, 2 * MIB + 3, data.len() - 2 * MIB - 3));
    client.write(&data[2 * MIB + 3..]);
    assert_eq!(client.answer(false).unwrap().status, 204);
    stored(server, &location, &data);
}

#[test]
fn a_drain_closes_the_idle_and_serves_who_has_just_connected() {
    let server = Running::start(|settings| settings.shutdown_timeout = Duration::from_secs(20));
    let mut fresh = Client::connect(server.address());
    // Accepted after the fresh one, so that one is accepted, too.
    let mut kept = Client::connect(server.address());
    assert!(kept.is_kept());
    server.handle().shutdown();
    kept.expect_close().unwrap();
    fresh.request(&Request::bare("OPTIONS", "/files"));
    let answer = fresh.answer(false).unwrap();
    assert_eq!((answer.status, answer.value("Connection")), (204, Some("close")));
    fresh.expect_close().unwrap();
    drop(fresh);
    server.join().unwrap();
}

#[test]
fn a_head_that_does_not_end_is_answered_in_time() {
    let server = Running::start(|settings| settings.http.head_timeout = Duration::from_millis(50));
    let mut client = Client::connect(server.address());
    client.write(b"OPTIONS /files HTTP/1.1\r\nHost: h\r\n");
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, answer.value("Connection")), (408, Some("close")));
    assert!(answer.body.starts_with(b"ERR_HEAD_TIMEOUT: "));
    client.expect_close().unwrap();
}

/// A page of this origin may read what the server answers.
const PAGE: &str = "https://app.example";

#[test]
fn a_page_can_read_why_its_head_was_refused() {
    let server = Running::start(|settings| {
        settings.protocol =
            tus_proto::Config::builder().cors_allow_origins(vec![PAGE.into()]).build().unwrap();
        settings.http.head_timeout = Duration::from_millis(50);
        settings.http.head_bytes = 1 << 10;
    });
    let long = "x".repeat(2_000);
    for (status, rest) in [
        (408, String::new()),
        (431, format!("X: {long}\r\n\r\n")),
        (400, "Bad : x\r\n\r\n".into()),
        (400, "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".into()),
        (501, "Transfer-Encoding: gzip, chunked\r\n\r\n".into()),
    ] {
        let mut client = Client::connect(server.address());
        client.write(format!("POST /files HTTP/1.1\r\nHost: h\r\nOrigin: {PAGE}\r\n{rest}").as_bytes());
        let answer = client.answer(false).unwrap();
        assert_eq!(
            (answer.status, answer.value("Access-Control-Allow-Origin")),
            (status, Some(PAGE)),
            "{rest}"
        );
    }
}

/// The limits fit each other: as many parts as a final may have go into a head, by URLs as they are in use.
#[test]
fn a_final_of_as_many_parts_as_may_be_is_made() {
    let server = Running::start(|_| {});
    let mut client = Client::connect(server.address());
    let part = Request::post().with("Upload-Length", 0).with("Upload-Concat", "partial");
    let urls: Vec<_> = (0..1000)
        .map(|_| {
            client.request(&part);
            let location = client.answer(false).unwrap().value("Location").unwrap().to_owned();
            let path = &location[location.find("/files/").unwrap()..];
            let url =
                format!("https://{:x>1$}.example{path}", "", 67 - "https://.example".len() - path.len());
            assert_eq!(url.len(), 67);
            url
        })
        .collect();
    client.request(&Request::post().with("Upload-Concat", format!("final;{}", urls.join(" "))));
    let made = client.answer(false).unwrap();
    assert_eq!((made.status, made.value("Upload-Length")), (201, Some("0")));
}

#[test]
fn a_crowd_of_large_heads_keeps_to_its_memory_and_the_newest_are_served() {
    let server = Running::start(|settings| {
        settings.threads = Some(1);
        settings.head_memory = 256 << 10;
    });
    let large = format!("OPTIONS /files HTTP/1.1\r\nHost: h\r\nX: {}\r\n", "x".repeat(60 << 10));
    let begin = |head: &str| {
        let mut client = Client::connect(server.address());
        client.write(head.as_bytes());
        client
    };
    let mut small = begin("OPTIONS /files HTTP/1.1\r\nHost: h\r\n");
    let mut oldest = begin(&large);
    // The loop has come to the oldest head before it answers this.
    assert_eq!(send(&server, &Request::bare("OPTIONS", "/files")).status, 204);
    let crowd: Vec<_> = (0..16).map(|_| begin(&large)).collect();
    let refused = oldest.answer(false).unwrap();
    assert_eq!((refused.status, refused.value("Connection")), (431, Some("close")));
    let mut newest = begin(&format!("{large}\r\n"));
    assert_eq!(newest.answer(false).unwrap().status, 204);
    small.write(b"\r\n");
    assert_eq!(small.answer(false).unwrap().status, 204);
    drop(crowd);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = Running::start(|settings| settings.http.idle_timeout = Duration::from_millis(50));
    Client::connect(server.address()).expect_close().unwrap();
}

#[test]
fn many_clients_upload_at_once() {
    let server = Running::start(|_| {});
    let data = data(MIB + 1);
    let locations = thread::scope(|scope| {
        let upload = || {
            let location = create(&server, data.len());
            let mut client = sending(&server, &location, &data, data.len() / 2);
            tells(&server, &location, data.len() / 2);
            client.write(&data[data.len() / 2..]);
            assert_eq!(client.answer(false).unwrap().status, 204);
            location
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(upload)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    server.handle().shutdown();
    let dir = server.join().unwrap();
    for location in locations {
        assert!(read(&dir, &location) == data);
    }
}

#[test]
fn more_bodies_than_there_are_buffers_all_come_to_their_end() {
    let server = Running::start(|settings| (settings.threads, settings.workers) = (Some(1), 1));
    let piece = String::from_utf8(vec![b'x'; 16 << 10]).unwrap();
    let chunks = vec![piece.as_str(); 32];
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let location = create(&server, 32 * piece.len());
                let request = Request { target: location, ..Request::patch(0) }.chunked(&chunks);
                assert_eq!(send(&server, &request).status, 204);
            });
        }
    });
}

#[test]
fn a_full_server_serves_who_has_the_last_place_and_the_idle_make_room_for_the_next() {
    let server = Running::start(|settings| settings.max_connections = 1);
    let mut kept = Vec::new();
    for _ in 0..5 {
        // The one before is idle by now, and still open on our side.
        let mut client = Client::connect(server.address());
        client.request(&Request::post().with("Upload-Length", 1));
        assert_eq!(client.answer(false).unwrap().status, 201);
        kept.push(client);
    }
}

/// The value of a metric.
fn metric(client: &mut Client, series: &str) -> u64 {
    client.request(&Request::bare("GET", "/metrics"));
    let answer = client.answer(false).unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("{series} is not in {text}")).trim().parse().unwrap()
}

#[test]
fn a_head_that_does_not_come_makes_room_for_who_waits() {
    let server = Running::start(|settings| settings.max_connections = 1);
    let mut slow = Client::connect(server.address());
    slow.write(b"OPTIONS /files HTTP/1.1\r\nHost: h\r\n");
    let mut next = Client::connect(server.address());
    assert_eq!(metric(&mut next, "tus_connections_evicted_total{state=\"head\"}"), 1);
    slow.expect_close().unwrap();
}

#[test]
fn a_body_that_stands_still_makes_room_and_what_arrived_stays() {
    let server = Running::start(|settings| {
        settings.max_connections = 1;
        settings.http.body_timeout = Duration::from_secs(4);
    });
    let data = data(MIB);
    let location = create(&server, data.len());
    let mut slow = sending(&server, &location, &data, MIB / 2);
    let mut next = Client::connect(server.address());
    next.request(&head(&location));
    // As long as bytes come it stays, whoever waits.
    for byte in &data[MIB / 2..][..15] {
        thread::sleep(Duration::from_millis(100));
        slow.write(&[*byte]);
    }
    let answer = slow.answer(false).unwrap();
    assert!(answer.body.starts_with(b"ERR_READ_TIMEOUT: "), "{answer:?}");
    drop(slow);
    let told = next.answer(true).unwrap();
    assert_eq!(told.value("Upload-Offset"), Some(&*(MIB / 2 + 15).to_string()));
    assert_eq!(metric(&mut next, "tus_connections_evicted_total{state=\"slow\"}"), 1);
}

#[test]
fn locations_are_absolute_for_clients_that_may_be_at_the_other_end_themselves() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let server = Running::start(|settings| settings.listen.push(Address::Unix(path.clone())));
    let post = |version: &str, more: &str| {
        format!(
            "POST /files {version}\r\nHost: up.example:81\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 1\r\n{more}Content-Length: 0\r\n\r\n"
        )
    };
    let told = |bytes: &str| {
        let mut client = Client::connect(server.address());
        client.write(bytes.as_bytes());
        client.answer(false).unwrap().value("Location").unwrap().to_owned()
    };
    assert!(told(&post("HTTP/1.1", "")).starts_with("http://up.example:81/files/"));
    assert!(told(&post("HTTP/1.1", "Via: 1.0 x\r\n")).starts_with("/files/"));
    assert!(told(&post("HTTP/1.0", "")).starts_with("/files/"), "as nginx speaks by default");
    let absolute = post("HTTP/1.1", "").replace("/files ", "http://other.example/files ");
    assert!(told(&absolute).starts_with("http://other.example/files/"));
    let mut socket = UnixStream::connect(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let bytes = post("HTTP/1.1", "Connection: close\r\n");
    socket.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\r\nLocation: /files/"), "{answer}");
}
