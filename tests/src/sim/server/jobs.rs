//! What threads do, one piece at a time: moving a body's bytes, sending an upload's, and the steps of the store.

use std::time::Duration;

use tus_driver::{Class, HashingSink};
use tus_proto::{Failure, Instant, Owner};
use tus_redb::{Change, Sink, Source};

use super::{Letter, Server, download::send, store::Deed};
use crate::sim::{
    env::{Env, LinkId},
    network::Read,
};

/// Something a worker does for a connection.
#[derive(Debug)]
pub(in crate::sim) struct Job {
    pub(super) link: Option<LinkId>,
    pub(in crate::sim) owner: Option<Owner>,
    pub(super) work: Work,
}

impl Job {
    /// Whether it waits until nothing else is left to do.
    pub(in crate::sim) fn is_late(&self) -> bool {
        matches!(self.work, Work::Send { late: true, .. })
    }
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a run has few of them")]
pub(super) enum Work {
    /// Moves at most `limit` body bytes from the network to the store.
    Move { sink: HashingSink<Sink>, limit: u64 },
    /// Writes decoded body bytes.
    Write { sink: HashingSink<Sink>, data: Vec<u8> },
    /// Reads an upload's bytes, at most `limit` of them, and sends them.
    Send { source: Source, from: u64, limit: u64, late: bool },
}

/// What became of a body's bytes. The sink knows how much is staged.
#[derive(Debug)]
pub(in crate::sim) struct BodyDone {
    pub(super) sink: HashingSink<Sink>,
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
        let Job { link, owner, work } = self.jobs.swap_remove(index);
        env.note(|| format!("a worker: {}", work.name(owner)));
        self.shared.desk().now = Some(env.now);
        let letter = match work {
            Work::Move { sink, limit } => link.map(|link| Letter::Body(link, carry(env, link, sink, limit))),
            Work::Write { mut sink, mut data } => {
                let rest = data.split_off(env.choice.part(data.len() as u64) as usize);
                let written = sink.write(&mut &*data);
                if written.is_ok() && !rest.is_empty() {
                    return self.jobs.push(Job { link, owner, work: Work::Write { sink, data: rest } });
                }
                let end = written.map_or_else(MoveEnd::Failed, |()| MoveEnd::Done);
                link.map(|link| Letter::Body(link, BodyDone { sink, taken: 0, end }))
            }
            Work::Send { source, from, limit, .. } => {
                link.map(|link| Letter::Sent(link, send(env, link, source, from, limit)))
            }
        };
        self.letters.extend(letter);
    }

    /// The store's jobs that may run now, by what they are for.
    pub(in crate::sim) fn store_jobs(&self) -> Vec<(usize, Class)> {
        let desk = self.shared.desk();
        let jobs = desk.jobs.iter().enumerate().filter(|(_, job)| job.held.is_none());
        let moving = jobs.filter(|(_, job)| job.owner.is_none_or(|owner| self.is_moving(owner)));
        moving.map(|(index, job)| (index, job.class)).collect()
    }

    /// Lets the thread that has a job of the store's hang, if a request has queued it.
    pub(in crate::sim) fn hold_store_job(&mut self, env: &mut Env, index: usize) -> bool {
        let until = Duration::from_millis(env.choice.pick(&[10, 1_500, 12_000, 100_000]));
        let until = env.later(until);
        let mut desk = self.shared.desk();
        let Some(job) = desk.jobs.get_mut(index).filter(|job| job.owner.is_some()) else { return false };
        job.held = Some(until);
        env.hung = true;
        env.report.faults += 1;
        true
    }

    /// Lets threads go on whose time has come, or all.
    pub(super) fn release_store_jobs(&mut self, now: Option<Instant>) {
        for job in &mut self.shared.desk().jobs {
            job.held = job.held.filter(|until| now.is_some_and(|now| *until > now));
        }
    }

    /// Runs a job of the store's.
    pub(in crate::sim) fn run_store_job(&mut self, env: &mut Env, index: usize) {
        let job = self.shared.desk().jobs.swap_remove(index);
        env.note(|| format!("the store: {:?}", job.class));
        env.report.commits += u64::from(job.class == Class::Commit);
        self.shared.desk().now = Some(env.now);
        job.run();
        self.see(env);
    }

    /// Runs the store's timers that are due.
    pub(super) fn run_timers(&mut self, env: &mut Env) {
        let now = env.now;
        self.shared.desk().now = Some(now);
        loop {
            let mut desk = self.shared.desk();
            let Some(due) = desk.timers.iter().position(|(at, _)| *at <= now.monotonic) else { break };
            let (_, job) = desk.timers.swap_remove(due);
            drop(desk);
            job.run();
        }
        self.see(env);
    }

    /// Shows what the store has done to those who look on, and lets what it has answered be delivered.
    fn see(&mut self, env: &mut Env) {
        let mut desk = self.shared.desk();
        let (deeds, arrivals) = (std::mem::take(&mut desk.deeds), std::mem::take(&mut desk.arrivals));
        drop(desk);
        env.oracle.look_at_faults(&env.disk);
        if env.disk.has_died() {
            // A sweep that ended with the machine may have removed what it came to, and told nobody.
            env.oracle.on_sweep(env.now.wall);
        }
        for deed in deeds {
            match deed {
                Deed::Changed(change, completion) => {
                    env.note(|| format!("the store: {} is {completion:?}", outline(&change)));
                    env.report.late += u64::from(env.oracle.is_late(&change));
                    env.oracle.on_change(&change, &completion);
                }
                Deed::Flushing => env.oracle.on_flushing(&env.disk),
                Deed::Flushed(flushed) => {
                    env.note(|| format!("the store: a flush is {flushed:?}"));
                    if flushed.is_ok() && !env.disk.has_died() {
                        env.oracle.on_flush(self.store.engine(), &env.disk);
                    }
                }
                Deed::Swept => env.oracle.on_sweep(env.now.wall),
            }
        }
        let letters = arrivals.into_iter().map(|(owner, arrival)| Letter::Arrived(owner, arrival));
        self.letters.extend(letters);
    }
}

impl Server {
    /// Tells somebody of the first events, and forgets those that were heard.
    pub(in crate::sim) fn tell_events(&mut self, env: &mut Env) {
        let mut failed = Vec::new();
        for entry in self.store.engine().outbox(0, 3).unwrap_or_default() {
            // Who is told fails at times, and hears nothing more of that upload before it has heard this.
            if failed.contains(&entry.record.id) || env.fault(if env.plan.hooked() { 30 } else { 0 }) {
                failed.push(entry.record.id);
                continue;
            }
            env.note(|| format!("event {}: {:?} of {}", entry.number, entry.kind, entry.record.id));
            env.oracle.look_at_faults(&env.disk);
            env.oracle.on_event(&entry);
            let heard = env.over || env.choice.one_in(2);
            let (id, number) = (entry.record.id.clone(), entry.number);
            let change = if heard {
                Change::Acknowledge { id, number }
            } else {
                failed.push(entry.record.id);
                Change::Postpone { id, number, until: env.now.wall.after(Duration::from_secs(1)) }
            };
            let _ = self.store.engine().commit(&[change]);
        }
    }
}

/// Moves what has arrived to the store, past the connection.
fn carry(env: &mut Env, link: LinkId, mut sink: HashingSink<Sink>, limit: u64) -> BodyDone {
    let read = env.links.get_mut(&link).map_or(Read::Broken, |link| link.read_up(limit as usize));
    let (taken, end) = match read {
        Read::Bytes(bytes) => {
            let end = sink.write(&mut &*bytes).map_or_else(MoveEnd::Failed, |()| MoveEnd::Done);
            (bytes.len() as u64, end)
        }
        Read::Nothing => (0, MoveEnd::Done),
        Read::End => (0, MoveEnd::Eof),
        Read::Broken => (0, MoveEnd::Reset),
    };
    BodyDone { sink, taken, end }
}

impl Work {
    fn name(&self, owner: Option<Owner>) -> String {
        let what = match self {
            Self::Move { .. } => "moves",
            Self::Write { .. } => "writes",
            Self::Send { .. } => "sends",
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
        Change::Create { record, first: None } => format!("create {}", record.id),
        Change::Create { record, first: Some(first) } => {
            format!("create {} with {} bytes", record.id, first.len())
        }
        Change::Commit { id, fence, from, to, finish, .. } => {
            format!("commit {id} {from}..{to} fence {} finish {finish}", fence.0)
        }
        Change::NewExtent { id, fence, at } => format!("fresh {id} at {at} fence {}", fence.0),
        Change::Delete { id, fence } => format!("delete {id} fence {}", fence.0),
        other => format!("{other:?}"),
    }
}
