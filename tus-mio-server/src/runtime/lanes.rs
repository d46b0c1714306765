//! Which job a worker takes next. Receiving bodies burns the processor, and more workers at it than there are cores only
//! keep each other, and the event loops, from it; syncs and downloads wait for the disk, which is better at several of
//! them at once. So there is a lane for each: bodies have a worker for each core, and one of them nobody else ever has, unless
//! there is but one.

use std::{collections::VecDeque, time::Instant};

use super::workers::Job;

/// The jobs that wait, and how many of each lane are being done.
#[derive(Debug)]
pub(super) struct Lanes {
    bodies: Line,
    disk: Line,
    /// Which had its turn last.
    last: Lane,
    /// Of each kind of housekeeping one job is enough.
    pub(super) flushing: bool,
    pub(super) reclaiming: bool,
    pub(super) materializing: Materializing,
    pub(super) closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Bodies,
    Disk,
}

#[derive(Debug)]
struct Line {
    jobs: VecDeque<Job>,
    running: usize,
    most: usize,
}

/// Whether uploads are to be put into one file each. One worker does it at a time, when there is nothing else to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Materializing {
    #[default]
    Off,
    Wanted,
    UnderWay,
    /// It failed.
    NotBefore(Instant),
}

impl Lanes {
    /// For so many workers on so many cores.
    pub(super) fn new(workers: usize, cores: usize) -> Self {
        let line = |most: usize| Line { jobs: VecDeque::new(), running: 0, most: most.max(1) };
        Self {
            bodies: line(workers.min(cores)),
            disk: line(workers.saturating_sub(1)),
            last: Lane::Disk,
            flushing: false,
            reclaiming: false,
            materializing: Materializing::Off,
            closed: false,
        }
    }

    pub(super) fn push(&mut self, job: Job) {
        self.line(job.lane()).jobs.push_back(job);
    }

    /// The next job that may be done, each lane in its turn. It counts until [`Self::done`] is told of it.
    pub(super) fn take(&mut self) -> Option<Job> {
        let other = if self.last == Lane::Disk { Lane::Bodies } else { Lane::Disk };
        for lane in [other, self.last] {
            let line = self.line(lane);
            if line.is_ready() {
                line.running += 1;
                self.last = lane;
                return self.line(lane).jobs.pop_front();
            }
        }
        let is_wanted = self.materializing == Materializing::Wanted && !self.closed;
        if is_wanted && self.disk.running < self.disk.most {
            self.materializing = Materializing::UnderWay;
            self.disk.running += 1;
            return Some(Job::Materialize);
        }
        None
    }

    /// A job of this lane was done. Whoever did it takes the next: nobody has to be woken for what it has kept waiting.
    pub(super) fn done(&mut self, lane: Lane) {
        self.line(lane).running -= 1;
    }

    /// Whether a job waits for who has one of the bodies' places, or for one worker more.
    pub(super) fn are_wanting(&self) -> bool {
        !self.bodies.jobs.is_empty() || self.disk.is_ready()
    }

    fn line(&mut self, lane: Lane) -> &mut Line {
        match lane {
            Lane::Bodies => &mut self.bodies,
            Lane::Disk => &mut self.disk,
        }
    }
}

impl Line {
    fn is_ready(&self) -> bool {
        self.running < self.most && !self.jobs.is_empty()
    }
}

impl Job {
    pub(super) fn lane(&self) -> Lane {
        match self {
            Self::Move { .. } | Self::Write { .. } | Self::Digest { .. } => Lane::Bodies,
            Self::Send { .. }
            | Self::Read { .. }
            | Self::Sync { .. }
            | Self::Discard { .. }
            | Self::FlushData
            | Self::Reclaim
            | Self::Materialize => Lane::Disk,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tus_proto::UploadId;
    use tus_redb::sim::SimDisk;

    use super::*;
    use crate::runtime::{ConnectionId, Shared, intake::Intake, workers::Address};

    /// Bytes for an upload.
    fn body(shared: &Shared) -> Job {
        let to = Address { loop_index: 0, connection: ConnectionId { slot: 0, generation: 1 } };
        let id = UploadId::new("first").unwrap();
        let sink = shared.store.append(&id, shared.store.first_fence(), 0).unwrap();
        Job::Write { to, intake: Intake::new(sink, None), data: Vec::new() }
    }

    /// Lanes with so many jobs of each, and which of them are taken, until there is none to take.
    fn taken(workers: usize, cores: usize, bodies: usize, disk: usize) -> Vec<Lane> {
        let shared = Shared::on(&SimDisk::new());
        shared.create("first");
        let mut lanes = Lanes::new(workers, cores);
        (0..disk).for_each(|_| lanes.push(Job::Reclaim));
        (0..bodies).for_each(|_| lanes.push(body(&shared)));
        std::iter::from_fn(|| lanes.take()).map(|job| job.lane()).collect()
    }

    #[test]
    fn bodies_have_a_worker_for_each_core_and_the_disk_all_but_one() {
        use Lane::{Bodies, Disk};
        assert_eq!(taken(4, 2, 9, 9), [Bodies, Disk, Bodies, Disk, Disk]);
        assert_eq!(taken(4, 2, 9, 0), [Bodies; 2]);
        assert_eq!(taken(4, 2, 0, 9), [Disk; 3]);
        assert_eq!(taken(2, 8, 9, 9), [Bodies, Disk, Bodies]);
        assert_eq!(taken(1, 1, 9, 9), [Bodies, Disk]);
    }

    #[test]
    fn files_are_put_together_in_the_lane_of_the_disk() {
        let mut lanes = Lanes::new(2, 2);
        lanes.materializing = Materializing::Wanted;
        lanes.push(Job::Reclaim);
        assert!(matches!(lanes.take(), Some(Job::Reclaim)));
        assert!(lanes.take().is_none(), "the other worker is for bodies");
        lanes.done(Lane::Disk);
        assert!(matches!(lanes.take(), Some(Job::Materialize)));
    }

    #[test]
    fn a_job_that_is_done_makes_room_for_the_next_of_its_lane() {
        let mut lanes = Lanes::new(2, 2);
        lanes.push(Job::Reclaim);
        lanes.push(Job::FlushData);
        assert!(matches!(lanes.take(), Some(Job::Reclaim)));
        assert!(lanes.take().is_none() && !lanes.are_wanting());
        lanes.done(Lane::Disk);
        assert!(lanes.are_wanting());
        assert!(matches!(lanes.take(), Some(Job::FlushData)));
    }
}
