//! HEAD: takes no lock, waits for at most one checkpoint of whoever is writing, and has no 5xx of its own:
//! some clients begin again at byte 0 on a 5xx of HEAD, and try again on 423.

use core::time::Duration;

use super::{Exchange, State, answer::Answer};
use crate::{
    Command, Completion, Deadline, ErrorCode, Instant, LockCall, Now, OpId, Output, Reason, UploadId,
};

/// How long a HEAD waits for the writer's checkpoint before it tells the last one.
pub(super) const CHECKPOINT_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum OffsetQuery {
    /// The writer, if there is one, is committing what has arrived.
    Checkpointing { op: OpId, until: Instant, id: UploadId },
    /// The store is reading the record. A writer that did not answer in time is at work.
    Loading { op: OpId, written: bool },
}

impl OffsetQuery {
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Checkpointing { until, .. } => Some((*until, Reason::CheckpointWait)),
            Self::Loading { .. } => None,
        }
    }
}

impl Exchange {
    pub(super) fn query_offset(&mut self, now: Now, id: UploadId) {
        let op = self.op();
        self.outputs.push_back(Output::Lock(op, LockCall::Checkpoint { key: id.clone() }));
        let until = now.monotonic.after(mutation!("head-waits", CHECKPOINT_WAIT, CHECKPOINT_WAIT * 600));
        self.state = State::QueryingOffset(OffsetQuery::Checkpointing { op, until, id });
    }

    /// The writer has committed, or there is none, or it can't be asked: what is committed is the truth.
    pub(super) fn on_checkpoint_made(&mut self, op: OpId, query: OffsetQuery) {
        match query {
            OffsetQuery::Checkpointing { op: asked, id, .. } if asked == op => self.read(id, false),
            other => self.stale(State::QueryingOffset(other)),
        }
    }

    pub(super) fn on_checkpoint_timeout(&mut self, now: Now, query: OffsetQuery) {
        match query {
            OffsetQuery::Checkpointing { until, id, .. } if until <= now.monotonic => {
                let op = self.op();
                // The answer is not waited for: it only takes us off the list of those who asked.
                self.outputs.push_back(Output::Lock(op, LockCall::Release { key: id.clone() }));
                self.read(id, true);
            }
            other => self.state = State::QueryingOffset(other),
        }
    }

    fn read(&mut self, id: UploadId, written: bool) {
        let op = self.store(Command::Load { id });
        self.state = State::QueryingOffset(OffsetQuery::Loading { op, written });
    }

    pub(super) fn on_record(&mut self, now: Now, op: OpId, query: OffsetQuery, completion: Completion) {
        match query {
            OffsetQuery::Loading { op: reading, written } if reading == op => {
                let answer = match completion {
                    Completion::Loaded(record) if record.is_expired(now.wall) && !written => {
                        Answer::HeadFailed(ErrorCode::UploadExpired)
                    }
                    Completion::Loaded(record) => {
                        // Nothing expires while it is written to: the writer is late, and moves it on.
                        self.expires = match record.is_expired(now.wall) {
                            true => self.config.expires(now.wall, record.expires),
                            false => record.expires,
                        };
                        if self.rufh.is_some() { self.seen(record) } else { Answer::State(record) }
                    }
                    Completion::Missing => Answer::HeadFailed(ErrorCode::UploadNotFound),
                    Completion::Gone => Answer::HeadFailed(ErrorCode::UploadExpired),
                    Completion::Lost(_) => Answer::HeadFailed(ErrorCode::UploadGone),
                    _ => Answer::HeadFailed(ErrorCode::UploadLocked),
                };
                self.end(now, Some(answer));
            }
            other => self.stale(State::QueryingOffset(other)),
        }
    }
}
