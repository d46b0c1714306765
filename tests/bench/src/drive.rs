//! Many small requests over many connections, from one thread: each connection has one request under way, and the
//! next one follows its answer at once. One thread, so that on few cores the client takes as little from the server
//! as it can.

use std::{
    io::{ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    Trouble,
    http::Reply,
    tus::{Method, Target},
};

/// How long all connections may be silent together.
const PATIENCE: Duration = Duration::from_secs(30);

/// What connections ask, and what they make of the answers.
pub(crate) trait Script {
    /// Writes the next request of connection `who`, which is none if the script is over.
    fn ask(&mut self, who: usize, out: &mut Vec<u8>) -> Option<Method>;

    /// Takes the answer, which says that the method was done. True if a unit of work is done with it.
    ///
    /// # Errors
    /// It is not what it must be.
    fn answered(&mut self, who: usize, method: Method, reply: &Reply<'_>) -> Result<bool, Trouble>;
}

/// Runs the script over this many connections until it is over or the time is, and what is under way then is answered.
/// Returns how long each unit took, in nanoseconds, and how long it all took.
///
/// # Errors
/// A connection fails, or an answer is not what it must be.
pub(crate) fn drive(
    target: &Target,
    connections: usize,
    limit: Duration,
    script: &mut impl Script,
) -> Result<(Vec<u64>, Duration), Trouble> {
    let mut driver = Driver::connect(target, connections)?;
    let start = Instant::now();
    driver.until = start + limit;
    for who in 0..connections {
        driver.ask(who, script)?;
    }
    let mut events = Events::with_capacity(256);
    while driver.busy > 0 {
        match driver.poll.poll(&mut events, Some(PATIENCE)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        if events.is_empty() {
            return Err("the server has stopped answering".into());
        }
        for event in &events {
            let Token(who) = event.token();
            if event.is_writable() {
                driver.lines[who].send()?;
            }
            if event.is_readable() {
                driver.read(who, script)?;
            }
        }
    }
    Ok((driver.latencies, start.elapsed()))
}

struct Driver {
    target: Target,
    poll: Poll,
    lines: Vec<Line>,
    /// How many wait for an answer.
    busy: usize,
    until: Instant,
    latencies: Vec<u64>,
    buffer: Vec<u8>,
}

/// One connection.
struct Line {
    stream: TcpStream,
    /// The request, of which `sent` bytes are on their way.
    out: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    waits_for: Option<Method>,
    /// When the unit of work began that is under way.
    began: Option<Instant>,
}

impl Driver {
    fn connect(target: &Target, connections: usize) -> Result<Self, Trouble> {
        let poll = Poll::new()?;
        let mut lines = Vec::new();
        for who in 0..connections {
            lines.push(Line {
                stream: open(&poll, target, who)?,
                out: Vec::new(),
                sent: 0,
                received: Vec::new(),
                waits_for: None,
                began: None,
            });
        }
        let target = target.clone();
        let latencies = Vec::with_capacity(1 << 20);
        Ok(Self { target, poll, lines, busy: 0, until: Instant::now(), latencies, buffer: vec![0; 16 << 10] })
    }

    fn ask(&mut self, who: usize, script: &mut impl Script) -> Result<(), Trouble> {
        let line = &mut self.lines[who];
        let now = Instant::now();
        if line.began.is_none() && now >= self.until {
            return Ok(());
        }
        line.out.clear();
        line.sent = 0;
        let Some(method) = script.ask(who, &mut line.out) else { return Ok(()) };
        line.waits_for = Some(method);
        line.began.get_or_insert(now);
        self.busy += 1;
        line.send()
    }

    fn read(&mut self, who: usize, script: &mut impl Script) -> Result<(), Trouble> {
        loop {
            let line = &mut self.lines[who];
            let ended = match line.stream.read(&mut self.buffer) {
                Ok(0) => true,
                Ok(count) => {
                    line.received.extend_from_slice(&self.buffer[..count]);
                    false
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let Some(method) = line.waits_for else {
                // A server may close a connection that waits.
                return if ended { self.reopen(who) } else { Err("an answer nobody asked for".into()) };
            };
            let received = std::mem::take(&mut line.received);
            let Some((reply, length)) = Reply::parse(&received, method == Method::Head)? else {
                if ended {
                    return Err("the server closed a connection without an answer".into());
                }
                line.received = received;
                continue;
            };
            if length < received.len() {
                return Err("more came than was asked for".into());
            }
            method.expect(&reply)?;
            line.waits_for = None;
            self.busy -= 1;
            let done = script.answered(who, method, &reply)?;
            if done && let Some(began) = line.began.take() {
                self.latencies.push(u64::try_from(began.elapsed().as_nanos())?);
            }
            if ended || reply.closes {
                self.reopen(who)?;
            }
            let mut received = received;
            received.clear();
            self.lines[who].received = received;
            self.ask(who, script)?;
        }
    }

    fn reopen(&mut self, who: usize) -> Result<(), Trouble> {
        let line = &mut self.lines[who];
        self.poll.registry().deregister(&mut line.stream)?;
        line.stream = open(&self.poll, &self.target, who)?;
        Ok(())
    }
}

fn open(poll: &Poll, target: &Target, who: usize) -> Result<TcpStream, Trouble> {
    // Connected before it is used: how long that takes is not measured.
    let stream = std::net::TcpStream::connect_timeout(&target.address, PATIENCE)?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(who), Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

impl Line {
    fn send(&mut self) -> Result<(), Trouble> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{net::TcpListener, thread};

    use super::*;
    use crate::tus;

    /// Each connection makes this many units of two requests.
    struct Units {
        left: Vec<u32>,
        halves: u32,
    }

    impl Script for Units {
        fn ask(&mut self, who: usize, out: &mut Vec<u8>) -> Option<Method> {
            if self.left[who] == 0 {
                return None;
            }
            tus::head(out, "/files/1");
            Some(Method::Head)
        }

        fn answered(&mut self, who: usize, method: Method, reply: &Reply<'_>) -> Result<bool, Trouble> {
            assert_eq!((method, reply.status), (Method::Head, 200));
            self.halves += 1;
            self.left[who] -= self.halves.is_multiple_of(2) as u32;
            Ok(self.halves.is_multiple_of(2))
        }
    }

    /// A server of one connection after the other, which answers `status` and closes after three answers.
    fn server(status: &'static str) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                for last in [false, false, true] {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        if stream.read(&mut byte).unwrap_or(0) == 0 {
                            return;
                        }
                        head.push(byte[0]);
                    }
                    let close = if last { "Connection: close\r\n" } else { "" };
                    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n{close}\r\n");
                    stream.write_all(text.as_bytes()).unwrap();
                }
            }
        });
        Target { address, path: "/files".into() }
    }

    #[test]
    fn units_are_counted_across_a_connection_that_is_closed() {
        let mut script = Units { left: vec![3], halves: 0 };
        let (latencies, wall) = drive(&server("200 OK"), 1, Duration::from_secs(20), &mut script).unwrap();
        assert_eq!((latencies.len(), script.halves), (3, 6));
        assert!(u128::from(latencies.iter().sum::<u64>()) <= wall.as_nanos());
    }

    #[test]
    fn a_refusal_ends_the_run() {
        let mut script = Units { left: vec![3], halves: 0 };
        let trouble = drive(&server("500 No"), 1, Duration::from_secs(20), &mut script).unwrap_err();
        assert_eq!(trouble.to_string(), "HEAD was answered 500");
    }

    #[test]
    fn no_unit_begins_after_the_time() {
        let mut script = Units { left: vec![3], halves: 0 };
        let (latencies, _) = drive(&server("200 OK"), 1, Duration::ZERO, &mut script).unwrap();
        assert_eq!((latencies.len(), script.halves), (0, 0));
    }
}
