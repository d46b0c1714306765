//! Requests of all kinds, good, malformed and aborted, from several connections at once: afterwards nothing is left of
//! them, no descriptor, no lock, no memory.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{Finding, Scale, watch};
use crate::{
    Trouble,
    client::Client,
    contender::Running,
    process,
    tus::{self, Method},
};

/// How many requests are counted; a tenth of that comes first, for what is made once.
const REQUESTS: usize = 200_000;

/// How many send them.
const SENDERS: usize = 8;

/// What memory may grow by.
const GROWTH: f64 = 4.0;

/// How long the server may take to be rid of all connections, and of what belonged to them.
const REST: Duration = Duration::from_secs(45);

/// Heads and bodies that are rejected.
const MALFORMED: [&str; 8] = [
    "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n",
    "GET / HTTP/1.1\nHost: h\n\n",
    "POST /files HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /files HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 2\r\n\r\n",
    "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
    "\x16\x03\x01\x02\0\x01",
    "POST /files HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n\
     Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
    "GET / HTTP/9.9\r\nHost: h\r\n\r\n",
];

pub(super) fn run(server: &Running, scale: Scale) -> Result<Vec<Finding>, Trouble> {
    let mut client = Client::connect(&server.target)?;
    let shared = client.create(&server.target, 1 << 40, "")?;
    send_all(server, &shared, scale.of(REQUESTS / 10), 1)?;
    rest(server)?;
    let (files, memory) = (watch::descriptors(server)?, process::resident_memory(server.pid)?);
    let start = Instant::now();
    let requests = send_all(server, &shared, scale.of(REQUESTS), 2)?;
    let took = start.elapsed().as_secs_f64();
    let left = rest(server)?;
    let files_after = descriptors(server, files)?;
    let memory_after = process::resident_memory(server.pid)?;
    let busy = watch::value(&watch::metrics(server)?, "tus_connections{state=\"busy\"}");
    Ok(vec![
        Finding::at_most(
            &format!("connections left after {requests} requests in {took:.0} s"),
            left as f64,
            2.0,
            "with ours",
        ),
        Finding::at_most("requests left under way", busy as f64, 0.0, "requests"),
        Finding::at_most("descriptors left", files_after as f64 - files as f64, 0.0, "descriptors"),
        Finding::at_most(
            "memory left",
            memory_after.saturating_sub(memory) as f64 / f64::from(1 << 20),
            GROWTH,
            "MiB",
        ),
        lock_is_free(server, &shared),
    ])
}

/// Waits until only the connections are left that ask, or the time is over. Tells how many are left.
fn rest(server: &Running) -> Result<u64, Trouble> {
    let until = Instant::now() + REST;
    loop {
        let open = watch::open(server)?;
        if open <= 2 || Instant::now() > until {
            return Ok(open);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// How many descriptors there are, once there are no more than so many or the time is over: the connection that was
/// asked by last may not be closed yet.
fn descriptors(server: &Running, expected: usize) -> Result<usize, Trouble> {
    let until = Instant::now() + REST;
    loop {
        let open = watch::descriptors(server)?;
        if open <= expected || Instant::now() > until {
            return Ok(open);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The upload that so many writers have left in its middle can be written to at once.
fn lock_is_free(server: &Running, path: &str) -> Finding {
    let write = || {
        let mut client = Client::connect(&server.target)?;
        let mut request = Vec::new();
        tus::head(&mut request, path);
        let offset = client.ask(Method::Head, &request, |reply| {
            Ok(reply.field("Upload-Offset").unwrap_or_default().parse::<u64>()?)
        })?;
        let mut head = Vec::new();
        tus::patch(&mut head, path, offset, 1, "");
        client.send(Method::Patch, &head, b"x", 1)
    };
    let result = write();
    let measured = result.as_ref().map_or_else(ToString::to_string, |()| "it can".into());
    Finding { promise: "the upload all wrote to can be written to".into(), measured, kept: result.is_ok() }
}

fn send_all(server: &Running, shared: &str, requests: usize, seed: u64) -> Result<usize, Trouble> {
    let send = |sender: usize| {
        let mut random = Random(((seed << 32) | (sender as u64 + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut sent = 0;
        while sent < requests / SENDERS {
            sent += one(server, shared, &mut random)?;
        }
        Ok::<_, Trouble>(sent)
    };
    thread::scope(|scope| {
        let send = &send;
        let threads: Vec<_> = (0..SENDERS).map(|sender| scope.spawn(move || send(sender))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a sender has failed")?).sum()
    })
}

/// Something. Tells how many requests it was.
fn one(server: &Running, shared: &str, random: &mut Random) -> Result<usize, Trouble> {
    match random.below(10) {
        0..4 => kept(server, random),
        4..6 => {
            let mut stream = connect(server)?;
            // Refused: it may be closed before all of it is sent.
            let _ = stream.write_all(MALFORMED[random.below(MALFORMED.len())].as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(1)
        }
        6 => {
            let mut stream = connect(server)?;
            let head = format!("HEAD {shared} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n");
            stream.write_all(&head.as_bytes()[..random.below(head.len())])?;
            end(stream, random);
            Ok(1)
        }
        7 | 8 => {
            // Everybody writes to it, at a wrong offset or the right one, and nobody to the end.
            let mut stream = connect(server)?;
            let mut head = Vec::new();
            tus::patch(&mut head, shared, random.below(3) as u64 * 1000, 1 << 20, "");
            head.resize(head.len() + random.below(3000), b'x');
            stream.write_all(&head)?;
            end(stream, random);
            Ok(1)
        }
        _ => {
            let mut stream = connect(server)?;
            let head =
                format!("HEAD {shared} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n").repeat(10);
            stream.write_all(head.as_bytes())?;
            end(stream, random);
            Ok(10)
        }
    }
}

/// Good requests on one connection: an upload's whole life.
fn kept(server: &Running, random: &mut Random) -> Result<usize, Trouble> {
    let mut client = Client::connect(&server.target)?;
    let rounds = 1 + random.below(5);
    for _ in 0..rounds {
        let length = 1 + random.below(5000) as u64;
        let path = client.create(&server.target, length, "")?;
        let mut head = Vec::new();
        tus::patch(&mut head, &path, 0, length, "");
        client.send(Method::Patch, &head, &[b'x'; 5000], length)?;
        client.delete(&path);
    }
    Ok(3 * rounds)
}

fn connect(server: &Running) -> Result<TcpStream, Trouble> {
    let stream = TcpStream::connect(server.target.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Ends a connection from this side: by a reset, by half, or in peace.
fn end(mut stream: TcpStream, random: &mut Random) {
    if random.below(2) == 0 {
        let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
        return;
    }
    // What is not answered any more, or not in time, is the server's to be rid of.
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read(&mut [0; 512]);
}

/// Marsaglia's xorshift: the same traffic at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % bound.max(1)
    }
}
