//! A crowd of slow connections, all in one thread: each sends, or takes, one byte every five seconds.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use crate::Trouble;

/// How long a connection waits before its next byte.
const PACE: Duration = Duration::from_secs(5);

/// What a slow connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It sends a head.
    Head,
    /// It has sent a head, and sends the body.
    Body,
    /// It has asked for a download, and takes it.
    Reader,
}

/// One connection.
#[derive(Debug)]
struct Slow {
    kind: Kind,
    stream: Option<TcpStream>,
    began: Instant,
    next: Instant,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Crowd {
    poll: Poll,
    slow: Vec<Slow>,
    /// How long each that was seen to end had lived, by its kind.
    lives: Vec<(Kind, Duration)>,
}

impl Crowd {
    pub(super) fn new() -> Result<Self, Trouble> {
        Ok(Self { poll: Poll::new()?, slow: Vec::new(), lives: Vec::new() })
    }

    /// One more, which begins with these bytes.
    ///
    /// # Errors
    /// The server can't be reached.
    pub(super) fn join(&mut self, address: SocketAddr, kind: Kind, first: &[u8]) -> Result<(), Trouble> {
        let mut stream = open(address, kind)?;
        self.poll.registry().register(&mut stream, Token(self.slow.len()), Interest::READABLE)?;
        stream.write_all(first)?;
        let began = Instant::now();
        self.slow.push(Slow { kind, stream: Some(stream), began, next: began + PACE });
        Ok(())
    }

    /// Moves all on for a while: bytes that are due, and ends that are seen. A reader's end is not: it has not
    /// read what came before it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn go_on(&mut self, time: Duration) -> Result<(), Trouble> {
        let until = Instant::now() + time;
        let mut events = Events::with_capacity(1024);
        loop {
            for index in 0..self.slow.len() {
                self.drip(index);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            match self.poll.poll(&mut events, Some(left.min(Duration::from_millis(100)))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                let Token(index) = event.token();
                if self.slow[index].kind != Kind::Reader {
                    self.end(index);
                }
            }
        }
    }

    fn drip(&mut self, index: usize) {
        let slow = &mut self.slow[index];
        let now = Instant::now();
        let Some(stream) = slow.stream.as_mut().filter(|_| slow.next <= now) else { return };
        slow.next += PACE;
        let done = match slow.kind {
            Kind::Head | Kind::Body => stream.write(b"x").map(drop),
            Kind::Reader => stream.read(&mut [0]).map(drop),
        };
        if done.is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            self.end(index);
        }
    }

    fn end(&mut self, index: usize) {
        let slow = &mut self.slow[index];
        if slow.stream.take().is_some() {
            self.lives.push((slow.kind, slow.began.elapsed()));
        }
    }

    /// How many of this kind were seen to end.
    pub(super) fn ended(&self, kind: Kind) -> usize {
        self.lives.iter().filter(|(of, _)| *of == kind).count()
    }

    /// The longest and the shortest life of this kind.
    pub(super) fn lives(&self, kind: Kind) -> Option<(Duration, Duration)> {
        let lives = || self.lives.iter().filter(|(of, _)| *of == kind).map(|(_, life)| *life);
        lives().max().zip(lives().min())
    }
}

fn open(address: SocketAddr, kind: Kind) -> Result<TcpStream, Trouble> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    if kind == Kind::Reader {
        // Before it connects: a window that is open already is not closed again.
        sockopt::set_socket_recv_buffer_size(&socket, 4096)?;
    }
    connect(&socket, &address)?;
    let stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn who_is_cut_is_seen_and_who_is_not_goes_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut crowd = Crowd::new().unwrap();
        let mut accepted = Vec::new();
        for kind in [Kind::Head, Kind::Body, Kind::Head] {
            crowd.join(listener.local_addr().unwrap(), kind, b"G").unwrap();
            accepted.push(listener.accept().unwrap().0);
        }
        crowd.go_on(Duration::ZERO).unwrap();
        assert_eq!((crowd.ended(Kind::Head), crowd.lives(Kind::Head)), (0, None));
        accepted.remove(0);
        let until = Instant::now() + Duration::from_secs(20);
        while crowd.ended(Kind::Head) == 0 && Instant::now() < until {
            crowd.go_on(Duration::from_millis(10)).unwrap();
        }
        assert_eq!((crowd.ended(Kind::Head), crowd.ended(Kind::Body)), (1, 0));
        let (longest, shortest) = crowd.lives(Kind::Head).unwrap();
        assert!(longest == shortest && longest < Duration::from_secs(20));
        assert!(accepted.iter_mut().all(|stream| stream.read(&mut [0; 9]).unwrap() == 1));
    }
}
