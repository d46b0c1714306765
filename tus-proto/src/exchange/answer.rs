//! What a request comes to, and the response that says so.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use super::{
    content,
    request::{HeadRejection, Wanted},
    rufh,
};
use crate::{
    Cancel, Completion, Concat, Config, Connection, Cut, ErrorCode, Failure, Framing, Record, Rejection,
    Response, UploadId, WallTime, header::Selection,
};

/// The outcome of a request.
#[derive(Debug)]
pub(super) enum Answer {
    Options,
    /// Refused by the head alone.
    HeadRejected(HeadRejection),
    Failed(ErrorCode),
    /// Refused by a hook; `code` where it does not say why.
    Rejected {
        rejection: Box<Rejection>,
        code: ErrorCode,
        to_head: bool,
    },
    /// HEAD: the upload's state.
    State(Record),
    /// HEAD: it can't be told.
    HeadFailed(ErrorCode),
    /// POST: created, and this is the offset.
    Created {
        location: String,
        offset: u64,
        body_read: bool,
    },
    /// POST of a final: created, and of this length; `None` while it is pending.
    Concatenated {
        location: String,
        length: Option<u64>,
    },
    /// POST: created, and then the body failed.
    CreatedButFailed {
        location: String,
        code: ErrorCode,
    },
    /// GET: this of the upload, or the head of that.
    Download(Record, Selection, Wanted),
    /// PATCH: the bytes are committed up to this offset.
    Written(u64),
    /// PATCH: the body was read to its end, and is not what its checksum says.
    ChecksumFailed(ErrorCode),
    /// PATCH: the committed offset is this.
    Mismatch(u64),
    Terminated,
}

impl Answer {
    /// The same, where a hook has failed after all was done: the request has failed for its client, and what it has
    /// created is there all the same.
    pub(super) fn spoiled(self) -> Self {
        let code = ErrorCode::InternalServerError;
        match self {
            Self::Created { location, .. } | Self::Concatenated { location, .. } => {
                Self::CreatedButFailed { location, code }
            }
            Self::Written(_) => Self::Failed(code),
            other => other,
        }
    }

    pub(super) fn response(self, config: &Config, framing: Framing, wall: WallTime) -> Response {
        let mut response = match self {
            Self::Options => options(config, wall),
            Self::HeadRejected(rejection) => {
                let mut response = Response::error(rejection.code, wall);
                if !rejection.allow.is_empty() {
                    response.push("Allow", rejection.allow);
                }
                if rejection.to_head { response.without_body() } else { response }
            }
            Self::Failed(code) => Response::error(code, wall),
            Self::Rejected { rejection, code, to_head } => {
                let response = Response::rejection(*rejection, code, wall);
                if to_head { response.without_body() } else { response }
            }
            Self::State(record) => state(&record, wall),
            Self::HeadFailed(code) => Response::error(code, wall).without_body(),
            Self::Created { location, offset, body_read } => {
                let mut response = Response::new(201, wall);
                response.push("Location", location);
                response.push("Upload-Offset", offset);
                response.connection = if body_read { Connection::KeepAlive } else { Connection::Drain };
                return response;
            }
            Self::Concatenated { location, length } => {
                let mut response = Response::new(201, wall);
                response.push("Location", location);
                if let Some(length) = length {
                    response.push("Upload-Offset", length);
                    response.push("Upload-Length", length);
                }
                response
            }
            Self::CreatedButFailed { location, code } => {
                let mut response = Response::error(code, wall);
                response.push("Location", location);
                response
            }
            Self::Written(offset) => {
                let mut response = Response::new(204, wall);
                response.push("Upload-Offset", offset);
                return response;
            }
            Self::ChecksumFailed(code) => {
                let mut response = Response::error(code, wall);
                response.connection = Connection::KeepAlive;
                return response;
            }
            Self::Mismatch(offset) => {
                let mut response = Response::error(ErrorCode::MismatchedOffset, wall);
                response.push("Upload-Offset", offset);
                response
            }
            Self::Terminated => Response::new(204, wall),
            Self::Download(record, selection, part) => content::response(&record, selection, part, wall),
        };
        // What is answered here was answered without reading the body.
        response.connection = match (framing, response.status()) {
            (Framing::Length(0), _) => Connection::KeepAlive,
            (_, 200..=299) => Connection::Drain,
            _ => Connection::Close,
        };
        response
    }
}

/// The methods that are enabled for an upload.
pub(super) fn upload_methods(config: &Config) -> &'static str {
    match (config.downloads, config.termination) {
        (false, false) => "OPTIONS, HEAD, PATCH",
        (false, true) => "OPTIONS, HEAD, PATCH, DELETE",
        (true, false) => "OPTIONS, HEAD, GET, PATCH",
        (true, true) => "OPTIONS, HEAD, GET, PATCH, DELETE",
    }
}

/// All methods that are enabled.
pub(super) fn methods(config: &Config) -> String {
    format!("POST, {}", upload_methods(config))
}

fn options(config: &Config, wall: WallTime) -> Response {
    let mut response = Response::new(204, wall);
    response.push("Tus-Version", "1.0.0");
    let checksum = if config.checksum_algorithms.is_empty() { "" } else { ",checksum,checksum-trailer" };
    let expiration = if config.upload_expiry.is_some() { ",expiration" } else { "" };
    let concatenation = match (config.concatenation, config.concatenation_unfinished) {
        (false, _) => "",
        (true, false) => ",concatenation",
        (true, true) => ",concatenation,concatenation-unfinished",
    };
    let termination = if config.termination { ",termination" } else { "" };
    response.push(
        "Tus-Extension",
        format_args!(
            "creation,creation-with-upload,creation-defer-length{termination}{checksum}{expiration}{concatenation}"
        ),
    );
    if !config.checksum_algorithms.is_empty() {
        let names: Vec<_> = config.checksum_algorithms.iter().map(|algorithm| algorithm.name()).collect();
        response.push("Tus-Checksum-Algorithm", names.join(","));
    }
    if let Some(bytes) = config.max_size() {
        response.push("Tus-Max-Size", bytes);
    }
    if config.rufh {
        let limits = rufh::limits(config, None, None, wall);
        response.push("Upload-Limit", limits.as_deref().unwrap_or("min-size=0"));
    }
    response
}

fn state(record: &Record, wall: WallTime) -> Response {
    let mut response = Response::new(200, wall);
    // That of a pending final would say where to go on, and nobody can.
    if !record.is_final() || record.is_complete() {
        response.push("Upload-Offset", record.offset);
    }
    match record.length {
        // Who reads the offset at the length takes the upload for complete.
        Some(length) if !record.awaits_completion() => response.push("Upload-Length", length),
        _ => response.push("Upload-Defer-Length", 1),
    }
    if !record.metadata.is_empty() {
        response.push("Upload-Metadata", &record.metadata);
    }
    match &record.concat {
        Some(Concat::Partial) => response.push("Upload-Concat", "partial"),
        Some(Concat::Final(value)) => response.push("Upload-Concat", value),
        None => {}
    }
    response
}

/// `Location` for an upload.
pub(super) fn location(mut prefix: String, id: &UploadId) -> String {
    prefix.push_str(id.as_str());
    prefix
}

/// What a body that was cut short is answered; nothing where nobody is left to read it.
pub(super) fn to_cut(cut: Cut) -> Option<ErrorCode> {
    match cut {
        Cut::PeerGone => None,
        Cut::HalfClosed => Some(ErrorCode::UnexpectedEof),
        Cut::TooSlow => Some(ErrorCode::ReadTimeout),
        Cut::BadFraming => Some(ErrorCode::BadRequest),
    }
}

/// What a request is answered that had to end.
pub(super) fn to_cancel(cancel: Cancel) -> ErrorCode {
    match cancel {
        Cancel::LockLost => ErrorCode::UploadInterrupted,
        Cancel::Shutdown => ErrorCode::ServerShutdown,
    }
}

pub(super) fn to_failure(failure: Failure) -> ErrorCode {
    match failure {
        Failure::NoSpace => ErrorCode::InsufficientStorage,
        Failure::Io => ErrorCode::InternalServerError,
        Failure::Unavailable => ErrorCode::StoreUnavailable,
        Failure::Fenced => ErrorCode::UploadLocked,
    }
}

/// What a store command is answered that did not do what was hoped for.
pub(super) fn to_completion(completion: &Completion) -> ErrorCode {
    match completion {
        Completion::Missing => ErrorCode::UploadNotFound,
        Completion::Gone => ErrorCode::UploadExpired,
        Completion::Lost(_) => ErrorCode::UploadGone,
        Completion::Failed(failure) => to_failure(*failure),
        // As above: the writer has lost its lock.
        Completion::Conflict { .. } => ErrorCode::UploadLocked,
        // A completion of another command: the store broke the contract.
        _ => ErrorCode::InternalServerError,
    }
}
