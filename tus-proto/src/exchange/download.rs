//! GET: a finished upload, or a range of it. No lock is taken: what is finished does not change, and the store
//! holds the bytes until they are sent.

use alloc::{format, string::String};

use super::{
    Exchange, State,
    answer::{self, Answer},
};
use crate::{
    Code, Command, Completion, Now, Record, Response, UploadId, WallTime,
    header::{Conditions, Selection, attachment, is_media_type, metadata_value},
};

/// A GET of an upload.
#[derive(Debug)]
pub(super) struct Download {
    pub id: UploadId,
    pub conditions: Conditions,
}

impl Exchange {
    pub(super) fn download(&mut self, download: Download) {
        let Download { id, conditions } = download;
        let op = self.store(Command::Open { id });
        self.state = State::Opening(op, conditions);
    }

    pub(super) fn on_opened(&mut self, now: Now, conditions: &Conditions, completion: Completion) {
        let answer = match completion {
            Completion::Opened(record) if record.is_expired(now.wall) => Answer::Failed(Code::UploadExpired),
            Completion::Opened(record)
                if !mutation!(
                    "unfinished-sent",
                    record.is_complete(),
                    record.is_complete() || record.offset > 0
                ) =>
            {
                Answer::Failed(Code::UploadNotFinished)
            }
            Completion::Opened(record) => {
                let selection = conditions.select(&entity_tag(&record), record.offset);
                Answer::Download(record, selection)
            }
            other => Answer::Failed(answer::to_completion(&other)),
        };
        self.end(now, Some(answer));
    }
}

/// What tells this upload from any other that may ever have its address. A finished one never changes: the tag
/// is a strong one.
fn entity_tag(record: &Record) -> String {
    format!("\"{}-{:x}\"", record.id, record.created.as_micros())
}

/// What is sent of a finished upload.
pub(super) fn response(record: &Record, selection: Selection, wall: WallTime) -> Response {
    let length = record.offset;
    let mut response = match selection {
        Selection::Failed => return Response::refusal(Code::PreconditionFailed, wall),
        Selection::Unsatisfiable => {
            let mut response = Response::refusal(Code::RangeNotSatisfiable, wall);
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
    if selection != Selection::NotModified {
        response.push("Accept-Ranges", "bytes");
        let media_type = metadata_value(&record.metadata, "filetype").filter(|text| is_media_type(text));
        response.push("Content-Type", media_type.as_deref().unwrap_or("application/octet-stream"));
        let name = ["filename", "name"].into_iter().find_map(|key| metadata_value(&record.metadata, key));
        response.push("Content-Disposition", attachment(name.as_deref()));
    }
    response
}
