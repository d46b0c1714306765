//! Problem details (RFC 9457): what an error's body says in this protocol.

use alloc::{format, string::String};
use core::fmt::Write as _;

use super::Rufh;
use crate::ErrorCode;

/// The registry of the problem types that this protocol names.
const TYPES: &str = "https://iana.org/assignments/http-problem-types";

/// The status of an error. Where the drafts name one it is theirs.
pub(super) fn status(code: ErrorCode) -> u16 {
    match code {
        // Not too much for the server, but more than the client has announced.
        ErrorCode::UploadSizeExceeded | ErrorCode::UploadCompleted => 400,
        // 460 is a status of tus alone.
        ErrorCode::ChecksumMismatch => 400,
        _ => code.status(),
    }
}

/// The body. `expected` is the upload's offset, if the client's is another.
pub(super) fn body(rufh: &Rufh, code: ErrorCode, expected: Option<u64>) -> String {
    let mut body = String::from("{");
    let kind = match code {
        ErrorCode::MismatchedOffset => Some(("mismatching-upload-offset", "the offset is another")),
        ErrorCode::UploadCompleted if rufh.version.completed_type => {
            Some(("completed-upload", "the upload is complete"))
        }
        ErrorCode::InconsistentUploadLength => {
            Some(("inconsistent-upload-length", "the lengths contradict each other"))
        }
        _ => None,
    };
    if let Some((name, title)) = kind {
        body.push_str(&format!("\"type\":\"{TYPES}#{name}\",\"title\":\"{title}\","));
    }
    let detail = match code {
        ErrorCode::InvalidContentType => "the Content-Type must be application/partial-upload",
        ErrorCode::ChecksumMismatch => "the content differs from its digest",
        _ => code.text(),
    };
    // Writing to a string can't fail. None of the texts has a character that JSON escapes.
    let _ = write!(body, "\"status\":{},\"detail\":\"{detail}\",\"code\":\"{}\"", status(code), code.name());
    if let Some(expected) = expected {
        let _ = write!(body, ",\"expected-offset\":{expected},\"provided-offset\":{}", rufh.offset);
    }
    body.push_str("}\n");
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::rufh::{request, version::Version};

    #[test]
    fn the_type_of_complete_uploads_is_told_by_versions_that_have_it() {
        for (number, typed) in [(5, false), (6, true), (7, true), (8, true), (9, false)] {
            let version = Version::numbered(number).unwrap_or(Version::newest());
            let body = body(&request::new(version, true), ErrorCode::UploadCompleted, None);
            assert_eq!(body.contains("#completed-upload"), typed, "{number}: {body}");
        }
    }
}
