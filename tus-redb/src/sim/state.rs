//! What a simulated disk holds, what of it is durable, and what a crash makes of the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
};

use rustix::io::Errno;

use super::{BLOCK, Fault, SECTOR};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) boot: u64,
    /// Counts crashes: what was opened or locked before one is dead.
    pub(super) life: u64,
    pub(super) locked: bool,
    pub(super) calls: u64,
    pub(super) faults: Vec<(Range<u64>, Fault)>,
    pub(super) faults_hit: u64,
    pub(super) dies_at: Option<u64>,
    pub(super) died: bool,
    /// Whoever looks on from outside is at it, this many times over.
    pub(super) aside: u32,
    pub(super) open_files: usize,
    /// How many may be.
    pub(super) max_open_files: Option<usize>,
    pub(super) short_writes: bool,
    pub(super) refuse_claims: bool,
    /// Names of files that can't be removed.
    pub(super) kept: Vec<String>,
    /// Free blocks; `None` if there is no end of them.
    pub(super) free: Option<u64>,
    /// How many bytes of each file were read and written.
    pub(super) traffic: BTreeMap<u64, u64>,
    pub(super) last_file: u64,
    /// How many random numbers were drawn.
    pub(super) drawn: u64,
    pub(super) names: BTreeMap<String, Node>,
    pub(super) files: BTreeMap<u64, Content>,
    pub(super) durable_names: BTreeMap<String, Node>,
    pub(super) durable_files: BTreeMap<u64, Vec<u8>>,
    pub(super) pending: Vec<Pending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(u64),
}

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) blocks: BTreeSet<u64>,
}

/// A change that is not durable.
#[derive(Debug)]
pub(super) enum Pending {
    Write {
        file: u64,
        offset: usize,
        data: Vec<u8>,
    },
    SetLen {
        file: u64,
        len: usize,
    },
    Name {
        dir: String,
        change: NameChange,
    },
    /// An empty directory goes, and with it what had happened in it.
    RemoveDir {
        dir: String,
        path: String,
        inner: Vec<Pending>,
    },
}

#[derive(Debug)]
pub(super) enum NameChange {
    Add(String, Node),
    Remove(String),
    Rename(String, String),
}

impl State {
    pub(super) fn begin(&mut self, life: Option<u64>, grows: bool) -> io::Result<()> {
        let dead = || Err(io::Error::other("the machine is dead"));
        if life.is_some_and(|life| life != self.life) {
            return dead();
        }
        if self.aside > 0 {
            return Ok(());
        }
        let number = self.calls;
        self.calls += 1;
        if self.dies_at.is_some_and(|at| number >= at) {
            self.died = true;
            return dead();
        }
        let error = match self.fault(number) {
            Some(Fault::Full) if grows => io::ErrorKind::StorageFull.into(),
            Some(Fault::Full) | None => return Ok(()),
            Some(Fault::Io | Fault::Evict) => io::Error::other("a simulated I/O error"),
        };
        self.faults_hit += 1;
        Err(error)
    }

    /// Fails if there is no descriptor for another file.
    pub(super) fn take_descriptor(&self) -> io::Result<()> {
        match self.max_open_files {
            Some(most) if self.open_files >= most && self.aside == 0 => Err(Errno::MFILE.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn fault(&self, number: u64) -> Option<Fault> {
        if self.aside > 0 {
            return None;
        }
        self.faults.iter().find(|(calls, _)| calls.contains(&number)).map(|(_, fault)| *fault)
    }

    pub(super) fn content(&mut self, file: u64) -> &mut Content {
        self.files.entry(file).or_default()
    }

    /// Takes space for a range of a file, from its start on as far as there is some; tells how many bytes of
    /// the range have it.
    pub(super) fn allocate(&mut self, file: u64, offset: u64, len: u64) -> u64 {
        let mut free = self.free;
        let content = self.content(file);
        let mut end = offset;
        while end < offset + len {
            if !content.blocks.contains(&(end / BLOCK)) {
                match &mut free {
                    Some(0) => break,
                    Some(free) => *free -= 1,
                    None => {}
                }
                content.blocks.insert(end / BLOCK);
            }
            end = (end / BLOCK + 1) * BLOCK;
        }
        self.free = free;
        end.min(offset + len) - offset
    }

    pub(super) fn set_len(&mut self, file: u64, len: u64) {
        let content = self.content(file);
        content.bytes.resize(len as usize, 0);
        let freed = content.blocks.split_off(&len.div_ceil(BLOCK)).len() as u64;
        self.free = self.free.map(|free| free + freed);
        self.pending.push(Pending::SetLen { file, len: len as usize });
    }

    /// Gives back the space of files that have no name. Open ones keep their bytes.
    pub(super) fn free_unnamed(&mut self) {
        let named: BTreeSet<u64> = self.names.values().filter_map(Node::file).collect();
        let unnamed = self.files.iter_mut().filter(|(file, _)| !named.contains(file));
        let freed: usize = unnamed.map(|(_, content)| std::mem::take(&mut content.blocks).len()).sum();
        self.free = self.free.map(|free| free + freed as u64);
    }

    pub(super) fn sync_file(&mut self, file: u64) {
        let (of_file, rest) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| pending.is_of(file));
        self.pending = rest;
        self.settle(of_file, &mut None);
    }

    /// Makes the bytes and lengths of all files durable, but no name.
    pub(super) fn sync_all(&mut self) {
        let is_of_file =
            |pending: &Pending| matches!(pending, Pending::Write { .. } | Pending::SetLen { .. });
        let (of_files, names) = std::mem::take(&mut self.pending).into_iter().partition(is_of_file);
        self.pending = names;
        self.settle(of_files, &mut None);
    }

    /// Makes changes durable: as they are, or by chance.
    pub(super) fn settle(&mut self, changes: Vec<Pending>, chance: &mut Option<Chance<'_>>) {
        for change in changes {
            match change {
                Pending::RemoveDir { inner, .. }
                    if chance.as_mut().is_some_and(|chance| chance.drops(None)) =>
                {
                    self.settle(inner, chance);
                }
                Pending::RemoveDir { path, .. } => {
                    let within = format!("{path}/");
                    self.durable_names.retain(|name, _| *name != path && !name.starts_with(&within));
                }
                _ if chance.as_mut().is_some_and(|chance| chance.drops(change.file())) => {}
                Pending::Write { file, offset, data } => {
                    let torn = chance.as_mut().is_some_and(|chance| chance.tears(file));
                    let durable = self.durable_files.entry(file).or_default();
                    for (index, sector) in data.chunks(SECTOR).enumerate() {
                        if !torn || chance.as_mut().is_none_or(|chance| chance.tears(file)) {
                            write(durable, offset + index * SECTOR, sector);
                        }
                    }
                }
                Pending::SetLen { file, len } => self.durable_files.entry(file).or_default().resize(len, 0),
                Pending::Name { change, .. } => {
                    let names = std::mem::take(&mut self.durable_names);
                    self.durable_names = change.apply(names);
                }
            }
        }
    }

    /// What the machine leaves when it dies.
    pub(super) fn lose(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        self.settle(pending, &mut Some(Chance::new(random)));
        let dirs = self.durable_names.clone();
        self.durable_names
            .retain(|path, _| path.rsplit_once('/').is_none_or(|(dir, _)| dirs.contains_key(dir)));
        let named: BTreeSet<u64> = self.durable_names.values().filter_map(Node::file).collect();
        self.durable_files.retain(|file, _| named.contains(file));
        self.names = self.durable_names.clone();
        let content = |bytes: &Vec<u8>| Content {
            blocks: (0..(bytes.len() as u64).div_ceil(BLOCK)).collect(),
            bytes: bytes.clone(),
        };
        self.files = self.durable_files.iter().map(|(file, bytes)| (*file, content(bytes))).collect();
    }

    pub(super) fn has_dir(&self, path: &str) -> bool {
        path.is_empty() || self.names.get(path) == Some(&Node::Dir)
    }

    pub(super) fn children<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.names.keys().map(String::as_str);
        names.filter(move |path| path.rsplit_once('/').map_or("", |(parent, _)| parent) == dir)
    }
}

impl Node {
    pub(super) fn file(&self) -> Option<u64> {
        match self {
            Self::File(file) => Some(*file),
            Self::Dir => None,
        }
    }
}

impl Pending {
    pub(super) fn is_of(&self, wanted: u64) -> bool {
        self.file() == Some(wanted)
    }

    /// The file whose bytes it changes.
    fn file(&self) -> Option<u64> {
        match self {
            Self::Write { file, .. } | Self::SetLen { file, .. } => Some(*file),
            Self::Name { .. } | Self::RemoveDir { .. } => None,
        }
    }

    /// Whether it awaits a sync of this directory.
    pub(super) fn is_in(&self, wanted: &str) -> bool {
        match self {
            Self::Name { dir, .. } | Self::RemoveDir { dir, .. } => dir == wanted,
            Self::Write { .. } | Self::SetLen { .. } => false,
        }
    }
}

impl NameChange {
    pub(super) fn apply(&self, mut names: BTreeMap<String, Node>) -> BTreeMap<String, Node> {
        match self {
            Self::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
        names
    }
}

pub(super) fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// What becomes of each change that was not synced when the power goes.
pub(super) struct Chance<'a> {
    random: &'a mut Random,
    /// How many of four changes are kept; with one more, not even a write is torn.
    kept: u64,
    /// The same for each file, where every one has a fate of its own: a system writes back one after another.
    apart: Option<BTreeMap<u64, u64>>,
}

/// Everything is kept as it was written.
const WHOLE: u64 = 5;

impl<'a> Chance<'a> {
    fn new(random: &'a mut Random) -> Self {
        let kept = random.below(WHOLE + 1);
        let apart = (random.below(2) == 0).then(BTreeMap::new);
        Self { random, kept, apart }
    }

    fn kept_of(&mut self, file: Option<u64>) -> u64 {
        let Some((fates, file)) = self.apart.as_mut().zip(file) else { return self.kept };
        *fates.entry(file).or_insert_with(|| match self.random.below(2) {
            0 => self.random.below(2) * WHOLE,
            _ => self.random.below(WHOLE + 1),
        })
    }

    fn drops(&mut self, file: Option<u64>) -> bool {
        let kept = self.kept_of(file);
        self.random.below(4) >= kept
    }

    fn tears(&mut self, file: u64) -> bool {
        self.kept_of(Some(file)) < WHOLE && self.random.below(2) == 0
    }
}

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
