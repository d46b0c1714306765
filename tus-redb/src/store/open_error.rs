//! Why a store could not be opened: whether the disk, the file's contents, or another process is the cause.

use std::io;

use redb::DatabaseError;
use tus_proto::Failure;

use crate::{
    disk::Disk,
    error::{Error, OpenError},
};

/// Why the records could not be opened.
pub(super) enum Unopened {
    Io(io::Error),
    Redb(DatabaseError),
    Error(Error),
    UnknownFormat(String),
    ForeignJournal,
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DatabaseError> for Unopened {
    fn from(error: DatabaseError) -> Self {
        Self::Redb(error)
    }
}

impl From<Error> for Unopened {
    fn from(trouble: Error) -> Self {
        Self::Error(trouble)
    }
}

/// Makes an [`OpenError`] of what went wrong: it names the store's directory.
pub(super) struct Fault<'a>(pub(super) &'a dyn Disk);

impl Fault<'_> {
    fn dir(&self) -> std::path::PathBuf {
        self.0.locate("")
    }

    pub(super) fn missing(&self) -> OpenError {
        OpenError::Missing { dir: self.dir() }
    }

    pub(super) fn io(&self, source: io::Error) -> OpenError {
        let dir = self.dir();
        match source.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse { dir },
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotFound => OpenError::NotWritable { dir, source },
            _ => OpenError::Io { dir, source },
        }
    }

    pub(super) fn redb(&self, error: DatabaseError) -> OpenError {
        let dir = self.dir();
        match error {
            DatabaseError::UpgradeRequired(version) => {
                OpenError::UnknownFormat { dir, found: format!("redb file format {version}") }
            }
            DatabaseError::Storage(redb::StorageError::Io(source))
                if source.kind() == io::ErrorKind::InvalidData =>
            {
                OpenError::Corrupt { dir, what: source.to_string() }
            }
            DatabaseError::Storage(redb::StorageError::Io(source)) => OpenError::Io { dir, source },
            other => OpenError::Corrupt { dir, what: other.to_string() },
        }
    }

    pub(super) fn database(&self, error: Unopened) -> OpenError {
        match error {
            Unopened::Io(source) => self.io(source),
            Unopened::Redb(error) => self.redb(error),
            Unopened::ForeignJournal => OpenError::ForeignJournal { dir: self.dir() },
            Unopened::UnknownFormat(found) => OpenError::UnknownFormat { dir: self.dir(), found },
            Unopened::Error(Error { failure, text, damaged: false }) => self.failure(failure, Some(text)),
            Unopened::Error(trouble) => OpenError::Corrupt { dir: self.dir(), what: trouble.text },
        }
    }

    pub(super) fn failure(&self, failure: Failure, text: Option<String>) -> OpenError {
        let kind = match failure {
            Failure::NoSpace => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        let text = text.unwrap_or_else(|| "no details".to_owned());
        OpenError::Io { dir: self.dir(), source: io::Error::new(kind, text) }
    }
}
