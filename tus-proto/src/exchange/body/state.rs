//! A body on its way, as data: how much of it is staged and committed, what may still come, and what becomes
//! of it. [`body`](super) moves it.

use alloc::{boxed::Box, string::String};
use core::time::Duration;

use crate::exchange::answer::{self, Answer};
use crate::{
    Algorithm, Cancel, Completion, Config, Cut, Deadline, Digest, ErrorCode, Failure, Instant, Now, OpId,
    Reason, Record, Rejection, Trailers, UploadId, WallTime,
    header::{Checksum, Checksums},
};

/// How many bytes of a body are welcome, and what one more is answered.
#[derive(Clone, Copy, Debug)]
pub(in crate::exchange) struct Limit {
    pub bytes: u64,
    pub code: ErrorCode,
}

impl Limit {
    /// For a body that starts at `at`, in an upload of this length.
    pub(in crate::exchange) fn of(config: &Config, at: u64, length: Option<u64>) -> Self {
        let size = match length {
            Some(length) => Self { bytes: length.saturating_sub(at), code: ErrorCode::UploadSizeExceeded },
            None => {
                let max = config.max_size().unwrap_or(i64::MAX.unsigned_abs());
                Self { bytes: max.saturating_sub(at), code: ErrorCode::MaxSizeExceeded }
            }
        };
        match config.max_chunk_size() {
            Some(bytes) if bytes < size.bytes => Self { bytes, code: ErrorCode::ChunkSizeExceeded },
            _ => size,
        }
    }

    /// Whether a body of this many bytes is welcome.
    pub(in crate::exchange) fn check(&self, bytes: u64) -> Result<(), ErrorCode> {
        if bytes > self.bytes { Err(self.code) } else { Ok(()) }
    }
}

/// What the body came with, and so how it is answered.
#[derive(Debug)]
pub(in crate::exchange) enum Reply {
    /// A POST, with the `Location` of what it created.
    Create(String),
    /// A POST whose upload is made only when the body has ended: there is no lock, and nothing to commit before.
    Make(Box<Unmade>),
    /// A PATCH.
    Write,
}

/// An upload that is to be made together with its body.
#[derive(Debug)]
pub(in crate::exchange) struct Unmade {
    pub record: Record,
    pub location: String,
}

impl Reply {
    /// The request fails. That it made an upload is told all the same: else nobody could ever find it.
    pub(in crate::exchange) fn failed(self, code: ErrorCode) -> Answer {
        match self {
            Self::Create(location) => Answer::CreatedButFailed { location, code },
            // Nothing is answered before it is made.
            Self::Make(unmade) => Answer::CreatedButFailed { location: unmade.location, code },
            Self::Write => Answer::Failed(code),
        }
    }
}

/// The state of the hook that is asked before the last commit of a body.
#[derive(Debug)]
pub(in crate::exchange) enum ChunkVerdict {
    /// Given, or not needed.
    Accepted,
    /// To be asked for, once all bytes are there.
    Due,
    Pending(OpId),
    Rejected(Box<Rejection>),
}

/// A body on its way. All offsets are the upload's.
#[derive(Debug)]
pub(in crate::exchange) struct Receiving {
    pub id: UploadId,
    pub length: Option<u64>,
    /// It is a part of a concatenation: it expires even when it is finished.
    pub partial: bool,
    /// It is complete when a request says so, and this request is of the protocol that can.
    pub explicit: bool,
    /// The length that the first commit makes known.
    pub declare: Option<u64>,
    pub limit: Limit,
    pub checksums: Checksums,
    /// The digest of what the Append has staged, where the header names an algorithm. Boxed, as every checksum here:
    /// most bodies have none, and thousands may wait.
    pub digest: Option<Box<Digest>>,
    /// The body is not what its checksum says, or its checksum is no good.
    pub checksum_error: Option<ErrorCode>,
    pub reply: Reply,
    /// Where the body starts.
    pub at: u64,
    /// Where its staged bytes end.
    pub staged: u64,
    pub committed: u64,
    pub append: Append,
    /// The request must end. A lost lock forbids any commit.
    pub cancelled: Option<Cancel>,
    /// The one commit, or discard, that may be under way.
    pub in_flight: Option<InFlight>,
    /// Where the last commit was to end, whether or not it did.
    pub tried: u64,
    /// The first byte since the last commit came at this time.
    pub dirty_since: Option<Instant>,
    /// When the upload expires, and when that is to be moved on.
    pub expires: Option<WallTime>,
    pub renew_at: Option<Instant>,
    /// What the staged bytes are to be read back for, once nothing else is under way.
    pub unverified: Option<Box<Checksum>>,
    /// A HEAD waits for a commit of what is staged now.
    pub asked: bool,
    /// A newcomer waits, and would write at this offset.
    pub newcomer: Option<Option<u64>>,
    pub failed: Option<Failed>,
    pub chunk_verdict: ChunkVerdict,
    /// For the hook that is told of progress. Boxed: most have none.
    pub report: Option<Box<Report>>,
}

/// What a hook was told of a body's progress.
#[derive(Debug)]
pub(in crate::exchange) struct Report {
    pub interval: Duration,
    /// Nothing is told before.
    pub next: Instant,
    /// How far the upload had come when it was told last.
    pub told: u64,
    /// The call that was not replied to yet.
    pub op: Option<OpId>,
}

#[derive(Debug)]
pub(in crate::exchange) enum Append {
    Open { op: OpId, stopping: bool },
    Ended(End),
}

/// An [`AppendEnd`](crate::AppendEnd) whose trailers have been looked at, and are not held any longer.
#[derive(Clone, Copy, Debug)]
pub(in crate::exchange) enum End {
    Complete,
    Cut(Cut),
    Overflow,
    Stopped,
    Failed(Failure),
}

#[derive(Debug)]
pub(in crate::exchange) enum InFlight {
    Commit {
        op: OpId,
        to: u64,
        length: Option<u64>,
        expires: Option<WallTime>,
        finish: bool,
        /// A HEAD waits for it.
        asked: bool,
        /// The body had ended when it was asked for.
        last: bool,
    },
    Discard {
        op: OpId,
    },
    /// Of the upload, with the first bytes of its body.
    Create {
        op: OpId,
        first: u64,
        finish: bool,
    },
    Digest {
        op: OpId,
        checksum: Box<Checksum>,
    },
    /// Of the whole upload.
    Hash {
        op: OpId,
    },
}

/// A commit that did not happen. Nothing more is committed after it.
#[derive(Clone, Copy, Debug)]
pub(in crate::exchange) enum Failed {
    Code(ErrorCode),
    /// Somebody else has moved the offset here.
    Conflict(u64),
}

/// How a reception ended.
pub(in crate::exchange) enum Outcome {
    Complete,
    Overflow,
    Cut(Cut),
    Cancelled(Cancel),
    Yielded(Option<u64>),
    Rejected(ErrorCode),
    /// The body is complete, and not what its checksum says.
    ChecksumFailed(ErrorCode),
    Failed(Failed),
    /// The hook would not have it.
    Stopped(Box<Rejection>),
}

impl Receiving {
    pub(in crate::exchange) fn new(
        record: &Record,
        declare: Option<u64>,
        limit: Limit,
        checksums: Checksums,
        reply: Reply,
    ) -> Self {
        let at = record.offset;
        Self {
            id: record.id.clone(),
            length: declare.or(record.length),
            partial: record.is_partial(),
            explicit: false,
            declare,
            limit,
            checksums,
            digest: None,
            checksum_error: None,
            reply,
            at,
            staged: at,
            committed: at,
            append: Append::Ended(End::Complete),
            cancelled: None,
            in_flight: None,
            tried: at,
            dirty_since: None,
            expires: record.expires,
            renew_at: None,
            unverified: None,
            asked: false,
            newcomer: None,
            failed: None,
            chunk_verdict: ChunkVerdict::Accepted,
            report: None,
        }
    }

    pub(in crate::exchange) fn deadline(&self, config: &Config) -> Option<Deadline> {
        let writing = matches!(self.append, Append::Open { stopping: false, .. }) || self.awaits_verdict();
        if !writing || self.in_flight.is_some() || self.is_unmade() {
            return None;
        }
        let dirty_since = self.dirty_since.filter(|_| !self.holds());
        let checkpoint =
            dirty_since.map(|since| (since.after(config.checkpoint_interval), Reason::Checkpoint));
        // Nothing expires while it is written to. What is complete, as a part may be, can't be written to.
        let complete = self.length == Some(self.committed) && self.declare.is_none();
        let expiry = self.renew_at.filter(|_| !complete).map(|at| (at, Reason::Expiry));
        checkpoint.into_iter().chain(expiry).min_by_key(|(at, _)| *at)
    }

    /// Whether its upload is to be made together with the body.
    pub(in crate::exchange) fn is_unmade(&self) -> bool {
        matches!(self.reply, Reply::Make(_))
    }

    /// Its upload, if that is to be made now.
    pub(in crate::exchange) fn take_unmade(&mut self) -> Option<Record> {
        match core::mem::replace(&mut self.reply, Reply::Write) {
            Reply::Make(unmade) => {
                let Unmade { record, location } = *unmade;
                self.reply = Reply::Create(location);
                Some(record)
            }
            reply => {
                self.reply = reply;
                None
            }
        }
    }

    pub(in crate::exchange) fn is_dirty(&self) -> bool {
        let declares = self.declare.is_some();
        self.staged > self.committed
            || mutation!("completed-twice", declares, declares || self.length == Some(self.committed))
    }

    /// Sees that the upload is renewed in half the time it has left.
    pub(in crate::exchange) fn plan_renewal(&mut self, config: &Config, now: Now) {
        let left = |expires: WallTime| expires.as_micros().saturating_sub(now.wall.as_micros());
        let expires = self.expires.filter(|_| config.upload_expiry.is_some());
        self.renew_at = expires.map(|expires| now.monotonic.after(Duration::from_micros(left(expires) / 2)));
    }

    /// Whether it is time to commit what is staged, while more may come.
    pub(in crate::exchange) fn wants_checkpoint(&self, config: &Config, now: Instant) -> bool {
        let due = self.deadline(config).filter(|(at, _)| *at <= now).map(|(_, reason)| reason);
        let much = self.staged.saturating_sub(self.tried) >= config.checkpoint_bytes;
        let asked = self.asked || due == Some(Reason::Checkpoint) || much;
        !self.is_unmade()
            && (due == Some(Reason::Expiry) || (asked && self.staged > self.committed && !self.holds()))
    }

    /// Whether what is staged may not be committed yet: it is not verified, or it would complete the upload, or
    /// be its last word in this request, and a hook has its say before that.
    pub(in crate::exchange) fn holds(&self) -> bool {
        match (&self.append, &self.chunk_verdict) {
            (Append::Open { .. }, ChunkVerdict::Due) if self.length == Some(self.staged) => true,
            (Append::Open { .. }, _) => self.checksums.guard(),
            (Append::Ended(_), chunk_verdict) => matches!(chunk_verdict, ChunkVerdict::Pending(_)),
        }
    }

    /// Whether nothing but the hook is waited for. It is not where the bytes can't stay anyway.
    pub(in crate::exchange) fn awaits_verdict(&self) -> bool {
        matches!(self.chunk_verdict, ChunkVerdict::Pending(_)) && !self.is_lost()
    }

    /// Whether nothing that is staged can be kept any more, whatever it is.
    pub(in crate::exchange) fn is_lost(&self) -> bool {
        self.failed.is_some() || self.has_lost_the_lock()
    }

    /// Whether the hook is to be asked now that the body has come to its end: bytes came.
    pub(in crate::exchange) fn needs_verdict(&self) -> bool {
        matches!(self.chunk_verdict, ChunkVerdict::Due) && self.staged > self.at
    }

    /// Whether this is the call that tells of its progress.
    pub(in crate::exchange) fn reports(&self, op: OpId) -> bool {
        self.report.as_ref().is_some_and(|report| report.op == Some(op))
    }

    /// How many bytes may be staged before the commit under way should be waited for.
    pub(in crate::exchange) fn headroom(&self, config: &Config) -> u64 {
        if self.in_flight.is_none() {
            return u64::MAX;
        }
        let bound = config.checkpoint_bytes.saturating_mul(2);
        bound.saturating_sub(self.staged.saturating_sub(self.committed))
    }

    /// What the body has to be verified against, now that it and its trailers are complete, where only reading
    /// it back can tell. Everything else is decided here.
    pub(in crate::exchange) fn verify(
        &mut self,
        trailers: &Trailers,
        enabled: &[Algorithm],
    ) -> Option<Box<Checksum>> {
        let checksum = match self.checksums.with_trailers(trailers, enabled) {
            Ok(checksum) => checksum?,
            Err(code) => {
                self.checksum_error = Some(code);
                return None;
            }
        };
        let nothing = self.staged == self.at;
        let checksum_error = match &self.digest {
            Some(digest) => mutation!("checksum-not-compared", **digest != checksum.digest, false),
            None if nothing => !checksum.matches_nothing(),
            // A checkpoint was told already: what it covers can't be taken back.
            None if self.tried > self.at => {
                self.checksum_error = Some(ErrorCode::InvalidChecksum);
                return None;
            }
            None => return Some(checksum),
        };
        self.checksum_error = checksum_error.then_some(ErrorCode::ChecksumMismatch);
        None
    }

    /// What became of the body; `None` while that is not decided.
    pub(in crate::exchange) fn outcome(&self) -> Option<Outcome> {
        let Append::Ended(end) = self.append else { return None };
        // A store that knows of the new holder may reject a commit before we are told: it means the same.
        if self.has_lost_the_lock() {
            return Some(Outcome::Cancelled(Cancel::LockLost));
        }
        if let Some(failed) = self.failed {
            return Some(Outcome::Failed(failed));
        }
        if let ChunkVerdict::Rejected(rejection) = &self.chunk_verdict {
            return Some(Outcome::Stopped(rejection.clone()));
        }
        Some(match (end, self.cancelled, self.newcomer) {
            (End::Overflow, ..) => Outcome::Overflow,
            (End::Failed(failure), ..) => Outcome::Rejected(answer::to_failure(failure)),
            (End::Complete, ..) => self.checksum_error.map_or(Outcome::Complete, Outcome::ChecksumFailed),
            (End::Cut(cut), ..) => Outcome::Cut(cut),
            (End::Stopped, Some(cancel), _) => Outcome::Cancelled(cancel),
            (End::Stopped, None, Some(offset)) => Outcome::Yielded(offset),
            // Nobody asked for the stop: a runtime that can't go on.
            (End::Stopped, None, None) => Outcome::Cancelled(Cancel::Shutdown),
        })
    }

    pub(in crate::exchange) fn has_lost_the_lock(&self) -> bool {
        self.cancelled == Some(Cancel::LockLost)
    }

    /// Whether the staged rest is to be forgotten: the newcomer sends those bytes itself, or they are lost.
    pub(in crate::exchange) fn discards(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Yielded(offset) => *offset == Some(self.committed) || self.checksums.guard(),
            Outcome::Failed(_) | Outcome::ChecksumFailed(_) => true,
            Outcome::Complete | Outcome::Stopped(_) => false,
            // All or nothing.
            Outcome::Cut(_) | Outcome::Cancelled(_) | Outcome::Overflow | Outcome::Rejected(_) => {
                mutation!("cut-body-kept-unverified", self.checksums.guard(), false)
            }
        }
    }

    /// The Append has staged this many bytes in all.
    pub(in crate::exchange) fn progress(&mut self, now: Instant, total: u64) {
        self.staged = self.staged.max(self.at.saturating_add(total.min(self.limit.bytes)));
        if self.staged > self.committed && self.in_flight.is_none() && !self.checksums.guard() {
            self.dirty_since.get_or_insert(now);
        }
    }
}

/// A completion that means the upload is not ours to write to any more.
pub(in crate::exchange) fn failed(completion: &Completion) -> Failed {
    match completion {
        Completion::Conflict { offset } => Failed::Conflict(*offset),
        other => Failed::Code(answer::to_completion(other)),
    }
}
