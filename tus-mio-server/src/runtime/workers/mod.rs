//! The threads for what may block on the disk or burn the processor: moving body bytes, syncing, unlinking.
//! A job carries what it needs and brings it back; no connection's state is shared with a worker.

pub(super) mod budget;
pub(super) mod job;
pub(super) mod queue;

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use tus_driver::{Class, Store};

use super::{
    egress::worker::{read_ahead, send},
    ingress::worker::Mover,
    mailbox::{Mailbox, Message},
    workers::{
        budget::{MAX_BYTES, WorkerBudget},
        job::{Address, BodyDone, Job, MoveEnd, QUANTUM, Step},
        queue::{QueueKind, WorkQueue},
    },
};
use crate::sync::lock;

/// The pool.
#[derive(Debug)]
pub(crate) struct Workers<S: Store> {
    queue: Mutex<WorkQueue<S>>,
    ready: Condvar,
    /// How many of them wait for a socket, and how many may.
    waiting: AtomicUsize,
    may_wait: usize,
}

impl<S: Store> Workers<S> {
    /// For so many threads on so many cores.
    pub(crate) fn new(threads: usize, cores: usize) -> Self {
        // Half of those that move bodies, and never the last one there is.
        let may_wait = cores.div_ceil(2).min(threads / 2);
        let queue = Mutex::new(WorkQueue::new(threads, cores));
        Self { queue, ready: Condvar::new(), waiting: AtomicUsize::new(0), may_wait }
    }

    /// Whether a job waits for a thread.
    pub(super) fn are_wanted(&self) -> bool {
        lock(&self.queue).are_wanting()
    }

    /// Lets a thread wait for a socket, unless that would leave too few for other bodies.
    pub(super) fn wait(&self, wait: impl FnOnce() -> bool) -> bool {
        let more = self.waiting.fetch_add(1, Ordering::Relaxed) < self.may_wait && wait();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        more
    }

    /// Queues a job. The queue is bounded by its users: a connection has at most one body job and one commit.
    pub(crate) fn submit(&self, job: Job<S>) {
        let mut queue = lock(&self.queue);
        queue.push(job);
        drop(queue);
        self.ready.notify_one();
    }

    /// Ends the threads once the queue is empty.
    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
        self.ready.notify_all();
    }

    /// A thread's body.
    pub(crate) fn run(&self, mailboxes: &Arc<[Mailbox<S>]>) {
        let mut mover = Mover::default();
        let mut buffer = Vec::new();
        let mut last = None;
        while let Some(job) = self.next(last) {
            last = Some(job.kind());
            match job {
                Job::Move { to, socket, sink, limit } => {
                    let done = mover.run(&socket, sink, limit.min(MAX_BYTES), WorkerBudget::begin(self));
                    deliver(mailboxes, to, done);
                }
                Job::Write { to, mut sink, data } => {
                    let end = sink.write(&mut &*data).map_or_else(MoveEnd::Failed, |()| MoveEnd::Done);
                    deliver(mailboxes, to, BodyDone { sink, data: Some(data), taken: 0, end });
                }
                Job::Send { to, socket, source, from, limit } => {
                    let until = from + limit.min(QUANTUM);
                    let waker = || waker(mailboxes, to);
                    let sent = send(&socket, source, (from, until), &mut buffer, &waker);
                    post(mailboxes, to.loop_index, Message::Sent(to.connection, sent));
                }
                Job::Read { to, source, from, limit, data } => {
                    let read = read_ahead(source, from, limit, data, &|| waker(mailboxes, to));
                    post(mailboxes, to.loop_index, Message::Read(to.connection, read));
                }
                Job::Run(class, Step(step)) => {
                    step();
                    if class == Class::Idle {
                        lock(&self.queue).idled();
                    }
                }
            }
        }
    }

    /// The next job, for the thread that is done with one of this kind.
    fn next(&self, last: Option<QueueKind>) -> Option<Job<S>> {
        let mut queue = lock(&self.queue);
        if let Some(kind) = last {
            queue.done(kind);
        }
        loop {
            if let Some(job) = queue.take() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Wakes a connection's loop once the store has more for it, or takes more from it.
pub(super) fn waker<S: Store>(mailboxes: &Arc<[Mailbox<S>]>, to: Address) -> Waker {
    Waker::from(Arc::new(StoreReady { mailboxes: mailboxes.clone(), to }))
}

struct StoreReady<S: Store> {
    mailboxes: Arc<[Mailbox<S>]>,
    to: Address,
}

impl<S: Store> Wake for StoreReady<S> {
    fn wake(self: Arc<Self>) {
        post(&self.mailboxes, self.to.loop_index, Message::StoreReady(self.to.connection));
    }
}

fn deliver<S: Store>(mailboxes: &[Mailbox<S>], to: Address, done: BodyDone<S>) {
    post(mailboxes, to.loop_index, Message::Body(to.connection, done));
}

fn post<S: Store>(mailboxes: &[Mailbox<S>], loop_index: usize, message: Message<S>) {
    if let Some(mailbox) = mailboxes.get(loop_index) {
        mailbox.post(message);
    }
}
