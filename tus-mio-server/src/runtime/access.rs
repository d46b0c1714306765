//! What the log says of a request, in one event: with `access_log` at info, for every request and for what the server
//! rejects before there is one; at debug in any case.

use std::net::IpAddr;

use tus_driver::Entropy;
use tus_proto::{Config, ErrorCode, Head, Instant, Response, Target, UploadId};

/// The longest target that is logged, in characters.
const TARGET_LEN: usize = 200;

/// The status that is logged where the client was gone before an answer: as other servers log it, and no answer has it.
const CLIENT_GONE: u16 = 499;

/// A request, as the log has it.
#[derive(Debug)]
pub(super) struct Access {
    method: String,
    target: String,
    /// The client's address: by the proxy's word where there is one, else the other end of the connection.
    client: Option<IpAddr>,
    /// What the client calls the request, or what the access log does.
    id: Option<String>,
    /// The id is ours: the answer tells it.
    pub generated: bool,
    /// Whether it is logged at info.
    listed: bool,
    begun: Instant,
    /// How many bytes of the connection had been taken when its body began.
    pub body_at: u64,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Outcome {
    status: u16,
    code: Option<&'static str>,
    upload: Option<UploadId>,
    /// Bytes of its body that were read by then, chunk lines included.
    pub received: u64,
    /// Bytes of the answer's body that were sent, or were to be.
    pub sent: u64,
}

impl Outcome {
    /// An answer.
    pub(super) fn of(response: &Response, upload: Option<&UploadId>, received: u64) -> Self {
        Self {
            status: response.status(),
            code: response.code().map(ErrorCode::name),
            upload: upload.cloned(),
            received,
            sent: response.body().len() as u64,
        }
    }

    /// Nobody was left to answer.
    pub(super) fn unanswered(upload: Option<&UploadId>, received: u64) -> Self {
        let (status, code) = (CLIENT_GONE, Some(ErrorCode::UnexpectedEof.name()));
        Self { status, code, upload: upload.cloned(), received, sent: 0 }
    }
}

impl Access {
    /// A request with this head; `None` if the log has no use for it.
    pub(super) fn begin(
        head: &Head<'_>,
        config: &Config,
        peer: Option<IpAddr>,
        now: Instant,
        listed: bool,
        entropy: &mut Entropy,
    ) -> Option<Box<Self>> {
        if !listed && !tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        let mut id = head.request_id();
        let generated = listed && id.is_none();
        if generated {
            id = entropy.draw().map(|random| random.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        let client = config.client_address(head).or(peer);
        let (method, target) = (head.method.into(), head.target.chars().take(TARGET_LEN).collect());
        Some(Box::new(Self { method, target, client, id, generated, listed, begun: now, body_at: 0 }))
    }

    /// The id that the answer is to tell.
    pub(super) fn id_to_tell(&self) -> Option<&str> {
        self.id.as_deref().filter(|_| self.generated)
    }

    /// The upload that the target names, where no session knows better.
    pub(super) fn upload(&self, config: &Config) -> Option<UploadId> {
        upload_of(config, &self.target)
    }

    /// Logs what became of it.
    pub(super) fn end(&self, now: Instant, outcome: &Outcome) {
        let Self { method, target: path, id, .. } = self;
        let Outcome { status, code, received, sent, .. } = outcome;
        let (upload, client) =
            (outcome.upload.as_ref().map(UploadId::as_str), self.client.map(tracing::field::display));
        let micros = u64::try_from(now.since(self.begun).as_micros()).unwrap_or(u64::MAX);
        // A level is part of an event's place in the source.
        if self.listed {
            tracing::info!(method, path, status, code, received, sent, micros, upload, client, id, "request");
        } else {
            tracing::debug!(
                method, path, status, code, received, sent, micros, upload, client, id, "request"
            );
        }
    }
}

/// Logs an answer to what never became a request; `id` is what its client calls it.
pub(super) fn refused(client: Option<IpAddr>, id: Option<&[u8]>, response: &Response) {
    let (status, code, sent) =
        (response.status(), response.code().map(ErrorCode::name), response.body().len() as u64);
    let (client, id) = (client.map(tracing::field::display), id.map(|id| String::from_utf8_lossy(id)));
    tracing::info!(status, code, sent, client, id = id.as_deref(), "request");
}

/// The upload that a target names.
fn upload_of(config: &Config, target: &str) -> Option<UploadId> {
    let path = Target::of(target).path().strip_prefix(config.base_path())?;
    config.upload_id(path.strip_prefix('/')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_the_upload() {
        let config = Config::default();
        let id = UploadId::new("abc");
        for target in ["/files/abc", "/files/abc?d", "http://example.org/files/abc"] {
            assert_eq!(upload_of(&config, target), id, "{target}");
        }
        for target in ["/files", "/files/", "/files/a/b", "/filesabc", "*", "/metrics"] {
            assert_eq!(upload_of(&config, target), None, "{target}");
        }
    }
}
