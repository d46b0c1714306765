//! What a server counts and what it says of its health, read from outside over TCP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tests::{Answer, Request, client::Client, remove_data_files, server::Running};
use tus_mio_server::{Server, Settings};

/// How long what must come may take. A bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request on a connection of its own, and waits until the server has closed it.
fn send(server: &Running, request: &Request) -> Answer {
    let mut client = Client::connect(server.address());
    client.request(&request.clone().with("Connection", "close"));
    let answer = client.answer(request.method == "HEAD").unwrap();
    client.expect_close().unwrap();
    answer
}

fn get(server: &Running, path: &str) -> Answer {
    send(server, &Request::bare("GET", path))
}

/// All samples of a scrape that are not 0, but histograms' buckets.
fn scrape(server: &Running) -> BTreeMap<String, String> {
    let answer = get(server, "/metrics");
    assert_eq!(answer.status, 200);
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.value("Content-Type"), Some(media_type));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(!text.contains("# EOF"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    let samples = samples.map(|line| line.rsplit_once(' ').unwrap());
    let counted = samples.filter(|(_, value)| !["0", "0.0"].contains(value));
    counted.map(|(name, value)| (name.into(), value.into())).collect()
}

/// As [`shows`], asking for the upload's offset before each look: that is what makes a writer commit.
#[track_caller]
fn shows_after_head(server: &Running, location: &str, name: &str, value: &str) {
    let begun = Instant::now();
    while scrape(server).get(name).is_none_or(|counted| counted != value) {
        assert_eq!(send(server, &at(location, Request::head())).status, 200);
        assert!(begun.elapsed() < PATIENCE, "{name} should be {value}");
    }
}

/// Scrapes until this sample has this value: what happens after an answer takes its time.
#[track_caller]
fn shows(server: &Running, name: &str, value: &str) {
    let begun = Instant::now();
    loop {
        let counted = scrape(server);
        if counted.get(name).is_some_and(|counted| counted == value) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{name} should be {value}: {counted:#?}");
    }
}

fn create(server: &Running, length: usize) -> String {
    let answer = send(server, &Request::post().with("Upload-Length", length));
    assert_eq!(answer.status, 201);
    answer.value("Location").unwrap().to_owned()
}

fn at(location: &str, request: Request) -> Request {
    Request { target: location.into(), ..request }
}

#[test]
fn requests_uploads_bytes_and_errors_are_counted_exactly() {
    let server = Running::start(|settings| settings.demo = true);
    let first = create(&server, 5);
    let second = create(&server, 5);
    let patch = |location: &str, offset, body| at(location, Request::patch(offset).sized(body));
    let head = |location: &str| at(location, Request::head());
    for (request, status) in [
        (patch(&first, 0, "hel"), 204),
        (patch(&first, 0, "hel"), 409),
        (head(&first), 200),
        (patch(&first, 3, "lo"), 204),
        (at(&second, Request::post().with("X-HTTP-Method-Override", "DELETE")), 204),
        (head(&second), 404),
        (head("/files/lost"), 404),
        (Request::bare("OPTIONS", "/files"), 204),
        (Request::tus("BREW", "/files"), 405),
        (Request::bare("DELETE", &first), 412),
        // None of the protocol's: the page and the health.
        (Request::bare("GET", "/"), 200),
        (Request::bare("GET", "/healthz"), 200),
    ] {
        assert_eq!(send(&server, &request).status, status, "{request:?}");
    }
    let mut broken = Client::connect(server.address());
    broken.write(b"GET / HTTP/1.1\r\nno field\r\n\r\n");
    assert_eq!(broken.answer(false).unwrap().status, 400);
    drop(broken);
    let mut counted = scrape(&server);
    let seconds: f64 = counted.remove("tus_commit_duration_seconds_sum").unwrap().parse().unwrap();
    assert!(seconds > 0.0, "{seconds}");
    // Two uploads made, two bodies of one commit each, one upload deleted.
    assert_eq!(counted.remove("tus_commit_group_size_sum").as_deref(), Some("5.0"));
    counted.retain(|name, _| name.starts_with("tusd_") || name.starts_with("tus_commit_"));
    let expected = [
        ("tus_commit_duration_seconds_count", "5"),
        ("tus_commit_group_size_count", "5"),
        ("tusd_bytes_received", "5"),
        ("tusd_connections_open", "1"),
        ("tusd_errors_total{code=\"ERR_BAD_REQUEST\",status=\"400\"}", "1"),
        ("tusd_errors_total{code=\"ERR_UPLOAD_NOT_FOUND\",status=\"404\"}", "2"),
        ("tusd_errors_total{code=\"ERR_METHOD_NOT_ALLOWED\",status=\"405\"}", "1"),
        ("tusd_errors_total{code=\"ERR_MISMATCHED_OFFSET\",status=\"409\"}", "1"),
        ("tusd_errors_total{code=\"ERR_UNSUPPORTED_VERSION\",status=\"412\"}", "1"),
        ("tusd_requests_total{method=\"DELETE\"}", "1"),
        ("tusd_requests_total{method=\"HEAD\"}", "3"),
        ("tusd_requests_total{method=\"OPTIONS\"}", "1"),
        ("tusd_requests_total{method=\"PATCH\"}", "3"),
        ("tusd_requests_total{method=\"POST\"}", "3"),
        ("tusd_requests_total{method=\"other\"}", "2"),
        ("tusd_uploads_created", "2"),
        ("tusd_uploads_finished", "1"),
        ("tusd_uploads_terminated", "1"),
    ];
    assert_eq!(counted, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn a_client_that_vanishes_counts_by_its_own_code() {
    let server = Running::start(|_| {});
    let location = create(&server, 10);
    let mut writer = Client::connect(server.address());
    writer.request(&at(&location, Request::patch(0).announcing(10, "hello")));
    shows_after_head(&server, &location, "tusd_bytes_received", "5");
    drop(writer);
    shows(&server, "tusd_errors_total{code=\"ERR_UNEXPECTED_EOF\",status=\"400\"}", "1");
}

#[test]
fn who_asks_for_openmetrics_gets_it() {
    let server = Running::start(|_| {});
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let answer = send(&server, &Request::bare("GET", "/metrics").with("Accept", accept));
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.value("Content-Type"), Some(media_type));
    assert!(answer.body.ends_with(b"\n# EOF\n"));
}

#[test]
fn connections_are_counted_as_they_come_and_shown_while_they_are() {
    let server = Running::start(|_| {});
    let location = create(&server, 10);
    let mut writer = Client::connect(server.address());
    writer.request(&at(&location, Request::patch(0).announcing(10, "hello")));
    shows(&server, "tus_connections{state=\"busy\"}", "1");
    writer.write(b"world");
    assert_eq!(writer.answer(false).unwrap().status, 204);
    // The writer's, and that of the scrape itself.
    shows(&server, "tus_connections{state=\"idle\"}", "2");
    let before: u64 = scrape(&server)["tus_connections_accepted_total"].parse().unwrap();
    let after: u64 = scrape(&server)["tus_connections_accepted_total"].parse().unwrap();
    assert_eq!(after, before + 1);
}

#[test]
fn a_newcomer_waits_for_the_lock_and_the_writer_yields() {
    let server = Running::start(|_| {});
    let location = create(&server, 10);
    let mut writer = Client::connect(server.address());
    writer.request(&at(&location, Request::patch(0).announcing(10, "hello")));
    // Once a byte of it is committed, it holds the lock.
    shows_after_head(&server, &location, "tusd_bytes_received", "5");
    assert_eq!(scrape(&server).get("tus_lock_waits_total"), None);
    assert_eq!(send(&server, &at(&location, Request::delete())).status, 204);
    assert_eq!(writer.answer(false).unwrap().status, 400);
    let counted = scrape(&server);
    assert_eq!(counted["tus_lock_waits_total"], "1");
    assert_eq!(counted["tus_lock_yields_total"], "1");
    assert_eq!(counted.get("tus_lock_timeouts_total"), None);
}

#[test]
fn a_deadline_that_passes_is_counted_by_its_reason() {
    let server = Running::start(|settings| {
        settings.http.body_timeout = Duration::from_millis(50);
    });
    let location = create(&server, 10);
    let mut writer = Client::connect(server.address());
    writer.request(&at(&location, Request::patch(0).announcing(10, "hello")));
    assert_eq!(writer.answer(false).unwrap().status, 500);
    let counted = scrape(&server);
    assert_eq!(counted["tus_deadlines_total{reason=\"body\"}"], "1");
    assert_eq!(counted["tusd_errors_total{code=\"ERR_READ_TIMEOUT\",status=\"500\"}"], "1");
    assert_eq!(counted["tusd_bytes_received"], "5");
}

#[test]
fn uploads_that_expire_are_counted_when_they_go() {
    let server = Running::start(|settings| {
        let second = Duration::from_secs(1);
        settings.protocol = tus_proto::Config::builder().upload_expiry(Some(second)).build().unwrap();
        settings.cleanup_interval = second;
    });
    create(&server, 5);
    create(&server, 5);
    shows(&server, "tus_uploads_expired_total", "2");
    assert_eq!(scrape(&server).get("tusd_uploads_terminated"), None);
}

#[test]
fn what_the_store_could_not_do_is_counted() {
    let server = Running::start(|settings| settings.small_uploads = 0);
    let location = create(&server, 5);
    // Data files are made by their first byte: now they can't be.
    std::fs::remove_dir_all(server.data_dir().join("data/data")).unwrap();
    assert_eq!(send(&server, &at(&location, Request::patch(0).sized("hello"))).status, 500);
    let counted = scrape(&server);
    assert_eq!(counted["tus_store_errors_total{cause=\"io\"}"], "1");
    assert_eq!(counted["tusd_errors_total{code=\"ERR_INTERNAL_SERVER_ERROR\",status=\"500\"}"], "1");
    assert_eq!(counted.get("tusd_bytes_received"), None);
}

#[test]
fn a_data_file_that_is_gone_is_told_before_any_head_and_a_directory_by_the_health() {
    let server = Running::start(|settings| {
        settings.small_uploads = 0;
        settings.protocol = tus_proto::Config::builder().downloads(true).build().unwrap();
    });
    let (finished, begun) = (create(&server, 5), create(&server, 10));
    for location in [&finished, &begun] {
        assert_eq!(send(&server, &at(location, Request::patch(0).sized("hello"))).status, 204);
    }
    let data = server.data_dir().join("data/data");
    let hidden = server.data_dir().join("hidden");
    remove_data_files(&server.data_dir().join("data"));
    let head = |location: &str| send(&server, &at(location, Request::head())).status;
    assert_eq!((head(&finished), head(&begun)), (200, 200), "nobody has noticed");
    for _ in 0..2 {
        for (location, sent) in
            [(&finished, Request::bare("GET", "")), (&begun, Request::patch(5).sized("world"))]
        {
            let answer = send(&server, &at(location, sent));
            assert_eq!(answer.status, 410);
            assert!(String::from_utf8_lossy(&answer.body).contains("ERR_UPLOAD_GONE"), "{answer:?}");
        }
        assert_eq!((head(&finished), head(&begun)), (410, 410));
    }
    for location in [&finished, &begun] {
        assert_eq!(send(&server, &at(location, Request::delete())).status, 204);
        assert_eq!(head(location), 404);
    }
    assert_eq!(get(&server, "/healthz").status, 200, "others can be stored");
    std::fs::rename(&data, &hidden).unwrap();
    let location = create(&server, 5);
    assert_eq!(send(&server, &at(&location, Request::patch(0).sized("hello"))).status, 500);
    let comes = |status| {
        let begun = Instant::now();
        while get(&server, "/healthz").status != status {
            assert!(begun.elapsed() < PATIENCE, "the health should be {status}");
        }
    };
    comes(503);
    // Records can be written: that does not make it well.
    let location = create(&server, 5);
    comes(503);
    std::fs::rename(&hidden, &data).unwrap();
    comes(200);
    assert_eq!(send(&server, &at(&location, Request::patch(0).sized("hello"))).status, 204);
}

#[test]
fn what_is_being_stored_and_what_is_stored_is_shown() {
    let server = Running::start(|_| {});
    let location = create(&server, 10);
    let mut writer = Client::connect(server.address());
    writer.request(&at(&location, Request::patch(0).announcing(10, "hello")));
    shows(&server, "tus_uploads_in_progress", "1");
    writer.write(b"world");
    assert_eq!(writer.answer(false).unwrap().status, 204);
    shows(&server, "tus_store_size_bytes", "10");
    let counted = scrape(&server);
    assert_eq!(counted.get("tus_uploads_in_progress"), None);
    assert!(counted["tus_disk_free_bytes"].parse::<f64>().unwrap() > 0.0);
}

#[test]
fn the_metrics_and_the_health_are_only_to_be_read() {
    let server = Running::start(|_| {});
    let health = get(&server, "/healthz?verbose");
    assert_eq!((health.status, &*health.body), (200, &b"ok"[..]));
    assert_eq!(health.value("Content-Type"), Some("text/plain; charset=utf-8"));
    for path in ["/metrics", "/healthz"] {
        let head = send(&server, &Request::bare("HEAD", path));
        assert_eq!((head.status, head.body.len()), (200, 0));
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let mut client = Client::connect(server.address());
            client.request(&Request::bare(method, path).sized("body"));
            let answer = client.answer(false).unwrap();
            assert_eq!((answer.status, answer.value("Allow")), (405, Some("GET, HEAD")), "{method} {path}");
            assert!(client.is_kept());
        }
    }
}

#[test]
fn what_is_none_of_the_protocols_does_not_say_tus_resumable() {
    let server = Running::start(|settings| settings.demo = true);
    for path in ["/", "/page.js", "/page.css", "/metrics", "/healthz"] {
        for method in ["GET", "HEAD"] {
            let answer = send(&server, &Request::bare(method, path));
            assert_eq!((answer.status, answer.values("Tus-Resumable").len()), (200, 0), "{method} {path}");
            assert_eq!(answer.value("X-Content-Type-Options"), Some("nosniff"));
            assert_eq!(answer.value("Cache-Control"), Some("no-store"));
        }
    }
    let refused = send(&server, &Request::bare("PUT", "/healthz"));
    assert_eq!((refused.status, refused.values("Tus-Resumable").len()), (405, 0));
    let tus = send(&server, &Request::bare("PUT", "/page.js"));
    assert_eq!((tus.status, tus.value("Tus-Resumable")), (404, Some("1.0.0")));
}

#[test]
fn every_form_of_a_target_reaches_what_is_none_of_the_protocols() {
    let server = Running::start(|settings| settings.demo = true);
    for path in ["/", "/page.js", "/metrics", "/healthz"] {
        for target in [format!("http://any.example{path}"), format!("HTTP://any.example:81{path}?a=/b")] {
            assert_eq!(get(&server, &target).status, 200, "{target}");
        }
    }
    assert_eq!(get(&server, "http://any.example?/healthz").status, 200, "the page");
    for target in ["/x/http://any.example/healthz", "//any.example/healthz", "/files?/healthz"] {
        assert_ne!(get(&server, target).status, 200, "{target}");
    }
}

#[test]
fn the_page_has_another_policy_each_time_and_its_html_fits_it() {
    let server = Running::start(|settings| settings.demo = true);
    let page = || {
        let answer = get(&server, "/");
        let policy = answer.value("Content-Security-Policy").unwrap().to_owned();
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        let html = String::from_utf8(answer.body).unwrap();
        assert_eq!(html.matches(&format!(" nonce=\"{nonce}\"")).count(), 2, "{html}");
        assert!(!policy.contains("script-src 'self'") && nonce.len() == 32, "{policy}");
        nonce
    };
    assert_ne!(page(), page());
}

#[test]
fn the_metrics_are_where_they_are_said_to_be_or_nowhere() {
    let server = Running::start(|settings| settings.metrics_path = Some("/of/mine".into()));
    assert_eq!((get(&server, "/of/mine").status, get(&server, "/metrics").status), (200, 404));
    let server = Running::start(|settings| settings.metrics_path = None);
    assert_eq!((get(&server, "/metrics").status, get(&server, "/healthz").status), (404, 200));
}

#[test]
fn a_server_whose_paths_are_in_each_others_way_does_not_start() {
    let settings = Settings { metrics_path: Some("/files/m".into()), ..Default::default() };
    let error = Server::bind(settings).unwrap_err();
    assert!(error.to_string().contains("/files/m lies in the uploads' path /files"), "{error}");
}
