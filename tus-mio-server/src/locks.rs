//! The lock service as a trait, for locks that several processes share. Without one, a server keeps the locks of
//! its own process in a [`LockTable`](tus_proto::LockTable).

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use tus_proto::{Fence, LockCall, LockEvent, OpId, Owner};

/// Who grants locks: one writer an upload. What each call means, and what may be replied, is said at
/// [`LockCall`]; who calls is a [`Caller`], which holds or waits for at most one lock at a time.
///
/// # What is promised to it
/// A caller that was granted a lock renews it well before its time is over, and releases it when it can write
/// no more, however its request ends. One that waits, and gives up, releases as well. After the reply to that no
/// call of the same caller comes.
///
/// # What it promises
/// - Each call is replied to exactly once, but for [`LockCall::Checkpointed`], which has no reply. A request waits
///   for its reply without a deadline of its own: a service that can't be reached says
///   [`LockReply::Unavailable`](tus_proto::LockReply::Unavailable), and one at which `wait` is over
///   [`LockReply::TimedOut`](tus_proto::LockReply::TimedOut). The first becomes a 500, the second a 423.
/// - Of two grants for the same upload the later has the higher number, across restarts of everybody too, and none
///   is below the number that [`start`](Self::start) tells: the store refuses lower ones, as those of a writer
///   that has lost its lock. It is that number that keeps a writer harmless that does not know yet.
/// - A grant says `fresh` unless the holder before it is known to have released: it may then still be writing.
/// - A holder whose lock goes to somebody else is told [`LockEvent::Lost`], or
///   [`LockReply::Lost`](tus_proto::LockReply::Lost) when it renews. Its body ends there with 400
///   `ERR_UPLOAD_INTERRUPTED`, and no more of it is committed. A grant that can't be renewed in its time counts
///   as lost.
/// - Where somebody waits, the holder is told [`LockEvent::Yield`] with the offset of who waits; it releases soon
///   after. A service that can't do that leaves clients with 423 until a dead connection's writer has noticed.
/// - [`LockCall::Checkpoint`] may be replied to at once where the writer can't be asked: HEAD then tells what was
///   committed last. HEAD takes no lock, and is not held up by a service that can't be reached.
pub trait LockService: fmt::Debug + Send + Sync {
    /// The store is open, and no call was made yet. `first` is above every number under which anybody has written
    /// to it.
    fn start(&self, first: Fence);

    /// Takes a call, and returns at once: event loops make it. What there is to say is told to the caller, in here
    /// or later, from any thread.
    fn call(&self, caller: &Caller, op: OpId, call: LockCall);
}

/// A request to which a lock service speaks. Two are equal if they are the same request's.
#[derive(Clone)]
pub struct Caller {
    owner: Owner,
    inbox: Arc<dyn Inbox>,
}

/// Where a runtime takes in what its requests are told.
pub(crate) trait Inbox: Send + Sync {
    fn post(&self, owner: Owner, event: LockEvent);
}

impl Caller {
    pub(crate) fn new(owner: Owner, inbox: Arc<dyn Inbox>) -> Self {
        Self { owner, inbox }
    }

    /// Tells the request something: `LockEvent::Reply(op, reply)` in reply to a call, or what it did not ask for.
    /// Does not wait, and harms nobody once the request is over.
    pub fn tell(&self, event: LockEvent) {
        self.inbox.post(self.owner, event);
    }

    fn place(&self) -> (Owner, *const ()) {
        (self.owner, Arc::as_ptr(&self.inbox).cast())
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.owner.0).finish()
    }
}
