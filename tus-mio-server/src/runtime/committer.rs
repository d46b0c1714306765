//! The one thread that commits: it takes all changes that are ready and hands them to the store as one group.
//! A lone change is not delayed for company; while one group is being made durable, the next gathers.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tus_proto::{OpId, Owner};
use tus_redb::{Change, Store};

use super::{
    Shared,
    mailbox::{Mailbox, Message, lock},
    workers::Job,
};

/// The most changes in one group: what a transaction takes in a few milliseconds.
const GROUP: usize = 256;

/// How many expired uploads are removed in one transaction.
const SWEEP: usize = 64;

/// How long an eventual store may hold back what a power cut would take.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// A change and whom its completion concerns.
#[derive(Debug)]
pub(crate) struct Entry {
    pub loop_index: usize,
    pub owner: Owner,
    pub op: OpId,
    pub change: Change,
}

/// The queue before the committer's thread.
#[derive(Debug)]
pub(crate) struct Committer {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    /// A worker has synced what a flush needs.
    flush: bool,
    closed: bool,
}

impl Committer {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::default(), ready: Condvar::new() }
    }

    /// Queues a change whose data is on disk.
    pub(crate) fn submit(&self, entry: Entry) {
        lock(&self.queue).entries.push(entry);
        self.ready.notify_one();
    }

    /// The data of all commits so far is synced: the records may follow.
    pub(crate) fn flush(&self) {
        lock(&self.queue).flush = true;
        self.ready.notify_one();
    }

    /// Ends [`run`](Self::run) once the queue is empty.
    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
        self.ready.notify_one();
    }

    /// The thread's body.
    pub(crate) fn run(&self, shared: &Shared) {
        let Shared { store, mailboxes, workers, clock, cleanup_interval: cleanup, .. } = shared;
        let cleanup = *cleanup;
        let mut group = Vec::new();
        let (mut last_flush, mut last_sweep) = (Instant::now(), Instant::now());
        // What expired while no server ran goes at once.
        let mut sweep = true;
        while let Some(flush) = self.next_group(&mut group, sweep) {
            if group.is_empty() {
                // What was read last need not be held for a store that is idle.
                store.rest();
            } else {
                commit(store, mailboxes, &mut group);
            }
            if flush {
                let _ = store.flush();
            } else if store.needs_flush() && last_flush.elapsed() >= FLUSH_INTERVAL {
                last_flush = Instant::now();
                workers.submit(Job::FlushData);
            }
            if last_sweep.elapsed() >= cleanup {
                last_sweep = Instant::now();
                sweep = true;
            }
            if std::mem::take(&mut sweep) {
                let now = clock.now().wall;
                let swept = store.sweep(now, SWEEP).unwrap_or_default();
                sweep = swept.more;
                if swept.expired > 0 {
                    tracing::info!(uploads = swept.expired, "expired");
                }
            }
            if store.needs_reclaim() {
                workers.submit(Job::Reclaim);
            }
            if let Some(trouble) = store.trouble() {
                tracing::error!("the store: {trouble}");
            }
        }
        if store.flush().is_err() {
            let trouble = store.trouble().unwrap_or_default();
            tracing::error!("what was committed last could not be made durable: {trouble}");
        }
    }

    /// Waits for changes, for a flush, or for a second to pass. None when closed and empty.
    fn next_group(&self, group: &mut Vec<Entry>, at_once: bool) -> Option<bool> {
        let mut queue = lock(&self.queue);
        if queue.entries.is_empty() && !queue.flush && !queue.closed && !at_once {
            let waited = self.ready.wait_timeout(queue, FLUSH_INTERVAL);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if queue.entries.is_empty() && queue.closed {
            return None;
        }
        let count = queue.entries.len().min(GROUP);
        group.extend(queue.entries.drain(..count));
        Some(std::mem::take(&mut queue.flush))
    }
}

fn commit(store: &Store, mailboxes: &[Mailbox], group: &mut Vec<Entry>) {
    let mut changes = Vec::with_capacity(group.len());
    let mut addresses = Vec::with_capacity(group.len());
    for entry in group.drain(..) {
        changes.push(entry.change);
        addresses.push((entry.loop_index, entry.owner, entry.op));
    }
    let completions = store.commit(&changes);
    let mut letters: Vec<Vec<Message>> = mailboxes.iter().map(|_| Vec::new()).collect();
    for ((loop_index, owner, op), completion) in addresses.into_iter().zip(completions) {
        if let Some(letters) = letters.get_mut(loop_index) {
            letters.push(Message::Stored(owner, op, completion));
        }
    }
    for (mailbox, letters) in mailboxes.iter().zip(letters) {
        mailbox.post_all(letters.into_iter());
    }
}
