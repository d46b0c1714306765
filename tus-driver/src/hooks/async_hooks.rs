//! Hooks that await, for runtimes whose requests are tasks: a trait of the same hooks, and calling it.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tus_proto::{HookCall, HookReply, Subscriptions};

use super::{
    Amend, Changes, Chunk, Creation, DataFile, Hook, HookError, HookEvent, HookRunner, Incoming, Part,
    Request, Upload, set,
};
use crate::{EventKind, EventKinds, Task, Ticket};

/// Hooks as `async fn`s. Each does nothing until it is written; what each is for, and what its errors do, is said at
/// [`Hooks`](super::Hooks).
///
/// The future of a hook that a request waits for is dropped at its deadline, wherever it waits just then.
///
/// ```
/// use tus_driver::hooks::{AsyncHooks, DataFile, Hook, HookError, Incoming, Reject, Upload};
///
/// struct Application;
///
/// impl AsyncHooks for Application {
///     fn wants(&self, hook: Hook) -> bool {
///         matches!(hook, Hook::IncomingRequest | Hook::UploadComplete)
///     }
///
///     async fn on_incoming_request(&self, incoming: &Incoming<'_>) -> Result<(), HookError> {
///         match incoming.request.header("Authorization") {
///             Some(_) => Ok(()),
///             None => Err(Reject::with(401).into()),
///         }
///     }
///
///     async fn on_upload_complete(&self, upload: &Upload, files: &[DataFile]) -> Result<(), HookError> {
///         println!("{} is complete, in {} files", upload.id, files.len());
///         Ok(())
///     }
/// }
/// ```
pub trait AsyncHooks: Send + Sync + 'static {
    /// Whether this hook is called at all. Default: all are, and what is not written is called for nothing.
    fn wants(&self, hook: Hook) -> bool {
        let _ = hook;
        true
    }

    /// Whether [`Upload::request`] is to be known after the fact: requests are then kept until their events are
    /// delivered. Default: no.
    fn wants_requests(&self) -> bool {
        false
    }

    /// Before anything else is done: see [`Hooks::on_incoming_request`](super::Hooks::on_incoming_request).
    fn on_incoming_request(
        &self,
        incoming: &Incoming<'_>,
    ) -> impl Future<Output = Result<(), HookError>> + Send {
        let _ = incoming;
        async { Ok(()) }
    }

    /// Before an upload is made: see [`Hooks::on_upload_create`](super::Hooks::on_upload_create).
    fn on_upload_create(
        &self,
        creation: &Creation<'_>,
    ) -> impl Future<Output = Result<Changes, HookError>> + Send {
        let _ = creation;
        async { Ok(Changes::none()) }
    }

    /// Before the last commit of a request that brought bytes: see
    /// [`Hooks::on_chunk_received`](super::Hooks::on_chunk_received).
    fn on_chunk_received(&self, chunk: &Chunk<'_>) -> impl Future<Output = Result<(), HookError>> + Send {
        let _ = chunk;
        async { Ok(()) }
    }

    /// Before an upload is deleted for its client: see
    /// [`Hooks::on_before_terminate`](super::Hooks::on_before_terminate).
    fn on_before_terminate(
        &self,
        request: Request<'_>,
        upload: &Upload,
    ) -> impl Future<Output = Result<(), HookError>> + Send {
        let _ = (request, upload);
        async { Ok(()) }
    }

    /// How often [`on_upload_progress`](Self::on_upload_progress) is called for a request at the most. Default: never.
    fn progress_interval(&self) -> Option<Duration> {
        None
    }

    /// While a body comes: see [`Hooks::on_upload_progress`](super::Hooks::on_upload_progress).
    fn on_upload_progress(
        &self,
        request: Request<'_>,
        upload: &Upload,
    ) -> impl Future<Output = Result<(), HookError>> + Send {
        let _ = (request, upload);
        async { Ok(()) }
    }

    /// Before the answer to the request that made an upload complete: see
    /// [`Hooks::on_before_finish`](super::Hooks::on_before_finish).
    fn on_before_finish(
        &self,
        request: Request<'_>,
        upload: &Upload,
    ) -> impl Future<Output = Result<Amend, HookError>> + Send {
        let _ = (request, upload);
        async { Ok(Amend::none()) }
    }

    /// When an upload was created: see [`Hooks::on_upload_created`](super::Hooks::on_upload_created).
    fn on_upload_created(&self, upload: &Upload) -> impl Future<Output = Result<(), HookError>> + Send {
        let _ = upload;
        async { Ok(()) }
    }

    /// When an upload is complete: see [`Hooks::on_upload_complete`](super::Hooks::on_upload_complete).
    fn on_upload_complete(
        &self,
        upload: &Upload,
        files: &[DataFile],
    ) -> impl Future<Output = Result<(), HookError>> + Send {
        let _ = (upload, files);
        async { Ok(()) }
    }

    /// When an upload was deleted: see [`Hooks::on_upload_terminate`](super::Hooks::on_upload_terminate).
    fn on_upload_terminate(&self, upload: &Upload) -> impl Future<Output = Result<(), HookError>> + Send {
        let _ = upload;
        async { Ok(()) }
    }
}

/// Hooks that await, as a [`HookRunner`]: each call is a task.
pub struct AsyncRunner<H> {
    hooks: Arc<H>,
    spawn: Box<Spawn>,
}

/// Spawns a task. `limited`: a request waits for it, so the task is to be dropped at the deadline of hooks.
type Spawn = dyn Fn(Task, bool) + Send + Sync;

impl<H: AsyncHooks> AsyncRunner<H> {
    /// Calls these hooks in tasks that `spawn` spawns. If its second argument is `true`, a request waits for the task:
    /// it is to be dropped at the deadline of hooks.
    pub fn new(hooks: H, spawn: impl Fn(Task, bool) + Send + Sync + 'static) -> Self {
        Self { hooks: Arc::new(hooks), spawn: Box::new(spawn) }
    }
}

impl<H: AsyncHooks> HookRunner for AsyncRunner<H> {
    fn subscriptions(&self) -> Subscriptions {
        let hooks = &*self.hooks;
        Subscriptions {
            incoming: hooks.wants(Hook::IncomingRequest),
            create: hooks.wants(Hook::UploadCreate),
            chunk: hooks.wants(Hook::ChunkReceived),
            terminate: hooks.wants(Hook::BeforeTerminate),
            finish: hooks.wants(Hook::BeforeFinish),
            progress: hooks.progress_interval().filter(|_| hooks.wants(Hook::UploadProgress)),
            requests: hooks.wants_requests(),
        }
    }

    fn events(&self) -> EventKinds {
        EventKinds {
            created: self.hooks.wants(Hook::UploadCreated),
            completed: self.hooks.wants(Hook::UploadComplete),
            terminated: self.hooks.wants(Hook::UploadTerminate),
        }
    }

    fn blocks(&self) -> bool {
        false
    }

    fn decide(&self, call: HookCall, ticket: Ticket<HookReply>) {
        let hooks = self.hooks.clone();
        let mut answer = AnswerOnDrop(Some((ticket, HookReply::Failed)));
        (self.spawn)(Box::pin(async move { answer.give(decide(&*hooks, &call).await) }), true);
    }

    fn deliver(&self, event: HookEvent, ticket: Ticket<bool>) {
        let hooks = self.hooks.clone();
        let mut answer = AnswerOnDrop(Some((ticket, false)));
        (self.spawn)(Box::pin(async move { answer.give(deliver(&*hooks, event).await) }), false);
    }
}

impl<H> fmt::Debug for AsyncRunner<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRunner").finish_non_exhaustive()
    }
}

/// A ticket, and what it is answered if its task panics, or is dropped.
struct AnswerOnDrop<T>(Option<(Ticket<T>, T)>);

impl<T> AnswerOnDrop<T> {
    fn give(&mut self, answer: T) {
        if let Some((ticket, _)) = self.0.take() {
            ticket.answer(answer);
        }
    }
}

impl<T> Drop for AnswerOnDrop<T> {
    fn drop(&mut self) {
        if let Some((ticket, otherwise)) = self.0.take() {
            ticket.answer(otherwise);
        }
    }
}

/// Calls a hook that a request waits for.
async fn decide(hooks: &impl AsyncHooks, call: &HookCall) -> HookReply {
    let nothing = |()| Changes::none();
    let decided = match call {
        HookCall::Incoming { request, id, upload, parts } => {
            let upload = upload.clone().map(Upload::from);
            let parts = parts.iter().cloned().map(Part::from).collect();
            let incoming = Incoming { request: Request(request), id: id.as_ref(), upload, parts };
            hooks.on_incoming_request(&incoming).await.map(nothing)
        }
        HookCall::Create { request, upload, parts } => {
            let upload = Upload::from(upload.clone());
            let parts = parts.iter().cloned().map(Upload::from).collect();
            hooks.on_upload_create(&Creation { request: Request(request), upload, parts }).await
        }
        HookCall::Chunk { request, id, offset, length } => {
            let chunk = Chunk { request: Request(request), id, offset: *offset, length: *length };
            hooks.on_chunk_received(&chunk).await.map(nothing)
        }
        HookCall::Terminate { request, upload } => {
            let upload = Upload::from(upload.clone());
            hooks.on_before_terminate(Request(request), &upload).await.map(nothing)
        }
        HookCall::Finish { request, upload } => {
            let upload = Upload::from(upload.clone());
            let amended = hooks.on_before_finish(Request(request), &upload).await;
            amended.map(|response| Changes::none().response(response))
        }
        HookCall::Progress { request, upload } => {
            let upload = Upload::from(upload.clone());
            hooks.on_upload_progress(Request(request), &upload).await.map(nothing)
        }
    };
    set::reply(Hook::of(call), decided)
}

/// Calls a hook after the fact. Returns whether it has taken note.
async fn deliver(hooks: &impl AsyncHooks, event: HookEvent) -> bool {
    let hook = event.hook();
    let HookEvent { kind, record, files, request, .. } = event;
    let id = record.id.clone();
    let upload = Upload::from(record).with_request(request);
    let told = match kind {
        // An event may have been kept for a hook that is not wanted any more.
        _ if !hooks.wants(hook) => Ok(()),
        EventKind::Completed => {
            let files = files.into_iter().map(|(path, length)| DataFile { path, length });
            hooks.on_upload_complete(&upload, &files.collect::<Vec<_>>()).await
        }
        EventKind::Created => hooks.on_upload_created(&upload).await,
        EventKind::Terminated => hooks.on_upload_terminate(&upload).await,
    };
    if let Err(error) = &told {
        tracing::error!(hook = hook.name(), %id, %error, "a hook failed; it is called again later");
    }
    told.is_ok()
}
