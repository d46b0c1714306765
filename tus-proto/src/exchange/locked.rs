//! Requests that need the upload's lock: they read the record, ask for the lock, and read the record again.

use super::{
    Exchange, State,
    answer::{self, Answer},
    create::Created,
    lease::Lease,
    request::{PatchRequest, TerminateRequest},
};
use crate::{Command, Completion, ErrorCode, LockCall, LockReply, Now, Output, Record, UploadId};

/// What a lock is wanted for.
#[derive(Debug)]
pub(super) enum Purpose {
    Write(PatchRequest),
    /// To receive the body of an upload this request has just created.
    Receive(Created),
    Terminate(TerminateRequest),
}

impl Purpose {
    /// Where it would write; `None` if it would not.
    pub(super) fn offset(&self) -> Option<u64> {
        match self {
            Self::Write(patch) => Some(patch.offset),
            Self::Receive(_) | Self::Terminate(_) => None,
        }
    }

    pub(super) fn id(&self) -> &UploadId {
        match self {
            Self::Write(patch) => &patch.id,
            Self::Receive(created) => created.id(),
            Self::Terminate(termination) => &termination.id,
        }
    }

    /// The rejection of a request that has come this far.
    pub(super) fn refused(self, code: ErrorCode) -> Answer {
        match self {
            Self::Receive(created) => created.failed(code),
            Self::Write(_) | Self::Terminate(_) => Answer::Failed(code),
        }
    }
}

/// For what needs no byte of the upload: its record is the same whether or not bytes of it were lost.
pub(super) fn whole_or_lost(completion: Completion) -> Completion {
    match completion {
        Completion::Lost(record) => Completion::Loaded(record),
        other => other,
    }
}

impl Exchange {
    /// The upload's record, if it is there and its time is not over.
    pub(super) fn lives(&mut self, now: Now, completion: Completion) -> Result<Record, ErrorCode> {
        match completion {
            Completion::Loaded(record) if record.is_expired(now.wall) => Err(ErrorCode::UploadExpired),
            Completion::Loaded(record) => {
                self.expires = record.expires;
                Ok(record)
            }
            other => Err(answer::to_completion(&other)),
        }
    }

    /// PATCH and DELETE read the record before they ask for the lock: a missing upload, or an offset that is past the client's,
    /// is rejected without disturbing the current writer.
    pub(super) fn load(&mut self, purpose: Purpose) {
        let op = self.store(Command::Load { id: purpose.id().clone() });
        self.state = State::Loading(op, purpose);
    }

    pub(super) fn on_loaded(&mut self, now: Now, mut purpose: Purpose, completion: Completion) {
        let completion = match &purpose {
            Purpose::Terminate(_) => whole_or_lost(completion),
            _ => completion,
        };
        // A writer renews it, and may only be late: its time is over if it still is when the lock is held.
        if let Completion::Loaded(record) = &completion
            && record.is_expired(now.wall)
            && !record.is_final()
        {
            let offset = purpose.offset();
            if let Purpose::Terminate(termination) = &mut purpose {
                termination.late = true;
            }
            return self.lock(now, offset, purpose);
        }
        let record = match self.lives(now, completion) {
            Ok(record) => record,
            Err(code) => return self.end(now, Some(Answer::Failed(code))),
        };
        if self.rufh.is_some()
            && let Some(answer) = self.foresee(&purpose, &record)
        {
            return self.end(now, Some(answer));
        }
        match &purpose {
            Purpose::Write(_) if record.is_final() => {
                self.end(now, Some(Answer::Failed(ErrorCode::ModifyFinal)))
            }
            Purpose::Write(patch) if patch.offset < record.offset => {
                self.end(
                    now,
                    Some(Answer::Mismatch(mutation!("wrong-offset-told", record.offset, patch.offset))),
                );
            }
            _ => {
                let offset = purpose.offset();
                self.lock(now, offset, purpose);
            }
        }
    }

    pub(super) fn lock(&mut self, now: Now, offset: Option<u64>, purpose: Purpose) {
        if let Some(cancel) = self.cancelled {
            return self.end(now, Some(purpose.refused(answer::to_cancel(cancel))));
        }
        let key = purpose.id().clone();
        self.lease = Lease::Wanted(key.clone());
        let (wait, ttl) = (self.config.lock_wait, self.config.lock_ttl);
        let op = self.op();
        self.outputs.push_back(Output::Lock(op, LockCall::Acquire { key, offset, wait, ttl, preempt: true }));
        self.state = State::Locking(op, purpose);
    }

    pub(super) fn on_acquired(&mut self, now: Now, purpose: Purpose, reply: LockReply) {
        let LockReply::Granted { fence, rotate } = reply else {
            let code = if reply == LockReply::TimedOut {
                ErrorCode::UploadLocked
            } else {
                ErrorCode::InternalServerError
            };
            return self.end(now, Some(purpose.refused(code)));
        };
        self.lease.granted(now.monotonic, self.config.lock_ttl, fence, rotate);
        match purpose {
            Purpose::Write(patch) => {
                let op = self.store(Command::Load { id: patch.id.clone() });
                self.state = State::Reloading(op, patch);
            }
            Purpose::Receive(created) => self.receive_created(now, created),
            Purpose::Terminate(termination) if termination.late => {
                let op = self.store(Command::Load { id: termination.id.clone() });
                self.state = State::Rechecking(op, termination);
            }
            Purpose::Terminate(termination) => self.terminate(termination),
        }
    }
}
