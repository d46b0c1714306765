//! The blocking entry as a [`Wire`]: whole requests in the thread that asks, those that begin and go on each in
//! one of their own, their bodies read from a channel.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, ErrorKind, Read},
    panic::resume_unwind,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use tempfile::TempDir;
use tus_driver::{MemoryStore, Store as Port};
use tus_mio_server::{Blocking, Reply, hooks::Hooks};
use tus_proto::{Body as Content, Config, Framing, Head, Trailers};
use tus_redb::{Options, RedbStore, Store};

use crate::{
    message::{Answer, Body, Last, Request},
    row::{End, Wire},
};

/// How long a body waits for more before its reader lets the request look up.
const PATIENCE: Duration = Duration::from_millis(1);

/// A store, and who asks it.
#[derive(Debug)]
pub struct Embedded<S: Port = RedbStore> {
    uploads: Blocking<S>,
    open: HashMap<&'static str, Open<S>>,
    _dir: Option<TempDir>,
}

/// A request that has begun.
#[derive(Debug)]
struct Open<S: Port> {
    pieces: Sender<Piece>,
    thread: JoinHandle<Reply<S>>,
}

/// Something a connection brings.
#[derive(Debug)]
pub enum Piece {
    /// Bytes of the body.
    Bytes(Vec<u8>),
    /// Its end, good or bad.
    End(End),
}

/// A body that arrives bit by bit.
#[derive(Debug)]
pub struct Stream {
    pieces: Receiver<Piece>,
    arrived: VecDeque<u8>,
    /// Whoever decodes chunks knows that the last one did not come; with a length it is left to who reads.
    chunked: bool,
    /// How it ended: that stays so, however often it is read.
    end: Option<End>,
}

impl Stream {
    /// One of which nothing has arrived, and what brings it.
    pub fn new(chunked: bool) -> (Sender<Piece>, Self) {
        let (sender, pieces) = channel();
        (sender, Self { pieces, arrived: VecDeque::new(), chunked, end: None })
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.arrived.is_empty() && self.end.is_none() {
            match self.pieces.recv_timeout(PATIENCE) {
                Ok(Piece::Bytes(bytes)) => self.arrived.extend(bytes),
                Ok(Piece::End(end)) => self.end = Some(end),
                Err(RecvTimeoutError::Timeout) => return Err(ErrorKind::Interrupted.into()),
                Err(RecvTimeoutError::Disconnected) => self.end = Some(End::Close),
            }
        }
        if !self.arrived.is_empty() {
            return self.arrived.read(buffer);
        }
        match self.end {
            None => Err(ErrorKind::Interrupted.into()),
            Some(End::Close | End::HalfClose) if self.chunked => Err(ErrorKind::UnexpectedEof.into()),
            Some(End::Complete | End::Close | End::HalfClose) => Ok(0),
            Some(End::Reset) => Err(ErrorKind::ConnectionReset.into()),
            Some(End::BadFraming) => Err(ErrorKind::InvalidData.into()),
            Some(End::Stall) => Err(ErrorKind::TimedOut.into()),
        }
    }
}

impl Embedded {
    /// An empty store in a directory of its own.
    pub fn new(config: Config) -> Self {
        Self::with_hooks(config, Hooks::new())
    }

    /// The same, with hooks.
    pub fn with_hooks(config: Config, hooks: Hooks) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path(), &Options::default()).unwrap();
        let uploads = Blocking::with_hooks(store, config, hooks, None);
        Self { uploads, open: HashMap::new(), _dir: Some(dir) }
    }
}

impl Embedded<MemoryStore> {
    /// An empty store in memory.
    pub fn in_memory(config: Config) -> Self {
        let uploads = Blocking::new(MemoryStore::default(), config);
        Self { uploads, open: HashMap::new(), _dir: None }
    }
}

impl<S: Port> Embedded<S> {
    fn open(&mut self, name: &'static str, request: &Request, left: bool) {
        let (pieces, stream) = Stream::new(matches!(request.body, Body::Chunked(..)));
        pieces.send(Piece::Bytes(request.body.sent())).unwrap();
        if matches!(request.body, Body::Chunked(_, Last::Sent)) {
            pieces.send(Piece::End(End::Complete)).unwrap();
        }
        let (uploads, request) = (self.uploads.clone(), request.clone());
        let thread = std::thread::spawn(move || handle_as(&uploads, &request, stream, left));
        self.open.insert(name, Open { pieces, thread });
    }

    /// Who carries the requests out.
    pub fn uploads(&self) -> &Blocking<S> {
        &self.uploads
    }
}

/// Carries a request out whose body is read from there, as a framework would that passes on what it received.
pub fn handle<S: Port>(uploads: &Blocking<S>, request: &Request, body: impl Read) -> Reply<S> {
    handle_as(uploads, request, body, false)
}

/// The same; `left` says that its peer has closed its side with the body incomplete.
fn handle_as<S: Port>(uploads: &Blocking<S>, request: &Request, mut body: impl Read, left: bool) -> Reply<S> {
    let framing = match &request.body {
        Body::None => Some(("Content-Length", "0".to_owned())),
        Body::Sized(length, _) => Some(("Content-Length", length.to_string())),
        Body::Chunked(..) => Some(("Transfer-Encoding", "chunked".to_owned())),
    };
    let fields = request.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let framing = framing.iter().map(|(name, value)| (*name, value.as_bytes()));
    let fields: Vec<_> = fields.chain(framing).collect();
    if !left {
        return uploads.handle_request(&request.method, &request.target, &fields, body);
    }
    let framing = match &request.body {
        Body::None => Framing::Length(0),
        Body::Sized(length, _) => Framing::Length(*length),
        Body::Chunked(..) => Framing::Chunked,
    };
    let (method, target) = (&*request.method, &*request.target);
    let head = Head { method, target, fields: &fields, framing, secure: false, direct: false };
    uploads.handle_while(&head, &mut body, &mut Trailers::default, &|| left)
}

/// A reply as a client has it before any framing.
fn answer<S: Port>(reply: Reply<S>) -> Answer {
    let (response, mut reader) = reply.into_parts();
    let mut body = Vec::new();
    reader.read_to_end(&mut body).unwrap();
    let length = if let Content::Omitted { .. } = response.content() { 0 } else { response.content().len() };
    assert_eq!(body.len() as u64, length);
    Answer { body, ..Answer::from(&response) }
}

impl<S: Port> Wire for Embedded<S> {
    fn send(&mut self, request: &Request) -> Answer {
        answer(handle(&self.uploads, request, &*request.body.sent()))
    }

    fn begin(&mut self, name: &'static str, request: &Request) {
        self.open(name, request, false);
    }

    fn break_off(&mut self, name: &'static str, request: &Request) {
        self.open(name, request, true);
        self.end(name, End::HalfClose);
    }

    fn more(&mut self, name: &'static str, bytes: &[u8]) {
        // A request that is over already hears nothing more.
        let _ = self.open[name].pieces.send(Piece::Bytes(bytes.into()));
    }

    fn end(&mut self, name: &'static str, end: End) {
        let _ = self.open[name].pieces.send(Piece::End(end));
        if matches!(end, End::Close | End::Reset) {
            // Nobody waits for its answer; what it leaves is asked for next.
            self.answer(name);
        }
    }

    fn answer(&mut self, name: &'static str) -> Answer {
        let open = self.open.remove(name).unwrap();
        answer(open.thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn may_lag(&self) -> bool {
        true
    }

    fn origin(&self, _: &Request) -> String {
        // How clients reach a framework only that knows.
        String::new()
    }
}
