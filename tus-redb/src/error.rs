//! What can go wrong, and whose fault it is: never the client's. Callers get [`Failure`], which is what a
//! protocol can act on; the operator gets the text of it from [`Store::trouble`](crate::Store::trouble).

use std::{fmt, io, path::PathBuf};

use tus_proto::{Completion, Failure, Record};

use crate::disk::{is_full, lacks_descriptors};

/// Why a store could not be opened. Its text is one line that says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store in the directory, and none was to be made.
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory or a file in it can't be made, read or written by this user.
    NotWritable {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has the store open.
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The store was written by a version that this one does not understand.
    UnknownFormat {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        found: String,
    },
    /// The log does not continue the records: it is damaged, or of another store, or either was put in place of another.
    ForeignJournal {
        /// The directory.
        dir: PathBuf,
    },
    /// The records can't be read.
    Corrupt {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with them.
        what: String,
    },
    /// The machine does not tell when it was started, which eventual durability depends on.
    NoBootId {
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk failed, or is full.
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { dir } => {
                write!(f, "there is no store in {}: check the path of the data directory", dir.display())
            }
            Self::NotWritable { dir, source } => write!(
                f,
                "the data directory {} can't be used ({source}): \
                 make it a directory that this user owns, or choose another",
                dir.display()
            ),
            Self::InUse { dir } => write!(
                f,
                "the data directory {} is in use by another process: stop that one, or choose another directory",
                dir.display()
            ),
            Self::UnknownFormat { dir, found } => write!(
                f,
                "the store in {} has a format this version does not know ({found}): \
                 open it with the version that wrote it",
                dir.display()
            ),
            Self::ForeignJournal { dir } => write!(
                f,
                "the log in {} does not continue the records, or is damaged: put the one that belongs to them in its \
                 place, or repair the store, which keeps the changes before the damage and tells what is lost",
                dir.display()
            ),
            Self::Corrupt { dir, what } => write!(
                f,
                "the records in {} are damaged ({what}): restore the directory from a backup",
                dir.display()
            ),
            Self::NoBootId { source } => write!(
                f,
                "eventual durability needs /proc/sys/kernel/random/boot_id ({source}): use strict durability"
            ),
            Self::Io { dir, source } if is_full(source) => write!(
                f,
                "the disk of the data directory {} is full ({source}): free some space on it",
                dir.display()
            ),
            Self::Io { dir, source } => write!(
                f,
                "the disk of the data directory {} failed ({source}): check the disk, then try again",
                dir.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotWritable { source, .. } | Self::NoBootId { source } | Self::Io { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }
}

/// A [`Failure`] as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreError(pub Failure);

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        error.0
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(describe(self.0))
    }
}

impl std::error::Error for StoreError {}

fn describe(failure: Failure) -> &'static str {
    match failure {
        Failure::NoSpace => "the disk is full",
        Failure::Io => "the disk failed",
        Failure::Unavailable => "the store can't be reached, or lacks descriptors",
        Failure::Fenced => "another writer has the lock",
    }
}

/// Why an upload can't be appended to, or opened for reading. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// There is no such upload.
    Missing,
    /// It has expired lately, which is said to readers; to writers it is missing.
    Gone,
    /// It is there, as this record, but a data file with bytes of it is not any more.
    Lost(Box<Record>),
    /// The committed offset is this one, or the writer has lost its lock.
    Conflict {
        /// The committed offset.
        offset: u64,
    },
    /// The store can't: [`Failure::NoSpace`] also while only the reserve for commits and deletes is left.
    Failed(Failure),
}

impl From<Rejected> for Completion {
    fn from(refused: Rejected) -> Self {
        match refused {
            Rejected::Missing => Self::Missing,
            Rejected::Gone => Self::Gone,
            Rejected::Lost(record) => Self::Lost(*record),
            Rejected::Conflict { offset } => Self::Conflict { offset },
            Rejected::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such upload"),
            Self::Gone => f.write_str("the upload has expired"),
            Self::Lost(_) => f.write_str("a data file of the upload is not there any more"),
            Self::Conflict { offset } => {
                write!(f, "the committed offset is {offset}, or the writer lost its lock")
            }
            Self::Failed(failure) => f.write_str(describe(*failure)),
        }
    }
}

impl std::error::Error for Rejected {}

/// A write that did not take all bytes. Those it took are staged, and can be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteError {
    /// How many bytes it took.
    pub written: usize,
    /// Why not more.
    pub failure: Failure,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} bytes", describe(self.failure), self.written)
    }
}

impl std::error::Error for WriteError {}

/// Something below failed: what callers are told, and the text for the operator.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) failure: Failure,
    pub(crate) text: String,
    /// What was read makes no sense. Reading it again will not help.
    pub(crate) damaged: bool,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if mutation!("no-descriptors-is-io", lacks_descriptors(&error), false) {
            let text = format!("{error}: raise the limit of open files, or allow fewer connections");
            return Self { failure: Failure::Unavailable, text, damaged: false };
        }
        let failure = if is_full(&error) { Failure::NoSpace } else { Failure::Io };
        Self { failure, text: error.to_string(), damaged: false }
    }
}

impl From<redb::Error> for Error {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            other => Self { failure: Failure::Io, text: format!("records: {other}"), damaged: false },
        }
    }
}

impl Error {
    /// A record or journal entry that the store can't have written.
    pub(crate) fn damaged(what: &str) -> Self {
        Self { failure: Failure::Io, text: format!("damaged: {what}"), damaged: true }
    }
}

/// redb has an error type for each of its calls; all of them convert to its common one.
macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Error {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}
from_redb!(StorageError, TableError, TransactionError, CommitError, DatabaseError, SetDurabilityError);
