//! Administration: what an operator asks a store, whoever has it open. [`Administration`] is all of it. A running server
//! answers by it at its socket in the data directory and at the addresses of its own; [`Client`] asks such a server;
//! [`Offline`] is for a store that no server has open. Documents are the same for all three, and are the JSON on the wire.

#[cfg(feature = "object-store")]
mod bucket;
mod client;
mod connection;
mod delete;
mod documents;
mod guard;
mod offline;
mod query;
mod requests;
mod running;
mod server;
mod socket;

use std::{fmt, io::Read};

#[cfg(feature = "object-store")]
pub use bucket::InBucket;
pub use client::Client;
pub(crate) use delete::{Deleter, LOOP as DELETER_LOOP};
pub use documents::{
    CheckPage, Deleted, Extent, FindingDocument, MetadataEntry, Rfc3339, Stats, Upload, UploadDetails,
    UploadPage,
};
pub use guard::TokenError;
pub(crate) use guard::{Guard, Token};
pub use offline::{Offline, finding};
pub use query::{MOST, UploadQuery};
pub(crate) use running::{Closed, Running};
pub(crate) use server::{AdminServer, Desk, Endpoint, Status};
pub(crate) use socket::reachable;
pub use socket::{SOCKET, connect};

/// What an operator may ask of uploads. Calls may take as long as a look at every record does; none holds up a server.
pub trait Administration: Send + Sync {
    /// A page of uploads.
    ///
    /// # Errors
    /// [`AdminError`].
    fn uploads(&self, query: &UploadQuery) -> Result<UploadPage, AdminError>;

    /// All that is known of an upload.
    ///
    /// # Errors
    /// [`AdminError::Unknown`], or another.
    fn upload(&self, id: &str) -> Result<UploadDetails, AdminError>;

    /// The bytes of an upload: of an unfinished one those that are there.
    ///
    /// # Errors
    /// [`AdminError::Unknown`], or another.
    fn content(&self, id: &str) -> Result<Content, AdminError>;

    /// Removes an upload, its record and its bytes. A writer is asked to yield first.
    ///
    /// # Errors
    /// [`AdminError::Unknown`], [`AdminError::Busy`] where the writer does not yield, or another.
    fn delete(&self, id: &str) -> Result<Deleted, AdminError>;

    /// What there is.
    ///
    /// # Errors
    /// [`AdminError`].
    fn stats(&self) -> Result<Stats, AdminError>;

    /// A step of a check, from the place on at which the step before has ended.
    ///
    /// # Errors
    /// [`AdminError`].
    fn check(&self, after: Option<&str>) -> Result<CheckPage, AdminError>;
}

/// The bytes of an upload.
pub struct Content {
    /// How many there are.
    pub length: u64,
    /// Gives them. An end before the last is an error of the store's.
    pub bytes: Box<dyn Read + Send>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Why a question has no answer. The text is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminError {
    /// There is no upload of this id.
    Unknown(String),
    /// The question makes no sense.
    Malformed(String),
    /// A writer has the upload, and does not let it go.
    Busy(String),
    /// The store, or the way to it, fails.
    Failed(String),
}

impl AdminError {
    /// The status of an answer that says so.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unknown(_) => 404,
            Self::Malformed(_) => 400,
            Self::Busy(_) => 423,
            Self::Failed(_) => 500,
        }
    }

    /// What an answer of this status says.
    pub(crate) fn of(status: u16, text: String) -> Self {
        match status {
            404 => Self::Unknown(text),
            400..=403 | 405..=422 => Self::Malformed(text),
            423 => Self::Busy(text),
            _ => Self::Failed(text),
        }
    }

    pub(crate) fn unknown(id: &str) -> Self {
        Self::Unknown(format!("there is no upload {id:?}"))
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unknown(text) | Self::Malformed(text) | Self::Busy(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for AdminError {}
