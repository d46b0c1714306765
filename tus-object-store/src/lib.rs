#![cfg_attr(all(doctest, feature = "cloud"), doc = include_str!("../README.md"))]
//! Resumable uploads on an object store, for any number of servers over one bucket, with nothing else to run.
//!
//! One object an upload, its *record*, is the only truth about it. It is written by compare-and-set alone; bytes are
//! objects and parts that are written once and that the record names; nothing is ever derived from a listing but what
//! may be removed. The lock is a lease in the record. So servers don't need to know each other.
//!
//! [`BucketStore`] is a [`Store`](tus_driver::Store) over any [`Bucket`]: [`CloudBucket`] uses the crate
//! `object_store` (S3 and compatible stores, Google Cloud Storage, Azure, memory). [`BucketStore::locks`] is the lock service for all
//! servers of the bucket. All work is done by tasks and timers of the runtime's [`Executor`](tus_driver::Executor).
//!
//! The clients of clouds need a tokio runtime under the tasks. An executor that has none is wrapped by `WithRuntime`, which
//! keeps one in a thread (feature `runtime`).
//!
//! `docs/object-store.md` argues what is promised, case by case.

#[macro_use(mutation)]
extern crate tus_proto;

mod admin;
mod bucket;
mod budget;
mod cloud;
#[cfg(feature = "cloud")]
mod connect;
mod deferred;
mod deletion;
mod document;
mod expiry;
mod extents;
mod finals;
mod foreign;
mod keys;
mod lease;
mod outbox;
#[cfg(feature = "cloud")]
mod part_list;
#[cfg(feature = "peers")]
mod peer_http;
mod peers;
mod probe;
mod publish;
mod records;
mod requests;
#[cfg(feature = "runtime")]
mod runtime;
mod shared;
mod source;
mod staging;
mod store;
mod writing;

use std::{sync::Arc, time::Duration};

#[cfg(feature = "cloud")]
pub use self::connect::{ConnectError, connect};
#[cfg(feature = "peers")]
pub use self::peer_http::{HttpPeers, PeerSecret};
#[cfg(feature = "runtime")]
pub use self::runtime::WithRuntime;
pub use self::{
    admin::{BucketCheck, BucketExtent, BucketFinding, BucketUpload},
    bucket::{Bucket, Condition, Fault, Key, Object, Part, PartPage, Payload, Reply, Version},
    cloud::CloudBucket,
    deferred::DeferredLocks,
    foreign::{Adopted, Foreign, ForeignBytes},
    lease::LeaseLocks,
    peers::{PeerQuestion, PeerReply, PeerRequest, Peers},
    probe::OpenError,
    source::BucketSource,
    staging::{BucketSink, Staged},
    store::BucketStore,
};

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
