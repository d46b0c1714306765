//! Calling hooks: functions on blocking threads, a bounded number at a time, and `async fn`s in tasks of their own.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Semaphore};
use tus_driver::{
    EventKinds, Ticket,
    hooks::{AsyncHooks, HookEvent, HookRunner, async_hooks},
};
use tus_proto::{HookCall, HookReply, Subscriptions};

/// Hooks, and what they may cost.
#[derive(Clone, Debug)]
pub(crate) struct HookCalls {
    pub(crate) runner: Arc<dyn HookRunner>,
    runtime: Handle,
    timeout: Duration,
    threads: Arc<Semaphore>,
}

impl HookCalls {
    pub(crate) fn new(
        runner: Arc<dyn HookRunner>,
        runtime: Handle,
        timeout: Duration,
        threads: usize,
    ) -> Self {
        Self { runner, runtime, timeout, threads: Arc::new(Semaphore::new(threads.clamp(1, 512))) }
    }

    /// Has a hook called that a request waits for. A hook that blocks may never return: it keeps its thread then, and no
    /// request waits for any of them beyond its deadline.
    pub(crate) fn decide(&self, call: HookCall, ticket: Ticket<HookReply>) {
        if !self.runner.blocks() {
            return self.runner.decide(call, ticket);
        }
        let Self { runner, runtime, timeout, threads } = self.clone();
        self.runtime.spawn(async move {
            let thread = tokio::time::timeout(timeout, threads.acquire_owned());
            // Without a thread in time the request has given up already.
            let Ok(Ok(thread)) = thread.await else { return };
            runtime.spawn_blocking(move || {
                runner.decide(call, ticket);
                drop(thread);
            });
        });
    }

    /// Has an event delivered, with the files that `files` finds: on a thread that may block.
    pub(crate) fn deliver(
        &self,
        event: impl FnOnce() -> Option<HookEvent> + Send + 'static,
        ticket: Ticket<bool>,
    ) {
        let runner = self.runner.clone();
        self.runtime.spawn_blocking(move || match event() {
            Some(event) => runner.deliver(event, ticket),
            None => ticket.answer(false),
        });
    }
}

/// `async fn`s as a runner.
pub(crate) struct Tasks<H> {
    pub(crate) hooks: Arc<H>,
    pub(crate) runtime: Handle,
    pub(crate) timeout: Duration,
}

impl<H: AsyncHooks> HookRunner for Tasks<H> {
    fn subscriptions(&self) -> Subscriptions {
        async_hooks::subscriptions(&*self.hooks)
    }

    fn events(&self) -> EventKinds {
        async_hooks::events(&*self.hooks)
    }

    fn blocks(&self) -> bool {
        false
    }

    fn decide(&self, call: HookCall, ticket: Ticket<HookReply>) {
        let (hooks, timeout) = (self.hooks.clone(), self.timeout);
        let mut answer = AtLeast(Some((ticket, HookReply::Failed)));
        self.runtime.spawn(async move {
            // Dropped with its future at the deadline; who asked has seen to that itself.
            if let Ok(reply) = tokio::time::timeout(timeout, async_hooks::decide(&*hooks, &call)).await {
                answer.give(reply);
            }
        });
    }

    fn deliver(&self, event: HookEvent, ticket: Ticket<bool>) {
        let hooks = self.hooks.clone();
        let mut answer = AtLeast(Some((ticket, false)));
        self.runtime.spawn(async move { answer.give(async_hooks::deliver(&*hooks, event).await) });
    }
}

impl<H> fmt::Debug for Tasks<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A ticket, and what it is answered if its hook panics, or ends in any other way without an answer.
struct AtLeast<T>(Option<(Ticket<T>, T)>);

impl<T> AtLeast<T> {
    fn give(&mut self, answer: T) {
        if let Some((ticket, _)) = self.0.take() {
            ticket.answer(answer);
        }
    }
}

impl<T> Drop for AtLeast<T> {
    fn drop(&mut self) {
        if let Some((ticket, least)) = self.0.take() {
            ticket.answer(least);
        }
    }
}
