//! Hooks: what the people who run a server decide by code of their own. They may reject a request, change an upload
//! before it is made, veto a deletion, and learn what has become of an upload.
//!
//! Give functions to [`Hooks`], and those to a runtime. What a runtime calls is a [`HookRunner`]; a [`HookSet`] of functions is
//! one.
//!
//! ```
//! use tus_driver::hooks::{Changes, HookError, Hooks, Incoming, Reject};
//!
//! fn authorise(incoming: &Incoming<'_>) -> Result<(), HookError> {
//!     let Some(user) = incoming.request.header("X-User") else {
//!         return Err(Reject::with(401).header("WWW-Authenticate", "Basic").into());
//!     };
//!     // The upload that the request names, and the parts that a final is to be made of.
//!     let mut uploads = incoming.uploads();
//!     match uploads.all(|upload| upload.metadata.get_str("owner") == Some(user)) {
//!         true => Ok(()),
//!         false => Err(Reject::with(403).body("not yours\n").into()),
//!     }
//! }
//!
//! let hooks = Hooks::new()
//!     .on_incoming_request(authorise)
//!     .on_upload_create(|creation| {
//!         let mut metadata = creation.upload.metadata.clone();
//!         metadata.set("owner", creation.request.header("X-User").unwrap_or_default())?;
//!         Ok(Changes::none().metadata(metadata))
//!     })
//!     .on_upload_complete(|upload, files| {
//!         let name = upload.metadata.get_str("filename").unwrap_or("unnamed");
//!         let size: u64 = files.iter().map(|file| file.length).sum();
//!         println!("{} is complete: {name}, {size} bytes", upload.id);
//!         Ok(()) // an error here, and it is called again later
//!     });
//! # assert!(!hooks.is_empty());
//! ```
//!
//! # Before the fact
//! `on_incoming_request`, `on_upload_create`, `on_chunk_received`, `on_before_terminate` and `on_before_finish` are called before the
//! thing is done, and the request waits for them: with a [`Reject`] they choose its answer. Any other error, a panic,
//! and a hook that takes longer than its deadline are answered 500 (a HEAD 423), and logged.
//!
//! A runtime with threads calls them on threads of their own, never on those that serve connections, and so many at a
//! time as it is set to. Its deadline counts from when the request wants the hook, so it bounds what a request waits
//! for, whatever became of the hooks of others: one that never returns takes its thread with it, but no request waits
//! longer than the deadline for any of them. What a hook decides past its deadline is dropped. A runtime that
//! blocks calls them in the thread that called it, without a deadline.
//!
//! # After the fact
//! `on_upload_created`, `on_upload_complete` and `on_upload_terminate` come from the store's outbox: the event is written in the
//! transaction that makes it true, and stays until the hook has returned `Ok`. So each is delivered **at least
//! once**, in order for an upload, across crashes; a hook may see the same event twice, after a crash in between, and
//! must not mind. An error, or a panic, changes no answer: it is logged, and the event delivered again after a
//! pause that doubles each time. Meanwhile those of other uploads go on.
//!
//! They have no deadline, and as many threads of their own: one that never returns holds up its upload's further
//! events, and one thread. Expiry does not fire `on_upload_terminate`.
//!
//! # Panics
//! A hook that panics counts as failed where panics unwind. A program built with `panic = "abort"` ends.

mod amend;
pub mod async_hooks;
mod attributions;
mod calls;
mod error;
mod metadata;
mod runner;
mod set;
mod upload;

use std::{fmt, sync::Arc, time::Duration};

pub use amend::Amend;
pub use async_hooks::{AsyncHooks, AsyncRunner};
pub use attributions::Attributions;
pub use calls::{CallingThread, HookCalls, HookThreads, HookWait, subscriptions};
pub use error::{HookError, Reject};
pub use metadata::{InvalidKey, Metadata};
pub use runner::{FindFiles, HookEvent, HookRunner};
pub use set::HookSet;
pub use upload::{Changes, Chunk, Creation, DataFile, Incoming, Part, Request, Upload};

/// The kinds of hooks.
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
    /// [`Hooks::on_upload_created`].
    UploadCreated,
    /// [`Hooks::on_upload_progress`].
    UploadProgress,
    /// [`Hooks::on_before_finish`].
    BeforeFinish,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::IncomingRequest,
        Self::UploadCreate,
        Self::ChunkReceived,
        Self::BeforeTerminate,
        Self::UploadComplete,
        Self::UploadTerminate,
        Self::UploadCreated,
        Self::UploadProgress,
        Self::BeforeFinish,
    ];

    /// The name of its event, as tusd's users know it. `None` if there is no such event.
    pub const fn event_name(self) -> Option<&'static str> {
        match self {
            Self::IncomingRequest => Some("pre-request"),
            Self::UploadCreate => Some("pre-create"),
            Self::ChunkReceived => None,
            Self::BeforeTerminate => Some("pre-terminate"),
            Self::UploadComplete => Some("post-finish"),
            Self::UploadTerminate => Some("post-terminate"),
            Self::UploadCreated => Some("post-create"),
            Self::UploadProgress => Some("post-receive"),
            Self::BeforeFinish => Some("pre-finish"),
        }
    }

    /// The method's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IncomingRequest => "on_incoming_request",
            Self::UploadCreate => "on_upload_create",
            Self::ChunkReceived => "on_chunk_received",
            Self::BeforeTerminate => "on_before_terminate",
            Self::UploadComplete => "on_upload_complete",
            Self::UploadTerminate => "on_upload_terminate",
            Self::UploadCreated => "on_upload_created",
            Self::UploadProgress => "on_upload_progress",
            Self::BeforeFinish => "on_before_finish",
        }
    }
}

/// What is called when: a function for each hook that there is, and nothing for the others, which cost nothing. A
/// hook is given and called, or it is not given: there is no list besides that could forget it. Several calls
/// may run at the same time. Default: no hooks.
///
/// Hooks that share something share it as functions do, by an [`Arc`] that each closure has a clone of.
#[derive(Clone, Default)]
#[must_use = "hooks do nothing until they are in the settings of a server"]
pub struct Hooks {
    incoming_request: Option<Arc<IncomingFn>>,
    upload_create: Option<Arc<CreateFn>>,
    chunk_received: Option<Arc<ChunkFn>>,
    before_terminate: Option<Arc<BeforeTerminateFn>>,
    upload_complete: Option<Arc<CompleteFn>>,
    upload_terminate: Option<Arc<TerminateFn>>,
    upload_created: Option<Arc<CreatedFn>>,
    upload_progress: Option<(Duration, Arc<ProgressFn>)>,
    before_finish: Option<Arc<FinishFn>>,
    with_requests: bool,
}

type IncomingFn = dyn Fn(&Incoming<'_>) -> Result<(), HookError> + Send + Sync;
type CreateFn = dyn Fn(&Creation<'_>) -> Result<Changes, HookError> + Send + Sync;
type ChunkFn = dyn Fn(&Chunk<'_>) -> Result<(), HookError> + Send + Sync;
type BeforeTerminateFn = dyn Fn(&Request<'_>, &Upload) -> Result<(), HookError> + Send + Sync;
type CompleteFn = dyn Fn(&Upload, &[DataFile]) -> Result<(), HookError> + Send + Sync;
type CreatedFn = dyn Fn(&Upload) -> Result<(), HookError> + Send + Sync;
type ProgressFn = dyn Fn(&Request<'_>, &Upload) -> Result<(), HookError> + Send + Sync;
type FinishFn = dyn Fn(&Request<'_>, &Upload) -> Result<Amend, HookError> + Send + Sync;
type TerminateFn = dyn Fn(&Upload) -> Result<(), HookError> + Send + Sync;

impl Hooks {
    /// No hooks yet. Each method below adds one; a second of the same kind replaces the first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows hooks after the fact the request that made the event true ([`Upload::request`]): requests are then kept until
    /// their events are delivered.
    pub fn with_requests(mut self) -> Self {
        self.with_requests = true;
        self
    }

    /// Whether no hook was given.
    pub fn is_empty(&self) -> bool {
        Hook::ALL.iter().all(|hook| !self.has(*hook))
    }

    /// Before anything else is done, for every request but OPTIONS, and the place for authorisation: the hook sees
    /// the request, the upload that it names, and of a request for a final the uploads of all its parts.
    ///
    /// Whatever error the hook returns keeps the request from going on.
    pub fn on_incoming_request<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Incoming<'_>) -> Result<(), HookError> + Send + Sync + 'static,
    {
        self.incoming_request = Some(Arc::new(hook));
        self
    }

    /// Before an upload is made, or a final of parts. The hook may replace its metadata and choose its id.
    ///
    /// Whatever error the hook returns keeps the upload from being made.
    pub fn on_upload_create<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Creation<'_>) -> Result<Changes, HookError> + Send + Sync + 'static,
    {
        self.upload_create = Some(Arc::new(hook));
        self
    }

    /// Once a request that brought bytes, before its last commit.
    ///
    /// If the hook returns a [`Reject`], the upload is stopped: it is deleted.
    pub fn on_chunk_received<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Chunk<'_>) -> Result<(), HookError> + Send + Sync + 'static,
    {
        self.chunk_received = Some(Arc::new(hook));
        self
    }

    /// Before an upload is deleted for its client.
    ///
    /// Whatever error the hook returns keeps the upload from being deleted.
    pub fn on_before_terminate<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Request<'_>, &Upload) -> Result<(), HookError> + Send + Sync + 'static,
    {
        self.before_terminate = Some(Arc::new(hook));
        self
    }

    /// When an upload is complete: a plain one, or a final of parts, never a part. The files hold its bytes, in
    /// order: one, or several for a final that was not (yet) copied into one; empty if it has no bytes, or was
    /// deleted in the meantime, or where copying is switched off or failed and some of them lie in the records since
    /// a run without this hook. They are the store's: read, link or copy them, and leave moving and deleting to
    /// the store.
    ///
    /// If the hook returns an error, it is called again later.
    pub fn on_upload_complete<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Upload, &[DataFile]) -> Result<(), HookError> + Send + Sync + 'static,
    {
        self.upload_complete = Some(Arc::new(hook));
        self
    }

    /// When an upload was deleted for its client, or because a hook stopped it. The hook sees what it was then.
    ///
    /// If the hook returns an error, it is called again later.
    pub fn on_upload_terminate<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Upload) -> Result<(), HookError> + Send + Sync + 'static,
    {
        self.upload_terminate = Some(Arc::new(hook));
        self
    }

    /// When an upload was created, a part or a final too. It comes before the upload's other events.
    ///
    /// If the hook returns an error, it is called again later.
    pub fn on_upload_created<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Upload) -> Result<(), HookError> + Send + Sync + 'static,
    {
        self.upload_created = Some(Arc::new(hook));
        self
    }

    /// While a body comes: at most once in this time for a request, and once more at its end, but never when the upload is
    /// complete. The upload's offset tells what has come. Nothing waits for it, but a blocking runtime's thread.
    ///
    /// If the hook returns a [`Reject`] while the body still comes, the upload is stopped: it is deleted.
    pub fn on_upload_progress<F>(mut self, interval: Duration, hook: F) -> Self
    where
        F: Fn(&Request<'_>, &Upload) -> Result<(), HookError> + Send + Sync + 'static,
    {
        self.upload_progress = Some((interval, Arc::new(hook)));
        self
    }

    /// Once a request has made an upload complete, or a final of parts, never a part, before it is answered. It is committed:
    /// the hook may choose the answer, and nothing else. A final that becomes complete with its last part is none.
    ///
    /// [`on_upload_complete`](Self::on_upload_complete) waits for it. With a [`Reject`] the hook answers an error;
    /// any other error is answered 500; in either case the upload stays complete.
    pub fn on_before_finish<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Request<'_>, &Upload) -> Result<Amend, HookError> + Send + Sync + 'static,
    {
        self.before_finish = Some(Arc::new(hook));
        self
    }

    fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::IncomingRequest => self.incoming_request.is_some(),
            Hook::UploadCreate => self.upload_create.is_some(),
            Hook::ChunkReceived => self.chunk_received.is_some(),
            Hook::BeforeTerminate => self.before_terminate.is_some(),
            Hook::UploadComplete => self.upload_complete.is_some(),
            Hook::UploadTerminate => self.upload_terminate.is_some(),
            Hook::UploadCreated => self.upload_created.is_some(),
            Hook::UploadProgress => self.upload_progress.is_some(),
            Hook::BeforeFinish => self.before_finish.is_some(),
        }
    }
}

/// Names the hooks that were given.
impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = Hook::ALL.into_iter().filter(|hook| self.has(*hook));
        f.debug_list().entries(given.map(Hook::name)).finish()
    }
}
