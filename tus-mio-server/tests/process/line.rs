//! The way to a server that may be gone at any moment: then, and only then, a question has no answer.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc::Sender,
    time::Duration,
};

use crate::support::{Answer, head_of};

/// The server is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// A connection, made anew when the last one was closed.
pub(crate) struct Line {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
    /// Hears of each answer.
    told: Sender<()>,
}

impl Line {
    pub(crate) fn new(address: SocketAddr, told: Sender<()>) -> Self {
        Self { address, stream: None, told }
    }

    /// One request, all of it sent before the answer is read. `head` lacks what every request has. A shutdown is
    /// the end of the server too.
    pub(crate) fn ask(&mut self, head: &str, body: &[u8]) -> Result<Answer, Gone> {
        let answer = self.try_ask(head, body).map_err(gone)?;
        if answer.closes() {
            self.stream = None;
        }
        if answer.status == 503 {
            return Err(Gone);
        }
        // Nobody listens any more once the server is killed.
        let _ = self.told.send(());
        Ok(answer)
    }

    /// The bytes of a finished upload.
    pub(crate) fn get(&mut self, path: &str) -> Result<Vec<u8>, Gone> {
        let answer = self.ask(&format!("GET {path} HTTP/1.1\r\n"), &[])?;
        assert_eq!(answer.status, 200, "{answer:?}");
        let length = answer.header("Content-Length").unwrap().parse().unwrap();
        let mut bytes = vec![0; length];
        let stream = self.stream.as_mut().expect("the connection of the answer");
        stream.read_exact(&mut bytes).map_err(gone)?;
        Ok(bytes)
    }

    fn try_ask(&mut self, head: &str, body: &[u8]) -> io::Result<Answer> {
        let stream = self.stream()?;
        stream.get_mut().write_all(head_of(head).as_bytes())?;
        let sent = stream.get_mut().write_all(body);
        // A rejection may come before all of the body has gone.
        let answer = read_answer(stream, !head.starts_with("HEAD"))?;
        assert!(sent.is_ok() || answer.closes(), "{answer:?}");
        Ok(answer)
    }

    fn stream(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                // A server that hangs fails the test; it is no measure of speed.
                stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                stream.set_write_timeout(Some(Duration::from_secs(60)))?;
                BufReader::new(stream)
            }
        };
        Ok(self.stream.insert(stream))
    }
}

/// The next answer. What an error has to say is skipped, `with_body`; the body of anything else is left where it is.
fn read_answer(stream: &mut BufReader<TcpStream>, with_body: bool) -> io::Result<Answer> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let answer = Answer::new(head);
    let length = answer.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if answer.status >= 400 && with_body {
        io::copy(&mut stream.take(length), &mut io::sink())?;
    }
    Ok(answer)
}

/// What a connection may end with when the server is gone. Silence is none of it.
fn gone(error: io::Error) -> Gone {
    let kinds = [
        ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
        ErrorKind::NotConnected,
    ];
    assert!(kinds.contains(&error.kind()), "{error}");
    Gone
}
