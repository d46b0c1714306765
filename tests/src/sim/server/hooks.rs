//! Hooks that a request waits for: each takes its time, and then decides, or fails.

use std::time::Duration;

use tus_driver::Arrival;
use tus_proto::{HookCall, HookReply, Instant, OpId, Owner, Rejection};

use super::Server;
use crate::sim::env::Env;

/// How long a hook may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// `Upload-Metadata` as a hook would have it.
const CHANGED: &str = "hook Y2hhbmdlZA==";

/// A hook that is running.
#[derive(Debug)]
pub(super) struct Call {
    owner: Owner,
    op: OpId,
    /// When its request hears of it.
    at: Instant,
    reply: HookReply,
}

impl Server {
    /// Calls a hook. What it will decide is known already, to us and to who watches the request.
    pub(super) fn call_hook(&mut self, env: &mut Env, owner: Owner, op: OpId, call: &HookCall) -> HookReply {
        let wait = Duration::from_micros(env.choice.magnitude(15_000_000));
        let reply = match wait < DEADLINE {
            true => decide(env, call),
            false => HookReply::Failed,
        };
        env.note(|| format!("a hook for {} will say {reply:?} in {wait:?}", owner.0));
        self.calls.push(Call { owner, op, at: env.later(wait.min(DEADLINE)), reply: reply.clone() });
        reply
    }

    /// When the next one is heard of.
    pub(super) fn next_reply(&self) -> Option<Instant> {
        let heard = self.calls.iter().filter(|call| self.is_moving(call.owner));
        heard.map(|call| call.at).min()
    }

    /// Lets requests hear what their hooks say.
    pub(super) fn hear_hooks(&mut self, env: &mut Env) {
        let now = env.now.monotonic;
        while let Some(due) = self.calls.iter().position(|call| call.at <= now && self.is_moving(call.owner))
        {
            let Call { owner, op, reply, .. } = self.calls.swap_remove(due);
            let Some(link) = self.link_of(owner) else { continue };
            self.with(env, link, |_, env, connection| {
                if let Some(request) = &mut connection.request {
                    request.session.handle(env.now, Arrival::Hook(op, reply));
                }
            });
        }
    }
}

fn decide(env: &mut Env, call: &HookCall) -> HookReply {
    if env.over {
        return HookReply::Proceed;
    }
    match env.choice.below(12) {
        0 => HookReply::Failed,
        1 | 2 => HookReply::Reject(Rejection { status: 403, headers: Vec::new(), body: String::new() }),
        3..6 if matches!(call, HookCall::Create { .. }) => {
            HookReply::Change { metadata: Some(CHANGED.to_owned()), id: None, response: None }
        }
        _ => HookReply::Proceed,
    }
}
