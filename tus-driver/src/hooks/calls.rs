//! Having hooks called: on which threads, and for how long a request waits for one.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use tus_proto::{HookCall, HookReply, Instant, Now, OpId, Subscriptions};

use super::{Hook, HookEvent, HookRunner};
use crate::{Arrival, Counters, Inlet, Store, Ticket};

/// Where a runtime calls what may hold up its thread.
pub trait HookThreads: fmt::Debug + Send + Sync + 'static {
    /// Runs `call` on a thread that may block. No request waits for it beyond `deadline`, so that it need not be run
    /// after that; without one it is a hook that is told after the fact. `false` if too many wait: it is not run then.
    fn run(&self, deadline: Option<Instant>, call: Box<dyn FnOnce() + Send>) -> bool;
}

/// Hooks, and what calling them may cost. A clone calls the same hooks.
#[derive(Clone, Debug)]
pub struct HookCalls {
    runner: Arc<dyn HookRunner>,
    threads: Arc<dyn HookThreads>,
    /// How long a request waits for a hook.
    timeout: Duration,
}

impl HookCalls {
    /// Calls these hooks on these threads. A request waits for one of them for at most `timeout`.
    pub fn new(runner: Arc<dyn HookRunner>, threads: Arc<dyn HookThreads>, timeout: Duration) -> Self {
        Self { runner, threads, timeout }
    }

    /// The hooks.
    pub fn runner(&self) -> &Arc<dyn HookRunner> {
        &self.runner
    }

    /// Has a hook called for a request. `false` if too many calls wait.
    fn decide(&self, call: HookCall, until: Instant, ticket: Ticket<HookReply>) -> bool {
        if !self.runner.blocks() {
            self.runner.decide(call, ticket);
            return true;
        }
        let runner = self.runner.clone();
        self.threads.run(Some(until), Box::new(move || runner.decide(call, ticket)))
    }

    /// Has an event delivered. `event` finds its files, which may block; `None` if the store can't name them now.
    /// `false` if no thread is to be had.
    pub(crate) fn deliver(
        &self,
        blocks: bool,
        event: impl FnOnce() -> Option<HookEvent> + Send + 'static,
        ticket: Ticket<bool>,
    ) -> bool {
        let runner = self.runner.clone();
        let call = move || match event() {
            Some(event) => runner.deliver(event, ticket),
            None => ticket.answer(false),
        };
        if blocks || self.runner.blocks() {
            return self.threads.run(None, Box::new(call));
        }
        call();
        true
    }
}

/// The hook that a request waits for, if any.
#[derive(Debug, Default)]
pub struct HookWait(Option<Awaited>);

#[derive(Debug)]
struct Awaited {
    op: OpId,
    hook: Hook,
    until: Instant,
}

impl HookWait {
    /// Has a hook called. The reply goes to `inlet`; `Some` if it is here already.
    pub fn ask<S: Store>(
        &mut self,
        (now, op, mut call): (Now, OpId, HookCall),
        hooks: Option<&HookCalls>,
        remote: Option<SocketAddr>,
        counters: &Counters,
        inlet: impl Inlet<S>,
    ) -> Option<HookReply> {
        let Some(hooks) = hooks else { return Some(HookReply::Proceed) };
        if let Some(remote) = remote
            && hooks.runner.subscriptions().requests
        {
            call.set_remote(remote);
        }
        if let Some(reply) = hooks.runner.recall(&call) {
            return Some(reply);
        }
        let (hook, is_awaited) = (Hook::of(&call), call.is_awaited());
        let until = now.monotonic.after(hooks.timeout);
        let failed = counters.clone();
        let ticket = Ticket::new(move |reply| {
            if !is_awaited && reply == HookReply::Failed {
                failed.hook_failed(hook);
            }
            inlet.post(Arrival::Hook(op, reply));
        });
        counters.hook_called(hook);
        if is_awaited {
            self.0 = Some(Awaited { op, hook, until });
        }
        if hooks.decide(call, until, ticket) {
            return None;
        }
        tracing::error!(hook = hook.name(), "a hook can't be called: too many requests wait for hooks");
        counters.hook_failed(hook);
        self.0 = None;
        Some(HookReply::Failed)
    }

    /// A hook has replied, perhaps too late.
    pub fn on_reply(&mut self, op: OpId, reply: &HookReply, counters: &Counters) {
        if let Some(awaited) = self.0.take_if(|awaited| awaited.op == op)
            && *reply == HookReply::Failed
        {
            counters.hook_failed(awaited.hook);
        }
    }

    /// Until when the hook is waited for.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|awaited| awaited.until)
    }

    /// Stops waiting for a hook whose deadline has passed, and returns the call that has failed by that.
    pub fn expire(&mut self, now: Instant, counters: &Counters) -> Option<OpId> {
        let awaited = self.0.take_if(|awaited| awaited.until <= now)?;
        tracing::error!(hook = awaited.hook.name(), "a hook took too long");
        counters.hook_timed_out(awaited.hook);
        Some(awaited.op)
    }
}

/// Calls hooks in the thread that wants them called.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallingThread;

impl HookThreads for CallingThread {
    fn run(&self, _: Option<Instant>, call: Box<dyn FnOnce() + Send>) -> bool {
        call();
        true
    }
}

/// What exchanges are to call for these hooks; nothing if there are none.
pub fn subscriptions(hooks: Option<&HookCalls>) -> Subscriptions {
    hooks.map(|hooks| hooks.runner.subscriptions()).unwrap_or_default()
}
