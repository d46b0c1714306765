//! A proxy between servers and their object store: it counts requests, and makes some of them fail as stores and networks
//! do.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// How many bytes its body has.
    pub sent: u64,
    /// How many bytes the body of its answer has.
    pub received: u64,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on.
    Pass,
    /// It is passed on after this time.
    Delay(Duration),
    /// It is answered 503, and has no effect.
    Refuse,
    /// It is passed on, and its answer is lost.
    Lose,
}

type Decide = dyn Fn(&Seen) -> Fate + Send + Sync;

/// A proxy that runs until the process ends.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    seen: Mutex<Vec<Seen>>,
    decide: Mutex<Arc<Decide>>,
}

impl Proxy {
    /// Starts one in front of a server; it passes everything on.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let decide: Arc<Decide> = Arc::new(|_: &Seen| Fate::Pass);
        let shared = Arc::new(Shared { upstream, seen: Mutex::default(), decide: Mutex::new(decide) });
        let on = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = on.clone();
                // A connection that breaks is what the proxy is for.
                thread::spawn(move || shared.serve(client));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on requests have the fate that `decide` gives them.
    pub fn decide(&self, decide: impl Fn(&Seen) -> Fate + Send + Sync + 'static) {
        *self.shared.decide.lock().unwrap() = Arc::new(decide);
    }

    /// The requests since this was called last.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut output = client.try_clone()?;
        let mut input = BufReader::with_capacity(64 << 10, client);
        let mut upstream: Option<BufReader<TcpStream>> = None;
        while let Some(head) = read_head(&mut input)? {
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let length = field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let mut seen = Seen { method: method.into(), target: target.into(), sent: length, received: 0 };
            let decide = self.decide.lock().unwrap().clone();
            let fate = decide(&seen);
            if fate == Fate::Refuse {
                io::copy(&mut (&mut input).take(length), &mut io::sink())?;
                self.seen.lock().unwrap().push(seen);
                output.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")?;
                continue;
            }
            if let Fate::Delay(time) = fate {
                thread::sleep(time);
            }
            let mut server = match upstream.take() {
                Some(server) => server,
                None => {
                    let server = TcpStream::connect(self.upstream)?;
                    server.set_nodelay(true)?;
                    BufReader::with_capacity(64 << 10, server)
                }
            };
            server.get_mut().write_all(head.as_bytes())?;
            io::copy(&mut (&mut input).take(length), server.get_mut())?;
            let answer = read_head(&mut server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut lost = io::sink();
            let to: &mut dyn Write = if fate == Fate::Lose { &mut lost } else { &mut output };
            to.write_all(answer.as_bytes())?;
            let received = pass_body(&mut server, to, &answer, method);
            seen.received = *received.as_ref().unwrap_or(&0);
            self.seen.lock().unwrap().push(seen);
            received?;
            if fate == Fate::Lose {
                return Ok(());
            }
            let closes =
                field(&answer, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            if closes {
                return Ok(());
            }
            upstream = Some(server);
        }
        Ok(())
    }
}

/// A head with its empty line. `None` if the connection ends before it.
fn read_head(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if input.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Passes the body of an answer on, and returns how many bytes it has.
fn pass_body(server: &mut impl BufRead, to: &mut dyn Write, answer: &str, method: &str) -> io::Result<u64> {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if method == "HEAD" || matches!(status, "204" | "304") {
        return Ok(0);
    }
    if let Some(length) = field(answer, "content-length").and_then(|length| length.parse().ok()) {
        return io::copy(&mut server.take(length), to);
    }
    if !field(answer, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return io::copy(server, to);
    }
    let mut sum = 0;
    loop {
        let mut line = String::new();
        server.read_line(&mut line)?;
        to.write_all(line.as_bytes())?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        sum += size;
        io::copy(&mut server.take(size + 2), to)?;
        if size == 0 {
            return Ok(sum);
        }
    }
}
