//! Every way a request can fail: its name, its status, and one sentence for the person who reads it.
//! The names are those that users of tusd know.

/// Why a request was rejected or failed. [`ErrorCode::status`] says whose fault it is: 4xx the client's,
/// 5xx the server's or its environment's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `Tus-Resumable` is missing or names another version.
    UnsupportedVersion,
    /// The upload is larger than `max_size`.
    MaxSizeExceeded,
    /// A PATCH with another `Content-Type`.
    InvalidContentType,
    /// `Upload-Length` is missing, malformed or contradicts the upload.
    InvalidUploadLength,
    /// `Upload-Offset` is missing or malformed.
    InvalidOffset,
    /// No upload has this id.
    UploadNotFound,
    /// The upload was there, and its time ran out.
    UploadExpired,
    /// The upload's bytes are not in the store any more, or not all of them: it can only be deleted.
    UploadGone,
    /// `Upload-Complete` is missing or malformed.
    InvalidUploadComplete,
    /// The length that a request tells is not that of the upload, or it tells several.
    InconsistentUploadLength,
    /// Another request holds the upload, or its state can't be told right now.
    UploadLocked,
    /// `Upload-Offset` is not the committed offset.
    MismatchedOffset,
    /// The body goes past the upload's length.
    UploadSizeExceeded,
    /// The body is larger than `max_chunk_size`.
    ChunkSizeExceeded,
    /// Bytes were sent to a finished upload.
    UploadCompleted,
    /// Bytes were sent to a final.
    ModifyFinal,
    /// `Upload-Concat` is malformed, or its parts are not fit for it.
    InvalidConcat,
    /// GET of an upload that is not finished.
    UploadNotFinished,
    /// A hook stopped the upload: it is deleted.
    UploadStopped,
    /// A hook rejected the upload.
    UploadRejected,
    /// A hook rejected the request.
    RequestRejected,
    /// A hook rejected the termination.
    TerminationRejected,
    /// The upload is not the one that `If-Match` names.
    PreconditionFailed,
    /// No byte of the asked-for range is there.
    RangeNotSatisfiable,
    /// `Upload-Concat` where concatenation is not available.
    ConcatenationUnsupported,
    /// `Upload-Checksum` names an algorithm that is not available.
    UnsupportedChecksum,
    /// `Upload-Checksum` is malformed, contradicts itself, or came too late.
    InvalidChecksum,
    /// The body is not what its checksum says.
    ChecksumMismatch,
    /// `Upload-Length` and `Upload-Defer-Length` together.
    AmbiguousUploadLength,
    /// `Upload-Defer-Length` is something other than 1.
    InvalidUploadLengthDefer,
    /// `Upload-Metadata` is malformed.
    InvalidMetadata,
    /// `Upload-Metadata` is larger than its limit.
    MetadataTooLarge,
    /// A newer request took the upload over.
    UploadInterrupted,
    /// The peer ended its side in the middle of the body.
    UnexpectedEof,
    /// The body stalled or came too slowly.
    ReadTimeout,
    /// The server is shutting down.
    ServerShutdown,
    /// The disk is full.
    InsufficientStorage,
    /// The store can't be reached, or lacks something that it will have again.
    StoreUnavailable,
    /// The address has created as many uploads as it may.
    TooManyRequests,
    /// The method is unknown, not for this URL, or disabled.
    MethodNotAllowed,
    /// The store or another part of the server failed.
    InternalServerError,
    /// No such path.
    NotFound,
    /// `X-HTTP-Method-Override` names no method, or several.
    InvalidMethodOverride,
    /// The head or the framing of the body is malformed.
    BadRequest,
    /// The request target alone is larger than the limit of a head.
    UriTooLong,
    /// The head is larger than its limit, or has too many fields.
    HeadTooLarge,
    /// The head was not complete in time.
    HeadTimeout,
    /// `Expect` asks for something other than `100-continue`.
    ExpectationFailed,
    /// A transfer coding other than chunked.
    UnknownCoding,
    /// The HTTP version is not 1.x.
    HttpVersion,
}

impl ErrorCode {
    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// Its name, as it stands first in the body of the answer.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// One sentence that says what is wrong, without any of the server's internals.
    pub const fn text(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::UnsupportedVersion => {
                (412, "ERR_UNSUPPORTED_VERSION", "this server speaks tus 1.0.0: send Tus-Resumable: 1.0.0")
            }
            Self::MaxSizeExceeded => {
                (413, "ERR_MAX_SIZE_EXCEEDED", "the upload is larger than this server allows")
            }
            Self::InvalidContentType => {
                (415, "ERR_INVALID_CONTENT_TYPE", "the Content-Type must be application/offset+octet-stream")
            }
            Self::InvalidUploadLength => (
                400,
                "ERR_INVALID_UPLOAD_LENGTH",
                "Upload-Length is missing, malformed, or contradicts what is stored",
            ),
            Self::InvalidOffset => (400, "ERR_INVALID_OFFSET", "Upload-Offset is missing or malformed"),
            Self::InvalidUploadComplete => (
                400,
                "ERR_INVALID_UPLOAD_COMPLETE",
                "Upload-Complete is missing or malformed: it must be ?0 or ?1",
            ),
            Self::InconsistentUploadLength => (
                400,
                "ERR_INCONSISTENT_UPLOAD_LENGTH",
                "Upload-Length, the content and the upload do not agree on the upload's length",
            ),
            Self::UploadNotFound => (404, "ERR_UPLOAD_NOT_FOUND", "there is no such upload"),
            Self::UploadExpired => (410, "ERR_UPLOAD_EXPIRED", "the upload has expired"),
            Self::UploadGone => (
                410,
                "ERR_UPLOAD_GONE",
                "the upload's data is not on the server any more: delete it and begin anew",
            ),
            Self::UploadLocked => {
                (423, "ERR_UPLOAD_LOCKED", "another request is at work on this upload: try again")
            }
            Self::MismatchedOffset => {
                (409, "ERR_MISMATCHED_OFFSET", "Upload-Offset differs from the upload's offset")
            }
            Self::UploadSizeExceeded => {
                (413, "ERR_UPLOAD_SIZE_EXCEEDED", "the body goes past the end of the upload")
            }
            Self::ChunkSizeExceeded => {
                (413, "ERR_CHUNK_SIZE_EXCEEDED", "the body is larger than this server allows for one request")
            }
            Self::UploadCompleted => (403, "ERR_UPLOAD_COMPLETED", "the upload is complete already"),
            Self::ModifyFinal => (403, "ERR_MODIFY_FINAL", "a final upload is made of its parts alone"),
            Self::InvalidConcat => {
                (400, "ERR_INVALID_CONCAT", "Upload-Concat is malformed, or its parts can't be concatenated")
            }
            Self::UploadNotFinished => (404, "ERR_UPLOAD_NOT_FINISHED", "the upload is not finished yet"),
            Self::UploadStopped => (400, "ERR_UPLOAD_STOPPED", "this server stopped and removed the upload"),
            Self::UploadRejected => (400, "ERR_UPLOAD_REJECTED", "this server does not accept the upload"),
            Self::RequestRejected => (403, "ERR_REQUEST_REJECTED", "this server does not accept the request"),
            Self::TerminationRejected => {
                (400, "ERR_UPLOAD_TERMINATION_REJECTED", "this server does not let the upload be removed")
            }
            Self::PreconditionFailed => {
                (412, "ERR_PRECONDITION_FAILED", "the upload is not the one that If-Match names")
            }
            Self::RangeNotSatisfiable => {
                (416, "ERR_RANGE_NOT_SATISFIABLE", "the upload has no byte in the range asked for")
            }
            Self::ConcatenationUnsupported => {
                (400, "ERR_CONCATENATION_UNSUPPORTED", "this server does not concatenate uploads")
            }
            Self::UnsupportedChecksum => {
                (400, "ERR_UNSUPPORTED_CHECKSUM", "the checksum algorithm is not available here")
            }
            Self::InvalidChecksum => {
                (400, "ERR_INVALID_CHECKSUM", "Upload-Checksum is malformed, missing or contradicts itself")
            }
            Self::ChecksumMismatch => {
                (460, "ERR_CHECKSUM_MISMATCH", "the body differs from its checksum: send it again")
            }
            Self::AmbiguousUploadLength => (
                400,
                "ERR_AMBIGUOUS_UPLOAD_LENGTH",
                "send either Upload-Length or Upload-Defer-Length, not both",
            ),
            Self::InvalidUploadLengthDefer => {
                (400, "ERR_INVALID_UPLOAD_LENGTH_DEFER", "Upload-Defer-Length must be 1")
            }
            Self::InvalidMetadata => (400, "ERR_INVALID_METADATA", "Upload-Metadata is malformed"),
            Self::MetadataTooLarge => {
                (400, "ERR_METADATA_TOO_LARGE", "Upload-Metadata is larger than this server allows")
            }
            Self::UploadInterrupted => (
                400,
                "ERR_UPLOAD_INTERRUPTED",
                "another request took over this upload: ask for its offset, then go on",
            ),
            Self::UnexpectedEof => {
                (400, "ERR_UNEXPECTED_EOF", "the connection was closed before the body was complete")
            }
            Self::ReadTimeout => (500, "ERR_READ_TIMEOUT", "the body came too slowly"),
            Self::ServerShutdown => (503, "ERR_SERVER_SHUTDOWN", "the server is shutting down: try again"),
            Self::InsufficientStorage => {
                (507, "ERR_INSUFFICIENT_STORAGE", "there is no space left for the upload")
            }
            Self::StoreUnavailable => {
                (503, "ERR_STORE_UNAVAILABLE", "uploads can't be stored or read at the moment: try again")
            }
            Self::TooManyRequests => (
                429,
                "ERR_TOO_MANY_REQUESTS",
                "too many uploads were created from this address: try again later",
            ),
            Self::MethodNotAllowed => (405, "ERR_METHOD_NOT_ALLOWED", "the method is not allowed here"),
            Self::InternalServerError => {
                (500, "ERR_INTERNAL_SERVER_ERROR", "the server could not carry the request out")
            }
            Self::NotFound => (404, "ERR_NOT_FOUND", "there is nothing at this address"),
            Self::InvalidMethodOverride => {
                (400, "ERR_INVALID_METHOD_OVERRIDE", "X-HTTP-Method-Override must be the name of one method")
            }
            Self::BadRequest => (400, "ERR_BAD_REQUEST", "the request is malformed"),
            Self::UriTooLong => (414, "ERR_URI_TOO_LONG", "the request target is too long"),
            Self::HeadTooLarge => (431, "ERR_HEAD_TOO_LARGE", "the request's head is too large"),
            Self::HeadTimeout => (408, "ERR_HEAD_TIMEOUT", "the request's head was not complete in time"),
            Self::ExpectationFailed => {
                (417, "ERR_EXPECTATION_FAILED", "the only expectation known here is 100-continue")
            }
            Self::UnknownCoding => (501, "ERR_UNKNOWN_CODING", "the transfer coding is not implemented"),
            Self::HttpVersion => (505, "ERR_HTTP_VERSION", "this server speaks HTTP/1.1"),
        }
    }
}
