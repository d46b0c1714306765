//! What goes into and out of a session, except the bytes of its body.

use std::sync::Arc;

use tus_proto::{
    Cancel, Digest, Event, Failure, HookCall, HookReply, Interim, LockCall, LockEvent, OpId, RequestInfo,
    Response, UploadId,
};

use crate::{Changed, EventKind, Loaded, LookupError, Opened, Store};

/// What a session wants of its runtime.
#[derive(Debug)]
pub enum Effect {
    /// Call the lock service. Its reply arrives as [`Arrival::Lock`].
    Lock(OpId, LockCall),
    /// Call a hook. Its reply arrives as [`Arrival::Hook`].
    Hook(OpId, HookCall),
    /// Send `100 Continue` if the client waits for it: nothing but the body can still fail.
    Continue,
    /// Send this before the response, at once. A runtime whose framework can't send it leaves it out.
    Interim(Interim),
    /// Send this, at most once. If its body is an upload's, [`Session::take_source`](super::Session::take_source) has it.
    Respond(Response),
    /// For metrics: something worth counting.
    Notify(Event),
    /// For metrics: the store failed a call.
    Failed(Failure),
    /// The session is over. Last, and exactly once.
    Done,
}

/// What arrives for a session from other threads.
#[derive(Debug)]
pub enum Arrival<S: Store> {
    /// A look-up is answered.
    Loaded(OpId, Loaded),
    /// A change is answered.
    Changed(OpId, Changed),
    /// A digest is answered.
    Digested(OpId, Result<Digest, LookupError>),
    /// A sink is open.
    Sink(OpId, Opened<S::Sink>),
    /// A source is open.
    Source(OpId, Opened<S::Source>),
    /// The lock service says this.
    Lock(LockEvent),
    /// A hook has decided.
    Hook(OpId, HookReply),
    /// The request must end.
    Cancel(Cancel),
}

/// The way by which late answers reach their session: a runtime posts them to the thread, task or queue that has the session,
/// and wakes it. An arrival for a session that is over is dropped.
pub trait Inlet<S: Store>: Send + 'static {
    /// Posts an arrival, from any thread. Never waits.
    fn post(&self, arrival: Arrival<S>);
}

/// Receives which events a session's changes are about to put into the outbox, and for which request. It is called before the
/// store is: so it knows an event's request before the outbox shows the event.
pub trait EventWitness: Send + Sync {
    /// A change is about to be made that makes this event true if it succeeds. Events that it makes of other uploads
    /// are not told.
    fn expect(&self, id: &UploadId, kind: EventKind, request: &Arc<RequestInfo>);
}
