//! Uploads on their way back: over connections that are kept, cut and stalled, from a server that goes on and from
//! one that ends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use tests::{
    Answer, Request,
    client::{Client, serialise},
    message::Body,
    server::Running,
};
use tus_mio_server::Settings;
use tus_proto::{Config, MethodOverride, UploadId};
use tus_redb::{Options, Store};

const MIB: usize = 1 << 20;

/// More than the kernel takes for a peer that reads nothing.
const LARGE: usize = 48 * MIB;

/// How long what must come may take. A bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that are nowhere the same as a few bytes further.
fn data(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn serve(change: impl FnOnce(&mut Settings)) -> Running {
    Running::start(|settings| {
        settings.protocol = Config::builder().downloads(true).build().unwrap();
        change(settings);
    })
}

fn begin(server: &Running, request: &Request) -> Client {
    let mut client = Client::connect(server.address());
    client.request(request);
    client
}

fn send(server: &Running, request: &Request) -> Answer {
    begin(server, request).answer(request.is_head()).unwrap()
}

fn get(location: &str) -> Request {
    Request::bare("GET", location)
}

fn range(location: &str, range: &str) -> Request {
    get(location).with("Range", range)
}

/// A finished upload of these bytes.
fn upload(server: &Running, data: &[u8]) -> String {
    upload_as(server, data, None)
}

fn upload_as(server: &Running, data: &[u8], concat: Option<&str>) -> String {
    let mut post = Request::post().with("Upload-Length", data.len()).upload_type();
    if let Some(concat) = concat {
        post = post.with("Upload-Concat", concat);
    }
    let answer = send(server, &Request { body: Body::Sized(data.len() as u64, data.into()), ..post });
    assert_eq!(answer.status, 201);
    answer.value("Location").unwrap().to_owned()
}

/// A download of which only the head has been read.
fn half_way(server: &Running, location: &str) -> Client {
    let mut client = begin(server, &get(location));
    assert_eq!(client.answer_head().unwrap().status, 200);
    client
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many files of uploads this process has open for this server.
fn open_files(server: &Running) -> usize {
    let under = server.data_dir().join("data");
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(&under) && is_data(target)).count()
}

fn is_data(path: &std::path::Path) -> bool {
    path.ancestors().any(|ancestor| ancestor.ends_with("data/data"))
}

/// How many bytes its data files have.
fn used(server: &Running) -> u64 {
    let dirs = fs::read_dir(server.data_dir().join("data/data")).unwrap();
    // What goes while one looks has no bytes any more.
    let files = dirs.flatten().filter_map(|dir| fs::read_dir(dir.path()).ok()).flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
}

/// Whether the metrics have this line.
fn shows(server: &Running, sample: &str) -> bool {
    let scrape = send(server, &get("/metrics"));
    String::from_utf8(scrape.body).unwrap().lines().any(|line| line == sample)
}

#[test]
fn what_was_uploaded_comes_back_whole_and_in_parts() {
    let server = serve(|_| {});
    let data = data(5 * MIB + 17);
    let location = upload(&server, &data);
    let whole = send(&server, &get(&location));
    assert_eq!((whole.status, whole.body.len()), (200, data.len()));
    assert!(whole.body == data);
    let size = data.len();
    for (asked, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=1048575-3145728".to_owned(), MIB - 1, 3 * MIB + 1),
        ("bytes=-100".to_owned(), size - 100, size),
        (format!("bytes={}-", size - 1), size - 1, size),
    ] {
        let part = send(&server, &range(&location, &asked));
        assert_eq!(part.status, 206);
        assert_eq!(part.value("Content-Range"), Some(&*format!("bytes {from}-{}/{size}", to - 1)));
        assert!(part.body == data[from..to], "{asked}");
    }
    assert_eq!(send(&server, &range(&location, &format!("bytes={size}-"))).status, 416);
    let same = get(&location).with("If-None-Match", whole.value("ETag").unwrap());
    let mut client = begin(&server, &same);
    assert_eq!(client.answer(false).unwrap().status, 304);
    assert!(client.is_kept());
}

#[test]
fn pipelined_downloads_come_one_after_another() {
    let server = serve(|_| {});
    let data = data(3 * MIB);
    let location = upload(&server, &data);
    let mut client = Client::connect(server.address());
    let requests = [get(&location), range(&location, "bytes=5-9"), get("/files/none"), get(&location)];
    client.write(&requests.iter().flat_map(serialise).collect::<Vec<_>>());
    for (status, body) in
        [(200, Some(&data[..])), (206, Some(&data[5..10])), (404, None), (200, Some(&data[..]))]
    {
        let answer = client.answer(false).unwrap();
        assert_eq!(answer.status, status);
        assert!(body.is_none_or(|body| answer.body == body));
    }
    assert!(client.is_kept());
}

#[test]
fn clients_that_leave_in_the_middle_leave_nothing_behind() {
    let server = serve(|_| {});
    let location = upload(&server, &data(LARGE));
    eventually("the upload has let go of its file", || open_files(&server) == 0);
    let clients: Vec<_> = (0..8).map(|_| half_way(&server, &location)).collect();
    eventually("each has the file open", || open_files(&server) == 8);
    for (number, client) in clients.into_iter().enumerate() {
        if number % 2 == 0 {
            client.reset();
        }
    }
    eventually("their files are closed", || open_files(&server) == 0);
    let mut client = half_way(&server, &location);
    assert!(shows(&server, "tus_connections{state=\"busy\"} 1"));
    client.take(LARGE).unwrap();
    assert!(client.is_kept());
    eventually("nobody is busy", || shows(&server, "tus_connections{state=\"busy\"} 0"));
}

#[test]
fn an_upload_that_is_deleted_meanwhile_still_comes_whole() {
    let server = serve(|_| {});
    let data = data(LARGE);
    let location = upload(&server, &data);
    let mut client = half_way(&server, &location);
    let mut read = client.take(MIB).unwrap();
    assert_eq!(send(&server, &Request { target: location.clone(), ..Request::delete() }).status, 204);
    assert_eq!(send(&server, &get(&location)).status, 404);
    read.extend(client.take(LARGE - MIB).unwrap());
    assert!(read == data);
    assert!(client.is_kept());
    eventually("its bytes go when nobody reads them any more", || used(&server) == 0);
}

/// A final of these parts.
fn concatenate(server: &Running, parts: &[&str]) -> String {
    let concat = format!("final;{}", parts.join(" "));
    let answer = send(server, &Request::post().with("Upload-Concat", concat));
    assert_eq!(answer.status, 201);
    answer.value("Location").unwrap().to_owned()
}

#[test]
fn a_final_of_many_parts_comes_back_in_their_order() {
    let server = serve(|_| {});
    let data = data(64 * 40_000);
    let parts: Vec<_> = data.chunks(40_000).map(|part| upload_as(&server, part, Some("partial"))).collect();
    let location = concatenate(&server, &parts.iter().map(String::as_str).collect::<Vec<_>>());
    for part in &parts {
        assert_eq!(send(&server, &Request { target: part.clone(), ..Request::delete() }).status, 204);
    }
    let mut client = begin(&server, &get(&location));
    assert!(client.answer(false).unwrap().body == data);
    client.request(&range(&location, "bytes=39999-120000"));
    assert!(client.answer(false).unwrap().body == data[39_999..=120_000]);
    assert!(client.is_kept());
}

#[test]
fn a_final_becomes_one_file_while_it_is_read() {
    for (consolidate, files) in [(true, 1), (false, 2)] {
        let server = serve(|settings| settings.consolidate = consolidate);
        let halves = [data(LARGE / 2), vec![3; LARGE / 2]];
        let parts = halves.each_ref().map(|half| upload_as(&server, half, Some("partial")));
        let location = concatenate(&server, &parts.each_ref().map(String::as_str));
        let mut client = half_way(&server, &location);
        let taken = client.take(MIB).unwrap();
        for part in &parts {
            assert_eq!(send(&server, &Request { target: part.clone(), ..Request::delete() }).status, 204);
        }
        if consolidate {
            // The reader still holds the old files, which makes three.
            eventually("there is one file more", || used(&server) == 2 * LARGE as u64);
        }
        assert!(client.take(LARGE - MIB).unwrap() == halves.concat()[MIB..] && taken == halves[0][..MIB]);
        eventually("the old files go", || used(&server) == LARGE as u64);
        assert!(send(&server, &get(&location)).body == halves.concat());
        server.handle().shutdown();
        let dir = server.join().unwrap();
        let store = Store::open(&dir.path().join("data"), &Options::default()).unwrap();
        let id = UploadId::new(location.rsplit('/').next().unwrap()).unwrap();
        assert_eq!(store.paths(&id).unwrap().len(), files);
    }
}

#[test]
fn many_downloads_share_the_workers() {
    let server = serve(|_| {});
    let data = data(2 * MIB + 3);
    let location = upload(&server, &data);
    // Those who take nothing are in nobody's way.
    let large = upload(&server, &vec![7; LARGE]);
    let stalled: Vec<_> = (0..8).map(|_| half_way(&server, &large)).collect();
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| assert!(send(&server, &get(&location)).body == data));
        }
    });
    drop(stalled);
}

#[test]
fn a_peer_that_takes_nothing_is_cut_and_does_not_hold_up_the_servers_end() {
    let server = serve(|settings| settings.http.response_timeout = Duration::from_millis(200));
    let location = upload(&server, &vec![7; LARGE]);
    let mut client = half_way(&server, &location);
    eventually("it is cut", || shows(&server, "tus_deadlines_total{reason=\"response\"} 1"));
    eventually("its file is closed", || open_files(&server) == 0);
    assert!(client.take(LARGE).is_err());

    let server = serve(|_| {});
    let location = upload(&server, &vec![7; LARGE]);
    let stalled = half_way(&server, &location);
    server.handle().shutdown();
    server.join().unwrap();
    drop(stalled);
}

#[test]
fn a_head_without_tus_tells_the_length_and_keeps_the_connection() {
    let server = serve(|_| {});
    let data = data(3 * MIB);
    let location = upload(&server, &data);
    let mut client = Client::connect(server.address());
    for (request, status, length) in [
        (Request::bare("HEAD", &location), 200, data.len()),
        (Request::bare("HEAD", &location).with("Range", "bytes=5-9"), 206, 5),
    ] {
        client.request(&request);
        let answer = client.answer(true).unwrap();
        assert_eq!((answer.status, answer.value("Content-Length")), (status, Some(&*length.to_string())));
    }
    // In a POST's framing a body would have to follow.
    client.request(&Request::bare("POST", &location).with("X-HTTP-Method-Override", "HEAD"));
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, answer.value("Content-Length")), (200, Some("0")));
    client.request(&get(&location));
    assert!(client.answer(false).unwrap().body == data);
    client.request(&Request::tus("HEAD", &location));
    let answer = client.answer(true).unwrap();
    assert_eq!((answer.value("Upload-Offset"), answer.value("Content-Length")), (Some("3145728"), None));
    assert!(client.is_kept());
}

#[test]
fn a_head_made_a_get_where_any_method_may_be_overridden_leaves_the_connection_usable() {
    let server = serve(|settings| {
        let config = Config::builder().downloads(true).method_override(MethodOverride::Any);
        settings.protocol = config.build().unwrap();
    });
    let location = upload(&server, b"hello");
    let mut client = Client::connect(server.address());
    for _ in 0..3 {
        client.request(&Request::bare("HEAD", &location).with("X-HTTP-Method-Override", "GET"));
        let answer = client.answer(true).unwrap();
        assert_eq!((answer.status, answer.value("Content-Length")), (200, Some("5")));
    }
    assert!(client.is_kept());
}
