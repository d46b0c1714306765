//! The operating system's calls on the directory that uploads are published in.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

#[cfg(target_os = "linux")]
use rustix::fs::{RenameFlags, renameat_with};
use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, OFlags, fchmod, fchown, fsync, linkat, open, openat, statat, unlinkat},
    io::Errno,
};

use super::directory::{Calls, NewFile};

/// A directory by its path.
#[derive(Debug)]
pub(crate) struct System(pub(crate) PathBuf);

impl System {
    /// Opened anew each time: something may be mounted there meanwhile.
    fn open(&self) -> io::Result<OwnedFd> {
        Ok(open(&self.0, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }
}

impl Calls for System {
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Box::new(File::from(openat(self.open()?, name, flags, Mode::RUSR | Mode::WUSR)?)))
    }

    fn link_other(&self, path: &Path, length: u64, name: &str) -> io::Result<bool> {
        if std::fs::metadata(path)?.len() != length {
            return Ok(false);
        }
        match linkat(CWD, path, self.open()?, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Err(io::ErrorKind::NotFound.into()),
            // On another file system, or linked too often: it is copied.
            Err(_) => Ok(false),
        }
    }

    #[cfg(target_os = "linux")]
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let dir = self.open()?;
        Ok(renameat_with(&dir, from, &dir, to, RenameFlags::NOREPLACE)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let dir = self.open()?;
        Ok(linkat(&dir, from, &dir, to, AtFlags::empty())?)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(self.open()?, name, AtFlags::empty())?)
    }

    fn identity(&self, name: &str) -> io::Result<Option<(u64, u64)>> {
        match statat(self.open()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fsync(self.open()?)?)
    }
}

impl NewFile for File {
    fn set_group(&mut self, group: u32) -> io::Result<()> {
        Ok(fchown(&*self, None, Some(Gid::from_raw(group)))?)
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        Ok(fchmod(&*self, Mode::from_raw_mode(mode))?)
    }

    /// By `copy_file_range`, which lets files share their bytes where the file system can.
    fn append_file(&mut self, path: &Path, length: u64) -> io::Result<u64> {
        io::copy(&mut File::open(path)?.take(length), self)
    }

    fn append(&mut self, bytes: &mut dyn Read) -> io::Result<u64> {
        io::copy(bytes, self)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
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
