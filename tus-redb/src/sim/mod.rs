//! A disk in memory that keeps what the real one promises, and nothing more: what was not synced is lost with
//! the power, in any part and any order; calls fail when told to; space runs out.
//!
//! All files and directories share one list of changes that are not durable. A crash of the machine applies,
//! drops or tears each of them; a crash of the process leaves them all.

use std::{
    fmt::Debug,
    io,
    ops::Range,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

mod state;

use self::state::{NameChange, Node, Pending, Random, State, write};
use crate::{
    disk::{Disk, DiskFile, Mode},
    mutex::lock,
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

/// A simulated disk. Its clones are the same disk. One that has locked it dies with the next crash, as the process
/// does that has opened it.
#[derive(Debug, Default)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
    life: OnceLock<u64>,
}

impl Clone for SimDisk {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), life: OnceLock::new() }
    }
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

    /// How many bytes were read from and written to the files that stand now under names that begin so.
    pub fn traffic(&self, prefix: &str) -> u64 {
        let state = self.state();
        let named = state.names.iter().filter(|(name, _)| name.starts_with(prefix));
        named.filter_map(|(_, node)| state.traffic.get(&node.file()?)).sum()
    }

    /// Lets the calls with these numbers fail, counted as [`Self::calls`] counts them.
    pub fn fail(&self, calls: Range<u64>, fault: Fault) {
        self.state().faults.push((calls, fault));
    }

    /// Lets nothing be done from this call on, until [`Self::crash`].
    pub fn die_at(&self, call: u64) {
        self.state().dies_at = Some(call);
    }

    /// Whether a call found the machine dead since the last crash.
    pub fn has_died(&self) -> bool {
        self.state().died
    }

    /// Does something without failing and without counting, for who looks on from outside.
    pub fn aside<T>(&self, look: impl FnOnce() -> T) -> T {
        self.state().aside += 1;
        let seen = look();
        self.state().aside -= 1;
        seen
    }

    /// How many files are open, each as often as it is.
    pub fn open_files(&self) -> usize {
        self.state().open_files
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

    /// Lets at most so many files be open at once: another one, or a directory, can't be opened then. `None` for no limit.
    /// Is not counted as a fault of the disk.
    pub fn limit_open_files(&self, most: Option<usize>) {
        self.state().max_open_files = most;
    }

    /// Lets files with these names not be removed.
    pub fn keep(&self, names: &[&str]) {
        self.state().kept = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Lets space be set aside for no file, though some is free: so does a quota.
    pub fn refuse_claims(&self, refuse: bool) {
        self.state().refuse_claims = refuse;
    }

    /// Ends the process or the machine. What was opened is dead, locks are released, faults are forgotten.
    pub fn crash(&self, crash: Crash) {
        let mut state = self.state();
        state.life += 1;
        state.locked = false;
        state.faults.clear();
        state.dies_at = None;
        state.died = false;
        if let Crash::Machine(seed) = crash {
            state.boot += 1;
            state.lose(&mut Random(seed));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }

    /// Counts a call, and lets it fail if it must.
    fn call(&self, grows: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.begin(self.life.get().copied(), grows)?;
        Ok(state)
    }

    fn rename_names(&self, dir: &str, change: NameChange) -> io::Result<()> {
        let mut state = self.call(false)?;
        let names = std::mem::take(&mut state.names);
        state.names = change.apply(names);
        state.pending.push(Pending::Name { dir: dir.to_owned(), change });
        Ok(())
    }
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
        let life = *self.life.get_or_init(|| state.life);
        Ok(Box::new(Lock { disk: self.clone(), life }))
    }

    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.call(mode == Mode::Create)?;
        state.take_descriptor()?;
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
        state.open_files += 1;
        Ok(Arc::new(SimFile { disk: self.clone(), life: state.life, file }))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        if self.state().names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename_names(parent(path), NameChange::Add(path.to_owned(), Node::Dir))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.call(false)?;
        state.take_descriptor()?;
        if !state.has_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (of_dir, rest) = std::mem::take(&mut state.pending).into_iter().partition(|p| p.is_in(path));
        state.pending = rest;
        state.settle(of_dir, &mut None);
        Ok(())
    }

    fn sync_together(&self, files: &[&dyn DiskFile]) -> io::Result<bool> {
        if files.len() < 2 {
            return Ok(false);
        }
        // Where it fails, some file can't be written: which one, a sync of each tells.
        let mut state = self.call(false)?;
        state.sync_all();
        Ok(true)
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        if !matches!(self.state().names.get(path), Some(Node::File(_))) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.state().kept.iter().any(|kept| path.rsplit('/').next() == Some(kept)) {
            return Err(io::ErrorKind::PermissionDenied.into());
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
        let mut state = self.call(false)?;
        state.names.remove(path);
        let (inner, rest) = std::mem::take(&mut state.pending).into_iter().partition(|p| p.is_in(path));
        state.pending = rest;
        state.pending.push(Pending::RemoveDir { dir: parent(path).to_owned(), path: path.to_owned(), inner });
        Ok(())
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
        let state = self.call(false)?;
        state.take_descriptor()?;
        if !state.has_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(state.children(path).map(name).collect())
    }

    fn boot_id(&self) -> io::Result<String> {
        Ok(format!("boot {}", self.state().boot))
    }

    fn free(&self) -> Option<u64> {
        self.state().free.map(|blocks| blocks * BLOCK)
    }

    /// Each call takes a millisecond.
    fn random(&self) -> u64 {
        let mut state = self.state();
        state.drawn += 1;
        Random(state.drawn).below(u64::MAX)
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.calls())
    }

    fn is_missing(&self, path: &str) -> bool {
        !self.state().names.contains_key(path)
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

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().open_files -= 1;
    }
}

impl SimFile {
    fn call(&self, grows: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.state();
        state.begin(Some(self.life), grows)?;
        Ok(state)
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.call(false)?;
        let bytes = &state.content(self.file).bytes;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        *state.traffic.entry(self.file).or_default() += n as u64;
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
        *state.traffic.entry(self.file).or_default() += n as u64;
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
            (Err(_), Some(Fault::Io | Fault::Evict)) if !state.died => {
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

    fn occupied(&self) -> io::Result<u64> {
        Ok(self.disk.state().content(self.file).blocks.len() as u64 * BLOCK)
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

    fn claim(&self, len: u64) -> io::Result<()> {
        if self.disk.state().refuse_claims {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.preallocate(len)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
