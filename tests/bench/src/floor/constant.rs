//! Constant answers, from one loop over all connections: what remains of a small request when nothing is done, or when it is
//! kept in a log and nothing else is done.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::TcpListener as StdListener,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use super::{Head, Log};
use crate::Trouble;

const LISTENER: Token = Token(0);

/// Serves until it is ended.
pub(super) fn serve(listener: StdListener, mut log: Option<Log>) -> Result<(), Trouble> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(256);
    let mut connections: HashMap<Token, Connection> = HashMap::new();
    let mut last = 0;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Some(mut stream) = accept(&listener)? {
                    last += 1;
                    poll.registry().register(&mut stream, Token(last), Interest::READABLE)?;
                    let (received, answers) = (Vec::new(), Vec::new());
                    connections.insert(Token(last), Connection { stream, received, answers });
                }
            } else if let Some(connection) = connections.get_mut(&event.token())
                && !connection.read(log.as_mut()).unwrap_or(false)
            {
                connections.remove(&event.token());
            }
        }
        if let Some(log) = &mut log {
            log.sync()?;
        }
        for event in &events {
            if let Some(connection) = connections.get_mut(&event.token())
                && connection.answer().is_err()
            {
                connections.remove(&event.token());
            }
        }
    }
}

fn accept(listener: &TcpListener) -> Result<Option<TcpStream>, Trouble> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nodelay(true)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    answers: Vec<u8>,
}

impl Connection {
    /// Takes what has come, and keeps what is to be kept. False at its end.
    fn read(&mut self, mut log: Option<&mut Log>) -> Result<bool, Trouble> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            }
            while let Some((answer, length)) = answer(&self.received)? {
                let request = self.received.drain(..length);
                if let Some(log) = &mut log
                    && request.as_slice().starts_with(b"P")
                {
                    log.append(request.as_slice());
                }
                drop(request);
                self.answers.extend_from_slice(answer.as_bytes());
            }
        }
    }

    /// Answers what was taken. The answers are smaller than any socket's buffer.
    fn answer(&mut self) -> Result<(), Trouble> {
        if !self.answers.is_empty() {
            self.stream.write_all(&self.answers)?;
            self.answers.clear();
        }
        Ok(())
    }
}

/// The answer to the first request in `received`, and that request's length with its body; `None` if it is not whole.
fn answer(received: &[u8]) -> Result<Option<(&'static str, usize)>, Trouble> {
    let Some((head, end)) = Head::parse(received)? else { return Ok(None) };
    let end = end.saturating_add(usize::try_from(head.length)?);
    let answer = match head.method.as_str() {
        "POST" => {
            "HTTP/1.1 201 Created\r\nLocation: /files/1\r\nUpload-Offset: 0\r\nContent-Length: 0\r\n\r\n"
        }
        "PATCH" => "HTTP/1.1 204 No Content\r\nUpload-Offset: 4096\r\n\r\n",
        "HEAD" => "HTTP/1.1 200 OK\r\nUpload-Offset: 0\r\nUpload-Length: 4096\r\nContent-Length: 0\r\n\r\n",
        "OPTIONS" => "HTTP/1.1 204 No Content\r\nTus-Extension: creation,creation-with-upload\r\n\r\n",
        _ => "HTTP/1.1 204 No Content\r\n\r\n",
    };
    Ok((end <= received.len()).then_some((answer, end)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_request_is_answered_when_its_body_is_there() {
        let text = b"PATCH /files/1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcHEAD";
        let (reply, length) = answer(text).unwrap().unwrap();
        assert!(reply.starts_with("HTTP/1.1 204 "));
        assert_eq!(length, text.len() - 4);
        assert!(answer(&text[..length - 1]).unwrap().is_none());
    }
}
