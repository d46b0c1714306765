//! Answers: their framing, what they say of the connection, and `100 Continue`.

use super::*;

/// What is written when `text` is answered so once the head is told and no more is read.
fn answered_early(text: &str, status: u16, connection: Connection) -> Peer {
    let mut peer = Peer::by_hand();
    let mut input = text.as_bytes();
    let event = peer.conn.next(at(0), &mut input).expect("a head");
    peer.note(event);
    peer.input = input.to_vec();
    peer.answer(status, connection);
    peer
}

fn answered(text: &str) -> Peer {
    let mut peer = Peer::new();
    peer.feed(text);
    peer
}

#[test]
fn a_response_is_written_whole_with_its_length() {
    let peer = answered_early(GET, 404, Connection::KeepAlive);
    let text = String::from_utf8(peer.written.clone()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(peer.conn.is_idle(), "the end of no body need not be told first");
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\nTus-Resumable: 1.0.0\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())));
    assert!(body.starts_with("ERR_NOT_FOUND: "));
    assert!(!head.contains("Connection:"));
}

#[test]
fn no_length_where_there_is_no_body_by_definition() {
    assert_eq!(answered_early(GET, 204, Connection::KeepAlive).wire(), "HTTP/1.1 204 No Content\r\n\r\n");
    let head = GET.replace("GET", "HEAD");
    let peer = answered_early(&head, 404, Connection::KeepAlive);
    assert!(peer.wire().ends_with("plain; charset=utf-8\r\n\r\n"), "a HEAD gets no body: {}", peer.wire());
    assert!(!peer.wire().contains("Content-Length"));
    let refused = answered("HEAD / HTTP/1.1\r\nNo-Host: h\r\n\r\n");
    assert_eq!(refused.wire(), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "nor where it is refused");
}

#[test]
fn the_method_on_the_wire_decides_not_the_override() {
    let post = post("X-HTTP-Method-Override: HEAD\r\n", "");
    assert!(answered(&post).wire().contains("Content-Length: 0\r\n"));
    let head = "HEAD / HTTP/1.1\r\nHost: h\r\nX-HTTP-Method-Override: PATCH\r\n\r\n";
    assert!(answered_early(head, 404, Connection::KeepAlive).wire().ends_with("charset=utf-8\r\n\r\n"));
}

#[test]
fn who_wants_the_connection_to_live() {
    for (version, fields, lives, said) in [
        ("1.1", "", true, None),
        ("1.1", "Connection: keep-alive\r\n", true, None),
        ("1.1", "Connection: close\r\n", false, Some("close")),
        ("1.1", "connection: x, CLOSE ,y\r\n", false, Some("close")),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false, Some("close")),
        ("1.1", "Connection: closed\r\n", true, None),
        ("1.1", "Connection: keep-alive, close\r\n", false, Some("close")),
        ("1.2", "", true, None),
        ("1.0", "", false, Some("close")),
        ("1.0", "Connection: Keep-Alive\r\n", true, Some("keep-alive")),
        ("1.0", "Connection: keep-alive, close\r\n", false, Some("close")),
        ("1.0", "Keep-Alive: 5\r\n", false, Some("close")),
    ] {
        let peer = answered(&format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n"));
        assert_eq!(peer.conn.is_idle(), lives, "{version} {fields:?}");
        assert_eq!(peer.conn.wants_shutdown_write(), !lives, "{version} {fields:?}");
        let expected = said.map_or(String::new(), |said| format!("Connection: {said}\r\n"));
        assert_eq!(
            peer.wire(),
            format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{expected}\r\n"),
            "{version} {fields:?}"
        );
    }
    let closed = answered_early(GET, 200, Connection::Close);
    assert!(closed.wire().contains("Connection: close\r\n"), "the exchange may end it as well");
}

#[test]
fn an_unread_body_is_drained_where_it_is_small() {
    for connection in [Connection::Drain, Connection::KeepAlive] {
        for text in [post("Content-Length: 5\r\n", "hello"), chunked("5\r\nhello\r\n0\r\nA: b\r\n\r\n")] {
            for cut in text.find("\r\n\r\n").unwrap() + 4..=text.len() {
                let mut peer = answered_early(&text[..cut], 404, connection);
                assert!(!peer.wire().contains("Connection:"));
                assert!(cut < text.len() && peer.conn.wants_read() || !peer.input.is_empty());
                peer.feed(&text[cut..]).feed(GET);
                assert_eq!(peer.seen.len(), 3, "its head, then the next request: {:?}", peer.seen);
            }
        }
    }
}

#[test]
fn drained_and_pipelined_in_one_piece() {
    let both = [post("Content-Length: 5\r\n", "hello").as_str(), GET].concat();
    let mut peer = answered_early(&both, 404, Connection::Drain);
    peer.feed("");
    assert_eq!(peer.seen.len(), 3, "the second request follows the drained body");
}

#[test]
fn draining_has_an_end() {
    let settings = Settings { drain_bytes: 100, ..Settings::default() };
    let early = |text: &str| {
        let mut peer = Peer::with(settings.clone(), Answer::ByHand);
        let mut input = text.as_bytes();
        let event = peer.conn.next(at(0), &mut input).unwrap();
        peer.note(event);
        peer.answer(404, Connection::Drain);
        peer
    };
    let mut exact = early(&post("Content-Length: 100\r\n", ""));
    exact.feed("x".repeat(100));
    assert!(exact.conn.is_idle());
    let more = early(&post("Content-Length: 101\r\n", ""));
    assert!(more.wire().contains("Connection: close\r\n"), "known to be too long");
    assert!(more.conn.wants_shutdown_write());
    let mut unknown = early(&chunked(""));
    unknown.feed("5e\r\n").feed("x".repeat(94));
    assert!(unknown.conn.wants_read() && !unknown.conn.wants_shutdown_write());
    unknown.feed("\r\n0");
    assert!(unknown.conn.wants_shutdown_write(), "98 and 2 more, then the limit");
    let mut broken = early(&chunked(""));
    broken.feed("x\r\n");
    assert!(broken.conn.wants_shutdown_write(), "where the next request begins is lost");
    assert!(!String::from_utf8(broken.written).unwrap().contains("400"), "it was answered already");
}

#[test]
fn continue_is_sent_to_those_who_wait_for_it() {
    let waits = post("Content-Length: 5\r\nExpect: 100-Continue\r\n", "");
    let mut peer = Peer::by_hand();
    peer.feed(&waits);
    assert!(peer.conn.expects_continue());
    peer.conn.send_continue(at(0));
    assert!(!peer.conn.expects_continue());
    peer.conn.send_continue(at(0));
    peer.flush().feed("hello").answer(200, Connection::KeepAlive);
    assert_eq!(peer.wire(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(peer.conn.is_idle());
}

/// An exchange's answer before its last one.
fn interim() -> tus_proto::Interim {
    let fields: &[(&str, &[u8])] = &[("Upload-Complete", b"?0"), ("Upload-Draft-Interop-Version", b"8")];
    let framing = Framing::Length(0);
    let head =
        tus_proto::Head { method: "POST", target: "/files", fields, framing, secure: false, direct: false };
    let now = tus_proto::Now { monotonic: at(0), wall: WallTime::default(), date: WallTime::default() };
    let mut exchange = tus_proto::Exchange::new(Arc::default(), &head, [0; 10], now);
    while let Some(output) = exchange.poll() {
        match output {
            tus_proto::Output::Store(op, _) => {
                exchange.handle(now, tus_proto::Input::Store(op, tus_proto::Completion::Created));
            }
            tus_proto::Output::Interim(interim) => return interim,
            _ => {}
        }
    }
    panic!("no answer before the last one")
}

#[test]
fn an_interim_answer_comes_before_the_body_and_the_last_one() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
    peer.conn.send_interim(&interim());
    let wire = peer.flush().wire();
    assert!(
        wire.starts_with("HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Draft-Interop-Version: 8\r\n")
    );
    assert!(wire.contains("\r\nLocation: /files/") && wire.ends_with("\r\n\r\n"), "{wire}");
    assert!(!wire.contains("Content-Length"));
    assert!(peer.conn.expects_continue(), "it stands for no 100");
    peer.conn.send_continue(at(0));
    peer.flush().feed("hello").answer(200, Connection::KeepAlive);
    assert!(peer.conn.is_idle());
}

#[test]
fn an_interim_answer_is_sent_to_nobody_who_cannot_read_it() {
    for text in ["POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n".to_owned(), String::new()] {
        let mut peer = Peer::by_hand();
        peer.feed(&text);
        peer.conn.send_interim(&interim());
        assert_eq!(peer.flush().wire(), "", "{text:?}");
    }
    // A peer that takes nothing is not sent more and more.
    let mut conn = Conn::new(Arc::new(Settings::default()), at(0));
    let sent = post("Content-Length: 5\r\n", "");
    conn.next(at(0), &mut sent.as_bytes());
    for _ in 0..1000 {
        conn.send_interim(&interim());
    }
    assert!((4 << 10..5 << 10).contains(&conn.output().len()), "{}", conn.output().len());
}

#[test]
fn continue_is_sent_to_nobody_else() {
    for text in [
        post("Content-Length: 5\r\n", ""),
        post("Content-Length: 5\r\nExpect: 100-continue\r\n", "h"),
        chunked("5"),
        post("Content-Length: 0\r\nExpect: 100-continue\r\n", ""),
        post("Expect: 100-continue\r\n", ""),
        "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".to_owned(),
        post("Expect: 100-continue\r\nContent-Length: x\r\n", ""),
    ] {
        let mut peer = Peer::by_hand();
        peer.feed(&text);
        assert!(!peer.conn.expects_continue(), "{text:?}");
        peer.conn.send_continue(at(0));
        assert_eq!(peer.flush().wire(), "", "{text:?}");
    }
    let mut conn = Conn::new(Arc::new(Settings::default()), at(0));
    let bodiless = post("Expect: 100-continue\r\n", "");
    assert_eq!(conn.next(at(0), &mut bodiless.as_bytes()), Some(Event::Head));
    assert!(!conn.expects_continue(), "there is no body, although its end is not told");
    let empty = post("Content-Length: 0\r\nExpect: 100-continue\r\n", "");
    assert!(answered_early(&empty, 404, Connection::Drain).conn.is_idle(), "before its end is told, neither");
    let mut chunks = Peer::by_hand();
    chunks.feed(post("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", "5"));
    assert!(!chunks.conn.expects_continue(), "part of a chunk's line is body, too");
    let mut moved = Peer::by_hand();
    moved.feed(post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
    moved.conn.moved(at(0), 1);
    assert!(!moved.conn.expects_continue());
}

#[test]
fn a_client_refused_its_continue_is_not_read_on() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
    peer.answer(404, Connection::Drain);
    assert!(peer.wire().contains("Connection: close\r\n"));
    assert!(peer.conn.wants_shutdown_write());
    peer.feed(GET);
    assert_eq!(peer.seen.len(), 1, "this could be the body");
}

#[test]
fn only_one_answer_and_only_to_a_request() {
    let mut peer = Peer::by_hand();
    peer.answer(200, Connection::KeepAlive);
    assert_eq!(peer.wire(), "");
    peer.feed(GET).answer(200, Connection::KeepAlive).answer(404, Connection::Close);
    assert_eq!(peer.wire(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(peer.conn.is_idle());
}
