//! How a store uses its bucket: sizes, intervals, and what it knows of other servers.

use std::{sync::Arc, time::Duration};

use crate::peers::Peers;

/// How a store uses its bucket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many bytes a part has; after each 1000 parts it doubles.
    pub part_size: usize,
    /// The fewest bytes of a part that is not the last, as the store rules: 5 MiB.
    pub min_part: usize,
    /// All parts but the last have the same size, as Cloudflare's R2 demands.
    pub uniform_parts: bool,
    /// The most bytes that a record holds of the upload itself.
    pub inline: usize,
    /// The memory for bytes on their way, of all uploads together.
    pub memory: usize,
    /// How many parts may be on their way at once.
    pub concurrency: usize,
    /// A record is written no more often than this while a body goes on, unless a HEAD asks.
    pub checkpoint_interval: Duration,
    /// Bytes that fill no part are stored after this time while a body goes on.
    pub stash_interval: Duration,
    /// How often expired uploads are looked for; never if this is zero.
    pub sweep_interval: Duration,
    /// How long an upload that has gone is remembered.
    pub remembered: Duration,
    /// How long another server may take to deliver an event before this one does.
    pub event_patience: Duration,
    /// Whether the bucket is tried when the store is opened: whether its compare-and-set holds.
    pub probe: bool,
    /// Below which key finished uploads are published, as `PREFIX/ID/NAME`; `None` if they are not. All servers of a
    /// bucket must have the same.
    pub publish_prefix: Option<String>,
    /// How servers reach each other; `None` if they do not.
    pub peers: Option<Arc<dyn Peers>>,
}

impl Options {
    /// Fewer bytes than this are no part, unless they are the last.
    pub(crate) fn shortest_part(&self) -> u64 {
        (if self.uniform_parts { self.part_size } else { self.min_part }) as u64
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            part_size: 8 << 20,
            min_part: 5 << 20,
            uniform_parts: false,
            inline: 32 << 10,
            memory: 256 << 20,
            concurrency: 16,
            checkpoint_interval: Duration::from_secs(2),
            stash_interval: Duration::from_secs(10),
            sweep_interval: Duration::from_secs(60),
            remembered: Duration::from_secs(24 * 60 * 60),
            event_patience: Duration::from_secs(60),
            probe: true,
            publish_prefix: None,
            peers: None,
        }
    }
}
