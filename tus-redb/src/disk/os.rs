//! The disk of the operating system.

#[cfg(target_os = "linux")]
use std::sync::OnceLock;
use std::{
    fmt::Debug,
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
#[cfg(target_os = "linux")]
use rustix::{fs::copy_file_range, io::Errno};

#[cfg(target_os = "linux")]
use crate::disk::copy_through_memory;
use crate::disk::{DATA, Disk, DiskFile, Mode, accept, write_all};

/// A directory of the operating system's. What is made in it only its owner can read.
#[derive(Debug)]
pub struct OsDisk {
    dir: PathBuf,
    file_mode: u32,
    dir_mode: u32,
    /// To sync the whole file system by, where that tells of failures since this was opened.
    #[cfg(target_os = "linux")]
    whole: OnceLock<Option<File>>,
}

impl OsDisk {
    /// The directory at `dir`, which need not be there yet.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            file_mode: OWN_FILE,
            dir_mode: OWN_DIR,
            #[cfg(target_os = "linux")]
            whole: OnceLock::new(),
        }
    }
}

impl OsDisk {
    /// The same, where data files and new directories have these permissions whatever the umask.
    pub fn with_modes(self, file_mode: u32, dir_mode: u32) -> Self {
        Self { file_mode, dir_mode, ..self }
    }

    fn mode_of(&self, path: &str) -> u32 {
        let is_data = path.strip_prefix(DATA).is_some_and(|rest| rest.starts_with('/'));
        if is_data { self.file_mode } else { OWN_FILE }
    }
}

/// Permissions of what is the owner's alone: the umask takes nothing of it.
const OWN_FILE: u32 = 0o600;
const OWN_DIR: u32 = 0o700;

/// The lock stands on a file of its own: redb's file is renamed and reopened beneath it.
const LOCK: &str = "lock";

impl Disk for OsDisk {
    fn lock(&self, create: bool) -> io::Result<Box<dyn Debug + Send + Sync>> {
        if create {
            // Best effort: a parent may be one that we may enter but not read.
            make_dir(&self.dir, self.dir_mode, |parent| {
                drop(File::open(parent).and_then(|dir| dir.sync_all()))
            })?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(OWN_FILE)
            .open(self.locate(LOCK))?;
        match file.try_lock() {
            Ok(()) => {
                // Before anything is written: failures from here on show.
                #[cfg(target_os = "linux")]
                self.whole.get_or_init(|| together::open(&self.dir));
                Ok(Box::new(file))
            }
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
            .mode(OWN_FILE)
            .open(self.locate(path))?;
        let wanted = self.mode_of(path);
        if mode == Mode::Create && wanted != OWN_FILE {
            file.set_permissions(Permissions::from_mode(wanted))?;
        }
        Ok(Arc::new(OsFile(file)))
    }

    fn bring_in(&self, source: &Path, path: &str) -> io::Result<bool> {
        // The system would link a symbolic link itself.
        let (source, target) = (fs::canonicalize(source)?, self.locate(path));
        match fs::hard_link(&source, &target) {
            // The other server may run as another user, whose files are not ours to go on with.
            Ok(()) if OpenOptions::new().read(true).write(true).open(&target).is_ok() => return Ok(true),
            Ok(()) => fs::remove_file(&target)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            // On another file system, by a user who may not link it, or linked too often.
            Err(_) => {}
        }
        let mut from = File::open(source)?;
        let mut to =
            OpenOptions::new().write(true).create(true).truncate(true).mode(OWN_FILE).open(target)?;
        // By `copy_file_range`, which lets both share the bytes where the file system can.
        io::copy(&mut from, &mut to)?;
        Ok(false)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        create_dir(&self.locate(path), self.dir_mode)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.locate(path))?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn sync_together(&self, files: &[&dyn DiskFile]) -> io::Result<bool> {
        match self.whole.get() {
            Some(Some(whole)) => together::sync(whole, files),
            _ => Ok(false),
        }
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.locate(path))
    }

    fn rmdir(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.locate(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.locate(from), self.locate(to))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.locate(path))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn boot_id(&self) -> io::Result<String> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(id.trim().to_owned())
    }

    fn free(&self) -> Option<u64> {
        let stat = statvfs(&self.dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn is_missing(&self, path: &str) -> bool {
        let found = fs::metadata(self.locate(path));
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    fn locate(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.dir.clone() } else { self.dir.join(path) }
    }
}

/// Makes a directory, and those above it that are missing. Passes each one whose names are new to `sync`, which makes
/// them durable.
fn make_dir(dir: &Path, mode: u32, mut sync: impl FnMut(&Path)) -> io::Result<()> {
    let missing: Vec<_> =
        dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).collect();
    for dir in missing.into_iter().rev() {
        accept(create_dir(dir, mode), io::ErrorKind::AlreadyExists)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(parent.unwrap_or(Path::new(".")));
    }
    Ok(())
}

fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(OWN_DIR).create(path)?;
    if mode == OWN_DIR { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(mode)) }
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

    #[cfg(unix)]
    fn occupied(&self) -> io::Result<u64> {
        // Always in these units, whatever the file system's blocks are.
        Ok(std::os::unix::fs::MetadataExt::blocks(&self.0.metadata()?).saturating_mul(512))
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        match set_aside(&self.0, len) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => fill(self, len),
            other => other,
        }
    }

    fn claim(&self, len: u64) -> io::Result<()> {
        accept(set_aside(&self.0, len), io::ErrorKind::Unsupported)
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

/// Many files synced by one call, `syncfs`. It writes what others have written to the file system as well: that is
/// cheaper from a number of files on.
#[cfg(target_os = "linux")]
mod together {
    use std::{fs, fs::File, io, path::Path};

    use rustix::fs::{fstat, fstatfs, syncfs};

    use crate::disk::DiskFile;

    /// From so many files on.
    const MANY: usize = 64;

    /// File systems on which a failure to write a file's bytes is the whole file system's too: ext4, XFS, F2FS.
    const KNOWN: [u64; 3] = [0xef53, 0x5846_5342, 0xf2f5_2010];

    /// Since this version of Linux the call tells of such failures (syncfs(2)).
    const SINCE: (u32, u32) = (5, 8);

    /// The file system of `dir`; `None` if its word is not enough.
    pub(crate) fn open(dir: &Path) -> Option<File> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
        let dir = File::open(dir).ok()?;
        let kind = u64::try_from(fstatfs(&dir).ok()?.f_type).ok()?;
        (version(&release)? >= SINCE && KNOWN.contains(&kind)).then_some(dir)
    }

    /// Syncs them, if they are many, and all on this file system.
    pub(crate) fn sync(whole: &File, files: &[&dyn DiskFile]) -> io::Result<bool> {
        if files.len() < MANY {
            return Ok(false);
        }
        let device = fstat(whole)?.st_dev;
        for file in files {
            let Some(fd) = file.fd() else { return Ok(false) };
            if fstat(fd)?.st_dev != device {
                return Ok(false);
            }
        }
        syncfs(whole)?;
        Ok(true)
    }

    fn version(release: &str) -> Option<(u32, u32)> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    #[cfg(test)]
    mod tests {
        #![allow(clippy::unwrap_used)]

        use std::sync::Arc;

        use super::*;
        use crate::disk::{Disk, Mode, os::OsDisk};

        #[test]
        fn a_release_begins_with_its_version() {
            assert_eq!(version("6.1.0-18-amd64\n"), Some((6, 1)));
            assert_eq!(version("5.10.209"), Some((5, 10)));
            assert!(version("5.7.19-generic").unwrap() < SINCE && version("10.0-rc1").unwrap() > SINCE);
            assert_eq!(version("unknown"), None);
        }

        #[test]
        fn many_files_are_synced_together_few_and_strange_ones_are_not() {
            let dir = tempfile::tempdir().unwrap();
            let disk = OsDisk::new(dir.path());
            let open = |name: usize| disk.open(&name.to_string(), Mode::Create).unwrap();
            let files: Vec<Arc<dyn DiskFile>> = (0..MANY).map(open).collect();
            let mut files: Vec<&dyn DiskFile> = files.iter().map(|file| &**file).collect();
            assert!(!disk.sync_together(&files).unwrap(), "the store is not open");
            let whole = File::open(dir.path()).unwrap();
            assert!(sync(&whole, &files).unwrap());
            assert!(!sync(&whole, &files[1..]).unwrap());
            let strange = OsDisk::new(Path::new("/dev")).open("null", Mode::Existing).unwrap();
            files.push(&*strange);
            assert!(!sync(&whole, &files).unwrap());
        }
    }
}

/// Sets space aside without writing.
fn set_aside(file: &File, len: u64) -> io::Result<()> {
    uninterrupted(|| Ok(fallocate(file, FallocateFlags::empty(), 0, len)?))
}

/// Repeats a call until no signal interrupts it: one that was interrupted has not done what it was asked.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_new_level_of_a_directory_is_synced_in_its_parent() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("one").join("two").join("three");
        let mut synced = Vec::new();
        make_dir(&dir, OWN_DIR, |parent| synced.push(parent.to_owned())).unwrap();
        assert!(dir.is_dir());
        let one = root.path().join("one");
        assert_eq!(synced, [root.path().to_owned(), one.clone(), one.join("two")]);
        make_dir(&dir, OWN_DIR, |parent| panic!("{parent:?} has no new name")).unwrap();
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut answers =
            [Err(io::ErrorKind::Interrupted), Err(io::ErrorKind::StorageFull), Ok(())].into_iter();
        let mut call = || answers.next().unwrap().map_err(io::Error::from);
        assert_eq!(uninterrupted(&mut call).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(uninterrupted(call).is_ok());
    }
}
