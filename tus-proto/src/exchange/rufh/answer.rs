//! Final answers in this protocol. What they have in common with those of tus 1.0.0 is added where those are sent.

use alloc::string::String;
use core::fmt::Write as _;

use super::{Rufh, digest, problem};
use crate::{
    Config, Connection, ErrorCode, Framing, Now, Record, Response, WallTime,
    exchange::{Exchange, answer::Answer},
};

/// The largest integer that a structured field can have.
const MAX_INTEGER: u64 = 999_999_999_999_999;

impl Exchange {
    /// The answer in this protocol.
    pub(in super::super) fn in_rufh(&self, now: Now, answer: Answer) -> Response {
        let Some(rufh) = self.rufh.as_deref() else {
            return answer.response(&self.config, self.framing, now.date);
        };
        let made = Maker { rufh, config: &self.config, now, expires: self.expires };
        let mut response = match answer {
            Answer::Created { location, offset, body_read } => {
                return made.done(Some(location), offset, body_read);
            }
            Answer::Written(offset) => return made.done(None, offset, true),
            Answer::ChecksumFailed(code) => {
                let mut response = made.problem(code);
                response.connection = Connection::KeepAlive;
                return response;
            }
            Answer::HeadRejected(rejection) => {
                let mut response = made.problem(rejection.code);
                if !rejection.allow.is_empty() {
                    response.push("Allow", rejection.allow);
                }
                if rejection.to_head { response.without_body() } else { response }
            }
            Answer::Failed(code) => made.problem(code),
            // A GET asks for the offset, too.
            Answer::HeadFailed(code) if rufh.to_head => made.problem(code).without_body(),
            Answer::HeadFailed(code) => made.problem(code),
            Answer::CreatedButFailed { location, code } => {
                let mut response = made.problem(code);
                response.push("Location", location);
                response
            }
            Answer::Mismatch(offset) => made.mismatch(offset),
            Answer::State(record) => made.state(&record),
            other => {
                let mut response = other.response(&self.config, self.framing, now.date).not_tus();
                if response.status() >= 400 {
                    made.push_incomplete(&mut response);
                }
                response
            }
        };
        // What is answered here was answered without reading the body.
        response.connection = match (self.framing, response.status()) {
            (Framing::Length(0), _) => Connection::KeepAlive,
            (_, 200..=299) => Connection::Drain,
            _ => Connection::Close,
        };
        response
    }
}

/// What answers are made of.
struct Maker<'a> {
    rufh: &'a Rufh,
    config: &'a Config,
    now: Now,
    expires: Option<WallTime>,
}

impl Maker<'_> {
    fn success(&self, status: u16) -> Response {
        Response::new(status, self.now.date).not_tus()
    }

    fn problem(&self, code: ErrorCode) -> Response {
        let status = problem::status(code);
        let body = problem::body(self.rufh, code, None);
        let mut response = Response::problem(code, status, body, self.now.date);
        if status == 413 {
            self.push_limits(&mut response);
        }
        self.push_incomplete(&mut response);
        response
    }

    /// The answer is not that of the resource which processes complete uploads, even if the upload is complete.
    fn push_incomplete(&self, response: &mut Response) {
        if self.rufh.transfers {
            self.push_completion(response, false);
        }
    }

    fn mismatch(&self, offset: u64) -> Response {
        let code = ErrorCode::MismatchedOffset;
        let body = problem::body(self.rufh, code, Some(offset));
        let mut response = Response::problem(code, problem::status(code), body, self.now.date);
        self.push_completion(&mut response, false);
        response.push("Upload-Offset", offset);
        response
    }

    fn state(&self, record: &Record) -> Response {
        let mut response = self.success(204);
        response.push("Upload-Offset", record.offset);
        self.push_completion(&mut response, record.is_complete());
        if let Some(length) = record.length {
            response.push("Upload-Length", length);
        }
        self.push_limits(&mut response);
        response
    }

    /// All of the body is committed, up to this offset; `location` is that of what the request has created.
    fn done(&self, location: Option<String>, offset: u64, body_read: bool) -> Response {
        let Rufh { version, finished, completes, .. } = self.rufh;
        let status = match (finished, &location) {
            (true, _) => 200,
            (false, Some(_)) => 201,
            (false, None) => version.append_status,
        };
        let mut response = match completes & !finished {
            // The body ended before the length that was announced.
            true => self.problem(ErrorCode::InconsistentUploadLength),
            false => {
                let mut response = self.success(status);
                self.push_completion(&mut response, *finished);
                response.push("Upload-Offset", offset);
                response
            }
        };
        if let Some(location) = location {
            response.push("Location", location);
            if !finished {
                self.push_limits(&mut response);
            }
        }
        if let (Some(algorithm), Some(digest)) = (self.rufh.wanted, &self.rufh.digest)
            && let Some(value) = digest::value(algorithm, digest)
        {
            response.push("Repr-Digest", value);
        }
        response.connection = if body_read { Connection::KeepAlive } else { Connection::Drain };
        response
    }

    fn push_completion(&self, response: &mut Response, complete: bool) {
        let field = self.rufh.version.completion;
        response.push(field.field(), if field.translate(complete) { "?1" } else { "?0" });
    }

    fn push_limits(&self, response: &mut Response) {
        let lifetime = self.rufh.version.lifetime;
        if lifetime.is_some() {
            let limits = limits(self.config, lifetime, self.expires, self.now.wall);
            response.push("Upload-Limit", limits.as_deref().unwrap_or("min-size=0"));
        }
    }
}

/// The value of `Upload-Limit`. `None` if there is no limit. `lifetime` is what the version calls the seconds that are
/// left.
pub(in super::super) fn limits(
    config: &Config,
    lifetime: Option<&str>,
    expires: Option<WallTime>,
    wall: WallTime,
) -> Option<String> {
    let left = expires.map(|expires| expires.as_micros().saturating_sub(wall.as_micros()) / 1_000_000);
    let limits = [
        ("max-size", config.max_size()),
        ("max-append-size", config.max_chunk_size()),
        (lifetime.unwrap_or_default(), left.filter(|_| lifetime.is_some())),
    ];
    let mut value = String::new();
    for (name, limit) in limits {
        let Some(limit) = limit else { continue };
        let separator = if value.is_empty() { "" } else { ", " };
        // Writing to a string can't fail.
        let _ = write!(value, "{separator}{name}={}", limit.min(MAX_INTEGER));
    }
    (!value.is_empty()).then_some(value)
}
