//! Hooks: what the people who run a server decide by code of their own. They may refuse a request, change an upload
//! before it is made, veto a deletion, and learn what has become of an upload.
//!
//! Implement [`Hooks`], say which of its methods are to be called, and put it into
//! [`Settings::hooks`](crate::Settings::hooks), or give it to [`Blocking::with_hooks`](crate::Blocking::with_hooks).
//!
//! ```
//! use tus_mio_server::hooks::{Changes, Creation, DataFile, Hook, HookError, Hooks, Incoming, Reject, Upload};
//!
//! struct Media;
//!
//! impl Hooks for Media {
//!     fn subscriptions(&self) -> &[Hook] {
//!         &[Hook::IncomingRequest, Hook::UploadCreate, Hook::UploadComplete]
//!     }
//!
//!     fn on_incoming_request(&self, incoming: &Incoming<'_>) -> Result<(), HookError> {
//!         let Some(user) = incoming.request.header("X-User") else {
//!             return Err(Reject::with(401).header("WWW-Authenticate", "Basic").into());
//!         };
//!         match incoming.upload.as_ref().map(|upload| upload.metadata.get_str("owner")) {
//!             Some(owner) if owner != Some(user) => Err(Reject::with(403).body("not yours\n").into()),
//!             _ => Ok(()),
//!         }
//!     }
//!
//!     fn on_upload_create(&self, creation: &Creation<'_>) -> Result<Changes, HookError> {
//!         let mut metadata = creation.upload.metadata.clone();
//!         metadata.set("owner", creation.request.header("X-User").unwrap_or_default())?;
//!         Ok(Changes::none().metadata(metadata))
//!     }
//!
//!     fn on_upload_complete(&self, upload: &Upload, files: &[DataFile]) -> Result<(), HookError> {
//!         let name = upload.metadata.get_str("filename").unwrap_or("unnamed");
//!         let size: u64 = files.iter().map(|file| file.length).sum();
//!         println!("{} is complete: {name}, {size} bytes", upload.id);
//!         Ok(()) // an error here, and it is called again later
//!     }
//! }
//! # use tus_proto::{Record, UploadId, WallTime};
//! # let upload = Upload::from(Record {
//! #     id: UploadId::new("a").unwrap(), created: WallTime::default(), offset: 1, length: Some(1),
//! #     metadata: "owner bWU=".into(), expires: None, concat: None,
//! # });
//! # assert!(Media.on_upload_complete(&upload, &[]).is_ok());
//! ```
//!
//! # Before the fact
//! `on_incoming_request`, `on_upload_create`, `on_chunk_received` and `on_before_terminate` are called before the
//! thing is done, and the request waits for them: with a [`Reject`] they choose its answer. Any other error, a panic,
//! and a hook that takes longer than its deadline are answered 500 (a HEAD 423), and logged.
//!
//! A [`Server`](crate::Server) calls them on threads of their own, never on those that serve connections, at most
//! `Settings::hook_threads` at a time. The deadline, `Settings::hook_timeout`, counts from when the request
//! wants the hook, so it bounds what a request waits for, whatever became of the hooks of others: one that never
//! returns takes its thread with it, but no request waits longer than the deadline for any of them. What a hook
//! decides behind its deadline is decided for nobody. [`Blocking`](crate::Blocking) calls them in the thread that
//! called it, without a deadline.
//!
//! # After the fact
//! `on_upload_complete` and `on_upload_terminate` come from the store's outbox: the event is written in the
//! transaction that makes it true, and stays until the hook has returned `Ok`. So each is delivered **at least
//! once**, in order for an upload, across crashes; a hook may see the same event twice, after a crash in between, and
//! must not mind. An error, or a panic, changes no answer: it is logged, and the event delivered again after a
//! pause that doubles each time. Meanwhile those of other uploads go on.
//!
//! They have no deadline, and as many threads of their own: one that never returns holds up its upload's further
//! events, and one thread. Ends that the server brings about are no terminations: what expired is just gone.
//!
//! # Panics
//! A hook that panics counts as failed where panics unwind. A program built with `panic = "abort"` ends.

mod error;
mod metadata;
mod set;
mod upload;

use std::fmt;

pub use error::{HookError, Reject};
pub use metadata::{InvalidKey, Metadata};
pub use upload::{Changes, Chunk, Creation, DataFile, Incoming, Request, Upload};

pub(crate) use set::{Event, HookSet};

/// The methods of [`Hooks`], to say which are to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Hook {
    /// [`Hooks::on_incoming_request`].
    IncomingRequest,
    /// [`Hooks::on_upload_create`].
    UploadCreate,
    /// [`Hooks::on_chunk_received`].
    ChunkReceived,
    /// [`Hooks::on_before_terminate`].
    BeforeTerminate,
    /// [`Hooks::on_upload_complete`].
    UploadComplete,
    /// [`Hooks::on_upload_terminate`].
    UploadTerminate,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::IncomingRequest,
        Self::UploadCreate,
        Self::ChunkReceived,
        Self::BeforeTerminate,
        Self::UploadComplete,
        Self::UploadTerminate,
    ];

    /// The method's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IncomingRequest => "on_incoming_request",
            Self::UploadCreate => "on_upload_create",
            Self::ChunkReceived => "on_chunk_received",
            Self::BeforeTerminate => "on_before_terminate",
            Self::UploadComplete => "on_upload_complete",
            Self::UploadTerminate => "on_upload_terminate",
        }
    }
}

/// What is called when. Each method does nothing by default, and is called only where
/// [`subscriptions`](Self::subscriptions) names it; the others cost nothing. Several may run at the same time.
pub trait Hooks: Send + Sync {
    /// Which methods are to be called. Asked once, when the server is made.
    fn subscriptions(&self) -> &[Hook];

    /// Before anything else is done, for every request but OPTIONS, and the place for authorisation: it sees the
    /// request, and the upload that the request names.
    ///
    /// # Errors
    /// Whatever keeps the request from going on.
    fn on_incoming_request(&self, incoming: &Incoming<'_>) -> Result<(), HookError> {
        let _ = incoming;
        Ok(())
    }

    /// Before an upload is made, or a final of parts. May replace its metadata and choose its id.
    ///
    /// # Errors
    /// Whatever keeps the upload from being made.
    fn on_upload_create(&self, creation: &Creation<'_>) -> Result<Changes, HookError> {
        let _ = creation;
        Ok(Changes::none())
    }

    /// Once a request that brought bytes, before its last commit.
    ///
    /// # Errors
    /// A [`Reject`] stops the upload: it is deleted.
    fn on_chunk_received(&self, chunk: &Chunk<'_>) -> Result<(), HookError> {
        let _ = chunk;
        Ok(())
    }

    /// Before an upload is deleted for its client.
    ///
    /// # Errors
    /// Whatever keeps the upload from being deleted.
    fn on_before_terminate(&self, request: &Request<'_>, upload: &Upload) -> Result<(), HookError> {
        let _ = (request, upload);
        Ok(())
    }

    /// When an upload is complete: a plain one, or a final of parts, never a part. `files` hold its bytes, in order:
    /// one, or several for a final that was not (yet) copied into one; none where it has no bytes, or was deleted
    /// in the meantime, or where copying is switched off or failed and some of them lie in the records since a run
    /// without this hook. They are the store's: read, link or copy them, and leave moving and deleting to the store.
    ///
    /// # Errors
    /// Whatever should make it be called again later.
    fn on_upload_complete(&self, upload: &Upload, files: &[DataFile]) -> Result<(), HookError> {
        let _ = (upload, files);
        Ok(())
    }

    /// When an upload was deleted for its client, or because a hook stopped it. `upload` is what it was then.
    ///
    /// # Errors
    /// Whatever should make it be called again later.
    fn on_upload_terminate(&self, upload: &Upload) -> Result<(), HookError> {
        let _ = upload;
        Ok(())
    }
}

/// For the settings that they are among: hooks need not show what is in them.
impl fmt::Debug for dyn Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks").field(&self.subscriptions()).finish()
    }
}
