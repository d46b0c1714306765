//! What can be wrong with a store.

use std::{fmt, path::PathBuf};

use tus_proto::UploadId;

/// Something that is not as it should be. Its text is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A record can't be read.
    DamagedRecord {
        /// Whose.
        id: UploadId,
    },
    /// A data file with committed bytes is not there.
    MissingFile {
        /// Whose.
        id: UploadId,
        /// The file.
        path: PathBuf,
    },
    /// Committed bytes are missing at the end of a data file.
    ShortFile {
        /// Whose.
        id: UploadId,
        /// The file.
        path: PathBuf,
        /// How many bytes are committed.
        committed: u64,
        /// How many are there.
        there: u64,
    },
    /// Bytes lie in the records, and no upload has them there.
    StrayBytes {
        /// The file in place of which they are.
        path: PathBuf,
    },
    /// A data file's number of references is wrong, so it is removed too early or never.
    WrongCount {
        /// The file.
        path: PathBuf,
        /// The number in the books; `None` if the file is not in them.
        counted: Option<u32>,
        /// How many extents refer to it.
        references: u32,
    },
    /// A data file is used, and noted as one to be removed.
    PendingUnlink {
        /// The file.
        path: PathBuf,
    },
    /// The index of times knows another time than the record, or has an entry of nobody: the upload is removed
    /// too early, or never.
    WrongExpiry {
        /// Whose.
        id: UploadId,
    },
    /// An expired upload is remembered for ever, or forgotten too early: the two indexes of such are not in step.
    WrongTombstone {
        /// Whose.
        id: UploadId,
    },
    /// An upload is noted as one that is to be put into one file, and is not there, not complete or in one already.
    NotScattered {
        /// Whose.
        id: UploadId,
    },
    /// The first event of an upload is not in the index of what is to be delivered, or something else is.
    WrongDueEvent {
        /// Whose.
        id: UploadId,
    },
    /// An event can't be read, or has a number that was not given yet.
    DamagedEvent {
        /// Its number.
        number: u64,
    },
    /// A part and a pending final do not know of each other, or are not in step: the final is completed wrongly, or
    /// never.
    WrongWaiting {
        /// The part.
        part: UploadId,
        /// The final.
        id: UploadId,
    },
    /// The log does not continue the records: it is damaged, or of another store, or either was put in place of another.
    ForeignJournal {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory among the data files is nobody's.
    Stray {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedRecord { id } => write!(f, "the record of upload {id} is damaged"),
            Self::MissingFile { id, path } => {
                write!(f, "upload {id} has committed bytes in {}, which is missing", path.display())
            }
            Self::ShortFile { id, path, committed, there } => write!(
                f,
                "upload {id} has {committed} bytes committed in {}, which has only {there}",
                path.display()
            ),
            Self::WrongCount { path, counted: Some(counted), references } => write!(
                f,
                "{} is counted as used {counted} times, and is used {references} times",
                path.display()
            ),
            Self::WrongCount { path, counted: None, references } => {
                write!(f, "{} is used {references} times, and is not in the books", path.display())
            }
            Self::PendingUnlink { path } => write!(f, "{} is used, and is to be removed", path.display()),
            Self::WrongExpiry { id } => {
                write!(f, "upload {id} expires at another time than the index of times has it")
            }
            Self::WrongTombstone { id } => {
                write!(f, "the expired upload {id} is not remembered as it should be")
            }
            Self::NotScattered { id } => {
                write!(f, "upload {id} is to be put into one file, and can't be")
            }
            Self::WrongDueEvent { id } => {
                write!(f, "upload {id} is not in the index of due events as it should be")
            }
            Self::DamagedEvent { number } => write!(f, "event {number} is damaged"),
            Self::WrongWaiting { part, id } => {
                write!(f, "final upload {id} and its part {part} are not in step")
            }
            Self::ForeignJournal { path } => {
                write!(f, "{} does not continue the records", path.display())
            }
            Self::StrayBytes { path } => {
                write!(f, "the records hold bytes in place of {} that belong to no upload", path.display())
            }
            Self::Stray { path } => write!(f, "{} belongs to no upload", path.display()),
        }
    }
}
