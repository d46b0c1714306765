//! Reading the log, when a store is opened: which groups may be replayed, whether any is missing, and what is left of a log that
//! is damaged.

use std::io;

use crate::{
    disk::{Disk, Mode, read_exact},
    log::{
        ALIGNMENT, FRAME_HEAD, HALVES, HEADER, Header, frame_len,
        group::{Group, decode_group},
        journal::read_journal,
    },
    options::Durability,
};

/// What a store's log holds, and the journal of an earlier format, which it follows.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// In the order in which they were committed, of each half up to the first one that is not whole.
    pub(crate) groups: Vec<Group>,
    /// Whether the bytes and names of the groups' data files were durable before the groups.
    pub(crate) strict: bool,
    /// Groups of eventual durability were here, and a power cut may have taken them.
    pub(crate) stale: bool,
    /// The number of the newest group that must be here, by what a later frame or epoch says; 0 if none does.
    known: u64,
    /// The highest number of a group that can be read after one that can't; 0 if there is none.
    cut_off: u64,
    /// A header can't be read, or a frame that is whole: no power cut leaves that.
    damaged: bool,
}

/// What a damaged log has and lacks of the groups that follow those in the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salvaged {
    /// How many groups are there, one after another.
    pub(crate) kept: u64,
    /// The first number that is lost.
    pub(crate) from: u64,
    /// The last lost number that a later frame or epoch shows to have existed; `None` if none does.
    pub(crate) to: Option<u64>,
}

impl Contents {
    /// Whether these are all the groups that follow those that are in the records, of which the last has this number.
    pub(crate) fn continues(&self, sequence: u64) -> bool {
        let last = self.groups.last().map_or(0, |group| group.sequence).max(sequence);
        !self.damaged && self.known <= last && self.unbroken(sequence) == self.above(sequence).count()
    }

    fn above(&self, sequence: u64) -> impl Iterator<Item = u64> {
        self.groups.iter().map(|group| group.sequence).filter(move |number| *number > sequence)
    }

    /// How many groups follow those in the records, with none missing between them.
    fn unbroken(&self, sequence: u64) -> usize {
        self.above(sequence).zip(sequence + 1..).take_while(|(number, next)| number == next).count()
    }

    /// Leaves only the groups that follow those in the records, with none missing between them, as if that were all.
    pub(crate) fn salvage(&mut self, sequence: u64) -> Salvaged {
        let kept = self.unbroken(sequence) as u64;
        let last = self.above(sequence).max().unwrap_or_default().max(self.known).max(self.cut_off);
        let from = sequence + kept + 1;
        self.groups.retain(|group| (sequence + 1..=sequence + kept).contains(&group.sequence));
        (self.damaged, self.known, self.cut_off) = (false, 0, 0);
        Salvaged { kept, from, to: (last >= from).then_some(last) }
    }

    /// Adds the whole frames at the beginning of `bytes`, and what later frames say about the first that is not whole.
    fn add(&mut self, header: &Header, bytes: &[u8]) {
        let mut at = 0;
        let rest = |at| bytes.get(at..).unwrap_or_default();
        while let Some(frame) = header.frame(rest(at)) {
            let Some(group) = decode_group(frame.group) else {
                self.damaged = true;
                break;
            };
            self.known = self.known.max(frame.synced);
            self.groups.push(group);
            at += frame_len(frame.group.len());
        }
        // A torn frame is the last one: a frame that follows it was written when it was synced, so it was damaged later.
        while rest(at).len() >= FRAME_HEAD {
            if let Some(frame) = header.frame(rest(at)) {
                self.known = self.known.max(frame.synced);
                let group = decode_group(frame.group).map_or(0, |group| group.sequence);
                self.cut_off = self.cut_off.max(group);
            }
            at += ALIGNMENT;
        }
    }
}

/// Reads what may be replayed.
pub(crate) fn read_log(disk: &dyn Disk) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut halves = Vec::new();
    for name in HALVES {
        match read_half(disk, name)? {
            Half::Blank => {}
            Half::Damaged => contents.damaged = true,
            Half::Written(header, frames) => halves.push((header, frames)),
        }
    }
    halves.sort_by_key(|(header, _)| header.epoch);
    // Without a boot id there is no telling whether this is the same boot: then it is not.
    let boot = disk.boot_id().ok();
    for (header, frames) in halves {
        contents.strict = header.durability == Durability::Strict;
        // Where the durability was changed, it is the last one that counts: what came before it is in the records.
        let is_lost = !contents.strict && boot.as_ref() != Some(&header.boot);
        contents.stale = mutation!("log-of-another-boot", is_lost, false);
        if !contents.stale {
            contents.known = contents.known.max(header.after);
            mutation!("log-not-replayed", contents.add(&header, &frames), ());
        }
    }
    match read_journal(disk)? {
        None => contents.stale = true,
        Some(groups) if groups.is_empty() => {}
        Some(groups) => {
            contents.strict = false;
            contents.groups.splice(..0, groups);
        }
    }
    Ok(contents)
}

/// What a half is found to be.
enum Half {
    /// It holds nothing; also one whose header did not become durable.
    Blank,
    Damaged,
    /// Its header, and the bytes of its frames.
    Written(Header, Vec<u8>),
}

fn read_half(disk: &dyn Disk, name: &str) -> io::Result<Half> {
    let file = match disk.open(name, Mode::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Half::Blank),
        file => file?,
    };
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    read_exact(&*file, &mut bytes, 0)?;
    let frames = bytes.split_off(HEADER.min(bytes.len()));
    Ok(match Header::decode(&bytes) {
        Some(header) => Half::Written(header, frames),
        None if bytes.iter().all(|byte| *byte == 0) => Half::Blank,
        None => Half::Damaged,
    })
}
