//! How what a store or a hook answers later finds the event loop of its session.

use std::sync::Arc;

use tus_driver::{Arrival, Inlet, Store};
use tus_proto::Owner;

use super::{
    locks::loop_of,
    mailbox::{Mailbox, Message},
};

/// The mailbox of one exchange's loop.
pub(super) struct LoopInlet<S: Store> {
    pub mailboxes: Arc<[Mailbox<S>]>,
    pub owner: Owner,
}

impl<S: Store> Inlet<S> for LoopInlet<S> {
    fn post(&self, arrival: Arrival<S>) {
        if let Some(mailbox) = self.mailboxes.get(loop_of(self.owner)) {
            mailbox.post(Message::Arrived(self.owner, arrival));
        }
    }
}
