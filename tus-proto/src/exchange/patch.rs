//! PATCH, from the record as it is under the lock to the first byte of the body.

use super::{
    Exchange,
    answer::Answer,
    body::state::{Limit, Receiving, Reply},
    content,
    request::PatchRequest,
};
use crate::{Completion, ErrorCode, Framing, Now, Record};

impl Exchange {
    pub(super) fn on_reloaded(&mut self, now: Now, patch: PatchRequest, completion: Completion) {
        let record = match self.lives(now, completion) {
            Ok(record) => record,
            Err(code) => return self.end(now, Some(Answer::Failed(code))),
        };
        // An id that a hook has chosen may have become a final's meanwhile.
        if record.is_final() {
            return self.end(now, Some(Answer::Failed(ErrorCode::ModifyFinal)));
        }
        if self.rufh.is_some() {
            return self.append_explicitly(now, patch, record);
        }
        if patch.offset != record.offset {
            return self.end(
                now,
                Some(Answer::Mismatch(mutation!("wrong-offset-told", record.offset, patch.offset))),
            );
        }
        match self.ready(patch, &record) {
            Ok(receiving) => {
                self.receives(&record);
                self.receive(now, receiving);
            }
            Err(code) => self.end(now, Some(Answer::Failed(code))),
        }
    }

    /// Whether the body may come: completed, then the length rules, then the size limits, then the condition.
    fn ready(&self, patch: PatchRequest, record: &Record) -> Result<Receiving, ErrorCode> {
        let body = match self.framing {
            Framing::Length(bytes) => Some(bytes),
            Framing::Chunked => None,
        };
        if record.is_complete() && body.is_some_and(|bytes| bytes > 0) {
            return Err(ErrorCode::UploadCompleted);
        }
        let declared = self.declared(&patch, record, body.unwrap_or(0))?;
        let limit = match record.is_complete() {
            // A chunked body may still turn out to be empty.
            true => Limit { bytes: 0, code: ErrorCode::UploadCompleted },
            false => Limit::of(&self.config, record.offset, declared.or(record.length)),
        };
        body.map_or(Ok(()), |bytes| limit.check(bytes))?;
        if !content::matches(&patch.if_match, record) {
            return Err(ErrorCode::PreconditionFailed);
        }
        Ok(Receiving::new(record, declared, limit, patch.checksums, Reply::Write))
    }

    /// The length this request makes known, where it was deferred. `body` is what the head says of the body.
    fn declared(&self, patch: &PatchRequest, record: &Record, body: u64) -> Result<Option<u64>, ErrorCode> {
        match (record.length, patch.length) {
            // By tus 1.0.0 the upload is complete then: the commit says it again.
            (Some(known), length)
                if record.awaits_completion() && length.is_none_or(|length| length == known) =>
            {
                Ok(Some(known))
            }
            (_, None) => Ok(None),
            (Some(known), Some(length)) if known == length => Ok(None),
            (Some(_), Some(_)) => Err(ErrorCode::InvalidUploadLength),
            (None, Some(length)) if length < record.offset.saturating_add(body) => {
                Err(ErrorCode::InvalidUploadLength)
            }
            (None, Some(length)) if self.config.max_size().is_some_and(|max| length > max) => {
                Err(ErrorCode::MaxSizeExceeded)
            }
            (None, length) => Ok(length),
        }
    }
}
