//! A request between its head and its answer: the exchange's outputs carried out, completions brought to it.

use tus_proto::{
    Abort, Command, Completion, Exchange, Framing, Hasher, Input, LockCall, LockEvent, Now, OpId, Output,
    Response,
};
use tus_redb::Change;

use super::{
    Connection, Entry, Opening, Request, Server,
    body::{Body, Intake, begin_checkpoint},
    jobs::{Job, Work},
    watch::Watch,
};
use crate::sim::env::Env;

impl Server {
    pub(super) fn begin_request(&mut self, env: &mut Env, connection: &mut Connection) {
        let now = env.now;
        let entropy = env.entropy();
        let config = env.plan.config.clone();
        let begun = connection.http.with_head(false, |head| {
            let line = format!("{} {}", head.method, head.target);
            (Exchange::new(config, head, entropy, now), line, Watch::new(env, head), head.framing)
        });
        let Some((mut exchange, line, watch, framing)) = begun else { return };
        if framing == Framing::Length(0) {
            connection.http.next(now.monotonic, &mut &[][..]);
        }
        connection.http.set_reading(now.monotonic, false);
        let owner = env.new_owner();
        env.note(|| format!("{:?} begins {}: {line}", connection.link, owner.0));
        env.report.requests += 1;
        if self.ending {
            exchange.handle(now, Input::Abort(Abort::Shutdown));
        }
        let (body, opening, syncer, source) = (None, None, None, None);
        self.owners.insert(owner, connection.link);
        connection.request = Some(Request { exchange, owner, body, opening, syncer, source, watch });
    }

    /// Carries out what the exchange wants. Tells whether there was anything.
    pub(super) fn run_exchange(&mut self, env: &mut Env, connection: &mut Connection) -> bool {
        let mut progress = false;
        while let Some(request) = &mut connection.request
            && let Some(output) = request.exchange.poll()
        {
            progress = true;
            request.watch.look(env);
            let owner = request.owner;
            match output {
                Output::Lock(op, call) => {
                    if let LockCall::Release { .. } = call {
                        let idle = request.body.is_none() && !self.has_work_for(owner);
                        assert!(idle, "{owner:?} lets go of a lock, and is not done");
                    }
                    request.watch.on_lock_call(env.now.monotonic, &call);
                    env.lock(owner, op, call);
                }
                Output::Store(op, command) => self.store(env, connection, op, command),
                Output::Hook(op, call) => {
                    let reply = self.call_hook(env, owner, op, &call);
                    if let Some(request) = &mut connection.request {
                        request.watch.on_hook(&call, &reply);
                    }
                }
                Output::Continue => connection.http.send_continue(env.now.monotonic),
                Output::Respond(response) => {
                    env.note(|| format!("{} is answered {}", owner.0, outline(&response)));
                    env.report.answers += 1;
                    request.watch.check_answer(env, &response);
                    connection.http.respond(env.now.monotonic, &response);
                    connection.begin_download(&response);
                }
                Output::Notify(_) => {}
                Output::Done => {
                    self.owners.remove(&owner);
                    env.lock_events.remove(&owner);
                    connection.request = None;
                    if connection.gone {
                        connection.http.reset();
                    }
                }
            }
        }
        if let Some(request) = &connection.request {
            request.watch.on_rest(request.body.as_ref().is_some_and(Body::goes_on));
        }
        progress
    }

    fn store(&mut self, env: &mut Env, connection: &mut Connection, op: OpId, command: Command) {
        let Some(request) = &mut connection.request else { return };
        request.watch.on_command(&command);
        match command {
            Command::Load { id } => {
                let completion = self.store.look_up(&id);
                self.complete(env, connection, op, completion);
            }
            Command::Open { id } => {
                let completion = self.open_source(connection, &id);
                self.complete(env, connection, op, completion);
            }
            Command::Concat { record, parts, max, delete_parts } => {
                env.oracle.on_concat(&record.id, &parts);
                request.watch.on_made(&record.id);
                self.change(request_entry(request, op, Change::Concat { record, parts, max, delete_parts }));
            }
            Command::Create { record } => {
                let file = env.users.get(&connection.link).map_or(0, |user| env.plan.clients[*user].file);
                env.oracle.on_create(&record, file);
                request.watch.on_made(&record.id);
                self.change(request_entry(request, op, Change::Create(record)));
            }
            Command::Append { id, fence, at, max, fresh, digest } => {
                env.oracle.locks.on_append(&id, request.owner, fresh);
                request.watch.on_append(at);
                let opening = Opening { id, fence, at, max, digest, stopped: false };
                if fresh && max > 0 {
                    let change = Change::Fresh { id: opening.id.clone(), fence, at };
                    request.opening = Some((op, opening));
                    self.change(request_entry(request, op, change));
                } else {
                    self.open(env, connection, op, opening);
                }
            }
            Command::Stop => {
                if let Some(body) = &mut request.body {
                    body.stopped = true;
                } else if let Some((_, opening)) = &mut request.opening {
                    opening.stopped = true;
                }
            }
            Command::Commit { .. } => self.commit(connection, op, command),
            Command::Digest { from, to, algorithm, .. } => {
                let syncer = request.syncer.clone().expect("nothing is staged that could be read back");
                let work =
                    Work::Digest { syncer, range: (from, to), hasher: Box::new(Hasher::new(algorithm)) };
                self.job(connection, op, work);
            }
            Command::Discard { id, fence } => self.job(connection, op, Work::Discard { id, fence }),
            Command::Delete { id, fence } => {
                self.change(request_entry(request, op, Change::Delete { id, fence }));
            }
        }
    }

    /// Opens the Append: from here on the body is read.
    fn open(&mut self, env: &mut Env, connection: &mut Connection, op: OpId, opening: Opening) {
        let Opening { id, fence, at, max, digest, stopped } = opening;
        let sink = if max == 0 { Ok(None) } else { self.store.append(&id, fence, at).map(Some) };
        match sink {
            Ok(sink) => {
                let Some(request) = &mut connection.request else { return };
                request.syncer = sink.as_ref().map(tus_redb::Sink::syncer);
                let intake = sink.map(|sink| Intake { sink, hasher: digest.map(Hasher::new) });
                request.body = Some(Body::new(op, intake, max, stopped));
                connection.http.set_reading(env.now.monotonic, true);
            }
            Err(refused) => self.complete(env, connection, op, refused.into()),
        }
    }

    fn commit(&mut self, connection: &mut Connection, op: OpId, commit: Command) {
        let Some(request) = &mut connection.request else { return };
        let Command::Commit { id, fence, from, to, length, expires, finish } = commit else { return };
        request.watch.on_commit(op, &id, (from, to));
        // An upload that its length alone completes may have garbage behind its end, too.
        let ending = || self.store.append(&id, fence, from).ok().map(|sink| sink.syncer());
        let syncer = request.syncer.clone().or_else(|| if finish { ending() } else { None });
        let change = Change::Commit { id, fence, from, to, length, expires, finish, syncer: syncer.clone() };
        let entry = request_entry(request, op, change);
        match syncer {
            Some(syncer) => {
                let finish_at = finish.then_some(to);
                self.job(connection, op, Work::Sync { syncer, finish_at, entry });
            }
            None => self.change(entry),
        }
    }

    fn change(&mut self, entry: Entry) {
        self.commits.push_back(entry);
    }

    fn job(&mut self, connection: &Connection, op: OpId, work: Work) {
        let owner = connection.request.as_ref().map(|request| request.owner);
        self.jobs.push(Job { link: Some(connection.link), owner, op: Some(op), work });
    }

    /// A store command completed.
    pub(super) fn complete(
        &mut self,
        env: &mut Env,
        connection: &mut Connection,
        op: OpId,
        completion: Completion,
    ) {
        let Some(request) = &mut connection.request else { return };
        match request.opening.take_if(|(waiting, _)| *waiting == op) {
            Some((_, opening)) if matches!(completion, Completion::Committed { .. }) => {
                self.open(env, connection, op, opening);
            }
            _ => request.tell(env.now, Input::Store(op, completion)),
        }
    }

    /// What the lock service tells the exchange.
    pub(super) fn hear(&mut self, env: &mut Env, connection: &mut Connection, event: LockEvent) {
        if event == LockEvent::Checkpoint && begin_checkpoint(connection) {
            return;
        }
        let Some(request) = &mut connection.request else { return };
        request.tell(
            env.now,
            match event {
                LockEvent::Reply(op, reply) => Input::Lock(op, reply),
                LockEvent::Yield(offset) => Input::Yield(offset),
                LockEvent::Checkpoint => Input::Checkpoint,
                LockEvent::Lost => Input::Abort(Abort::LockLost),
            },
        );
    }
}

impl Request {
    /// Tells the exchange, and who watches it.
    pub(super) fn tell(&mut self, now: Now, input: Input) {
        self.watch.on_input(&input);
        self.exchange.handle(now, input);
    }
}

fn request_entry(request: &Request, op: OpId, change: Change) -> Entry {
    Entry { owner: request.owner, op, change }
}

/// An answer in a few words.
fn outline(response: &Response) -> String {
    let offset = response.header("Upload-Offset").unwrap_or("-");
    format!("{} offset {offset} {}", response.status(), response.body().trim_end())
}
