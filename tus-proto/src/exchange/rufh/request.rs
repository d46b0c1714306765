//! Which protocol a request speaks, and what it says in this one.

use alloc::boxed::Box;

use super::{Rufh, digest, metadata, structured, version::Version};
use crate::{
    Config, ErrorCode, Framing, Head, UploadId,
    exchange::{
        checks::{self, Address, Method, Place},
        request::{CreateRequest, HeadRejection, PatchRequest, Request, TerminateRequest},
    },
    header::{Checksums, IfMatch, single},
};

/// Fields that only tus 1.0.0 has.
const OF_TUS: [&str; 4] = ["Upload-Metadata", "Upload-Concat", "Upload-Defer-Length", "Upload-Checksum"];

/// The methods that create uploads.
const CREATING: &str = "OPTIONS, POST, PUT, PATCH";

/// Reads a request that does not say `Tus-Resumable: 1.0.0`. `None` if it is one of tus 1.0.0 all the same.
pub(in super::super) fn check(
    config: &Config,
    head: &Head<'_>,
    address: &Address<'_>,
) -> Option<(Box<Rufh>, Result<Request, HeadRejection>)> {
    if has(head, "Tus-Resumable") {
        return None;
    }
    let Some((mut rufh, completes)) = spoken(head) else { return undecided(config, head, address) };
    rufh.to_head = address.method == Method::Head;
    let request = read(config, head, address, &mut rufh, completes);
    Some((rufh, request))
}

fn has(head: &Head<'_>, name: &str) -> bool {
    head.values(name).next().is_some()
}

fn content_type<'a>(head: &Head<'a>) -> Option<&'a [u8]> {
    single(head, "Content-Type").ok().flatten()
}

/// What a request says that shows itself to be of this protocol, and whether it completes the upload.
fn spoken(head: &Head<'_>) -> Option<(Box<Rufh>, Option<bool>)> {
    const VERSION: &str = "Upload-Draft-Interop-Version";
    let (complete, incomplete) = (has(head, "Upload-Complete"), has(head, "Upload-Incomplete"));
    let partial = content_type(head).is_some_and(metadata::is_partial_upload);
    if !(complete || incomplete || partial || has(head, VERSION)) {
        return None;
    }
    let named = structured::integer(head, VERSION).and_then(Version::numbered);
    let unnamed = if incomplete && !complete { Version::oldest() } else { Version::newest() };
    let rufh = new(named.unwrap_or(unnamed), named.is_some());
    let field = rufh.version.completion;
    let completes = structured::boolean(head, field.field()).map(|value| field.translate(value));
    Some((rufh, completes))
}

pub(super) fn new(version: &'static Version, named: bool) -> Box<Rufh> {
    Box::new(Rufh {
        version,
        named,
        undecided: false,
        transfers: false,
        to_head: false,
        rejected: None,
        completes: false,
        length: None,
        offset: 0,
        expected: None,
        wanted: None,
        digest: None,
        finished: false,
    })
}

/// A request about an upload that says nothing of either protocol.
fn undecided(
    config: &Config,
    head: &Head<'_>,
    address: &Address<'_>,
) -> Option<(Box<Rufh>, Result<Request, HeadRejection>)> {
    let Place::Upload(id) = &address.place else { return None };
    let of_tus = OF_TUS.iter().any(|name| has(head, name)) || checks::has_upload_type(head);
    if of_tus || !checks::expects_what_is_known(head) {
        return None;
    }
    let mut rufh = new(Version::newest(), false);
    rufh.to_head = address.method == Method::Head;
    rufh.undecided = true;
    let id = id.clone();
    let request = match address.method {
        Method::Head | Method::Get if config.downloads => {
            checks::download(head, id, address.method == Method::Head)
        }
        Method::Head | Method::Get => Request::Head(id),
        Method::Delete if config.termination => {
            Request::Terminate(TerminateRequest { id, if_match: IfMatch::of(head), late: false })
        }
        Method::Patch if has(head, "Upload-Offset") => {
            // It lacks the content type, and the word whether the upload is complete with it.
            rufh.rejected = append(config, head, &id, &mut rufh, None).err();
            let (offset, length, checksums) = (rufh.offset, None, Checksums::default());
            Request::Write(PatchRequest { id, offset, length, checksums, if_match: IfMatch::of(head) })
        }
        _ => return None,
    };
    Some((rufh, Ok(request)))
}

fn read(
    config: &Config,
    head: &Head<'_>,
    address: &Address<'_>,
    rufh: &mut Rufh,
    completes: Option<bool>,
) -> Result<Request, HeadRejection> {
    let (place, method) = (&address.place, address.method);
    let to_head = method == Method::Head;
    let reject = |code| HeadRejection { code, allow: "", to_head };
    let not_allowed = |allow| Err(HeadRejection { allow, ..reject(ErrorCode::MethodNotAllowed) });
    let typed = match (place, method) {
        (Place::Collection, Method::Post | Method::Patch) => create(config, head, rufh, completes),
        (Place::Collection, _) if address.method() == "PUT" => create(config, head, rufh, completes),
        (Place::Upload(id), Method::Head | Method::Get) => {
            is_bare(head, rufh).map(|()| Request::Head(id.clone()))
        }
        (Place::Upload(id), Method::Patch) => append(config, head, id, rufh, completes),
        (Place::Upload(id), Method::Delete) if config.termination => is_bare(head, rufh).map(|()| {
            Request::Terminate(TerminateRequest { id: id.clone(), if_match: IfMatch::of(head), late: false })
        }),
        (Place::Upload(_), _) if config.termination => {
            return not_allowed("OPTIONS, HEAD, GET, PATCH, DELETE");
        }
        (Place::Upload(_), _) => return not_allowed("OPTIONS, HEAD, GET, PATCH"),
        (Place::Collection, _) => return not_allowed(CREATING),
        (Place::Server, _) => return not_allowed("OPTIONS"),
    };
    let expected = checks::expects_what_is_known(head);
    let typed = if expected { typed } else { typed.and(Err(ErrorCode::ExpectationFailed)) };
    typed.map_err(reject)
}

/// Versions whose HEAD and DELETE have no field of an upload.
fn is_bare(head: &Head<'_>, rufh: &Rufh) -> Result<(), ErrorCode> {
    let fields = ["Upload-Offset", rufh.version.completion.field()];
    match rufh.version.bare_requests && fields.iter().any(|name| has(head, name)) {
        true => Err(ErrorCode::BadRequest),
        false => Ok(()),
    }
}

fn create(
    config: &Config,
    head: &Head<'_>,
    rufh: &mut Rufh,
    completes: Option<bool>,
) -> Result<Request, ErrorCode> {
    rufh.transfers = true;
    rufh.completes = completes.ok_or(ErrorCode::InvalidUploadComplete)?;
    rufh.length = claimed(config, head, rufh.completes, 0)?;
    let metadata = metadata::of(head, config.max_metadata)?;
    let with_upload = head.framing != Framing::Length(0);
    let checksums = content_digest(config, head)?;
    read_whole_digests(config, head, rufh);
    if rufh.completes && !with_upload && rufh.expected.as_ref().is_some_and(|whole| !whole.matches_nothing())
    {
        return Err(ErrorCode::ChecksumMismatch);
    }
    let location = checks::location(config, head);
    let length = rufh.length;
    let waits = false;
    let concat = None;
    Ok(Request::Create(CreateRequest { length, metadata, checksums, with_upload, waits, location, concat }))
}

fn append(
    config: &Config,
    head: &Head<'_>,
    id: &UploadId,
    rufh: &mut Rufh,
    completes: Option<bool>,
) -> Result<Request, ErrorCode> {
    rufh.transfers = true;
    if rufh.version.typed_append && !content_type(head).is_some_and(metadata::is_partial_upload) {
        return Err(ErrorCode::InvalidContentType);
    }
    rufh.offset = structured::integer(head, "Upload-Offset").ok_or(ErrorCode::InvalidOffset)?;
    rufh.completes = completes.ok_or(ErrorCode::InvalidUploadComplete)?;
    rufh.length = claimed(config, head, rufh.completes, rufh.offset)?;
    let checksums = content_digest(config, head)?;
    read_whole_digests(config, head, rufh);
    let (id, offset, length) = (id.clone(), rufh.offset, None);
    Ok(Request::Write(PatchRequest { id, offset, length, checksums, if_match: IfMatch::of(head) }))
}

/// The upload's length, as far as a request tells it: by `Upload-Length`, and by where its body ends if that completes the
/// upload. The limits come before lengths that contradict each other: the client is to learn them, and the upload stays
/// valid.
fn claimed(config: &Config, head: &Head<'_>, completes: bool, offset: u64) -> Result<Option<u64>, ErrorCode> {
    let length = structured::integer(head, "Upload-Length");
    let body = match head.framing {
        Framing::Length(bytes) => Some(bytes),
        Framing::Chunked => None,
    };
    let end = body.filter(|_| completes).map(|bytes| offset.saturating_add(bytes));
    let exceeds =
        |max: Option<u64>, bytes: Option<u64>| max.is_some_and(|max| bytes.is_some_and(|b| b > max));
    if exceeds(config.max_size(), length.max(end)) {
        return Err(ErrorCode::MaxSizeExceeded);
    }
    if exceeds(config.max_chunk_size(), body) {
        return Err(ErrorCode::ChunkSizeExceeded);
    }
    match (length, end) {
        (Some(length), Some(end)) if length != end => Err(ErrorCode::InconsistentUploadLength),
        (length, end) => Ok(length.or(end)),
    }
}

fn content_digest(config: &Config, head: &Head<'_>) -> Result<Checksums, ErrorCode> {
    let header = digest::of(head, "Content-Digest", &config.checksum_algorithms);
    let empty = head.framing == Framing::Length(0);
    if empty && header.as_ref().is_some_and(|digest| !digest.matches_nothing()) {
        return Err(ErrorCode::ChecksumMismatch);
    }
    Ok(Checksums { header, announced: false })
}

fn read_whole_digests(config: &Config, head: &Head<'_>, rufh: &mut Rufh) {
    rufh.expected = digest::of(head, "Repr-Digest", &config.checksum_algorithms);
    rufh.wanted = digest::wanted(head, &config.checksum_algorithms);
}
