//! What hooks are shown: requests, uploads, and what is about to become of them.

use std::{
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tus_proto::{Record, RequestInfo, Target, UploadId};

use super::{Amend, Metadata};

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a>(pub(super) &'a RequestInfo);

impl<'a> Request<'a> {
    /// The method, after `X-HTTP-Method-Override`.
    pub fn method(&self) -> &'a str {
        &self.0.method
    }

    /// The method as it was sent.
    pub fn sent_method(&self) -> &'a str {
        &self.0.sent_method
    }

    /// The address that the connection comes from; behind a proxy, the proxy's. `None` if the runtime does not
    /// know it, or shows it to no hook.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.0.remote
    }

    /// The target as it was sent, with a query if it has one.
    pub fn target(&self) -> &'a str {
        &self.0.target
    }

    /// The path of the target, as the server itself understands it: without the query, and without scheme and host
    /// where the target is a whole URL.
    pub fn path(&self) -> &'a str {
        Target::of(self.target()).path()
    }

    /// The first header of this name, compared without case, where it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.0.field(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// All headers in their order, names in any case.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.0.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

/// An upload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// Its metadata.
    pub metadata: Metadata,
    /// How many bytes are there.
    pub offset: u64,
    /// How many bytes it will have; `None` while that is not known.
    pub length: Option<u64>,
    /// When it was created.
    pub created: SystemTime,
    /// Whether it is a part, to become a piece of finals.
    pub is_partial: bool,
    /// Whether it is a final, made of parts.
    pub is_final: bool,
    request: Option<Arc<RequestInfo>>,
}

impl Upload {
    /// After the fact: the request that made the event true. `None` before the fact, where the request is shown by
    /// itself; if the hooks have not asked for it ([`Hooks::with_requests`](super::Hooks::with_requests),
    /// [`AsyncHooks::wants_requests`](super::AsyncHooks::wants_requests)); and if the process has ended in between, or
    /// thousands of events were made meanwhile.
    pub fn request(&self) -> Option<Request<'_>> {
        self.request.as_deref().map(Request)
    }

    pub(super) fn with_request(self, request: Option<Arc<RequestInfo>>) -> Self {
        Self { request, ..self }
    }
}

impl From<Record> for Upload {
    fn from(record: Record) -> Self {
        Self {
            metadata: Metadata::parse(&record.metadata),
            offset: record.offset,
            length: record.length,
            created: UNIX_EPOCH + Duration::from_micros(record.created.as_micros()),
            is_partial: record.is_partial(),
            is_final: record.is_final(),
            id: record.id,
            request: None,
        }
    }
}

/// A request before anything is done with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Incoming<'a> {
    /// The request.
    pub request: Request<'a>,
    /// The id that its target names; none for the collection, where uploads are created.
    pub id: Option<&'a UploadId>,
    /// The upload of that id, as it is committed; `None` if there is none, or it is gone.
    pub upload: Option<Upload>,
    /// If the request is for a final: its parts, in order.
    pub parts: Vec<Part>,
}

impl Incoming<'_> {
    /// Every upload that the request wants something of: the one that its target names, and all parts of a final.
    /// Who may not use one of them may not make the request.
    pub fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.upload.iter().chain(self.parts.iter().filter_map(|part| part.upload.as_ref()))
    }
}

/// A part of a final that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Its id.
    pub id: UploadId,
    /// The upload of that id, as it is committed; `None` if there is none, or not any more. Then the final is
    /// rejected after the hook: no part that a hook has not seen is ever used.
    pub upload: Option<Upload>,
}

impl From<tus_proto::Part> for Part {
    fn from(part: tus_proto::Part) -> Self {
        Self { id: part.id, upload: part.upload.map(Upload::from) }
    }
}

/// An upload that is about to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Creation<'a> {
    /// The request.
    pub request: Request<'a>,
    /// The upload as it would be.
    pub upload: Upload,
    /// Of a final: its parts, in order. All of them are there.
    pub parts: Vec<Upload>,
}

/// Bytes that have come and are about to be committed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Chunk<'a> {
    /// The request that brought them.
    pub request: Request<'a>,
    /// The upload's id.
    pub id: &'a UploadId,
    /// How many bytes the upload will have then.
    pub offset: u64,
    /// How many it is to have in the end; `None` while that is not known.
    pub length: Option<u64>,
}

/// What a hook wants to be otherwise about an upload that is about to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub(super) metadata: Option<Metadata>,
    pub(super) id: Option<UploadId>,
    pub(super) response: Amend,
}

impl Changes {
    /// Nothing: the upload is made as it is.
    pub fn none() -> Self {
        Self::default()
    }

    /// Replaces the metadata, all of it.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Adds to the answer, if the request succeeds.
    pub fn response(mut self, response: Amend) -> Self {
        self.response = response;
        self
    }

    /// Chooses the id. One that is taken, or was, is an error of the hook's: 500.
    pub fn id(mut self, id: UploadId) -> Self {
        self.id = Some(id);
        self
    }
}

/// A file of the store that holds bytes of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes from its first on are the upload's. What may be after them is garbage.
    pub length: u64,
}

impl DataFile {
    /// Opens it, to read exactly the upload's bytes.
    ///
    /// # Errors
    /// The environment's: the upload was deleted in the meantime, or the disk fails.
    pub fn open(&self) -> io::Result<impl Read + use<>> {
        Ok(File::open(&self.path)?.take(self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_by_path_can_not_be_walked_around() {
        for target in ["/files/a", "/files/a?b=/c", "http://any/files/a", "HTTPS://any:1/files/a?/d"] {
            let info = RequestInfo { target: target.into(), ..RequestInfo::default() };
            assert_eq!((Request(&info).path(), Request(&info).target()), ("/files/a", target));
        }
    }
}
