//! Large bodies: one connection for each upload, all of them at once.

use std::{thread, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Outcome, metered};
use crate::{
    Trouble,
    client::{self, Client, PIECE},
    contender::Running,
    figures::Done,
    tus::{self, Method, Target},
};

/// How much of what to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bodies {
    pub(super) uploads: usize,
    /// Of each upload, bytes.
    pub(super) length: u64,
    /// Of each PATCH, bytes.
    pub(super) patch: u64,
    /// What each PATCH has a checksum of.
    pub(super) algorithm: Option<Algorithm>,
}

/// A checksum's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha1,
    Sha256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// The checksum of `length` bytes that repeat `piece`, as it stands in its field.
    fn checksum(self, piece: &[u8], length: u64) -> String {
        match self {
            Self::Sha1 => STANDARD.encode(digest::<Sha1>(piece, length)),
            Self::Sha256 => STANDARD.encode(digest::<Sha256>(piece, length)),
        }
    }
}

fn digest<D: Digest>(piece: &[u8], length: u64) -> Vec<u8> {
    let mut digest = D::new();
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        digest.update(&piece[..now]);
        left -= now as u64;
    }
    digest.finalize().to_vec()
}

impl Bodies {
    pub(super) fn run(self, server: &Running) -> Result<Outcome, Trouble> {
        let piece = client::noise();
        if let Some(algorithm) = self.algorithm {
            let able = Client::connect(&server.target)?.abilities(&server.target)?;
            if !able.hashes(algorithm.name()) {
                return Ok(Outcome::Unsupported("it has no such checksum"));
            }
        }
        let senders = (0..self.uploads)
            .map(|_| Sender::prepare(&server.target, self, &piece))
            .collect::<Result<Vec<_>, _>>()?;
        let (sent, wall, cpu) = metered(server, || {
            thread::scope(|scope| {
                let threads: Vec<_> =
                    senders.into_iter().map(|sender| scope.spawn(move || sender.send(self))).collect();
                // The connections stay until the costs are read: with one may go a thread of the server.
                threads.into_iter().map(|thread| thread.join().map_err(|_| "a sender has failed")?).collect()
            })
        })?;
        let mut done = Done { wall, cpu, bytes: self.length * self.uploads as u64, latencies: Vec::new() };
        let sent: Vec<(Sender<'_>, Vec<u64>)> = sent;
        for (mut sender, latencies) in sent {
            done.latencies.extend(latencies);
            if server.stays() {
                sender.client.delete(&sender.path);
            }
        }
        Ok(Outcome::Measured(done.of_bodies()))
    }
}

/// One upload on its way.
struct Sender<'a> {
    client: Client,
    path: String,
    piece: &'a [u8],
    /// The field of each PATCH's checksum.
    checksum: String,
}

impl<'a> Sender<'a> {
    /// Creates the upload, after a small one: what is made for the first bytes only is not measured.
    fn prepare(target: &Target, bodies: Bodies, piece: &'a [u8]) -> Result<Self, Trouble> {
        let mut client = Client::connect(target)?;
        let path = client.create(target, PIECE as u64, "")?;
        let mut head = Vec::new();
        tus::patch(&mut head, &path, 0, PIECE as u64, "");
        client.send(Method::Patch, &head, piece, PIECE as u64)?;
        client.delete(&path);
        let path = client.create(target, bodies.length, "")?;
        let checksum = bodies.algorithm.map_or_else(String::new, |algorithm| {
            let value = algorithm.checksum(piece, bodies.patch);
            format!("Upload-Checksum: {} {value}\r\n", algorithm.name())
        });
        Ok(Self { client, path, piece, checksum })
    }

    /// Sends all of it; tells how long each PATCH took, nanoseconds.
    fn send(mut self, bodies: Bodies) -> Result<(Self, Vec<u64>), Trouble> {
        let mut latencies = Vec::new();
        let mut head = Vec::new();
        let mut at = 0;
        while at < bodies.length {
            let length = bodies.patch.min(bodies.length - at);
            head.clear();
            tus::patch(&mut head, &self.path, at, length, &self.checksum);
            let start = Instant::now();
            self.client.send(Method::Patch, &head, self.piece, length)?;
            latencies.push(u64::try_from(start.elapsed().as_nanos())?);
            at += length;
        }
        Ok((self, latencies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_of_the_bytes_that_are_sent() {
        // Of "abcabca".
        assert_eq!(Algorithm::Sha1.checksum(b"abc", 7), STANDARD.encode(Sha1::digest(b"abcabca")));
        assert_eq!(Algorithm::Sha256.checksum(b"abc", 0), STANDARD.encode(Sha256::digest(b"")));
    }
}
