//! What is sent of a finished upload, and the tag by which a client asks for the one it knows.

use alloc::{format, string::String};

use super::request::Wanted;
use crate::{
    ErrorCode, Record, Response, WallTime,
    header::{IfMatch, Selection, attachment, is_media_type, is_multipart, metadata_value},
};

/// The strong entity tag: it differs between all uploads that ever have the same URL. A finished upload never changes.
pub(super) fn entity_tag(record: &Record) -> String {
    format!("\"{}-{:x}\"", record.id, record.created.as_micros())
}

/// Whether a request's `If-Match` holds. Only a finished upload has a tag: an unfinished one changes with each byte.
pub(super) fn matches(if_match: &IfMatch, record: &Record) -> bool {
    if !if_match.is_there() {
        return true;
    }
    let tag = if record.is_complete() { entity_tag(record) } else { String::new() };
    if_match.holds(&tag)
}

/// For an upload that a browser shows in spite of `Content-Disposition`: it may run and load nothing.
const CONTENT_SECURITY_POLICY: &str = "sandbox; default-src 'none'";

/// What is sent of a finished upload.
pub(super) fn response(record: &Record, selection: Selection, part: Wanted, wall: WallTime) -> Response {
    let response = whole(record, selection, wall);
    match part {
        Wanted::All => response,
        Wanted::Head => response.head_alone(),
        Wanted::BareHead => response.without_body(),
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
