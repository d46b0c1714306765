//! POST: a new record, and where the body holds the upload's first bytes, their reception.

use alloc::string::String;

use super::{
    Exchange, Purpose, State,
    answer::{self, Answer},
    body::state::{Limit, Receiving, Reply},
    pending::{CreateKind, Pending, PendingCreate},
    request::CreateRequest,
};
use crate::{Command, Completion, ErrorCode, Event, Framing, Now, Record, UploadId, header::Checksums};

/// An upload that this request makes.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) record: Record,
    pub(super) location: String,
    pub(super) checksums: Checksums,
    with_upload: bool,
}

impl Created {
    pub(super) fn id(&self) -> &UploadId {
        &self.record.id
    }

    /// The request fails after the upload was made. It carries the upload's address all the same: else nobody
    /// could ever find it.
    pub(super) fn failed(self, code: ErrorCode) -> Answer {
        Answer::CreatedButFailed { location: self.location, code }
    }
}

impl Exchange {
    pub(super) fn create(&mut self, now: Now, creation: CreateRequest, entropy: [u8; 10]) {
        let CreateRequest { length, metadata, checksums, with_upload, waits, location, concat } = creation;
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
        let kind = CreateKind::Upload { checksums, with_upload, waits };
        self.begin_create(now, PendingCreate::new(record, location, kind));
    }

    /// Makes it so, if the hook lets it.
    pub(super) fn begin_create(&mut self, now: Now, pending: PendingCreate) {
        match self.config.hooks.create {
            true => self.show_parts(now, Pending::Create(pending)),
            false => self.make(now, pending),
        }
    }

    pub(super) fn make(&mut self, now: Now, pending: PendingCreate) {
        let PendingCreate { mut record, location, kind } = pending;
        // A hook may have taken its time.
        record.expires = record.expires.and_then(|expires| self.config.expires(now.wall, Some(expires)));
        let location = answer::location(location, &record.id);
        let (checksums, with_upload, waits) = match kind {
            CreateKind::Upload { checksums, with_upload, waits } => (checksums, with_upload, waits),
            CreateKind::Final { parts } => return self.assemble(record, parts, location),
        };
        let created = Created { record, location, checksums, with_upload };
        match self.bufferable(with_upload, waits) {
            Some(bytes) => self.reserve(bytes, created),
            None => self.make_record(created),
        }
    }

    /// Makes the upload; its body, if it has one, comes after that.
    pub(super) fn make_record(&mut self, created: Created) {
        let op = self.store(Command::Create { record: created.record.clone(), first: 0 });
        self.state = State::Creating(op, created);
    }

    /// The size limits, as far as the head tells: nothing is created that must fail.
    fn fits(&self, length: Option<u64>, with_upload: bool) -> Result<(), ErrorCode> {
        if self.config.max_size().is_some_and(|max| length.is_some_and(|length| length > max)) {
            return Err(ErrorCode::MaxSizeExceeded);
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
