//! The requests whose exchanges are driven, and the rules under which they are made.

use std::time::Duration;

use tus_proto::{Config, Exchange, Framing, Head, Now, Subscriptions};

use crate::choice::Choice;

/// The checksum of a body, in a header or a trailer: a digest of nothing but zeros.
pub(super) const DIGEST: &str = "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The digest of content in the IETF's protocol: twenty zeros, which is never what sha-256 makes of anything.
const WHOLE: &str = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAA=:";

const TYPE: &str = "application/offset+octet-stream";
const TYPES: [&str; 5] = [TYPE, TYPE, TYPE, TYPE, "x/y"];

/// A request, and what a run must know of it.
pub(super) struct Sent {
    method: &'static str,
    framing: Framing,
    fields: Vec<(&'static str, String)>,
    /// Where a PATCH wants to write.
    pub(super) offset: u64,
    /// Its header has a checksum.
    pub(super) checksum: bool,
    /// It announces one as a trailer.
    pub(super) announced: bool,
    /// It speaks the IETF's protocol, or none.
    pub(super) ietf: bool,
}

impl Sent {
    pub(super) fn by(choice: &mut Choice) -> Self {
        let methods = ["POST", "POST", "PATCH", "PATCH", "PATCH", "PATCH", "HEAD", "DELETE", "GET"];
        let method = choice.pick(&methods);
        let framings = [Framing::Length(0), Framing::Length(20), Framing::Chunked, Framing::Chunked];
        let framing = choice.pick(&framings);
        let mut fields = vec![("Tus-Resumable", "1.0.0".to_owned())];
        fields.push(("Content-Type", choice.pick(&TYPES).to_owned()));
        let offset = choice.below(4);
        if method == "PATCH" {
            fields.push(("Upload-Offset", offset.to_string()));
        }
        if method == "POST" && choice.percent(30) {
            fields.push(("Upload-Concat", choice.pick(&["partial", "final;/files/a /files/b"]).to_owned()));
        }
        if method == "GET" && choice.percent(50) {
            fields.push(("Range", choice.pick(&["bytes=1-2", "bytes=-1", "bytes=50-"]).to_owned()));
        }
        if choice.percent(if method == "PATCH" { 15 } else { 50 }) {
            fields.push(("Upload-Length", choice.below(30).to_string()));
        } else if method == "POST" {
            fields.push(("Upload-Defer-Length", "1".to_owned()));
        }
        let checksum = choice.percent(15);
        if checksum {
            fields.push(("Upload-Checksum", DIGEST.to_owned()));
        }
        let announced = choice.percent(10) && framing == Framing::Chunked;
        if announced {
            fields.push(("Trailer", "Upload-Checksum".to_owned()));
        }
        if choice.percent(35) {
            return Self::by_ietf(choice, method, framing, offset);
        }
        Self { method, framing, fields, offset, checksum, announced, ietf: false }
    }

    /// The same in the IETF's protocol; a few say nothing of any.
    fn by_ietf(choice: &mut Choice, method: &'static str, framing: Framing, offset: u64) -> Self {
        let mut fields = Vec::new();
        if method == "PATCH" {
            fields.push(("Upload-Offset", offset.to_string()));
        }
        if choice.percent(90) {
            let version = choice.pick(&[3, 4, 5, 6, 7, 8, 9, 9, 10]);
            fields.push(("Upload-Draft-Interop-Version", version.to_string()));
            if matches!(method, "POST" | "PATCH") {
                let field = if version == 3 { "Upload-Incomplete" } else { "Upload-Complete" };
                fields.push((field, choice.pick(&["?0", "?1", "?1", "1"]).to_owned()));
            }
            if method == "PATCH" && choice.percent(90) {
                fields.push(("Content-Type", "application/partial-upload".to_owned()));
            }
            if choice.percent(20) {
                fields.push(("Upload-Length", choice.below(30).to_string()));
            }
            if choice.percent(15) {
                fields.push((choice.pick(&["Repr-Digest", "Content-Digest"]), WHOLE.to_owned()));
            }
            if choice.percent(10) {
                fields.push(("Want-Repr-Digest", "sha-256=1".to_owned()));
            }
        }
        let checksum = fields.iter().any(|(name, _)| *name == "Content-Digest");
        Self { method, framing, fields, offset, checksum, announced: false, ietf: true }
    }

    pub(super) fn exchange(&self, config: Config, now: Now) -> Exchange {
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let target = if self.method == "POST" { "/files" } else { "/files/upload" };
        let Self { method, framing, .. } = *self;
        let head = Head { method, target, fields: &fields, framing, secure: false, direct: false };
        Exchange::new(config.into(), &head, [1; 10], now)
    }
}

/// Rules whose limits are within reach. In half of the runs nobody subscribes to anything.
pub(super) fn config(choice: &mut Choice) -> (Config, Subscriptions) {
    let limits = [0, 0, 7, 100];
    let hooked = choice.percent(50);
    let mut subscribed = || hooked && choice.percent(60);
    let hooks = Subscriptions {
        incoming: subscribed(),
        create: subscribed(),
        chunk: subscribed(),
        terminate: subscribed(),
        ..Subscriptions::NONE
    };
    let config = Config::builder()
        .max_size(choice.pick(&limits))
        .max_chunk_size(choice.pick(&limits))
        .checkpoint_bytes(choice.pick(&[1, 5, 1000]))
        .hooks(hooks)
        .downloads(choice.percent(80))
        .upload_expiry(choice.pick(&[None, None, Some(Duration::from_secs(20))]))
        .lock_ttl(Duration::from_secs(choice.pick(&[1, 3, 60])));
    (config.build().unwrap(), hooks)
}
