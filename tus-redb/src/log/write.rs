//! Writing the log: frames are added to one half, and a checkpoint turns to the other.

use std::{io, sync::Arc};

use crate::{
    codec::Encoder,
    disk::{Disk, DiskFile, Mode, is_full, read_exact, write_all},
    files::reserve::Reserve,
    log::{
        ALIGNMENT, FRAME_HEAD, HALVES, HEADER, Header,
        group::{encode_group, room},
    },
    options::Durability,
    tables::{Keeps, step::Step},
};

/// By so much the file grows at most, in bytes, filled with zeros: a sync of space that was never written takes longer.
const GROWTH: u64 = 256 << 10;

/// A half, open for more.
#[derive(Debug)]
struct OpenHalf {
    file: Arc<dyn DiskFile>,
    header: Header,
    /// Where the next frame goes.
    end: u64,
    /// How far the file was written once.
    written: u64,
    steps: usize,
    /// The highest number of a group of which a frame may be here.
    last: u64,
}

/// The log, open for more.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    reserve: Arc<Reserve>,
    halves: [OpenHalf; 2],
    /// The one that frames go to.
    active: usize,
    /// The number of the last group that the records have durably.
    durable: u64,
    /// Strict durability: the newest group that is synced; 0 if none is.
    synced: u64,
    /// A write or a sync failed: what of the last frame is on the disk is not known, and nothing is taken before a checkpoint.
    torn: bool,
}

impl Log {
    /// Begins the log anew. What it held must be in the records, durably, up to the group with the number `durable`. Each
    /// half has at least `least` bytes then, where the disk has them.
    pub(crate) fn begin(
        disk: &Arc<dyn Disk>,
        durability: Durability,
        boot: &str,
        reserve: Arc<Reserve>,
        (durable, least): (u64, u64),
    ) -> io::Result<Self> {
        let open = |name| {
            let file = disk.open(name, Mode::Create)?;
            let written = file.len()?;
            let mut head = vec![0; HEADER.min(usize::try_from(written).unwrap_or(HEADER))];
            read_exact(&*file, &mut head, 0)?;
            let epoch = Header::decode(&head).map_or(0, |header| header.epoch);
            let header = Header { durability, boot: boot.to_owned(), epoch, secret: [0; 2], after: 0 };
            Ok::<_, io::Error>(OpenHalf { file, header, end: HEADER as u64, written, steps: 0, last: 0 })
        };
        let halves = [open(HALVES[0])?, open(HALVES[1])?];
        let (disk, active) = (disk.clone(), 1);
        let mut log = Self { disk, reserve, halves, active, durable, synced: 0, torn: false };
        log.turn(durable)?;
        // The other one holds nothing before it is turned to.
        let [_, second] = &mut log.halves;
        log.reserve.write_all(&*second.file, &[0; HEADER], 0)?;
        second.written = second.written.max(HEADER as u64);
        for half in &mut log.halves {
            half.grow(HEADER as u64 + least)?;
            half.file.sync_data()?;
        }
        Ok(log)
    }

    /// Adds a group. After a failure its frame may be whole all the same, as what follows it may be zeros already: nothing is
    /// taken before the next checkpoint.
    pub(crate) fn append(&mut self, sequence: u64, keeps: Keeps, steps: &[Step]) -> io::Result<()> {
        if self.torn {
            return Err(io::Error::other("the log could not be written, and is not begun anew yet"));
        }
        let Self { reserve, halves, active, synced, .. } = self;
        let Some(half) = halves.get_mut(*active) else { return Err(io::Error::other("no half is active")) };
        let frame = half.header.encode_frame(*synced, sequence, keeps, steps);
        let end = half.end + frame.len() as u64;
        half.grow(end)?;
        half.last = sequence;
        let strict = half.header.durability == Durability::Strict;
        let too_early: io::Result<()> = mutation!("log-synced-before-append", Ok(()), half.file.sync_data());
        too_early?;
        let written = reserve.write_all(&*half.file, &frame, half.end);
        let kept = written.and_then(|()| {
            match mutation!("log-synced-before-append", mutation!("log-not-synced", strict, false), false) {
                true => half.file.sync_data(),
                false => Ok(()),
            }
        });
        self.torn = mutation!("failed-log-sync-forgotten", kept.is_err(), false);
        if self.torn {
            return kept;
        }
        if strict {
            self.synced = sequence;
        }
        half.written = half.written.max(end);
        half.end = end;
        half.steps += steps.len();
        Ok(())
    }

    /// Turns to the other half with a new epoch, after the group with this number, if the records have all that it holds;
    /// of a torn log, all that was tried: a group that has failed would be shown by a replay of the epoch before.
    /// With strict durability the header is synced with the first frame. After a failure nothing is taken before the next
    /// checkpoint.
    pub(crate) fn turn(&mut self, after: u64) -> io::Result<()> {
        let next = 1 - self.active;
        let epoch = self.halves.iter().map(|half| half.header.epoch).max().unwrap_or(0);
        let tried = self.tried();
        let Some(half) = self.halves.get_mut(next) else { return Ok(()) };
        let needed = if self.torn { tried } else { half.last };
        if mutation!("half-used-too-early", needed > self.durable, false) {
            return Ok(());
        }
        self.torn = true;
        half.header.secret = [self.disk.random(), self.disk.random()];
        (half.header.epoch, half.header.after) = (epoch + 1, after);
        let header = half.header.encode()?;
        mutation!("log-header-not-written", self.reserve.write_all(&*half.file, &header, 0)?, ());
        half.written = half.written.max(HEADER as u64);
        (half.end, half.steps, half.last) = (HEADER as u64, 0, 0);
        (self.active, self.torn) = (next, false);
        Ok(())
    }

    /// The records have all groups up to this one, durably.
    pub(crate) fn cover(&mut self, sequence: u64) {
        self.durable = self.durable.max(sequence);
    }

    /// Whether only a checkpoint can help.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    fn active(&self) -> Option<&OpenHalf> {
        self.halves.get(self.active)
    }

    /// How many bytes of groups the active half holds.
    pub(crate) fn len(&self) -> u64 {
        self.active().map_or(0, |half| half.end - HEADER as u64)
    }

    /// How many changes those are.
    pub(crate) fn steps(&self) -> usize {
        self.active().map_or(0, |half| half.steps)
    }

    /// After a failure, with strict durability: the number of the last group that was acknowledged. The one
    /// that follows it may read as if it were there.
    pub(crate) fn synced_before_failure(&self) -> Option<u64> {
        let strict = self.active().is_some_and(|half| half.header.durability == Durability::Strict);
        (self.torn && strict).then_some(self.synced.max(self.durable))
    }

    /// The highest number of a group that may be on the disk.
    pub(crate) fn tried(&self) -> u64 {
        self.halves.iter().map(|half| half.last).max().unwrap_or(0)
    }
}

impl Header {
    fn encode_frame(&self, synced: u64, sequence: u64, keeps: Keeps, steps: &[Step]) -> Vec<u8> {
        let mut bytes = Encoder(Vec::with_capacity(room(steps) + FRAME_HEAD));
        bytes.number(0).number(0).number(0).number(0);
        encode_group(sequence, keeps, steps, &mut bytes);
        let mut frame = bytes.0;
        let group = frame.get(FRAME_HEAD..).unwrap_or_default();
        let sum = self.checksum(synced, group);
        let mut head = Encoder(Vec::with_capacity(FRAME_HEAD));
        head.number(self.secret[0]).number(group.len() as u64).number(synced).number(sum);
        frame.splice(..FRAME_HEAD, head.0);
        frame.resize(frame.len().next_multiple_of(ALIGNMENT), 0);
        frame
    }
}

impl OpenHalf {
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tus_proto::UploadId;

    use super::*;
    use crate::{
        log::read::{Contents, Salvaged, read_log},
        sim::SimDisk,
    };

    fn disk() -> Arc<dyn Disk> {
        Arc::new(SimDisk::new())
    }

    fn begin(disk: &Arc<dyn Disk>, durability: Durability) -> Log {
        let reserve = Arc::new(Reserve::open(disk, 0).unwrap());
        Log::begin(disk, durability, &disk.boot_id().unwrap(), reserve, (4, 1000)).unwrap()
    }

    fn steps(count: usize) -> Vec<Step> {
        vec![Step::Forget { id: UploadId::new("a-1").unwrap() }; count]
    }

    fn append(log: &mut Log, sequence: u64) {
        log.append(sequence, Keeps::default(), &steps(3)).unwrap();
    }

    fn end(log: &Log) -> u64 {
        log.active().unwrap().end
    }

    fn numbers(contents: &Contents) -> Vec<u64> {
        contents.groups.iter().map(|group| group.sequence).collect()
    }

    fn content(disk: &Arc<dyn Disk>, half: &str) -> Vec<u8> {
        let file = disk.open(half, Mode::Existing).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        read_exact(&*file, &mut bytes, 0).unwrap();
        bytes
    }

    /// The log with one byte of a half changed, or cut there.
    fn damaged(disk: &Arc<dyn Disk>, half: &str, at: u64, cut: bool) -> Contents {
        let file = disk.open(half, Mode::Existing).unwrap();
        let whole = content(disk, half);
        let mut bytes = whole.clone();
        match cut {
            true => bytes[at as usize..].fill(0),
            false => bytes[at as usize] ^= 0x10,
        }
        write_all(&*file, &bytes, 0).unwrap();
        let contents = read_log(&**disk).unwrap();
        write_all(&*file, &whole, 0).unwrap();
        contents
    }

    #[test]
    fn a_torn_tail_ends_the_log_and_damage_before_it_is_told_from_that() {
        for durability in [Durability::Strict, Durability::Eventual] {
            let disk = disk();
            let mut log = begin(&disk, durability);
            append(&mut log, 5);
            let second = end(&log);
            append(&mut log, 6);
            append(&mut log, 7);
            assert_eq!(numbers(&read_log(&*disk).unwrap()), [5, 6, 7]);
            for at in second..end(&log) {
                let torn = damaged(&disk, HALVES[0], at, true);
                assert!(numbers(&torn).len() < 3 || at + 8 > end(&log), "cut at {at}");
                assert!(torn.continues(4), "cut at {at}");
            }
            let mut found = 0;
            for at in HEADER as u64..second {
                let mut contents = damaged(&disk, HALVES[0], at, false);
                // Bytes that only fill a frame up to its alignment mean nothing.
                let hit = numbers(&contents).is_empty();
                found += usize::from(hit);
                assert_eq!(contents.continues(4), durability == Durability::Eventual || !hit);
                assert!(contents.continues(7), "all of it is in the records");
                let salvaged = contents.salvage(4);
                let (kept, from, to) = if hit { (0, 5, Some(7)) } else { (3, 8, None) };
                assert_eq!(salvaged, Salvaged { kept, from, to });
                assert!(contents.continues(4));
            }
            assert!(found > 60, "{found}");
            for at in 0..40 {
                let mut contents = damaged(&disk, HALVES[0], at, false);
                assert!(!contents.continues(4), "the header, {at}");
                assert_eq!(contents.salvage(4), Salvaged { kept: 0, from: 5, to: None });
            }
        }
    }

    #[test]
    fn a_half_is_used_again_once_the_records_have_what_it_holds() {
        let disk = disk();
        let mut log = begin(&disk, Durability::Strict);
        for sequence in 5..25 {
            append(&mut log, sequence);
        }
        let lens = || HALVES.map(|half| content(&disk, half).len());
        let begun = lens();
        log.turn(24).unwrap();
        append(&mut log, 25);
        assert_eq!(numbers(&read_log(&*disk).unwrap()), (5..26).collect::<Vec<_>>());
        // The checkpoint is not durable.
        log.cover(23);
        log.turn(25).unwrap();
        append(&mut log, 26);
        assert_eq!(numbers(&read_log(&*disk).unwrap()), (5..27).collect::<Vec<_>>());
        log.cover(24);
        log.turn(26).unwrap();
        let contents = read_log(&*disk).unwrap();
        assert_eq!(numbers(&contents), [25, 26]);
        assert!(contents.continues(24) && !contents.continues(23) && contents.continues(30));
        append(&mut log, 27);
        assert_eq!(numbers(&read_log(&*disk).unwrap()), [25, 26, 27]);
        assert_eq!(lens(), begun, "their space is used again");
        // What the next opening begins.
        drop(log);
        let mut log = begin(&disk, Durability::Strict);
        assert_eq!(numbers(&read_log(&*disk).unwrap()), []);
        append(&mut log, 28);
        assert_eq!(numbers(&read_log(&*disk).unwrap()), [28]);
    }

    #[test]
    fn a_later_epoch_tells_that_the_last_frame_of_an_earlier_one_was_there() {
        let disk = disk();
        let mut log = begin(&disk, Durability::Strict);
        append(&mut log, 5);
        let last = end(&log);
        append(&mut log, 6);
        assert!(damaged(&disk, HALVES[0], last + 40, false).continues(4), "it may be torn");
        log.turn(6).unwrap();
        let mut contents = damaged(&disk, HALVES[0], last + 40, false);
        assert_eq!(numbers(&contents), [5]);
        assert!(!contents.continues(4) && contents.continues(6));
        assert_eq!(contents.salvage(4), Salvaged { kept: 1, from: 6, to: Some(6) });
        append(&mut log, 7);
        let mut contents = damaged(&disk, HALVES[0], last + 40, false);
        assert_eq!(contents.salvage(4), Salvaged { kept: 1, from: 6, to: Some(7) });
        assert_eq!(numbers(&contents), [5], "what follows stands on what is lost");
    }

    #[test]
    fn a_log_of_eventual_durability_is_believed_in_its_boot_alone() {
        for durability in [Durability::Strict, Durability::Eventual] {
            let sim = SimDisk::new();
            let disk: Arc<dyn Disk> = Arc::new(sim.clone());
            append(&mut begin(&disk, durability), 5);
            disk.open(HALVES[0], Mode::Existing).unwrap().sync_data().unwrap();
            disk.sync_dir("").unwrap();
            sim.crash(crate::sim::Crash::Machine(1));
            let contents = read_log(&*disk).unwrap();
            let strict = durability == Durability::Strict;
            assert_eq!((contents.stale, contents.groups.len()), (!strict, usize::from(strict)));
        }
    }
}
