//! Hooks of a server: who is called, on which threads, and how an exchange's call finds its way there and back.

use std::{sync::Arc, time::Duration};

use tus_driver::{
    Arrival, Clock, Store, Ticket,
    hooks::{FindFiles, Hook, HookRunner},
    outbox::Pauses,
};
use tus_proto::{HookCall, HookReply, Instant, OpId};

use super::{
    Mailbox, Message,
    connection::{Asked, Connection},
    deliverer::Deliverer,
    event_loop::EventLoop,
    hook_pool::HookPool,
};

/// What a server needs to call hooks.
#[derive(Debug)]
pub(crate) struct HookCalls {
    hooks: Arc<dyn HookRunner>,
    /// For hooks that requests wait for.
    pool: HookPool,
    timeout: Duration,
    /// For hooks that come after the fact; `None` if none is subscribed.
    pub deliverer: Option<Arc<Deliverer>>,
}

impl HookCalls {
    /// Calls these hooks, `threads` at a time; at most `limit` calls wait for a thread.
    pub(crate) fn new(
        hooks: Arc<dyn HookRunner>,
        clock: Clock,
        (threads, limit): (usize, usize),
        timeout: Duration,
        pauses: Pauses,
    ) -> Self {
        let deliverer = hooks.delivers().then(|| {
            // As many wait as run at the most.
            let pool = HookPool::new(clock, threads, threads, "told-hook");
            Arc::new(Deliverer::new(hooks.clone(), pool, (threads, pauses)))
        });
        Self { hooks, pool: HookPool::new(clock, threads, limit, "hook"), timeout, deliverer }
    }

    /// Lets hooks find the files of uploads.
    pub(crate) fn show_files(&self, files: Box<FindFiles>) {
        self.hooks.set_files(files);
    }

    /// Lets the threads go.
    pub(crate) fn close(&self) {
        self.pool.close();
        if let Some(deliverer) = &self.deliverer {
            deliverer.close();
        }
    }

    /// Has a hook called. `false` if too many calls wait.
    fn ask(&self, call: HookCall, until: Instant, ticket: Ticket<HookReply>) -> bool {
        if !self.hooks.blocks() {
            self.hooks.decide(call, ticket);
            return true;
        }
        let hooks = self.hooks.clone();
        self.pool.submit(Some(until), move || hooks.decide(call, ticket))
    }
}

impl<S: Store> EventLoop<S> {
    /// An exchange asks a hook: on another thread, and not for ever.
    pub(super) fn ask_hook(&mut self, connection: &mut Connection<S>, op: OpId, mut call: HookCall) {
        if self.shared.protocol.hooks().requests
            && let Some(remote) = connection.socket.remote()
        {
            call.set_remote(remote);
        }
        let Some(request) = &mut connection.request else { return };
        let hooks = self.shared.hooks.as_ref();
        if let Some(reply) = hooks.and_then(|hooks| hooks.hooks.recall(&call)) {
            return request.session.handle(self.now, Arrival::Hook(op, reply));
        }
        let (hook, is_awaited) = (Hook::of(&call), call.is_awaited());
        let (owner, loop_index) = (request.owner, self.index);
        // No more than that: a hook that never returns would keep the store open.
        let (mailboxes, metrics) = (self.shared.mailboxes.clone(), self.shared.metrics.clone());
        let reply = Ticket::new(move |reply| {
            if !is_awaited && reply == HookReply::Failed {
                metrics.hook_failed(hook);
            }
            post(&mailboxes, loop_index, Message::HookReplied(owner, op, reply));
        });
        self.shared.metrics.hook_called(hook);
        let until = self.now.monotonic.after(hooks.map_or(Duration::ZERO, |hooks| hooks.timeout));
        // A server that ends waits for nobody's hooks.
        let is_called = !self.is_cut() && hooks.is_some_and(|hooks| hooks.ask(call, until, reply));
        if is_called && is_awaited {
            request.asked = Some(Asked { op, hook, until });
        } else if !is_called {
            tracing::error!(hook = hook.name(), "a hook can't be called: too many requests wait for hooks");
            self.shared.metrics.hook_failed(hook);
            request.session.handle(self.now, Arrival::Hook(op, HookReply::Failed));
        }
    }

    /// A hook has decided, perhaps too late: then the exchange waits for it no more.
    pub(super) fn on_hook_reply(&mut self, connection: &mut Connection<S>, op: OpId, reply: HookReply) {
        let Some(request) = &mut connection.request else { return };
        if let Some(asked) = request.asked.take_if(|asked| asked.op == op)
            && reply == HookReply::Failed
        {
            self.shared.metrics.hook_failed(asked.hook);
        }
        request.session.handle(self.now, Arrival::Hook(op, reply));
    }

    /// Stops waiting for a hook whose time is over.
    pub(super) fn expire_hook(&mut self, connection: &mut Connection<S>) {
        let now = self.now.monotonic;
        if connection.asked().is_some_and(|asked| asked.until <= now) {
            self.leave_hook(connection);
        }
    }

    /// Stops waiting for a hook.
    pub(super) fn leave_hook(&mut self, connection: &mut Connection<S>) {
        let now = self.now;
        let Some(request) = &mut connection.request else { return };
        if let Some(asked) = request.asked.take() {
            tracing::error!(hook = asked.hook.name(), "a hook took too long");
            self.shared.metrics.hook_timed_out(asked.hook);
            request.session.handle(now, Arrival::Hook(asked.op, HookReply::Failed));
        }
    }
}

fn post<S: Store>(mailboxes: &[Mailbox<S>], loop_index: usize, message: Message<S>) {
    if let Some(mailbox) = mailboxes.get(loop_index) {
        mailbox.post(message);
    }
}
