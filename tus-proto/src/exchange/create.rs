//! POST: a new record, and where the body holds the upload's first bytes, their reception.

use alloc::string::String;

use super::{
    Exchange, Purpose, State,
    answer::{self, Answer},
    checks::Creation,
    reception::{Limit, Receiving, Reply},
};
use crate::{Code, Command, Completion, Event, Framing, Now, Record, UploadId, header::Checksums};

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
        let id = UploadId::generate(now.wall, entropy);
        let location = answer::location(location, &id);
        let mut record = Record { id, created: now.wall, offset: 0, length, metadata, expires: None, concat };
        // A finished upload does not expire, and one of no bytes is finished; a part does all the same.
        if !record.is_complete() || record.is_partial() {
            record.expires = self.config.expires(now.wall, None);
        }
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
            // An id that exists is 80 random bits met twice: the client's next try has others.
            return self.end(now, Some(Answer::Failed(answer::to_completion(&completion))));
        }
        self.notify(Event::Created);
        self.expires = created.record.expires;
        if created.record.is_complete() {
            self.notify(Event::Finished);
        }
        if created.with_upload {
            return self.lock(now, Some(0), Purpose::Receive(created));
        }
        let body_read = self.framing == Framing::Length(0);
        self.end(now, Some(Answer::Created { location: created.location, offset: 0, body_read }));
    }

    pub(super) fn receive_created(&mut self, now: Now, created: Created) {
        let limit = Limit::of(&self.config, 0, created.record.length);
        let receiving =
            Receiving::new(&created.record, None, limit, created.checksums, Reply::Create(created.location));
        self.receive(now, receiving);
    }
}
