//! Requests that wait for a hook, as data: what the hook is asked, and what they go on with once it lets them.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};

use super::{
    answer::Answer,
    request::{HeadRejection, Parts, Request, TerminateRequest},
};
use crate::{
    ErrorCode, HookCall, Record, Rejection, RequestInfo, UploadId,
    header::{Checksums, checked_metadata},
};

/// A request that goes on once its hook lets it.
#[derive(Debug)]
pub(super) enum Pending {
    Incoming(Incoming),
    Create(PendingCreate),
    /// Under the lock, so that the hook sees the upload that would be deleted, as the client's condition does.
    Terminate(TerminateRequest),
}

/// Any request but OPTIONS, and what its head has come to: rejections by the head alone are told after the hook.
#[derive(Debug)]
pub(super) struct Incoming {
    pub id: Option<UploadId>,
    pub to_head: bool,
    pub checked: Result<Request, HeadRejection>,
    pub entropy: [u8; 10],
}

/// An upload as it would be: `on_upload_create` may still change it, or reject it.
#[derive(Debug)]
pub(super) struct PendingCreate {
    pub record: Record,
    /// What `Location` has before the id.
    pub location: String,
    pub kind: CreateKind,
}

/// What else it takes to make it.
#[derive(Debug)]
pub(super) enum CreateKind {
    Upload { checksums: Checksums, with_upload: bool, waits: bool },
    Final { parts: Parts },
}

impl PendingCreate {
    pub(super) fn new(record: Record, location: String, kind: CreateKind) -> Self {
        Self { record, location, kind }
    }

    /// What the hook is asked.
    pub(super) fn call(&self, request: Arc<RequestInfo>) -> HookCall {
        let parts = match &self.kind {
            CreateKind::Upload { .. } => Vec::new(),
            CreateKind::Final { parts } => parts.records(),
        };
        HookCall::Create { request, upload: self.record.clone(), parts }
    }

    /// Its parts, if it is a final.
    pub(super) fn parts(&mut self) -> Option<&mut Parts> {
        match &mut self.kind {
            CreateKind::Upload { .. } => None,
            CreateKind::Final { parts } => Some(parts),
        }
    }

    /// With what the hook would have instead; `None` if it breaks the rules of the header.
    pub(super) fn changed(
        mut self,
        metadata: Option<String>,
        id: Option<UploadId>,
        max_metadata: usize,
    ) -> Option<Self> {
        if let Some(metadata) = metadata {
            self.record.metadata = checked_metadata(metadata, max_metadata).ok()?;
        }
        if let Some(id) = id {
            self.record.id = id;
        }
        Some(self)
    }
}

impl Incoming {
    /// The parts of the final that the request is for.
    pub(super) fn parts(&mut self) -> Option<&mut Parts> {
        match &mut self.checked {
            Ok(Request::Concat(assembly)) => Some(&mut assembly.parts),
            _ => None,
        }
    }
}

impl Pending {
    /// The parts that its hook is to see.
    pub(super) fn parts(&mut self) -> Option<&mut Parts> {
        match self {
            Self::Incoming(incoming) => incoming.parts(),
            Self::Create(pending) => pending.parts(),
            Self::Terminate(_) => None,
        }
    }

    pub(super) fn refused(self, mut rejection: Rejection) -> Answer {
        let (code, to_head) = match self {
            Self::Incoming(incoming) => (ErrorCode::RequestRejected, incoming.to_head),
            Self::Create(_) => (ErrorCode::UploadRejected, false),
            Self::Terminate(_) => (ErrorCode::TerminationRejected, false),
        };
        if to_head && !rejection.is_error() {
            // A 5xx of a hook's own choice stands, one of our making does not.
            rejection.status = ErrorCode::UploadLocked.status();
        }
        Answer::Rejected { rejection: Box::new(rejection), code, to_head }
    }

    /// The request fails before anything was done.
    pub(super) fn failed(&self, code: ErrorCode) -> Answer {
        match self {
            Self::Incoming(Incoming { to_head: true, .. }) => Answer::HeadFailed(ErrorCode::UploadLocked),
            Self::Incoming(_) | Self::Create(_) | Self::Terminate(_) => Answer::Failed(code),
        }
    }
}
