//! Request smuggling, as data: what is sent, what must be read of it, and how that must end. Behind every case
//! stands one more request, as an attacker would hide it there: it may be read only where the case says that the
//! connection goes on. Each case is read whole, cut in two at every place, byte by byte, and over a socket.
//!
//! The verdicts are RFC 9112's. Where it leaves a choice (bare LF, obs-fold, both lengths, unknown trailers) the
//! strict one is demanded, because the lenient one is where two readers differ.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use super::*;
use crate::{Server, Settings as ServerSettings};

mod chunks;
mod connections;
mod fields;
mod lengths;
mod request_lines;

/// The request that an attacker would hide behind each case.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

/// A creation, up to the fields that say how long its body is: a server reads past that and goes on.
const POST: &str = "POST /files HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n";

/// Of inputs up to this length every cut is tried, of longer ones the cuts near their end and a few others.
const CUT_EVERYWHERE: usize = 1_000;

/// Something that is sent, with its verdict.
#[derive(Debug)]
struct Case {
    sent: Vec<u8>,
    /// The requests that are complete, each as `METHOD TARGET BODY`.
    read: Vec<String>,
    end: End,
    /// A server may reject the request before its body has come, and end the connection with that.
    early: bool,
}

/// What comes behind the requests that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The next request: the hidden one is read.
    Goes,
    /// The end of the connection: nothing behind is read.
    Closes,
    /// A rejection, and the end.
    Rejected(ErrorCode),
    /// More of the same request: nothing is answered yet.
    Waits,
}

impl Case {
    /// `sent` is Latin-1: each character is one byte.
    fn new(sent: &str, read: &[&str], end: End) -> Self {
        let sent = sent.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        Self { sent, read: read.iter().map(|text| (*text).to_owned()).collect(), end, early: false }
    }

    fn refused(sent: &str) -> Self {
        Self::new(sent, &[], End::Rejected(ErrorCode::BadRequest))
    }

    fn with(sent: &str, code: ErrorCode) -> Self {
        Self::new(sent, &[], End::Rejected(code))
    }

    fn goes(sent: &str, read: &[&str]) -> Self {
        Self::new(sent, read, End::Goes)
    }

    fn closes(sent: &str, read: &[&str]) -> Self {
        Self::new(sent, read, End::Closes)
    }

    fn closes_early(self) -> Self {
        Self { early: true, ..self }
    }

    /// All that is sent, the hidden request included.
    fn bytes(&self) -> Vec<u8> {
        let hidden = if self.end == End::Waits { "" } else { HIDDEN };
        [&self.sent, hidden.as_bytes()].concat()
    }

    /// How many answers there must be.
    fn answers(&self) -> usize {
        self.read.len() + usize::from(matches!(self.end, End::Goes | End::Rejected(_)))
    }

    fn shown(&self) -> String {
        self.sent.escape_ascii().to_string().chars().take(200).collect()
    }
}

fn all() -> Vec<Case> {
    [request_lines::cases(), fields::cases(), lengths::cases(), chunks::cases(), connections::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// What a peer has seen: complete requests, a rejection, and how many heads wait for the rest of their bodies.
fn summary(seen: &[Seen]) -> (Vec<String>, Option<ErrorCode>) {
    let (mut read, mut refused, mut open) = (Vec::new(), None, String::new());
    for seen in seen {
        match seen {
            Seen::Head(line, _) => open.clone_from(line),
            Seen::Body(data) => open = format!("{open} {}", data.escape_ascii()),
            Seen::End(_) => read.push(std::mem::take(&mut open)),
            Seen::Rejected(code) => refused = Some(*code),
        }
    }
    (read, refused)
}

fn check(case: &Case) {
    let bytes = case.bytes();
    let run = |pieces: &[&[u8]]| {
        let mut peer = Peer::new();
        for piece in pieces {
            peer.feed(piece);
        }
        peer
    };
    let whole = run(&[&bytes]);
    let shown = case.shown();
    let (mut read, refused) = summary(&whole.seen);
    if case.end == End::Goes {
        assert_eq!(read.pop().as_deref(), Some("GET /hidden"), "behind {shown}");
    }
    assert_eq!(read, case.read, "{shown}");
    assert_eq!(refused.map_or(case.end, End::Rejected), case.end, "{shown}");
    let ends = matches!(case.end, End::Closes | End::Rejected(_));
    assert_eq!(whole.conn.wants_shutdown_write(), ends, "{shown}");
    assert_eq!(whole.wire().matches("HTTP/1.1 ").count(), case.answers(), "{shown}");
    for cut in 1..bytes.len() {
        if bytes.len() <= CUT_EVERYWHERE || cut % 997 == 0 || cut + 64 > bytes.len() {
            let (front, back) = bytes.split_at(cut);
            let parts = run(&[front, back]);
            assert_eq!(
                (parts.seen, parts.written),
                (whole.seen.clone(), whole.written.clone()),
                "{shown} at {cut}"
            );
        }
    }
    let single = run(&bytes.chunks(1).collect::<Vec<_>>());
    assert_eq!((single.seen, single.written), (whole.seen, whole.written), "{shown} byte by byte");
}

#[test]
fn each_has_its_verdict_however_it_is_cut() {
    for case in all() {
        check(&case);
    }
}

#[test]
fn there_are_many_and_none_is_there_twice() {
    let all = all();
    let mut seen = BTreeSet::new();
    for case in &all {
        assert!(seen.insert(&case.sent), "{} is there twice", case.shown());
    }
    assert!(all.len() >= 300, "{}", all.len());
}

/// Whether as many answers come to this input as are due, and the server closes after them. It must: where it would
/// go on, the last request asks it to close.
fn check_over_tcp(address: SocketAddr, case: &Case) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
    let mut bytes = case.bytes();
    if case.end == End::Goes {
        bytes.extend_from_slice(b"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    }
    // A server that has rejected may close before it has all.
    let _ = stream.write_all(&bytes);
    let mut answers = Vec::new();
    let read = stream.read_to_end(&mut answers);
    let text = String::from_utf8_lossy(&answers);
    let is_final = |at: usize| !text[at + 9..].starts_with("100 ");
    let count = text.match_indices("HTTP/1.1 ").filter(|(at, _)| is_final(*at)).count();
    let due = case.answers() + usize::from(case.end == End::Goes);
    match read {
        Ok(_) if count == due || (case.early && count == case.read.len()) => Ok(()),
        read => Err(format!("{}: {count} answers for {due}, {read:?}", case.shown())),
    }
}

#[test]
fn a_server_gives_as_many_answers_as_are_due_and_closes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::bind(ServerSettings {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
        data_dir: dir.path().join("data"),
        threads: Some(1),
        workers: 1,
        demo: false,
        ..ServerSettings::default()
    })
    .unwrap();
    let (address, handle) = (server.addresses()[0].tcp().unwrap(), server.handle());
    let cases: Vec<_> = all().into_iter().filter(|case| case.end != End::Waits).collect();
    let wrong = thread::scope(|scope| {
        scope.spawn(|| server.run().unwrap());
        let wrong: Vec<_> =
            cases.iter().filter_map(|case| check_over_tcp(address, case).err()).take(10).collect();
        handle.shutdown();
        handle.shutdown();
        wrong
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
