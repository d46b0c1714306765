//! The one thread that commits: it takes all changes that are ready and hands them to the store as one group.
//! A lone change is not delayed for company; while one group is being made durable, the next gathers.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tus_proto::{Completion, Failure, OpId, Owner, UploadId};
use tus_redb::{Change, Store};

use super::{
    Shared,
    deliverer::makes_event,
    mailbox::{Message, lock},
    workers::Job,
};

/// The most changes in one group: what a transaction takes in a few milliseconds.
const GROUP: usize = 256;

/// How many expired uploads are removed in one transaction.
const SWEEP: usize = 64;

/// How long an eventual store may hold back what a power cut would take.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// How often a store that can't commit is tried, where no change comes that would.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

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
    /// The disk failed the last commit.
    failing: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    /// Events that hooks have taken note of: of which uploads, and their numbers in the outbox.
    acknowledged: Vec<(UploadId, u64)>,
    /// A worker has synced what a flush needs.
    flush: bool,
    closed: bool,
}

/// What one transaction takes.
#[derive(Debug, Default)]
struct Group {
    entries: Vec<Entry>,
    acknowledged: Vec<(UploadId, u64)>,
}

impl Committer {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::default(), ready: Condvar::new(), failing: AtomicBool::new(false) }
    }

    /// Queues a change whose data is on disk. The queue is bounded by its users: a request has one change under way.
    pub(crate) fn submit(&self, entry: Entry) {
        lock(&self.queue).entries.push(entry);
        self.ready.notify_one();
    }

    /// Queues the removal of an event from the outbox.
    pub(crate) fn acknowledge(&self, id: UploadId, number: u64) {
        lock(&self.queue).acknowledged.push((id, number));
        self.ready.notify_one();
    }

    /// The data of all commits so far is synced: the records may follow.
    pub(crate) fn flush(&self) {
        lock(&self.queue).flush = true;
        self.ready.notify_one();
    }

    /// Whether the disk failed the last commit.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Ends [`run`](Self::run) once the queue is empty.
    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
        self.ready.notify_one();
    }

    /// The thread's body.
    pub(crate) fn run(&self, shared: &Shared) {
        let Shared { store, workers, clock, metrics, cleanup_interval: cleanup, .. } = shared;
        let cleanup = *cleanup;
        let mut group = Group::default();
        let (mut last_flush, mut last_sweep) = (Instant::now(), Instant::now());
        let mut last_probe = Instant::now();
        // What expired while no server ran goes at once.
        let mut sweep = true;
        while let Some(flush) = self.next_group(&mut group, sweep) {
            shared.notices.flush(Instant::now());
            if group.is_empty() {
                // What was read last need not be held for a store that is idle.
                store.rest();
            } else {
                self.commit(shared, &mut group);
            }
            if (self.is_failing() || store.is_full()) && last_probe.elapsed() >= PROBE_INTERVAL {
                last_probe = Instant::now();
                self.probe(store);
            }
            if flush {
                let _ = store.flush();
                // An eventual store shows its events only then.
                if let Some(deliverer) = shared.deliverer() {
                    deliverer.wake();
                }
            } else if store.needs_flush()
                && (last_flush.elapsed() >= FLUSH_INTERVAL || store.is_flush_pressing())
            {
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
                metrics.swept(swept.expired);
                if swept.expired > 0 {
                    tracing::info!(uploads = swept.expired, "expired");
                }
            }
            if store.needs_reclaim() {
                workers.submit(Job::Reclaim);
            }
            if store.needs_materialize() {
                workers.materialize();
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
    fn next_group(&self, group: &mut Group, at_once: bool) -> Option<bool> {
        let mut queue = lock(&self.queue);
        if queue.is_empty() && !queue.flush && !queue.closed && !at_once {
            let waited = self.ready.wait_timeout(queue, FLUSH_INTERVAL);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if queue.is_empty() && queue.closed {
            return None;
        }
        let count = queue.entries.len().min(GROUP);
        group.entries.extend(queue.entries.drain(..count));
        // There are never more of them than the delivery has in its window.
        group.acknowledged.append(&mut queue.acknowledged);
        Some(std::mem::take(&mut queue.flush))
    }

    fn commit(&self, shared: &Shared, group: &mut Group) {
        let Shared { store, mailboxes, metrics, .. } = shared;
        let mut changes = Vec::with_capacity(group.entries.len() + group.acknowledged.len());
        let mut addresses = Vec::with_capacity(group.entries.len());
        for entry in group.entries.drain(..) {
            changes.push(entry.change);
            addresses.push((entry.loop_index, entry.owner, entry.op));
        }
        let eventful = changes.iter().any(makes_event);
        changes.extend(group.acknowledged.iter().map(|(_, number)| Change::Acknowledge { number: *number }));
        let begun = Instant::now();
        let finals = store.finals_finished();
        let mut completions = store.commit(&changes);
        // Those that a part has completed: no exchange tells of them.
        metrics.finished(store.finals_finished() - finals);
        metrics.committed(completions.len(), begun.elapsed());
        self.learn(&completions);
        if let Some(deliverer) = shared.deliverer() {
            let acknowledged = completions.drain(addresses.len()..);
            for ((id, _), completion) in group.acknowledged.drain(..).zip(acknowledged) {
                deliverer.acknowledged(id, !matches!(completion, Completion::Failed(_)));
            }
            if eventful {
                deliverer.wake();
            }
        }
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

    /// Sees from a group's completions whether the disk works. Where nothing was to be committed, nothing shows.
    pub(super) fn learn(&self, completions: &[Completion]) {
        let done = |completion: &Completion| {
            matches!(
                completion,
                Completion::Created
                    | Completion::Concatenated(_)
                    | Completion::Committed { .. }
                    | Completion::Deleted
            )
        };
        if completions.iter().any(done) {
            self.failing.store(false, Ordering::Relaxed);
        } else if completions.contains(&Completion::Failed(Failure::Io)) {
            self.failing.store(true, Ordering::Relaxed);
        }
    }

    /// Tries a store that could not commit: who asks for the server's health may have sent everybody else away.
    fn probe(&self, store: &Store) {
        let failing = matches!(store.probe(), Err(Failure::Io | Failure::Unavailable));
        self.failing.store(failing, Ordering::Relaxed);
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.acknowledged.is_empty()
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.acknowledged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tus_redb::sim::{Fault, SimDisk};

    use super::*;

    /// Creates an upload, and tells whether the disk counts as failing afterwards.
    fn create(shared: &Shared, id: &str) -> bool {
        shared.create(id);
        shared.committer.is_failing()
    }

    #[test]
    fn a_failing_disk_shows_and_so_does_its_recovery() {
        let disk = SimDisk::new();
        let shared = Shared::on(&disk);
        let (store, committer) = (&shared.store, &shared.committer);
        assert!(!create(&shared, "a"));
        disk.fail(0..u64::MAX, Fault::Io);
        assert!(create(&shared, "b"));
        committer.probe(store);
        assert!(committer.is_failing(), "the disk still fails");
        disk.heal();
        committer.probe(store);
        assert!(!committer.is_failing());
        assert!(!create(&shared, "c"));
    }

    #[test]
    fn a_disk_that_has_recovered_shows_without_any_change() {
        let shared = Shared::on(&SimDisk::new());
        let committer = &shared.committer;
        committer.learn(&[Completion::Failed(Failure::Io)]);
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| committer.run(&shared));
            while committer.is_failing() && begun.elapsed() < Duration::from_secs(20) {
                thread::sleep(Duration::from_millis(5));
            }
            committer.close();
        });
        assert!(!committer.is_failing());
    }

    #[test]
    fn a_refused_change_shows_nothing_and_one_that_is_done_shows_that_the_disk_works() {
        let shared = Shared::on(&SimDisk::new());
        let committer = &shared.committer;
        assert!(!create(&shared, "a"));
        committer.learn(&[Completion::Failed(Failure::Io), Completion::Missing]);
        assert!(create(&shared, "a"), "it exists: nothing was committed");
        assert!(!create(&shared, "b"));
        committer.learn(&[Completion::Deleted, Completion::Failed(Failure::Io)]);
        assert!(!committer.is_failing(), "the group was committed, whatever one of its changes lacked");
    }

    #[test]
    fn a_full_disk_is_no_failing_one_and_a_probe_finds_new_space() {
        let disk = SimDisk::new();
        let shared = Shared::on(&disk);
        let (store, committer) = (&shared.store, &shared.committer);
        disk.set_free(Some(0));
        let mut number = 0;
        while !store.is_full() && number < 1000 {
            number += 1;
            assert!(!create(&shared, &number.to_string()));
        }
        assert!(store.is_full());
        committer.probe(store);
        assert!(store.is_full() && !committer.is_failing());
        disk.set_free(None);
        committer.probe(store);
        assert!(!store.is_full() && !committer.is_failing());
    }
}
