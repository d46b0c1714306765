//! What workers and the committer do, one piece at a time: each call of the store is an event of its own.

use tus_proto::{Completion, Failure, Fence, Hasher, OpId, Owner, UploadId};
use tus_redb::{Change, Source, Syncer};

use super::{Entry, Letter, Server, body::Intake, download::send};
use crate::sim::{
    env::{Env, LinkId},
    network::Read,
};

/// How many expired uploads are removed in one transaction.
const SWEEP: usize = 4;

/// How many data files are unlinked in one go.
const RECLAIM: usize = 3;

/// Something that may block, and whom it concerns.
#[derive(Debug)]
pub(in crate::sim) struct Job {
    pub(super) link: Option<LinkId>,
    pub(in crate::sim) owner: Option<Owner>,
    pub(super) op: Option<OpId>,
    pub(super) work: Work,
}

impl Job {
    /// Whether it is housekeeping, and nobody's in particular.
    pub(in crate::sim) fn is_house(&self) -> bool {
        self.owner.is_none()
    }

    /// Whether it waits until nothing else is left to do.
    pub(in crate::sim) fn is_late(&self) -> bool {
        matches!(self.work, Work::Send { late: true, .. })
    }

    /// Whether it brings bytes to the disk.
    pub(in crate::sim) fn syncs(&self) -> bool {
        matches!(self.work, Work::Sync { .. } | Work::FlushData)
    }
}

#[derive(Debug)]
pub(super) enum Work {
    /// Moves at most `limit` body bytes from the network to the store.
    Move {
        intake: Intake,
        limit: u64,
    },
    /// Writes decoded body bytes.
    Write {
        intake: Intake,
        data: Vec<u8>,
    },
    /// Brings data to the disk, then its record to the committer.
    Sync {
        syncer: Syncer,
        finish_at: Option<u64>,
        entry: Entry,
    },
    /// Reads staged bytes back and hashes them.
    Digest {
        syncer: Syncer,
        range: (u64, u64),
        hasher: Box<Hasher>,
    },
    Discard {
        id: UploadId,
        fence: Fence,
    },
    /// Reads an upload's bytes, at most `limit` of them, and sends them.
    Send {
        source: Source,
        from: u64,
        limit: u64,
        late: bool,
    },
    FlushData,
    Reclaim,
    /// Puts finals into one file.
    Materialize,
}

/// What became of a body's bytes. The intake knows how much is staged.
#[derive(Debug)]
pub(in crate::sim) struct BodyDone {
    pub(super) intake: Intake,
    pub(super) taken: u64,
    pub(super) end: MoveEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MoveEnd {
    Done,
    Eof,
    Reset,
    Failed(Failure),
}

impl Server {
    /// Lets a worker do a piece of this job.
    pub(in crate::sim) fn work(&mut self, env: &mut Env, index: usize) {
        let Job { link, owner, op, work } = self.jobs.swap_remove(index);
        env.note(|| format!("a worker: {}", work.name(owner)));
        let stored = |completion| owner.zip(op).map(|(owner, op)| Letter::Stored(owner, op, completion));
        let letter = match work {
            Work::Move { intake, limit } => {
                link.map(|link| Letter::Body(link, carry(env, link, intake, limit)))
            }
            Work::Write { mut intake, mut data } => {
                let rest = data.split_off(env.choice.part(data.len() as u64) as usize);
                let written = intake.take(&data);
                if written.is_ok() && !rest.is_empty() {
                    return self.jobs.push(Job { link, owner, op, work: Work::Write { intake, data: rest } });
                }
                let end = written.map_or_else(MoveEnd::Failed, |()| MoveEnd::Done);
                link.map(|link| Letter::Body(link, BodyDone { intake, taken: 0, end }))
            }
            Work::Sync { syncer, finish_at, entry } => match syncer.sync(finish_at) {
                Ok(()) => return self.commits.push_back(entry),
                Err(failure) => {
                    env.oracle.on_change(&entry.change, &Completion::Failed(failure));
                    stored(Completion::Failed(failure))
                }
            },
            Work::Digest { syncer, range: (from, to), mut hasher } => {
                let until = if from < to { from + env.choice.part(to - from) } else { to };
                match syncer.read_back(from, until, &mut |bytes| hasher.update(bytes)) {
                    Ok(()) if until < to => {
                        let work = Work::Digest { syncer, range: (until, to), hasher };
                        return self.jobs.push(Job { link, owner, op, work });
                    }
                    Ok(()) => stored(Completion::Digested(hasher.finish())),
                    Err(failure) => stored(Completion::Failed(failure)),
                }
            }
            Work::Discard { id, fence } => stored(self.store.discard(&id, fence)),
            Work::Send { source, from, limit, .. } => {
                link.map(|link| Letter::Sent(link, send(env, link, source, from, limit)))
            }
            Work::FlushData => {
                let _ = self.store.flush_data();
                env.oracle.look_at_faults(&env.disk);
                self.flush = true;
                None
            }
            Work::Reclaim => {
                let _ = self.store.reclaim(RECLAIM);
                None
            }
            Work::Materialize => {
                let budget = env.choice.magnitude(50_000);
                let gathered = self.store.materialize(budget);
                env.note(|| format!("a worker: gathering is {gathered:?}"));
                None
            }
        };
        self.letters.extend(letter);
    }

    /// Queues a piece of housekeeping, unless it is queued already.
    pub(in crate::sim) fn keep_house(&mut self, env: &mut Env) {
        let work = match env.choice.below(4) {
            0 | 1 if self.store.needs_flush() => Work::FlushData,
            2 if self.store.needs_materialize() => Work::Materialize,
            _ => Work::Reclaim,
        };
        let same = |job: &Job| job.owner.is_none() && job.work.name(None) == work.name(None);
        if !self.jobs.iter().any(same) {
            self.jobs.push(Job { link: None, owner: None, op: None, work });
        }
    }

    /// The committer takes the first changes of its queue, and commits them.
    pub(in crate::sim) fn commit_group(&mut self, env: &mut Env) {
        let count = env.choice.part(self.commits.len() as u64) as usize;
        let group: Vec<Entry> = self.commits.drain(..count).collect();
        let changes: Vec<Change> = group.iter().map(|entry| entry.change.clone()).collect();
        let completions = self.store.commit(&changes);
        env.oracle.look_at_faults(&env.disk);
        env.report.commits += 1;
        for (change, completion) in changes.iter().zip(&completions) {
            env.note(|| format!("the committer: {} is {completion:?}", outline(change)));
            self.failing = matches!(completion, Completion::Failed(_));
            env.report.late += u64::from(env.oracle.is_late(change));
            env.oracle.on_change(change, completion);
        }
        let letters = group.into_iter().zip(completions);
        self.letters.extend(letters.map(|(entry, done)| Letter::Stored(entry.owner, entry.op, done)));
    }

    /// What the committer does beside commits.
    pub(in crate::sim) fn commit_nothing(&mut self, env: &mut Env) {
        if env.plan.store.events.completed && env.choice.one_in(2) {
            return self.tell_events(env);
        }
        if self.failing || self.store.is_full() {
            let probed = self.store.probe();
            self.failing &= probed.is_err();
            self.on_flushed(env, "a probe", probed);
        } else if self.flush || (self.store.needs_flush() && env.choice.one_in(2)) {
            self.flush = false;
            let flushed = self.store.flush();
            self.on_flushed(env, "a flush", flushed);
        } else {
            let swept = self.store.sweep(env.now.wall, SWEEP);
            env.note(|| format!("the committer: a sweep is {swept:?}"));
            env.oracle.on_sweep(env.now.wall);
        }
    }

    /// The store has flushed all that was committed, or tried: a probe does so as well.
    fn on_flushed(&self, env: &mut Env, what: &str, flushed: Result<(), Failure>) {
        env.note(|| format!("the committer: {what} is {flushed:?}"));
        env.oracle.look_at_faults(&env.disk);
        if flushed.is_ok() && !env.disk.has_died() {
            env.oracle.on_flush(&self.store, &env.disk);
        }
    }
}

impl Server {
    /// Tells somebody of the first events, and forgets those that were heard.
    pub(in crate::sim) fn tell_events(&mut self, env: &mut Env) {
        let mut failed = Vec::new();
        for entry in self.store.outbox(0, 3).unwrap_or_default() {
            // Who is told fails at times, and hears nothing more of that upload before it has heard this.
            if failed.contains(&entry.record.id) || env.fault(if env.plan.hooked() { 30 } else { 0 }) {
                failed.push(entry.record.id);
                continue;
            }
            env.note(|| format!("event {}: {:?} of {}", entry.number, entry.kind, entry.record.id));
            env.oracle.look_at_faults(&env.disk);
            env.oracle.on_event(&entry);
            let heard = env.over || env.choice.one_in(2);
            if !heard {
                failed.push(entry.record.id);
            } else {
                let _ = self.store.commit(&[Change::Acknowledge { number: entry.number }]);
            }
        }
    }
}

impl Intake {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.sink.write(bytes).map_err(|error| error.failure)
    }
}

/// Moves what has arrived to the store, past the connection.
fn carry(env: &mut Env, link: LinkId, mut intake: Intake, limit: u64) -> BodyDone {
    let read = env.links.get_mut(&link).map_or(Read::Broken, |link| link.read_up(limit as usize));
    let (taken, end) = match read {
        Read::Bytes(bytes) => {
            let end = intake.take(&bytes).map_or_else(MoveEnd::Failed, |()| MoveEnd::Done);
            (bytes.len() as u64, end)
        }
        Read::Nothing => (0, MoveEnd::Done),
        Read::End => (0, MoveEnd::Eof),
        Read::Broken => (0, MoveEnd::Reset),
    };
    BodyDone { intake, taken, end }
}

impl Work {
    fn name(&self, owner: Option<Owner>) -> String {
        let what = match self {
            Self::Move { .. } => "moves",
            Self::Write { .. } => "writes",
            Self::Sync { .. } => "syncs",
            Self::Digest { .. } => "reads back",
            Self::Discard { .. } => "discards",
            Self::Send { .. } => "sends",
            Self::FlushData => "syncs all",
            Self::Reclaim => "reclaims",
            Self::Materialize => "gathers",
        };
        match owner {
            Some(owner) => format!("{what} for {}", owner.0),
            None => what.to_owned(),
        }
    }
}

/// A change in a few words.
fn outline(change: &Change) -> String {
    match change {
        Change::Create(record) => format!("create {}", record.id),
        Change::Commit { id, fence, from, to, finish, .. } => {
            format!("commit {id} {from}..{to} fence {} finish {finish}", fence.0)
        }
        Change::Fresh { id, fence, at } => format!("fresh {id} at {at} fence {}", fence.0),
        Change::Delete { id, fence } => format!("delete {id} fence {}", fence.0),
        other => format!("{other:?}"),
    }
}
