//! GET: a finished upload, or a range of it. No lock is taken: what is finished does not change, and the store
//! holds the bytes until they are sent.

use super::{
    Exchange, State,
    answer::{self, Answer},
    content,
    head::CHECKPOINT_WAIT,
    request::{Download, Wanted},
};
use crate::{Command, Completion, ErrorCode, LockCall, Now, Output};

impl Exchange {
    pub(super) fn download(&mut self, download: Download) {
        let op = self.store(Command::Open { id: download.id.clone() });
        self.state = State::Opening(op, download);
    }

    pub(super) fn on_opened(&mut self, now: Now, mut download: Download, completion: Completion) {
        if self.rufh.is_some() && self.is_looked_at(now, &download, &completion) {
            return;
        }
        // Whoever writes keeps it alive, and may only be late with that.
        if let Completion::Opened(record) = &completion
            && record.is_expired(now.wall)
            && !record.is_complete()
            && !core::mem::replace(&mut download.awaited, true)
        {
            let op = self.op();
            self.outputs.push_back(Output::Lock(op, LockCall::Checkpoint { key: download.id.clone() }));
            self.state = State::Awaiting(op, now.monotonic.after(CHECKPOINT_WAIT), download);
            return;
        }
        let Download { conditions, part, written, .. } = &download;
        let failed =
            |code| if *part == Wanted::All { Answer::Failed(code) } else { Answer::HeadFailed(code) };
        let answer = match completion {
            Completion::Opened(record) if record.is_expired(now.wall) && !*written => {
                failed(ErrorCode::UploadExpired)
            }
            Completion::Opened(record)
                if !mutation!(
                    "unfinished-sent",
                    record.is_complete(),
                    record.is_complete() || record.offset > 0
                ) =>
            {
                failed(ErrorCode::UploadNotFinished)
            }
            Completion::Opened(record) => {
                let selection = conditions.select(&content::entity_tag(&record), record.offset);
                Answer::Download(record, selection, *part)
            }
            other => failed(answer::to_completion(&other)),
        };
        self.end(now, Some(answer));
    }

    /// The writer of an upload whose time is over does not answer: it is looked at once more.
    pub(super) fn stop_awaiting(&mut self, mut download: Download) {
        download.written = true;
        let op = self.op();
        // The answer is not waited for: it only takes us off the list of those who asked.
        self.outputs.push_back(Output::Lock(op, LockCall::Release { key: download.id.clone() }));
        self.download(download);
    }
}
