//! Calling hooks: from the contract's calls to the functions given and back. What a hook does, nothing comes out of
//! here but a reply.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tus_proto::{HookCall, HookReply, Subscriptions};

use super::{
    Changes, Chunk, Creation, DataFile, Hook, HookError, HookEvent, HookRunner, Hooks, Incoming, Part,
    Request, Upload,
};
use crate::{EventKind, EventKinds, Ticket};

/// A set of functions, at least one, as a [`HookRunner`]: it calls them in the thread that calls it.
#[derive(Clone, Debug)]
pub struct HookSet(Hooks);

impl HookSet {
    /// `None` if there are no hooks, so that nothing is set up for them.
    pub fn new(hooks: Hooks) -> Option<Self> {
        (!hooks.is_empty()).then_some(Self(hooks))
    }

    /// Asks a hook that comes before the fact.
    fn call(&self, call: &HookCall) -> HookReply {
        let hook = Hook::of(call);
        reply(hook, guarded(|| self.ask(call)))
    }

    fn ask(&self, call: &HookCall) -> Result<Changes, HookError> {
        let hooks = &self.0;
        let decided = match call {
            HookCall::Incoming { request, id, upload, parts } => {
                hooks.incoming_request.as_ref().map(|hook| {
                    let upload = upload.clone().map(Upload::from);
                    let parts = parts.iter().cloned().map(Part::from).collect();
                    hook(&Incoming { request: Request(request), id: id.as_ref(), upload, parts })
                })
            }
            HookCall::Create { request, upload, parts } => {
                let Some(hook) = &hooks.upload_create else { return Ok(Changes::none()) };
                let upload = Upload::from(upload.clone());
                let parts = parts.iter().cloned().map(Upload::from).collect();
                return hook(&Creation { request: Request(request), upload, parts });
            }
            HookCall::Chunk { request, id, offset, length } => hooks.chunk_received.as_ref().map(|hook| {
                let (offset, length) = (*offset, *length);
                hook(&Chunk { request: Request(request), id, offset, length })
            }),
            HookCall::Terminate { request, upload } => hooks
                .before_terminate
                .as_ref()
                .map(|hook| hook(&Request(request), &Upload::from(upload.clone()))),
            HookCall::Finish { request, upload } => {
                let Some(hook) = &hooks.before_finish else { return Ok(Changes::none()) };
                let response = hook(&Request(request), &Upload::from(upload.clone()))?;
                return Ok(Changes::none().response(response));
            }
            HookCall::Progress { request, upload } => hooks
                .upload_progress
                .as_ref()
                .map(|(_, hook)| hook(&Request(request), &Upload::from(upload.clone()))),
        };
        decided.unwrap_or(Ok(())).map(|()| Changes::none())
    }

    /// Tells a hook what has happened. Returns whether it has taken note.
    fn tell(&self, event: HookEvent) -> bool {
        let (hook, id) = (event.hook(), event.record.id.clone());
        let HookEvent { kind, record, files, request, .. } = event;
        let upload = Upload::from(record).with_request(request);
        // An event may have been kept for a hook that is not there any more.
        let told = guarded(|| match (kind, &self.0) {
            (EventKind::Completed, Hooks { upload_complete: Some(hook), .. }) => {
                let files = files.into_iter().map(|(path, length)| DataFile { path, length });
                hook(&upload, &files.collect::<Vec<_>>())
            }
            (EventKind::Terminated, Hooks { upload_terminate: Some(hook), .. }) => hook(&upload),
            (EventKind::Created, Hooks { upload_created: Some(hook), .. }) => hook(&upload),
            (EventKind::Created | EventKind::Completed | EventKind::Terminated, _) => Ok(()),
        });
        if let Err(error) = &told {
            tracing::error!(hook = hook.name(), %id, %error, "a hook failed; it is called again later");
        }
        told.is_ok()
    }
}

impl HookRunner for HookSet {
    fn subscriptions(&self) -> Subscriptions {
        Subscriptions {
            incoming: self.0.has(Hook::IncomingRequest),
            create: self.0.has(Hook::UploadCreate),
            chunk: self.0.has(Hook::ChunkReceived),
            terminate: self.0.has(Hook::BeforeTerminate),
            finish: self.0.has(Hook::BeforeFinish),
            progress: self.0.upload_progress.as_ref().map(|(interval, _)| *interval),
            requests: self.0.with_requests,
        }
    }

    fn events(&self) -> EventKinds {
        EventKinds {
            created: self.0.has(Hook::UploadCreated),
            completed: self.0.has(Hook::UploadComplete),
            terminated: self.0.has(Hook::UploadTerminate),
        }
    }

    fn decide(&self, call: HookCall, ticket: Ticket<HookReply>) {
        ticket.answer(self.call(&call));
    }

    fn deliver(&self, event: HookEvent, ticket: Ticket<bool>) {
        ticket.answer(self.tell(event));
    }
}

impl Hook {
    /// Which hook an event is for.
    pub fn of_event(kind: EventKind) -> Self {
        match kind {
            EventKind::Created => Self::UploadCreated,
            EventKind::Completed => Self::UploadComplete,
            EventKind::Terminated => Self::UploadTerminate,
        }
    }

    /// Which hook a call is for.
    pub fn of(call: &HookCall) -> Self {
        match call {
            HookCall::Incoming { .. } => Self::IncomingRequest,
            HookCall::Create { .. } => Self::UploadCreate,
            HookCall::Chunk { .. } => Self::ChunkReceived,
            HookCall::Terminate { .. } => Self::BeforeTerminate,
            HookCall::Finish { .. } => Self::BeforeFinish,
            HookCall::Progress { .. } => Self::UploadProgress,
        }
    }
}

/// What a hook's decision is to the exchange.
pub(super) fn reply(hook: Hook, decided: Result<Changes, HookError>) -> HookReply {
    match decided {
        Ok(changes) if changes == Changes::none() => HookReply::Proceed,
        Ok(Changes { metadata, id, response }) => HookReply::Change {
            metadata: metadata.map(|metadata| metadata.to_string()),
            id,
            response: response.into_amendment(),
        },
        Err(error) => match error.into_rejection() {
            Ok(rejection) => HookReply::Reject(rejection),
            Err(error) => {
                tracing::error!(hook = hook.name(), %error, "a hook failed");
                HookReply::Failed
            }
        },
    }
}

/// A panic is the hook's failure, and nobody else's: what the hook left half done is its own.
fn guarded<T>(call: impl FnOnce() -> Result<T, HookError>) -> Result<T, HookError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(HookError::failed(format!("it panicked: {}", text.unwrap_or_else(|| "with no text".into()))))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::{Arc, mpsc::channel},
        time::Duration,
    };

    use tus_proto::{Record, RequestInfo, UploadId, WallTime};

    use super::*;
    use crate::{
        OutboxEvent,
        hooks::{Amend, Reject},
    };

    fn record() -> Record {
        Record {
            id: UploadId::new("a").unwrap(),
            created: WallTime::default(),
            offset: 5,
            length: Some(5),
            metadata: "name YQ==".into(),
            expires: None,
            concat: None,
            explicit: None,
        }
    }

    fn decide(hooks: &HookSet, call: HookCall) -> HookReply {
        let (tell, told) = channel();
        hooks.decide(call, Ticket::new(move |reply| tell.send(reply).unwrap()));
        told.recv().unwrap()
    }

    #[test]
    fn functions_are_called_for_what_they_are_given_for() {
        let hooks = Hooks::new()
            .on_upload_created(|upload| match upload.offset {
                0 => Ok(()),
                other => Err(HookError::failed(format!("{other} bytes already"))),
            })
            .on_upload_progress(Duration::from_secs(2), |_, _| Err(Reject::with(403).into()))
            .on_before_finish(|_, upload| Ok(Amend::none().body(upload.metadata.get_str("name").unwrap())));
        let hooks = HookSet::new(hooks).unwrap();
        let subscribed =
            Subscriptions { finish: true, progress: Some(Duration::from_secs(2)), ..Subscriptions::NONE };
        assert_eq!(hooks.subscriptions(), subscribed);
        assert_eq!(hooks.events(), EventKinds { created: true, ..EventKinds::default() });
        let request = Arc::new(RequestInfo::default());
        let finish = HookCall::Finish { request: request.clone(), upload: record() };
        let HookReply::Change { response: Some(response), .. } = decide(&hooks, finish) else {
            panic!("the answer is amended")
        };
        assert_eq!(response.body, "a");
        let progress = HookCall::Progress { request: request.clone(), upload: record() };
        assert!(matches!(decide(&hooks, progress), HookReply::Reject(_)));
        // Of a hook that was not given nothing is asked.
        assert_eq!(decide(&hooks, HookCall::Terminate { request, upload: record() }), HookReply::Proceed);
        for (offset, taken) in [(0, true), (5, false)] {
            let record = Record { offset, ..record() };
            let event = OutboxEvent { number: 1, kind: EventKind::Created, record, attempts: 0 };
            let (tell, told) = channel();
            let ticket = Ticket::new(move |taken| tell.send(taken).unwrap());
            hooks.deliver(HookEvent::new(event, Vec::new()), ticket);
            assert_eq!(told.recv(), Ok(taken));
        }
    }
}
