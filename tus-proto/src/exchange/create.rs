//! POST: a new record, and where the body holds the upload's first bytes, their reception.

use alloc::{string::String, sync::Arc, vec::Vec};

use super::{
    Exchange, Purpose, State,
    answer::{self, Answer},
    checks::Creation,
    concat::Parts,
    hooks::Pending,
    reception::{Limit, Receiving, Reply},
};
use crate::{
    Code, Command, Completion, Event, Framing, HookCall, Now, Record, RequestInfo, UploadId,
    header::{Checksums, checked_metadata},
};

/// An upload as it would be: `on_upload_create` may still change it, or refuse it.
#[derive(Debug)]
pub(super) struct Draft {
    record: Record,
    /// What `Location` has before the id.
    location: String,
    making: Making,
}

/// What else it takes to make it.
#[derive(Debug)]
pub(super) enum Making {
    Upload { checksums: Checksums, with_upload: bool },
    Final { parts: Parts },
}

impl Draft {
    pub(super) fn new(record: Record, location: String, making: Making) -> Self {
        Self { record, location, making }
    }

    /// What the hook is asked.
    pub(super) fn call(&self, request: Arc<RequestInfo>) -> HookCall {
        let parts = match &self.making {
            Making::Upload { .. } => Vec::new(),
            Making::Final { parts } => parts.records(),
        };
        HookCall::Create { request, upload: self.record.clone(), parts }
    }

    /// Its parts, if it is a final.
    pub(super) fn parts(&mut self) -> Option<&mut Parts> {
        match &mut self.making {
            Making::Upload { .. } => None,
            Making::Final { parts } => Some(parts),
        }
    }

    /// With what the hook would have instead; none where it breaks the rules of the header.
    pub(super) fn changed(
        mut self,
        metadata: Option<String>,
        id: Option<UploadId>,
        max_metadata: usize,
    ) -> Option<Self> {
        if let Some(metadata) = metadata {
            self.record.metadata = checked_metadata(metadata, max_metadata).ok()?;
        }
        if let Some(id) = id {
            self.record.id = id;
        }
        Some(self)
    }
}

/// An upload that this request makes.
#[derive(Debug)]
pub(super) struct Created {
    record: Record,
    location: String,
    checksums: Checksums,
    with_upload: bool,
}

impl Created {
    pub(super) fn id(&self) -> &UploadId {
        &self.record.id
    }

    /// The request fails after the upload was made. It bears the upload's address all the same: else nobody
    /// could ever find it.
    pub(super) fn failed(self, code: Code) -> Answer {
        Answer::CreatedButFailed { location: self.location, code }
    }
}

impl Exchange {
    pub(super) fn create(&mut self, now: Now, creation: Creation, entropy: [u8; 10]) {
        let Creation { length, metadata, checksums, with_upload, location, concat } = creation;
        if let Err(code) = self.fits(length, with_upload) {
            return self.end(now, Some(Answer::Failed(code)));
        }
        let id = UploadId::generate(now.date, entropy);
        let (created, explicit) = (now.date, self.explicit());
        let mut record = Record { id, created, offset: 0, length, metadata, expires: None, concat, explicit };
        // A finished upload does not expire, and one of no bytes is finished; a part does all the same.
        if !record.is_complete() || record.is_partial() {
            record.expires = self.config.expires(now.wall, None);
        }
        self.draft(now, Draft::new(record, location, Making::Upload { checksums, with_upload }));
    }

    /// Makes it so, if the hook lets it.
    pub(super) fn draft(&mut self, now: Now, draft: Draft) {
        match self.config.hooks.create {
            true => self.show_parts(now, Pending::Create(draft)),
            false => self.make(now, draft),
        }
    }

    pub(super) fn make(&mut self, now: Now, draft: Draft) {
        let Draft { mut record, location, making } = draft;
        // A hook may have taken its time.
        record.expires = record.expires.and_then(|expires| self.config.expires(now.wall, Some(expires)));
        let location = answer::location(location, &record.id);
        let (checksums, with_upload) = match making {
            Making::Upload { checksums, with_upload } => (checksums, with_upload),
            Making::Final { parts } => return self.assemble(record, parts, location),
        };
        let op = self.store(Command::Create { record: record.clone() });
        self.state = State::Creating(op, Created { record, location, checksums, with_upload });
    }

    /// The size limits, as far as the head tells: nothing is created that must fail.
    fn fits(&self, length: Option<u64>, with_upload: bool) -> Result<(), Code> {
        if self.config.max_size().is_some_and(|max| length.is_some_and(|length| length > max)) {
            return Err(Code::MaxSizeExceeded);
        }
        match self.framing {
            Framing::Length(body) if with_upload => Limit::of(&self.config, 0, length).check(body),
            _ => Ok(()),
        }
    }

    pub(super) fn on_created(&mut self, now: Now, created: Created, completion: Completion) {
        if completion != Completion::Created {
            // An id that exists is 80 random bits met twice, or a hook's choice. Its address is not told: it may
            // be somebody else's. The client's next try has other bits, and the hook another choice.
            return self.end(now, Some(Answer::Failed(answer::to_completion(&completion))));
        }
        self.notify(Event::Created);
        self.expires = created.record.expires;
        if created.record.is_complete() {
            self.finished(&created.record);
            self.notify_finished();
        }
        self.tell_location(now, &created.location);
        if created.with_upload {
            return self.lock(now, Some(0), Purpose::Receive(created));
        }
        let body_read = self.framing == Framing::Length(0);
        self.end(now, Some(Answer::Created { location: created.location, offset: 0, body_read }));
    }

    pub(super) fn receive_created(&mut self, now: Now, created: Created) {
        let limit = Limit::of(&self.config, 0, created.record.length);
        self.receives(&created.record);
        let mut receiving =
            Receiving::new(&created.record, None, limit, created.checksums, Reply::Create(created.location));
        receiving.completes_when_told(&created.record);
        self.receive(now, receiving);
    }
}
