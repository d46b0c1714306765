//! Hooks: which is called when, and with what, and what becomes of a request that one rejects, changes, or leaves without
//! an answer.

mod chunk;
mod create;
mod finish;
mod incoming;
mod progress;
mod terminate;

use tus_proto::{Config, ConfigBuilder, HookReply, Rejection, Subscriptions};

const NOBODY: Subscriptions = Subscriptions::NONE;

fn hooked(hooks: Subscriptions) -> ConfigBuilder {
    Config::builder().hooks(hooks)
}

/// A rejection that says why.
fn refuse(status: u16, body: &str) -> HookReply {
    let headers = vec![("X-Why".to_owned(), "so".to_owned())];
    HookReply::Reject(Rejection { status, headers, body: body.into() })
}
