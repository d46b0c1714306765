//! The contract with hooks: what the people who run a server decide by code of their own. An exchange calls only
//! those that are subscribed ([`Subscriptions`]); the others cost nothing.
//!
//! Hooks that come after the fact (an upload is complete, or terminated) are no calls of an exchange: the store
//! keeps them in its outbox, and the runtime delivers them.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{mem::take, net::SocketAddr, time::Duration};

use crate::{Head, Record, UploadId};

/// Which hooks an exchange calls. Default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// [`HookCall::Incoming`].
    pub incoming: bool,
    /// [`HookCall::Create`].
    pub create: bool,
    /// [`HookCall::Chunk`].
    pub chunk: bool,
    /// [`HookCall::Terminate`].
    pub terminate: bool,
    /// [`HookCall::Finish`].
    pub finish: bool,
    /// [`HookCall::Progress`], at most once in this time for a request.
    pub progress: Option<Duration>,
    /// Whether events are shown with the request that made them: [`Exchange::request`](crate::Exchange::request) has
    /// it then.
    pub requests: bool,
}

impl Subscriptions {
    /// None at all.
    pub const NONE: Self = Self {
        incoming: false,
        create: false,
        chunk: false,
        terminate: false,
        finish: false,
        progress: None,
        requests: false,
    };

    /// Whether a hook is to see the upload that a body goes to.
    pub(crate) fn of_bodies(&self) -> bool {
        self.finish || self.progress.is_some()
    }
}

/// A request as hooks see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// The method, after `X-HTTP-Method-Override`.
    pub method: String,
    /// The method as it was sent.
    pub sent_method: String,
    /// The request target as it was sent.
    pub target: String,
    /// Names and values in their order; names in any case.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The address that the connection comes from, if the runtime has told it ([`HookCall::set_remote`]).
    pub remote: Option<SocketAddr>,
}

impl RequestInfo {
    /// A copy of a head, with the method that counts.
    pub(crate) fn of(head: &Head<'_>, method: &str) -> Self {
        let fields = head.fields.iter().map(|(name, value)| ((*name).into(), value.to_vec()));
        Self {
            method: method.into(),
            sent_method: head.method.into(),
            target: head.target.into(),
            fields: fields.collect(),
            remote: None,
        }
    }

    /// The first value of this name, compared without case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_slice())
    }
}

/// A part of a final that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The upload that the request names.
    pub id: UploadId,
    /// That upload as it is committed; `None` if there is none of that id, or not any more. The final is rejected
    /// then, once the hook has let the request go on: what no hook has seen becomes part of nothing.
    pub upload: Option<Record>,
}

/// What an exchange asks. Each completes exactly once, as a [`HookReply`]; the runtime sets a deadline to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookCall {
    /// Before anything else is done, for every request but OPTIONS. May reject. What is wrong with the request
    /// by its head alone, its path and method apart, is told after it.
    Incoming {
        /// The request.
        request: Arc<RequestInfo>,
        /// The upload that the target names; none for the collection.
        id: Option<UploadId>,
        /// That upload as it is committed; `None` if there is none of that id, or it is gone.
        upload: Option<Record>,
        /// Of a POST of a final: its parts, in order.
        parts: Vec<Part>,
    },
    /// Before an upload is created. May reject, replace the metadata, and choose the id.
    Create {
        /// The request.
        request: Arc<RequestInfo>,
        /// The upload as it would be.
        upload: Record,
        /// Of a final: its parts as they are committed, in order. All of them are there.
        parts: Vec<Record>,
    },
    /// Once a request that brought bytes, before its last commit, however its body ended, where those bytes are
    /// to stay. May stop the upload: it is deleted then. Where it fails, what is not committed yet is forgotten:
    /// no upload is ever complete without its word.
    Chunk {
        /// The request.
        request: Arc<RequestInfo>,
        /// The upload's id.
        id: UploadId,
        /// The offset that is to be committed, in bytes.
        offset: u64,
        /// The upload's length, where it is known.
        length: Option<u64>,
    },
    /// Before an upload is deleted for its client. May reject.
    Terminate {
        /// The request.
        request: Arc<RequestInfo>,
        /// The upload.
        upload: Record,
    },
    /// Once this request has made an upload complete, a part apart, before the lock goes and the request is answered.
    /// May choose the answer. Where it fails, the answer is an internal error; the upload stays complete.
    Finish {
        /// The request.
        request: Arc<RequestInfo>,
        /// The upload.
        upload: Record,
    },
    /// Bytes have come, not the last ones. Nothing waits for the reply; while the body still comes, it may stop the
    /// upload: it is deleted then.
    Progress {
        /// The request.
        request: Arc<RequestInfo>,
        /// The upload. Its offset tells the bytes that have come, committed or not.
        upload: Record,
    },
}

impl HookCall {
    /// Whether the request waits for the reply. Otherwise the exchange may end before it comes.
    pub fn is_awaited(&self) -> bool {
        !matches!(self, Self::Progress { .. })
    }

    /// The request.
    pub fn request(&self) -> &Arc<RequestInfo> {
        match self {
            Self::Incoming { request, .. }
            | Self::Create { request, .. }
            | Self::Chunk { request, .. }
            | Self::Terminate { request, .. }
            | Self::Finish { request, .. }
            | Self::Progress { request, .. } => request,
        }
    }

    /// Tells the address that the connection comes from.
    pub fn set_remote(&mut self, remote: SocketAddr) {
        match self {
            Self::Incoming { request, .. }
            | Self::Create { request, .. }
            | Self::Chunk { request, .. }
            | Self::Terminate { request, .. }
            | Self::Finish { request, .. }
            | Self::Progress { request, .. } => Arc::make_mut(request).remote = Some(remote),
        }
    }
}

/// What a hook decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookReply {
    /// Go on.
    Proceed,
    /// Go on with these instead. A hook that chooses an id which is taken, or metadata no client might have sent, has
    /// failed.
    Change {
        /// `Upload-Metadata` in its form on the wire; none to leave it as it is. For Create alone.
        metadata: Option<String>,
        /// Another id; none to leave it as it is. For Create alone.
        id: Option<UploadId>,
        /// What the answer is to say if the request does well. For Create, Terminate and Finish.
        response: Option<Box<Amendment>>,
    },
    /// Do not go on, and answer this.
    Reject(Rejection),
    /// The hook did not come to a decision: it failed, or took too long. Whose fault that is only the server's
    /// people can know, so the client is told of an internal error.
    Failed,
}

/// What a hook adds to the answer of a request that does well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amendment {
    /// Another status, 200 to 599; anything else is ignored.
    pub status: Option<u16>,
    /// Names and values to add. Those that the protocol or the framing set themselves are left out, and so are
    /// malformed ones.
    pub headers: Vec<(String, String)>,
    /// The body, `text/plain; charset=utf-8` unless a header says otherwise. With one, a status that allows none
    /// becomes 200.
    pub body: String,
}

impl Amendment {
    /// Adds what a later hook has to say: its word counts where both have one.
    pub(crate) fn merge(&mut self, mut later: Self) {
        self.status = later.status.or(self.status);
        let is_later = |name: &str| later.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        self.headers.retain(|(name, _)| !is_later(name));
        self.headers.append(&mut later.headers);
        if !later.body.is_empty() {
            self.body = take(&mut later.body);
        }
    }
}

/// The answer with which a hook rejects a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status, 400 to 599; anything else is answered as 500 (423 to a HEAD).
    pub status: u16,
    /// Names and values to add. Those that the protocol or the framing set themselves are left out, and so are
    /// malformed ones.
    pub headers: Vec<(String, String)>,
    /// The body, `text/plain; charset=utf-8` unless a header says otherwise. Where it is empty, the answer says
    /// what was rejected.
    pub body: String,
}

impl Rejection {
    /// Whether the status is that of a rejection.
    pub(crate) fn is_error(&self) -> bool {
        (400..600).contains(&self.status)
    }
}
