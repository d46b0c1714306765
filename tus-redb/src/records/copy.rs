//! How far the consolidation of an upload is: shared by its table, the log and the copying.

use crate::files::file_id::FileId;

/// How far an upload is in being put into one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyProgress {
    /// The new file.
    pub(crate) file: FileId,
    /// How many bytes of it are durable.
    pub(crate) copied: u64,
}

impl From<(u64, u64)> for CopyProgress {
    fn from((file, copied): (u64, u64)) -> Self {
        Self { file: FileId(file), copied }
    }
}

/// What is to be recorded of a copy. All but [`Begun`](Self::Begun) change nothing once the upload is not
/// copied into that file any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyState {
    /// It begins, in a new file.
    Begun(FileId),
    /// So much of it is durable.
    Copied(CopyProgress),
    /// All of it is: it takes the place of the old files.
    Whole(FileId),
    /// It will not be completed. Another may begin later.
    GivenUp(FileId),
}
