//! Calling hooks: from the contract's calls to the trait's methods and back. What a hook does, nothing comes out of
//! here but a reply.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
};

use tus_proto::{HookCall, HookReply, Record, Subscriptions, UploadId};
use tus_redb::Events;

use super::{Changes, Chunk, Creation, DataFile, Hook, HookError, Hooks, Incoming, Request, Upload};

/// Somebody's hooks, and which of them are subscribed.
#[derive(Clone)]
pub(crate) struct HookSet {
    hooks: Arc<dyn Hooks>,
    subscribed: [bool; Hook::ALL.len()],
}

/// What has happened to an upload.
#[derive(Debug)]
pub(crate) enum Event {
    /// It is complete; its bytes are in these files, so many in each.
    Completed(Record, Vec<(PathBuf, u64)>),
    /// It was deleted.
    Terminated(Record),
}

impl HookSet {
    pub(crate) fn new(hooks: Arc<dyn Hooks>) -> Self {
        let wanted = hooks.subscriptions();
        let subscribed = Hook::ALL.map(|hook| wanted.contains(&hook));
        Self { hooks, subscribed }
    }

    pub(crate) fn wants(&self, hook: Hook) -> bool {
        Hook::ALL.iter().zip(self.subscribed).any(|(known, subscribed)| *known == hook && subscribed)
    }

    /// What exchanges are to call.
    pub(crate) fn before(&self) -> Subscriptions {
        Subscriptions {
            incoming: self.wants(Hook::IncomingRequest),
            create: self.wants(Hook::UploadCreate),
            chunk: self.wants(Hook::ChunkReceived),
            terminate: self.wants(Hook::BeforeTerminate),
        }
    }

    /// What the store's outbox is to keep.
    pub(crate) fn after(&self) -> Events {
        Events { completed: self.wants(Hook::UploadComplete), terminated: self.wants(Hook::UploadTerminate) }
    }

    /// Whether any hook that comes before the fact is subscribed.
    pub(crate) fn decides(&self) -> bool {
        self.before() != Subscriptions::default()
    }

    /// Whether any hook that comes after the fact is subscribed.
    pub(crate) fn tells(&self) -> bool {
        self.after() != Events::default()
    }

    /// Asks a hook that comes before the fact.
    pub(crate) fn decide(&self, call: &HookCall) -> HookReply {
        let hook = Hook::of(call);
        match guarded(|| self.ask(call)) {
            Ok(Changes { metadata: None, id: None }) => HookReply::Proceed,
            Ok(Changes { metadata, id }) => {
                HookReply::Change { metadata: metadata.map(|metadata| metadata.to_string()), id }
            }
            Err(error) => match error.into_rejection() {
                Ok(rejection) => HookReply::Refuse(rejection),
                Err(error) => {
                    tracing::error!(hook = hook.name(), %error, "a hook failed");
                    HookReply::Failed
                }
            },
        }
    }

    fn ask(&self, call: &HookCall) -> Result<Changes, HookError> {
        match call {
            HookCall::Incoming { request, id, upload } => {
                let upload = upload.clone().map(Upload::from);
                let incoming = Incoming { request: Request(request), id: id.as_ref(), upload };
                self.hooks.on_incoming_request(&incoming)?;
            }
            HookCall::Create { request, upload, parts } => {
                let upload = Upload::from(upload.clone());
                return self.hooks.on_upload_create(&Creation { request: Request(request), upload, parts });
            }
            HookCall::Chunk { request, id, offset, length } => {
                let (offset, length) = (*offset, *length);
                self.hooks.on_chunk_received(&Chunk { request: Request(request), id, offset, length })?;
            }
            HookCall::Terminate { request, upload } => {
                self.hooks.on_before_terminate(&Request(request), &Upload::from(upload.clone()))?;
            }
        }
        Ok(Changes::none())
    }

    /// Tells a hook what has happened. Tells whether it has taken note.
    pub(crate) fn tell(&self, event: Event) -> bool {
        let hook = event.hook();
        if !self.wants(hook) {
            // It was kept for somebody who does not want it any more.
            return true;
        }
        let (Event::Completed(record, _) | Event::Terminated(record)) = &event;
        let id: UploadId = record.id.clone();
        let told = guarded(|| match event {
            Event::Completed(record, files) => {
                let files = files.into_iter().map(|(path, length)| DataFile { path, length });
                self.hooks.on_upload_complete(&record.into(), &files.collect::<Vec<_>>())
            }
            Event::Terminated(record) => self.hooks.on_upload_terminate(&record.into()),
        });
        if let Err(error) = &told {
            tracing::error!(hook = hook.name(), %id, %error, "a hook failed; it is called again later");
        }
        told.is_ok()
    }
}

impl fmt::Debug for HookSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookSet").field("subscribed", &self.subscribed).finish_non_exhaustive()
    }
}

impl Event {
    pub(crate) fn hook(&self) -> Hook {
        match self {
            Self::Completed(..) => Hook::UploadComplete,
            Self::Terminated(_) => Hook::UploadTerminate,
        }
    }
}

impl Hook {
    /// Which hook a call is for.
    pub(crate) fn of(call: &HookCall) -> Self {
        match call {
            HookCall::Incoming { .. } => Self::IncomingRequest,
            HookCall::Create { .. } => Self::UploadCreate,
            HookCall::Chunk { .. } => Self::ChunkReceived,
            HookCall::Terminate { .. } => Self::BeforeTerminate,
        }
    }
}

/// A panic is the hook's failure, and nobody else's: what the hook left half done is its own.
fn guarded<T>(call: impl FnOnce() -> Result<T, HookError>) -> Result<T, HookError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(HookError::failed(format!("it panicked: {}", text.unwrap_or_else(|| "with no text".into()))))
    })
}
