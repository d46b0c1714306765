//! The log: the groups that were committed since the last checkpoint. A group is acknowledged once its frame is here;
//! with strict durability, once that frame is synced. The records follow, and become durable with the next checkpoint
//! ([`Store::flush`](crate::Store::flush)), which begins the log anew in the same space.
//!
//! The file is one sector of header, then frames, each on a multiple of 8 bytes. The header names the epoch, its
//! durability, its secret and, with eventual durability, the boot: what was not synced is believed only while the machine
//! has not restarted. A frame is a mark, the length of its group, the number of the newest group that was known to be synced
//! when it was written, a checksum, and the group. Mark and checksum depend on the epoch's secret, so neither frames of
//! earlier epochs nor clients' bytes in them pass for frames of this one.
//!
//! A frame whose number the records have reached is in them already: so a cut between a checkpoint and the new header does
//! no harm. Space that was written once is overwritten, and not given up: syncing it moves no metadata, and a full disk can't
//! take it away.

use std::{io, sync::Arc};

use crate::{
    disk::{Disk, DiskFile, Mode, is_full, read_exact, write_all},
    files::reserve::Reserve,
    records::{
        apply::{Keeps, Step},
        codec::{Decoder, Encoder},
        journal::{self, Group, checksum, decode_group, encode_group},
    },
    store::Durability,
};

pub(crate) const LOG: &str = "log";

const MAGIC: &str = "tus-redb log 1";
/// What the header takes, in bytes: a sector, which a disk writes as a whole or not at all.
const HEADER: usize = 512;
/// Mark, length, newest synced group, checksum.
const FRAME_HEAD: usize = 32;
/// Frames begin at multiples of this, in bytes.
const ALIGNMENT: usize = 8;
/// By so much the file grows at most, in bytes, filled with zeros: a sync of space that was never written takes longer.
const GROWTH: u64 = 256 << 10;

/// What is the same for all frames of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    durability: Durability,
    /// Empty with strict durability.
    boot: String,
    epoch: u64,
    secret: [u64; 2],
}

impl Header {
    fn encode(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Encoder::default();
        bytes.text(MAGIC).byte((self.durability == Durability::Eventual).into()).text(&self.boot);
        bytes.number(self.epoch).number(self.secret[0]).number(self.secret[1]);
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
        if rest.text()? != MAGIC {
            return None;
        }
        let durability = if rest.flag()? { Durability::Eventual } else { Durability::Strict };
        let boot = rest.text()?.to_owned();
        let (epoch, secret) = (rest.number()?, [rest.number()?, rest.number()?]);
        let len = bytes.len() - rest.0.len();
        let sum = checksum(0, bytes.get(..len)?);
        (rest.number()? == sum).then_some(Self { durability, boot, epoch, secret })
    }

    /// The frame at the beginning of `bytes`.
    fn frame<'a>(&self, bytes: &'a [u8]) -> Option<Frame<'a>> {
        let mut head = Decoder(bytes);
        if head.number()? != self.secret[0] {
            return None;
        }
        let (len, synced, sum) = (head.number()?, head.number()?, head.number()?);
        let group = head.0.get(..usize::try_from(len).ok()?)?;
        (self.checksum(synced, group) == sum).then_some(Frame { synced, group })
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

/// What a store's log holds, and the journal of an earlier format, which it follows.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// In the order in which they were committed, up to the first one that is not whole.
    pub(crate) groups: Vec<Group>,
    /// Whether the bytes and names of data files that the groups tell of were durable before them.
    pub(crate) strict: bool,
    /// Groups of eventual durability were here, and a power cut may have taken them.
    pub(crate) stale: bool,
    /// The number of the newest group that must be here, as a later frame tells; 0 if none does.
    known: u64,
    /// The header can't be read, or a frame that is whole: no power cut leaves that.
    damaged: bool,
}

impl Contents {
    /// Whether these are all the groups that follow those that are in the records, of which the last has this number.
    pub(crate) fn continues(&self, sequence: u64) -> bool {
        let last = self.groups.last().map_or(0, |group| group.sequence).max(sequence);
        let new = self.groups.iter().map(|group| group.sequence).filter(|number| *number > sequence);
        !self.damaged && self.known <= last && new.zip(sequence + 1..).all(|(number, next)| number == next)
    }
}

/// Reads what may be replayed.
pub(crate) fn read(disk: &dyn Disk) -> io::Result<Contents> {
    let journal = journal::read(disk)?;
    let mut contents = match disk.open(LOG, Mode::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
        file => read_log(disk, &*file?)?,
    };
    match journal {
        None => contents.stale = true,
        Some(groups) if groups.is_empty() => {}
        Some(groups) => {
            contents.strict = false;
            contents.groups.splice(..0, groups);
        }
    }
    Ok(contents)
}

fn read_log(disk: &dyn Disk, file: &dyn DiskFile) -> io::Result<Contents> {
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    read_exact(file, &mut bytes, 0)?;
    let head = bytes.get(..HEADER).unwrap_or(&bytes);
    let Some(header) = Header::decode(head) else {
        // A log whose beginning did not become durable holds nothing yet.
        return Ok(Contents { damaged: head.iter().any(|byte| *byte != 0), ..Contents::default() });
    };
    let strict = header.durability == Durability::Strict;
    // Without a boot id there is no telling whether this is the same boot: then it is not.
    let same_boot = || disk.boot_id().is_ok_and(|boot| boot == header.boot);
    if mutation!("log-of-another-boot", !strict && !same_boot(), false) {
        return Ok(Contents { stale: true, ..Contents::default() });
    }
    let frames = bytes.get(HEADER..).unwrap_or_default();
    Ok(mutation!("log-not-replayed", groups(&header, frames), Contents { strict, ..Contents::default() }))
}

/// The whole frames at the beginning of `bytes`, and what later ones tell of the first that is not whole.
fn groups(header: &Header, bytes: &[u8]) -> Contents {
    let strict = header.durability == Durability::Strict;
    let mut contents = Contents { strict, ..Contents::default() };
    let mut at = 0;
    let rest = |at| bytes.get(at..).unwrap_or_default();
    while let Some(frame) = header.frame(rest(at)) {
        let Some(group) = decode_group(frame.group) else {
            contents.damaged = true;
            return contents;
        };
        contents.groups.push(group);
        at += frame_len(frame.group.len());
    }
    // A torn frame is the last one: a frame that follows it was written when it was synced, so it was damaged later.
    while rest(at).len() >= FRAME_HEAD {
        if let Some(frame) = header.frame(rest(at)) {
            contents.known = contents.known.max(frame.synced);
        }
        at += ALIGNMENT;
    }
    contents
}

/// The log, open for more.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    reserve: Arc<Reserve>,
    header: Header,
    /// Where the next frame goes.
    end: u64,
    /// How far the file was written once.
    written: u64,
    steps: usize,
    /// The newest group that is synced, in this epoch.
    synced: u64,
    /// The highest number of which a frame may be on the disk.
    tried: u64,
    /// A write or a sync failed: what of the last frame is on the disk is not known, and nothing is taken before a checkpoint.
    torn: bool,
}

impl Log {
    /// Begins the log anew. What it held must be in the records, durably. It has at least `least` bytes then, where the disk
    /// has them.
    pub(crate) fn begin(
        disk: &Arc<dyn Disk>,
        durability: Durability,
        boot: String,
        reserve: Arc<Reserve>,
        least: u64,
    ) -> io::Result<Self> {
        let file = disk.open(LOG, Mode::Create)?;
        let written = file.len()?;
        let mut head = vec![0; HEADER.min(usize::try_from(written).unwrap_or(HEADER))];
        read_exact(&*file, &mut head, 0)?;
        let epoch = Header::decode(&head).map_or(0, |header| header.epoch);
        let header = Header { durability, boot, epoch, secret: [0; 2] };
        let (disk, end) = (disk.clone(), HEADER as u64);
        let mut log =
            Self { disk, file, reserve, header, end, written, steps: 0, synced: 0, tried: 0, torn: false };
        log.restart()?;
        log.grow(HEADER as u64 + least)?;
        log.file.sync_data()?;
        Ok(log)
    }

    /// Adds a group. After a failure its frame may be whole all the same, as what follows it may be zeros already: nothing is
    /// taken before the next checkpoint.
    pub(crate) fn append(&mut self, sequence: u64, keeps: Keeps, steps: &[Step]) -> io::Result<()> {
        if self.torn {
            return Err(io::Error::other("the log could not be written, and is not begun anew yet"));
        }
        let frame = self.frame(sequence, keeps, steps);
        let end = self.end + frame.len() as u64;
        self.grow(end)?;
        self.tried = sequence;
        let strict = self.header.durability == Durability::Strict;
        let written = self.reserve.write_all(&*self.file, &frame, self.end);
        let kept = written.and_then(|()| match mutation!("log-not-synced", strict, false) {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        self.torn = mutation!("failed-log-sync-forgotten", kept.is_err(), false);
        if self.torn {
            return kept;
        }
        if strict {
            self.synced = sequence;
        }
        self.written = self.written.max(end);
        self.end = end;
        self.steps += steps.len();
        Ok(())
    }

    fn frame(&self, sequence: u64, keeps: Keeps, steps: &[Step]) -> Vec<u8> {
        let mut bytes = Encoder(Vec::with_capacity(journal::room(steps) + FRAME_HEAD));
        bytes.number(0).number(0).number(0).number(0);
        encode_group(sequence, keeps, steps, &mut bytes);
        let mut frame = bytes.0;
        let group = frame.get(FRAME_HEAD..).unwrap_or_default();
        let sum = self.header.checksum(self.synced, group);
        let mut head = Encoder(Vec::with_capacity(FRAME_HEAD));
        head.number(self.header.secret[0]).number(group.len() as u64).number(self.synced).number(sum);
        frame.splice(..FRAME_HEAD, head.0);
        frame.resize(frame.len().next_multiple_of(ALIGNMENT), 0);
        frame
    }

    /// Sees that the file was written up to `end`, and some way further. On a full disk it stays as long as it is.
    fn grow(&mut self, end: u64) -> io::Result<()> {
        if end <= self.written {
            return Ok(());
        }
        let growth = (self.written / 4).clamp(4 << 10, GROWTH);
        let wanted = end.max(self.written + growth);
        let zeros = vec![0; usize::try_from((wanted - self.written).min(GROWTH)).unwrap_or_default()];
        while self.written < wanted {
            let len = usize::try_from(wanted - self.written).unwrap_or(zeros.len()).min(zeros.len());
            match write_all(&*self.file, zeros.get(..len).unwrap_or_default(), self.written) {
                Ok(()) => self.written += len as u64,
                Err((_, error)) if is_full(&error) => return Ok(()),
                Err((_, error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Begins a new epoch after a checkpoint. With strict durability the header is synced with the first frame. A failure
    /// leaves frames that are in the records already, and takes nothing before the next checkpoint.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.torn = true;
        self.header.secret = [self.disk.random(), self.disk.random()];
        self.header.epoch += 1;
        let header = self.header.encode()?;
        mutation!("log-header-not-written", self.reserve.write_all(&*self.file, &header, 0)?, ());
        self.written = self.written.max(HEADER as u64);
        self.end = HEADER as u64;
        (self.steps, self.synced, self.tried, self.torn) = (0, 0, 0, false);
        Ok(())
    }

    /// Whether only a checkpoint can help.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    /// How many bytes of groups it holds.
    pub(crate) fn len(&self) -> u64 {
        self.end - HEADER as u64
    }

    /// How many changes those are.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// After a failure, with strict durability: the number of the last group that was acknowledged, in this epoch. The one
    /// that follows it may read as if it were there.
    pub(crate) fn synced_before_failure(&self) -> Option<u64> {
        (self.torn && self.header.durability == Durability::Strict).then_some(self.synced)
    }

    /// The highest number of a group that may be on the disk.
    pub(crate) fn tried(&self) -> u64 {
        self.tried
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tus_proto::UploadId;

    use super::*;
    use crate::sim::SimDisk;

    fn disk() -> Arc<dyn Disk> {
        Arc::new(SimDisk::new())
    }

    fn begin(disk: &Arc<dyn Disk>, durability: Durability) -> Log {
        let reserve = Arc::new(Reserve::open(disk, 0).unwrap());
        Log::begin(disk, durability, disk.boot_id().unwrap(), reserve, 1000).unwrap()
    }

    fn steps(count: usize) -> Vec<Step> {
        vec![Step::Forget { id: UploadId::new("a-1").unwrap() }; count]
    }

    fn append(log: &mut Log, sequence: u64) {
        log.append(sequence, Keeps::default(), &steps(3)).unwrap();
    }

    fn numbers(contents: &Contents) -> Vec<u64> {
        contents.groups.iter().map(|group| group.sequence).collect()
    }

    /// The log with one byte changed, or cut there.
    fn damaged(disk: &Arc<dyn Disk>, at: u64, cut: bool) -> Contents {
        let file = disk.open(LOG, Mode::Existing).unwrap();
        let mut whole = vec![0; file.len().unwrap() as usize];
        read_exact(&*file, &mut whole, 0).unwrap();
        let mut bytes = whole.clone();
        match cut {
            true => bytes[at as usize..].fill(0),
            false => bytes[at as usize] ^= 0x10,
        }
        write_all(&*file, &bytes, 0).unwrap();
        let contents = read(&**disk).unwrap();
        write_all(&*file, &whole, 0).unwrap();
        contents
    }

    #[test]
    fn a_torn_tail_ends_the_log_and_damage_before_it_is_told_from_that() {
        for durability in [Durability::Strict, Durability::Eventual] {
            let disk = disk();
            let mut log = begin(&disk, durability);
            append(&mut log, 5);
            let second = log.end;
            append(&mut log, 6);
            append(&mut log, 7);
            assert_eq!(numbers(&read(&*disk).unwrap()), [5, 6, 7]);
            for at in second..log.end {
                let torn = damaged(&disk, at, true);
                assert!(numbers(&torn).len() < 3 || at + 8 > log.end, "cut at {at}");
                assert!(torn.continues(4), "cut at {at}");
            }
            let mut found = 0;
            for at in HEADER as u64..second {
                let contents = damaged(&disk, at, false);
                // Bytes that only fill a frame up to its alignment mean nothing.
                found += usize::from(numbers(&contents).is_empty());
                assert_eq!(
                    contents.continues(4),
                    durability == Durability::Eventual || !contents.groups.is_empty()
                );
                assert!(contents.continues(7), "all of it is in the records");
            }
            assert!(found > 60, "{found}");
            for at in 0..40 {
                assert!(!damaged(&disk, at, false).continues(4), "the header, {at}");
            }
        }
    }

    #[test]
    fn what_was_there_before_a_checkpoint_is_not_read_after_it() {
        let disk = disk();
        let mut log = begin(&disk, Durability::Strict);
        for sequence in 1..20 {
            append(&mut log, sequence);
        }
        let len = disk.open(LOG, Mode::Existing).unwrap().len().unwrap();
        log.restart().unwrap();
        assert_eq!(numbers(&read(&*disk).unwrap()), []);
        append(&mut log, 20);
        let contents = read(&*disk).unwrap();
        assert_eq!(numbers(&contents), [20]);
        assert!(contents.continues(19) && !contents.continues(18) && contents.continues(30));
        assert_eq!(disk.open(LOG, Mode::Existing).unwrap().len().unwrap(), len, "its space is used again");
    }

    #[test]
    fn a_log_of_eventual_durability_is_believed_in_its_boot_alone() {
        for durability in [Durability::Strict, Durability::Eventual] {
            let sim = SimDisk::new();
            let disk: Arc<dyn Disk> = Arc::new(sim.clone());
            append(&mut begin(&disk, durability), 1);
            disk.open(LOG, Mode::Existing).unwrap().sync_data().unwrap();
            disk.sync_dir("").unwrap();
            sim.crash(crate::sim::Crash::Machine(1));
            let contents = read(&*disk).unwrap();
            let strict = durability == Durability::Strict;
            assert_eq!((contents.stale, contents.groups.len()), (!strict, usize::from(strict)));
        }
    }
}
