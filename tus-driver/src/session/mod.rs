//! One request as a sans-I/O machine: its exchange, the open Append with its sink and hash, and the calls of the store.
//!
//! A runtime
//! 1. makes one with [`Session::new`] when a head is parsed,
//! 2. carries out each [`Effect`] that [`Session::poll`] gives until it gives none,
//! 3. hands over body bytes while [`Session::is_receiving`], says how the body ended ([`Session::end_body`]), passes
//!    on what arrives at its [`Inlet`] ([`Session::handle`]), and keeps time ([`Session::deadline`]),
//! 4. goes on with 2 after each of these, until [`Effect::Done`].
//!
//! Nobody else translates what an exchange asks of a store.

mod body;
mod hashing_sink;

use std::{
    fmt,
    sync::Arc,
    task::{Poll, Waker},
};

use bytes::Buf;
use tus_proto::{
    AppendEnd, Cancel, Command, Completion, Config, Cut, Deadline, Digest, Event, Exchange, Failure, Head,
    HookCall, HookReply, Input, Interim, LockCall, LockEvent, Now, OpId, Output, Protocol, RequestInfo,
    Response, Trailers, UploadId,
};

use self::body::Body;
pub use self::hashing_sink::HashingSink;
use crate::{
    Answer, AppendGrant, Change, Changed, Commit, EventKind, FirstBytes, Loaded, LookupError, Opened, Sink,
    Source, Store, Ticket,
};

/// What a session wants of its runtime.
#[derive(Debug)]
pub enum Effect {
    /// Call the lock service. Its reply arrives as [`Arrival::Lock`].
    Lock(OpId, LockCall),
    /// Call a hook. Its reply arrives as [`Arrival::Hook`].
    Hook(OpId, HookCall),
    /// Send `100 Continue` if the client waits for it: nothing but the body can still fail.
    Continue,
    /// Send this before the response, at once. A runtime whose framework can't send it leaves it out.
    Interim(Interim),
    /// Send this, at most once. If its body is an upload's, [`Session::take_source`] has it.
    Respond(Response),
    /// For metrics: something worth counting.
    Notify(Event),
    /// For metrics: the store failed a call.
    Failed(Failure),
    /// The session is over. Last, and exactly once.
    Done,
}

/// What arrives for a session from other threads.
#[derive(Debug)]
pub enum Arrival<S: Store> {
    /// A look-up is answered.
    Loaded(OpId, Loaded),
    /// A change is answered.
    Changed(OpId, Changed),
    /// A digest is answered.
    Digested(OpId, Result<Digest, LookupError>),
    /// A sink is open.
    Sink(OpId, Opened<S::Sink>),
    /// A source is open.
    Source(OpId, Opened<S::Source>),
    /// The lock service says this.
    Lock(LockEvent),
    /// A hook has decided.
    Hook(OpId, HookReply),
    /// The request must end.
    Cancel(Cancel),
}

/// How what is answered later finds its session: a runtime posts it to the thread, task or queue that has the session,
/// and wakes that. An arrival for a session that is over is dropped.
pub trait Inlet<S: Store>: Send + 'static {
    /// Posts an arrival, from any thread. Never waits.
    fn post(&self, arrival: Arrival<S>);
}

/// One request between its head and its answer.
pub struct Session<S: Store> {
    exchange: Exchange,
    body: Option<Body<S::Sink>>,
    /// What the request's sink has staged, for the commits after its end too.
    staged: Option<S::Staged>,
    /// Memory for a body that is to come with its record; its bytes, once it has ended.
    first: Option<FirstBytes>,
    /// Boxed: it is large, and few requests have one.
    source: Option<Box<S::Source>>,
    /// A HEAD waits for what has already arrived on the connection.
    drain: bool,
    failed: Option<Failure>,
    /// The upload that its last call of the store was about.
    upload: Option<UploadId>,
    /// The uploads whose events its changes put into the outbox.
    events: Vec<UploadId>,
    /// Told of each event before the change that makes it.
    /// Boxed: few requests have one.
    witness: Option<Box<Arc<dyn EventWitness>>>,
}

/// Hears which events a session's changes are about to put into the outbox, and of which request, before the store is
/// called: so that it knows more of an event than the outbox does, however soon that shows it.
pub trait EventWitness: Send + Sync {
    /// A change is about to be made that makes this event true if it succeeds. Events that it makes of other uploads
    /// are not told.
    fn expect(&self, id: &UploadId, kind: EventKind, request: &Arc<RequestInfo>);
}

impl<S: Store> Session<S> {
    /// Takes a request up. `entropy` are fresh random bytes: a new upload's id is made of them.
    pub fn new(config: Arc<Config>, head: &Head<'_>, entropy: [u8; 10], now: Now) -> Self {
        let exchange = Exchange::new(config, head, entropy, now);
        Self {
            exchange,
            body: None,
            staged: None,
            first: None,
            source: None,
            drain: false,
            failed: None,
            upload: None,
            events: Vec::new(),
            witness: None,
        }
    }

    /// Has a witness told of events, if the configuration subscribes to
    /// [requests](tus_proto::Subscriptions::requests).
    pub fn set_witness(&mut self, witness: Arc<dyn EventWitness>) {
        self.witness = Some(Box::new(witness));
    }

    /// What is to be done next. Calls of the store are made in here; what it answers later
    /// comes by the inlet that `inlet` makes.
    pub fn poll<I: Inlet<S>>(&mut self, now: Now, store: &S, inlet: &dyn Fn() -> I) -> Option<Effect> {
        loop {
            if let Some(failure) = self.failed.take() {
                return Some(Effect::Failed(failure));
            }
            return Some(match self.exchange.poll()? {
                Output::Store(op, command) => {
                    self.carry_out(now, store, inlet, op, command);
                    continue;
                }
                Output::Lock(op, call) => Effect::Lock(op, call),
                Output::Hook(op, call) => Effect::Hook(op, call),
                Output::Continue => Effect::Continue,
                Output::Interim(interim) => Effect::Interim(interim),
                Output::Respond(response) => Effect::Respond(response),
                Output::Notify(event) => Effect::Notify(event),
                Output::Done => Effect::Done,
            });
        }
    }

    /// Takes what has arrived.
    pub fn handle(&mut self, now: Now, arrival: Arrival<S>) {
        match arrival {
            Arrival::Loaded(op, loaded) => self.complete(now, op, on_loaded(loaded)),
            Arrival::Changed(op, changed) => self.on_changed(now, op, changed),
            Arrival::Digested(op, digest) => self.complete(now, op, on_digest(digest)),
            Arrival::Sink(op, opened) => self.on_sink(now, op, opened),
            Arrival::Source(op, opened) => self.on_source(now, op, opened),
            Arrival::Hook(op, reply) => self.exchange.handle(now, Input::Hook(op, reply)),
            Arrival::Lock(event) => self.on_lock_event(now, event),
            Arrival::Cancel(why) => self.cancel(now, why),
        }
    }

    /// When [`timeout`](Self::timeout) is due.
    pub fn deadline(&self) -> Option<Deadline> {
        self.exchange.deadline()
    }

    /// The deadline has passed.
    pub fn timeout(&mut self, now: Now) {
        self.exchange.handle(now, Input::Timeout);
    }

    /// The request must end: its runtime shuts down, or its lock is lost.
    pub fn cancel(&mut self, now: Now, why: Cancel) {
        self.exchange.handle(now, Input::Cancel(why));
    }

    /// The upload whose bytes the response is to carry.
    pub fn take_source(&mut self) -> Option<S::Source> {
        self.source.take().map(|source| *source)
    }

    /// Which protocol the request speaks, as far as that is known by now.
    pub fn protocol(&self) -> Protocol {
        self.exchange.protocol()
    }

    /// The upload that the request is about, as far as it is known: for logs.
    pub fn upload(&self) -> Option<&UploadId> {
        self.upload.as_ref()
    }

    /// The uploads whose events the request's changes have put into the outbox.
    pub fn events(&self) -> &[UploadId] {
        &self.events
    }
}

/// The body.
impl<S: Store> Session<S> {
    /// Whether body bytes are wanted now: an Append is open, its sink is here, and the body has not ended. A runtime reads
    /// no body otherwise.
    pub fn is_receiving(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_receiving)
    }

    /// Whether an Append is open whose body has not ended, wherever its sink is.
    pub fn has_open_body(&self) -> bool {
        self.body.as_ref().is_some_and(Body::goes_on)
    }

    /// Whether the sink is lent.
    pub fn is_lent(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_lent)
    }

    /// How many bytes are welcome; one more ends the body as too long. A runtime that reads ahead hands over that one as
    /// well.
    pub fn welcome(&self) -> u64 {
        self.body.as_ref().map_or(0, Body::welcome)
    }

    /// How many bytes may be staged before the commit under way should be waited for. A runtime that reads no more at 0
    /// bounds what a crash costs.
    pub fn headroom(&self) -> u64 {
        self.exchange.headroom()
    }

    /// How many bytes the store takes now. `Pending` if none: the waker is woken when it may.
    pub fn poll_room(&mut self, now: Now, waker: &dyn Fn() -> Waker) -> Poll<usize> {
        let Some(body) = &mut self.body else { return Poll::Ready(0) };
        let room = body.poll_room(waker);
        if room.is_ready() {
            self.rest(now);
        }
        room
    }

    /// Whether writing so many bytes may block: lend the sink to a worker then.
    pub fn blocks(&self, len: usize) -> bool {
        self.body.as_ref().and_then(Body::sink).is_some_and(|sink| sink.blocks(len))
    }

    /// Writes decoded bytes, no more than there is room for. What is more than welcome is not taken, and ends the body.
    pub fn write(&mut self, now: Now, data: &mut dyn Buf) {
        let Some(body) = &mut self.body else { return };
        let before = body.staged;
        body.write(data);
        self.progress(now, before);
    }

    /// Lends the sink, so that another thread can write. `None` if no bytes are wanted.
    pub fn lend(&mut self) -> Option<HashingSink<S::Sink>> {
        self.body.as_mut().and_then(Body::lend)
    }

    /// Takes the sink back. `result` is that of the last write.
    pub fn give_back(&mut self, now: Now, sink: HashingSink<S::Sink>, result: Result<(), Failure>) {
        let Some(body) = &mut self.body else { return };
        let before = body.staged;
        body.give_back(sink, result);
        self.progress(now, before);
    }

    /// The body is complete.
    pub fn end_body(&mut self, now: Now, trailers: Trailers) {
        self.end(now, AppendEnd::Complete(trailers));
    }

    /// The body is cut short.
    pub fn cut_body(&mut self, now: Now, cut: Cut) {
        self.end(now, AppendEnd::Cut(cut));
    }

    /// The body has more bytes than are welcome: for a runtime that has not handed them over.
    pub fn overflow(&mut self, now: Now) {
        self.end(now, AppendEnd::Overflow);
    }

    /// Whether a HEAD waits for this request: what lies in the connection's receive buffer should be handed over, and then
    /// [`drained`](Self::drained) called. A runtime that can't look there calls it at once.
    pub fn wants_drain(&self) -> bool {
        self.drain
    }

    /// What had arrived is handed over.
    pub fn drained(&mut self, now: Now) {
        if std::mem::take(&mut self.drain) {
            self.exchange.handle(now, Input::Checkpoint);
        }
    }

    fn end(&mut self, now: Now, end: AppendEnd) {
        if let Some(body) = &mut self.body {
            body.end(end);
            self.rest(now);
        }
    }

    fn progress(&mut self, now: Now, before: u64) {
        if let Some(body) = &self.body
            && body.staged > before
        {
            self.exchange.handle(now, Input::Staged(body.op, body.staged));
        }
        self.rest(now);
    }

    /// Completes the Append once the body has ended and its sink is here.
    fn rest(&mut self, now: Now) {
        let Some(body) = self.body.take_if(|body| body.is_over()) else { return };
        let op = body.op;
        let (completion, memory) = body.complete();
        self.first = memory;
        if let Completion::Appended { end: AppendEnd::Failed(failure), .. } = completion {
            self.failed = Some(failure);
        }
        self.exchange.handle(now, Input::Store(op, completion));
        self.drained(now);
    }
}

/// The store and the locks.
impl<S: Store> Session<S> {
    fn carry_out<I: Inlet<S>>(
        &mut self,
        now: Now,
        store: &S,
        inlet: &dyn Fn() -> I,
        op: OpId,
        command: Command,
    ) {
        if let Some(id) = command.upload() {
            self.upload = Some(id.clone());
        }
        match command {
            Command::Load { id } => {
                let later = || ticket(inlet, move |loaded| Arrival::Loaded(op, loaded));
                if let Answer::Now(loaded) = store.load(&id, later) {
                    self.complete(now, op, on_loaded(loaded));
                }
            }
            Command::Open { id } => {
                let later = || ticket(inlet, move |opened| Arrival::Source(op, opened));
                if let Answer::Now(opened) = store.open(&id, later) {
                    self.on_source(now, op, opened);
                }
            }
            Command::Append { id, fence, at, max, rotate, digest } => {
                self.body = Some(Body::opening(op, max, digest));
                if max == 0 {
                    return;
                }
                let asked = mutation!("rotation-not-asked", rotate, false);
                let grant = AppendGrant { id, fence, at, max, rotate: asked };
                let later = || ticket(inlet, move |opened| Arrival::Sink(op, opened));
                if let Answer::Now(opened) = store.append(grant, later) {
                    self.on_sink(now, op, opened);
                }
            }
            Command::Reserve { bytes } => {
                self.first = store.reserve(bytes);
                let reserved = self.first.is_some();
                self.complete(now, op, if reserved { Completion::Reserved } else { Completion::Declined });
            }
            Command::Buffer { max, digest } => match self.first.take() {
                Some(memory) => self.body = Some(Body::buffering(op, max, digest, memory)),
                None => self.complete(now, op, Completion::Failed(Failure::Unavailable)),
            },
            Command::StopAppend => self.end(now, AppendEnd::Stopped),
            Command::Digest { from, to, algorithm, .. } => {
                if let Some(first) = &self.first {
                    let digest = first.digest((from, to), algorithm).map_err(LookupError::from);
                    return self.complete(now, op, on_digest(digest));
                }
                let Some(staged) = &self.staged else {
                    // Nothing was staged, so there is nothing to read.
                    return self.complete(now, op, Completion::Failed(Failure::Io));
                };
                let found = |digest: Result<Digest, Failure>| digest.map_err(LookupError::from);
                let later = || ticket(inlet, move |digest| Arrival::Digested(op, found(digest)));
                if let Answer::Now(digest) = store.digest(staged, (from, to), algorithm, later) {
                    self.complete(now, op, on_digest(found(digest)));
                }
            }
            Command::Hash { id, to, algorithm } => {
                let later = || ticket(inlet, move |digest| Arrival::Digested(op, digest));
                if let Answer::Now(digest) = store.hash(&id, to, algorithm, later) {
                    self.complete(now, op, on_digest(digest));
                }
            }
            Command::Create { record, first: kept } => {
                let mut first = self.first.take().filter(|_| kept > 0);
                if let Some(first) = &mut first {
                    first.truncate(kept);
                }
                if first.as_ref().map_or(0, FirstBytes::len) != kept {
                    // It was never told of so many.
                    return self.complete(now, op, Completion::Failed(Failure::Io));
                }
                self.change(now, store, inlet, op, Change::Create { record, first });
            }
            Command::Concat { record, parts, max, delete_parts } => {
                self.change(now, store, inlet, op, Change::Concat { record, parts, max, delete_parts });
            }
            Command::Commit { id, fence, from, to, length, expires, finish } => {
                let staged = self.staged.clone();
                let commit = Commit { id, fence, from, to, length, expires, finish, staged };
                self.change(now, store, inlet, op, Change::Commit(commit));
            }
            Command::Discard { id, fence } => {
                self.change(now, store, inlet, op, Change::Discard { id, fence });
            }
            Command::Delete { id, fence } => {
                self.change(now, store, inlet, op, Change::Delete { id, fence });
            }
        }
    }

    fn change<I: Inlet<S>>(
        &mut self,
        now: Now,
        store: &S,
        inlet: &dyn Fn() -> I,
        op: OpId,
        change: Change<S::Staged>,
    ) {
        if let (Some(witness), Some(request)) = (&self.witness, self.exchange.request()) {
            for kind in may_make(&change) {
                witness.expect(change.id(), *kind, request);
            }
        }
        let later = || ticket(inlet, move |changed| Arrival::Changed(op, changed));
        if let Answer::Now(changed) = store.change(change, later) {
            self.on_changed(now, op, changed);
        }
    }

    fn on_changed(&mut self, now: Now, op: OpId, changed: Changed) {
        self.events.extend(changed.events);
        self.complete(now, op, changed.completion);
    }

    fn on_sink(&mut self, now: Now, op: OpId, opened: Opened<S::Sink>) {
        // A sink that comes for an Append which is over is dropped.
        let Some(body) = self.body.as_mut().filter(|body| body.op == op) else { return };
        match opened {
            Ok(sink) => {
                self.staged = Some(sink.staged());
                body.opened(sink);
                self.rest(now);
            }
            Err(error) => {
                self.body = None;
                self.complete(now, op, error.into());
                self.drained(now);
            }
        }
    }

    fn on_source(&mut self, now: Now, op: OpId, opened: Opened<S::Source>) {
        let completion = match opened {
            Ok(source) => Completion::Opened(self.source.insert(Box::new(source)).record().clone()),
            Err(error) => error.into(),
        };
        self.complete(now, op, completion);
    }

    fn complete(&mut self, now: Now, op: OpId, completion: Completion) {
        if let Completion::Failed(failure) = completion {
            self.failed = Some(failure);
        }
        self.exchange.handle(now, Input::Store(op, completion));
    }

    fn on_lock_event(&mut self, now: Now, event: LockEvent) {
        match event {
            LockEvent::Reply(op, reply) => self.exchange.handle(now, Input::Lock(op, reply)),
            LockEvent::Yield(offset) => self.exchange.handle(now, Input::Yield(offset)),
            LockEvent::Lost => mutation!("lock-lost-ignored", self.cancel(now, Cancel::LockLost), ()),
            LockEvent::Checkpoint if mutation!("head-not-drained", self.has_open_body(), false) => {
                self.drain = true;
            }
            LockEvent::Checkpoint => self.exchange.handle(now, Input::Checkpoint),
        }
    }
}

/// The events of its own upload that a change may make.
fn may_make<T>(change: &Change<T>) -> &'static [EventKind] {
    match change {
        Change::Create { record, first }
            if record.length != Some(first.as_ref().map_or(0, FirstBytes::len)) =>
        {
            &[EventKind::Created]
        }
        Change::Commit(commit) if !commit.finish => &[],
        Change::Create { .. } | Change::Concat { .. } => &[EventKind::Created, EventKind::Completed],
        Change::Commit(_) => &[EventKind::Completed],
        Change::Delete { .. } => &[EventKind::Terminated],
        Change::Discard { .. } | Change::Acknowledge { .. } | Change::Postpone { .. } => &[],
    }
}

/// A ticket whose answer arrives as what `arrival` makes of it.
fn ticket<S: Store, I: Inlet<S>, T: 'static>(
    inlet: &dyn Fn() -> I,
    arrival: impl FnOnce(T) -> Arrival<S> + Send + 'static,
) -> Ticket<T> {
    let inlet = inlet();
    Ticket::new(move |answer| inlet.post(arrival(answer)))
}

fn on_loaded(loaded: Loaded) -> Completion {
    loaded.map_or_else(LookupError::into, Completion::Loaded)
}

fn on_digest(digest: Result<Digest, LookupError>) -> Completion {
    digest.map_or_else(Completion::from, Completion::Digested)
}

impl<S: Store> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("exchange", &self.exchange)
            .field("body", &self.body)
            .field("staged", &self.staged)
            .finish_non_exhaustive()
    }
}
