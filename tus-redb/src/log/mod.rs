//! The log: the groups that were committed since the last checkpoint. A group is acknowledged once its frame is here;
//! with strict durability, once that frame is synced. The records follow, and become durable with the next checkpoint
//! ([`Store::flush`](crate::Store::flush)).
//!
//! It is two halves, each a file. Frames go to one of them; a checkpoint turns to the other, so that commits go on while the
//! records are synced. A half is used again once the records have all that it holds, durably.
//!
//! A half is one sector of header, then frames, each on a multiple of 8 bytes. The header names the epoch, its
//! durability, its secret, the group before its first one, and, with eventual durability, the boot: what was not synced is
//! believed only while the machine has not restarted. A frame is a mark, the length of its group, the number of the newest
//! group that was known to be synced when it was written, a checksum, and the group. Mark and checksum depend on the epoch's
//! secret, so neither frames of earlier epochs nor clients' bytes in them pass for frames of this one.
//!
//! A frame whose number the records have reached is in them already: so a cut between a checkpoint and the next epoch does
//! no harm. Space that was written once is overwritten, and not given up: syncing it moves no metadata, and a full disk can't
//! take it away.
//!
//! Here is the format of a half; `read.rs` reads it, `write.rs` writes it, and `group.rs` encodes and decodes a group.

mod group;
pub(crate) mod journal;
pub(crate) mod read;
pub(crate) mod write;

use std::io;

use crate::{
    codec::{Decoder, Encoder},
    options::Durability,
};

/// The halves. Format 5 had the first one alone.
pub(crate) const HALVES: [&str; 2] = ["log", "log-2"];

const MAGIC: &str = "tus-redb log 2";
/// Of format 5: a header that does not name the group before its first one.
const MAGIC_1: &str = "tus-redb log 1";
/// What the header takes, in bytes: a sector, which a disk writes as a whole or not at all.
const HEADER: usize = 512;
/// Mark, length, newest synced group, checksum.
const FRAME_HEAD: usize = 32;
/// Frames begin at multiples of this, in bytes.
const ALIGNMENT: usize = 8;

/// What is the same for all frames of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    durability: Durability,
    /// Empty with strict durability.
    boot: String,
    epoch: u64,
    secret: [u64; 2],
    /// The number of the last group before this epoch. It was acknowledged, or its number is used up and is not given again.
    after: u64,
}

impl Header {
    fn encode(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Encoder::default();
        bytes.text(MAGIC).byte((self.durability == Durability::Eventual).into()).text(&self.boot);
        bytes.number(self.epoch).number(self.secret[0]).number(self.secret[1]).number(self.after);
        let sum = checksum(0, &bytes.0);
        bytes.number(sum);
        if bytes.0.len() > HEADER {
            return Err(io::Error::other(format!("the boot id is too long for the log: {}", self.boot)));
        }
        bytes.0.resize(HEADER, 0);
        Ok(bytes.0)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Decoder(bytes);
        let magic = rest.text()?;
        if magic != MAGIC && magic != MAGIC_1 {
            return None;
        }
        let durability = if rest.flag()? { Durability::Eventual } else { Durability::Strict };
        let boot = rest.text()?.to_owned();
        let (epoch, secret) = (rest.number()?, [rest.number()?, rest.number()?]);
        let after = if magic == MAGIC { rest.number()? } else { 0 };
        let len = bytes.len() - rest.0.len();
        let sum = checksum(0, bytes.get(..len)?);
        (rest.number()? == sum).then_some(Self { durability, boot, epoch, secret, after })
    }

    /// The frame at the beginning of `bytes`.
    fn frame<'a>(&self, bytes: &'a [u8]) -> Option<Frame<'a>> {
        let mut head = Decoder(bytes);
        if head.number()? != self.secret[0] {
            return None;
        }
        let (len, synced, sum) = (head.number()?, head.number()?, head.number()?);
        let group = head.0.get(..usize::try_from(len).ok()?)?;
        let whole = mutation!("torn-frame-replayed", self.checksum(synced, group) == sum, true);
        whole.then_some(Frame { synced, group })
    }

    fn checksum(&self, synced: u64, group: &[u8]) -> u64 {
        checksum(self.secret[1] ^ synced.rotate_left(32), group)
    }
}

/// A frame whose checksum is right.
struct Frame<'a> {
    synced: u64,
    group: &'a [u8],
}

fn frame_len(group: usize) -> usize {
    FRAME_HEAD.saturating_add(group).next_multiple_of(ALIGNMENT)
}

/// A checksum against torn writes; with a secret `key`, also against bytes that a client has chosen without knowing it. Each
/// word is mixed in by an invertible step: so every change of a single word is detected.
pub(crate) fn checksum(key: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (words, rest) = bytes.as_chunks();
    let start = key ^ bytes.len() as u64;
    let hash = words.iter().fold(start, |hash, word| step(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| step(hash, u64::from(*byte)))
}
