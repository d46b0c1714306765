//! redb's file, behind the seam. It knows two things redb does not: the reserve for a full disk, and that
//! after a failed sync what the file says is not what the disk holds.

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
    store::lock,
};

/// So many bytes are worth a sync of their own.
const MUCH: usize = 1 << 20;

/// The file of the records. It outlives the databases that are opened on it one after another.
#[derive(Debug)]
pub(crate) struct RecordsFile {
    file: Arc<dyn DiskFile>,
    reserve: Arc<Reserve>,
    unsynced: Mutex<Unsynced>,
    /// Held while it is synced: the system tells an error once, and who asks next must know of it.
    syncing: Mutex<()>,
    sealed: AtomicBool,
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
        let (unsynced, syncing) = (Mutex::default(), Mutex::default());
        Self { file, reserve, unsynced, syncing, sealed: AtomicBool::new(false) }
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

    fn check_sealed(&self) -> io::Result<()> {
        if self.sealed.load(Ordering::Acquire) {
            return Err(io::Error::other("the store is closed"));
        }
        Ok(())
    }
}

/// One database's hold on the file.
#[derive(Debug)]
pub(crate) struct Backend(pub(crate) Arc<RecordsFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_exact(&*self.0.file, out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.check_sealed()?;
        let grows = len > self.0.file.len()?;
        self.0.reserve.set_len(&*self.0.file, len)?;
        // redb opens no file of another length than those it sets. Before anything is written there, the new one
        // is durable: else a power cut could leave such a write, and with it a length between the two.
        if grows { self.sync_data() } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.check_sealed()?;
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.check_sealed()?;
        lock(&self.0.unsynced).ranges.push((offset, data.len()));
        self.0.reserve.write_all(&*self.0.file, data, offset)
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
}
