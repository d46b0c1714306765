//! POST with a small body: the body is received into memory first, and the upload is made together with it, in one change
//! of the store. Nobody knows the upload's address before the answer, so nothing is lost by making it last; and no lock
//! is needed, as nobody else can write to it.
//!
//! However the body ends, the upload is made, with the bytes that may be kept: as if it had been made first.

use alloc::boxed::Box;

use super::{
    Exchange, State,
    answer::{self, Answer},
    body::state::{Append, End, InFlight, Limit, Receiving, Reply, Unmade},
    create::Created,
};
use crate::{Command, Completion, Cut, Event, Framing, Now, Record};

impl Exchange {
    /// How long the body is, if it may be received before its upload is made: its length is known, and no hook is told of
    /// its progress, or decides on its bytes. A client that waits for `100 Continue` wants to know first whether the
    /// upload can be made; one of the IETF's protocol, where it is.
    pub(super) fn bufferable(&self, with_upload: bool, waits: bool) -> Option<u64> {
        let hooks = &self.config.hooks;
        match self.framing {
            Framing::Length(bytes)
                if with_upload
                    && !waits
                    && self.rufh.is_none()
                    && !hooks.chunk
                    && hooks.progress.is_none()
                    && self.cancelled.is_none() =>
            {
                Some(bytes)
            }
            _ => None,
        }
    }

    pub(super) fn reserve(&mut self, bytes: u64, created: Created) {
        let op = self.store(Command::Reserve { bytes });
        self.state = State::Reserving(op, created);
    }

    pub(super) fn on_reserved(&mut self, created: Created, completion: &Completion) {
        // Where the request must end, the ordinary way is the shorter one.
        if *completion == Completion::Reserved && self.cancelled.is_none() {
            self.buffer(created);
        } else {
            self.make_record(created);
        }
    }

    fn buffer(&mut self, created: Created) {
        let Created { record, location, checksums, .. } = created;
        self.receives(&record);
        let mut limit = Limit::of(&self.config, 0, record.length);
        // No more than is granted counts as staged, whatever the store says.
        limit.bytes = match self.framing {
            Framing::Length(bytes) => bytes.min(limit.bytes),
            Framing::Chunked => 0,
        };
        let mut receiving = Receiving::new(&record, None, limit, checksums, Reply::Write);
        receiving.reply = Reply::Make(Box::new(Unmade { record, location }));
        receiving.append = self.append(&receiving);
        self.state = State::Receiving(Box::new(receiving));
    }

    /// The body has ended: makes the upload, with what is staged of it if that is to be kept.
    pub(super) fn make_with_body(
        &mut self,
        now: Now,
        mut receiving: Box<Receiving>,
        record: Record,
        kept: bool,
    ) {
        let first = if kept { receiving.staged } else { 0 };
        let finish = receiving.length == Some(first);
        let expires = self.expires_then(now, &receiving, finish);
        let op = self.store(Command::Create { record: Record { expires, ..record }, first });
        receiving.expires = expires;
        receiving.in_flight = Some(InFlight::Create { op, first, finish });
        self.state = State::Receiving(receiving);
    }

    /// The store has made the upload with its body, or has not.
    pub(super) fn on_made_with_body(
        &mut self,
        now: Now,
        mut receiving: Box<Receiving>,
        (first, finish): (u64, bool),
        completion: &Completion,
    ) {
        if *completion != Completion::Created {
            // There is no upload, so no address is told.
            let heard = !matches!(receiving.append, Append::Ended(End::Cut(Cut::PeerGone)));
            let answer = Answer::Failed(answer::to_completion(completion));
            return self.end(now, Some(answer).filter(|_| heard));
        }
        self.notify(Event::Created);
        self.expires = receiving.expires;
        receiving.staged = first;
        self.on_committed(now, &mut receiving, first, finish);
        self.advance(now, receiving);
    }
}
