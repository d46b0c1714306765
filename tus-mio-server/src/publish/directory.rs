//! The directory that uploads are published in: how a file is made there and gets its name, as a sequence of system calls.
//! The calls are a trait, so that tests put a simulated file system in its place and cut the power after any of them.

use std::{
    fmt::Debug,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// An upload's bytes.
pub(crate) enum Bytes {
    /// The first bytes of each of these files, in order.
    Files(Vec<(PathBuf, u64)>),
    /// What can be read here.
    Reader(Box<dyn Read>),
}

/// The system calls on one directory: [`System`](super::system::System), or a simulation. Names are of files in it.
pub(crate) trait Calls: Debug + Send + Sync {
    /// Makes a file that only its owner may read and write; fails with [`io::ErrorKind::AlreadyExists`] where the name is
    /// taken.
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>>;

    /// Gives a file of another directory one more name here, if it has this length; `false` if that can't be.
    fn link_other(&self, path: &Path, length: u64, name: &str) -> io::Result<bool>;

    /// Renames a file; fails with [`io::ErrorKind::AlreadyExists`] where something has the new name, and with
    /// [`io::ErrorKind::Unsupported`] or [`io::ErrorKind::InvalidInput`] where the file system can't do that.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file one more name; fails with [`io::ErrorKind::AlreadyExists`] where that is taken.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name.
    fn unlink(&self, name: &str) -> io::Result<()>;

    /// Which file has this name, if any.
    fn identity(&self, name: &str) -> io::Result<Option<(u64, u64)>>;

    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is being made.
pub(crate) trait NewFile {
    /// Sets its group.
    fn set_group(&mut self, group: u32) -> io::Result<()>;

    /// Sets its permissions.
    fn set_mode(&mut self, mode: u32) -> io::Result<()>;

    /// Appends the first bytes of another file, sharing them where the file system can. Returns how many.
    fn append_file(&mut self, path: &Path, length: u64) -> io::Result<u64>;

    /// Appends what can be read. Returns how many bytes.
    fn append(&mut self, bytes: &mut dyn Read) -> io::Result<u64>;

    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory with files that are being made, under names that begin with a dot, and such that are published.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) calls: Box<dyn Calls>,
    /// The permissions of files that are copied.
    pub(crate) mode: u32,
    /// Their group.
    pub(crate) group: Option<u32>,
    /// Whether files are linked where they can be.
    pub(crate) link: bool,
}

impl Directory {
    /// Makes a file of `bytes`, in place of one that has its name, and makes what is in it durable, but not its name.
    /// Returns how many bytes it has.
    pub(crate) fn fill(&self, name: &str, bytes: Bytes) -> io::Result<u64> {
        self.remove(name)?;
        // All bytes must lie in one file.
        if let (true, Bytes::Files(files)) = (self.link, &bytes)
            && let [(path, length)] = files.as_slice()
            && self.calls.link_other(path, *length, name)?
        {
            return Ok(*length);
        }
        let mut file = self.calls.create(name)?;
        // The group first: a change of owners may take away what the mode allows.
        if let Some(group) = self.group {
            file.set_group(group)?;
        }
        file.set_mode(self.mode)?;
        let mut copied = 0;
        match bytes {
            Bytes::Files(files) => {
                for (path, length) in files {
                    copied += file.append_file(&path, length)?;
                }
            }
            Bytes::Reader(mut reader) => copied = file.append(&mut *reader)?,
        }
        file.sync()?;
        Ok(copied)
    }

    /// Makes the names durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.calls.sync()
    }

    /// Gives a file a name that nothing else has; fails with [`io::ErrorKind::AlreadyExists`] where something has. At no
    /// moment is the name there without the whole file; the old name may stay, too, when it is cut short.
    pub(crate) fn place(&self, from: &str, to: &str) -> io::Result<()> {
        match self.calls.rename(from, to) {
            // Not every file system can.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) =>
            {
                self.calls.link(from, to)?;
                self.calls.unlink(from)
            }
            renamed => renamed,
        }
    }

    /// Whether something has this name.
    pub(crate) fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.calls.identity(name)?.is_some())
    }

    /// Whether two names are there and are one file's.
    pub(crate) fn are_one(&self, name: &str, other: &str) -> io::Result<bool> {
        let one = self.calls.identity(name)?;
        Ok(one.is_some() && one == self.calls.identity(other)?)
    }

    /// Removes a name, if it is there.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match self.calls.unlink(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}
