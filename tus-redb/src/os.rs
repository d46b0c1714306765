//! The disk of the operating system.

use std::{
    fmt::Debug,
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FallocateFlags, fallocate};
#[cfg(target_os = "linux")]
use rustix::{fs::copy_file_range, io::Errno};

#[cfg(target_os = "linux")]
use crate::disk::copy_through_memory;
use crate::disk::{Disk, DiskFile, Mode, accept, write_all};

/// A directory of the operating system's. What is made in it only its owner can read.
#[derive(Debug)]
pub struct OsDisk {
    dir: PathBuf,
}

impl OsDisk {
    /// The directory at `dir`, which need not be there yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }
}

/// The lock stands on a file of its own: redb's file is renamed and reopened beneath it.
const LOCK: &str = "lock";

impl Disk for OsDisk {
    fn lock(&self, create: bool) -> io::Result<Box<dyn Debug + Send + Sync>> {
        if create && !self.dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            // Best effort: the parent may be one that we may enter but not read.
            let parent = self.dir.parent().filter(|p| !p.as_os_str().is_empty());
            let _ = File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .open(self.locate(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(mode == Mode::Create)
            .truncate(false)
            .mode(0o600)
            .open(self.locate(path))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(self.locate(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.locate(path))?.sync_all()
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.locate(path))
    }

    fn rmdir(&self, path: &str) -> io::Result<()> {
        std::fs::remove_dir(self.locate(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.locate(from), self.locate(to))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(self.locate(path))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn boot_id(&self) -> io::Result<String> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(id.trim().to_owned())
    }

    fn locate(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.dir.clone() } else { self.dir.join(path) }
    }
}

#[derive(Debug)]
struct OsFile(File);

/// The most that one system call is asked to copy, in bytes.
#[cfg(target_os = "linux")]
const COPY_MAX: usize = 1 << 30;

impl DiskFile for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(&self.0, data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, len).map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => fill(self, len),
            other => accept(other, io::ErrorKind::Interrupted),
        }
    }

    #[cfg(target_os = "linux")]
    fn copy_from(&self, other: &dyn DiskFile, position: u64, at: u64, len: u64) -> io::Result<u64> {
        let Some(fd) = other.fd() else { return copy_through_memory(self, other, position, at, len) };
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(COPY_MAX);
        loop {
            // File systems that can, let the files share the bytes; some can't do even the copy.
            match copy_file_range(fd, Some(&mut { position }), &self.0, Some(&mut { at }), len) {
                Ok(n) => return Ok(n as u64),
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    return copy_through_memory(self, other, position, at, len as u64);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// Sets space aside the slow way, by writing, on a file system that can do no better.
fn fill(file: &OsFile, len: u64) -> io::Result<()> {
    static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut at = file.len()?;
    while at < len {
        let n = (len - at).min(BLOCK.len() as u64);
        let block = BLOCK.get(..n as usize).unwrap_or(&BLOCK);
        write_all(file, block, at).map_err(|(_, error)| error)?;
        at += n;
    }
    Ok(())
}
