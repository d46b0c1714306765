//! What requests ask for, as data: the checks make it of a head, and the rest of the exchange works by it.

use alloc::{string::String, vec::Vec};

use crate::{
    Concat, ErrorCode, Part, Record, UploadId,
    header::{Checksums, Conditions, IfMatch},
};

/// A request as the rest of the exchange sees it.
#[derive(Debug)]
pub(super) enum Request {
    Create(CreateRequest),
    Concat(ConcatRequest),
    Head(UploadId),
    Download(Download),
    Write(PatchRequest),
    Terminate(TerminateRequest),
}

/// A POST to the collection, of anything but a final.
#[derive(Debug)]
pub(super) struct CreateRequest {
    /// The length; `None` if it is deferred.
    pub length: Option<u64>,
    pub metadata: String,
    pub checksums: Checksums,
    /// Whether the body holds the upload's first bytes.
    pub with_upload: bool,
    /// Whether the client waits for `100 Continue` before it sends them.
    pub waits: bool,
    /// What `Location` has before the id.
    pub location: String,
    /// Whether it is a part of a concatenation.
    pub concat: Option<Concat>,
}

/// A POST of a final. What it says of a length is ignored: the parts decide.
#[derive(Debug)]
pub(super) struct ConcatRequest {
    /// `Upload-Concat` as it was sent.
    pub value: String,
    pub parts: Parts,
    pub metadata: String,
    /// What `Location` has before the id.
    pub location: String,
}

/// A PATCH.
#[derive(Debug)]
pub(super) struct PatchRequest {
    pub id: UploadId,
    pub offset: u64,
    /// `Upload-Length`, where it came with this request.
    pub length: Option<u64>,
    pub checksums: Checksums,
    pub if_match: IfMatch,
}

/// A DELETE.
#[derive(Debug)]
pub(super) struct TerminateRequest {
    pub id: UploadId,
    pub if_match: IfMatch,
    /// Its time was over when it was looked at: its writer may only be late to renew it.
    pub late: bool,
}

/// A request that is rejected by its head alone.
#[derive(Debug)]
pub(super) struct HeadRejection {
    pub code: ErrorCode,
    /// The methods to name in `Allow`, with a 405.
    pub allow: &'static str,
    /// Whether the answer is to a HEAD, and so has no body.
    pub to_head: bool,
}

/// The parts that a final is to be made of, and what the store has said of them where a hook is to see it.
#[derive(Debug)]
pub(super) struct Parts {
    pub ids: Vec<UploadId>,
    /// The records of the first ones, or of all. Empty if no hook is to see them.
    seen: Vec<Option<Record>>,
}

impl Parts {
    pub(super) fn new(ids: Vec<UploadId>) -> Self {
        Self { ids, seen: Vec::new() }
    }

    /// The next one whose record is to be read; `None` once all were.
    pub(super) fn unseen(&self) -> Option<&UploadId> {
        self.ids.get(self.seen.len())
    }

    /// Takes the answer about [`unseen`](Self::unseen).
    pub(super) fn see(&mut self, upload: Option<Record>) {
        self.seen.push(upload);
    }

    /// Whether one of those that were read is not there.
    pub(super) fn lacks(&self) -> bool {
        self.seen.iter().any(Option::is_none)
    }

    pub(super) fn seen(&self) -> Vec<Part> {
        let seen = self.ids.iter().zip(&self.seen);
        seen.map(|(id, upload)| Part { id: id.clone(), upload: upload.clone() }).collect()
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.seen.iter().flatten().cloned().collect()
    }
}

/// A GET of an upload, or a HEAD that asks for the same.
#[derive(Debug)]
pub(super) struct Download {
    pub id: UploadId,
    pub conditions: Conditions,
    pub part: Wanted,
    /// The writer was asked to commit: its reply says whether the upload's time is over.
    pub awaited: bool,
    /// It has a writer: its time is not over.
    pub written: bool,
}

impl Download {
    pub(super) fn new(id: UploadId, conditions: Conditions, part: Wanted) -> Self {
        Self { id, conditions, part, awaited: false, written: false }
    }
}

/// How much of the answer to a GET is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    /// The head, with the length of the body that is left out.
    Head,
    /// The head, for a HEAD by method override: the message's framing does not know that no body follows.
    BareHead,
}
