//! A request between its head and its answer: its session's effects carried out, what arrives passed on to it.

use tus_driver::{Arrival, Change, Effect, Session};
use tus_proto::{Cancel, Framing, LockCall, LockEvent, Response};

use super::{
    Connection, Request, Server,
    body::Body,
    store::{Call, Post, Watched},
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
            (Session::new(config, head, entropy, now), line, Watch::new(env, head), head.framing)
        });
        let Some((mut session, line, watch, framing)) = begun else { return };
        if framing == Framing::Length(0) {
            connection.http.next(now.monotonic, &mut &[][..]);
        }
        connection.http.set_reading(now.monotonic, false);
        let owner = env.new_owner();
        env.note(|| format!("{:?} begins {}: {line}", connection.link, owner.0));
        env.report.requests += 1;
        if self.ending {
            session.cancel(now, Cancel::Shutdown);
        }
        self.owners.insert(owner, connection.link);
        connection.request = Some(Request { session, owner, body: Body::default(), watch });
    }

    /// Carries out what the session wants. Returns whether there was anything.
    pub(super) fn run_session(&mut self, env: &mut Env, connection: &mut Connection) -> bool {
        let mut progress = false;
        while let Some(effect) = self.next_effect(env, connection) {
            progress = true;
            let Some(request) = &mut connection.request else { return progress };
            request.watch.look(env);
            let owner = request.owner;
            match effect {
                Effect::Lock(op, call) => {
                    if let LockCall::Release { .. } = call {
                        let idle = !request.session.has_open_body() && !request.session.is_lent();
                        assert!(
                            idle && request.watch.is_idle(),
                            "{owner:?} releases its lock, and is not done"
                        );
                    }
                    let call = if connection.has_left(env) { call.without_preemption() } else { call };
                    let preempts = matches!(call, LockCall::Acquire { preempt: true, .. });
                    assert!(
                        !(preempts && env.has_left(connection.link)),
                        "{owner:?} is dead, and would preempt"
                    );
                    let Some(request) = &mut connection.request else { return progress };
                    let taken = request.session.has_open_body().then_some(connection.taken);
                    request.watch.on_lock_call(env.now.monotonic, &call, taken);
                    env.lock(owner, op, call);
                }
                Effect::Hook(op, call) => {
                    let reply = self.call_hook(env, owner, op, &call);
                    if let Some(request) = &mut connection.request {
                        request.watch.on_hook(&call, &reply);
                    }
                }
                Effect::Continue => connection.http.send_continue(env.now.monotonic),
                Effect::Interim(interim) => {
                    request.watch.check_interim(env, &interim);
                    connection.http.send_interim(&interim);
                }
                Effect::Respond(response) => {
                    env.note(|| format!("{} is answered {}", owner.0, outline(&response)));
                    env.report.answers += 1;
                    request.watch.check_answer(env, &response);
                    connection.http.respond(env.now.monotonic, &response);
                    connection.begin_download(&response);
                }
                Effect::Notify(_) | Effect::Failed(_) => {}
                Effect::Done => {
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
            request.watch.on_rest(request.session.has_open_body());
        }
        progress
    }

    /// The next effect of a session. What it asks of the store on the way is shown to those who look on.
    fn next_effect(&mut self, env: &mut Env, connection: &mut Connection) -> Option<Effect> {
        let link = connection.link;
        let Request { session, owner, watch, .. } = connection.request.as_mut()?;
        let (owner, shared) = (*owner, self.shared.clone());
        let mut desk = shared.desk();
        (desk.now, desk.owner) = (Some(env.now), Some(owner));
        drop(desk);
        let effect = session.poll(env.now, &self.store, &|| Post(shared.clone(), owner));
        shared.desk().owner = None;
        for call in std::mem::take(&mut self.shared.desk().calls) {
            watch.on_call(&call);
            match &call {
                Call::Append(grant) => env.oracle.locks.on_append(&grant.id, owner, grant.rotate),
                Call::Change(Change::Create { record, .. }) => {
                    let file = env.users.get(&link).map_or(0, |user| env.plan.clients[*user].file);
                    env.oracle.on_create(record, file);
                }
                Call::Change(Change::Concat { record, parts, .. }) => {
                    env.oracle.on_concat(&record.id, parts);
                }
                Call::Change(_) | Call::Load | Call::Open | Call::Digest => {}
            }
        }
        effect
    }

    /// Something has arrived for a session.
    pub(super) fn arrive(&mut self, env: &Env, connection: &mut Connection, arrival: Arrival<Watched>) {
        let Some(request) = &mut connection.request else { return };
        match &arrival {
            Arrival::Changed(_, changed) => request.watch.on_changed(&changed.completion),
            Arrival::Digested(..) | Arrival::Sink(..) => request.watch.on_answer(),
            Arrival::Lock(LockEvent::Yield(_)) => request.watch.on_yield(),
            Arrival::Lock(LockEvent::Lost) => request.watch.on_loss(),
            Arrival::Lock(LockEvent::Checkpoint) if !request.session.has_open_body() => {
                request.watch.on_checkpoint();
            }
            Arrival::Lock(LockEvent::Checkpoint) => {
                let waiting = env.links.get(&connection.link).map_or(0, |link| link.up.arrived() as u64);
                request.watch.on_asked(connection.taken + waiting);
            }
            _ => {}
        }
        request.session.handle(env.now, arrival);
    }
}

/// An answer in a few words.
fn outline(response: &Response) -> String {
    let offset = response.header("Upload-Offset").unwrap_or("-");
    format!("{} offset {offset} {}", response.status(), response.body().trim_end())
}
