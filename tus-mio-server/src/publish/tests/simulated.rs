//! A simulated directory, call by call: it ends at any of them, and a power cut leaves of what was not synced any part.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use tus_redb::sim::Crash;

use crate::publish::directory::{Calls, NewFile};

/// A file: what is in it, and what of that survives a power cut.
#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

type File = Arc<Mutex<Content>>;
type Names = BTreeMap<String, File>;

#[derive(Debug, Default)]
struct State {
    now: Names,
    /// The names as they were after each change since the last sync, the synced ones first.
    since_sync: Vec<Names>,
    calls: u64,
    dies_at: Option<u64>,
    links: bool,
}

/// The directory. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct SimCalls(Arc<Mutex<State>>);

fn dead() -> io::Error {
    io::Error::other("dead")
}

impl SimCalls {
    /// Where `links`, the file system knows no rename that replaces nothing.
    pub(super) fn new(links: bool) -> Self {
        let calls = Self::default();
        calls.state().links = links;
        calls.state().since_sync.push(Names::new());
        calls
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// One call.
    fn step(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls += 1;
        if state.dies_at.is_some_and(|at| state.calls > at) { Err(dead()) } else { Ok(state) }
    }

    /// How many calls were made.
    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// No call after so many is carried out.
    pub(super) fn die_at(&self, call: u64) {
        self.state().dies_at = Some(call);
    }

    /// Puts a file there, durably.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let content = Content { now: bytes.to_vec(), synced: bytes.to_vec() };
        let mut state = self.state();
        state.now.insert(name.into(), Arc::new(Mutex::new(content)));
        state.since_sync = vec![state.now.clone()];
    }

    /// Takes files away, as their user does.
    pub(super) fn take_away(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.now.retain(|_, file| file.lock().unwrap().now != bytes);
        state.since_sync = vec![state.now.clone()];
    }

    /// Ends the process, or the machine.
    pub(super) fn crash(&self, crash: Crash) {
        let mut state = self.state();
        state.dies_at = None;
        if let Crash::Machine(seed) = crash {
            // A directory's changes reach the disk in their order, some of them or all.
            let kept = seed as usize % state.since_sync.len();
            state.now = state.since_sync[kept].clone();
            for file in state.now.values() {
                let mut content = file.lock().unwrap();
                // Of a file's bytes any part, but for what was synced.
                let more = content.now.len() - content.synced.len();
                let kept = content.synced.len() + more * (seed as usize % 3) / 2;
                content.now.truncate(kept);
                content.synced = content.now.clone();
            }
        }
        state.since_sync = vec![state.now.clone()];
    }

    /// The names that are shown, with their contents.
    pub(super) fn published(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let shown = state.now.iter().filter(|(name, _)| !name.starts_with('.'));
        shown.map(|(name, file)| (name.clone(), file.lock().unwrap().now.clone())).collect()
    }

    /// Whether a file is left that was being made.
    pub(super) fn has_hidden(&self) -> bool {
        self.state().now.keys().any(|name| name.starts_with('.'))
    }
}

impl State {
    fn changed(&mut self) {
        self.since_sync.push(self.now.clone());
    }
}

impl Calls for SimCalls {
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let mut state = self.step()?;
        if state.now.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = File::default();
        state.now.insert(name.into(), file.clone());
        state.changed();
        Ok(Box::new(SimFile { calls: self.clone(), file }))
    }

    fn link_other(&self, _: &Path, _: u64, _: &str) -> io::Result<bool> {
        drop(self.step()?);
        Ok(false)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.step()?;
        if state.links {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if state.now.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.now.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.now.insert(to.into(), file);
        state.changed();
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.step()?;
        if state.now.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.now.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        state.now.insert(to.into(), file);
        state.changed();
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.step()?;
        state.now.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.changed();
        Ok(())
    }

    fn identity(&self, name: &str) -> io::Result<Option<(u64, u64)>> {
        let state = self.step()?;
        Ok(state.now.get(name).map(|file| (0, Arc::as_ptr(file) as u64)))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.step()?;
        state.since_sync = vec![state.now.clone()];
        Ok(())
    }
}

struct SimFile {
    calls: SimCalls,
    file: File,
}

impl NewFile for SimFile {
    fn set_group(&mut self, _: u32) -> io::Result<()> {
        self.calls.step().map(drop)
    }

    fn set_mode(&mut self, _: u32) -> io::Result<()> {
        self.calls.step().map(drop)
    }

    fn append_file(&mut self, _: &Path, _: u64) -> io::Result<u64> {
        Err(io::Error::other("files of a simulated disk"))
    }

    fn append(&mut self, bytes: &mut dyn Read) -> io::Result<u64> {
        let mut content = Vec::new();
        bytes.read_to_end(&mut content)?;
        for half in content.chunks(content.len().div_ceil(2).max(1)) {
            drop(self.calls.step()?);
            self.file.lock().unwrap().now.extend(half);
        }
        Ok(content.len() as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        drop(self.calls.step()?);
        let mut content = self.file.lock().unwrap();
        content.synced = content.now.clone();
        Ok(())
    }
}
