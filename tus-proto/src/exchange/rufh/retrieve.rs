//! Offset retrieval: HEAD and GET, and what those are answered that say nothing of a protocol.

use crate::{
    Completion, ErrorCode, Now, Record,
    exchange::{
        Exchange,
        answer::{Answer, upload_methods},
        request::{Download, HeadRejection, Wanted},
    },
};

impl Exchange {
    /// The answer to who has asked for the offset of this upload.
    pub(in super::super) fn seen(&mut self, record: Record) -> Answer {
        let get = self.rufh.as_ref().is_some_and(|rufh| rufh.undecided && !rufh.to_head);
        match self.decide(&record) {
            Ok(()) => Answer::State(record),
            // A GET of an upload that tus 1.0.0 began, where downloads are off.
            Err(_) if get => {
                let allow = upload_methods(&self.config);
                Answer::HeadRejected(HeadRejection {
                    code: ErrorCode::MethodNotAllowed,
                    allow,
                    to_head: false,
                })
            }
            Err(code) => Answer::HeadFailed(code),
        }
    }

    /// An upload is opened for a GET, or for a HEAD that asks for the same, which says nothing of a protocol. Returns
    /// whether it is answered by the upload's state instead: this protocol began it, and it is not complete, or only the
    /// head is wanted.
    pub(in super::super) fn is_looked_at(
        &mut self,
        now: Now,
        download: &Download,
        completion: &Completion,
    ) -> bool {
        let record = match completion {
            Completion::Opened(record) if record.explicit.is_some() && !record.is_expired(now.wall) => record,
            _ => {
                self.rufh = None;
                return false;
            }
        };
        let complete = record.is_complete();
        if complete && download.part == Wanted::All {
            self.rufh = None;
            return false;
        }
        // A writer may be at work on one that is not complete.
        if complete {
            let answer = self.seen(record.clone());
            self.end(now, Some(answer));
        } else {
            self.query_offset(now, download.id.clone());
        }
        true
    }
}
