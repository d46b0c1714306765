//! The requests whose exchanges are driven, and the rules under which they are made.

use std::time::Duration;

use tus_proto::{Config, Exchange, Framing, Head, Now, Subscriptions};

use crate::choice::Choice;

/// The checksum of a body, in a header or a trailer: a digest of nothing but zeros.
pub(super) const DIGEST: &str = "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

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
        Self { method, framing, fields, offset, checksum, announced }
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
