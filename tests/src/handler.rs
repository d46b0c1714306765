//! A handler of hooks by HTTP, in threads of this process: what it is sent goes to its test, and what it answers is the
//! test's.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// How long what must come may take. A bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that the system chooses.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What the handler was sent.
#[derive(Clone, Debug)]
pub struct Call {
    /// The target of the request.
    pub target: String,
    /// Names and values of the request's fields, in their order.
    pub fields: Vec<(String, String)>,
    /// The document.
    pub document: Value,
}

impl Call {
    /// For which event it is.
    pub fn kind(&self) -> &str {
        self.document["Type"].as_str().unwrap()
    }

    /// The upload that it is about.
    pub fn upload(&self) -> &Value {
        &self.document["Event"]["Upload"]
    }

    /// The client's request.
    pub fn request(&self) -> &Value {
        &self.document["Event"]["HTTPRequest"]
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }
}

/// What a handler answers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// A document, with status 200.
    pub fn json(document: &Value) -> Self {
        let fields = vec![("Content-Type".into(), "application/json".into())];
        Self { status: 200, fields, body: document.to_string() }
    }

    /// No document, with this status.
    pub fn status(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: String::new() }
    }

    /// The same with another field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }
}

/// A handler that runs until it is dropped.
#[derive(Debug)]
pub struct Handler {
    address: SocketAddr,
    calls: Receiver<Call>,
    ended: Arc<AtomicBool>,
}

type Decide = dyn Fn(&Call) -> Reply + Send + Sync;

impl Handler {
    /// Starts one that answers as `decide` says.
    pub fn start(decide: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(ANY, None, decide)
    }

    /// The same at this address.
    pub fn start_at(address: SocketAddr, decide: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(address, None, decide)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next call, however long.
    pub fn wait(&self) -> Option<Call> {
        self.calls.recv().ok()
    }

    /// The same over TLS, as this server.
    pub fn start_secured(tls: Arc<ServerConfig>) -> Self {
        Self::start_with(ANY, Some(tls), |_| Reply::json(&Value::Null))
    }

    fn start_with(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        decide: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = channel();
        let (sender, decide) = (Arc::new(Mutex::new(sender)), Arc::new(decide));
        let ended = Arc::new(AtomicBool::new(false));
        let ends = ended.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                let (sender, decide): (_, Arc<Decide>) = (sender.clone(), decide.clone());
                let tls = tls.clone();
                std::thread::spawn(move || {
                    let stream = connection.ok()?;
                    match tls {
                        Some(tls) => {
                            let session = ServerConnection::new(tls).unwrap();
                            serve(StreamOwned::new(session, stream), &sender, &*decide)
                        }
                        None => serve(stream, &sender, &*decide),
                    }
                });
            }
        });
        Self { address, calls, ended }
    }

    /// One that has nothing to say.
    pub fn agreeing() -> Self {
        Self::start(|_| Reply::json(&Value::Null))
    }

    /// The same as [`url`](Self::url) over TLS, where the certificate is for `localhost`.
    pub fn secured_url(&self) -> String {
        format!("https://localhost:{}/hooks", self.address.port())
    }

    /// Where events are to be sent.
    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// The next call. It is told before it is answered.
    pub fn next(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("a call of a hook")
    }

    /// The next call, which must be for this event.
    pub fn expect(&self, kind: &str) -> Call {
        let call = self.next();
        assert_eq!(call.kind(), kind, "{}", call.document);
        call
    }

    /// A call that has come and was not looked at.
    pub fn pending(&self) -> Option<Call> {
        self.calls.try_recv().ok()
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection, which is kept.
fn serve(stream: impl Read + Write, calls: &Mutex<Sender<Call>>, decide: &Decide) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let call = read(&mut reader)?;
        let _ = calls.lock().unwrap().send(call.clone());
        let reply = decide(&call);
        let mut text = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in &reply.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&reply.body);
        reader.get_mut().write_all(text.as_bytes()).and_then(|()| reader.get_mut().flush()).ok()?;
    }
}

fn read(reader: &mut impl BufRead) -> Option<Call> {
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then_some(())?;
    let target = line.strip_prefix("POST ").and_then(|line| line.split_once(" HTTP/1.1"));
    let target = target.expect("a POST").0.to_owned();
    let mut fields = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => fields.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let length = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
    let mut body = vec![0; length?.1.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Call { target, fields, document: serde_json::from_slice(&body).expect("a document") })
}
