//! What an exchange is told by those it calls: as it should be, or as it must not be.

use tus_proto::{
    AppendEnd, Command, Completion, Concat, ConcatRejection, Digest, Explicit, Failure, Fence, HookReply,
    LockCall, LockReply, Record, Rejection, Trailers, UploadId, WallTime,
};

use super::{Run, request::DIGEST};

/// Nobody else answers with this.
pub(super) const HOOKS_STATUS: u16 = 418;
/// A header that is a hook's to set.
pub(super) const THEIRS: &str = "X-Hook";

/// What the checksum of a request says, and what it does not.
const RIGHT: [u8; 20] = [0; 20];
const WRONG: [u8; 20] = [1; 20];

fn record(offset: u64, length: impl Into<Option<u64>>) -> Record {
    Record {
        id: UploadId::new("upload").unwrap(),
        created: WallTime::default(),
        offset,
        length: length.into(),
        metadata: String::new(),
        expires: None,
        concat: None,
        explicit: None,
    }
}

/// What a lock service in good health answers.
pub(super) fn natural_reply(call: &LockCall) -> LockReply {
    match call {
        LockCall::Acquire { .. } => LockReply::Granted { fence: Fence(9), rotate: false },
        LockCall::Renew { .. } => LockReply::Renewed,
        LockCall::Release { .. } => LockReply::Released,
        LockCall::Checkpoint { .. } | LockCall::Checkpointed { .. } => LockReply::Checkpointed,
    }
}

impl Run {
    /// What a store in good health answers.
    pub(super) fn natural(&mut self, command: &Command) -> Completion {
        match command {
            Command::Load { .. } | Command::Open { .. } => {
                let offset = if self.choice.percent(90) { self.offset } else { self.choice.below(4) };
                let length = self.choice.pick(&[None, None, Some(offset), Some(offset + 30), Some(100)]);
                let concat = self.concat();
                let expires = self.choice.pick(&[None, None, None, Some(WallTime::from_micros(5_000_000))]);
                let explicit = (self.seen.ietf && concat.is_none() && self.choice.percent(70))
                    .then(|| Explicit::new(self.choice.percent(20)));
                let record = Record { concat, expires, explicit, ..record(offset, length) };
                let open = matches!(command, Command::Open { .. });
                if open { Completion::Opened(record) } else { Completion::Loaded(record) }
            }
            Command::Concat { record, .. } if self.choice.percent(80) => {
                let length = self.choice.pick(&[None, Some(9)]);
                let offset = self.choice.pick(&[0, length.unwrap_or(0)]);
                Completion::Concatenated(Record { offset, length, ..record.clone() })
            }
            Command::Concat { .. } => Completion::Rejected(self.choice.pick(&[
                ConcatRejection::Missing,
                ConcatRejection::TooLarge,
                ConcatRejection::UnknownLength,
            ])),
            Command::Create { .. } => Completion::Created,
            Command::Reserve { .. } if self.choice.percent(80) => Completion::Reserved,
            Command::Reserve { .. } => Completion::Declined,
            Command::Append { .. } | Command::Buffer { .. } => {
                let end = match self.choice.below(3) {
                    0 => AppendEnd::Complete(self.trailers()),
                    1 => AppendEnd::Stopped,
                    _ => AppendEnd::Overflow,
                };
                self.appended(command, end)
            }
            Command::Commit { to, .. } => Completion::Committed { offset: *to },
            Command::Digest { .. } | Command::Hash { .. } => Completion::Digested(self.digest()),
            Command::Discard { .. } => Completion::Discarded,
            Command::Delete { .. } => Completion::Deleted,
            Command::StopAppend => unreachable!("Stop has no completion"),
        }
    }

    /// What a store in good health answers once the body has come to this end.
    pub(super) fn appended(&self, append: &Command, end: AppendEnd) -> Completion {
        let hashed = matches!(
            append,
            Command::Append { digest: Some(_), .. } | Command::Buffer { digest: Some(_), .. }
        );
        Completion::Appended {
            total: self.seen.staged - self.seen.at,
            end,
            digest: hashed.then(|| self.digest()),
        }
    }

    /// What an upload is in a concatenation: mostly nothing.
    fn concat(&mut self) -> Option<Concat> {
        let some = [Concat::Partial, Concat::Final("final;/files/a".into())];
        self.choice.percent(15).then(|| self.choice.pick(&some))
    }

    pub(super) fn any_reply(&mut self) -> LockReply {
        self.choice.pick(&[
            LockReply::Granted { fence: Fence(1), rotate: true },
            LockReply::TimedOut,
            LockReply::Renewed,
            LockReply::Lost,
            LockReply::Released,
            LockReply::Checkpointed,
            LockReply::Unavailable,
        ])
    }

    pub(super) fn any_decision(&mut self) -> HookReply {
        let pair = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        let rejection = |status, headers: &[(&str, &str)], body: &str| {
            let headers = headers.iter().map(pair).collect();
            HookReply::Reject(Rejection { status, headers, body: body.into() })
        };
        let ours = [("Content-Length", "7"), ("date", "now"), ("Tus-Resumable", "9"), (THEIRS, "a")];
        self.choice.pick(&[
            HookReply::Proceed,
            HookReply::Proceed,
            HookReply::Proceed,
            HookReply::Change { metadata: Some("a YQ==".into()), id: UploadId::new("other"), response: None },
            HookReply::Change { metadata: Some("a !".into()), id: None, response: None },
            rejection(HOOKS_STATUS, &[], ""),
            rejection(HOOKS_STATUS, &[(THEIRS, "a\r\nSet-Cookie: b"), ("a b", "c")], "no"),
            rejection(HOOKS_STATUS, &ours, "no"),
            rejection(99, &[(THEIRS, "a")], ""),
            HookReply::Failed,
        ])
    }

    pub(super) fn any_completion(&mut self) -> Completion {
        let total = self.choice.below(200);
        self.choice.pick(&[
            Completion::Loaded(record(total, None)),
            Completion::Opened(record(total, total)),
            Completion::Missing,
            Completion::Created,
            Completion::Exists,
            Completion::Reserved,
            Completion::Declined,
            Completion::Concatenated(record(total, total)),
            Completion::Rejected(ConcatRejection::NotPartial),
            Completion::Appended { total, end: AppendEnd::Complete(Trailers::default()), digest: None },
            Completion::Appended { total: 0, end: AppendEnd::Failed(Failure::NoSpace), digest: None },
            Completion::Committed { offset: total },
            Completion::Conflict { offset: total },
            Completion::Digested(self.digest()),
            Completion::Discarded,
            Completion::Gone,
            Completion::Lost(record(total, total)),
            Completion::Deleted,
            Completion::Failed(Failure::NoSpace),
            Completion::Failed(Failure::Io),
            Completion::Failed(Failure::Unavailable),
        ])
    }

    /// The digest of what was staged: the same however often it is asked for.
    fn digest(&self) -> Digest {
        Digest::new(if self.honest { &RIGHT } else { &WRONG }).unwrap()
    }

    /// What a body ends with.
    pub(super) fn trailers(&mut self) -> Trailers {
        let mut trailers = Trailers::default();
        // The last is well-formed, and no body's.
        let other = ["sha1 eA==", "crc32 AAAA", "sha1 AgICAgICAgICAgICAgICAgICAgI="];
        let mut likely = if self.seen.announced { 70 } else { 10 };
        while self.choice.percent(likely) {
            let value = if self.choice.percent(90) { DIGEST } else { self.choice.pick(&other) };
            trailers.push("Upload-Checksum", value.as_bytes());
            likely = 20;
        }
        trailers
    }
}
