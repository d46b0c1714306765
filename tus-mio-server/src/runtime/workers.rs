//! The threads for what may block on the disk or burn the processor: moving body bytes, syncing, unlinking.
//! A job carries what it needs and brings it back; no connection's state is shared with a worker.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tus_proto::{Completion, Failure, Fence, Hasher, OpId, Owner, UploadId};
use tus_redb::{Source, Store, Syncer};

use super::{
    ConnectionId,
    committer::{Committer, Entry},
    intake::Intake,
    lanes::{Lane, Lanes, Materializing},
    mailbox::{Mailbox, Message, lock},
    sending::{read_ahead, send},
    socket::Socket,
    splice::Mover,
    stay::{SHARE, Stay},
};

/// How many body bytes a job moves before it makes room for others who wait, so that many uploads share the workers.
pub(crate) const QUANTUM: u64 = 1 << 20;

/// How many bytes are read back in one go: others have their turn after that.
const DIGEST: u64 = 16 << 20;

/// How many data files are unlinked in one go.
const RECLAIM: usize = 64;

/// How many bytes of an upload that lies in several files are put into one in one go: a worker that is alone is
/// away for so long.
const MATERIALIZE: u64 = 16 << 20;

/// How long that rests after a failure, which is most likely a full disk.
const MATERIALIZE_PAUSE: Duration = Duration::from_secs(60);

/// Where a job's result goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub loop_index: usize,
    pub connection: ConnectionId,
}

/// Something that may block. Thousands may be queued: what is large is boxed.
#[derive(Debug)]
pub(crate) enum Job {
    /// Moves at most `limit` bytes that are nothing but body from the socket to the store.
    Move { to: Address, socket: Arc<Socket>, intake: Intake, limit: u64 },
    /// Writes decoded body bytes.
    Write { to: Address, intake: Intake, data: Vec<u8> },
    /// Sends at most `limit` bytes of an upload, from this one on, to the socket.
    Send { to: Address, socket: Arc<Socket>, source: Box<Source>, from: u64, limit: u64 },
    /// Reads a stretch of an upload, as much as `data` has room for, at most `limit`, for a loop that encrypts it.
    Read { to: Address, source: Box<Source>, from: u64, limit: u64, data: Vec<u8> },
    /// Brings data to the disk, then its record to the committer.
    Sync { syncer: Syncer, finish_at: Option<u64>, entry: Box<Entry> },
    /// Reads staged bytes back and hashes them.
    Digest {
        loop_index: usize,
        owner: Owner,
        op: OpId,
        syncer: Syncer,
        range: (u64, u64),
        hasher: Box<Hasher>,
    },
    /// Forgets staged bytes.
    Discard { loop_index: usize, owner: Owner, op: OpId, id: UploadId, fence: Fence },
    /// Brings to the disk what an eventual store has not synced yet.
    FlushData,
    /// Unlinks data files that nothing refers to.
    Reclaim,
    /// Puts an upload that lies in several files into one.
    Materialize,
}

/// What became of a [`Job::Move`] or a [`Job::Write`]. The intake knows how much is staged.
#[derive(Debug)]
pub(crate) struct BodyDone {
    pub intake: Intake,
    /// The buffer of a Write, to be used again.
    pub data: Option<Vec<u8>>,
    /// How many bytes a Move took from the socket.
    pub taken: u64,
    pub end: MoveEnd,
}

/// Why a job stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveEnd {
    /// All is done that it was asked for.
    Done,
    /// The socket has no more for now.
    WouldBlock,
    /// The peer closed its side.
    Eof,
    /// The connection broke.
    Reset,
    /// The store could not take it.
    Failed(Failure),
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Workers {
    lanes: Mutex<Lanes>,
    ready: Condvar,
    /// How many of them wait for a socket, and how many may.
    waiting: AtomicUsize,
    may_wait: usize,
}

impl Workers {
    /// For so many threads on so many cores.
    pub(crate) fn new(threads: usize, cores: usize) -> Self {
        // Half of those that move bodies, and never the last one there is.
        let may_wait = cores.div_ceil(2).min(threads / 2);
        let lanes = Mutex::new(Lanes::new(threads, cores));
        Self { lanes, ready: Condvar::new(), waiting: AtomicUsize::new(0), may_wait }
    }

    /// Whether a job waits for a thread.
    pub(super) fn are_wanted(&self) -> bool {
        lock(&self.lanes).are_wanting()
    }

    /// Lets a thread wait for a socket, unless that would leave too few for other bodies.
    pub(super) fn wait(&self, wait: impl FnOnce() -> bool) -> bool {
        let more = self.waiting.fetch_add(1, Ordering::Relaxed) < self.may_wait && wait();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        more
    }

    /// Queues a job. The queue is bounded by its users: a connection has at most one body job and one commit.
    pub(crate) fn submit(&self, job: Job) {
        let mut lanes = lock(&self.lanes);
        let pending = match job {
            Job::FlushData => std::mem::replace(&mut lanes.flushing, true),
            Job::Reclaim => std::mem::replace(&mut lanes.reclaiming, true),
            _ => false,
        };
        if pending {
            return;
        }
        lanes.push(job);
        drop(lanes);
        self.ready.notify_one();
    }

    /// Uploads lie in several files: that is seen to behind everything else.
    pub(crate) fn materialize(&self) {
        let mut lanes = lock(&self.lanes);
        match lanes.materializing {
            Materializing::Wanted | Materializing::UnderWay => return,
            Materializing::NotBefore(at) if Instant::now() < at => return,
            Materializing::Off | Materializing::NotBefore(_) => {}
        }
        lanes.materializing = Materializing::Wanted;
        drop(lanes);
        self.ready.notify_one();
    }

    fn materialized(&self, result: Result<bool, Failure>) {
        lock(&self.lanes).materializing = match result {
            Ok(true) => Materializing::Wanted,
            Ok(false) => Materializing::Off,
            Err(_) => Materializing::NotBefore(Instant::now() + MATERIALIZE_PAUSE),
        };
    }

    /// Ends the threads once the queue is empty.
    pub(crate) fn close(&self) {
        lock(&self.lanes).closed = true;
        self.ready.notify_all();
    }

    fn is_closed(&self) -> bool {
        lock(&self.lanes).closed
    }

    /// A thread's body.
    pub(crate) fn run(&self, store: &Arc<Store>, mailboxes: &[Mailbox], committer: &Committer) {
        let mut mover = Mover::default();
        let mut buffer = Vec::new();
        let mut last = None;
        while let Some(job) = self.next(last) {
            last = Some(job.lane());
            match job {
                Job::Move { to, socket, intake, limit } => {
                    let done = mover.run(&socket, intake, limit.min(SHARE), Stay::begin(self));
                    deliver(mailboxes, to, done);
                }
                Job::Write { to, mut intake, data } => {
                    let end = intake.write(&data).map_or_else(MoveEnd::Failed, |()| MoveEnd::Done);
                    deliver(mailboxes, to, BodyDone { intake, data: Some(data), taken: 0, end });
                }
                Job::Send { to, socket, source, from, limit } => {
                    let until = from + limit.min(QUANTUM);
                    let sent = send(&socket, source, from, until, &mut buffer);
                    post(mailboxes, to.loop_index, Message::Sent(to.connection, sent));
                }
                Job::Read { to, source, from, limit, data } => {
                    let read = read_ahead(source, from, limit, data);
                    post(mailboxes, to.loop_index, Message::Read(to.connection, read));
                }
                Job::Sync { syncer, finish_at, entry } => match syncer.sync(finish_at) {
                    Ok(()) => committer.submit(*entry),
                    Err(failure) => {
                        let failed = Completion::Failed(failure);
                        complete(mailboxes, entry.loop_index, entry.owner, entry.op, failed);
                    }
                },
                Job::Digest { loop_index, owner, op, syncer, range: (from, to), mut hasher } => {
                    let until = to.min(from.saturating_add(DIGEST));
                    match syncer.read_back(from, until, &mut |bytes| hasher.update(bytes)) {
                        Ok(()) if until < to => {
                            let range = (until, to);
                            self.submit(Job::Digest { loop_index, owner, op, syncer, range, hasher });
                        }
                        Ok(()) => {
                            complete(mailboxes, loop_index, owner, op, Completion::Digested(hasher.finish()))
                        }
                        Err(failure) => {
                            complete(mailboxes, loop_index, owner, op, Completion::Failed(failure))
                        }
                    }
                }
                Job::Discard { loop_index, owner, op, id, fence } => {
                    let completion = store.discard(&id, fence);
                    complete(mailboxes, loop_index, owner, op, completion);
                }
                Job::FlushData => {
                    // What could not be synced is taken back by the flush that follows.
                    let _ = store.flush_data();
                    committer.flush();
                    lock(&self.lanes).flushing = false;
                }
                Job::Reclaim => {
                    // A failure is the store's trouble, which the committer tells; the next try is its as well.
                    let removed = store.reclaim(RECLAIM);
                    lock(&self.lanes).reclaiming = false;
                    if removed.is_ok_and(|removed| removed == RECLAIM) && !self.is_closed() {
                        self.submit(Job::Reclaim);
                    }
                }
                // What failed is told by the committer.
                Job::Materialize => self.materialized(store.materialize(MATERIALIZE)),
            }
        }
    }

    /// The next job, for whoever is done with one of this lane.
    fn next(&self, last: Option<Lane>) -> Option<Job> {
        let mut lanes = lock(&self.lanes);
        if let Some(lane) = last {
            lanes.done(lane);
        }
        loop {
            if let Some(job) = lanes.take() {
                return Some(job);
            }
            if lanes.closed {
                return None;
            }
            lanes = self.ready.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn deliver(mailboxes: &[Mailbox], to: Address, done: BodyDone) {
    post(mailboxes, to.loop_index, Message::Body(to.connection, done));
}

fn complete(mailboxes: &[Mailbox], loop_index: usize, owner: Owner, op: OpId, completion: Completion) {
    post(mailboxes, loop_index, Message::Stored(owner, op, completion));
}

fn post(mailboxes: &[Mailbox], loop_index: usize, message: Message) {
    if let Some(mailbox) = mailboxes.get(loop_index) {
        mailbox.post(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_put_together_only_where_there_is_nothing_else_to_do_and_by_one_worker() {
        let workers = Workers::new(2, 2);
        let disk = Some(Lane::Disk);
        workers.materialize();
        workers.submit(Job::FlushData);
        assert!(matches!(workers.next(None), Some(Job::FlushData)));
        assert!(matches!(workers.next(disk), Some(Job::Materialize)));
        workers.materialize();
        workers.submit(Job::Reclaim);
        assert!(matches!(workers.next(disk), Some(Job::Reclaim)));
        assert_eq!(lock(&workers.lanes).materializing, Materializing::UnderWay);
        workers.materialized(Ok(true));
        assert!(matches!(workers.next(disk), Some(Job::Materialize)), "there is more");
        workers.materialized(Ok(false));
        workers.materialize();
        assert!(matches!(workers.next(disk), Some(Job::Materialize)), "there is more again");
    }

    #[test]
    fn after_a_failure_it_rests() {
        let workers = Workers::new(2, 2);
        workers.materialize();
        workers.next(None);
        workers.materialized(Err(Failure::NoSpace));
        workers.materialize();
        workers.close();
        assert!(workers.next(None).is_none());
    }
}
