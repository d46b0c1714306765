//! The seam between the store and the disk: a handful of calls, under the data files, the log, the reserve
//! and redb's own file at once, so that a simulated disk can stand in for all of them.

pub(crate) mod os;

use std::{
    fmt::Debug,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, Read},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use rustix::io::Errno;

/// The directory that contains the directories of data files.
pub(crate) const DATA: &str = "data";

/// How [`Disk::open`] treats a name that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is an error, [`io::ErrorKind::NotFound`].
    Existing,
    /// An empty file is made; one that is there is opened as it is.
    Create,
}

/// A directory for a store to live in. Paths are relative to it, with `/` between names; the directory itself
/// is the empty path.
///
/// What a call has changed is seen by every later call; it survives a power cut only after
/// [`DiskFile::sync_data`] of the file and [`Disk::sync_dir`] of the directory its name stands in.
pub trait Disk: Debug + Send + Sync {
    /// Locks the directory against other processes for as long as the returned value lives; with `create`,
    /// makes it first. Fails with [`io::ErrorKind::WouldBlock`] where another holds it.
    fn lock(&self, create: bool) -> io::Result<Box<dyn Debug + Send + Sync>>;

    /// Opens a file for reading and writing.
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn DiskFile>>;

    /// Brings a file from outside in under a name that is free, and returns whether the two are one file now. Else it is
    /// a copy. Neither its bytes nor its name are durable.
    fn bring_in(&self, source: &Path, path: &str) -> io::Result<bool> {
        let mut from = File::open(source)?;
        let to = self.open(path, Mode::Create)?;
        to.set_len(0)?;
        let (mut buffer, mut at) = (vec![0; COPY], 0);
        loop {
            let n = from.read(&mut buffer)?;
            if n == 0 {
                return Ok(false);
            }
            write_all(&*to, buffer.get(..n).unwrap_or_default(), at).map_err(|(_, error)| error)?;
            at += n as u64;
        }
    }

    /// Makes a directory in one that is there.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Makes the bytes and lengths of all these files durable with one call, if that is cheaper than syncing each,
    /// and if a failure to write any of them that nobody was told of yet would show. Returns whether it did. After a
    /// failure each is to be synced for itself, to learn which are lost.
    fn sync_together(&self, files: &[&dyn DiskFile]) -> io::Result<bool> {
        let _ = files;
        Ok(false)
    }

    /// Removes a file's name. Open files stay usable.
    fn unlink(&self, path: &str) -> io::Result<()>;

    /// Removes an empty directory.
    fn rmdir(&self, path: &str) -> io::Result<()>;

    /// Gives a file another name, in place of the file that may have had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// The names in a directory, in no order.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// A name for the time since the machine started: while it stays the same, what was written is there,
    /// synced or not.
    fn boot_id(&self) -> io::Result<String>;

    /// A number that nobody can foresee.
    fn random(&self) -> u64 {
        RandomState::new().hash_one(self.uptime())
    }

    /// How many bytes more files can take. `None` if that is not known.
    fn free(&self) -> Option<u64> {
        None
    }

    /// The time since some moment, for pauses; a simulated disk has its own.
    fn uptime(&self) -> Duration {
        static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGIN.elapsed()
    }

    /// Whether no file has this name. False where that can't be told.
    fn is_missing(&self, path: &str) -> bool {
        self.open(path, Mode::Existing).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// The path as the operator knows it.
    fn locate(&self, path: &str) -> PathBuf;
}

/// An open file. Calls may be made from several threads at once.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads at most `buf.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at least one byte of `data`, if it has any, at `offset`; tells how many.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the file's bytes and length durable. After a failure what was not yet durable counts as lost,
    /// though it may still be read, and though a later call may succeed.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or lengthens it by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length, in bytes.
    fn len(&self) -> io::Result<u64>;

    /// How many bytes of the disk it takes up: fewer than its length where it has holes.
    fn occupied(&self) -> io::Result<u64> {
        self.len()
    }

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the file at least `len` bytes long, and has their space set aside.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// [`Self::preallocate`], where that writes nothing; elsewhere it does nothing.
    fn claim(&self, len: u64) -> io::Result<()> {
        self.preallocate(len)
    }

    /// Copies at most `len` bytes that are at `position` of another file of the disk to `at` in this one, or lets
    /// both share them; tells how many. 0 at the end of the other file.
    fn copy_from(&self, other: &dyn DiskFile, position: u64, at: u64, len: u64) -> io::Result<u64> {
        copy_through_memory(self, other, position, at, len)
    }

    /// The file for system calls that take one, such as `splice`; `None` if there is no such thing.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// How much is copied through memory at once, in bytes.
const COPY: usize = 256 << 10;

/// [`DiskFile::copy_from`] where there is nothing better.
pub(crate) fn copy_through_memory(
    file: &(impl DiskFile + ?Sized),
    other: &dyn DiskFile,
    position: u64,
    at: u64,
    len: u64,
) -> io::Result<u64> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(COPY).min(COPY)];
    let n = read(other, &mut buffer, position)?;
    write_all(file, buffer.get(..n).unwrap_or_default(), at).map_err(|(_, error)| error)?;
    Ok(n as u64)
}

fn read(file: &(impl DiskFile + ?Sized), buf: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buf, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Fills `buf` from `offset`, or fails with [`io::ErrorKind::UnexpectedEof`].
pub(crate) fn read_exact(file: &dyn DiskFile, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match read(file, buf, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                buf = &mut buf[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

/// Writes all of `data` at `offset`, or tells with the error how many bytes were written.
pub(crate) fn write_all(
    file: &(impl DiskFile + ?Sized),
    data: &[u8],
    offset: u64,
) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < data.len() {
        match file.write_at(&data[written..], offset + written as u64) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Whether an error says that the disk, or the owner's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Whether an error says that the process, or the system, has no descriptor left for another file.
pub(crate) fn lacks_descriptors(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    lacks.contains(&error.raw_os_error())
}

/// `result`, or success where the error was only that it is so already.
pub(crate) fn accept(result: io::Result<()>, kind: io::ErrorKind) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        other => other,
    }
}
