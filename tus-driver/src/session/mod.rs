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
mod effect;
mod hashing_sink;
mod receive;
mod store_calls;

use std::{fmt, sync::Arc};

use tus_proto::{
    Cancel, Config, Deadline, Exchange, Failure, Head, Input, LockEvent, Now, Output, Protocol, UploadId,
};

use self::body::Body;
pub use self::{
    effect::{Arrival, Effect, EventWitness, Inlet},
    hashing_sink::HashingSink,
};
use crate::{FirstBytes, Store};

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
            Arrival::Loaded(op, loaded) => self.on_loaded(now, op, loaded),
            Arrival::Changed(op, changed) => self.on_changed(now, op, changed),
            Arrival::Digested(op, digest) => self.on_digest(now, op, digest),
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

impl<S: Store> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("exchange", &self.exchange)
            .field("body", &self.body)
            .field("staged", &self.staged)
            .finish_non_exhaustive()
    }
}
