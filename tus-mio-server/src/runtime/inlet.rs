//! How what a store or a hook answers later finds the event loop of its session.

use std::sync::Arc;

use tus_driver::{Arrival, Inlet};
use tus_proto::Owner;
use tus_redb::RedbStore;

use super::{
    locks::loop_of,
    mailbox::{Mailbox, Message},
};

/// The mailbox of one exchange's loop.
#[derive(Clone)]
pub(super) struct LoopInlet {
    pub mailboxes: Arc<[Mailbox]>,
    pub owner: Owner,
}

impl Inlet<RedbStore> for LoopInlet {
    fn post(&self, arrival: Arrival<RedbStore>) {
        if let Some(mailbox) = self.mailboxes.get(loop_of(self.owner)) {
            mailbox.post(Message::Arrived(self.owner, arrival));
        }
    }
}
