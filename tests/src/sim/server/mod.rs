//! The server as a run has it: the real HTTP, exchange, lock table and store, and between them the strictest
//! runtime there can be. Whatever a real one does on several threads is an event here, which the run schedules
//! in any legal order, one at a time: a piece of a write, a sync, the commit of a group, the delivery of what
//! came of it, a connection's turn.

use std::collections::{BTreeMap, VecDeque};

use tus_mio_server::http1::Conn;
use tus_proto::{
    Abort, Algorithm, Completion, Exchange, Fence, Input, Instant, LockEvent, OpId, Owner, UploadId,
};
use tus_redb::{Change, Source, Store, Syncer};

use self::{body::Body, download::Download, hooks::Call, jobs::Job, watch::Watch};
use super::env::{Env, LinkId};

mod body;
mod download;
mod hooks;
mod jobs;
mod request;
mod turn;
mod watch;

/// One life of the process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) store: Store,
    pub(super) connections: BTreeMap<LinkId, Connection>,
    owners: BTreeMap<Owner, LinkId>,
    pub(super) jobs: Vec<Job>,
    pub(super) commits: VecDeque<Entry>,
    pub(super) letters: Vec<Letter>,
    calls: Vec<Call>,
    /// What a flush needs is synced.
    pub(super) flush: bool,
    /// It takes no more connections, and ends when the last one has.
    pub(super) ending: bool,
    /// The disk failed the last commit.
    pub(super) failing: bool,
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
    pub(super) exchange: Exchange,
    pub(super) owner: Owner,
    body: Option<Body>,
    opening: Option<(OpId, Opening)>,
    syncer: Option<Syncer>,
    /// The upload that the answer may bear.
    source: Option<Source>,
    watch: Watch,
}

/// The Append that follows once its new extent is in the record.
#[derive(Debug)]
struct Opening {
    id: UploadId,
    fence: Fence,
    at: u64,
    max: u64,
    digest: Option<Algorithm>,
    stopped: bool,
}

/// A change and whom its completion concerns.
#[derive(Debug)]
pub(super) struct Entry {
    owner: Owner,
    op: OpId,
    change: Change,
}

/// What a worker or the committer has to tell a connection.
#[derive(Debug)]
pub(super) enum Letter {
    Stored(Owner, OpId, Completion),
    Body(LinkId, jobs::BodyDone),
    Sent(LinkId, download::Sent),
}

impl Server {
    /// A process that has just opened its store.
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            connections: BTreeMap::new(),
            owners: BTreeMap::new(),
            jobs: Vec::new(),
            commits: VecDeque::new(),
            letters: Vec::new(),
            calls: Vec::new(),
            flush: false,
            ending: false,
            failing: false,
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
            Letter::Stored(owner, ..) => self.is_moving(*owner),
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
            self.with(env, link, |this, env, connection| this.hear(env, connection, event));
        }
    }

    /// Delivers what a worker or the committer has to tell.
    pub(super) fn deliver(&mut self, env: &mut Env, letter: Letter) {
        match letter {
            Letter::Stored(owner, op, completion) => {
                if let Some(link) = self.link_of(owner) {
                    self.with(env, link, |this, env, connection| {
                        this.complete(env, connection, op, completion)
                    });
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
        connections.chain(self.next_reply()).min()
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
                    request.tell(env.now, Input::Abort(Abort::Shutdown));
                }
            });
        }
    }

    /// Whether a worker, the committer or a letter is on its way for this request.
    fn has_work_for(&self, owner: Owner) -> bool {
        let letter = |letter: &Letter| matches!(letter, Letter::Stored(to, ..) if *to == owner);
        self.jobs.iter().any(|job| job.owner == Some(owner))
            || self.commits.iter().any(|entry| entry.owner == owner)
            || self.letters.iter().any(letter)
    }

    /// Whether nothing is under way at all.
    pub(super) fn is_idle(&self) -> bool {
        let requests = self.connections.values().any(|connection| connection.request.is_some());
        !requests && self.jobs.is_empty() && self.commits.is_empty() && self.letters.is_empty()
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

    fn is_over(&self) -> bool {
        self.request.is_none() && self.http.is_closed()
    }

    fn body(&mut self) -> Option<&mut Body> {
        self.request.as_mut().and_then(|request| request.body.as_mut())
    }

    fn deadline(&self) -> Option<Instant> {
        if self.paused.is_some() {
            return self.paused;
        }
        let http = self.http.deadline().map(|(at, _)| at);
        let exchange = self.request.as_ref().and_then(|request| request.exchange.deadline());
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
