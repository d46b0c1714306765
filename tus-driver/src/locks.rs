//! The lock service as a trait, for locks that several processes share. Without one, a server keeps the locks of
//! its own process in a [`LockTable`](tus_proto::LockTable).

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tus_proto::{Fence, Instant, LockCall, LockEvent, LockTable, OpId, Owner};

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
///   is below the number that [`start`](Self::start) tells: the store rejects lower ones, as those of a writer
///   that has lost its lock. It is that number that keeps a writer harmless that does not know yet.
/// - A grant says `rotate` unless the holder before it is known to have released: it may then still be writing.
/// - A holder whose lock goes to somebody else is told [`LockEvent::Lost`], or
///   [`LockReply::Lost`](tus_proto::LockReply::Lost) when it renews. Its body ends there with 400
///   `ERR_UPLOAD_INTERRUPTED`, and no more of it is committed. A grant that can't be renewed in its time counts
///   as lost.
/// - Where another request waits, the holder is told [`LockEvent::Yield`] with the offset of that one; it
///   releases soon after. A service that can't do that leaves clients with 423 until a dead connection's writer has noticed.
/// - A caller that may not preempt ([`LockCall::Acquire`]) is no reason to tell a holder anything: where the lock is
///   held, it is [`LockReply::TimedOut`](tus_proto::LockReply::TimedOut) at once.
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
pub trait Inbox: Send + Sync {
    /// Posts an event, from any thread. Never waits; drops what is for a request that is over.
    fn post(&self, owner: Owner, event: LockEvent);
}

impl Caller {
    /// The request of this number, whose runtime takes events in there.
    pub fn new(owner: Owner, inbox: Arc<dyn Inbox>) -> Self {
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

/// Grants the locks of one process, or passes calls on to a service.
pub enum Locks {
    /// This process alone.
    Table(Mutex<LockTable>),
    /// A service, which speaks to requests through the inbox.
    Service(Arc<dyn LockService>, Arc<dyn Inbox>),
}

impl Locks {
    /// Those of this process, or a service's; the first grant has at least the number `first`.
    pub fn new(first: Fence, service: Option<(Arc<dyn LockService>, Arc<dyn Inbox>)>) -> Self {
        let Some((service, inbox)) = service else { return Self::Table(Mutex::new(LockTable::new(first))) };
        service.start(first);
        Self::Service(service, inbox)
    }

    /// Whether a free lock is granted within the call that asks for it.
    pub fn grants_at_once(&self) -> bool {
        matches!(self, Self::Table(_))
    }

    /// Makes a call, delivers its replies and events here, and returns when [`timeout`](Self::timeout) is due.
    /// `deliver` runs under the table's lock: the events of two calls for one request must not overtake each other.
    pub fn call(
        &self,
        now: Instant,
        owner: Owner,
        op: OpId,
        call: LockCall,
        deliver: impl FnMut(Owner, LockEvent),
    ) -> Option<Instant> {
        match self {
            Self::Table(table) => {
                let mut table = lock(table);
                table.call(now, owner, op, call);
                drain(&mut table, deliver)
            }
            Self::Service(service, inbox) => {
                service.call(&Caller::new(owner, inbox.clone()), op, call);
                None
            }
        }
    }

    /// Lets waits and grants run out, and returns when that is due again.
    pub fn timeout(&self, now: Instant, deliver: impl FnMut(Owner, LockEvent)) -> Option<Instant> {
        let Self::Table(table) = self else { return None };
        let mut table = lock(table);
        table.timeout(now);
        drain(&mut table, deliver)
    }

    /// When [`timeout`](Self::timeout) is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Table(table) => lock(table).deadline(),
            Self::Service(..) => None,
        }
    }

    /// Whether nobody holds, or waits for, a lock of this process.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Table(table) => lock(table).is_empty(),
            Self::Service(..) => true,
        }
    }
}

fn drain(table: &mut LockTable, mut deliver: impl FnMut(Owner, LockEvent)) -> Option<Instant> {
    while let Some((owner, event)) = table.poll() {
        deliver(owner, event);
    }
    table.deadline()
}

fn lock(table: &Mutex<LockTable>) -> MutexGuard<'_, LockTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => table.fmt(f),
            Self::Service(service, _) => service.fmt(f),
        }
    }
}
