//! A [`Wire`] over HTTP/2: one connection, each request a stream of it.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Channel, channel::Sender, combinators::BoxBody};
use hyper::{
    Request as HttpRequest, Response,
    body::{Frame, Incoming},
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, runtime::Runtime, task::JoinHandle};

use crate::{
    message::{Answer, Body, Last, Request},
    row::{End, Wire},
};

/// How long a client waits for what must come: a bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(20);

const HOST: &str = "localhost";

type Content = BoxBody<Bytes, std::io::Error>;

/// A client.
#[derive(Debug)]
pub struct H2 {
    runtime: Runtime,
    sender: SendRequest<Content>,
    open: HashMap<&'static str, Open>,
}

#[derive(Debug)]
struct Open {
    body: Sender<Bytes, std::io::Error>,
    answer: JoinHandle<Result<Answer, String>>,
}

impl H2 {
    /// Connects to the server at this address.
    pub fn new(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender, open: HashMap::new() }
    }

    fn start(&mut self, request: &Request) -> Open {
        let (mut body, content) = Channel::new(64);
        let sent = match &request.body {
            Body::None => Vec::new(),
            Body::Sized(_, bytes) => vec![bytes.clone()],
            Body::Chunked(chunks, _) => chunks.clone(),
        };
        let content: Content =
            if request.body == Body::None { Empty::new().boxed() } else { content.boxed() };
        let head = head(request, content);
        let mut sender = self.sender.clone();
        let answer = self.runtime.spawn(async move {
            let answered = async {
                let response = sender.send_request(head).await.map_err(|error| format!("{error:?}"))?;
                answer(response).await
            };
            tokio::time::timeout(PATIENCE, answered).await.map_err(|error| error.to_string())?
        });
        self.runtime.block_on(async {
            for bytes in sent.into_iter().filter(|bytes| !bytes.is_empty()) {
                let _ = body.send(Frame::data(bytes.into())).await;
            }
        });
        Open { body, answer }
    }

    fn answered(&self, open: Open) -> Answer {
        let Open { body, answer } = open;
        let answer = self.runtime.block_on(answer).unwrap();
        drop(body);
        answer.unwrap_or_else(|error| panic!("{error}"))
    }
}

type Empty = http_body_util::combinators::MapErr<
    http_body_util::Empty<Bytes>,
    fn(std::convert::Infallible) -> std::io::Error,
>;

trait NewEmpty {
    fn new() -> Self;
}

impl NewEmpty for Empty {
    fn new() -> Self {
        let never: fn(std::convert::Infallible) -> std::io::Error = |never| match never {};
        http_body_util::Empty::new().map_err(never)
    }
}

fn head(request: &Request, content: Content) -> HttpRequest<Content> {
    // HTTP/2 has the host in the target, and whole targets only.
    let host = request.host().unwrap_or(HOST);
    let target = match request.target.as_str() {
        target if target.starts_with('/') => format!("http://{host}{target}"),
        target => target.to_owned(),
    };
    let mut head = HttpRequest::builder().method(request.method.as_str()).uri(target);
    for (name, value) in request.fields.iter().filter(|(name, _)| name != "Host") {
        head = head.header(name, value);
    }
    if let Body::Sized(length, _) = request.body {
        head = head.header("content-length", length);
    }
    head.body(content).unwrap()
}

async fn answer(response: Response<Incoming>) -> Result<Answer, String> {
    let (parts, body) = response.into_parts();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    let body = body.collect().await.map_err(|error| format!("{error:?}"))?;
    Ok(Answer { status: parts.status.as_u16(), fields: fields.collect(), body: body.to_bytes().into() })
}

impl Wire for H2 {
    fn send(&mut self, request: &Request) -> Answer {
        let Open { body, answer } = self.start(request);
        // What is whole ends; what lacks something stays as it is until it is answered.
        let unfinished = if request.body.is_whole() {
            drop(body);
            None
        } else {
            Some(body)
        };
        let answer = self.runtime.block_on(answer).unwrap();
        drop(unfinished);
        answer.unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    fn begin(&mut self, name: &'static str, request: &Request) {
        let mut open = self.start(request);
        if matches!(request.body, Body::Chunked(_, Last::Sent)) {
            open.body = Channel::<Bytes, std::io::Error>::new(1).0;
        }
        self.open.insert(name, open);
    }

    fn break_off(&mut self, _: &'static str, _: &Request) {
        panic!("HTTP/2 has no half of a connection");
    }

    fn more(&mut self, name: &'static str, bytes: &[u8]) {
        let frame = Frame::data(Bytes::copy_from_slice(bytes));
        let body = &mut self.open.get_mut(name).unwrap().body;
        // A stream that is over already takes nothing more.
        let _ = self.runtime.block_on(body.send(frame));
    }

    fn end(&mut self, name: &'static str, end: End) {
        match end {
            End::Complete => self.open.get_mut(name).unwrap().body = Channel::new(1).0,
            End::Stall => {}
            End::Close | End::Reset => {
                let open = self.open.remove(name).unwrap();
                open.body.abort(std::io::Error::other("the client has gone"));
                open.answer.abort();
            }
            End::HalfClose | End::BadFraming => panic!("HTTP/2 has no {end:?}"),
        }
    }

    fn answer(&mut self, name: &'static str) -> Answer {
        let open = self.open.remove(name).unwrap();
        self.answered(open)
    }

    fn may_lag(&self) -> bool {
        true
    }

    fn origin(&self, request: &Request) -> String {
        format!("http://{}", request.host().unwrap_or(HOST))
    }
}
