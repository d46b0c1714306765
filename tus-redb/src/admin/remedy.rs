//! What a repair has done about a finding, as the operator reads it.

use std::{fmt, path::PathBuf};

use crate::admin::finding::Finding;

/// A finding, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// What was wrong.
    pub finding: Finding,
    /// What was done; `None` if it was left as it is, because no answer is right.
    pub remedy: Option<Remedy>,
}

/// What was done about a [`Finding`]. Its text is written after that of the finding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// The upload ends where its bytes do, and is not complete: its client can send the rest.
    CutBack {
        /// How many bytes it has now.
        offset: u64,
    },
    /// The file was moved.
    SetAside {
        /// Where it is now.
        path: PathBuf,
    },
    /// The changes before the damage of the log were kept.
    Salvaged {
        /// How many groups of changes were kept.
        kept: u64,
        /// The number of the first group that is lost; groups are numbered as they are committed.
        from: u64,
        /// The number of the last lost group that the log shows to have existed; `None` if it shows none.
        to: Option<u64>,
        /// A copy of the log as it was.
        path: PathBuf,
    },
    /// A table was corrected by the records.
    Corrected,
    /// An unreadable entry was removed.
    Removed,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutBack { offset } => write!(f, "it was cut back to {offset} bytes"),
            Self::SetAside { path } => write!(f, "it was moved to {}", path.display()),
            Self::Salvaged { kept, from, to, path } => {
                write!(f, "it kept the {kept} groups of changes before the damage, and lost ")?;
                match to {
                    Some(to) => write!(f, "those with the numbers {from} to {to}")?,
                    None => write!(f, "those from number {from} on, if there were any")?,
                }
                write!(f, "; a copy of the log is at {}", path.display())
            }
            Self::Corrected => f.write_str("the tables were corrected"),
            Self::Removed => f.write_str("it was removed"),
        }
    }
}
