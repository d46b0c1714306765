//! Appends, and how an upload becomes complete: not by its length, but because a request says so.

use alloc::boxed::Box;

use super::Rufh;
use crate::{
    Command, Completion, ErrorCode, Event, Explicit, Framing, Hasher, Now, Record, UploadId,
    exchange::{
        Exchange, Purpose, State,
        answer::{self, Answer},
        body::state::{Append, End, Failed, InFlight, Limit, Receiving, Reply},
        content,
        request::PatchRequest,
    },
    header::Checksum,
};

impl Exchange {
    /// What a new upload's record says of its completion.
    pub(in super::super) fn explicit(&mut self) -> Option<Explicit> {
        let framing = self.framing;
        let rufh = self.rufh.as_mut()?;
        let mut explicit = Explicit::new(rufh.completes && framing == Framing::Length(0));
        explicit.digest =
            rufh.expected.as_ref().map(|expected| Box::new((expected.algorithm, expected.digest)));
        if explicit.complete {
            rufh.digest = rufh.wanted.map(|algorithm| Box::new(Hasher::new(algorithm).finish()));
        }
        Some(explicit)
    }

    /// Decides which protocol a request speaks that does not say so, now that its upload is known.
    pub(in super::super) fn decide(&mut self, record: &Record) -> Result<(), ErrorCode> {
        let Some(rufh) = self.rufh.as_mut().filter(|rufh| rufh.undecided) else { return Ok(()) };
        rufh.undecided = false;
        match (record.explicit.is_some(), rufh.rejected) {
            (true, None) => Ok(()),
            (true, Some(code)) => Err(code),
            (false, _) => {
                self.rufh = None;
                Err(ErrorCode::UnsupportedVersion)
            }
        }
    }

    /// What a request is answered by its upload's record, before its lock is asked for.
    pub(in super::super) fn foresee(&mut self, purpose: &Purpose, record: &Record) -> Option<Answer> {
        if let Err(code) = self.decide(record) {
            return Some(Answer::Failed(code));
        }
        match purpose {
            Purpose::Write(patch) if !record.is_final() && record.is_complete() => {
                Some(self.completed(patch, record))
            }
            _ => None,
        }
    }

    /// An append to a complete upload: the final answer again, if it brings nothing and completes it once more.
    fn completed(&mut self, patch: &PatchRequest, record: &Record) -> Answer {
        let empty = self.framing == Framing::Length(0);
        match &mut self.rufh {
            Some(rufh) if rufh.completes && empty && patch.offset == record.offset => {
                rufh.finish();
                Answer::Written(record.offset)
            }
            _ => Answer::Failed(ErrorCode::UploadCompleted),
        }
    }

    /// An append, with the record as it is under the lock.
    pub(in super::super) fn append_explicitly(&mut self, now: Now, patch: PatchRequest, record: Record) {
        if let Err(code) = self.decide(&record) {
            return self.end(now, Some(Answer::Failed(code)));
        }
        if record.is_complete() {
            let answer = self.completed(&patch, &record);
            return self.end(now, Some(answer));
        }
        if patch.offset != record.offset {
            let offset = mutation!("wrong-offset-told", record.offset, patch.offset);
            return self.end(now, Some(Answer::Mismatch(offset)));
        }
        match self.appendable(patch, &record) {
            Ok(receiving) => self.receive(now, receiving),
            Err(ErrorCode::UploadSizeExceeded) if self.is_invalid_past_length(&record) => {
                self.invalidate(record.id, true);
            }
            Err(code) => self.end(now, Some(Answer::Failed(code))),
        }
    }

    /// Whether the body may come: the lengths agree, then the size limits, then the condition.
    fn appendable(&mut self, patch: PatchRequest, record: &Record) -> Result<Receiving, ErrorCode> {
        let Some(rufh) = &mut self.rufh else { return Err(ErrorCode::InternalServerError) };
        let (claimed, known) = (rufh.length, record.length);
        let agrees = claimed
            .is_none_or(|claimed| claimed >= record.offset && known.is_none_or(|known| known == claimed));
        if !agrees {
            return Err(ErrorCode::InconsistentUploadLength);
        }
        rufh.length = known.or(claimed);
        if let Some(digest) = record.explicit.as_ref().and_then(|explicit| explicit.digest.as_deref()) {
            rufh.expected.get_or_insert(Box::new(Checksum { algorithm: digest.0, digest: digest.1 }));
        }
        let limit = Limit::of(&self.config, record.offset, rufh.length);
        let declared = rufh.length.filter(|_| known.is_none());
        if self.config.max_size().is_some_and(|max| declared.is_some_and(|length| length > max)) {
            return Err(ErrorCode::MaxSizeExceeded);
        }
        if let Framing::Length(bytes) = self.framing {
            limit.check(bytes)?;
        }
        if !content::matches(&patch.if_match, record) {
            return Err(ErrorCode::PreconditionFailed);
        }
        let mut receiving = Receiving::new(record, declared, limit, patch.checksums, Reply::Write);
        receiving.completes_when_told(record);
        Ok(receiving)
    }

    /// The body is complete. Where the request completes the upload, the last commit says so; an upload that is hashed as
    /// a whole waits for that.
    pub(in super::super) fn conclude_upload(&self, receiving: &mut Receiving) {
        let Some(rufh) = &self.rufh else { return };
        let verified = receiving.checksum_error.is_none() && receiving.unverified.is_none();
        if verified && rufh.completes_at(receiving.staged) && rufh.unhashed().is_none() {
            receiving.complete_at_end();
        }
    }

    /// Has the whole upload hashed, if that is still to be done before it is complete. Returns whether it is.
    pub(in super::super) fn hash_upload(&mut self, receiving: &mut Receiving) -> bool {
        let Some(rufh) = &self.rufh else { return false };
        let Some(algorithm) =
            rufh.unhashed().filter(|_| !rufh.finished && rufh.completes_at(receiving.committed))
        else {
            return false;
        };
        let (id, to) = (receiving.id.clone(), receiving.committed);
        let op = self.store(Command::Hash { id, to, algorithm });
        receiving.in_flight = Some(InFlight::Hash { op });
        true
    }

    /// The whole upload is hashed.
    pub(in super::super) fn on_hashed(&mut self, receiving: &mut Receiving, completion: Completion) {
        let Some(rufh) = &mut self.rufh else { return };
        let failed = match completion {
            Completion::Digested(digest) => {
                rufh.digest = Some(Box::new(digest));
                let expected = rufh.expected.as_ref().is_none_or(|expected| expected.digest == digest);
                if expected {
                    receiving.complete_at_end();
                    return;
                }
                Failed::Code(ErrorCode::ChecksumMismatch)
            }
            other => Failed::Code(answer::to_completion(&other)),
        };
        receiving.failed = Some(failed);
    }

    /// Whether a body that goes past the upload's length makes the upload invalid.
    fn is_invalid_past_length(&self, record: &Record) -> bool {
        record.explicit.is_some() && self.rufh.as_ref().is_some_and(|rufh| rufh.version.invalid_past_length)
    }

    /// The body went past its limit. Returns whether that was the length of an upload which is invalid by that.
    pub(in super::super) fn invalidates(&self, receiving: &Receiving) -> bool {
        let invalid = self.rufh.as_ref().is_some_and(|rufh| rufh.version.invalid_past_length);
        invalid
            && receiving.explicit
            && receiving.limit.code == ErrorCode::UploadSizeExceeded
            && matches!(receiving.append, Append::Ended(End::Overflow))
    }

    /// Removes an upload that got more bytes than it was to have: nobody can know any more what it is. The lock is ours.
    pub(in super::super) fn invalidate(&mut self, id: UploadId, heard: bool) {
        let (fence, _) = self.lease.grant();
        let op = self.store(Command::Delete { id, fence });
        self.state = State::Invalidating(op, heard);
    }

    pub(in super::super) fn on_invalidated(&mut self, now: Now, heard: bool, completion: &Completion) {
        let answer = match completion {
            Completion::Deleted | Completion::Missing => {
                self.expires = None;
                if *completion == Completion::Deleted {
                    self.notify(Event::Terminated);
                }
                Answer::Failed(ErrorCode::UploadSizeExceeded)
            }
            Completion::Conflict { .. } => Answer::Failed(ErrorCode::UploadInterrupted),
            other => Answer::Failed(answer::to_completion(other)),
        };
        self.end(now, Some(answer).filter(|_| heard));
    }
}

impl Rufh {
    /// Whether the request completes the upload at this offset: it says so, and the length agrees.
    fn completes_at(&self, offset: u64) -> bool {
        self.completes && self.length.is_none_or(|length| length == offset)
    }
}

impl Receiving {
    /// An upload that this protocol began is complete when a request says so, and not at its length.
    pub(in super::super) fn completes_when_told(&mut self, record: &Record) {
        self.explicit = record.explicit.is_some();
        if self.explicit {
            self.length = None;
        }
    }

    /// What is staged is all there will be: the next commit completes the upload.
    fn complete_at_end(&mut self) {
        if self.length == Some(self.staged) {
            // Its length alone completes it.
            return;
        }
        self.declare = Some(self.staged);
        self.length = Some(self.staged);
    }
}
