//! How connections end: lingering, the end of the input, shutdown, reset.

use std::time::Duration;

use super::*;

#[test]
fn a_closing_answer_is_followed_by_a_bounded_reading() {
    let settings = Settings { linger_bytes: 10, ..Settings::default() };
    let mut peer = Peer::with(settings, Answer::ByHand);
    peer.feed(post("Content-Length: 1000\r\n", "x")).respond(404, Connection::Close);
    assert!(!peer.conn.wants_shutdown_write(), "first the answer");
    assert!(!peer.conn.wants_read());
    peer.feed("y".repeat(100));
    assert!(peer.input.is_empty() && !peer.conn.is_closed(), "what the driver had read is not counted");
    peer.flush();
    assert!(peer.conn.wants_shutdown_write() && peer.conn.wants_read());
    peer.conn.write_shut();
    assert!(!peer.conn.wants_shutdown_write() && !peer.conn.is_closed());
    peer.feed("12345").feed("12345");
    assert!(!peer.conn.is_closed());
    peer.feed("1");
    assert!(peer.conn.is_closed() && !peer.conn.wants_read());
    assert_eq!(peer.seen.len(), 2, "nothing of it was told: {:?}", peer.seen);
}

#[test]
fn the_end_of_the_input() {
    for (text, eof) in [
        ("", Eof::Closed),
        ("\r\n", Eof::Closed),
        ("GET / HTT", Eof::Closed),
        (&post("Content-Length: 5\r\n", ""), Eof::HalfClosed),
        (&post("Content-Length: 5\r\n", "abcd"), Eof::HalfClosed),
        (&chunked("0\r\n"), Eof::HalfClosed),
        (&chunked("0\r\n\r\n"), Eof::Complete),
        (GET, Eof::Complete),
        ("GET / HTTP/3.0\r\n\r\n", Eof::Complete),
    ] {
        let mut peer = Peer::by_hand();
        peer.feed(text);
        assert_eq!(peer.conn.eof(at(0)), eof, "{text:?}");
        assert_eq!(peer.conn.is_closed(), eof == Eof::Closed, "{text:?}");
        if eof == Eof::Closed {
            continue;
        }
        assert!(!peer.conn.wants_read(), "{text:?}");
        assert_eq!(peer.conn.deadline(), None, "{text:?}");
        peer.answer(404, Connection::Drain);
        assert!(peer.wire().starts_with("HTTP/1.1 404"), "{text:?}");
        let incomplete = eof == Eof::HalfClosed;
        assert_eq!(
            peer.wire().contains("Connection: close"),
            incomplete || text.contains("/3.0"),
            "{text:?}"
        );
        assert_eq!(peer.conn.eof(at(0)), Eof::Closed);
        assert!(peer.conn.is_closed(), "{text:?}");
    }
}

#[test]
fn a_closing_answer_behind_the_end_of_the_input_needs_no_lingering() {
    let mut peer = Peer::by_hand();
    peer.feed(GET);
    peer.conn.eof(at(0));
    peer.respond(200, Connection::Close);
    assert_eq!(peer.conn.eof(at(0)), Eof::Complete, "the answer is not sent");
    peer.flush();
    assert!(peer.conn.is_closed());
}

#[test]
fn requests_that_came_before_the_end_are_answered() {
    let mut peer = Peer::by_hand();
    peer.feed([GET, GET].concat());
    assert_eq!(peer.conn.eof(at(0)), Eof::Complete);
    peer.answer(200, Connection::KeepAlive).feed("");
    assert_eq!(peer.seen.len(), 4);
    assert_eq!(peer.conn.eof(at(0)), Eof::Complete);
    peer.answer(200, Connection::KeepAlive).feed("");
    assert_eq!(peer.conn.eof(at(0)), Eof::Closed);
}

#[test]
fn the_input_ends_while_an_unwanted_body_is_drained() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 5\r\n", "a")).respond(404, Connection::Drain);
    assert_eq!(peer.conn.eof(at(0)), Eof::Complete);
    peer.flush();
    assert!(peer.conn.is_closed());
}

#[test]
fn shutdown_closes_the_idle_and_lets_others_finish() {
    let mut fresh = Peer::new();
    fresh.conn.shutdown(at(0));
    assert!(fresh.conn.is_closed());

    let mut awaited = Peer::new();
    awaited.conn.shutdown_within(at(0), Duration::from_millis(5));
    assert_eq!(awaited.conn.deadline(), Some((at(5), Reason::Idle)));
    awaited.feed(GET);
    assert!(awaited.wire().contains("Connection: close\r\n"), "the request that was on its way is served");

    let mut in_head = Peer::new();
    in_head.feed(&GET[..9]).conn.shutdown(at(0));
    in_head.feed(&GET[9..]);
    assert!(in_head.wire().contains("Connection: close\r\n"), "the head that had begun is served");

    let mut in_body = Peer::new();
    in_body.feed(post("Content-Length: 3\r\n", "a")).conn.shutdown(at(0));
    in_body.feed("bc").feed(GET);
    assert!(in_body.wire().contains("Connection: close\r\n"));
    assert_eq!(in_body.wire().matches("HTTP/1.1").count(), 1);
    assert!(in_body.conn.wants_shutdown_write());

    let mut answered = Peer::by_hand();
    answered.feed(GET).respond(200, Connection::KeepAlive).conn.shutdown(at(0));
    answered.flush().feed(GET);
    assert!(answered.conn.wants_shutdown_write(), "it was told too late for the field, but it ends");
    assert_eq!(answered.seen.len(), 2);

    let mut draining = Peer::by_hand();
    draining.feed(post("Content-Length: 3\r\n", "")).answer(404, Connection::Drain).conn.shutdown(at(0));
    assert!(draining.conn.wants_shutdown_write(), "there is no next request to drain for");
}

#[test]
fn a_reset_connection_wants_nothing() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 3\r\n", "a")).respond(404, Connection::Close);
    peer.conn.reset();
    let conn = &peer.conn;
    assert!(conn.is_closed() && !conn.wants_read() && !conn.wants_write() && !conn.wants_shutdown_write());
    assert_eq!(conn.deadline(), None);
    peer.feed(GET);
    assert_eq!(peer.seen.len(), 2);
}

#[test]
fn idleness_is_between_requests() {
    let mut peer = Peer::by_hand();
    assert!(peer.conn.is_idle());
    assert!(!peer.feed("G").conn.is_idle());
    assert!(!peer.feed(&GET[1..]).conn.is_idle());
    assert!(!peer.respond(200, Connection::KeepAlive).conn.is_idle());
    assert!(peer.flush().conn.is_idle());
}

#[test]
fn large_buffers_are_given_back() {
    let mut peer = Peer::new();
    peer.feed(format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "x".repeat(60_000)));
    assert!(peer.conn.is_idle());
    assert!(peer.conn.section.capacity() <= 4 << 10);
    peer.answer = Answer::ByHand;
    peer.feed(GET);
    let mut large = Response::new(404, WallTime::default());
    large.push("X-Large", "x".repeat(60_000));
    peer.conn.respond(at(0), &large);
    assert!(peer.conn.output.capacity() > 60_000);
    assert!(peer.flush().conn.output.capacity() <= 4 << 10);
}

#[test]
fn who_is_waited_for_holds_no_buffers() {
    for (input, moved) in [("", 0), ("a", 0), ("", 1)] {
        let mut peer = Peer::by_hand();
        peer.feed(post("Content-Length: 3\r\n", input));
        peer.conn.moved(at(0), moved);
        assert_eq!(peer.conn.section.capacity(), 0, "{input:?} {moved}");
    }
    let mut peer = Peer::by_hand();
    peer.feed(GET);
    let mut download = Response::new(200, WallTime::default());
    download.set_upload(0, 1 << 20);
    peer.conn.respond(at(0), &download);
    peer.flush();
    assert_eq!((peer.conn.section.capacity(), peer.conn.output.capacity()), (0, 0));
}

#[test]
fn a_head_refused_in_its_middle_needs_no_more_of_it() {
    let mut peer = Peer::new();
    peer.feed("GET / HTTP/1.1\r\nHost: h\r\nA: b\n");
    assert_eq!(peer.seen, [Seen::Rejected(ErrorCode::BadRequest)]);
    assert!(peer.conn.wants_shutdown_write());
}
