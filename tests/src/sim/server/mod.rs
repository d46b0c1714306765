//! The server as a run has it: the shipped HTTP, session, lock table and store, and around them the strictest runtime
//! there can be. Whatever a real one does on several threads is an event here, which the run schedules
//! in any legal order, one at a time: a piece of a write, a sync, the commit of a group, the delivery of what
//! came of it, a connection's turn.

use std::collections::BTreeMap;

use tus_driver::{Arrival, Class, Session};
use tus_mio_server::http1::Conn;
use tus_proto::{Cancel, Instant, LockEvent, Owner};

use self::{
    body::Body,
    download::Download,
    hooks::Call,
    jobs::Job,
    store::{Shared, Watched},
    watch::Watch,
};
use super::env::{Env, LinkId};

mod body;
mod download;
mod hooks;
mod jobs;
mod request;
mod store;
mod turn;
mod watch;

/// What every chunked body ends with.
const CHUNKED_END: &[u8] = b"\r\n\r\n";

/// One life of the process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) store: Watched,
    shared: Shared,
    pub(super) connections: BTreeMap<LinkId, Connection>,
    owners: BTreeMap<Owner, LinkId>,
    pub(super) jobs: Vec<Job>,
    pub(super) letters: Vec<Letter>,
    calls: Vec<Call>,
    /// It takes no more connections, and ends when the last one has.
    pub(super) ending: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) link: LinkId,
    pub(super) http: Conn,
    /// What was read and `http` has not taken yet.
    unread: Vec<u8>,
    ended: bool,
    gone: bool,
    readable: bool,
    /// How many bytes were read.
    taken: u64,
    pub(super) request: Option<Request>,
    download: Option<Download>,
    /// Nothing is done for it until then, as if whoever runs it hung.
    pub(super) paused: Option<Instant>,
    /// It has stopped in the middle of its turn.
    pub(super) again: bool,
}

/// The request under way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) session: Session<Watched>,
    pub(super) owner: Owner,
    body: Body,
    watch: Watch,
}

/// What a worker or the committer has to tell a connection.
#[derive(Debug)]
pub(super) enum Letter {
    Arrived(Owner, Arrival<Watched>),
    Body(LinkId, jobs::BodyDone),
    Sent(LinkId, download::Sent),
}

impl Server {
    /// A process that has just opened its store.
    pub(super) fn new(env: &Env, store: tus_redb::Store) -> Self {
        let shared = Shared::default();
        shared.desk().now = Some(env.now);
        Self {
            store: Watched::new(store, shared.clone()),
            shared,
            connections: BTreeMap::new(),
            owners: BTreeMap::new(),
            jobs: Vec::new(),
            letters: Vec::new(),
            calls: Vec::new(),
            ending: false,
        }
    }

    /// Takes a new connection up.
    pub(super) fn accept(&mut self, env: &mut Env, link: LinkId) {
        if let Some(link) = env.links.get_mut(&link) {
            link.accepted = true;
        }
        let connection = Connection {
            link,
            http: Conn::new(env.plan.http.clone(), env.now.monotonic),
            unread: Vec::new(),
            ended: false,
            gone: false,
            readable: true,
            taken: 0,
            request: None,
            download: None,
            paused: None,
            again: false,
        };
        self.connections.insert(link, connection);
        self.with(env, link, |_, _, _| {});
    }

    /// Does something to a connection, if it still is and is not held up, then moves it on as far as it goes.
    pub(super) fn with(
        &mut self,
        env: &mut Env,
        link: LinkId,
        act: impl FnOnce(&mut Self, &mut Env, &mut Connection),
    ) {
        let Some(mut connection) = self.connections.remove(&link) else { return };
        connection.again = false;
        act(self, env, &mut connection);
        self.turn(env, &mut connection);
        if connection.is_over() {
            env.note(|| format!("{link:?} is over"));
            if let Some(link) = env.links.get_mut(&link) {
                link.closed = true;
                link.down.finish();
                if link.up.arrived() > 0 {
                    // What nobody has read is answered by a reset.
                    let lose = env.choice.one_in(2);
                    link.break_off(lose);
                }
            }
            return;
        }
        self.connections.insert(link, connection);
    }

    /// The connection of a request that is under way.
    pub(super) fn link_of(&self, owner: Owner) -> Option<LinkId> {
        self.owners.get(&owner).copied()
    }

    fn is_paused(&self, link: LinkId) -> bool {
        self.connections.get(&link).is_some_and(|connection| connection.paused.is_some())
    }

    /// Whether who is meant by a letter can read it now.
    pub(super) fn is_deliverable(&self, letter: &Letter) -> bool {
        match letter {
            Letter::Arrived(owner, _) => self.is_moving(*owner),
            Letter::Body(link, _) | Letter::Sent(link, _) => !self.is_paused(*link),
        }
    }

    /// Whether a worker may do this now.
    pub(super) fn is_runnable(&self, job: &Job) -> bool {
        job.owner.is_none_or(|owner| self.is_moving(owner))
            && !job.link.is_some_and(|link| self.is_paused(link))
    }

    /// Whether something of this request's may be done now.
    pub(super) fn is_moving(&self, owner: Owner) -> bool {
        self.link_of(owner).is_none_or(|link| !self.is_paused(link))
    }

    /// Hears what the lock service has told a request.
    pub(super) fn on_lock_event(&mut self, env: &mut Env, owner: Owner, event: LockEvent) {
        if let Some(link) = self.link_of(owner) {
            let arrival = Arrival::Lock(event);
            self.with(env, link, |this, env, connection| this.arrive(env, connection, arrival));
        }
    }

    /// Delivers what a worker or the committer has to tell.
    pub(super) fn deliver(&mut self, env: &mut Env, letter: Letter) {
        match letter {
            Letter::Arrived(owner, arrival) => {
                if let Some(link) = self.link_of(owner) {
                    self.with(env, link, |this, env, connection| this.arrive(env, connection, arrival));
                }
            }
            Letter::Body(link, done) => {
                self.with(env, link, |this, env, connection| this.on_body_done(env, connection, done));
            }
            Letter::Sent(link, sent) => {
                self.with(env, link, |this, env, connection| this.on_sent(env, connection, sent));
            }
        }
    }

    /// When something must be done by the clock.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let connections = self.connections.values().filter_map(Connection::deadline);
        let desk = self.shared.desk();
        let held = desk.jobs.iter().filter_map(|job| job.held);
        let timers = desk.timers.iter().map(|(at, _)| *at).chain(held);
        connections.chain(self.next_reply()).chain(timers).min()
    }

    /// Lets what is due be due.
    pub(super) fn expire(&mut self, env: &mut Env) {
        let now = env.now.monotonic;
        let due = |connection: &&Connection| connection.deadline().is_some_and(|at| at <= now);
        let links: Vec<LinkId> = self.connections.values().filter(due).map(|c| c.link).collect();
        for link in links {
            self.with(env, link, |this, env, connection| this.on_time(env, connection));
        }
        self.hear_hooks(env);
        self.release_store_jobs(Some(now));
        self.run_timers(env);
    }

    /// Hangs on to whatever a connection is in, for a while.
    pub(super) fn pause(&mut self, link: LinkId, until: Instant) {
        if let Some(connection) = self.connections.get_mut(&link) {
            connection.paused = Some(until);
            if let Some(request) = &mut connection.request {
                request.watch.held_up = true;
            }
        }
    }

    /// Everything goes on.
    pub(super) fn unpause_all(&mut self) {
        self.release_store_jobs(None);
        for connection in self.connections.values_mut().filter(|connection| connection.paused.is_some()) {
            connection.paused = None;
            connection.again = true;
        }
    }

    /// The server shall end: no further requests, and an end to those under way.
    pub(super) fn shut_down(&mut self, env: &mut Env) {
        self.ending = true;
        let links: Vec<LinkId> = self.connections.keys().copied().collect();
        for link in links {
            self.with(env, link, |_, env, connection| {
                connection.http.shutdown(env.now.monotonic);
                if let Some(request) = &mut connection.request {
                    request.session.cancel(env.now, Cancel::Shutdown);
                }
            });
        }
    }

    /// Whether nothing is under way at all.
    pub(super) fn is_idle(&self) -> bool {
        let requests = self.connections.values().any(|connection| connection.request.is_some());
        let desk = self.shared.desk();
        let works = desk.jobs.iter().any(|job| job.class < Class::Background) || !desk.arrivals.is_empty();
        !requests && self.jobs.is_empty() && !works && self.letters.is_empty()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Jobs and arrivals hold on to the store: a process that ends takes them along.
        let desk = std::mem::take(&mut *self.shared.desk());
        drop(desk);
    }
}

impl Connection {
    /// The network has news for it.
    pub(super) fn wake(&mut self, env: &mut Env) {
        if let Some(link) = env.links.get_mut(&self.link)
            && std::mem::take(&mut link.up.news)
        {
            self.readable = true;
        }
    }

    /// Whether the client has closed its side, and what has arrived is not the whole body.
    fn has_left(&self, env: &Env) -> bool {
        let Some(link) = env.links.get(&self.link) else { return false };
        if !(self.ended || link.up.has_ended()) {
            return false;
        }
        match self.http.body_rest() {
            Some(rest) => ((self.unread.len() + link.up.arrived()) as u64) < rest,
            None if link.up.arrived() == 0 => !self.unread.ends_with(CHUNKED_END),
            None => !link.up.ends_with(CHUNKED_END),
        }
    }

    fn is_over(&self) -> bool {
        self.request.is_none() && self.http.is_closed()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.paused.is_some() {
            return self.paused;
        }
        let http = self.http.deadline().map(|(at, _)| at);
        let exchange = self.request.as_ref().and_then(|request| request.session.deadline());
        http.into_iter().chain(exchange.map(|(at, _)| at)).min()
    }

    /// The connection is broken: what is under way ends without an answer.
    fn give_up(&mut self) {
        self.gone = true;
        self.readable = false;
        self.unread.clear();
        self.http.reset();
    }
}
