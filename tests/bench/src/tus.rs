//! The requests of tus 1.0.0 that are measured, and what a server says it can do.

use std::{io::Write, net::SocketAddr};

use crate::{Trouble, http::Reply};

/// Where a server takes uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The path under which uploads are created.
    pub(crate) path: String,
}

impl Target {
    /// Parses `http://ADDRESS:PORT/PATH`.
    ///
    /// # Errors
    /// It has another form.
    pub(crate) fn parse(url: &str) -> Result<Self, Trouble> {
        let malformed = || format!("{url} is not of the form http://127.0.0.1:PORT/PATH");
        let (authority, _) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.find('/').map(|slash| rest.split_at(slash)))
            .ok_or_else(malformed)?;
        let path = url["http://".len() + authority.len()..].to_owned();
        Ok(Self { address: authority.parse().map_err(|_| malformed())?, path })
    }
}

/// A method, as far as reading and counting its replies needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Options,
    Post,
    Patch,
    Head,
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Options => "OPTIONS",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Head => "HEAD",
            Self::Delete => "DELETE",
        }
    }

    /// The statuses that say it was done.
    fn is_done_by(self, status: u16) -> bool {
        match self {
            Self::Options | Self::Head => matches!(status, 200 | 204),
            Self::Post => status == 201,
            Self::Patch | Self::Delete => status == 204,
        }
    }

    /// Holds the server to its word: what is not done is not measured.
    ///
    /// # Errors
    /// The reply says otherwise.
    pub(crate) fn expect(self, reply: &Reply<'_>) -> Result<(), Trouble> {
        if self.is_done_by(reply.status) {
            return Ok(());
        }
        Err(format!("{} was answered {}", self.name(), reply.status).into())
    }
}

/// Writes a head; the body of `length` bytes is the caller's. `more` are whole lines.
pub(crate) fn request(out: &mut Vec<u8>, method: Method, path: &str, length: u64, more: &str) {
    let name = method.name();
    // Writing to a vector can't fail.
    let _ = write!(
        out,
        "{name} {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nContent-Length: {length}\r\n{more}\r\n"
    );
}

/// POST of an upload of `length` bytes.
pub(crate) fn create(out: &mut Vec<u8>, path: &str, length: u64) {
    request(out, Method::Post, path, 0, &format!("Upload-Length: {length}\r\n"));
}

/// The head of a PATCH. `more` are whole lines.
pub(crate) fn patch(out: &mut Vec<u8>, path: &str, offset: u64, length: u64, more: &str) {
    let lines = format!("Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n{more}");
    request(out, Method::Patch, path, length, &lines);
}

/// The head of a POST with its body.
pub(crate) fn create_with(out: &mut Vec<u8>, path: &str, length: u64) {
    let lines = format!("Content-Type: application/offset+octet-stream\r\nUpload-Length: {length}\r\n");
    request(out, Method::Post, path, length, &lines);
}

/// HEAD, which has no body and says nothing of one.
pub(crate) fn head(out: &mut Vec<u8>, path: &str) {
    let _ = write!(out, "HEAD {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n\r\n");
}

/// The path of a new upload, from the reply that created it.
///
/// # Errors
/// There is no `Location`.
pub(crate) fn location(reply: &Reply<'_>) -> Result<String, Trouble> {
    let location = reply.field("Location").ok_or("POST was answered without Location")?;
    Ok(path_of(location).to_owned())
}

fn path_of(location: &str) -> &str {
    let Some((_, rest)) = location.split_once("://") else { return location };
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

/// What a server says it can do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Abilities {
    extensions: String,
    algorithms: String,
}

impl Abilities {
    /// Those in an answer to OPTIONS.
    pub(crate) fn of(reply: &Reply<'_>) -> Self {
        let list = |name| reply.field(name).unwrap_or_default().to_owned();
        Self { extensions: list("Tus-Extension"), algorithms: list("Tus-Checksum-Algorithm") }
    }

    pub(crate) fn has(&self, extension: &str) -> bool {
        lists(&self.extensions, extension)
    }

    pub(crate) fn hashes(&self, algorithm: &str) -> bool {
        self.has("checksum") && lists(&self.algorithms, algorithm)
    }
}

fn lists(list: &str, member: &str) -> bool {
    list.split(',').any(|one| one.trim() == member)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_location_may_be_relative_or_absolute() {
        assert_eq!(path_of("/files/a"), "/files/a");
        assert_eq!(path_of("http://127.0.0.1:1/files/a?b"), "/files/a?b");
        assert_eq!(path_of("//h"), "//h");
        assert_eq!(path_of("http://h"), "/");
    }

    #[test]
    fn a_target_is_a_url_of_http() {
        let target = Target::parse("http://127.0.0.1:1080/files/").unwrap();
        assert_eq!((target.address.port(), target.path.as_str()), (1080, "/files/"));
        for bad in ["127.0.0.1:1080/files", "https://127.0.0.1:1/f", "http://127.0.0.1:1", "http://host/f"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn abilities_are_members_of_lists_not_parts_of_words() {
        let text = b"HTTP/1.1 204 x\r\nTus-Extension: creation,checksum-trailer, checksum\r\n\
            Tus-Checksum-Algorithm: sha1\r\n\r\n";
        let able = Abilities::of(&Reply::parse(text, false).unwrap().unwrap().0);
        assert!(able.has("creation") && able.has("checksum") && able.hashes("sha1"));
        assert!(!able.has("check") && !able.has("concatenation") && !able.hashes("sha256"));
    }

    #[test]
    fn a_method_is_done_by_its_own_status_only() {
        let reply = |status: u16| format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        for (method, status, done) in [
            (Method::Patch, 204, true),
            (Method::Patch, 200, false),
            (Method::Post, 201, true),
            (Method::Post, 204, false),
            (Method::Head, 404, false),
        ] {
            let text = reply(status);
            let (reply, _) = Reply::parse(text.as_bytes(), false).unwrap().unwrap();
            assert_eq!(method.expect(&reply).is_ok(), done, "{method:?} {status}");
        }
    }
}
