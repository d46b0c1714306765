//! GET: a finished upload, or a range of it. No lock is taken: what is finished does not change, and the store
//! holds the bytes until they are sent.

use alloc::{format, string::String};

use super::{
    Exchange, State,
    answer::{self, Answer},
    head::CHECKPOINT_WAIT,
};
use crate::{
    Command, Completion, ErrorCode, LockCall, Now, Output, Record, Response, UploadId, WallTime,
    header::{Conditions, IfMatch, Selection, attachment, is_media_type, is_multipart, metadata_value},
};

/// A GET of an upload, or a HEAD that asks for the same.
#[derive(Debug)]
pub(super) struct Download {
    pub id: UploadId,
    pub conditions: Conditions,
    pub part: Part,
    /// Whoever writes was asked to commit; what came of it tells whether the upload's time is over.
    awaited: bool,
    /// Somebody writes to it: its time is not over.
    written: bool,
}

impl Download {
    pub(super) fn new(id: UploadId, conditions: Conditions, part: Part) -> Self {
        Self { id, conditions, part, awaited: false, written: false }
    }
}

/// How much of the answer to a GET is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// The head, which tells the length of what would follow.
    Head,
    /// The head, in a message of which nobody knows that nothing follows.
    BareHead,
}

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
        let failed = |code| if *part == Part::All { Answer::Failed(code) } else { Answer::HeadFailed(code) };
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
                let selection = conditions.select(&entity_tag(&record), record.offset);
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

/// What tells this upload from any other that may ever have its address. A finished one never changes: the tag
/// is a strong one.
fn entity_tag(record: &Record) -> String {
    format!("\"{}-{:x}\"", record.id, record.created.as_micros())
}

/// Whether the upload is what a request wants it to be. Only a finished one has a tag: one under way is another
/// with each byte.
pub(super) fn matches(if_match: &IfMatch, record: &Record) -> bool {
    if !if_match.is_there() {
        return true;
    }
    let tag = if record.is_complete() { entity_tag(record) } else { String::new() };
    if_match.holds(&tag)
}

/// What a browser may make of an upload that is opened all the same: nothing that runs or loads anything.
const CONTENT_SECURITY_POLICY: &str = "sandbox; default-src 'none'";

/// What is sent of a finished upload.
pub(super) fn response(record: &Record, selection: Selection, part: Part, wall: WallTime) -> Response {
    let response = whole(record, selection, wall);
    match part {
        Part::All => response,
        Part::Head => response.head_alone(),
        Part::BareHead => response.without_body(),
    }
}

fn whole(record: &Record, selection: Selection, wall: WallTime) -> Response {
    let length = record.offset;
    let mut response = match selection {
        Selection::Failed => return Response::error(ErrorCode::PreconditionFailed, wall),
        Selection::Unsatisfiable => {
            let mut response = Response::error(ErrorCode::RangeNotSatisfiable, wall);
            response.push("Content-Range", format_args!("bytes */{length}"));
            return response;
        }
        Selection::NotModified => Response::cacheable(304, wall),
        Selection::Whole => {
            let mut response = Response::cacheable(200, wall);
            response.set_upload(0, length);
            response
        }
        Selection::Part(from, to) => {
            let mut response = Response::cacheable(206, wall);
            response.push("Content-Range", format_args!("bytes {from}-{}/{length}", to.saturating_sub(1)));
            response.set_upload(from, to);
            response
        }
    };
    response.push("ETag", entity_tag(record));
    response.push("Content-Security-Policy", CONTENT_SECURITY_POLICY);
    if selection != Selection::NotModified {
        response.push("Accept-Ranges", "bytes");
        let media_type = metadata_value(&record.metadata, "filetype")
            .filter(|text| is_media_type(text) && !is_multipart(text));
        response.push("Content-Type", media_type.as_deref().unwrap_or("application/octet-stream"));
        let name = ["filename", "name"].into_iter().find_map(|key| metadata_value(&record.metadata, key));
        response.push("Content-Disposition", attachment(name.as_deref()));
    }
    response
}
