//! A client that blocks: one connection, one request at a time. Large bodies and everything that is not counted go
//! through it.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    Trouble,
    http::Reply,
    tus::{self, Abilities, Method, Target},
};

/// How long a server may be silent. The slowest of them sync half a gigabyte before they answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// How much of a body is written at once.
pub(crate) const PIECE: usize = 1 << 20;

/// One connection to a server.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// # Errors
    /// The server can't be reached.
    pub(crate) fn connect(target: &Target) -> Result<Self, Trouble> {
        let stream = TcpStream::connect_timeout(&target.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends a request whole and returns what `take` makes of the reply, once it says that the method was done.
    ///
    /// # Errors
    /// The connection fails, or the reply says otherwise.
    pub(crate) fn ask<T>(
        &mut self,
        method: Method,
        request: &[u8],
        take: impl FnOnce(&Reply<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.stream.write_all(request)?;
        self.reply(method, take)
    }

    /// Sends `head` and then `length` bytes, which repeat `piece`, and waits for the reply.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) fn send(
        &mut self,
        method: Method,
        head: &[u8],
        piece: &[u8],
        length: u64,
    ) -> Result<(), Trouble> {
        self.stream.write_all(head)?;
        let mut left = length;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            match self.stream.write_all(&piece[..now]) {
                Ok(()) => left -= now as u64,
                // Refused in the middle: the answer, if one can still be read, says why.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    return self.reply(method, |_| Err(error.into()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.reply(method, |_| Ok(()))
    }

    /// Creates an upload; returns its path.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) fn create(&mut self, target: &Target, length: u64, more: &str) -> Result<String, Trouble> {
        let mut request = Vec::new();
        let lines = format!("Upload-Length: {length}\r\n{more}");
        tus::request(&mut request, Method::Post, &target.path, 0, &lines);
        self.ask(Method::Post, &request, tus::location)
    }

    /// What the server says it can do.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) fn abilities(&mut self, target: &Target) -> Result<Abilities, Trouble> {
        let mut request = Vec::new();
        tus::request(&mut request, Method::Options, &target.path, 0, "");
        self.ask(Method::Options, &request, |reply| Ok(Abilities::of(reply)))
    }

    /// Deletes an upload, where the server lets it be deleted.
    pub(crate) fn delete(&mut self, path: &str) {
        let mut request = Vec::new();
        tus::request(&mut request, Method::Delete, path, 0, "");
        let _ = self.ask(Method::Delete, &request, |_| Ok(()));
    }

    fn reply<T>(
        &mut self,
        method: Method,
        take: impl FnOnce(&Reply<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut buffer = [0; 4096];
        loop {
            if let Some((reply, length)) = Reply::parse(&self.received, method == Method::Head)? {
                method.expect(&reply)?;
                let taken = take(&reply);
                self.received.drain(..length);
                return taken;
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err("the server closed the connection without an answer".into()),
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// Bytes that no compression or deduplication makes less of.
pub(crate) fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).take(PIECE / 8).flatten().collect()
}
