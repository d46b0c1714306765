//! The loop: what may happen now, one thing of it, and again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tus_driver::Class;
use tus_proto::{Fence, Instant, LockTable, Owner};
use tus_redb::{Disk, Durability, OpenError, Store, sim::SimDisk};

use super::{
    Report,
    choice::Choice,
    client::{Client, Shelf},
    env::{Env, LinkId},
    plan::Plan,
    server::Server,
};

mod faults;

/// How many steps a run may take once the faults have ended.
const LAST_STEPS: u32 = 200_000;

pub(super) struct World {
    env: Env,
    /// None while it is down.
    server: Option<Server>,
    /// When it comes up again.
    opens_at: Instant,
    clients: Vec<Client>,
    shelves: Vec<Shelf>,
    /// Until when nothing is committed.
    stalled_until: Instant,
    /// How many times as often as else the power fails now: what was done last is to meet it.
    tempting: u64,
    /// How many calls of the disk must have been made before it may fail or die again, with eventual durability.
    quiet_until: u64,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug)]
enum Action {
    Client(usize),
    Up(LinkId),
    Down(LinkId),
    Accept(LinkId),
    Turn(LinkId),
    LockEvent(Owner),
    Letter(usize),
    Job(usize),
    Store(usize),
    Events,
    Time,
}

impl World {
    pub(super) fn new(mut choice: Choice, traced: bool) -> Self {
        let plan = Plan::draw(&mut choice);
        let clients = plan
            .clients
            .iter()
            .enumerate()
            .map(|(i, role)| Client::new(i, *role, plan.more_finals))
            .collect();
        let shelves = plan.files.iter().map(|_| Shelf::default()).collect();
        let disk = SimDisk::new();
        disk.write_short(plan.faults.short_writes);
        let mut env = Env::new(choice, plan, LockTable::new(Fence(1)), disk, traced);
        env.note(|| "a new world".to_owned());
        let plan = env.plan.clone();
        env.note(|| format!("{plan:?}"));
        let begun = env.now.monotonic;
        Self {
            env,
            server: None,
            opens_at: begun,
            clients,
            shelves,
            stalled_until: begun,
            tempting: 1,
            quiet_until: 0,
        }
    }

    pub(super) fn run(mut self) -> Report {
        for _ in 0..self.env.plan.steps {
            if self.clients.iter().all(|client| client.done) {
                break;
            }
            self.inject();
            self.step();
        }
        self.end_faults();
        for _ in 0..LAST_STEPS {
            if self.clients.iter().all(|client| client.done) {
                return self.finish();
            }
            self.step();
        }
        panic!("the faults are over, and clients do not finish: {:?}", self.clients);
    }

    /// Lets one thing happen.
    fn step(&mut self) {
        self.env.report.steps += 1;
        let actions = self.actions();
        let action = match actions.len() {
            0 => Action::Time,
            _ if self.env.choice.one_in(40) => Action::Time,
            count => actions[self.env.choice.index(count)],
        };
        self.tempting = self.tempts(action);
        self.spoil(action);
        self.act(action, actions.is_empty());
        if self.env.disk.free().is_some_and(|free| free < self.env.plan.enough()) {
            self.env.tight_at = self.env.report.steps;
        }
        if self.env.disk.has_died() {
            let machine = self.env.choice.percent(self.env.plan.faults.machine);
            self.crash(machine);
        }
        if self.server.as_ref().is_some_and(|server| server.ending && server.is_idle()) {
            self.end_process();
        }
        if self.server.is_none() && self.opens_at <= self.env.now.monotonic {
            self.open();
        }
    }

    fn actions(&mut self) -> Vec<Action> {
        let env = &self.env;
        let mut actions = Vec::new();
        let ready = self.clients.iter().enumerate().filter(|(_, client)| client.is_ready(env));
        actions.extend(ready.map(|(index, _)| Action::Client(index)));
        for (id, link) in &env.links {
            if link.up.deliverable() > 0 && !link.broken && !link.closed {
                actions.push(Action::Up(*id));
            }
            if link.down.deliverable() > 0 && !link.broken && !link.forgotten {
                actions.push(Action::Down(*id));
            }
        }
        let Some(server) = &self.server else { return actions };
        let unaccepted =
            env.links.iter().filter(|(_, link)| !link.accepted && !link.closed && !server.ending);
        actions.extend(unaccepted.map(|(id, _)| Action::Accept(*id)));
        for (id, connection) in server.connections.iter().filter(|(_, c)| c.paused.is_none()) {
            let link = &env.links[id];
            let writes = connection.http.wants_write() && link.down.room() > 0 && !link.broken;
            if connection.again || link.up.news || writes || connection.wants_to_send(env) {
                actions.push(Action::Turn(*id));
            }
        }
        let owners = env.lock_events.iter().filter(|(_, events)| !events.is_empty()).map(|(owner, _)| *owner);
        actions.extend(owners.filter(|owner| server.is_moving(*owner)).map(Action::LockEvent));
        let letters = server.letters.iter().enumerate().filter(|(_, letter)| server.is_deliverable(letter));
        actions.extend(letters.map(|(index, _)| Action::Letter(index)));
        let jobs = server.jobs.iter().enumerate().filter(|(_, job)| server.is_runnable(job));
        let (late, early): (Vec<_>, Vec<_>) = jobs.partition(|(_, job)| job.is_late());
        actions.extend(early.into_iter().map(|(index, _)| Action::Job(index)));
        let commits = self.stalled_until <= env.now.monotonic;
        let classes = server.store_jobs();
        let (houses, works): (Vec<_>, Vec<_>) =
            classes.into_iter().partition(|(_, class)| *class >= Class::Background);
        let works = works.into_iter().filter(|(_, class)| commits || *class != Class::Commit);
        actions.extend(works.map(|(index, _)| Action::Store(index)));
        let houses: Vec<Action> = houses.into_iter().map(|(index, _)| Action::Store(index)).collect();
        if actions.is_empty() {
            // Before them, what nobody needs any more may be tidied away.
            actions.extend(&houses);
            actions.extend(late.into_iter().map(|(index, _)| Action::Job(index)));
        }
        // Who fetches, and who loses power or a sync, is to meet those who tidy up.
        let Plan { downloads, faults, .. } = &self.env.plan;
        let often = *downloads || faults.blackouts.is_some() || faults.syncs > 0;
        if !actions.is_empty() && self.env.choice.one_in(if often { 4 } else { 12 }) {
            actions.extend(&houses);
            let events = self.env.plan.store.events.completed && commits;
            actions.extend(events.then_some(Action::Events));
        }
        actions
    }

    fn act(&mut self, action: Action, nothing_else: bool) {
        let env = &mut self.env;
        match (action, &mut self.server) {
            (Action::Client(index), server) => {
                let up = server.as_ref().is_some_and(|server| !server.ending);
                let role = env.plan.clients[index];
                if let Some(makes) = role.makes {
                    let parts = &env.plan.finals[makes];
                    let urls: Option<Vec<_>> =
                        parts.iter().map(|part| self.shelves[*part].url.clone()).collect();
                    self.shelves[role.file].parts = urls.unwrap_or_default();
                }
                let mut others = self.clients.iter().zip(&env.plan.clients);
                let fetched = others.any(|(client, of)| of.file == role.file && client.is_fetching(env));
                self.shelves[role.file].fetched = fetched;
                let client = &mut self.clients[index];
                client.act(env, &mut self.shelves[role.file], up);
            }
            (Action::Up(id), _) => deliver(env, id, true),
            (Action::Down(id), _) => deliver(env, id, false),
            (Action::Time, _) => {
                if env.plan.more_finals > 0 && !env.plan.faults.feud {
                    env.oracle.check_growth(&env.disk);
                }
                if let Some(server) =
                    self.server.as_ref().filter(|_| nothing_else && env.plan.faults.crammed > 0)
                {
                    check_room(env, server);
                }
                self.pass_time(nothing_else);
            }
            (_, None) => {}
            (Action::Accept(id), Some(server)) => server.accept(env, id),
            (Action::Turn(id), Some(server)) => server.with(env, id, |_, env, connection| {
                connection.wake(env);
            }),
            (Action::LockEvent(owner), Some(server)) => {
                if let Some(event) = env.lock_events.get_mut(&owner).and_then(|events| events.pop_front()) {
                    server.on_lock_event(env, owner, event);
                }
                env.lock_events.retain(|_, events| !events.is_empty());
            }
            (Action::Letter(index), Some(server)) => {
                let letter = server.letters.swap_remove(index);
                server.deliver(env, letter);
            }
            (Action::Job(index), Some(server)) => server.work(env, index),
            (Action::Store(index), Some(server)) => {
                let hangs = env.fault(6) && server.hold_store_job(env, index);
                if !hangs {
                    server.run_store_job(env, index);
                }
            }
            (Action::Events, Some(server)) => server.tell_events(env),
        }
        self.env.links.retain(|_, link| !(link.closed && link.forgotten));
    }

    /// Lets time pass: at most to the next moment at which something is due.
    fn pass_time(&mut self, nothing_else: bool) {
        let env = &mut self.env;
        let clients = self.clients.iter().filter_map(Client::deadline);
        let server = self.server.as_ref().map_or(Some(self.opens_at), Server::deadline);
        let now = env.now.monotonic;
        let stall = Some(self.stalled_until).filter(|until| *until > now);
        let due = clients.chain(server).chain(env.locks.deadline()).chain(stall).min();
        let Some(due) = due.map(|due| due.max(now)) else {
            assert!(!nothing_else, "nothing is left to do, and clients wait");
            return;
        };
        let step = Duration::from_micros(env.choice.magnitude(5_000_000));
        let until = if nothing_else { due } else { due.min(now.after(step)) };
        env.set_clock(until);
        env.report.virtual_micros = until.as_micros();
        env.expire_locks();
        if let Some(server) = &mut self.server {
            server.expire(env);
        }
    }

    fn open(&mut self) {
        let env = &mut self.env;
        let quiet = env.plan.store.durability == Durability::Eventual && env.disk.calls() < self.quiet_until;
        if !env.over && env.plan.faults.die > 0 && env.choice.one_in(5) && !quiet {
            env.disk.die_at(env.disk.calls() + env.choice.below(80));
        }
        let opened = Store::open_on(Arc::new(env.disk.clone()), &env.plan.store);
        if env.disk.has_died() {
            drop(opened);
            let machine = env.choice.percent(env.plan.faults.machine);
            return self.crash(machine);
        }
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                env.note(|| format!("the store can't be opened: {error}"));
                let excused = matches!(error, OpenError::Io { .. } | OpenError::NotWritable { .. });
                assert!(excused && !env.over, "the store can't be opened: {error}");
                env.disk.set_free(None);
                env.disk.limit_open_files(None);
                self.opens_at = env.later(Duration::from_millis(100));
                return;
            }
        };
        env.note(|| format!("the store is open, its first number is {}", store.first_fence().0));
        if !env.plan.faults.remote_locks {
            env.locks = LockTable::new(store.first_fence());
            env.oracle.locks.begin_anew();
        }
        env.oracle.look_at_faults(&env.disk);
        env.oracle.check_store(&store, &env.disk, true);
        self.server = Some(Server::new(env, store));
    }

    /// Everybody is done: nothing may be left behind.
    fn finish(mut self) -> Report {
        for client in &mut self.clients {
            client.hang_up(&mut self.env);
        }
        for _ in 0..LAST_STEPS {
            let idle = self.server.as_ref().is_some_and(|s| s.connections.is_empty() && s.is_idle());
            if idle && !self.server.as_ref().is_some_and(|server| server.ending) {
                break;
            }
            self.step();
        }
        let Self { mut env, server, shelves, .. } = self;
        let Some(mut server) = server else { panic!("the server does not come up again") };
        assert!(server.connections.is_empty(), "connections that nobody uses: {:?}", server.connections);
        assert!(env.plan.faults.remote_locks || env.locks.is_empty(), "locks that nobody holds");
        let flush = |server: &Server| server.store.engine().flush().expect("a healthy disk takes a flush");
        env.oracle.on_flushing(&env.disk);
        flush(&server);
        env.oracle.on_flush(server.store.engine(), &env.disk);
        while server.store.engine().outbox_len().expect("a healthy disk can be read") > 0 {
            server.tell_events(&mut env);
            flush(&server);
        }
        env.oracle.check_events();
        let store = server.store.engine();
        for _ in 0..100 {
            let _ = store.consolidate(u64::MAX).expect("a healthy disk lets finals be gathered");
        }
        store.flush().expect("a healthy disk takes a flush");
        while store.reclaim(64).expect("a healthy disk lets files go") > 0 {}
        env.oracle.check_store(store, &env.disk, true);
        let found = store.verify().map_err(|failure| (failure, store.trouble()));
        assert_eq!(found, Ok(Vec::new()));
        check_files(store, &env.disk);
        let lasting = env.plan.store.durability == Durability::Strict && env.plan.expiry.is_none();
        for (file, shelf) in shelves.iter().enumerate().filter(|_| lasting) {
            let there = shelf.removed || !shelf.finished || env.oracle.complete(file) > 0;
            assert!(there, "file {file} was told to be complete, and is not there");
        }
        drop(server);
        assert_eq!(env.disk.open_files(), 0, "files are open, and nobody has them");
        env.report.faults += env.disk.faults_hit() - env.faults_counted;
        env.report
    }
}

/// Lets some of what is under way arrive.
fn deliver(env: &mut Env, id: LinkId, up: bool) {
    let Some(link) = env.links.get_mut(&id) else { return };
    let pipe = if up { &mut link.up } else { &mut link.down };
    let count = env.choice.part(pipe.deliverable());
    pipe.deliver(count);
}

/// Nothing is left to do: what was removed must be off the disk, as nothing else will make room.
fn check_room(env: &Env, server: &Server) {
    let store = server.store.engine();
    let tidied = !store.needs_flush() && !store.needs_reclaim() && !store.needs_consolidation();
    if tidied && server.is_idle() {
        env.disk.aside(|| check_files(store, &env.disk));
    }
}

/// Each data file is some upload's: one that is needed, or was begun for an upload that is not complete.
fn check_files(store: &Store, disk: &SimDisk) {
    let mut paths = BTreeSet::new();
    for record in store.list(None, usize::MAX).expect("a healthy disk can be read") {
        let description = store.describe(&record.id).expect("a healthy disk can be read");
        let extents = description.into_iter().flat_map(|description| description.extents);
        let needed = extents.filter(|extent| !(extent.in_records && record.is_complete()));
        paths.extend(needed.map(|extent| extent.path));
    }
    for dir in disk.list("data").expect("it is there") {
        for name in disk.list(&format!("data/{dir}")).expect("it is there") {
            let path = format!("data/{dir}/{name}");
            assert!(paths.contains(&disk.locate(&path)), "{path} is nobody's");
        }
    }
}
