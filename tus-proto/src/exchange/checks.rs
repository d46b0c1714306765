//! The checks that need nothing but the head, in their order: path and method override, behind which
//! `on_incoming_request` has its turn ([`Address`]), then version, method, header syntax, expectation. What
//! passes is a [`Request`] of typed values.

use alloc::{format, string::String};

use super::{answer, concat::Parts, download::Download};
use crate::{
    Code, Concat, Config, Framing, Head, UploadId,
    config::Location,
    header::{
        Checksums, Conditions, UploadConcat, external_origin, is_offset_octet_stream, joined_metadata,
        members, number, single,
    },
};

/// A request as the rest of the exchange sees it.
#[derive(Debug)]
pub(super) enum Request {
    Create(Creation),
    Concat(Assembly),
    Look(UploadId),
    Download(Download),
    Write(Patch),
    Terminate(UploadId),
}

/// A POST to the collection, of anything but a final.
#[derive(Debug)]
pub(super) struct Creation {
    /// The length; none where it is deferred.
    pub length: Option<u64>,
    pub metadata: String,
    pub checksums: Checksums,
    /// Whether the body holds the upload's first bytes.
    pub with_upload: bool,
    /// What `Location` has before the id.
    pub location: String,
    /// Whether it is a part of a concatenation.
    pub concat: Option<Concat>,
}

/// A POST of a final. What it says of a length is ignored: the parts decide.
#[derive(Debug)]
pub(super) struct Assembly {
    /// `Upload-Concat` as it was sent.
    pub value: String,
    pub parts: Parts,
    pub metadata: String,
    /// What `Location` has before the id.
    pub location: String,
}

/// A PATCH.
#[derive(Debug)]
pub(super) struct Patch {
    pub id: UploadId,
    pub offset: u64,
    /// `Upload-Length`, where it came with this request.
    pub length: Option<u64>,
    pub checksums: Checksums,
}

/// A request that is refused by its head alone.
#[derive(Debug)]
pub(super) struct Refusal {
    pub code: Code,
    /// The methods to name in `Allow`, with a 405.
    pub allow: &'static str,
    /// Whether the answer is to a HEAD, and so has no body.
    pub to_head: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Options,
    Head,
    Get,
    Post,
    Patch,
    Delete,
    Other,
}

impl Method {
    fn named(name: &str) -> Self {
        match name {
            "OPTIONS" => Self::Options,
            "HEAD" => Self::Head,
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }

    /// None where only the head knows it.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Options => Some("OPTIONS"),
            Self::Head => Some("HEAD"),
            Self::Get => Some("GET"),
            Self::Post => Some("POST"),
            Self::Patch => Some("PATCH"),
            Self::Delete => Some("DELETE"),
            Self::Other => None,
        }
    }
}

/// What a request target names.
enum Place {
    /// `*`: the server as a whole.
    Server,
    Collection,
    Upload(UploadId),
}

/// What a request wants of what: all that must be known before hooks may see it.
pub(super) struct Address {
    place: Place,
    method: Method,
}

impl Address {
    /// The upload that the target names.
    pub(super) fn id(&self) -> Option<&UploadId> {
        match &self.place {
            Place::Upload(id) => Some(id),
            Place::Server | Place::Collection => None,
        }
    }

    /// The name of the method that counts.
    pub(super) fn method<'a>(&self, head: &Head<'a>) -> &'a str {
        self.method.name().unwrap_or(head.method)
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == Method::Head
    }

    pub(super) fn is_options(&self) -> bool {
        self.method == Method::Options
    }
}

fn refuse(code: Code, method: Method) -> Refusal {
    Refusal { code, allow: "", to_head: method == Method::Head }
}

/// Reads path and method.
pub(super) fn address(config: &Config, head: &Head<'_>) -> Result<Address, Refusal> {
    let actual = Method::named(head.method);
    let place = place(config, head.target).map_err(|code| refuse(code, actual))?;
    let method = match actual {
        Method::Options => Method::Options,
        _ => overridden(head, actual).map_err(|code| refuse(code, actual))?,
    };
    Ok(Address { place, method })
}

/// Checks the rest of the head.
pub(super) fn check(config: &Config, head: &Head<'_>, address: Address) -> Result<Request, Refusal> {
    let Address { place, method } = address;
    if method != Method::Get && !matches!(single(head, "Tus-Resumable"), Ok(Some(b"1.0.0"))) {
        return Err(refuse(Code::UnsupportedVersion, method));
    }
    let not_allowed = |allow| Refusal { allow, ..refuse(Code::MethodNotAllowed, method) };
    let typed = match (place, method) {
        (Place::Collection, Method::Post) => posted(config, head),
        (Place::Upload(id), Method::Head) => Ok(Request::Look(id)),
        (Place::Upload(id), Method::Patch) => patch(config, head, id).map(Request::Write),
        (Place::Upload(id), Method::Delete) if config.termination => Ok(Request::Terminate(id)),
        (Place::Upload(id), Method::Get) if config.downloads => {
            Ok(Request::Download(Download { id, conditions: Conditions::of(head) }))
        }
        (Place::Upload(_), _) => return Err(not_allowed(answer::upload_methods(config))),
        (Place::Collection, _) => return Err(not_allowed("OPTIONS, POST")),
        (Place::Server, _) => return Err(not_allowed("OPTIONS")),
    };
    // RFC 9110 section 10.1.1: what can't be met is said before anything is done.
    let expected = members(head, "Expect").all(|value| value.eq_ignore_ascii_case(b"100-continue"));
    let typed = if expected { typed } else { typed.and(Err(Code::ExpectationFailed)) };
    typed.map_err(|code| refuse(code, method))
}

/// What the target names. Every form of RFC 9112 section 3.2 is understood; a query is ignored.
fn place(config: &Config, target: &str) -> Result<Place, Code> {
    if target == "*" {
        return Ok(Place::Server);
    }
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = match path.split_once("://") {
        Some((_, rest)) if !path.starts_with('/') => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => path,
    };
    let below = path.strip_prefix(&config.base_path).ok_or(Code::NotFound)?;
    match below.strip_prefix('/') {
        None if below.is_empty() => Ok(Place::Collection),
        None => Err(Code::NotFound),
        Some("") => Ok(Place::Collection),
        Some(id) => UploadId::new(id).map(Place::Upload).ok_or(Code::UploadNotFound),
    }
}

/// The method after `X-HTTP-Method-Override`: tus asks that the actual method be ignored then. Some clients
/// write it in other cases of letters.
fn overridden(head: &Head<'_>, actual: Method) -> Result<Method, Code> {
    match single(head, "X-HTTP-Method-Override") {
        Ok(None) => Ok(actual),
        Ok(Some(name)) => {
            let known = ["PATCH", "DELETE", "HEAD", "POST"];
            let name = known.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            name.map(Method::named).ok_or(Code::InvalidMethodOverride)
        }
        Err(_) => Err(Code::InvalidMethodOverride),
    }
}

fn posted(config: &Config, head: &Head<'_>) -> Result<Request, Code> {
    if !config.concatenation && head.values("Upload-Concat").next().is_some() {
        return Err(Code::ConcatenationUnsupported);
    }
    let concat = match UploadConcat::of(head, &config.base_path, config.max_parts)? {
        Some(UploadConcat::Final { value, parts }) => {
            let (metadata, location) = (joined_metadata(head)?, location(config, head));
            let parts = Parts::new(parts);
            return Ok(Request::Concat(Assembly { value, parts, metadata, location }));
        }
        Some(UploadConcat::Partial) => Some(Concat::Partial),
        None => None,
    };
    creation(config, head, concat).map(Request::Create)
}

fn creation(config: &Config, head: &Head<'_>, concat: Option<Concat>) -> Result<Creation, Code> {
    let length = upload_length(head)?;
    let length = match single(head, "Upload-Defer-Length") {
        Ok(None) => Some(length.ok_or(Code::InvalidUploadLength)?),
        Ok(Some(b"1")) if length.is_none() => None,
        Ok(Some(b"1")) => return Err(Code::AmbiguousUploadLength),
        _ => return Err(Code::InvalidUploadLengthDefer),
    };
    let metadata = joined_metadata(head)?;
    let with_upload = head.framing != Framing::Length(0) && has_upload_type(head);
    let checksums =
        if with_upload { Checksums::of(head, &config.checksum_algorithms)? } else { Checksums::default() };
    let location = location(config, head);
    Ok(Creation { length, metadata, checksums, with_upload, location, concat })
}

fn patch(config: &Config, head: &Head<'_>, id: UploadId) -> Result<Patch, Code> {
    if !has_upload_type(head) {
        return Err(Code::InvalidContentType);
    }
    let offset = single(head, "Upload-Offset").ok().flatten().and_then(number).ok_or(Code::InvalidOffset)?;
    let length = upload_length(head)?;
    let checksums = Checksums::of(head, &config.checksum_algorithms)?;
    Ok(Patch { id, offset, length, checksums })
}

fn upload_length(head: &Head<'_>) -> Result<Option<u64>, Code> {
    let value = single(head, "Upload-Length").map_err(|_| Code::InvalidUploadLength)?;
    value.map(|value| number(value).ok_or(Code::InvalidUploadLength)).transpose()
}

fn has_upload_type(head: &Head<'_>) -> bool {
    matches!(single(head, "Content-Type"), Ok(Some(value)) if is_offset_octet_stream(value))
}

fn location(config: &Config, head: &Head<'_>) -> String {
    match &config.location {
        Location::Under(url) => format!("{url}/"),
        Location::Relative => format!("{}/", config.base_path),
        Location::BehindProxy => {
            format!("{}{}/", external_origin(head).unwrap_or_default(), config.base_path)
        }
    }
}
