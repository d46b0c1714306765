//! A request between its head and its answer: its session's effects carried out, what arrives passed on to it.

use std::net::IpAddr;

use tus_driver::{Arrival, Effect, Session, Store};
use tus_proto::{
    Cancel, ErrorCode, Framing, Head, LockCall, LockEvent, LockReply, OpId, Owner, Response, Target, UploadId,
};

use super::{
    access::{self, Access, Outcome},
    connection::{Connection, Request},
    event_loop::EventLoop,
    ingress::state::Body,
    inlet::LoopInlet,
    locks,
    metrics::Limit,
};

/// A session, what the log calls its request, and how its body is framed.
type Begun<S> = (Session<S>, Option<Box<Access>>, Framing);

impl<S: Store> EventLoop<S> {
    /// A head is complete: the server answers by itself, or a session begins.
    pub(super) fn begin_request(&mut self, connection: &mut Connection<S>) {
        let now = self.now;
        connection.served = true;
        let (secure, peer) = (connection.tls.is_some(), connection.peer);
        let begun = connection.http.with_head(secure, |head| {
            self.take_up(&Head { direct: head.direct && peer.is_some(), ..*head }, peer)
        });
        let (mut session, access, framing) = match begun {
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
        let hooks = self.shared.protocol.hooks();
        if hooks.requests || hooks.finish {
            let remote = connection.socket.remote();
            session.set_witness(self.shared.attributions.witness(remote, hooks.finish));
        }
        if self.is_cut() {
            session.cancel(now, Cancel::Shutdown);
        }
        let (body, asked, begun) = (Body::default(), None, now.monotonic);
        connection.request = Some(Box::new(Request { session, owner, body, asked, begun, access }));
        self.shared.metrics.busy.inc();
    }

    /// The session for a request, or the answer where the server gives it by itself.
    fn take_up(&mut self, head: &Head<'_>, peer: Option<IpAddr>) -> Result<Begun<S>, Response> {
        let (shared, now) = (&self.shared, self.now.monotonic);
        let access = Access::begin(head, &shared.protocol, peer, now, shared.access_log, &mut self.entropy);
        let answered = |mut response: Response| {
            if let Some(access) = &access {
                tell_id(&mut response, access);
                access.end(now, &Outcome::of(&response, None, 0));
            }
            response
        };
        if let Some(response) = self.own_answer(head).map(answered) {
            return Err(response);
        }
        self.shared.metrics.request(Some(head.method));
        self.count_creation(head, peer).map_err(answered)?;
        let entropy = self.entropy.draw().ok_or_else(|| {
            tracing::error!("the system gives no random bytes");
            self.refusal(ErrorCode::InternalServerError, head.values("Origin").next())
        })?;
        let session = Session::new(self.shared.protocol.clone(), head, entropy, self.now);
        Ok((session, access, head.framing))
    }

    /// Counts a creation, if it may be.
    fn count_creation(&self, head: &Head<'_>, peer: Option<IpAddr>) -> Result<(), Response> {
        let shared = &*self.shared;
        if !shared.upload_rate.is_limited() || !is_creation(head, shared.protocol.base_path()) {
            return Ok(());
        }
        let address = shared.protocol.client_address(head).or(peer);
        shared.upload_rate.admit(address, self.now.monotonic).map_err(|wait| {
            shared.metrics.host.refused(Limit::Rate);
            let mut refusal = self.refusal(ErrorCode::TooManyRequests, head.values("Origin").next());
            refusal.push("Retry-After", wait.as_secs().saturating_add(1));
            refusal
        })
    }

    /// Answers a request that no exchange is there for.
    pub(super) fn refuse(&self, connection: &mut Connection<S>, code: ErrorCode) {
        let refusal = self.refusal(code, connection.http.refused_field("Origin"));
        if self.shared.access_log {
            access::refused(connection.peer, connection.http.refused_field("X-Request-ID"), &refusal);
        }
        connection.http.respond(self.now.monotonic, &refusal);
    }

    fn refusal(&self, code: ErrorCode, origin: Option<&[u8]>) -> Response {
        let refusal = self.shared.protocol.refusal(code, origin, self.now.date);
        self.shared.metrics.answered(refusal.status(), refusal.code());
        self.shared.notices.answered(&refusal, None);
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
                Effect::Continue => {
                    connection.http.send_continue(now.monotonic);
                    if let Some(request) = &mut connection.request {
                        request.body.received = true;
                        self.shared.metrics.receiving.inc();
                    }
                }
                Effect::Interim(interim) => connection.http.send_interim(&interim),
                Effect::Respond(response) => self.respond(connection, response),
                Effect::Notify(event) => self.shared.metrics.event(event),
                Effect::Failed(failure) => self.shared.metrics.store_failed(failure),
                Effect::Done => {
                    self.log_unanswered(connection);
                    if connection.request.take().is_some_and(|request| request.body.received) {
                        self.shared.metrics.receiving.dec();
                    }
                    if self.shared.protocol.hooks().finish
                        && let Some(deliverer) = self.shared.deliverer()
                    {
                        // The event of a completion may have waited for the answer.
                        deliverer.wake();
                    }
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

    fn respond(&self, connection: &mut Connection<S>, mut response: Response) {
        let upload = connection.request.as_ref().and_then(|request| request.session.upload());
        self.shared.metrics.answered(response.status(), response.code());
        if response.code() == Some(ErrorCode::MetadataTooLarge) {
            self.shared.metrics.host.refused(Limit::Metadata);
        }
        self.shared.notices.answered(&response, upload);
        if let Some(request) = &connection.request {
            self.shared.metrics.answered_in(request.session.protocol());
            self.shared.metrics.took(self.now.monotonic.since(request.begun));
            if let Some(access) = &request.access {
                tell_id(&mut response, access);
            }
        }
        connection.http.respond(self.now.monotonic, &response);
        self.begin_download(connection, &response);
        self.log_answer(connection, &response);
    }

    /// Logs a request that is answered; one whose answer carries an upload once that is sent.
    fn log_answer(&self, connection: &mut Connection<S>, response: &Response) {
        let Some((access, upload, received)) = self.take_access(connection) else { return };
        let outcome = Outcome::of(response, upload.as_ref(), received);
        match &mut connection.download {
            Some(download) => download.log_when_sent(access, outcome),
            None => access.end(self.now.monotonic, &outcome),
        }
    }

    /// Logs a request that ends without an answer: its client is gone.
    fn log_unanswered(&self, connection: &mut Connection<S>) {
        if let Some((access, upload, received)) = self.take_access(connection) {
            access.end(self.now.monotonic, &Outcome::unanswered(upload.as_ref(), received));
        }
    }

    /// What the log has of the request under way, if it was not logged yet; its upload; how much of its body was read.
    fn take_access(&self, connection: &mut Connection<S>) -> Option<(Box<Access>, Option<UploadId>, u64)> {
        let waiting = connection.unread.as_slice().len() as u64;
        let request = connection.request.as_mut()?;
        let access = request.access.take()?;
        let upload = request.session.upload().cloned().or_else(|| access.upload(&self.shared.protocol));
        let received = connection.taken.saturating_sub(waiting).saturating_sub(access.body_at);
        Some((access, upload, received))
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

/// Tells the client what the log calls its request.
fn tell_id(response: &mut Response, access: &Access) {
    if let Some(id) = access.id_to_tell() {
        response.push("X-Request-ID", id);
    }
}

/// Whether a request would make an upload. One whose override can't be understood does not.
fn is_creation(head: &Head<'_>, base_path: &str) -> bool {
    let rest = Target::of(head.target).path().strip_prefix(base_path);
    let mut overrides = head.values("X-HTTP-Method-Override").peekable();
    let posts = match overrides.peek() {
        None => head.method == "POST",
        Some(_) => overrides.all(|method| method.eq_ignore_ascii_case(b"POST")),
    };
    posts && matches!(rest, Some("" | "/"))
}
