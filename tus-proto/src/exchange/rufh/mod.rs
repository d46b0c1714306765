//! The IETF's resumable uploads (draft-ietf-httpbis-resumable-upload) on the same uploads as tus 1.0.0. It has no states
//! of its own: a request of this protocol goes the same way through the [`Exchange`](super::Exchange), which asks here
//! where the two differ.
//!
//! - `structured`: structured fields; `version`: what differs between the drafts; `metadata`, `digest`: more fields.
//! - `request`: which protocol a request speaks, and what it says in this one.
//! - `retrieve`: offset retrieval; `append`: appends, completion, uploads that are invalid for good.
//! - `answer`, `problem`: final answers; `interim`: those before them.

mod answer;
mod append;
mod digest;
mod interim;
mod metadata;
mod problem;
mod request;
mod retrieve;
mod structured;
mod version;

pub(super) use answer::limits;
pub(super) use request::check;

use alloc::boxed::Box;

use self::version::Version;
use crate::{Algorithm, Digest, ErrorCode, header::Checksum};

/// What a request of this protocol says, and what the exchange has learnt that its answer needs.
#[derive(Debug)]
pub(super) struct Rufh {
    version: &'static Version,
    /// The request names its version, and so may get interim answers.
    named: bool,
    /// Nothing in the request tells which protocol it speaks: it is that which began the upload.
    undecided: bool,
    /// The request brings content: each answer to it tells whether the upload is complete.
    transfers: bool,
    /// Its answer has no body: it is a HEAD.
    to_head: bool,
    /// What is wrong with an undecided request, if it turns out to be of this protocol.
    rejected: Option<ErrorCode>,
    /// The upload is complete with this request.
    completes: bool,
    /// The upload's length, from the request and, once it is known, from the upload.
    length: Option<u64>,
    /// `Upload-Offset` of an append.
    offset: u64,
    /// What the whole upload must hash to.
    expected: Option<Box<Checksum>>,
    /// The algorithm with which the client wants the whole upload hashed.
    wanted: Option<Algorithm>,
    /// The digest of the whole upload.
    digest: Option<Box<Digest>>,
    /// The upload is complete.
    finished: bool,
}

impl Rufh {
    /// The upload has become complete.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// With which algorithm the whole upload must be hashed before it is complete.
    fn unhashed(&self) -> Option<Algorithm> {
        let algorithm = self.expected.as_ref().map(|expected| expected.algorithm).or(self.wanted);
        algorithm.filter(|_| self.digest.is_none())
    }
}
