//! A disk in memory that keeps what the real one promises, and nothing more: what was not synced is lost with
//! the power, in any part and any order; calls fail when told to; space runs out.
//!
//! All files and directories share one list of changes that are not durable. A crash of the machine applies,
//! drops or tears each of them; a crash of the process leaves them all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io,
    ops::Range,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::{
    disk::{Disk, DiskFile, Mode},
    store::lock,
};

/// The unit in which space is taken, in bytes.
pub const BLOCK: u64 = 4096;
/// The unit in which a write is torn, in bytes.
pub const SECTOR: usize = 512;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with an I/O error. A sync loses what it should have made durable, though it can still be read.
    Io,
    /// The same, and after a sync the file reads as the disk has it.
    Evict,
    /// It fails for want of space, if it could need any.
    Full,
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process: all it wrote is there.
    Process,
    /// The machine. The number decides what is left of what was not synced.
    Machine(u64),
}

/// A simulated disk. Its clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    boot: u64,
    /// Counts crashes: what was opened or locked before one is dead.
    life: u64,
    locked: bool,
    calls: u64,
    faults: Vec<(Range<u64>, Fault)>,
    faults_hit: u64,
    dies_at: Option<u64>,
    short_writes: bool,
    /// Free blocks; none where there is no end of them.
    free: Option<u64>,
    last_file: u64,
    names: BTreeMap<String, Node>,
    files: BTreeMap<u64, Content>,
    durable_names: BTreeMap<String, Node>,
    durable_files: BTreeMap<u64, Vec<u8>>,
    pending: Vec<Pending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    blocks: BTreeSet<u64>,
}

/// A change that is not durable.
#[derive(Debug)]
enum Pending {
    Write { file: u64, offset: usize, data: Vec<u8> },
    SetLen { file: u64, len: usize },
    Name { dir: String, change: NameChange },
}

#[derive(Debug)]
enum NameChange {
    Add(String, Node),
    Remove(String),
    Rename(String, String),
}

impl SimDisk {
    /// An empty disk without end.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many calls were made that can fail.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Lets the calls with these numbers fail, counted as [`Self::calls`] counts them.
    pub fn fail(&self, calls: Range<u64>, fault: Fault) {
        self.state().faults.push((calls, fault));
    }

    /// Lets nothing be done from this call on, until [`Self::crash`].
    pub fn die_at(&self, call: u64) {
        self.state().dies_at = Some(call);
    }

    /// How many calls failed by a fault.
    pub fn faults_hit(&self) -> u64 {
        self.state().faults_hit
    }

    /// Forgets all faults to come.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.dies_at = None;
    }

    /// Lets every write take only a part of what it is given, if it is given more than a byte.
    pub fn write_short(&self, short: bool) {
        self.state().short_writes = short;
    }

    /// Says how many bytes are free; none for no end of them.
    pub fn set_free(&self, bytes: Option<u64>) {
        self.state().free = bytes.map(|bytes| bytes / BLOCK);
    }

    /// Ends the process or the machine. What was opened is dead, locks are released, faults are forgotten.
    pub fn crash(&self, crash: Crash) {
        let mut state = self.state();
        state.life += 1;
        state.locked = false;
        state.faults.clear();
        state.dies_at = None;
        if let Crash::Machine(seed) = crash {
            state.boot += 1;
            state.lose(&mut Random(seed));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Counts a call, and lets it fail if it must.
    fn call(&self, life: Option<u64>, grows: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.begin(life, grows)?;
        Ok(state)
    }

    fn rename_names(&self, dir: &str, change: NameChange) -> io::Result<()> {
        let mut state = self.call(None, false)?;
        let names = std::mem::take(&mut state.names);
        state.names = change.apply(names);
        state.pending.push(Pending::Name { dir: dir.to_owned(), change });
        Ok(())
    }
}

impl State {
    fn begin(&mut self, life: Option<u64>, grows: bool) -> io::Result<()> {
        let number = self.calls;
        self.calls += 1;
        if life.is_some_and(|life| life != self.life) || self.dies_at.is_some_and(|at| number >= at) {
            return Err(io::Error::other("the machine is dead"));
        }
        let error = match self.fault(number) {
            Some(Fault::Full) if grows => io::ErrorKind::StorageFull.into(),
            Some(Fault::Full) | None => return Ok(()),
            Some(Fault::Io | Fault::Evict) => io::Error::other("a simulated I/O error"),
        };
        self.faults_hit += 1;
        Err(error)
    }

    fn fault(&self, number: u64) -> Option<Fault> {
        self.faults.iter().find(|(calls, _)| calls.contains(&number)).map(|(_, fault)| *fault)
    }

    fn content(&mut self, file: u64) -> &mut Content {
        self.files.entry(file).or_default()
    }

    /// Takes space for a range of a file, from its start on as far as there is some; tells how many bytes of
    /// the range have it.
    fn allocate(&mut self, file: u64, offset: u64, len: u64) -> u64 {
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

    fn set_len(&mut self, file: u64, len: u64) {
        let content = self.content(file);
        content.bytes.resize(len as usize, 0);
        let freed = content.blocks.split_off(&len.div_ceil(BLOCK)).len() as u64;
        self.free = self.free.map(|free| free + freed);
        self.pending.push(Pending::SetLen { file, len: len as usize });
    }

    /// Gives back the space of files that have no name. Open ones keep their bytes.
    fn free_unnamed(&mut self) {
        let named: BTreeSet<u64> = self.names.values().filter_map(Node::file).collect();
        let unnamed = self.files.iter_mut().filter(|(file, _)| !named.contains(file));
        let freed: usize = unnamed.map(|(_, content)| std::mem::take(&mut content.blocks).len()).sum();
        self.free = self.free.map(|free| free + freed as u64);
    }

    fn sync_file(&mut self, file: u64) {
        let (of_file, rest) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| pending.is_of(file));
        self.pending = rest;
        self.settle(of_file, &mut None);
    }

    /// Makes changes durable: as they are, or by chance.
    fn settle(&mut self, changes: Vec<Pending>, random: &mut Option<&mut Random>) {
        for change in changes {
            let chance = random.as_mut().map_or(1, |random| random.below(3));
            match change {
                _ if chance == 0 => {}
                Pending::Write { file, offset, data } => {
                    let durable = self.durable_files.entry(file).or_default();
                    for (index, sector) in data.chunks(SECTOR).enumerate() {
                        let torn = chance == 2;
                        if !torn || random.as_mut().is_none_or(|random| random.below(2) == 0) {
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
    fn lose(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        self.settle(pending, &mut Some(random));
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

    fn has_dir(&self, path: &str) -> bool {
        path.is_empty() || self.names.get(path) == Some(&Node::Dir)
    }

    fn children<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.names.keys().map(String::as_str);
        names.filter(move |path| path.rsplit_once('/').map_or("", |(parent, _)| parent) == dir)
    }
}

impl Node {
    fn file(&self) -> Option<u64> {
        match self {
            Self::File(file) => Some(*file),
            Self::Dir => None,
        }
    }
}

impl Pending {
    fn is_of(&self, wanted: u64) -> bool {
        match self {
            Self::Write { file, .. } | Self::SetLen { file, .. } => *file == wanted,
            Self::Name { .. } => false,
        }
    }
}

impl NameChange {
    fn apply(&self, mut names: BTreeMap<String, Node>) -> BTreeMap<String, Node> {
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

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Disk for SimDisk {
    fn lock(&self, _create: bool) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { disk: self.clone(), life: state.life }))
    }

    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.call(None, mode == Mode::Create)?;
        let file = match (state.names.get(path).copied(), mode) {
            (Some(Node::File(file)), _) => file,
            (Some(Node::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (None, Mode::Create) if state.has_dir(parent(path)) => {
                state.last_file += 1;
                let file = state.last_file;
                let change = NameChange::Add(path.to_owned(), Node::File(file));
                state.names.insert(path.to_owned(), Node::File(file));
                state.durable_files.entry(file).or_default();
                state.pending.push(Pending::Name { dir: parent(path).to_owned(), change });
                file
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(SimFile { disk: self.clone(), life: state.life, file }))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        if self.state().names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename_names(parent(path), NameChange::Add(path.to_owned(), Node::Dir))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.call(None, false)?;
        if !state.has_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_of = |pending: &Pending| matches!(pending, Pending::Name { dir, .. } if dir == path);
        let (of_dir, rest) = std::mem::take(&mut state.pending).into_iter().partition(is_of);
        state.pending = rest;
        state.settle(of_dir, &mut None);
        Ok(())
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        if !matches!(self.state().names.get(path), Some(Node::File(_))) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.rename_names(parent(path), NameChange::Remove(path.to_owned()))?;
        self.state().free_unnamed();
        Ok(())
    }

    fn rmdir(&self, path: &str) -> io::Result<()> {
        {
            let state = self.state();
            if !state.has_dir(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if state.children(path).next().is_some() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
        }
        self.rename_names(parent(path), NameChange::Remove(path.to_owned()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if !self.state().names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.rename_names(parent(to), NameChange::Rename(from.to_owned(), to.to_owned()))?;
        self.state().free_unnamed();
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let state = self.call(None, false)?;
        if !state.has_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(state.children(path).map(name).collect())
    }

    fn boot_id(&self) -> io::Result<String> {
        Ok(format!("boot {}", self.state().boot))
    }

    fn locate(&self, path: &str) -> PathBuf {
        PathBuf::from("/sim").join(path)
    }
}

#[derive(Debug)]
struct Lock {
    disk: SimDisk,
    life: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locked = false;
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    life: u64,
    file: u64,
}

impl SimFile {
    fn call(&self, grows: bool) -> io::Result<MutexGuard<'_, State>> {
        self.disk.call(Some(self.life), grows)
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.call(false)?;
        let bytes = &state.content(self.file).bytes;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.call(true)?;
        let wanted = if state.short_writes { data.len().div_ceil(2) } else { data.len() };
        let n = state.allocate(self.file, offset, wanted as u64) as usize;
        if n == 0 && wanted > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let data = data[..n].to_vec();
        write(&mut state.content(self.file).bytes, offset as usize, &data);
        state.pending.push(Pending::Write { file: self.file, offset: offset as usize, data });
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.fault(state.calls);
        let result = state.begin(Some(self.life), false);
        match (&result, fault) {
            (Ok(()), _) => state.sync_file(self.file),
            (Err(_), Some(Fault::Io | Fault::Evict)) => {
                state.pending.retain(|pending| !pending.is_of(self.file));
                if fault == Some(Fault::Evict) {
                    let bytes = state.durable_files.get(&self.file).cloned().unwrap_or_default();
                    state.content(self.file).bytes = bytes;
                }
            }
            _ => {}
        }
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(false)?.set_len(self.file, len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().content(self.file).bytes.len() as u64)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.call(true)?;
        if state.allocate(self.file, 0, len) < len {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if (state.content(self.file).bytes.len() as u64) < len {
            state.set_len(self.file, len);
        }
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
