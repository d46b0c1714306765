//! Answers whose body is an upload, which the driver sends beside the connection: what the connection knows of it,
//! and by which clock a peer that takes it slowly is cut.

use std::time::Duration;

use super::*;

/// A peer that was answered with `length` bytes of an upload, of which none is sent.
fn answered(input: &str, length: u64, settings: Settings) -> Peer {
    let mut peer = Peer::with(settings, Answer::ByHand);
    peer.feed(input);
    bear(&mut peer, length, Connection::KeepAlive);
    peer
}

fn bear(peer: &mut Peer, length: u64, connection: Connection) {
    let mut answer = Response::new(200, WallTime::default());
    answer.set_upload(10, 10 + length);
    answer.connection = connection;
    peer.conn.respond(peer.now, &answer);
}

fn download(length: u64) -> Peer {
    let mut peer = answered(GET, length, Settings::default());
    peer.flush();
    peer
}

fn take(peer: &mut Peer, count: u64) {
    peer.conn.sent_beside(peer.now, count);
}

/// Takes `count` bytes every second, for an hour at most. Tells after how many seconds the peer was cut.
fn cut_after(settings: Settings, count: u64) -> Option<u64> {
    let mut peer = answered(GET, u64::MAX >> 1, settings);
    peer.flush();
    (1..3600).find(|_| {
        peer.wait(1_000);
        let expired = peer.conn.expired(peer.now);
        let count = count.min(peer.conn.send_credit());
        take(&mut peer, count);
        expired.is_some_and(|reason| reason == Reason::Response && peer.conn.is_closed())
    })
}

#[test]
fn the_body_follows_the_head_and_the_next_request_follows_the_body() {
    let mut peer = answered(&[GET, GET].concat(), 5, Settings::default());
    assert_eq!(peer.conn.send_credit(), 0, "the head comes first");
    peer.flush();
    assert_eq!(peer.wire(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    for credit in [5, 4, 1] {
        peer.feed("");
        assert_eq!((peer.conn.send_credit(), peer.seen.len()), (credit, 2), "the next request waits");
        assert!(!peer.conn.is_idle() && !peer.conn.wants_read());
        take(&mut peer, if credit == 4 { 3 } else { 1 });
    }
    assert_eq!(peer.conn.send_credit(), 0);
    peer.feed("");
    assert_eq!(peer.seen.len(), 4, "{:?}", peer.seen);
    bear(&mut peer, 0, Connection::KeepAlive);
    peer.flush();
    assert!(peer.conn.is_idle(), "nothing follows an empty upload's head");
}

#[test]
fn a_head_gets_no_body() {
    let mut peer = answered(&GET.replace("GET", "HEAD"), 5, Settings::default());
    peer.flush();
    assert_eq!((peer.conn.send_credit(), peer.conn.is_idle()), (0, true));
}

#[test]
fn the_connection_ends_behind_the_last_byte() {
    let mut peer = Peer::by_hand();
    peer.feed(GET);
    bear(&mut peer, 2, Connection::Close);
    peer.flush();
    take(&mut peer, 1);
    assert!(!peer.conn.wants_shutdown_write());
    take(&mut peer, 1);
    assert!(peer.conn.wants_shutdown_write());

    let mut ending = download(2);
    ending.conn.shutdown(ending.now);
    assert_eq!(ending.conn.send_credit(), 2, "a shutdown waits for what was begun");
    take(&mut ending, 2);
    assert!(ending.conn.wants_shutdown_write());
}

#[test]
fn a_peer_that_ends_its_side_still_gets_all_of_it() {
    let mut peer = download(2);
    assert_eq!(peer.conn.eof(peer.now), Eof::Complete);
    assert_eq!(peer.conn.send_credit(), 2);
    take(&mut peer, 2);
    assert_eq!(peer.conn.eof(peer.now), Eof::Closed);
}

#[test]
fn an_upload_that_cannot_be_sent_on_ends_the_connection_without_a_word() {
    let mut peer = download(2);
    take(&mut peer, 1);
    peer.conn.reset();
    assert_eq!((peer.conn.send_credit(), peer.conn.is_closed(), peer.conn.deadline()), (0, true, None));
}

#[test]
fn a_peer_that_reads_slower_than_the_rate_is_cut() {
    let settings = Settings::default();
    let rate = settings.download_min_rate;
    assert_eq!(cut_after(settings.clone(), 0), Some(30));
    assert_eq!(cut_after(settings.clone(), rate / 2), Some(59), "half a second bought each second");
    assert_eq!(cut_after(settings.clone(), rate), None);
    let any = Settings { download_min_rate: 0, ..settings };
    assert_eq!(cut_after(any.clone(), 1), None, "without a rate any byte will do");
    assert_eq!(cut_after(any, 0), Some(30));
}

#[test]
fn no_peer_saves_time_up_for_a_stall() {
    let mut peer = download(1 << 40);
    take(&mut peer, 1 << 30);
    assert_eq!(peer.conn.deadline(), Some((at(30_000), Reason::Response)));
    peer.wait(10_000);
    take(&mut peer, 1 << 30);
    assert_eq!(peer.conn.deadline(), Some((at(40_000), Reason::Response)));
}

#[test]
fn a_peer_is_not_late_while_nothing_is_sent_to_it() {
    let mut peer = download(1 << 20);
    peer.wait(10_000);
    peer.conn.set_sending(peer.now, false);
    peer.wait(1_000_000);
    assert_eq!((peer.conn.deadline(), peer.conn.expired(peer.now)), (None, None));
    take(&mut peer, 4096);
    peer.conn.set_sending(peer.now, true);
    assert_eq!(
        peer.conn.deadline(),
        Some((at(1_031_000), Reason::Response)),
        "the 20 s left, and one bought"
    );
    peer.conn.set_sending(peer.now, false);
    take(&mut peer, (1 << 20) - 4096);
    assert_eq!(peer.conn.deadline(), Some((at(1_085_000), Reason::Idle)));
}

#[test]
fn an_unwanted_request_body_still_has_to_go_away() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 4\r\n", "ab"));
    bear(&mut peer, 3, Connection::KeepAlive);
    peer.flush();
    peer.conn.set_sending(peer.now, false);
    take(&mut peer, 3);
    assert!(!peer.conn.is_idle());
    assert_eq!(peer.conn.deadline(), Some((at(30_000), Reason::Response)), "for that it is the peer's turn");
    peer.feed("cd");
    assert!(peer.conn.is_idle());
    assert_eq!(peer.conn.deadline().map(|(at, _)| at.since(peer.now)), Some(Duration::from_secs(75)));
}
