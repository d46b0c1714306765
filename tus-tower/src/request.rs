//! One request: its session's effects carried out, what arrives passed on to it, its body pumped. A state machine that
//! is polled: at first within the response's future, and from when it must wait on in a task of its own, so that it
//! ends well whatever becomes of that future.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::Span;
use tus_driver::{
    Arrival, Class, Effect, Executor as _, HashingSink, Inlet as _, RequestHandle, Session, Store, Ticket,
    hooks::Hook,
};
use tus_proto::{
    Connection, Failure, HookCall, HookReply, Instant, LockCall, LockEvent, LockReply, Now, OpId, Response,
};

use crate::{
    TusBody,
    alarm::Alarm,
    core::Core,
    executor::Pool,
    ingress::{End, Ingress},
    response,
};

/// How often a request looks for more to do before others have their turn.
const ROUNDS: usize = 32;

pub(crate) struct Request<S: Store> {
    session: Session<S>,
    ingress: Ingress,
    writing: Option<oneshot::Receiver<Written<S>>>,
    /// The hook that it waits for, and until when.
    asked: Option<(OpId, Instant, Hook)>,
    alarm: Alarm,
    /// The response, until it is given to whoever waits.
    answer: Option<http::Response<TusBody>>,
    /// Where the response is waited for, once that is another task.
    waiter: Option<oneshot::Sender<http::Response<TusBody>>>,
    /// Nobody waits for the response any more.
    gone: bool,
    begun: Instant,
    rest: Allowance,
    /// The session is over.
    over: bool,
    facts: Facts,
    span: Span,
    handle: RequestHandle<S>,
    core: Arc<Core<S>>,
}

/// What of the request's head counts later.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    /// HTTP/1: the response may say that the connection closes.
    pub(crate) closes: bool,
    /// The client sends no body before it is asked to.
    pub(crate) expects_continue: bool,
}

/// What a blocking thread gives back.
type Written<S> = (HashingSink<<S as Store>::Sink>, Result<(), Failure>);

/// How much of a body may still be read once the response is there.
#[derive(Clone, Copy)]
struct Allowance {
    bytes: u64,
    until: Instant,
}

/// What is left to do after the session: to read what the client still sends, so that it can read the response.
pub(crate) struct Rest {
    ingress: Ingress,
    alarm: Alarm,
    pool: Arc<Pool>,
    bytes: u64,
    until: Instant,
}

impl Rest {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.pool.now().monotonic;
        let forgotten = self.ingress.poll_forget(cx, &mut self.bytes).is_ready();
        let done = forgotten || self.alarm.poll(cx, &self.pool, now, Some(self.until));
        if done { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<S: Store> Request<S> {
    pub(crate) fn new(
        core: Arc<Core<S>>,
        handle: RequestHandle<S>,
        session: Session<S>,
        ingress: Ingress,
        facts: Facts,
        span: Span,
    ) -> Self {
        Self {
            session,
            ingress,
            writing: None,
            asked: None,
            alarm: Alarm::default(),
            answer: None,
            waiter: None,
            gone: false,
            begun: core.pool.now().monotonic,
            rest: Allowance { bytes: 0, until: Instant::from_micros(0) },
            over: false,
            facts,
            span,
            handle,
            core,
        }
    }

    /// The response, if it is there.
    pub(crate) fn take_answer(&mut self) -> Option<http::Response<TusBody>> {
        self.answer.take()
    }

    /// Gives the response to another task as soon as it is there.
    pub(crate) fn answer_to(&mut self, waiter: oneshot::Sender<http::Response<TusBody>>) {
        self.waiter = Some(waiter);
    }

    /// Ends the request, and returns what is left of it. `None` if that is nothing.
    pub(crate) fn into_rest(mut self) -> Option<Rest> {
        self.ingress.drop_unless_begun(self.facts.expects_continue);
        let Allowance { bytes, until } = self.rest;
        let (ingress, alarm, pool) = (self.ingress, self.alarm, self.core.pool.clone());
        ingress.misses().then_some(Rest { ingress, alarm, pool, bytes, until })
    }

    /// Does all there is to do now. Ready when the session is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let span = self.span.clone();
        let _entered = span.enter();
        for _ in 0..ROUNDS {
            let now = self.core.pool.now();
            self.look_for_waiter(cx);
            let mut progress = self.take_mail(cx, now);
            progress |= self.carry_out(now);
            if self.over {
                return Poll::Ready(());
            }
            progress |= self.poll_written(cx, now);
            progress |= self.pump(cx, now);
            progress |= self.keep_time(cx, now);
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sees whether the response's future was dropped.
    fn look_for_waiter(&mut self, cx: &mut Context<'_>) {
        if let Some(waiter) = &mut self.waiter
            && waiter.poll_closed(cx).is_ready()
        {
            self.gone = true;
        }
    }

    fn take_mail(&mut self, cx: &Context<'_>, now: Now) -> bool {
        let mut progress = false;
        while let Some(arrival) = self.handle.take(cx.waker()) {
            match &arrival {
                Arrival::Hook(op, reply) => {
                    let asked = self.asked.take_if(|(asked, ..)| asked == op);
                    if let (Some((.., hook)), HookReply::Failed) = (asked, reply) {
                        self.core.counters.hook_failed(hook);
                    }
                }
                Arrival::Lock(LockEvent::Reply(_, LockReply::TimedOut)) => {
                    self.core.counters.lock_timed_out();
                }
                _ => {}
            }
            self.session.handle(now, arrival);
            progress = true;
        }
        progress
    }

    fn carry_out(&mut self, now: Now) -> bool {
        let mut progress = false;
        while !self.over
            && let Some(effect) = self.session.poll(now, &self.core.store, &|| self.handle.mailbox().clone())
        {
            progress = true;
            match effect {
                // Of a client that has gone with its body incomplete, nobody is left to send the rest.
                Effect::Lock(op, call) if self.gone && self.ingress.misses() => {
                    self.handle.call(op, call.without_preemption());
                }
                Effect::Lock(op, call) => {
                    // How long a service takes to grant a free lock is no matter of who holds it.
                    let acquires = matches!(call, LockCall::Acquire { .. });
                    self.handle.call(op, call);
                    if acquires && self.core.requests.grants_at_once() && !self.handle.has_mail() {
                        self.core.counters.lock_waited();
                    }
                }
                Effect::Hook(op, call) => self.ask_hook(now, op, call),
                // Whoever serves the connection does it when the body is first polled.
                Effect::Continue | Effect::Interim(_) => {}
                Effect::Respond(response) => self.respond(now, &response),
                Effect::Notify(event) => self.core.counters.event(event),
                Effect::Failed(failure) => self.core.counters.store_failed(failure),
                Effect::Done => self.over = true,
            }
        }
        progress
    }

    /// Gives the response to whoever waits for it.
    fn respond(&mut self, now: Now, response: &Response) {
        let source = self.session.take_source();
        let answer = response::http(response, source, &self.core.pool, self.facts.closes);
        self.core.counters.answered(response.status(), response.code());
        self.core.counters.took(now.monotonic.since(self.begun));
        tracing::debug!(status = response.status(), code = response.code().map(tus_proto::ErrorCode::name));
        match self.waiter.take() {
            // Dropped, if nobody waits.
            Some(waiter) => drop(waiter.send(answer)),
            None => self.answer = Some(answer),
        }
        let limits = &self.core.limits;
        let bytes = match response.connection {
            Connection::KeepAlive => 0,
            Connection::Drain => limits.drain_bytes,
            Connection::Close => limits.linger_bytes,
        };
        self.rest = Allowance { bytes, until: now.monotonic.after(limits.linger_timeout) };
    }

    fn ask_hook(&mut self, now: Now, op: OpId, call: HookCall) {
        let mailbox = self.handle.mailbox().clone();
        let ticket = Ticket::new(move |reply| mailbox.post(Arrival::Hook(op, reply)));
        match &self.core.hooks {
            Some(hooks) => {
                if call.is_awaited() {
                    let until = now.monotonic.after(self.core.limits.hook_timeout);
                    self.asked = Some((op, until, Hook::of(&call)));
                }
                self.core.counters.hook_called(Hook::of(&call));
                hooks.decide(call, ticket);
            }
            None => ticket.answer(HookReply::Proceed),
        }
    }

    /// Stops waiting for a hook whose time is over: a late reply changes nothing.
    fn leave_hook(&mut self, now: Now) -> bool {
        let Some((op, _, hook)) = self.asked.take_if(|(_, until, _)| *until <= now.monotonic) else {
            return false;
        };
        tracing::error!(hook = hook.name(), "a hook took too long");
        self.core.counters.hook_timed_out(hook);
        self.session.handle(now, Arrival::Hook(op, HookReply::Failed));
        true
    }

    /// Takes the sink back from the thread that writes.
    fn poll_written(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Some(writing) = &mut self.writing else { return false };
        let Poll::Ready(written) = Pin::new(writing).poll(cx) else { return false };
        self.writing = None;
        match written {
            Ok((sink, result)) => self.session.give_back(now, sink, result),
            // The write panicked, and the sink is lost: so is the request, and its lock is released when it is dropped.
            Err(_) => self.over = true,
        }
        true
    }

    /// Moves the body on. Returns whether anything came of it.
    fn pump(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if !self.session.is_receiving() && !self.session.is_lent() {
            self.ingress.pause(now.monotonic);
            return false;
        }
        let progress = self.ingress.read(cx, now.monotonic, self.gone);
        if self.session.is_receiving() { self.hand_over(cx, now) | progress } else { progress }
    }

    /// Hands over what was read, to the sink or to a thread that writes into it, or how the body ended.
    fn hand_over(&mut self, cx: &Context<'_>, now: Now) -> bool {
        let headroom = self.session.headroom();
        if self.ingress.held() > 0 && headroom > 0 {
            return self.write(cx, now, headroom);
        }
        if let Some(end) = self.ingress.end() {
            match end {
                End::Complete(trailers) => self.session.end_body(now, trailers),
                End::Cut(cut) => self.session.cut_body(now, cut),
            }
            return true;
        }
        let drains = self.session.wants_drain();
        self.session.drained(now);
        drains
    }

    fn write(&mut self, cx: &Context<'_>, now: Now, headroom: u64) -> bool {
        let welcome = self.session.welcome();
        if welcome == 0 {
            self.ingress.discard();
            self.session.overflow(now);
            return true;
        }
        let Poll::Ready(room) = self.session.poll_room(now, &|| cx.waker().clone()) else { return false };
        if room == 0 {
            // The sink has failed, and that has ended the body.
            return true;
        }
        let most = usize::try_from(welcome.min(headroom)).unwrap_or(usize::MAX).min(room);
        let count = self.ingress.held().min(most);
        let mut pieces = self.ingress.split(count);
        if self.session.blocks(count) {
            self.lend(pieces);
        } else {
            pieces.iter_mut().for_each(|piece| self.session.write(now, piece));
        }
        true
    }

    /// Lets a blocking thread write.
    fn lend(&mut self, mut pieces: VecDeque<Bytes>) {
        let Some(mut sink) = self.session.lend() else { return };
        let (done, writing) = oneshot::channel();
        let job = move || {
            let written = pieces.iter_mut().try_for_each(|piece| sink.write(piece));
            drop(pieces);
            // If nobody waits, the runtime is ending.
            let _ = done.send((sink, written));
        };
        self.core.pool.run(Class::Blocking, Box::new(job));
        self.writing = Some(writing);
    }

    /// Does what is due by the clock, and waits for what is due next. Returns whether anything was.
    fn keep_time(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let stalled = self.ingress.time_out(now.monotonic);
        if stalled {
            self.core.counters.deadline_passed("body");
        }
        let mut progress = self.leave_hook(now) | stalled;
        if let Some((_, reason)) = self.session.deadline().filter(|(at, _)| *at <= now.monotonic) {
            self.core.counters.exchange_deadline_passed(reason);
            self.session.timeout(now);
            progress = true;
        }
        let locks = self.handle.keep_time(now.monotonic);
        let session = self.session.deadline().map(|(at, _)| at);
        let hook = self.asked.map(|(_, until, _)| until);
        let next = [locks, session, hook, self.ingress.deadline()].into_iter().flatten().min();
        self.alarm.poll(cx, &self.core.pool, now.monotonic, next) || progress
    }
}
