//! The checks that need nothing but the head, in their order: path and method override, behind which
//! `on_incoming_request` has its turn ([`Address`]), then version, method, header syntax, expectation. What
//! passes is a [`Request`] of typed values.

use alloc::{boxed::Box, format, string::String};

use super::{
    answer,
    request::{
        ConcatRequest, CreateRequest, Download, HeadRejection, Parts, PatchRequest, Request,
        TerminateRequest, Wanted,
    },
    rufh::{self, Rufh},
};
use crate::{
    Concat, Config, ErrorCode, Framing, Head, Locations, MethodOverride, Target, TargetForm, UploadId,
    config::Location,
    header::{
        Checksums, Conditions, IfMatch, UploadConcat, direct_origin, external_origin, is_offset_octet_stream,
        is_token, joined_metadata, members, number, shows_proxy, single,
    },
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Options,
    Head,
    Get,
    Post,
    Patch,
    Delete,
    Other,
}

impl Method {
    const KNOWN: [(&'static str, Self); 6] = [
        ("OPTIONS", Self::Options),
        ("HEAD", Self::Head),
        ("GET", Self::Get),
        ("POST", Self::Post),
        ("PATCH", Self::Patch),
        ("DELETE", Self::Delete),
    ];

    fn named(name: &str) -> Self {
        Self::KNOWN.iter().find(|(known, _)| *known == name).map_or(Self::Other, |(_, method)| *method)
    }
}

/// What a request target names.
pub(super) enum Place {
    /// `*`: the server as a whole.
    Server,
    Collection,
    Upload(UploadId),
}

/// What a request wants of what: all that must be known before hooks may see it.
pub(super) struct Address<'a> {
    pub(super) place: Place,
    pub(super) method: Method,
    /// The method's name.
    name: &'a str,
}

impl<'a> Address<'a> {
    /// The upload that the target names.
    pub(super) fn id(&self) -> Option<&UploadId> {
        match &self.place {
            Place::Upload(id) => Some(id),
            Place::Server | Place::Collection => None,
        }
    }

    /// The name of the method that counts.
    pub(super) fn method(&self) -> &'a str {
        self.name
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == Method::Head
    }

    pub(super) fn is_options(&self) -> bool {
        self.method == Method::Options
    }
}

fn reject(code: ErrorCode, to_head: bool) -> HeadRejection {
    HeadRejection { code, allow: "", to_head }
}

/// Reads path and method.
pub(super) fn address<'a>(config: &Config, head: &Head<'a>) -> Result<Address<'a>, HeadRejection> {
    let actual = Method::named(head.method);
    let refused = |code| reject(code, actual == Method::Head);
    let place = place(config, &Target::of(head.target)).map_err(refused)?;
    let (method, name) = method(config, head, actual).map_err(refused)?;
    Ok(Address { place, method, name })
}

/// Checks the rest of the head. `rufh` is what it says in the IETF's protocol, if it speaks that.
pub(super) fn check(
    config: &Config,
    head: &Head<'_>,
    address: Address<'_>,
    rufh: &mut Option<Box<Rufh>>,
) -> Result<Request, HeadRejection> {
    let tus = matches!(single(head, "Tus-Resumable"), Ok(Some(b"1.0.0")));
    if !tus
        && config.rufh
        && let Some((spoken, checked)) = rufh::check(config, head, &address)
    {
        *rufh = Some(spoken);
        return checked;
    }
    let Address { place, method, .. } = address;
    let to_head = method == Method::Head;
    // Where uploads can be downloaded, a HEAD that says nothing of tus asks what a GET would be answered (RFC 9110
    // section 9.3.2).
    let of_get = to_head && config.downloads && head.values("Tus-Resumable").next().is_none();
    let method = if of_get { Method::Get } else { method };
    if method != Method::Get && !tus {
        return Err(reject(ErrorCode::UnsupportedVersion, to_head));
    }
    let not_allowed = |allow| HeadRejection { allow, ..reject(ErrorCode::MethodNotAllowed, to_head) };
    let typed = match (place, method) {
        (Place::Collection, Method::Post) => posted(config, head),
        (Place::Upload(id), Method::Head) => Ok(Request::Head(id)),
        (Place::Upload(id), Method::Patch) => patch(config, head, id).map(Request::Write),
        (Place::Upload(id), Method::Delete) if config.termination => {
            Ok(Request::Terminate(TerminateRequest { id, if_match: IfMatch::of(head), late: false }))
        }
        (Place::Upload(id), Method::Get) if config.downloads => Ok(download(head, id, to_head)),
        (Place::Upload(_), _) => return Err(not_allowed(answer::upload_methods(config))),
        (Place::Collection, _) => return Err(not_allowed("OPTIONS, POST")),
        (Place::Server, _) => return Err(not_allowed("OPTIONS")),
    };
    // RFC 9110 section 10.1.1: what can't be met is said before anything is done.
    let expected = expects_what_is_known(head);
    let typed = if expected { typed } else { typed.and(Err(ErrorCode::ExpectationFailed)) };
    typed.map_err(|code| reject(code, to_head))
}

/// Whether the request expects nothing but `100-continue`.
pub(super) fn expects_what_is_known(head: &Head<'_>) -> bool {
    members(head, "Expect").all(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// A GET of an upload, or, with `to_head`, what a HEAD wants of it.
pub(super) fn download(head: &Head<'_>, id: UploadId, to_head: bool) -> Request {
    let part = match (head.method, to_head) {
        ("HEAD", _) => Wanted::Head,
        // The framing knows of no HEAD here.
        (_, true) => Wanted::BareHead,
        (_, false) => Wanted::All,
    };
    Request::Download(Download::new(id, Conditions::of(head), part))
}

/// What the target names; a query is ignored.
fn place(config: &Config, target: &Target<'_>) -> Result<Place, ErrorCode> {
    match target.form() {
        TargetForm::Asterisk => return Ok(Place::Server),
        TargetForm::Authority => return Err(ErrorCode::NotFound),
        TargetForm::Origin | TargetForm::Absolute => {}
    }
    let below = target.path().strip_prefix(&config.base_path).ok_or(ErrorCode::NotFound)?;
    match below.strip_prefix('/') {
        None if below.is_empty() => Ok(Place::Collection),
        None => Err(ErrorCode::NotFound),
        Some("") => Ok(Place::Collection),
        Some(id) => config.upload_id(id).map(Place::Upload).ok_or(ErrorCode::UploadNotFound),
    }
}

/// The method that counts, and its name. tus asks that the actual one be ignored where `X-HTTP-Method-Override`
/// is there; some clients write that in other cases of letters.
fn method<'a>(config: &Config, head: &Head<'a>, actual: Method) -> Result<(Method, &'a str), ErrorCode> {
    let heeded = match config.method_override {
        MethodOverride::Post => actual == Method::Post,
        MethodOverride::Any => actual != Method::Options,
        MethodOverride::Off => false,
    };
    let value = if heeded { single(head, "X-HTTP-Method-Override") } else { Ok(None) };
    let Some(value) = value.map_err(|_| ErrorCode::InvalidMethodOverride)? else {
        return Ok((actual, head.method));
    };
    let name = core::str::from_utf8(value).ok().filter(|name| is_token(name));
    let name = name.ok_or(ErrorCode::InvalidMethodOverride)?;
    let known = Method::KNOWN.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    Ok(known.map_or((Method::Other, name), |(name, method)| (method, name)))
}

fn posted(config: &Config, head: &Head<'_>) -> Result<Request, ErrorCode> {
    if !config.concatenation && head.values("Upload-Concat").next().is_some() {
        return Err(ErrorCode::ConcatenationUnsupported);
    }
    let concat = match UploadConcat::of(head, config)? {
        Some(UploadConcat::Final { value, parts }) => {
            let (metadata, location) = (joined_metadata(head, config.max_metadata)?, location(config, head));
            let parts = Parts::new(parts);
            return Ok(Request::Concat(ConcatRequest { value, parts, metadata, location }));
        }
        Some(UploadConcat::Partial) => Some(Concat::Partial),
        None => None,
    };
    creation(config, head, concat).map(Request::Create)
}

fn creation(config: &Config, head: &Head<'_>, concat: Option<Concat>) -> Result<CreateRequest, ErrorCode> {
    let length = upload_length(head)?;
    let length = match single(head, "Upload-Defer-Length") {
        Ok(None) => Some(length.ok_or(ErrorCode::InvalidUploadLength)?),
        Ok(Some(b"1")) if length.is_none() => None,
        Ok(Some(b"1")) => return Err(ErrorCode::AmbiguousUploadLength),
        _ => return Err(ErrorCode::InvalidUploadLengthDefer),
    };
    let metadata = joined_metadata(head, config.max_metadata)?;
    let with_upload = head.framing != Framing::Length(0) && has_upload_type(head);
    let checksums =
        if with_upload { Checksums::of(head, &config.checksum_algorithms)? } else { Checksums::default() };
    let waits = head.values("Expect").next().is_some();
    let location = location(config, head);
    Ok(CreateRequest { length, metadata, checksums, with_upload, waits, location, concat })
}

fn patch(config: &Config, head: &Head<'_>, id: UploadId) -> Result<PatchRequest, ErrorCode> {
    if !has_upload_type(head) {
        return Err(ErrorCode::InvalidContentType);
    }
    let offset =
        single(head, "Upload-Offset").ok().flatten().and_then(number).ok_or(ErrorCode::InvalidOffset)?;
    let length = upload_length(head)?;
    let checksums = Checksums::of(head, &config.checksum_algorithms)?;
    Ok(PatchRequest { id, offset, length, checksums, if_match: IfMatch::of(head) })
}

fn upload_length(head: &Head<'_>) -> Result<Option<u64>, ErrorCode> {
    let value = single(head, "Upload-Length").map_err(|_| ErrorCode::InvalidUploadLength)?;
    value.map(|value| number(value).ok_or(ErrorCode::InvalidUploadLength)).transpose()
}

pub(super) fn has_upload_type(head: &Head<'_>) -> bool {
    matches!(single(head, "Content-Type"), Ok(Some(value)) if is_offset_octet_stream(value))
}

/// What `Location` has before the id.
pub(super) fn location(config: &Config, head: &Head<'_>) -> String {
    let origin = match &config.location {
        Location::Under(url) => return format!("{url}/"),
        Location::BehindProxy(headers) => external_origin(head, *headers),
        Location::By(Locations::Relative) => None,
        Location::By(Locations::Absolute) => direct_origin(head),
        Location::By(Locations::Auto) if !head.direct || shows_proxy(head) => None,
        Location::By(Locations::Auto) => direct_origin(head),
    };
    [origin.as_deref().unwrap_or_default(), &config.base_path, "/"].concat()
}
