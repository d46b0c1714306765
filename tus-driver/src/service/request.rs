//! One request of a [`Service`](super::Service): its session with its mailbox, its lock and its hooks. Its runtime is left with the body,
//! the response and the time.

use std::{fmt, net::SocketAddr, sync::Arc, task::Waker};

use tus_proto::{ErrorCode, HookReply, Instant, Interim, LockCall, LockEvent, LockReply, Now, Response};

use super::shared::Shared;
use crate::{Arrival, Effect, RequestHandle, Session, Store, hooks::HookWait};

/// A request under way. Dropped at any point, it leaves no lock.
pub struct RequestDriver<S: Store> {
    session: Session<S>,
    hook: HookWait,
    remote: Option<SocketAddr>,
    begun: Instant,
    drains_at_once: bool,
    /// After the session: the lock is released when nothing can be written any more.
    handle: RequestHandle<S>,
    shared: Arc<Shared<S>>,
}

/// What a request wants of its runtime.
#[derive(Debug)]
pub enum Step {
    /// Send `100 Continue` if the client waits for it: see [`Effect::Continue`].
    Continue,
    /// Send this before the response, if the framework can: see [`Effect::Interim`].
    Interim(Interim),
    /// Send this, at most once. If its body is an upload's, [`Session::take_source`] has it.
    Respond(Response),
    /// The request is over. Last, and exactly once.
    Done,
}

impl<S: Store> RequestDriver<S> {
    pub(super) fn new(
        shared: Arc<Shared<S>>,
        session: Session<S>,
        handle: RequestHandle<S>,
        remote: Option<SocketAddr>,
        begun: Instant,
    ) -> Self {
        Self { session, hook: HookWait::default(), remote, begun, drains_at_once: false, handle, shared }
    }

    /// For a runtime that can't look for bytes that have arrived and were not read: what was handed over is all that a
    /// HEAD's checkpoint can commit. It is committed before a later arrival is looked at.
    #[must_use]
    pub fn draining_at_once(self) -> Self {
        Self { drains_at_once: true, ..self }
    }

    /// The session, for the request's body.
    pub fn session(&mut self) -> &mut Session<S> {
        &mut self.session
    }

    pub(super) fn shared(&self) -> &Arc<Shared<S>> {
        &self.shared
    }

    /// Takes what has arrived, and carries out what the session wants. `None` when there is no more to do now; the waker
    /// is woken when there is. `has_left` returns whether the peer has closed its side with the body incomplete.
    pub fn poll(&mut self, now: Now, waker: &Waker, has_left: &dyn Fn() -> bool) -> Option<Step> {
        loop {
            // What came while a read or the disk held the runtime up comes first: a request that has lost its lock must
            // learn that before its commit is rejected.
            while let Some(arrival) = self.handle.take(waker) {
                self.take(now, arrival);
            }
            let Self { session, hook, remote, begun, handle, shared, .. } = self;
            let counters = &shared.counters;
            let effect = session.poll(now, &shared.store, &|| handle.mailbox().clone())?;
            match effect {
                Effect::Lock(op, call @ LockCall::Acquire { .. }) => {
                    let call = if has_left() { call.without_preemption() } else { call };
                    handle.call(op, call);
                    // How long a service takes to grant a free lock does not depend on its holder.
                    if shared.requests.grants_at_once() && !handle.has_mail() {
                        counters.lock_waited();
                    }
                }
                Effect::Lock(op, call) => handle.call(op, call),
                Effect::Hook(op, call) => {
                    let inlet = handle.mailbox().clone();
                    let reply = hook.ask((now, op, call), shared.hooks.as_ref(), *remote, counters, inlet);
                    if let Some(reply) = reply {
                        session.handle(now, Arrival::Hook(op, reply));
                    }
                }
                Effect::Notify(event) => counters.event(event),
                Effect::Failed(failure) => counters.store_failed(failure),
                Effect::Continue => return Some(Step::Continue),
                Effect::Interim(interim) => return Some(Step::Interim(interim)),
                Effect::Respond(response) => {
                    counters.answered(response.status(), response.code());
                    counters.took(now.monotonic.since(*begun));
                    let code = response.code().map(ErrorCode::name);
                    tracing::debug!(status = response.status(), code);
                    return Some(Step::Respond(response));
                }
                Effect::Done => return Some(Step::Done),
            }
        }
    }

    fn take(&mut self, now: Now, arrival: Arrival<S>) {
        let counters = &self.shared.counters;
        match &arrival {
            Arrival::Hook(op, reply) => self.hook.on_reply(*op, reply, counters),
            Arrival::Lock(LockEvent::Reply(_, LockReply::TimedOut)) => counters.lock_timed_out(),
            _ => {}
        }
        self.session.handle(now, arrival);
        if self.drains_at_once {
            self.session.drained(now);
        }
    }

    /// Does what is due by the clock. Returns whether anything was, and when that is next.
    pub fn keep_time(&mut self, now: Now) -> (bool, Option<Instant>) {
        let counters = &self.shared.counters;
        let expired = self.hook.expire(now.monotonic, counters);
        if let Some(op) = expired {
            self.session.handle(now, Arrival::Hook(op, HookReply::Failed));
        }
        let due = self.session.deadline().filter(|(at, _)| *at <= now.monotonic);
        if let Some((_, reason)) = due {
            counters.exchange_deadline_passed(reason);
            self.session.timeout(now);
        }
        let locks = self.handle.keep_time(now.monotonic);
        let session = self.session.deadline().map(|(at, _)| at);
        let next = [locks, session, self.hook.deadline()].into_iter().flatten().min();
        (expired.is_some() || due.is_some(), next)
    }
}

impl<S: Store> fmt::Debug for RequestDriver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestDriver")
            .field("handle", &self.handle)
            .field("hook", &self.hook)
            .finish_non_exhaustive()
    }
}
