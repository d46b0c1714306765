//! redb's file, as the storage backend that redb calls. It knows three things redb does not: the reserve for a full disk; that
//! after a failed sync the file's content is not the disk's; and that commits need not wait for the syncs of a checkpoint.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::StorageBackend;

use crate::{
    disk::{DiskFile, read_exact, write_all},
    files::reserve::Reserve,
    mutex::lock,
    records::deferred::{Call, Deferred},
};

/// So many bytes are worth a sync of their own.
const MUCH: usize = 1 << 20;
/// So many bytes may wait for a sync in memory before further writes wait as well.
const DEFERRED: usize = 2 << 20;

/// The file of the records. It outlives the databases that are opened on it one after another.
#[derive(Debug)]
pub(crate) struct RecordsFile {
    file: Arc<dyn DiskFile>,
    reserve: Arc<Reserve>,
    unsynced: Mutex<Unsynced>,
    /// Held while it is synced: the system tells an error once, and who asks next must know of it.
    syncing: Mutex<()>,
    sealed: AtomicBool,
    /// What waits for a sync. Held while anything is written, so that each write is before or after a barrier.
    queue: Mutex<Queue>,
    /// Whether something waits, for readers.
    is_deferred: AtomicBool,
    /// Held by who carries out what waits.
    settling: Mutex<()>,
    /// What waited was dropped, as a sync or a write failed: the open database takes it for written, and may do nothing more.
    broken: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    deferred: Deferred,
    /// A checkpoint is being written: its syncs are barriers.
    defers: bool,
}

#[derive(Debug, Default)]
struct Unsynced {
    /// What was written since the last good sync: offsets and lengths.
    ranges: Vec<(u64, usize)>,
    /// A sync failed: the system may take these ranges for written, and they are not.
    suspect: bool,
}

impl RecordsFile {
    pub(crate) fn new(file: Arc<dyn DiskFile>, reserve: Arc<Reserve>) -> Self {
        Self {
            file,
            reserve,
            unsynced: Mutex::default(),
            syncing: Mutex::default(),
            sealed: AtomicBool::new(false),
            queue: Mutex::default(),
            is_deferred: AtomicBool::new(false),
            settling: Mutex::default(),
            broken: AtomicBool::new(false),
        }
    }

    /// How long the file is, in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// How many bytes of the disk the file takes up.
    pub(crate) fn occupied(&self) -> io::Result<u64> {
        self.file.occupied()
    }

    /// Lets nothing more be written: a database that is closed then can't make durable what must not be.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    /// Lets it be written again.
    pub(crate) fn unseal(&self) {
        self.sealed.store(false, Ordering::Release);
    }

    /// After a failed sync, before the file is believed again: writes what is suspect once more, as it reads
    /// now, and syncs it. Each range reads as its old or its new bytes, which is what redb can recover from;
    /// without this it might read the new ones, build on them, and lose them with the power. So with the length.
    pub(crate) fn repair(&self) -> io::Result<()> {
        self.rewrite_suspect()?;
        self.broken.store(false, Ordering::Release);
        Ok(())
    }

    fn rewrite_suspect(&self) -> io::Result<()> {
        let mut unsynced = lock(&self.unsynced);
        if !unsynced.suspect {
            return Ok(());
        }
        let len = self.file.len()?;
        self.file.set_len(len)?;
        for (offset, size) in &unsynced.ranges {
            let size = len.saturating_sub(*offset).min(*size as u64);
            let mut bytes = vec![0; size as usize];
            read_exact(&*self.file, &mut bytes, *offset)?;
            write_all(&*self.file, &bytes, *offset).map_err(|(_, error)| error)?;
        }
        self.file.sync_data()?;
        *unsynced = Unsynced::default();
        Ok(())
    }

    /// Makes durable what redb has written so far, if that is much, beside whatever it does: its own next sync, for which
    /// commits wait, has less left to do then. Where it fails, that one fails as well.
    pub(crate) fn sync_beside(&self) -> io::Result<()> {
        let written: usize = lock(&self.unsynced).ranges.iter().map(|(_, size)| size).sum();
        if written < MUCH { Ok(()) } else { self.sync() }
    }

    fn sync(&self) -> io::Result<()> {
        let _syncing = lock(&self.syncing);
        let synced = {
            let mut unsynced = lock(&self.unsynced);
            if unsynced.suspect {
                return Err(io::Error::other("the records could not be synced before"));
            }
            std::mem::take(&mut unsynced.ranges)
        };
        let result = self.file.sync_data();
        if result.is_err() {
            let mut unsynced = lock(&self.unsynced);
            unsynced.ranges.extend(synced);
            unsynced.suspect = true;
        }
        result
    }

    /// Commits without waiting for the disk: the syncs that `commit` asks for, and what is written after them, wait for
    /// [`Self::settle`]. For who holds the writer's lock.
    pub(crate) fn defer<T>(&self, commit: impl FnOnce() -> T) -> T {
        lock(&self.queue).defers = true;
        let result = commit();
        lock(&self.queue).defers = false;
        result
    }

    /// Carries out what waits, in order, with the syncs. Where one fails, the rest is dropped, as if it had never been
    /// written: the records must be opened anew, and have what the disk has then. Other calls go on meanwhile.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let _settling = lock(&self.settling);
        let settled = self.try_settle();
        if settled.is_err() {
            let mut queue = lock(&self.queue);
            self.broken.store(true, Ordering::Release);
            queue.deferred.clear();
            self.is_deferred.store(false, Ordering::Release);
        }
        settled.and_then(|()| self.check_broken())
    }

    fn try_settle(&self) -> io::Result<()> {
        loop {
            self.write_to_barrier()?;
            if !self.is_deferred.load(Ordering::Acquire) {
                return Ok(());
            }
            // It stays at the front meanwhile: so nothing overtakes it.
            mutation!("deferred-sync-forgotten", self.sync()?, ());
            lock(&self.queue).deferred.pop();
        }
    }

    /// Makes the calls up to the next barrier, or all.
    fn write_to_barrier(&self) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        loop {
            match queue.deferred.front() {
                None => {
                    self.is_deferred.store(false, Ordering::Release);
                    return Ok(());
                }
                Some(Call::Barrier) => return Ok(()),
                Some(Call::Write { offset, data }) => self.write_now(*offset, data)?,
                Some(Call::SetLen(len)) => self.reserve.set_len(&*self.file, *len)?,
            }
            queue.deferred.pop();
        }
    }

    fn write_now(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        lock(&self.unsynced).ranges.push((offset, data.len()));
        self.reserve.write_all(&*self.file, data, offset)
    }

    fn check_broken(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(io::Error::other("the records could not be written, and are not opened anew yet"));
        }
        Ok(())
    }

    fn check_sealed(&self) -> io::Result<()> {
        if self.sealed.load(Ordering::Acquire) {
            return Err(io::Error::other("the store is closed"));
        }
        self.check_broken()
    }
}

/// One database's hold on the file.
#[derive(Debug)]
pub(crate) struct Backend(pub(crate) Arc<RecordsFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.check_broken()?;
        let queue = lock(&self.0.queue);
        queue.deferred.len().map_or_else(|| self.0.file.len(), Ok)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.check_broken()?;
        if !self.0.is_deferred.load(Ordering::Acquire) {
            return read_exact(&*self.0.file, out, offset);
        }
        // Looked at first: what is written to the file meanwhile is in both.
        let (changes, len) = {
            let queue = lock(&self.0.queue);
            (queue.deferred.changes(offset, out.len()), queue.deferred.len())
        };
        let there = self.0.file.len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        let (old, new) = out.split_at_mut(if len.is_some() { there } else { out.len() });
        read_exact(&*self.0.file, old, offset)?;
        new.fill(0);
        for (at, bytes) in changes {
            out.iter_mut().skip(at).zip(bytes).for_each(|(out, byte)| *out = byte);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.check_sealed()?;
        let mut queue = lock(&self.0.queue);
        let before = queue.deferred.len().map_or_else(|| self.0.file.len(), Ok)?;
        // redb opens no file of another length than those it sets. Before anything is written there, the new one
        // is durable: else a power cut could leave such a write, and with it a length between the two.
        let grows = len > before;
        if !queue.deferred.is_empty() || (queue.defers && grows) {
            queue.deferred.set_len(len);
            if grows {
                queue.deferred.barrier();
            }
            self.0.is_deferred.store(true, Ordering::Release);
            return Ok(());
        }
        self.0.reserve.set_len(&*self.0.file, len)?;
        drop(queue);
        if grows { self.0.sync() } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.check_sealed()?;
        let mut queue = lock(&self.0.queue);
        if queue.defers || !queue.deferred.is_empty() {
            queue.deferred.barrier();
            self.0.is_deferred.store(true, Ordering::Release);
            return Ok(());
        }
        drop(queue);
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.check_sealed()?;
        let mut queue = lock(&self.0.queue);
        if queue.deferred.is_empty() {
            return self.0.write_now(offset, data);
        }
        queue.deferred.write(offset, data);
        let much = queue.deferred.bytes() > DEFERRED;
        drop(queue);
        if much { self.0.settle() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        disk::{Disk, Mode},
        sim::{Crash, Fault, SimDisk},
    };

    fn records(disk: &SimDisk) -> Arc<RecordsFile> {
        let reserve = Arc::new(Reserve::open(&(Arc::new(disk.clone()) as Arc<dyn Disk>), 0).unwrap());
        Arc::new(RecordsFile::new(disk.open("records", Mode::Create).unwrap(), reserve))
    }

    #[test]
    fn what_a_failed_sync_lost_is_written_once_more() {
        for fault in [Fault::Io, Fault::Evict] {
            let disk = SimDisk::new();
            let file = records(&disk);
            disk.sync_dir("").unwrap();
            let backend = Backend(file.clone());
            backend.write(0, b"old").unwrap();
            backend.sync_data().unwrap();
            backend.write(0, b"new").unwrap();
            let next = disk.calls();
            disk.fail(next..next + 1, fault);
            assert!(backend.sync_data().is_err());
            file.repair().unwrap();
            let mut seen = [0; 3];
            backend.read(0, &mut seen).unwrap();
            disk.crash(Crash::Machine(1));
            let mut left = [0; 3];
            Backend(records(&disk)).read(0, &mut left).unwrap();
            assert_eq!(left, seen, "{fault:?}");
        }
    }

    #[test]
    fn a_power_cut_leaves_no_length_that_was_not_set() {
        for seed in 0..64 {
            let disk = SimDisk::new();
            let file = records(&disk);
            disk.sync_dir("").unwrap();
            let backend = Backend(file);
            backend.set_len(4 * 4096).unwrap();
            backend.write(4096, &[7; 3000]).unwrap();
            disk.crash(Crash::Machine(seed));
            assert_eq!(records(&disk).file.len().unwrap(), 4 * 4096, "seed {seed}");
        }
    }

    /// What is read is what was written, and what a power cut leaves is what a database that waited would have left.
    #[test]
    fn nothing_overtakes_a_sync_that_is_waited_for_later() {
        for seed in 0..64 {
            let disk = SimDisk::new();
            let file = records(&disk);
            disk.sync_dir("").unwrap();
            let backend = Backend(file.clone());
            backend.set_len(64).unwrap();
            backend.write(0, b"old").unwrap();
            backend.sync_data().unwrap();
            backend.write(0, b"new").unwrap();
            file.defer(|| backend.sync_data()).unwrap();
            // After the commit, nobody says that the next ones are to wait.
            backend.write(3, b"flag").unwrap();
            backend.sync_data().unwrap();
            backend.set_len(128).unwrap();
            backend.write(100, b"more").unwrap();
            assert_eq!(backend.len().unwrap(), 128);
            let mut seen = [9; 104];
            backend.read(0, &mut seen).unwrap();
            assert_eq!((&seen[..8], &seen[98..]), (&b"newflag\0"[..], &b"\0\0more"[..]));
            if seed % 2 == 1 {
                file.settle().unwrap();
                let mut settled = [9; 104];
                backend.read(0, &mut settled).unwrap();
                assert_eq!(settled, seen);
            }
            disk.crash(Crash::Machine(seed));
            let left = records(&disk);
            let mut bytes = [0; 7];
            Backend(left.clone()).read(0, &mut bytes).unwrap();
            match seed % 2 {
                0 => assert_eq!((&bytes[3..], left.len().unwrap()), (&[0; 4][..], 64), "seed {seed}"),
                _ => assert_eq!((&bytes, left.len().unwrap()), (b"newflag", 128), "seed {seed}"),
            }
        }
    }

    #[test]
    fn where_a_sync_fails_what_waited_for_it_was_never_written() {
        for fault in [Fault::Io, Fault::Evict] {
            let disk = SimDisk::new();
            let file = records(&disk);
            let backend = Backend(file.clone());
            backend.write(0, b"old").unwrap();
            file.defer(|| backend.sync_data()).unwrap();
            backend.write(0, b"new").unwrap();
            let next = disk.calls();
            disk.fail(next..next + 1, fault);
            assert!(file.settle().is_err());
            let mut seen = [0; 3];
            assert!(backend.read(0, &mut seen).is_err() && backend.write(0, b"new").is_err());
            assert!(file.settle().is_err(), "it stays so until the records are opened anew");
            file.repair().unwrap();
            file.settle().unwrap();
            // Where the page was evicted nothing is there.
            assert_eq!(backend.read(0, &mut seen).is_ok(), fault == Fault::Io);
            assert!(fault == Fault::Evict || &seen == b"old");
        }
    }
}
