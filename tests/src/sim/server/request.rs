//! A request between its head and its answer: the exchange's outputs carried out, completions brought to it.

use std::time::Duration;

use tus_proto::{
    Abort, Command, Completion, Exchange, Failure, Framing, Hasher, Head, HookReply, Input, LockCall,
    LockEvent, OpId, Output, Response, UploadId,
};
use tus_redb::Change;

use super::{
    Connection, Entry, Opening, Request, Server,
    body::{Body, Intake, begin_checkpoint},
    jobs::{Job, Work},
};
use crate::sim::env::Env;

/// How long a HEAD may take: its one checkpoint.
const HEAD_TIME: Duration = Duration::from_secs(1);

impl Server {
    pub(super) fn begin_request(&mut self, env: &mut Env, connection: &mut Connection) {
        let now = env.now;
        let entropy = env.entropy();
        let config = env.plan.config.clone();
        let begun = connection.http.with_head(false, |head| {
            let line = format!("{} {}", head.method, head.target);
            (Exchange::new(config, head, entropy, now), line, about(head), is_guarded(head), head.framing)
        });
        let Some((mut exchange, line, about, guarded, framing)) = begun else { return };
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
        let gone_before = about.as_ref().is_some_and(|id| env.oracle.may_be_gone(id, now.wall));
        let about = about.map(|id| {
            let told = env.oracle.told(&id);
            (id, told)
        });
        let head_since = line.starts_with("HEAD").then_some(now.monotonic);
        let (body, opening, syncer) = (None, None, None);
        self.owners.insert(owner, connection.link);
        connection.request = Some(Request {
            exchange,
            owner,
            body,
            opening,
            syncer,
            about,
            head_since,
            gone_before,
            held_up: false,
            guarded,
            body_whole: framing == Framing::Length(0),
        });
    }

    /// Carries out what the exchange wants. Tells whether there was anything.
    pub(super) fn run_exchange(&mut self, env: &mut Env, connection: &mut Connection) -> bool {
        let mut progress = false;
        while let Some(request) = &mut connection.request
            && let Some(output) = request.exchange.poll()
        {
            progress = true;
            let owner = request.owner;
            match output {
                Output::Lock(op, call) => {
                    if let LockCall::Release { .. } = call {
                        let idle = request.body.is_none() && !self.has_work_for(owner);
                        assert!(idle, "{owner:?} lets go of a lock, and is not done");
                    }
                    env.lock(owner, op, call);
                }
                Output::Store(op, command) => self.store(env, connection, op, command),
                Output::Hook(op, _) => request.exchange.handle(env.now, Input::Hook(op, HookReply::Proceed)),
                Output::Continue => connection.http.send_continue(env.now.monotonic),
                Output::Respond(response) => {
                    env.note(|| format!("{} is answered {}", owner.0, outline(&response)));
                    env.report.answers += 1;
                    check_answer(env, request, &response);
                    connection.http.respond(env.now.monotonic, &response);
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
        progress
    }

    fn store(&mut self, env: &mut Env, connection: &mut Connection, op: OpId, command: Command) {
        let Some(request) = &mut connection.request else { return };
        match command {
            Command::Load { id } => {
                let completion = self.store.look_up(&id);
                self.complete(env, connection, op, completion);
            }
            Command::Open { .. } => {
                self.complete(env, connection, op, Completion::Failed(Failure::Unavailable));
            }
            Command::Concat { record, parts, max, delete_parts } => {
                env.oracle.on_concat(&record.id, &parts);
                request.about = Some((record.id.clone(), 0));
                self.change(request_entry(request, op, Change::Concat { record, parts, max, delete_parts }));
            }
            Command::Create { record } => {
                let file = env.users.get(&connection.link).map_or(0, |user| env.plan.clients[*user].file);
                env.oracle.on_create(&record.id, file, record.expires);
                request.about = Some((record.id.clone(), 0));
                self.change(request_entry(request, op, Change::Create(record)));
            }
            Command::Append { id, fence, at, max, fresh, digest } => {
                env.oracle.on_append(&id, request.owner, fresh);
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
        let Some(request) = &connection.request else { return };
        let Command::Commit { id, fence, from, to, length, expires, finish } = commit else { return };
        let verified = !request.guarded || request.body_whole || from == to;
        assert!(verified, "{id}: {from}..{to} are to be committed, and are not verified");
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
            _ => request.exchange.handle(env.now, Input::Store(op, completion)),
        }
    }

    /// What the lock service tells the exchange.
    pub(super) fn hear(&mut self, env: &mut Env, connection: &mut Connection, event: LockEvent) {
        if event == LockEvent::Checkpoint && begin_checkpoint(connection) {
            return;
        }
        let Some(request) = &mut connection.request else { return };
        request.exchange.handle(
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

fn request_entry(request: &Request, op: OpId, change: Change) -> Entry {
    Entry { owner: request.owner, op, change }
}

/// Whether a head announces a checksum.
fn is_guarded(head: &Head<'_>) -> bool {
    let named =
        |name: &str, value: &str| head.values(name).any(|found| found.eq_ignore_ascii_case(value.as_bytes()));
    let chunked = head.framing == Framing::Chunked;
    head.values("Upload-Checksum").next().is_some() || (chunked && named("Trailer", "Upload-Checksum"))
}

/// The upload that a request names.
fn about(head: &Head<'_>) -> Option<UploadId> {
    head.target.strip_prefix("/files/").and_then(UploadId::new)
}

/// Holds an answer against what is known of the upload.
fn check_answer(env: &mut Env, request: &Request, response: &Response) {
    let status = response.status();
    let Some((id, before)) = &request.about else { return };
    if let Some(offset) = response.header("Upload-Offset") {
        let offset = offset.parse().expect("an offset is a number");
        env.oracle.on_told(id, offset, *before);
    }
    if matches!(status, 404 | 410) {
        let gone = request.gone_before || env.oracle.may_be_gone(id, env.now.wall);
        assert!(gone, "{id} is there, and {status} was told");
    }
    if let Some(since) = request.head_since {
        assert!(status < 500, "a HEAD was answered {status}");
        let took = env.now.monotonic.since(since);
        assert!(took <= HEAD_TIME || request.held_up, "a HEAD waited {took:?}");
    }
    if status == 500 || status == 507 {
        let excused = response.body().starts_with("ERR_READ_TIMEOUT");
        let faults = &env.plan.faults;
        assert!(excused || !faults.spare_the_disk() || faults.lockless > 0, "{status} without a fault");
    }
}

/// An answer in a few words.
fn outline(response: &Response) -> String {
    let offset = response.header("Upload-Offset").unwrap_or("-");
    format!("{} offset {offset} {}", response.status(), response.body().trim_end())
}
