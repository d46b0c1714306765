//! What goes wrong in a run, and when: between two steps, most often where it may do harm.

use std::time::Duration;

use tus_driver::Class;
use tus_redb::{
    Durability,
    sim::{Crash, Fault},
};

use super::{Action, World};
use crate::sim::{
    env::{Env, LinkId},
    plan::Meets,
};

impl World {
    /// Lets something go wrong, at times.
    pub(super) fn inject(&mut self) {
        let faults = self.env.plan.faults.clone();
        let (crash, restart) = (faults.crash * self.tempting, faults.restart * self.tempting);
        let mut happens = |rate: u64| rate > 0 && self.env.choice.below(10_000) < rate;
        let (crash, die, restart) = (happens(crash), happens(faults.die), happens(restart));
        let (io, full, space) = (happens(faults.io), happens(faults.full), happens(faults.space));
        let (pause, stall) = (happens(faults.pause), happens(faults.stall));
        let (crammed, descriptors) = (happens(faults.crammed), happens(faults.descriptors));
        if happens(faults.calendar) {
            self.env.set_calendar();
        }
        let quiet = self.is_quiet();
        let Some(server) = &mut self.server else { return };
        let Env { disk, choice, plan, report, .. } = &mut self.env;
        let eventual = plan.store.durability == Durability::Eventual;
        if full || (io && !quiet) {
            let from = disk.calls() + choice.below(30);
            let most = if io && eventual { 3 } else { 4 };
            let until = from + choice.pick(&[1, 1, 2, 40][..most]);
            self.quiet_until = until + 60;
            let fault = if full { Fault::Full } else { choice.pick(&[Fault::Io, Fault::Evict]) };
            disk.fail(from..until, fault);
        }
        if space {
            disk.set_free(choice.one_in(2).then(|| choice.below(40) * 4096));
        }
        if crammed {
            let free = choice.pick(&[0, 0, plan.enough() * 2]);
            // Of what the reserve has given back they take nothing: no store could promise anything then.
            if free > 0 || !server.store.engine().is_full() {
                report.faults += 1;
                disk.set_free(Some(free));
            }
        }
        if descriptors {
            let most = choice.one_in(2).then(|| disk.open_files() + choice.index(3));
            report.faults += 1;
            disk.limit_open_files(most);
        }
        if die && !quiet {
            let at = disk.calls() + choice.below(60);
            self.quiet_until = self.quiet_until.max(at);
            disk.die_at(at);
        }
        if pause && !server.connections.is_empty() {
            let busy = server.connections.values().filter(|connection| connection.request.is_some());
            let busy: Vec<LinkId> = busy.map(|connection| connection.link).collect();
            let all: Vec<LinkId> = server.connections.keys().copied().collect();
            let link = choice.pick(if busy.is_empty() { &all } else { &busy });
            let until = Duration::from_millis(choice.pick(&[10, 1_500, 12_000, 100_000]));
            self.env.report.faults += 1;
            self.env.note(|| format!("{link:?} hangs for {until:?}"));
            server.pause(link, self.env.later(until));
        }
        if restart && !server.ending {
            self.env.note(|| "the server shall end".to_owned());
            server.shut_down(&mut self.env);
        }
        if stall {
            let until = Duration::from_millis(self.env.choice.pick(&[10, 1_500, 3_000]));
            self.env.report.faults += 1;
            self.env.note(|| format!("nothing is committed for {until:?}"));
            self.stalled_until = self.env.later(until);
        }
        if crash {
            let machine = self.env.choice.percent(faults.machine);
            self.crash(machine);
        }
    }

    /// Lets what is about to be done fail, at times, if it is a sync.
    pub(super) fn spoil(&mut self, action: Action) {
        let concerned = self.class_of(action) == Some(Class::Blocking);
        if concerned && !self.is_quiet() && self.env.fault(self.env.plan.faults.syncs) {
            let from = self.env.disk.calls();
            let until = from + self.env.choice.pick(&[1, 2, 3]);
            self.quiet_until = until + 60;
            self.env.disk.fail(from..until, self.env.choice.pick(&[Fault::Io, Fault::Evict]));
        }
    }

    /// With eventual durability a failed sync must be noted somewhere: a disk that fails again at once, or for
    /// long, can't, nor can a process that ends before it has done so.
    pub(super) fn is_quiet(&self) -> bool {
        let eventual = self.env.plan.store.durability == Durability::Eventual;
        eventual && self.env.disk.calls() < self.quiet_until
    }

    pub(super) fn crash(&mut self, machine: bool) {
        self.env.report.crashes += 1;
        self.env.report.power_cuts += u64::from(machine);
        self.env.note(|| format!("a crash of the {}", if machine { "machine" } else { "process" }));
        self.env.report.faults += self.env.disk.faults_hit() - self.env.faults_counted;
        self.env.faults_counted = self.env.disk.faults_hit();
        self.env.oracle.on_crash(&self.env.disk, machine);
        let kind = if machine { Crash::Machine(self.env.choice.below(1 << 32)) } else { Crash::Process };
        self.env.disk.crash(kind);
        self.lose_process();
    }

    /// The process has come to a good end.
    pub(super) fn end_process(&mut self) {
        self.env.note(|| "the server has ended".to_owned());
        self.lose_process();
        assert_eq!(self.env.disk.open_files(), 0, "files are open, and nobody has them");
        if self.env.plan.faults.ends_at_rest() && !self.env.over && self.env.choice.one_in(2) {
            // With whatever durability: what was committed is durable after a good end.
            self.env.note(|| "the machine is switched off".to_owned());
            self.env.report.faults += 1;
            self.env.disk.crash(Crash::Machine(self.env.choice.below(1 << 32)));
        }
    }

    fn lose_process(&mut self) {
        self.server = None;
        self.env.lock_events.clear();
        for link in self.env.links.values_mut() {
            let lose = self.env.choice.one_in(2);
            link.break_off(lose);
            link.closed = true;
        }
        self.env.links.retain(|_, link| !link.forgotten);
        let down = Duration::from_micros(self.env.choice.magnitude(3_000_000));
        self.opens_at = self.env.later(down);
    }

    /// How many times as often as else the power fails when this has been done.
    pub(super) fn tempts(&self, action: Action) -> u64 {
        match (self.env.plan.faults.blackouts, self.class_of(action)) {
            (Some(Meets::Removals), Some(Class::Background | Class::Idle)) => 100,
            (Some(Meets::Removals), Some(Class::Commit)) => 10,
            (Some(Meets::Writes), Some(Class::Commit)) => 30,
            _ => 1,
        }
    }

    /// What the store's job is for that is about to run.
    fn class_of(&self, action: Action) -> Option<Class> {
        let Action::Store(index) = action else { return None };
        let jobs = self.server.as_ref()?.store_jobs();
        jobs.into_iter().find(|(at, _)| *at == index).map(|(_, class)| class)
    }

    /// From here on everything goes well.
    pub(super) fn end_faults(&mut self) {
        self.env.note(|| "the faults are over".to_owned());
        self.env.over = true;
        self.env.disk.heal();
        self.env.disk.set_free(None);
        self.env.disk.limit_open_files(None);
        self.stalled_until = self.env.now.monotonic;
        if let Some(server) = &mut self.server {
            server.unpause_all();
        }
    }
}
