//! A request between its head and its answer: its session's effects carried out, what arrives passed on to it.

use std::sync::Arc;

use tus_driver::{Arrival, Effect, Session, Store};
use tus_proto::{Cancel, Code, Framing, Head, LockCall, LockEvent, LockReply, OpId, Owner, Response};

use super::{
    attributions::Witness,
    body::Body,
    connection::{Connection, Label, Request},
    event_loop::EventLoop,
    inlet::LoopInlet,
    locks,
};

/// A session, what the log calls its request, and how its body is framed.
type Begun<S> = (Session<S>, Option<Box<Label>>, Framing);

impl<S: Store> EventLoop<S> {
    /// A head is complete: the server answers by itself, or a session begins.
    pub(super) fn begin_request(&mut self, connection: &mut Connection<S>) {
        let now = self.now;
        connection.served = true;
        let (secure, tcp) = (connection.tls.is_some(), connection.peer.is_some());
        let begun = connection
            .http
            .with_head(secure, |head| self.take_up(&Head { direct: head.direct && tcp, ..*head }));
        let (mut session, label, framing) = match begun {
            Some(Ok(begun)) => begun,
            Some(Err(response)) => return connection.http.respond(now.monotonic, &response),
            None => return,
        };
        if framing == Framing::Length(0) {
            // The end of an empty body needs no byte to be read.
            connection.http.next(now.monotonic, &mut &[][..]);
        }
        connection.http.release_head();
        // Nobody reads the body until the session wants it.
        connection.http.set_reading(now.monotonic, false);
        self.serial = self.serial.wrapping_add(1);
        let owner = locks::owner(self.index, connection.id.slot, self.serial);
        if self.shared.protocol.hooks().requests {
            let (attributions, remote) = (self.shared.attributions.clone(), connection.socket.remote());
            session.set_witness(Arc::new(Witness { attributions, remote }));
        }
        if self.is_cut() {
            session.cancel(now, Cancel::Shutdown);
        }
        let (body, asked, begun) = (Body::default(), None, now.monotonic);
        connection.request = Some(Box::new(Request { session, owner, body, asked, begun, label }));
        self.shared.metrics.busy.inc();
    }

    /// The session for a request, or the answer where the server gives it by itself.
    fn take_up(&mut self, head: &Head<'_>) -> Result<Begun<S>, Response> {
        if let Some(response) = self.own_answer(head) {
            return Err(response);
        }
        self.shared.metrics.request(Some(head.method));
        let entropy = self.entropy.draw().ok_or_else(|| {
            tracing::error!("the system gives no random bytes");
            self.refusal(Code::InternalServerError, head.values("Origin").next())
        })?;
        let debug = tracing::enabled!(tracing::Level::DEBUG);
        let label = debug.then(|| Box::new(Label::of(head.method, head.target)));
        let session = Session::new(self.shared.protocol.clone(), head, entropy, self.now);
        Ok((session, label, head.framing))
    }

    /// Answers a request that no exchange is there for.
    pub(super) fn refuse(&self, connection: &mut Connection<S>, code: Code) {
        let refusal = self.refusal(code, connection.http.refused_field("Origin"));
        connection.http.respond(self.now.monotonic, &refusal);
    }

    fn refusal(&self, code: Code, origin: Option<&[u8]>) -> Response {
        let refusal = self.shared.protocol.refusal(code, origin, self.now.date);
        self.shared.metrics.answered(refusal.status(), refusal.code());
        self.shared.notices.answered(&refusal);
        refusal
    }

    /// Carries out what the session wants. Returns whether there was anything.
    pub(super) fn run_session(&mut self, connection: &mut Connection<S>) -> bool {
        let mut progress = false;
        while let Some(effect) = self.next_effect(connection) {
            progress = true;
            let now = self.now;
            match effect {
                Effect::Lock(op, call) => {
                    let call = match call {
                        LockCall::Acquire { .. } if self.has_left(connection) => call.without_preemption(),
                        call => call,
                    };
                    if let Some(request) = &connection.request {
                        self.lock(request.owner, op, call);
                    }
                }
                Effect::Hook(op, call) => self.ask_hook(connection, op, call),
                Effect::Continue => connection.http.send_continue(now.monotonic),
                Effect::Interim(interim) => connection.http.send_interim(&interim),
                Effect::Respond(response) => self.respond(connection, &response),
                Effect::Notify(event) => self.shared.metrics.event(event),
                Effect::Failed(failure) => self.shared.metrics.store_failed(failure),
                Effect::Done => {
                    connection.request = None;
                    if connection.download.is_none() {
                        self.shared.metrics.busy.dec();
                    }
                    if connection.gone {
                        connection.http.reset();
                    }
                }
            }
        }
        progress
    }

    fn next_effect(&self, connection: &mut Connection<S>) -> Option<Effect> {
        let Request { session, owner, .. } = &mut **connection.request.as_mut()?;
        session.poll(self.now, &self.shared.store, &|| LoopInlet {
            mailboxes: self.shared.mailboxes.clone(),
            owner: *owner,
        })
    }

    fn lock(&mut self, owner: Owner, op: OpId, call: LockCall) {
        let shared = self.shared.clone();
        // How long a service takes to grant a free lock is no matter of who holds it.
        let acquires = matches!(call, LockCall::Acquire { .. }) && shared.locks.grants_at_once();
        let before = self.lock_events.len();
        self.locks_due = shared.locks.call(self.now.monotonic, owner, op, call, |owner, event| {
            self.tell_owner(owner, event);
        });
        let answers = |(to, event): &(Owner, LockEvent)| {
            *to == owner && matches!(event, LockEvent::Reply(of, _) if *of == op)
        };
        if acquires && !self.lock_events.iter().skip(before).any(answers) {
            shared.metrics.lock_waits.inc();
        }
    }

    fn respond(&self, connection: &mut Connection<S>, response: &Response) {
        self.shared.metrics.answered(response.status(), response.code());
        self.shared.notices.answered(response);
        if let Some(request) = &connection.request {
            let took = self.now.monotonic.since(request.begun);
            self.shared.metrics.took(request.session.protocol(), took);
        }
        connection.http.respond(self.now.monotonic, response);
        self.begin_download(connection, response);
        if let Some(Request { label: Some(label), begun, .. }) = connection.request.as_deref() {
            let micros = self.now.monotonic.since(*begun).as_micros();
            let micros = u64::try_from(micros).unwrap_or(u64::MAX);
            let id = response.header("X-Request-ID");
            let code = response.code().map(Code::name);
            tracing::debug!(
                method = label.method,
                path = label.target,
                status = response.status(),
                code,
                peer = connection.peer.map(tracing::field::display),
                micros,
                id
            );
        }
    }

    /// Something has arrived for the connection's session.
    pub(super) fn arrive(&mut self, connection: &mut Connection<S>, arrival: Arrival<S>) {
        if let Arrival::Lock(LockEvent::Reply(_, LockReply::TimedOut)) = arrival {
            self.shared.metrics.lock_timeouts.inc();
        }
        if let Some(request) = &mut connection.request {
            request.session.handle(self.now, arrival);
        }
    }
}

impl Label {
    /// Targets come from outside: as much of one as a line of the log bears.
    fn of(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.chars().take(200).collect() }
    }
}
