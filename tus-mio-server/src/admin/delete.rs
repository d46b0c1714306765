//! Deletion on a running server: the exchange of a client's DELETE, with its lock, its fencing number and its event, in the
//! thread of the administrator's request. What the configuration forbids to clients it allows, and no hook is asked.

use std::sync::Arc;

use tus_driver::{
    Arrival, Clock, Effect, LookupError, RequestHandle, Requests, Session, Store, ask, park, thread_waker,
};
use tus_proto::{Config, Event, Framing, Head, HookReply, UploadId};

use super::{AdminError, Deleted};

/// What stands in an owner's number in place of an event loop: no server has so many.
pub(crate) const LOOP: usize = 255;

/// What a deletion needs of its server.
pub(crate) struct Deleter<'a, S: Store> {
    pub store: &'a S,
    /// The deletions under way.
    pub requests: &'a Arc<Requests<S>>,
    pub clock: Clock,
    /// The server's rules.
    pub config: &'a Config,
    /// Counts what is worth counting.
    pub notify: &'a dyn Fn(Event),
}

impl<S: Store> Deleter<'_, S> {
    /// Deletes an upload.
    pub(crate) fn delete(&self, id: &UploadId) -> Result<Deleted, AdminError> {
        let bytes = self.bytes(id)?;
        match self.run(id, self.requests.begin()) {
            Some(204) => Ok(Deleted { deleted: id.to_string(), bytes }),
            Some(404) => Err(AdminError::unknown(id.as_str())),
            Some(410) => {
                Err(AdminError::Unknown(format!("upload {id} has expired: the next sweep removes it")))
            }
            Some(423) => {
                Err(AdminError::Busy(format!("a writer has upload {id} and does not yield: try again later")))
            }
            _ => Err(AdminError::Failed(format!("upload {id} can't be deleted: the log says why"))),
        }
    }

    /// How many bytes are there.
    fn bytes(&self, id: &UploadId) -> Result<u64, AdminError> {
        match ask(|later| self.store.load(id, later)) {
            Ok(record) => Ok(record.offset),
            Err(LookupError::Lost(record)) => Ok(record.offset),
            Err(LookupError::Missing) => Err(AdminError::unknown(id.as_str())),
            // Its deletion has an answer of its own.
            Err(LookupError::Gone) => Ok(0),
            Err(error) => Err(AdminError::Failed(error.to_string())),
        }
    }

    /// Carries the exchange out, and returns the status of its answer.
    fn run(&self, id: &UploadId, mut handle: RequestHandle<S>) -> Option<u16> {
        let target = format!("{}/{id}", self.config.base_path());
        let fields: [(&str, &[u8]); 1] = [("Tus-Resumable", b"1.0.0")];
        let head = Head {
            method: "DELETE",
            target: &target,
            fields: &fields,
            framing: Framing::Length(0),
            secure: false,
            direct: true,
        };
        let config = Arc::new(self.config.for_operator());
        // Nothing is created, so no id is drawn.
        let mut session: Session<S> = Session::new(config, &head, [0; 10], self.clock.now());
        let mut status = None;
        let waker = thread_waker();
        loop {
            let now = self.clock.now();
            if let Some(arrival) = handle.take(&waker) {
                session.handle(now, arrival);
            } else if let Some(effect) = session.poll(now, self.store, &|| handle.mailbox().clone()) {
                match effect {
                    Effect::Lock(op, call) => handle.call(op, call),
                    Effect::Hook(op, _) => session.handle(now, Arrival::Hook(op, HookReply::Proceed)),
                    Effect::Respond(response) => status = Some(response.status()),
                    Effect::Notify(event) => (self.notify)(event),
                    Effect::Continue | Effect::Interim(_) | Effect::Failed(_) => {}
                    Effect::Done => return status,
                }
            } else if session.deadline().is_some_and(|(at, _)| at <= now.monotonic) {
                session.timeout(now);
            } else {
                let locks = handle.keep_time(now.monotonic);
                park(now.monotonic, session.deadline().map(|(at, _)| at).into_iter().chain(locks).min());
            }
        }
    }
}
