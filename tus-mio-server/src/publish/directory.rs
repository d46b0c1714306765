//! The directory that uploads are published in, as a handful of calls: so that tests can put a simulated one in its
//! place, and end it between any two.

use std::{
    fmt::Debug,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

#[cfg(target_os = "linux")]
use rustix::fs::{RenameFlags, renameat_with};
use rustix::{
    fs::{
        AtFlags, CWD, Gid, Mode, OFlags, Stat, fchmod, fchown, fsync, linkat, open, openat, statat, unlinkat,
    },
    io::Errno,
};

/// An upload's bytes.
pub(crate) enum Bytes {
    /// The first bytes of each of these files, in order.
    Files(Vec<(PathBuf, u64)>),
    /// What can be read here.
    Reader(Box<dyn Read>),
}

/// A directory with files that are being made, under names that begin with a dot, and such that are published.
pub(crate) trait Directory: Debug + Send + Sync {
    /// Makes a file of `bytes`, in place of one that has its name, and makes what is in it durable, but not its name.
    /// Returns how many bytes it has.
    fn fill(&self, name: &str, bytes: Bytes) -> io::Result<u64>;

    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;

    /// Gives a file a name that nothing else has; fails with [`io::ErrorKind::AlreadyExists`] where something has. At no
    /// moment is the name there without the whole file; the old name may stay, too, when it is cut short.
    fn place(&self, from: &str, to: &str) -> io::Result<()>;

    /// Whether something has this name.
    fn has(&self, name: &str) -> io::Result<bool>;

    /// Whether two names are there and are one file's.
    fn are_one(&self, name: &str, other: &str) -> io::Result<bool>;

    /// Removes a name, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A directory of the operating system's.
#[derive(Debug)]
pub(crate) struct OsDirectory {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    pub(crate) link: bool,
}

impl OsDirectory {
    /// Opened anew each time: something may be mounted there meanwhile.
    fn open(&self) -> io::Result<OwnedFd> {
        Ok(open(&self.path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match statat(self.open()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Links an upload's one data file, if it has one, all of which are the upload's bytes. Returns their number.
    fn link(&self, dir: &OwnedFd, name: &str, files: &[(PathBuf, u64)]) -> io::Result<Option<u64>> {
        let [(path, len)] = files else { return Ok(None) };
        if std::fs::metadata(path)?.len() != *len {
            return Ok(None);
        }
        match linkat(CWD, path, dir, name, AtFlags::empty()) {
            Ok(()) => Ok(Some(*len)),
            Err(Errno::NOENT) => Err(io::ErrorKind::NotFound.into()),
            // On another file system, or linked too often: it is copied.
            Err(_) => Ok(None),
        }
    }
}

impl Directory for OsDirectory {
    fn fill(&self, name: &str, bytes: Bytes) -> io::Result<u64> {
        let dir = self.open()?;
        self.remove(name)?;
        if let (true, Bytes::Files(files)) = (self.link, &bytes)
            && let Some(len) = self.link(&dir, name, files)?
        {
            return Ok(len);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&dir, name, flags, Mode::RUSR | Mode::WUSR)?);
        // The group first: a change of owners may take away what the mode allows.
        if let Some(group) = self.group {
            fchown(&file, None, Some(Gid::from_raw(group)))?;
        }
        fchmod(&file, Mode::from_raw_mode(self.mode))?;
        let copied = match bytes {
            Bytes::Files(files) => copy_files(&files, &mut file)?,
            Bytes::Reader(mut reader) => io::copy(&mut reader, &mut file)?,
        };
        file.sync_all()?;
        Ok(copied)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fsync(self.open()?)?)
    }

    fn place(&self, from: &str, to: &str) -> io::Result<()> {
        let dir = self.open()?;
        #[cfg(target_os = "linux")]
        match renameat_with(&dir, from, &dir, to, RenameFlags::NOREPLACE) {
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            other => return Ok(other?),
        }
        linkat(&dir, from, &dir, to, AtFlags::empty())?;
        Ok(unlinkat(&dir, from, AtFlags::empty())?)
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.stat(name)?.is_some())
    }

    fn are_one(&self, name: &str, other: &str) -> io::Result<bool> {
        let (Some(one), Some(two)) = (self.stat(name)?, self.stat(other)?) else { return Ok(false) };
        Ok((one.st_dev, one.st_ino) == (two.st_dev, two.st_ino))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(self.open()?, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Copies by `copy_file_range`, which lets files share their bytes where the file system can.
fn copy_files(files: &[(PathBuf, u64)], to: &mut File) -> io::Result<u64> {
    let mut copied = 0;
    for (path, len) in files {
        copied += io::copy(&mut File::open(path)?.take(*len), to)?;
    }
    Ok(copied)
}

/// The number of a group by its name or number.
pub(crate) fn group(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let file = Path::new("/etc/group");
    let groups = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut lines = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|fields| fields.first() == Some(&text));
    let number = found.and_then(|fields| fields.get(2)?.parse().ok());
    number.ok_or_else(|| {
        format!("there is no group {text:?} in /etc/group: name one of these, or write its number")
    })
}
