//! A client that says exactly what it is told to, over TCP, and a [`Wire`] made of such clients. Every wait is
//! bounded.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::{
    message::{Answer, Body, Last, Request},
    row::{End, Wire},
};

/// How long a client waits for what must come. A bound, not a measure: no test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client's bytes go through.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    /// What was received and not looked at yet.
    received: Vec<u8>,
    /// How many `100 Continue` came before the last answer.
    pub continues: u32,
    /// The answers of other statuses below 200 that came before it.
    pub interims: Vec<Answer>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server should accept");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: Stream::Plain(stream), received: Vec::new(), continues: 0, interims: Vec::new() }
    }

    /// Connects and speaks TLS; the handshake comes with the first bytes.
    pub fn connect_secured(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        let mut client = Self::connect(address);
        if let Stream::Plain(socket) = client.stream {
            let tls = ClientConnection::new(tls, "localhost".try_into().unwrap()).unwrap();
            client.stream = Stream::Tls(Box::new(StreamOwned::new(tls, socket)));
        }
        client
    }

    /// Waits so long for what must come.
    pub fn set_patience(&mut self, patience: Duration) {
        self.stream.socket().set_read_timeout(Some(patience)).unwrap();
    }

    /// Sends bytes. A server that has answered already may have closed: that shows when the answer is read.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Sends as much as the server takes. Tells how much that was.
    pub fn write_while_taken(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        sent
    }

    /// Sends a request, or what there is of it.
    pub fn request(&mut self, request: &Request) {
        self.write(&serialise(request));
    }

    /// Sends what there is of a request and closes this side, so that both arrive in one segment: the server finds the
    /// end when it finds the head. The handshake of a TLS connection must be over.
    pub fn request_and_close(&mut self, request: &Request) {
        assert!(self.is_kept());
        // The system holds back what is less than a segment until it is let go, or the end goes with it.
        rustix::net::sockopt::set_tcp_cork(self.stream.socket(), true).unwrap();
        self.request(request);
        self.half_close();
    }

    /// The answer to the request that was sent last; `to_head` says whether its method, whatever overrides it,
    /// is HEAD: no body follows then, whatever the fields say.
    pub fn answer(&mut self, to_head: bool) -> Result<Answer, String> {
        let mut answer = self.answer_head()?;
        answer.body = self.take(body_length(&answer, to_head)?)?;
        Ok(answer)
    }

    /// The head of that answer alone: what follows it is left to [`take`](Self::take).
    pub fn answer_head(&mut self) -> Result<Answer, String> {
        self.continues = 0;
        self.interims.clear();
        loop {
            let head = self.head()?;
            let answer = parse_head(&head)?;
            match answer.status {
                100 => self.continues += 1,
                101..200 => self.interims.push(answer),
                _ => return Ok(answer),
            }
        }
    }

    /// So many bytes of what comes next.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.received.len() < count {
            self.receive()?;
        }
        Ok(self.received.drain(..count).collect())
    }

    /// Waits until a `100 Continue` has come, and nothing else with it.
    pub fn wait_for_continue(&mut self) -> Result<(), String> {
        match parse_head(&self.head()?)?.status {
            100 => Ok(()),
            other => Err(format!("a 100 should come, not {other}")),
        }
    }

    /// Waits for an answer before the final one.
    pub fn wait_for_interim(&mut self) -> Result<Answer, String> {
        let answer = parse_head(&self.head()?)?;
        if (101..200).contains(&answer.status) { Ok(answer) } else { Err(format!("{answer:?} came")) }
    }

    /// Waits until the server has closed its side, and nothing more came before that.
    pub fn expect_close(&mut self) -> Result<(), String> {
        match self.receive() {
            Err(error) if error == CLOSED && self.received.is_empty() => Ok(()),
            Err(error) => Err(format!("the server should close: {error}")),
            Ok(()) => Err(format!("{:?} came behind the answer", String::from_utf8_lossy(&self.received))),
        }
    }

    /// Whether the server still answers here.
    pub fn is_kept(&mut self) -> bool {
        self.request(&Request::bare("OPTIONS", "/files"));
        self.answer(false).is_ok_and(|answer| answer.status == 204)
    }

    /// Closes this side only.
    pub fn half_close(&self) {
        self.stream.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// Resets the connection.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(self.stream.socket(), Some(Duration::ZERO)).unwrap();
    }

    /// The next head, its empty line included.
    fn head(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let end = self.received.windows(4).position(|window| window == b"\r\n\r\n");
            match end {
                Some(at) => return Ok(self.received.drain(..at + 4).collect()),
                None => self.receive()?,
            }
        }
    }

    fn receive(&mut self) -> Result<(), String> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(CLOSED.into()),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err("nothing came for a long time".into())
            }
            Err(error) => Err(format!("the connection broke: {error}")),
        }
    }
}

/// What a request is sent to that says nothing of it.
const HOST: &str = "localhost";

const CLOSED: &str = "the server has closed";

/// A request as bytes.
pub fn serialise(request: &Request) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method, request.target).into_bytes();
    let mut field = |name: &str, value: &str| bytes.extend(format!("{name}: {value}\r\n").bytes());
    if !request.fields.iter().any(|(name, _)| name == "Host") {
        field("Host", HOST);
    }
    for (name, value) in &request.fields {
        field(name, value);
    }
    match &request.body {
        Body::None => {}
        Body::Sized(length, _) => field("Content-Length", &length.to_string()),
        Body::Chunked(..) => field("Transfer-Encoding", "chunked"),
    }
    bytes.extend(b"\r\n");
    match &request.body {
        Body::None => {}
        Body::Sized(_, body) => bytes.extend(body),
        Body::Chunked(chunks, last) => {
            bytes.extend(chunks.iter().flat_map(|body| chunk(body)));
            if *last == Last::Sent {
                bytes.extend(b"0\r\n\r\n");
            }
        }
    }
    bytes
}

fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

/// Takes the next answer from the front of what was received, an interim one too; `None` if more must come.
pub fn take_answer(received: &mut Vec<u8>, to_head: bool) -> Result<Option<Answer>, String> {
    let Some(head) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let mut answer = parse_head(&received[..head + 4])?;
    let end = head + 4 + body_length(&answer, to_head)?;
    if received.len() < end {
        return Ok(None);
    }
    answer.body = received[head + 4..end].to_vec();
    received.drain(..end);
    Ok(Some(answer))
}

/// What there is of an answer that broke off in the middle of its body.
pub(crate) fn broken_answer(received: &[u8]) -> Option<Answer> {
    let head = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let answer = parse_head(&received[..head]).ok()?;
    Some(Answer { body: received[head..].to_vec(), ..answer })
}

/// How long the body of an answer with this head is.
fn body_length(head: &Answer, to_head: bool) -> Result<usize, String> {
    let length = head.value("Content-Length").map(|length| length.parse());
    match (head.status, length) {
        (100..200 | 204 | 304, None) => Ok(0),
        (status @ (100..200 | 204), _) => Err(format!("a {status} must have no Content-Length")),
        (_, None | Some(Ok(_))) if to_head => Ok(0),
        (_, Some(Ok(length))) => Ok(length),
        (status, _) => Err(format!("a {status} must have a Content-Length")),
    }
}

fn parse_head(head: &[u8]) -> Result<Answer, String> {
    let text = str::from_utf8(head).map_err(|error| error.to_string())?;
    let mut lines = text.split_terminator("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|line| line.get(..3));
    let status = status.and_then(|status| status.parse().ok()).ok_or(format!("no status line: {text:?}"))?;
    let fields = lines.filter(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(':').ok_or(format!("no field: {line:?}"))?;
        Ok((name.to_owned(), value.trim().to_owned()))
    });
    Ok(Answer { status, fields: fields.collect::<Result<_, String>>()?, body: Vec::new() })
}

/// A [`Wire`] over TCP.
#[derive(Debug)]
pub struct Tcp {
    /// Where the servers are: each connection goes to any of them.
    addresses: Vec<SocketAddr>,
    /// What the next choice of a server is drawn from.
    draw: u64,
    /// Over TLS, with these certificates trusted.
    tls: Option<Arc<ClientConfig>>,
    /// The connection for whole requests, as long as the server keeps it.
    kept: Option<Client>,
    open: HashMap<&'static str, (Client, Request)>,
}

impl Tcp {
    /// To the server at this address.
    pub fn new(address: SocketAddr) -> Self {
        Self::among(vec![address], 0)
    }

    /// To several servers of the same uploads: each request goes to one of them, as `seed` has it.
    pub fn among(addresses: Vec<SocketAddr>, seed: u64) -> Self {
        Self { addresses, draw: seed, tls: None, kept: None, open: HashMap::new() }
    }

    /// The same, over TLS.
    pub fn secured(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        Self { tls: Some(tls), ..Self::new(address) }
    }

    fn connect(&mut self) -> Client {
        // A linear congruential generator (Knuth's MMIX): its high bits are good enough to choose by.
        self.draw = self.draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let address = self.addresses[(self.draw >> 33) as usize % self.addresses.len()];
        match &self.tls {
            Some(tls) => Client::connect_secured(address, tls.clone()),
            None => Client::connect(address),
        }
    }

    fn opened(&mut self, name: &str) -> &mut (Client, Request) {
        self.open.get_mut(name).unwrap_or_else(|| panic!("{name} is not open"))
    }
}

impl Wire for Tcp {
    fn send(&mut self, request: &Request) -> Answer {
        let mut client = match self.kept.take() {
            Some(kept) => kept,
            None => self.connect(),
        };
        client.request(request);
        let answer =
            client.answer(request.method == "HEAD").unwrap_or_else(|error| panic!("{request:?}: {error}"));
        let closes = answer.value("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !closes && self.addresses.len() == 1 {
            self.kept = Some(client);
        }
        answer
    }

    fn begin(&mut self, name: &'static str, request: &Request) {
        let mut client = self.connect();
        client.request(request);
        self.open.insert(name, (client, request.clone()));
    }

    fn break_off(&mut self, name: &'static str, request: &Request) {
        let mut client = self.connect();
        client.request_and_close(request);
        self.open.insert(name, (client, request.clone()));
    }

    fn more(&mut self, name: &'static str, bytes: &[u8]) {
        let (client, request) = self.opened(name);
        match request.body {
            Body::Chunked(..) => client.write(&chunk(bytes)),
            _ => client.write(bytes),
        }
    }

    fn end(&mut self, name: &'static str, end: End) {
        match end {
            End::Complete => self.opened(name).0.write(b"0\r\n\r\n"),
            End::BadFraming => self.opened(name).0.write(b"no chunk\r\n"),
            End::HalfClose => self.opened(name).0.half_close(),
            End::Stall => {}
            End::Close => drop(self.open.remove(name)),
            End::Reset => {
                if let Some((client, _)) = self.open.remove(name) {
                    client.reset();
                }
            }
        }
    }

    fn answer(&mut self, name: &'static str) -> Answer {
        let (mut client, request) = self.open.remove(name).unwrap_or_else(|| panic!("{name} is not open"));
        client.answer(request.method == "HEAD").unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn may_lag(&self) -> bool {
        true
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    fn origin(&self, request: &Request) -> String {
        format!("{}://{}", self.scheme(), request.host().unwrap_or(HOST))
    }
}
