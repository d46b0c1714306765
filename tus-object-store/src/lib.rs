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
mod cache;
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
mod options;
mod outbox;
#[cfg(feature = "cloud")]
mod part_list;
mod peer_answers;
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
    options::Options,
    peers::{PeerQuestion, PeerReply, PeerRequest, Peers},
    probe::OpenError,
    source::BucketSource,
    staging::{BucketSink, Staged},
    store::BucketStore,
};
