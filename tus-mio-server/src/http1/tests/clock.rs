//! Deadlines: what is waited for, from when, and what comes of it. No attack by slowness outlives its clock.

use std::time::Duration;

use super::*;

fn deadline(peer: &Peer) -> Option<(u64, Reason)> {
    peer.conn.deadline().map(|(at, reason)| (at.as_micros() / 1_000, reason))
}

/// Asserts that nothing expires a moment before the deadline, and tells what expires at it.
fn expire(peer: &mut Peer) -> Reason {
    let (when, reason) = peer.conn.deadline().expect("a deadline");
    assert_eq!(peer.conn.expired(Instant::from_micros(when.as_micros() - 1)), None);
    peer.now = when;
    assert_eq!(peer.conn.expired(when), Some(reason));
    assert_eq!(peer.conn.expired(when), None, "an expiry is told once");
    reason
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut fresh = Peer::new();
    assert_eq!(deadline(&fresh), Some((75_000, Reason::Idle)));
    assert_eq!(expire(&mut fresh), Reason::Idle);
    assert!(fresh.conn.is_closed() && fresh.written.is_empty());

    let mut kept = Peer::new();
    kept.wait(10_000).feed(GET);
    assert_eq!(deadline(&kept), Some((85_000, Reason::Idle)), "anew behind each answer");
    kept.wait(5_000).feed("\r\n");
    assert_eq!(deadline(&kept), Some((85_000, Reason::Idle)), "an empty line does not prolong it");
}

#[test]
fn a_dripping_head_is_cut_off() {
    let mut peer = Peer::new();
    peer.wait(50_000).feed("G");
    for byte in "ET / HTTP/1.1\r\nHost: h\r\nA: bbbbb".bytes() {
        assert_eq!(deadline(&peer), Some((80_000, Reason::Head)), "from the first byte");
        peer.wait(900).feed([byte]);
    }
    assert_eq!(expire(&mut peer), Reason::Head);
    assert!(!peer.conn.is_closed() && !peer.conn.wants_read());
    assert_eq!(deadline(&peer), None, "the server's turn");
    peer.feed("\r\n\r\n");
    assert!(peer.seen.is_empty(), "too late");
    peer.answer(404, Connection::Close);
    assert!(peer.wire().contains("Connection: close\r\n") && peer.conn.wants_shutdown_write());
}

#[test]
fn a_head_that_stops_is_cut_off_as_a_body_would_be() {
    let settings = Settings { body_timeout: Duration::from_secs(2), ..Settings::default() };
    let mut peer = Peer::with(settings.clone(), Answer::ByHand);
    peer.feed("GET");
    assert_eq!(deadline(&peer), Some((2_000, Reason::Head)));
    peer.wait(1_500).feed(" ").feed("");
    assert_eq!(deadline(&peer), Some((3_500, Reason::Head)), "from the last byte");
    let mut dripping = Peer::with(settings, Answer::ByHand);
    dripping.feed("G");
    for _ in 0..29 {
        dripping.wait(1_000).feed("A");
    }
    assert_eq!(deadline(&dripping), Some((30_000, Reason::Head)), "and from the first one");
    let patient = Settings { body_timeout: Duration::ZERO, ..Settings::default() };
    let mut patient = Peer::with(patient, Answer::ByHand);
    patient.feed("GET");
    assert_eq!(deadline(&patient), Some((30_000, Reason::Head)));
}

#[test]
fn a_late_head_still_knows_that_it_was_a_head() {
    let mut peer = Peer::new();
    peer.feed("HEAD / HTTP/1.1\r\n");
    assert_eq!(expire(&mut peer), Reason::Head);
    peer.answer(404, Connection::Close);
    assert!(peer.wire().ends_with("\r\n\r\n"), "so it gets no body");
}

#[test]
fn a_pipelined_head_has_its_own_time() {
    let mut peer = Peer::by_hand();
    peer.feed([GET, "GET"].concat()).wait(40_000);
    assert_eq!(deadline(&peer), None, "the server's turn");
    peer.answer(200, Connection::KeepAlive).feed("");
    assert_eq!(deadline(&peer), Some((70_000, Reason::Head)));
}

#[test]
fn a_stalled_body_is_given_up() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 100000\r\n", ""));
    assert_eq!(deadline(&peer), Some((30_000, Reason::Body)));
    peer.wait(20_000).feed("x".repeat(15_000));
    assert_eq!(deadline(&peer), Some((50_000, Reason::Body)), "from its last byte");
    peer.wait(20_000);
    peer.conn.moved(peer.now, 15_000);
    assert_eq!(deadline(&peer), Some((70_000, Reason::Body)), "moved bytes count");
    assert_eq!(expire(&mut peer), Reason::Body);
    assert!(!peer.conn.is_closed() && !peer.conn.wants_read());
    assert_eq!(peer.conn.raw_credit(), 0);
    peer.answer(404, Connection::KeepAlive);
    assert!(peer.wire().contains("Connection: close\r\n"), "whatever the exchange thinks");
}

#[test]
fn a_dripping_body_buys_less_time_than_it_takes() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 1000\r\n", ""));
    let mut bytes = 0;
    while peer.now.since(at(0)) < Duration::from_secs(29) {
        peer.wait(1_000).feed("x");
        bytes += 1;
    }
    let bought = 1_000_000 * bytes / 500;
    assert_eq!(peer.conn.deadline(), Some((Instant::from_micros(30_000_000 + bought), Reason::Body)));
    let settings = Settings { body_rate: 0, ..Settings::default() };
    let mut any = Peer::with(settings, Answer::ByHand);
    any.feed(post("Content-Length: 1000\r\n", "")).wait(29_000).feed("x");
    assert_eq!(deadline(&any), Some((59_000, Reason::Body)), "without a rate any byte will do");
}

#[test]
fn a_body_at_its_rate_is_never_cut_and_a_slower_one_is() {
    let lasts = |bytes_a_second: usize| {
        let mut peer = Peer::by_hand();
        peer.feed(post("Content-Length: 1000000\r\n", ""));
        let second = "x".repeat(bytes_a_second);
        (0..1_000_u64).find(|_| {
            peer.wait(1_000);
            let expired = peer.conn.expired(peer.now).is_some();
            peer.feed(&second);
            expired
        })
    };
    assert_eq!(lasts(500), None);
    // Each second costs 2 ms of the 30 s.
    assert!(lasts(400).is_some_and(|seconds| (140..=160).contains(&seconds)), "{:?}", lasts(400));
    assert_eq!(lasts(1), Some(30));
}

#[test]
fn a_body_is_not_late_while_it_is_not_read() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 100000\r\n", "")).wait(10_000);
    peer.conn.set_reading(peer.now, false);
    assert_eq!(deadline(&peer), None);
    peer.wait(100_000);
    peer.conn.set_reading(peer.now, false);
    assert_eq!(peer.conn.expired(peer.now), None);
    peer.conn.set_reading(peer.now, true);
    assert_eq!(deadline(&peer), Some((130_000, Reason::Body)), "the 20 s that were left");
    peer.conn.set_reading(peer.now, false);
    peer.feed("x".repeat(5_000)).wait(50_000);
    assert_eq!(deadline(&peer), None, "bytes do not start it");
    peer.conn.set_reading(peer.now, true);
    assert_eq!(deadline(&peer), Some((190_000, Reason::Body)), "but they buy time");
}

#[test]
fn a_body_is_not_late_while_the_client_waits_for_us() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 1000\r\nExpect: 100-continue\r\n", ""));
    assert_eq!(deadline(&peer), None);
    peer.conn.set_reading(peer.now, true);
    assert_eq!(deadline(&peer), None);
    peer.wait(40_000);
    peer.conn.send_continue(peer.now);
    assert_eq!(deadline(&peer), Some((70_000, Reason::Body)));

    let mut eager = Peer::by_hand();
    eager.feed(post("Content-Length: 1000\r\nExpect: 100-continue\r\n", "")).wait(40_000).feed("x");
    assert_eq!(deadline(&eager), Some((70_000, Reason::Body)), "it did not wait after all");
}

#[test]
fn a_body_may_take_for_ever_where_that_is_wanted() {
    let settings = Settings { body_timeout: Duration::ZERO, ..Settings::default() };
    let mut peer = Peer::with(settings, Answer::ByHand);
    peer.feed(post("Content-Length: 3\r\n", "a"));
    assert_eq!(deadline(&peer), None);
    peer.conn.set_reading(peer.now, false);
    peer.conn.set_reading(peer.now, true);
    assert_eq!(deadline(&peer), None);
}

#[test]
fn a_complete_request_waits_for_the_server_alone() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 3\r\n", "abc"));
    assert_eq!(peer.seen.last(), Some(&end()));
    peer.conn.set_reading(peer.now, true);
    assert_eq!(deadline(&peer), None);

    let mut moved = Peer::by_hand();
    moved.feed(post("Content-Length: 3\r\n", ""));
    moved.conn.moved(at(0), 3);
    assert_eq!(deadline(&moved), None, "although its end is not told yet");
}

#[test]
fn an_answer_nobody_takes_ends_the_connection() {
    let mut peer = Peer::by_hand();
    peer.feed(GET).wait(5_000).respond(404, Connection::KeepAlive);
    for _ in 0..10 {
        assert_eq!(deadline(&peer), Some((35_000, Reason::Response)), "however it drips");
        peer.wait(1_000);
        peer.conn.sent(peer.now, 1);
    }
    assert_eq!(expire(&mut peer), Reason::Response);
    assert!(peer.conn.is_closed() && !peer.conn.wants_write());
}

#[test]
fn draining_is_part_of_the_answers_time() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 100\r\n", "")).answer(404, Connection::Drain);
    for _ in 0..20 {
        assert_eq!(deadline(&peer), Some((30_000, Reason::Response)));
        peer.wait(1_000).feed("x");
    }
    assert_eq!(expire(&mut peer), Reason::Response);
    assert!(peer.conn.is_closed());
}

#[test]
fn lingering_is_bounded_in_time() {
    let mut peer = Peer::by_hand();
    peer.feed(GET).wait(5_000).answer(200, Connection::Close);
    for _ in 0..9 {
        assert_eq!(deadline(&peer), Some((15_000, Reason::Linger)));
        peer.wait(1_000).feed("x");
    }
    assert_eq!(expire(&mut peer), Reason::Linger);
    assert!(peer.conn.is_closed());
}
