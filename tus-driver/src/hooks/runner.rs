//! The port to hooks: how a runtime has them called, whatever they are. A set of functions is one ([`HookSet`](super::HookSet)),
//! programs and HTTP services that a runtime reaches are others.

use std::{fmt, path::PathBuf, sync::Arc};

use tus_proto::{HookCall, HookReply, Record, RequestInfo, Subscriptions, UploadId};

use super::Hook;
use crate::{EventKind, EventKinds, OutboxEvent, Ticket};

/// Finds the files that hold an upload, and how many of its bytes are in each; `None` if there are none.
pub type FindFiles = dyn Fn(&UploadId) -> Vec<(PathBuf, u64)> + Send + Sync;

/// Calls hooks. Several calls may be under way at once.
///
/// A runtime gives a call a deadline of its own: once it has passed, the request goes on with
/// [`HookReply::Failed`], and what the ticket is answered then is dropped.
pub trait HookRunner: fmt::Debug + Send + Sync + 'static {
    /// Which hooks exchanges are to call.
    fn subscriptions(&self) -> Subscriptions;

    /// Which events the store's outbox is to keep.
    fn events(&self) -> EventKinds;

    /// Whether [`decide`](Self::decide) and [`deliver`](Self::deliver) may hold up the thread that calls them until
    /// the hook has returned: a runtime then calls them on a thread that it can spare. Otherwise they return at once,
    /// and the ticket is answered later, by whatever the runner has started for it.
    fn blocks(&self) -> bool {
        true
    }

    /// Takes the way to an upload's files. Called once, before any other call; a runner that shows no files drops it.
    fn set_files(&self, files: Box<FindFiles>) {
        drop(files);
    }

    /// What a hook has decided before and is known to decide again; `None` if it must be asked. Never waits.
    fn recall(&self, call: &HookCall) -> Option<HookReply> {
        let _ = call;
        None
    }

    /// Calls a hook. The ticket is answered once, from any thread. A request waits for the answer if
    /// [`HookCall::is_awaited`] says so.
    fn decide(&self, call: HookCall, ticket: Ticket<HookReply>);

    /// Delivers an event. The ticket is answered once: `true` if the event was taken note of and may leave the outbox,
    /// `false` if it is to be delivered again.
    fn deliver(&self, event: HookEvent, ticket: Ticket<bool>);

    /// Whether any hook is called by exchanges.
    fn decides(&self) -> bool {
        self.subscriptions() != Subscriptions::default()
    }

    /// Whether any event is wanted.
    fn delivers(&self) -> bool {
        self.events() != EventKinds::default()
    }
}

/// What has happened to an upload, as hooks are told it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookEvent {
    /// The event's number in the outbox. With the upload's id it names the event, also when it is delivered again.
    pub number: u64,
    /// What has happened.
    pub kind: EventKind,
    /// The upload as it was then.
    pub record: Record,
    /// If it is complete: the files that its bytes are in, and how many bytes are in each.
    pub files: Vec<(PathBuf, u64)>,
    /// The request that made it true, if [`Subscriptions::requests`] asks for it, and unless the process has ended in
    /// the meantime.
    pub request: Option<Arc<RequestInfo>>,
}

impl HookEvent {
    /// An event of the outbox, with the files that the store names for it
    /// ([`Store::files`](crate::Store::files)) if its kind [has any](Self::has_files).
    pub fn new(event: OutboxEvent, files: Vec<(PathBuf, u64)>) -> Self {
        let OutboxEvent { number, kind, record, .. } = event;
        Self { number, kind, record, files, request: None }
    }

    /// The same event with the request that made it true.
    #[must_use]
    pub fn with_request(self, request: Option<Arc<RequestInfo>>) -> Self {
        Self { request, ..self }
    }

    /// Whether hooks are shown the upload's files.
    pub fn has_files(kind: EventKind) -> bool {
        kind == EventKind::Completed
    }

    /// The hook that it is for.
    pub fn hook(&self) -> Hook {
        Hook::of_event(self.kind)
    }
}
