//! A request between its head and its answer: the exchange's outputs carried out, completions brought to it.

use tus_proto::{
    Abort, AppendEnd, Code, Command, Completion, Exchange, Framing, Hasher, Head, Input, LockCall, LockEvent,
    LockReply, OpId, Output, Owner, Response,
};
use tus_redb::Change;

use super::{
    body::Body,
    committer,
    connection::{Connection, Label, Opening, Request},
    event_loop::EventLoop,
    intake::Intake,
    locks,
    workers::Job,
};

impl EventLoop {
    /// A head is complete: the server answers by itself, or an exchange begins.
    pub(super) fn begin_request(&mut self, connection: &mut Connection) {
        let now = self.now;
        connection.served = true;
        let begun = connection.http.with_head(connection.tls.is_some(), |head| self.take_up(head));
        let (mut exchange, label, framing) = match begun {
            Some(Ok(begun)) => begun,
            Some(Err(response)) => return connection.http.respond(now.monotonic, &response),
            None => return,
        };
        if framing == Framing::Length(0) {
            // The end of an empty body needs no byte to be read.
            connection.http.next(now.monotonic, &mut &[][..]);
        }
        connection.http.release_head();
        // Nobody reads the body until the exchange wants it.
        connection.http.set_reading(now.monotonic, false);
        self.serial = self.serial.wrapping_add(1);
        let owner = locks::owner(self.index, connection.id.slot, self.serial);
        let (body, opening, syncer, source) = (None, None, None, None);
        if self.is_cut() {
            exchange.handle(now, Input::Abort(Abort::Shutdown));
        }
        connection.request = Some(Box::new(Request {
            exchange,
            owner,
            body,
            opening,
            syncer,
            source,
            asked: None,
            begun: now.monotonic,
            label,
        }));
        self.shared.metrics.busy.inc();
    }

    /// The exchange for a request, or the answer where the server gives it by itself.
    fn take_up(&mut self, head: &Head<'_>) -> Result<(Exchange, Option<Box<Label>>, Framing), Response> {
        if let Some(response) = self.own_answer(head) {
            return Err(response);
        }
        self.shared.metrics.request(Some(head.method));
        let entropy = self.entropy.draw().map_err(|error| {
            tracing::error!(%error, "the system gives no random bytes");
            self.refusal(Code::InternalServerError, head.values("Origin").next())
        })?;
        let debug = tracing::enabled!(tracing::Level::DEBUG);
        let label = debug.then(|| Box::new(Label::of(head.method, head.target)));
        let exchange = Exchange::new(self.shared.protocol.clone(), head, entropy, self.now);
        Ok((exchange, label, head.framing))
    }

    /// Answers a request that no exchange is there for.
    pub(super) fn refuse(&self, connection: &mut Connection, code: Code) {
        let refusal = self.refusal(code, connection.http.refused_field("Origin"));
        connection.http.respond(self.now.monotonic, &refusal);
    }

    fn refusal(&self, code: Code, origin: Option<&[u8]>) -> Response {
        let refusal = self.shared.protocol.refusal(code, origin, self.now.wall);
        self.shared.metrics.answered(refusal.status(), refusal.code());
        self.shared.notices.answered(&refusal);
        refusal
    }

    /// Carries out what the exchange wants. Tells whether there was anything.
    pub(super) fn run_exchange(&mut self, connection: &mut Connection) -> bool {
        let mut progress = false;
        while let Some(request) = &mut connection.request
            && let Some(output) = request.exchange.poll()
        {
            progress = true;
            let now = self.now;
            match output {
                Output::Lock(op, call) => {
                    let owner = request.owner;
                    self.lock(owner, op, call);
                }
                Output::Store(op, command) => self.store(connection, op, command),
                Output::Hook(op, call) => self.ask_hook(connection, op, call),
                Output::Continue => connection.http.send_continue(now.monotonic),
                Output::Respond(response) => self.respond(connection, &response),
                Output::Notify(event) => self.shared.metrics.event(event),
                Output::Done => {
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

    fn lock(&mut self, owner: Owner, op: OpId, call: LockCall) {
        let shared = self.shared.clone();
        // How long a service takes to grant a free lock is no matter of who holds it.
        let acquires = matches!(call, LockCall::Acquire { .. }) && shared.locks.grants_at_once();
        let before = self.lock_events.len();
        let call = (owner, op, call);
        self.locks_due =
            shared.locks.call(self.now.monotonic, call, &shared.mailboxes, &mut self.lock_events);
        let answers = |(to, event): &(Owner, LockEvent)| {
            *to == owner && matches!(event, LockEvent::Reply(of, _) if *of == op)
        };
        if acquires && !self.lock_events.iter().skip(before).any(answers) {
            shared.metrics.lock_waits.inc();
        }
    }

    fn respond(&self, connection: &mut Connection, response: &Response) {
        self.shared.metrics.answered(response.status(), response.code());
        self.shared.notices.answered(response);
        if let Some(request) = &connection.request {
            self.shared.metrics.took(self.now.monotonic.since(request.begun));
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

    fn store(&mut self, connection: &mut Connection, op: OpId, command: Command) {
        match command {
            Command::Load { id } => {
                let completion = self.shared.store.look_up(&id);
                self.complete(connection, op, completion);
            }
            Command::Open { id } => {
                let completion = self.open_source(connection, &id);
                self.complete(connection, op, completion);
            }
            Command::Concat { record, parts, max, delete_parts } => {
                self.change(connection, op, Change::Concat { record, parts, max, delete_parts });
            }
            Command::Create { record } => self.change(connection, op, Change::Create(record)),
            Command::Append { id, fence, at, max, fresh, digest } => {
                let opening = Opening { id, fence, at, max, digest, stopped: false };
                if fresh && max > 0 {
                    let (id, fence, at) = (opening.id.clone(), fence, at);
                    if let Some(request) = &mut connection.request {
                        request.opening = Some(Box::new((op, opening)));
                    }
                    self.change(connection, op, Change::Fresh { id, fence, at });
                } else {
                    self.open(connection, op, opening);
                }
            }
            Command::Stop => {
                if let Some(body) = connection.body() {
                    body.stopped = true;
                } else if let Some(request) = &mut connection.request
                    && let Some(waiting) = &mut request.opening
                {
                    waiting.1.stopped = true;
                }
            }
            Command::Commit { .. } => self.commit(connection, op, command),
            Command::Digest { from, to, algorithm, .. } => {
                if let Some(request) = &connection.request
                    && let Some(syncer) = request.syncer.clone()
                {
                    let (loop_index, owner, range) = (self.index, request.owner, (from, to));
                    let hasher = Box::new(Hasher::new(algorithm));
                    let job = Job::Digest { loop_index, owner, op, syncer, range, hasher };
                    self.shared.workers.submit(job);
                }
            }
            Command::Discard { id, fence } => {
                if let Some(request) = &connection.request {
                    let (loop_index, owner) = (self.index, request.owner);
                    self.shared.workers.submit(Job::Discard { loop_index, owner, op, id, fence });
                }
            }
            Command::Delete { id, fence } => self.change(connection, op, Change::Delete { id, fence }),
        }
    }

    /// Opens the Append: from here on the body is read.
    fn open(&mut self, connection: &mut Connection, op: OpId, opening: Opening) {
        let Opening { id, fence, at, max, digest, stopped } = opening;
        // Where no byte is welcome, none is staged.
        let sink = if max == 0 { Ok(None) } else { self.shared.store.append(&id, fence, at).map(Some) };
        let refusal: Completion = match sink {
            Ok(sink) => {
                if let Some(request) = &mut connection.request {
                    let intake = sink.map(|sink| Intake::new(sink, digest));
                    request.syncer = intake.as_ref().map(Intake::syncer);
                    let mut body = Body::new(op, intake, max);
                    body.stopped = stopped;
                    request.body = Some(body);
                    connection.http.set_reading(self.now.monotonic, true);
                }
                return;
            }
            Err(refused) => refused.into(),
        };
        self.complete(connection, op, refusal);
    }

    fn commit(&mut self, connection: &mut Connection, op: OpId, commit: Command) {
        let Some(request) = &connection.request else { return };
        let Command::Commit { id, fence, from, to, length, expires, finish } = commit else { return };
        // An upload that its length alone completes may have garbage behind its end, too.
        let ending = || self.shared.store.append(&id, fence, from).ok().map(|sink| sink.syncer());
        let syncer = request.syncer.clone().or_else(|| if finish { ending() } else { None });
        let change = Change::Commit { id, fence, from, to, length, expires, finish, syncer: syncer.clone() };
        let entry = committer::Entry { loop_index: self.index, owner: request.owner, op, change };
        let at_work = request.body.as_ref().is_some_and(|body| body.at_work);
        match syncer {
            // What is in memory goes to the disk with the record.
            Some(syncer) if !at_work && !syncer.needs_disk() && syncer.sync(None).is_ok() => {
                self.shared.committer.submit(entry);
            }
            Some(syncer) => {
                let (finish_at, entry) = (finish.then_some(to), Box::new(entry));
                self.shared.workers.submit(Job::Sync { syncer, finish_at, entry });
            }
            None => self.shared.committer.submit(entry),
        }
    }

    fn change(&mut self, connection: &Connection, op: OpId, change: Change) {
        if let Some(request) = &connection.request {
            let entry = committer::Entry { loop_index: self.index, owner: request.owner, op, change };
            self.shared.committer.submit(entry);
        }
    }

    /// A store command completed.
    pub(super) fn complete(&mut self, connection: &mut Connection, op: OpId, completion: Completion) {
        let now = self.now;
        if let Completion::Failed(failure) | Completion::Appended { end: AppendEnd::Failed(failure), .. } =
            completion
        {
            self.shared.metrics.store_failed(failure);
        }
        let Some(request) = &mut connection.request else { return };
        if let Some(waiting) = request.opening.take_if(|waiting| waiting.0 == op) {
            match completion {
                Completion::Committed { .. } => self.open(connection, op, waiting.1),
                other => request.exchange.handle(now, Input::Store(op, other)),
            }
        } else {
            request.exchange.handle(now, Input::Store(op, completion));
        }
    }

    /// What the lock service tells the exchange.
    pub(super) fn on_lock_event(&mut self, connection: &mut Connection, event: LockEvent) {
        if event == LockEvent::Checkpoint && self.begin_checkpoint(connection) {
            return;
        }
        if matches!(event, LockEvent::Reply(_, LockReply::TimedOut)) {
            self.shared.metrics.lock_timeouts.inc();
        }
        let now = self.now;
        let Some(request) = &mut connection.request else { return };
        request.exchange.handle(
            now,
            match event {
                LockEvent::Reply(op, reply) => Input::Lock(op, reply),
                LockEvent::Yield(offset) => Input::Yield(offset),
                LockEvent::Checkpoint => Input::Checkpoint,
                LockEvent::Lost => Input::Abort(Abort::LockLost),
            },
        );
    }
}

impl Label {
    /// Targets come from outside: as much of one as a line of the log bears.
    fn of(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.chars().take(200).collect() }
    }
}
