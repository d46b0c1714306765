//! Which job a worker takes next. Receiving bodies burns the processor, and more workers at it than there are cores only
//! keep each other, and the event loops, from it; syncs and downloads wait for the disk, which is better at several of
//! them at once. So there is a queue for each: bodies have a worker for each core, and one of them nobody else ever has, unless
//! there is but one.

use std::collections::VecDeque;

use tus_driver::{Class, Store};

use crate::runtime::workers::job::Job;

/// The jobs that wait, and how many of each queue are being done.
#[derive(Debug)]
pub(in crate::runtime) struct WorkQueue<S: Store> {
    bodies: BoundedQueue<S>,
    disk: BoundedQueue<S>,
    /// Which had its turn last.
    last: QueueKind,
    /// Long housekeeping, one at a time, when there is nothing else to do; and whether it is under way.
    idle: VecDeque<Job<S>>,
    idling: bool,
    pub(in crate::runtime) closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum QueueKind {
    Bodies,
    Disk,
}

#[derive(Debug)]
struct BoundedQueue<S: Store> {
    jobs: VecDeque<Job<S>>,
    running: usize,
    most: usize,
}

impl<S: Store> WorkQueue<S> {
    /// For so many workers on so many cores.
    pub(in crate::runtime) fn new(workers: usize, cores: usize) -> Self {
        let queue = |most: usize| BoundedQueue { jobs: VecDeque::new(), running: 0, most: most.max(1) };
        Self {
            bodies: queue(workers.min(cores)),
            disk: queue(workers.saturating_sub(1)),
            last: QueueKind::Disk,
            idle: VecDeque::new(),
            idling: false,
            closed: false,
        }
    }

    pub(in crate::runtime) fn push(&mut self, job: Job<S>) {
        match job {
            Job::Run(Class::Idle, _) => self.idle.push_back(job),
            _ => self.of(job.kind()).jobs.push_back(job),
        }
    }

    /// The next job that may be done, each queue in its turn. It counts until [`Self::done`] is told of it.
    pub(in crate::runtime) fn take(&mut self) -> Option<Job<S>> {
        let other = if self.last == QueueKind::Disk { QueueKind::Bodies } else { QueueKind::Disk };
        for kind in [other, self.last] {
            let queue = self.of(kind);
            if queue.is_ready() {
                queue.running += 1;
                self.last = kind;
                return self.of(kind).jobs.pop_front();
            }
        }
        if self.idling || self.closed || self.disk.running == self.disk.most {
            return None;
        }
        let job = self.idle.pop_front()?;
        self.idling = true;
        self.disk.running += 1;
        Some(job)
    }

    /// The idle job that was taken is done.
    pub(in crate::runtime) fn idled(&mut self) {
        self.idling = false;
    }

    /// A job of this kind was done. Its worker takes the next one, so no other has to be woken for what this one has kept waiting.
    pub(in crate::runtime) fn done(&mut self, kind: QueueKind) {
        self.of(kind).running -= 1;
    }

    /// Whether a queued job could run once the current worker has finished, or if there were one more.
    pub(in crate::runtime) fn are_wanting(&self) -> bool {
        !self.bodies.jobs.is_empty() || self.disk.is_ready()
    }

    fn of(&mut self, kind: QueueKind) -> &mut BoundedQueue<S> {
        match kind {
            QueueKind::Bodies => &mut self.bodies,
            QueueKind::Disk => &mut self.disk,
        }
    }
}

impl<S: Store> BoundedQueue<S> {
    fn is_ready(&self) -> bool {
        self.running < self.most && !self.jobs.is_empty()
    }
}

impl<S: Store> Job<S> {
    pub(in crate::runtime) fn kind(&self) -> QueueKind {
        match self {
            Self::Move { .. } | Self::Write { .. } | Self::Run(Class::Compute, _) => QueueKind::Bodies,
            Self::Send { .. } | Self::Read { .. } | Self::Run(..) => QueueKind::Disk,
        }
    }
}

#[cfg(test)]
mod tests {
    use tus_driver::MemoryStore;

    use super::*;
    use crate::runtime::workers::job::Step;

    fn job(class: Class) -> Job<MemoryStore> {
        Job::Run(class, Step(Box::new(|| {})))
    }

    fn class(job: Job<MemoryStore>) -> Class {
        match job {
            Job::Run(class, _) => class,
            other => panic!("{other:?}"),
        }
    }

    /// Lanes with so many jobs of each, and which of them are taken, until there is none to take.
    fn taken(workers: usize, cores: usize, bodies: usize, disk: usize) -> Vec<QueueKind> {
        let mut queue = WorkQueue::new(workers, cores);
        (0..disk).for_each(|_| queue.push(job(Class::Blocking)));
        (0..bodies).for_each(|_| queue.push(job(Class::Compute)));
        std::iter::from_fn(|| queue.take()).map(|job| job.kind()).collect()
    }

    #[test]
    fn bodies_have_a_worker_for_each_core_and_the_disk_all_but_one() {
        use QueueKind::{Bodies, Disk};
        assert_eq!(taken(4, 2, 9, 9), [Bodies, Disk, Bodies, Disk, Disk]);
        assert_eq!(taken(4, 2, 9, 0), [Bodies; 2]);
        assert_eq!(taken(4, 2, 0, 9), [Disk; 3]);
        assert_eq!(taken(2, 8, 9, 9), [Bodies, Disk, Bodies]);
        assert_eq!(taken(1, 1, 9, 9), [Bodies, Disk]);
    }

    #[test]
    fn idle_work_is_done_where_there_is_nothing_else_to_do_and_by_one_worker() {
        let mut queue = WorkQueue::new(3, 2);
        queue.push(job(Class::Idle));
        queue.push(job(Class::Idle));
        queue.push(job(Class::Background));
        assert_eq!(queue.take().map(class), Some(Class::Background));
        assert_eq!(queue.take().map(class), Some(Class::Idle), "the other worker of the disk");
        queue.done(QueueKind::Disk);
        assert!(queue.take().is_none(), "one at a time");
        queue.done(QueueKind::Disk);
        queue.idled();
        assert_eq!(queue.take().map(class), Some(Class::Idle));
    }

    #[test]
    fn idle_work_leaves_the_last_worker_to_bodies() {
        let mut queue = WorkQueue::new(2, 2);
        queue.push(job(Class::Idle));
        queue.push(job(Class::Blocking));
        assert_eq!(queue.take().map(class), Some(Class::Blocking));
        assert!(queue.take().is_none(), "the other worker is for bodies");
        queue.done(QueueKind::Disk);
        assert_eq!(queue.take().map(class), Some(Class::Idle));
    }

    #[test]
    fn a_job_that_is_done_makes_room_for_the_next_of_its_lane() {
        let mut queue = WorkQueue::new(2, 2);
        queue.push(job(Class::Background));
        queue.push(job(Class::Blocking));
        assert_eq!(queue.take().map(class), Some(Class::Background));
        assert!(queue.take().is_none() && !queue.are_wanting());
        queue.done(QueueKind::Disk);
        assert!(queue.are_wanting());
        assert_eq!(queue.take().map(class), Some(Class::Blocking));
    }
}
