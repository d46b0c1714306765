//! A durable store for resumable uploads: records in [redb], bytes in flat files.
//!
//! It executes the commands of [`tus_proto::Command`] and has no threads of its own: staging (a [`Sink`]),
//! making staged bytes durable (its [`Syncer`]) and committing a group of changes ([`Store::commit`]) are
//! calls, which a server makes from its workers and its committer. The invariant that makes recovery trivial:
//! *an upload's bytes are at least as long as its record's offset, and all past that offset is garbage.*
//!
//! [redb]: https://docs.rs/redb
//!
//! ```
//! use tus_proto::{Completion, Fence, Record, UploadId, WallTime};
//! use tus_redb::{Change, Options, Store, StoreError};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let store = Store::open(dir, &Options::default())?;
//! let id = UploadId::new("greeting").ok_or("not an id")?;
//! let created = WallTime::from_micros(0);
//! let (metadata, expires) = (String::new(), None);
//! let record = Record { id: id.clone(), created, offset: 0, length: Some(5), metadata, expires, concat: None, explicit: None };
//! assert_eq!(store.commit(&[Change::Create { record, first: None }]), [Completion::Created]);
//!
//! let fence = store.first_fence();
//! let mut sink = store.append(&id, fence, 0)?;
//! sink.write(b"hello")?;
//! let syncer = sink.syncer();
//! syncer.sync(Some(5)).map_err(StoreError)?; // the data first, the record after it
//! let commit = Change::Commit {
//!     id: id.clone(),
//!     fence,
//!     from: 0,
//!     to: 5,
//!     length: None,
//!     expires: None,
//!     finish: true,
//!     syncer: Some(syncer),
//! };
//! assert_eq!(store.commit(&[commit]), [Completion::Committed { offset: 5 }]);
//!
//! let mut text = String::new();
//! std::io::Read::read_to_string(&mut store.read(&id).map_err(StoreError)?.ok_or("it is gone")?, &mut text)?;
//! assert_eq!(text, "hello");
//! # Ok(())
//! # }
//! ```

#[macro_use(mutation)]
extern crate tus_proto;

mod admin;
mod codec;
mod disk;
mod error;
mod error_log;
mod files;
mod log;
mod maintenance;
mod mutex;
mod options;
mod port;
mod records;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod store;
mod tables;
#[cfg(test)]
mod tests;

pub use admin::adopt::{Adopted, Adoption};
pub use admin::finding::Finding;
pub use admin::inspect::{CheckPlace, CheckStep};
pub use admin::inventory::Totals;
pub use admin::query::{Cursor, CursorError, ListPage, ListQuery, Sort, UploadState};
pub use admin::remedy::{Remedy, Repair};
pub use admin::{Description, ExtentFile};
pub use disk::os::OsDisk;
pub use disk::{Disk, DiskFile, Mode};
pub use error::{OpenError, Rejected, StoreError, WriteError};
pub use files::sink::{Sink, Syncer};
pub use maintenance::sweep::Swept;
pub use options::{Durability, Options, SpaceLimits};
pub use port::observer::{NoObserver, Observer};
pub use port::quota::Refusal;
pub use port::{RedbStore, WeakRedbStore};
pub use records::database::FORMAT;
pub use store::Store;
pub use store::change::{Change, Consolidation, DigestFound};
pub use store::source::{Body, Run, Source};
pub use tus_driver::{EventKind, EventKinds as Events, OutboxEvent};
