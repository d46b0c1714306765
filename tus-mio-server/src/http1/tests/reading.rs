//! Well-formed input: requests and bodies come out the same however the input is cut.

use super::*;

fn head(line: &str, framing: Framing) -> Seen {
    Seen::Head(line.to_owned(), framing)
}

fn body(text: &str) -> Seen {
    Seen::Body(text.as_bytes().to_vec())
}

#[test]
fn requests_without_body() {
    let (seen, wire) = read_in_every_cut(GET.as_bytes());
    assert_eq!(seen, [head("GET /files/x", Framing::Length(0)), end()]);
    assert_eq!(wire, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    for (first, line) in [
        ("OPTIONS * HTTP/1.1", "OPTIONS *"),
        ("GET http://h:80/files?x HTTP/1.1", "GET http://h:80/files?x"),
        ("GET HTTPS://[::1]:8080 HTTP/1.1", "GET HTTPS://[::1]:8080"),
        ("GET http://h?query HTTP/1.1", "GET http://h?query"),
        ("CONNECT h:443 HTTP/1.1", "CONNECT h:443"),
        ("patch /\\\"<>{}|^`? HTTP/1.1", "patch /\\\"<>{}|^`?"),
        ("GET / HTTP/1.7", "GET /"),
        ("M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.0", "M-SEARCH!#$%&'*+.^_`|~ /"),
    ] {
        let mut peer = Peer::new();
        peer.feed(format!("{first}\r\nHost: h\r\n\r\n"));
        assert_eq!(peer.seen, [head(line, Framing::Length(0)), end()]);
    }
}

#[test]
fn a_body_of_known_length() {
    let (seen, _) = read_in_every_cut(post("Content-Length: 11\r\n", "hello world").as_bytes());
    assert_eq!(seen, [head("POST /files", Framing::Length(11)), body("hello world"), end()]);
    for same in ["5, 5", "05", "5\r\nContent-Length: 5", "5\r\nCONTENT-LENGTH: 5,5"] {
        let mut peer = Peer::new();
        peer.feed(post(&format!("Content-Length: {same}\r\n"), "hello"));
        assert_eq!(peer.seen, [head("POST /files", Framing::Length(5)), body("hello"), end()], "{same}");
    }
    let mut peer = Peer::new();
    peer.feed(post("Content-Length: 9223372036854775807\r\n", "x"));
    assert_eq!(peer.seen[0], head("POST /files", Framing::Length(i64::MAX as u64)));
    assert_eq!(peer.conn.raw_credit(), i64::MAX as u64 - 1);
}

#[test]
fn a_chunked_body_with_extensions_and_trailers() {
    let text = chunked(concat!(
        "5\r\nhello\r\n",
        "006;a;b=c ; d = \"e;\\\"\tf\"\r\n world\r\n",
        "1 ;x\r\n\r\r\n",
        "000\r\nUpload-Checksum: sha1 abc= \r\nx:\r\n\r\n",
    ));
    let (seen, wire) = read_in_every_cut(text.as_bytes());
    let trailers = [("Upload-Checksum", "sha1 abc="), ("x", "")];
    let trailers = trailers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        seen,
        [head("POST /files", Framing::Chunked), body("hello world\r"), Seen::End(trailers.to_vec())]
    );
    assert_eq!(wire, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn pipelined_requests_wait_for_the_answer_before_them() {
    let all = [GET, &post("Content-Length: 2\r\n", "ab"), &chunked("1\r\nc\r\n0\r\n\r\n"), GET].concat();
    let (seen, wire) = read_in_every_cut(all.as_bytes());
    assert_eq!(seen.len(), 2 + 3 + 3 + 2);
    assert_eq!(wire.matches("HTTP/1.1 200 OK").count(), 4);

    let mut peer = Peer::by_hand();
    peer.feed([GET, GET].concat());
    assert_eq!(peer.seen, [head("GET /files/x", Framing::Length(0)), end()]);
    assert_eq!(peer.input, GET.as_bytes(), "the second stays with the driver");
    assert!(!peer.conn.wants_read());
    peer.respond(200, Connection::KeepAlive).feed("");
    assert_eq!(peer.seen.len(), 2, "its answer is not sent yet");
    peer.flush().feed("");
    assert_eq!(peer.seen.len(), 4);
}

#[test]
fn up_to_two_empty_lines_before_a_request() {
    let (seen, _) = read_in_every_cut(format!("\r\n\r\n{GET}\r\n{GET}").as_bytes());
    assert_eq!(seen.len(), 4);
    let mut peer = Peer::new();
    peer.feed("\r\n\r\n\r");
    assert!(peer.conn.is_idle(), "an empty line is not yet a request");
    peer.feed("\n");
    assert_eq!(peer.seen, [Seen::Rejected(ErrorCode::BadRequest)]);
}

#[test]
fn field_values_come_as_they_were_sent() {
    let mut conn = Conn::new(Arc::new(Settings::default()), at(0));
    let mut input: &[u8] = b"GET / HTTP/1.1\r\nhOsT:h\r\nA: \t b\tc \t\r\nA:\xff\x80\r\nEmpty:\r\n\r\nrest";
    assert_eq!(conn.next(at(0), &mut input), Some(Event::Head));
    assert_eq!(input, b"rest");
    let looked = conn.with_head(true, |head| {
        assert!(head.secure);
        assert_eq!(head.values("a").collect::<Vec<_>>(), [b"b\tc".as_slice(), b"\xff\x80"]);
        assert_eq!(head.values("empty").collect::<Vec<_>>(), [b""]);
        assert_eq!(head.fields.len(), 4);
    });
    assert_eq!(looked, Some(()));
    assert_eq!(conn.next(at(0), &mut input), Some(Event::End(Trailers::default())));
    assert_eq!(conn.with_head(true, |_| ()), None, "the driver went on");
}

#[test]
fn of_a_refused_head_is_told_what_was_read_of_it() {
    let settings = Settings { head_bytes: 128, ..Settings::default() };
    let refused = |text: &str| {
        let mut peer = Peer::with(settings.clone(), Answer::ByHand);
        peer.feed(text);
        let origin =
            peer.conn.refused_field("Origin").map(|value| String::from_utf8(value.to_vec()).unwrap());
        peer.answer(400, Connection::Close);
        assert_eq!(peer.conn.refused_field("Origin"), None, "the answer is there");
        origin
    };
    let ours = Some("https://a.example".to_owned());
    let head = "GET / HTTP/1.1\r\norigin: \t https://a.example \r\n";
    assert_eq!(refused(&format!("{head}Bad : x\r\n\r\n")), ours);
    assert_eq!(refused(&format!("{head}\0")), ours);
    assert_eq!(refused(&format!("{head}X: {}", "y".repeat(100))), ours);
    assert_eq!(refused("GET / HTTP/1.1\r\nX: y\0\r\nOrigin: https://a.example\r\n\r\n"), None);
    assert_eq!(refused("GET / HTTP/1.1\r\nOrigin: https://a.example\0"), None, "it may go on");
    assert_eq!(refused("Origin: https://a.example\r\n\r\n"), None, "that is the request line");
    let mut peer = Peer::by_hand();
    peer.feed(head);
    assert_eq!(peer.conn.refused_field("Origin"), None, "it may still be complete");
    assert!(peer.conn.give_up_head() && !peer.conn.give_up_head());
    assert_eq!(peer.conn.refused_field("Origin"), Some(&b"https://a.example"[..]));
}

#[test]
fn data_may_be_moved_beside_the_connection() {
    let mut peer = Peer::by_hand();
    peer.feed(post("Content-Length: 10\r\n", "abc"));
    assert_eq!(peer.conn.raw_credit(), 7);
    peer.conn.moved(at(0), 6);
    assert_eq!(peer.conn.raw_credit(), 1);
    peer.conn.moved(at(0), 1);
    assert!(!peer.seen.contains(&end()), "the end is told by `next`");
    peer.feed("");
    assert_eq!(peer.seen.last(), Some(&end()));

    let mut peer = Peer::by_hand();
    peer.feed(chunked(""));
    assert_eq!(peer.conn.raw_credit(), 0, "a chunk's line comes first");
    peer.feed("a\r\n");
    assert_eq!(peer.conn.raw_credit(), 10);
    peer.conn.moved(at(0), 10);
    assert_eq!(peer.conn.raw_credit(), 0);
    peer.feed("\r\n3\r\nxyz\r\n0\r\n\r\n");
    assert_eq!(peer.seen[1..], [body("xyz"), end()]);
    peer.answer(200, Connection::KeepAlive).feed(GET);
    assert_eq!(peer.seen.len(), 5, "and the next request begins where it should");
}

#[test]
fn limits_of_a_head_are_reached_to_the_byte() {
    let settings = Settings { head_bytes: 64, fields: 3, ..Settings::default() };
    let refused = |text: &str| {
        let mut peer = Peer::with(settings.clone(), Answer::ByHand);
        match peer.feed(text).seen.first() {
            Some(Seen::Rejected(code)) => Some(*code),
            Some(_) => None,
            None => panic!("nothing was told of {text:?}"),
        }
    };
    let fields = "Host: h\r\nA: 1\r\nB: 2\r\n";
    let padded = |target: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(target));
    let fits = 64 - padded(0).len();
    assert_eq!(refused(&padded(fits)), None);
    assert_eq!(refused(&padded(fits + 1)), Some(ErrorCode::HeadTooLarge));
    assert_eq!(refused(&padded(50)), Some(ErrorCode::UriTooLong));
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), None);
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{fields}C: 3\r\n")), Some(ErrorCode::HeadTooLarge));
}

#[test]
fn limits_of_a_body_are_reached_to_the_byte() {
    let settings = Settings { chunk_line_bytes: 10, trailer_bytes: 12, fields: 2, ..Settings::default() };
    let last = |body: &str| {
        let mut peer = Peer::with(settings.clone(), Answer::ByHand);
        peer.feed(chunked(body)).seen.pop().unwrap()
    };
    let refused = Seen::Rejected(ErrorCode::BadRequest);
    assert_eq!(last("1;234567\r\na"), body("a"));
    assert_eq!(last("1;2345678\r\na"), refused);
    assert!(matches!(last("0\r\nabc: 123\r\n\r\n"), Seen::End(trailers) if trailers.len() == 1));
    assert_eq!(last("0\r\nabc: 1234\r\n\r\n"), refused);
    assert!(matches!(last("0\r\na:\r\nb:\r\n\r\n"), Seen::End(trailers) if trailers.len() == 2));
    let settings = Settings { trailer_bytes: 1_000, ..settings.clone() };
    let mut peer = Peer::with(settings, Answer::ByHand);
    assert_eq!(peer.feed(chunked("0\r\na:\r\nb:\r\nc:\r\n")).seen.pop(), Some(refused));
}

#[test]
fn damaged_requests_are_understood_the_same_however_they_are_cut() {
    let sound = [
        GET,
        &post("Content-Length: 11\r\nConnection: keep-alive\r\n", "hello\r\nyou!"),
        &chunked("3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"),
        "\r\nHEAD http://h:80/x HTTP/1.0\r\nHost: h:80\r\nConnection: Keep-Alive\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    ];
    let (mut refused, mut told) = (0, 0);
    for seed in 1..=5_000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes: Vec<u8> = (0..3).flat_map(|_| random.pick(&sound).bytes()).collect();
        for _ in 0..random.below(4) {
            random.damage(&mut bytes);
        }
        let (mut whole, mut cut) = (Peer::new(), Peer::new());
        whole.feed(&bytes);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(1 + random.below(rest.len().min(30)));
            cut.feed(piece);
            rest = later;
        }
        let shown = String::from_utf8_lossy(&bytes);
        assert_eq!((&cut.seen, &cut.written), (&whole.seen, &whole.written), "seed {seed}: {shown:?}");
        assert_eq!(cut.conn.deadline(), whole.conn.deadline(), "seed {seed}: {shown:?}");
        told += whole.seen.len();
        refused += usize::from(matches!(whole.seen.last(), Some(Seen::Rejected(_))));
    }
    assert!(refused > 1_000 && told > 20_000, "the inputs try both: {refused} refused, {told} told");
}
