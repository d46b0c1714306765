//! A request's head: the request line, and what the head says about the connection.

use tus_proto::{ErrorCode, Framing, Target, TargetForm};

use super::fields::{self, Fields, is_authority, is_token, port_of};
use super::framing;

/// The protocol's minor version, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.0: no chunks, no 1xx, and no second request unless asked for.
    Http10,
    /// HTTP/1.1, and any later 1.x, which is compatible with it (RFC 9110 section 6.2).
    Http11,
}

/// What the connection keeps of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) version: Version,
    pub(super) framing: Framing,
    /// Whether the client lets the connection live on.
    pub(super) persistent: bool,
    /// Whether the client waits for `100 Continue` before it sends the body, if there is one.
    pub(super) expects_continue: bool,
}

/// A head's parts, borrowed from its bytes.
#[derive(Debug)]
pub(super) struct Parts<'b> {
    pub(super) method: &'b str,
    pub(super) target: &'b str,
    pub(super) fields: Fields<'b>,
    version: Version,
}

impl<'b> Parts<'b> {
    /// Splits a complete head of `lines` lines, as a [`Section`](super::section::Section) has collected it.
    pub(super) fn split(head: &'b [u8], lines: usize) -> Result<Self, ErrorCode> {
        let end = head.windows(2).position(|pair| pair == b"\r\n").ok_or(ErrorCode::BadRequest)?;
        let (method, target, version) = request_line(&head[..end])?;
        let fields = fields::parse(&head[end + 2..], lines - 1).map_err(|_| ErrorCode::BadRequest)?;
        Ok(Self { method, target, fields, version })
    }

    /// What it says about the connection; the code to reject it with where that is not well-formed.
    pub(super) fn request(&self) -> Result<Request, ErrorCode> {
        let http11 = self.version == Version::Http11;
        check_target(self.method, self.target)?;
        fields::check_host(&self.fields, http11).map_err(|_| ErrorCode::BadRequest)?;
        let framing = framing::of(&self.fields, self.version)?;
        let option = |name| fields::names(&self.fields, "Connection", name);
        Ok(Request {
            version: self.version,
            framing,
            // RFC 9112 section 9.3. What follows a CONNECT may be meant for the tunnel that it does not get.
            persistent: !option("close") && (http11 || option("keep-alive")) && self.method != "CONNECT",
            // RFC 9110 section 10.1.1: HTTP/1.0 does not know it.
            expects_continue: http11 && fields::names(&self.fields, "Expect", "100-continue"),
        })
    }
}

/// RFC 9112 section 3: exactly one space between the three.
fn request_line(line: &[u8]) -> Result<(&str, &str, Version), ErrorCode> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(protocol), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(ErrorCode::BadRequest);
    };
    let visible = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    if !is_token(method) || !visible {
        return Err(ErrorCode::BadRequest);
    }
    let text = |bytes| str::from_utf8(bytes).map_err(|_| ErrorCode::BadRequest);
    Ok((text(method)?, text(target)?, version(protocol)?))
}

/// RFC 9112 section 2.3.
fn version(protocol: &[u8]) -> Result<Version, ErrorCode> {
    match protocol {
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            if *major == b'1' {
                Ok(Version::Http11)
            } else {
                Err(ErrorCode::HttpVersion)
            }
        }
        _ => Err(ErrorCode::BadRequest),
    }
}

/// RFC 9112 section 3.2: the four forms of a target, each for its methods. None has a fragment.
fn check_target(method: &str, target: &str) -> Result<(), ErrorCode> {
    let read = Target::of(target);
    let well_formed = match (method, read.form()) {
        // RFC 9110 section 9.3.6: a port is required.
        ("CONNECT", _) => port_of(target.as_bytes()).is_some_and(|port| !port.is_empty()),
        (_, TargetForm::Asterisk) => method == "OPTIONS",
        (_, TargetForm::Origin) => !target.contains('#'),
        (_, TargetForm::Absolute) => {
            !target.contains('#')
                && read.authority().is_some_and(|authority| is_authority(authority.as_bytes()))
        }
        (_, TargetForm::Authority) => false,
    };
    if well_formed { Ok(()) } else { Err(ErrorCode::BadRequest) }
}
