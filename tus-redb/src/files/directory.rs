//! The directories of data files, some of whose new names are not durable yet.
//!
//! Files are put into directories in the order of their creation, so that files made together share a directory, and one sync of
//! it makes all their names durable.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    disk::{DATA, Disk, DiskFile, Mode, accept},
    files::file_id::FileId,
    mutex::lock,
};

/// The data files of a store.
#[derive(Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    epoch: u32,
    next: AtomicU64,
    /// Directories that hold names which are not durable.
    unsynced: Mutex<BTreeSet<String>>,
    /// Held while they are synced: a caller that finds none left must not return before a sync under way has ended.
    syncing: Mutex<()>,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>, epoch: u32) -> Self {
        Self { disk, epoch, next: AtomicU64::new(0), unsynced: Mutex::default(), syncing: Mutex::default() }
    }

    /// An id that was never used before; `None` once there are no more.
    pub(crate) fn new_id(&self) -> Option<FileId> {
        let first = self.first().0;
        let advance = |count: u64| first.checked_add(count).and(count.checked_add(1));
        let count = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance).ok()?;
        Some(FileId(first + count))
    }

    /// The first id of this opening: all that were given out before are below it.
    pub(crate) fn first(&self) -> FileId {
        FileId::new(self.epoch, 0)
    }

    /// Gives out no id below this count any more.
    #[cfg(test)]
    pub(crate) fn skip_to(&self, count: u64) {
        self.next.store(count, Ordering::Relaxed);
    }

    /// The number of this opening.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many ids were given out.
    pub(crate) fn count(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Opens a file of which bytes are committed: it is there, and its name is durable.
    pub(crate) fn open(&self, id: FileId) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&id.path(), Mode::Existing)
    }

    /// Whether a file is not there.
    pub(crate) fn is_missing(&self, id: FileId) -> bool {
        self.disk.is_missing(&id.path())
    }

    /// Opens a file of which nothing is committed: it may be there, and then too its name may not be durable.
    pub(crate) fn create(&self, id: FileId) -> io::Result<Arc<dyn DiskFile>> {
        self.make(id, || self.disk.open(&id.path(), Mode::Create))
    }

    /// Brings the file at `source` in as a data file that is not there: see [`Disk::bring_in`].
    pub(crate) fn bring_in(&self, id: FileId, source: &Path) -> io::Result<bool> {
        self.make(id, || self.disk.bring_in(source, &id.path()))
    }

    fn make<T>(&self, id: FileId, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
        // The directory may be missing, and a reclaim may take it away again between two steps of ours.
        for _ in 0..8 {
            match make() {
                Ok(made) => {
                    self.renew(id);
                    return Ok(made);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    accept(self.disk.create_dir(&id.dir()), io::ErrorKind::AlreadyExists)?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// [`Disk::sync_together`].
    pub(crate) fn sync_together(&self, files: &[&dyn DiskFile]) -> io::Result<bool> {
        self.disk.sync_together(files)
    }

    /// Notes that the file's name may not be durable, nor its directory's.
    pub(crate) fn renew(&self, id: FileId) {
        self.renew_dir(id.dir());
        self.renew_dir(DATA.to_owned());
    }

    /// Notes that names in this directory may not be durable.
    pub(crate) fn renew_dir(&self, dir: String) {
        lock(&self.unsynced).insert(dir);
    }

    /// Makes all names durable. Those of directories that fail are tried again with the next call: a file
    /// system keeps changed names until they are written, unlike the bytes of files.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        let _syncing = lock(&self.syncing);
        let mut dirs = std::mem::take(&mut *lock(&self.unsynced));
        while let Some(dir) = dirs.pop_first() {
            // One that is gone has nothing to lose.
            let synced = accept(
                mutation!("names-not-synced", self.disk.sync_dir(&dir), Ok(())),
                io::ErrorKind::NotFound,
            );
            if let Err(error) = synced {
                dirs.insert(dir);
                lock(&self.unsynced).append(&mut dirs);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes a file, and its directory with the last one in it. Either may be gone already. Durable after
    /// [`Self::sync_names`].
    pub(crate) fn remove(&self, id: FileId) -> io::Result<()> {
        accept(self.disk.unlink(&id.path()), io::ErrorKind::NotFound)?;
        self.renew(id);
        let emptied = self.disk.rmdir(&id.dir());
        let emptied = accept(emptied, io::ErrorKind::NotFound);
        accept(emptied, io::ErrorKind::DirectoryNotEmpty)
    }
}
