//! Closes connections at the limit of how many there may be. In order: idle ones; those that have been sending a head
//! for 1 s; those that have had their answer for 1 s; those that have stalled for half their timeout. All loops are asked, class by class.

pub(super) mod class;

use tus_driver::Store;
use tus_proto::{Cut, Now};

use super::{
    connection::{Connection, WELCOME, cut},
    event_loop::EventLoop,
    eviction::class::{EvictionClass, Search},
    mailbox::Message,
};
use crate::http1::Reason;

impl<S: Store> EventLoop<S> {
    /// Asks all loops to close the cheapest connections.
    pub(super) fn ask_for_room(&self) {
        self.pass_on(Search { stops: 0, wanted: self.shared.admission.batch() });
    }

    fn pass_on(&self, search: Search) {
        let mailboxes = &self.shared.mailboxes;
        if search.wanted > 0 && search.stops < EvictionClass::ALL.len() * mailboxes.len() {
            mailboxes[search.stops % mailboxes.len()].post(Message::MakeRoom(search));
        }
    }

    /// One stop of a search.
    pub(super) fn make_room(&mut self, mut search: Search) {
        let kind = EvictionClass::ALL[search.stops / self.shared.mailboxes.len()];
        let connections = self.slots.iter().filter_map(|slot| slot.connection.as_ref());
        let mut found: Vec<_> = connections
            .filter(|connection| self.cheapness(connection) == Some(kind))
            .map(|connection| (connection.http.deadline().map(|(at, _)| at), connection.id))
            .collect();
        found.sort_unstable();
        found.truncate(search.wanted);
        search.wanted -= found.len();
        for (_, id) in found {
            self.shared.metrics.evicted(kind);
            self.with_connection(id, |this, connection| evict(connection, this.now));
        }
        search.stops += 1;
        self.pass_on(search);
    }

    /// What it is. `None` if it must not be closed: it is at work, or had no chance to be.
    fn cheapness(&self, connection: &Connection<S>) -> Option<EvictionClass> {
        let (settings, now) = (&self.shared.http, self.now.monotonic);
        let (at, reason) = connection.http.deadline()?;
        let used = |time: std::time::Duration| time.saturating_sub(at.since(now));
        match reason {
            Reason::Idle if !connection.served && now.since(connection.since) < WELCOME => None,
            Reason::Idle => Some(EvictionClass::Idle),
            Reason::Head => {
                let left = connection.http.head_end()?.since(now);
                (settings.head_timeout.saturating_sub(left) >= WELCOME).then_some(EvictionClass::Head)
            }
            Reason::Linger => (used(settings.linger_timeout) >= WELCOME).then_some(EvictionClass::Linger),
            Reason::Body => {
                (used(settings.body_timeout) >= settings.body_timeout / 2).then_some(EvictionClass::Slow)
            }
            Reason::Response => (used(settings.response_timeout) >= settings.response_timeout / 2)
                .then_some(EvictionClass::Slow),
        }
    }
}

/// A body ends as one that is too slow does: what arrived is committed, and answered.
fn evict<S: Store>(connection: &mut Connection<S>, now: Now) {
    if connection.request.as_ref().is_some_and(|request| request.session.has_open_body()) {
        cut(connection, now, Cut::TooSlow);
    } else {
        connection.give_up();
    }
}
