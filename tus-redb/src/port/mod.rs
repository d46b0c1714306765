//! The store as the driver's port: calls that answer at once or later, on threads that the runtime gives. What must be
//! synced before a record is written, which changes share a transaction, and which housekeeping is due is decided in this
//! room, and nowhere else: `group.rs` and `chores.rs` are machines without threads or time, `commits.rs` and `housekeeping.rs`
//! run what they say, `driver.rs` is the port itself.

mod body;
mod chores;
mod commits;
mod driver;
mod group;
mod hashing;
mod housekeeping;
pub(crate) mod observer;
mod open;
pub(crate) mod quota;

use std::{
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use tus_driver::{Changed, Executor, Ticket};

use crate::{
    port::{chores::Chores, group::Group, observer::Observer, quota::Quota},
    store::{Store, change::Change},
};

/// A [`Store`] behind the driver's port: see [`tus_driver::Store`]. A clone is the same store.
#[derive(Clone)]
pub struct RedbStore(Arc<Shared>);

/// A [`RedbStore`] for what the store itself holds on to, as its [`Observer`]: it keeps nothing open.
#[derive(Clone)]
pub struct WeakRedbStore(Weak<Shared>);

impl WeakRedbStore {
    /// The store, if it is still open.
    pub fn upgrade(&self) -> Option<RedbStore> {
        self.0.upgrade().map(RedbStore)
    }
}

struct Shared {
    engine: Store,
    executor: Arc<dyn Executor>,
    observer: Box<dyn Observer>,
    group: Mutex<Group<Entry>>,
    chores: Mutex<Chores>,
    quota: Quota,
    /// The disk failed the last commit.
    failing: AtomicBool,
    /// The last probe failed though commits succeed: for example because the data files' directory is gone.
    bodies_fail: AtomicBool,
    closing: AtomicBool,
    /// The number of the checkpoint that was begun last.
    checkpoint: AtomicU64,
    /// Called when events may be due.
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

/// A change in the group, and who is told of it.
struct Entry {
    change: Change,
    reply: Reply,
}

/// Who is told what became of a change.
enum Reply {
    /// The request that asked for it.
    Ticket(Ticket<Changed>),
    /// The Append whose new extent it is, which goes on then.
    Append(Box<dyn FnOnce(Changed) + Send>),
}

impl Reply {
    fn tell(self, changed: Changed) {
        match self {
            Self::Ticket(ticket) => ticket.answer(changed),
            Self::Append(open) => open(changed),
        }
    }
}

impl RedbStore {
    /// Puts an opened store behind the port. Its work is done by the executor's threads; expired uploads are looked for
    /// at each `sweep_interval`, at the start too.
    pub fn start(
        engine: Store,
        executor: Arc<dyn Executor>,
        observer: Box<dyn Observer>,
        sweep_interval: Duration,
    ) -> Self {
        let quota = Quota::new(engine.space_limits());
        let shared = Arc::new(Shared {
            quota,
            engine,
            executor,
            observer,
            group: Mutex::default(),
            chores: Mutex::new(Chores::new(sweep_interval)),
            failing: AtomicBool::new(false),
            bodies_fail: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            checkpoint: AtomicU64::new(0),
            wake: Mutex::default(),
        });
        shared.measure_all();
        shared.clone().tick();
        Self(shared)
    }

    /// The store itself: to look into, to read finished uploads from.
    pub fn engine(&self) -> &Store {
        &self.0.engine
    }

    /// The same store, without keeping it open.
    pub fn downgrade(&self) -> WeakRedbStore {
        WeakRedbStore(Arc::downgrade(&self.0))
    }

    /// How many bytes uploads have, and how many unfinished ones have announced and not sent. Without a limit of space,
    /// a call causes a measurement, at most one a minute, and returns the last result; `None` before the first. Does not
    /// wait.
    pub fn space_taken(&self) -> Option<(u64, u64)> {
        self.0.quota.measured()
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedbStore").field(&self.0.engine).finish()
    }
}

#[cfg(test)]
mod tests;
