//! Why an upload is not found, or not as its writer knows it.

use std::fmt;

use tus_proto::{Completion, Failure, Record};

/// What is committed about an upload.
pub type Loaded = Result<Record, LookupError>;

/// A sink or a source.
pub type Opened<T> = Result<T, LookupError>;

/// Why an upload can't be read, written to or appended to. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no such upload.
    Missing,
    /// It has expired lately. Only readers get this; for writers it is `Missing`.
    Gone,
    /// It is there, as this record, but bytes of it are not any more: it can only be deleted.
    Lost(Box<Record>),
    /// The committed offset is this one, or the writer has lost its lock.
    Conflict {
        /// The committed offset.
        offset: u64,
    },
    /// The store could not do it.
    Failed(Failure),
}

impl From<Failure> for LookupError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<LookupError> for Completion {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Missing => Self::Missing,
            LookupError::Gone => Self::Gone,
            LookupError::Lost(record) => Self::Lost(*record),
            LookupError::Conflict { offset } => Self::Conflict { offset },
            LookupError::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such upload"),
            Self::Gone => f.write_str("the upload has expired"),
            Self::Lost(_) => f.write_str("bytes of the upload are not in the store any more"),
            Self::Conflict { offset } => {
                write!(f, "the upload's offset is {offset}, or another writer has its lock")
            }
            Self::Failed(failure) => write!(f, "the store failed: {failure:?}"),
        }
    }
}

impl std::error::Error for LookupError {}
