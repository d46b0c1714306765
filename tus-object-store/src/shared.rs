//! What the store and the lock service of one opening have in common.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, Semaphore};
use tus_driver::{Caller, EventKinds};
use tus_proto::{Fence, Instant, LockEvent, UploadId};

use crate::{
    budget::Budget,
    cache::Cache,
    document::{Document, Lease},
    options::Options,
    peers::HeadMarks,
    requests::{Requests, lock},
    staging::Staging,
};

/// How many leases of other servers are remembered.
const OBSERVED: usize = 16_384;

pub(crate) struct Shared {
    pub requests: Requests,
    pub options: Options,
    /// This opening: in leases, and in events.
    pub owner: u64,
    pub first_fence: u64,
    pub cache: Mutex<Cache>,
    pub active: Mutex<BTreeMap<UploadId, Active>>,
    pub held: Mutex<BTreeMap<UploadId, Held>>,
    pub observed: Mutex<Observed>,
    pub budget: Budget,
    /// How many parts may be on their way at once.
    pub places: Semaphore,
    pub events: Mutex<Events>,
    /// Which uploads are open for reading here, and how often: their bytes stay meanwhile.
    pub readers: Mutex<BTreeMap<UploadId, usize>>,
    pub closing: AtomicBool,
    /// Uploads that are published at once.
    pub publishing: Semaphore,
    /// A lease was given back, or lost.
    pub given_back: Notify,
    /// HEADs whose look-up is to ask another server's writer to commit first.
    pub heads: HeadMarks,
}

/// The last sink of an upload.
pub(crate) struct Active {
    pub fence: u64,
    pub staging: Weak<Staging>,
}

/// A lease that this opening has.
pub(crate) struct Held {
    pub fence: u64,
    pub ttl: Duration,
    pub caller: Caller,
    /// When the write was sent that others have last seen at the earliest: the lease lives a `ttl` from then on.
    pub written: Instant,
    /// When the record was last committed to, for checkpoints.
    pub committed: Instant,
    /// The record as the grant has left it, for the look-up that follows.
    pub reload: Option<Document>,
    /// The last commit has given the lease back.
    pub released: bool,
    /// Parts were sent that no record names.
    pub dirty: bool,
    /// A HEAD waits for a commit.
    pub asked: bool,
    /// The holder was told that a request waits.
    pub yielded: bool,
}

#[derive(Default)]
pub(crate) struct Events {
    pub kinds: EventKinds,
    pub wake: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Events and hints of other openings, and since when they were seen as they are.
    pub seen: BTreeMap<(UploadId, u64, String), Instant>,
}

/// Leases of other openings, and since when each was seen unchanged, on this machine's steady clock. Times of two machines
/// are never compared.
#[derive(Default)]
pub(crate) struct Observed {
    leases: BTreeMap<UploadId, (Lease, Instant)>,
    order: VecDeque<UploadId>,
}

impl Observed {
    /// Sees a lease, and returns since when it has been like that.
    pub(crate) fn see(&mut self, id: &UploadId, lease: &Lease, now: Instant) -> Instant {
        if let Some((seen, since)) = self.leases.get_mut(id) {
            if seen != lease {
                (*seen, *since) = (lease.clone(), now);
            }
            return *since;
        }
        self.leases.insert(id.clone(), (lease.clone(), now));
        self.order.push_back(id.clone());
        if self.order.len() > OBSERVED
            && let Some(oldest) = self.order.pop_front()
        {
            self.leases.remove(&oldest);
        }
        now
    }
}

impl Shared {
    /// Runs a task to its end. What can't run is dropped, with the tickets in it: that the executor runs tasks was tried
    /// when the store was opened.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if self.requests.executor.spawn(Box::pin(task)).is_err() {
            tracing::error!("the executor does not run tasks any more");
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Whether a lease of another opening has been unchanged for its whole life: its holder has stopped.
    pub(crate) fn has_run_out(&self, id: &UploadId, lease: &Lease) -> bool {
        let now = self.requests.now();
        let since = lock(&self.observed).see(id, lease, now);
        now.since(since) >= Duration::from_millis(lease.ttl_ms)
    }

    /// Looks at a record that was just read: tells the holder of its lock here what concerns it.
    pub(crate) fn notice(&self, id: &UploadId, document: &Document) {
        if let Some(lease) = document.lease.as_ref().filter(|lease| lease.owner != self.owner) {
            self.has_run_out(id, lease);
        }
        let mut held = lock(&self.held);
        let Some(held) = held.get_mut(id) else { return };
        let event = if document.fence > held.fence {
            LockEvent::Lost
        } else {
            match &document.wanted {
                Some(wanted) if wanted.by != self.owner => LockEvent::Yield(wanted.offset),
                _ => return,
            }
        };
        if !std::mem::replace(&mut held.yielded, true) || event == LockEvent::Lost {
            held.caller.tell(event);
        }
    }

    /// The lease under which a writer of this number writes, if it has one.
    pub(crate) fn with_held<T>(
        &self,
        id: &UploadId,
        fence: Fence,
        with: impl FnOnce(&mut Held) -> T,
    ) -> Option<T> {
        lock(&self.held).get_mut(id).filter(|held| held.fence == fence.0).map(with)
    }

    pub(crate) fn is_read(&self, id: &UploadId) -> bool {
        lock(&self.readers).contains_key(id)
    }
}

impl Shared {
    /// Memory is used up, and little of it is on its way to the bucket: sends the fullest buffers as they are, so that slow
    /// bodies do not keep the others waiting.
    pub(crate) fn relieve(&self) {
        if !self.budget.is_stuck() {
            return;
        }
        let mut stagings: Vec<_> =
            lock(&self.active).values().filter_map(|active| active.staging.upgrade()).collect();
        // Bodies go on meanwhile: each is asked once, else there is no order among them.
        stagings.sort_by_cached_key(|staging| std::cmp::Reverse(staging.buffered()));
        for staging in stagings {
            if !self.budget.is_stuck() || staging.relieve() == 0 {
                return;
            }
        }
    }
}
