//! Calling hooks: from the contract's calls to the functions given and back. What a hook does, nothing comes out of
//! here but a reply.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use tus_proto::{HookCall, HookReply, Record, Subscriptions, UploadId};
use tus_redb::Events;

use super::{Changes, Chunk, Creation, DataFile, Hook, HookError, Hooks, Incoming, Part, Request, Upload};

/// Somebody's hooks: at least one.
#[derive(Clone, Debug)]
pub(crate) struct HookSet(Hooks);

/// What has happened to an upload.
#[derive(Debug)]
pub(crate) enum Event {
    /// It is complete; its bytes are in these files, so many in each.
    Completed(Record, Vec<(PathBuf, u64)>),
    /// It was deleted.
    Terminated(Record),
}

impl HookSet {
    /// `None` if there are no hooks, so that nothing is set up for them.
    pub(crate) fn new(hooks: Hooks) -> Option<Self> {
        (!hooks.is_empty()).then_some(Self(hooks))
    }

    pub(crate) fn wants(&self, hook: Hook) -> bool {
        self.0.has(hook)
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
        let hooks = &self.0;
        let decided = match call {
            HookCall::Incoming { request, id, upload, parts } => {
                hooks.incoming_request.as_ref().map(|hook| {
                    let upload = upload.clone().map(Upload::from);
                    let parts = parts.iter().cloned().map(Part::from).collect();
                    hook(&Incoming { request: Request(request), id: id.as_ref(), upload, parts })
                })
            }
            HookCall::Create { request, upload, parts } => {
                let Some(hook) = &hooks.upload_create else { return Ok(Changes::none()) };
                let upload = Upload::from(upload.clone());
                let parts = parts.iter().cloned().map(Upload::from).collect();
                return hook(&Creation { request: Request(request), upload, parts });
            }
            HookCall::Chunk { request, id, offset, length } => hooks.chunk_received.as_ref().map(|hook| {
                let (offset, length) = (*offset, *length);
                hook(&Chunk { request: Request(request), id, offset, length })
            }),
            HookCall::Terminate { request, upload } => hooks
                .before_terminate
                .as_ref()
                .map(|hook| hook(&Request(request), &Upload::from(upload.clone()))),
        };
        decided.unwrap_or(Ok(())).map(|()| Changes::none())
    }

    /// Tells a hook what has happened. Tells whether it has taken note.
    pub(crate) fn tell(&self, event: Event) -> bool {
        let hook = event.hook();
        let (Event::Completed(record, _) | Event::Terminated(record)) = &event;
        let id: UploadId = record.id.clone();
        // An event may have been kept for a hook that is not there any more.
        let told = guarded(|| match (event, &self.0) {
            (Event::Completed(record, files), Hooks { upload_complete: Some(hook), .. }) => {
                let files = files.into_iter().map(|(path, length)| DataFile { path, length });
                hook(&record.into(), &files.collect::<Vec<_>>())
            }
            (Event::Terminated(record), Hooks { upload_terminate: Some(hook), .. }) => hook(&record.into()),
            (Event::Completed(..) | Event::Terminated(_), _) => Ok(()),
        });
        if let Err(error) = &told {
            tracing::error!(hook = hook.name(), %id, %error, "a hook failed; it is called again later");
        }
        told.is_ok()
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
