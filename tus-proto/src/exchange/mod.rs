//! One request, from its head to its response.
//!
//! ```text
//!             ┌ OPTIONS, rejections ────────────────────────────────────────────────────┐
//!             ├ GET     Opening ────────────────────────────────────────────────────────┤
//!             ├ POST    Concatenating (a final) ────────────────────────────────────────┤
//!  new ───────┼ HEAD    QueryingOffset (checkpoint, then load) ─────────────────────────┤
//!             ├ POST    Creating ─────────────────────┬─────────────────────────────────┼── Done
//!             │         Reserving (a small body) ─────┤                                 │
//!             ├ PATCH   Loading ── Locking ── Reloading ─┴─ Receiving ─┐                 │
//!             └ DELETE  Loading ── Locking ── Deleting ────────────────┴─ Releasing ─────┘
//! ```
//! Where hooks are subscribed: `Showing` (the upload, to the hook) and `Consulting` stand in front of all of
//! these but OPTIONS, and in front of `Deleting`; `Consulting` in front of `Creating` and `Concatenating`; and
//! `Receiving`, where a hook is asked beside the commits, may end in `Stopping`. `Finishing` stands between what makes an
//! upload complete and `Releasing`.
//!
//! Each state but `Receiving` waits for exactly one completion, which moves the exchange on. `Releasing`
//! follows the completion of every command of the lock's holder, and the response follows the release: a
//! client's next request never meets its own lock.

mod answer;
mod body;
mod buffered;
mod cancel;
mod checks;
mod concat;
mod content;
mod create;
mod download;
mod head;
mod hooks;
mod lease;
mod locked;
mod patch;
mod pending;
mod request;
mod rufh;
mod terminate;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, collections::VecDeque, string::String, sync::Arc};

use crate::{
    Cancel, Command, Completion, Config, Deadline, Event, Framing, Head, Input, Instant, LockCall, LockReply,
    Now, OpId, Output, Protocol, Reason, RequestInfo, Response, WallTime, cors::Origin, header,
};
use answer::Answer;
use body::state::Receiving;
use concat::Gathering;
use head::OffsetQuery;
use hooks::{Stopped, Told};
use lease::Lease;
use locked::{Purpose, whole_or_lost};
use pending::Pending;
use request::{Download, HeadRejection, PatchRequest, Request, TerminateRequest};
use rufh::Rufh;

/// The state machine of one request.
///
/// 1. [`new`](Self::new) when a head has been parsed, with fresh random bytes.
/// 2. [`poll`](Self::poll) until it gives nothing; carry each [`Output`] out.
/// 3. [`handle`](Self::handle) with each [`Input`] as it comes, then 2 again.
/// 4. [`deadline`](Self::deadline) after that; when it has passed, `handle` an [`Input::Timeout`].
///
/// [`Output::Done`] is the last output; nothing is owed to the exchange after it. No order of inputs makes it
/// panic; one that nothing waits for is counted as [`Event::Stale`] and changes nothing.
#[derive(Debug)]
pub struct Exchange {
    config: Arc<Config>,
    framing: Framing,
    /// A slice: thousands of exchanges may wait.
    request_id: Option<Box<str>>,
    origin: Origin,
    state: State,
    lease: Lease,
    outputs: VecDeque<Output>,
    last_op: u32,
    /// When the upload expires, as far as this request knows. Every answer about it says so.
    expires: Option<WallTime>,
    /// Why the request must end, where that came at a time when no body was being received.
    cancelled: Option<Cancel>,
    /// The newcomer that waits behind us, where it came at such a time, and where it would write.
    newcomer: Option<Option<u64>>,
    /// The request as hooks see it; `None` if none of those that would is subscribed.
    request: Option<Arc<RequestInfo>>,
    /// What the request says in the IETF's protocol. `None` if it speaks tus 1.0.0.
    rufh: Option<Box<Rufh>>,
    /// What hooks have said and are still to see. Boxed: it is rare.
    told: Option<Box<Told>>,
}

/// What the exchange waits for. An operation that a state names is the one whose completion moves it on.
#[derive(Debug)]
enum State {
    /// For the record that a hook is to see.
    Showing(OpId, Box<Pending>),
    /// For a hook, before anything is done.
    Consulting(OpId, Box<Pending>),
    /// HEAD: for the checkpoint, then for the record.
    QueryingOffset(OffsetQuery),
    /// PATCH and DELETE: for the record, before the lock is asked for.
    Loading(OpId, Purpose),
    /// DELETE: for the record as it is under the lock, where its time was over before.
    Rechecking(OpId, TerminateRequest),
    /// GET: for the upload to be held.
    Opening(OpId, Download),
    /// GET: for whoever writes to an upload whose time is over, until then.
    Awaiting(OpId, Instant, Download),
    /// For the lock.
    Locking(OpId, Purpose),
    /// PATCH: for the record as it is under the lock.
    Reloading(OpId, PatchRequest),
    /// POST: for the new record.
    Creating(OpId, create::Created),
    /// POST with a small body: for memory, to make the record together with it.
    Reserving(OpId, create::Created),
    /// POST of a final: for the record of a part, where all must be finished.
    Gathering(OpId, Box<Gathering>),
    /// POST of a final, with this `Location`: for the store.
    Concatenating(OpId, String),
    /// POST and PATCH: for the body, and for its commits.
    Receiving(Box<Receiving>),
    /// POST and PATCH: for the deletion of an upload that a hook has stopped.
    Stopping(OpId, Box<Stopped>),
    /// DELETE: for the store.
    Deleting(OpId),
    /// PATCH: for the deletion of an upload that got more than its length, and whether somebody is left to answer.
    Invalidating(OpId, bool),
    /// POST and PATCH: for the hook of an upload that has just become complete; then the answer.
    Finishing(OpId, Option<Answer>),
    /// For the lock to be free of us; then the answer, where somebody is left to get it.
    Releasing(OpId, Option<Answer>),
    /// For nothing.
    Over,
}

impl Exchange {
    /// Takes a request up. `entropy` are fresh random bytes: a new upload's id is made of them.
    pub fn new(config: Arc<Config>, head: &Head<'_>, entropy: [u8; 10], now: Now) -> Self {
        let address = checks::address(&config, head);
        let origin = config.cors.origin(head.values("Origin").next());
        let mut exchange = Self {
            config,
            origin,
            framing: head.framing,
            request_id: header::request_id(head).map(String::into_boxed_str),
            state: State::Over,
            lease: Lease::None,
            outputs: VecDeque::new(),
            last_op: 0,
            expires: None,
            cancelled: None,
            newcomer: None,
            request: None,
            rufh: None,
            told: None,
        };
        match address {
            Ok(address) if address.is_options() => exchange.answer(now, Answer::Options),
            Ok(address) => exchange.admit(now, head, address, entropy),
            Err(rejection) => exchange.answer(now, Answer::HeadRejected(rejection)),
        }
        exchange
    }

    /// Does what the head asks for, now that it may be done.
    fn begin(&mut self, now: Now, checked: Result<Request, HeadRejection>, entropy: [u8; 10]) {
        match checked {
            Ok(Request::Head(id)) => self.query_offset(now, id),
            Ok(Request::Create(creation)) => self.create(now, creation, entropy),
            Ok(Request::Concat(assembly)) => self.concat(now, assembly, entropy),
            Ok(Request::Download(download)) => self.download(download),
            Ok(Request::Write(patch)) => self.load(Purpose::Write(patch)),
            Ok(Request::Terminate(termination)) => self.load(Purpose::Terminate(termination)),
            Err(rejection) => self.answer(now, Answer::HeadRejected(rejection)),
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && matches!(self.state, State::Receiving(_)) {
            // Free the queue's allocation while the body streams: thousands of connections may be in this state.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// The next point in time at which the exchange wants an [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Deadline> {
        let own = match &self.state {
            State::QueryingOffset(look) => look.deadline(),
            State::Awaiting(_, until, _) => Some((*until, Reason::CheckpointWait)),
            State::Receiving(receiving) => receiving.deadline(&self.config),
            _ => None,
        };
        let renewal = self.lease.renewal().map(|at| (at, Reason::Renew));
        own.into_iter().chain(renewal).min_by_key(|(at, _)| *at)
    }

    /// How many bytes of the body may be staged before the commit under way should be waited for: at none, twice
    /// the checkpoint's bytes are staged and not committed, because the network is faster than the disk. A runtime
    /// that keeps to it bounds what a crash costs.
    pub fn headroom(&self) -> u64 {
        match &self.state {
            State::Receiving(receiving) => receiving.headroom(&self.config),
            _ => u64::MAX,
        }
    }

    /// Which protocol the request speaks, as far as that is known by now.
    pub fn protocol(&self) -> Protocol {
        if self.rufh.is_some() { Protocol::Ietf } else { Protocol::Tus }
    }

    /// The request as hooks see it; `None` if no hook that would see it is subscribed.
    pub fn request(&self) -> Option<&Arc<RequestInfo>> {
        self.request.as_ref()
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Lock(op, reply) => self.on_lock(now, op, reply),
            Input::Store(op, completion) => self.on_store(now, op, completion),
            Input::Hook(op, reply) => self.on_hook(now, op, reply),
            Input::Cancel(cancel) => self.on_cancel(now, cancel),
            Input::Timeout => self.on_timeout(now),
            Input::Yield(offset) => self.on_yield(now, offset),
            Input::Checkpoint => self.on_checkpoint(now),
            Input::Staged(op, total) => self.on_staged(now, op, total),
        }
    }

    fn on_lock(&mut self, now: Now, op: OpId, reply: LockReply) {
        if self.lease.is_renewing(op) {
            return self.on_renewal(now, reply);
        }
        match core::mem::replace(&mut self.state, State::Over) {
            State::Locking(waited, purpose) if waited == op => self.on_acquired(now, purpose, reply),
            State::Releasing(waited, answer) if waited == op => self.conclude(now, answer),
            State::QueryingOffset(query) => self.on_checkpoint_made(op, query),
            State::Awaiting(waited, _, download) if waited == op => self.download(download),
            other => self.stale(other),
        }
    }

    fn on_store(&mut self, now: Now, op: OpId, completion: Completion) {
        match core::mem::replace(&mut self.state, State::Over) {
            State::QueryingOffset(query) => self.on_record(now, op, query, completion),
            State::Loading(waited, purpose) if waited == op => self.on_loaded(now, purpose, completion),
            // The lock was lost while the record was read: nothing may be written by that record.
            State::Reloading(waited, _) | State::Rechecking(waited, _)
                if waited == op && self.cancelled == Some(Cancel::LockLost) =>
            {
                self.end(now, Some(Answer::Failed(answer::to_cancel(Cancel::LockLost))));
            }
            State::Reloading(waited, patch) if waited == op => self.on_reloaded(now, patch, completion),
            State::Rechecking(waited, termination) if waited == op => {
                match self.lives(now, whole_or_lost(completion)) {
                    Ok(_) => self.terminate(termination),
                    Err(code) => self.end(now, Some(Answer::Failed(code))),
                }
            }
            State::Creating(waited, created) if waited == op => self.on_created(now, created, completion),
            State::Reserving(waited, created) if waited == op => self.on_reserved(created, &completion),
            State::Concatenating(waited, location) if waited == op => {
                self.on_concatenated(now, location, completion)
            }
            State::Showing(waited, pending) if waited == op => self.on_shown(now, *pending, completion),
            State::Stopping(waited, stopped) if waited == op => self.on_stopped(now, *stopped, completion),
            State::Opening(waited, download) if waited == op => self.on_opened(now, download, completion),
            State::Gathering(waited, gathering) if waited == op => {
                self.on_gathered(now, gathering, &completion)
            }
            State::Deleting(waited) if waited == op => self.on_deleted(now, completion),
            State::Invalidating(waited, heard) if waited == op => {
                self.on_invalidated(now, heard, &completion)
            }
            State::Receiving(receiving) => self.on_received(now, receiving, op, completion),
            other => self.stale(other),
        }
    }

    fn on_timeout(&mut self, now: Now) {
        self.renew_if_due(now);
        match core::mem::replace(&mut self.state, State::Over) {
            State::QueryingOffset(query) => self.on_checkpoint_timeout(now, query),
            State::Receiving(receiving) => self.advance(now, receiving),
            State::Awaiting(_, until, download) if until <= now.monotonic => self.stop_awaiting(download),
            other => self.state = other,
        }
    }

    /// Ends the request: the hook of an upload that is complete now, the lock, then the answer, where there is somebody
    /// to get it.
    fn end(&mut self, now: Now, answer: Option<Answer>) {
        let told = self.told.as_mut().filter(|told| told.finished);
        match told.and_then(|told| told.upload.take()) {
            Some(upload) => self.ask_finish(upload, answer),
            None => self.release(now, answer),
        }
    }

    fn release(&mut self, now: Now, answer: Option<Answer>) {
        match self.lease.give_up() {
            Some(key) => {
                let op = self.op();
                self.outputs.push_back(Output::Lock(op, LockCall::Release { key }));
                self.state = State::Releasing(op, answer);
            }
            None => self.conclude(now, answer),
        }
    }

    fn conclude(&mut self, now: Now, answer: Option<Answer>) {
        match answer {
            Some(answer) => self.answer(now, answer),
            None => self.over(),
        }
    }

    /// Sends the answer, and with it ends the exchange.
    fn answer(&mut self, now: Now, answer: Answer) {
        let download = matches!(answer, Answer::Download(..));
        let methods = matches!(answer, Answer::Options).then(|| answer::methods(&self.config));
        let ietf = self.rufh.is_some();
        let mut response: Response = match ietf {
            true => self.in_rufh(now, answer),
            false => answer.response(&self.config, self.framing, now.date),
        };
        if response.status() < 300
            && let Some(amendment) = self.told.as_mut().and_then(|told| told.amendment.take())
        {
            response.amend(amendment);
        }
        if let Some(expires) = self.expires.filter(|_| !ietf) {
            response.push("Upload-Expires", now.dated(expires).imf_fixdate());
        }
        if download {
            response.push("Cross-Origin-Resource-Policy", self.origin.resource_policy());
        }
        self.config.cors.extend(&mut response, &self.origin, methods.as_deref());
        if let Some(id) = &self.request_id {
            response.push("X-Request-ID", id);
        }
        self.outputs.push_back(Output::Respond(response));
        self.over();
    }

    fn over(&mut self) {
        self.state = State::Over;
        self.outputs.push_back(Output::Done);
    }

    /// Restores the state after an input that did not apply to it.
    fn stale(&mut self, state: State) {
        self.state = state;
        self.notify_stale();
    }

    fn notify_stale(&mut self) {
        // After Done nothing may follow, not even this.
        if !matches!(self.state, State::Over) {
            self.notify(Event::Stale);
        }
    }

    fn op(&mut self) -> OpId {
        self.last_op = self.last_op.wrapping_add(1);
        OpId(self.last_op)
    }

    fn store(&mut self, command: Command) -> OpId {
        let op = self.op();
        self.outputs.push_back(Output::Store(op, command));
        op
    }

    fn notify_finished(&mut self) {
        if let Some(rufh) = &mut self.rufh {
            rufh.finish();
        }
        self.notify(Event::Finished);
    }

    fn notify(&mut self, event: Event) {
        self.outputs.push_back(Output::Notify(event));
    }
}
