//! The tus 1.0.0 resumable upload protocol as a pure state machine, and the IETF's resumable uploads on the same uploads.
//!
//! One [`Exchange`] is one request, from its head to its response. It reads no clock, opens no file, owns no
//! thread: [`Input`]s go in, [`Output`]s come out. Control goes through the exchange; body bytes bypass
//! it: the exchange grants permission ("append at most N bytes at offset O"), and receives the result.
#![no_std]

extern crate alloc;

#[macro_use]
#[doc(hidden)]
pub mod mutation;

mod checksum;
mod config;
mod contract;
mod cors;
mod error_code;
mod exchange;
mod header;
mod hook;
mod id;
mod lock;
mod lock_table;
mod request;
mod response;
mod store;
mod target;
mod time;

pub use checksum::{Algorithm, Digest, Hasher};
pub use config::{Config, ConfigBuilder, ConfigError, Locations, MethodOverride, ProxyHeaders};
pub use contract::{Cancel, Deadline, Event, Input, Interim, OpId, Output, Protocol, Reason};
pub use error_code::ErrorCode;
pub use exchange::Exchange;
pub use hook::{Amendment, HookCall, HookReply, Part, Rejection, RequestInfo, Subscriptions};
pub use id::UploadId;
pub use lock::{Fence, LockCall, LockReply};
pub use lock_table::{LockEvent, LockTable, Owner};
pub use request::{Framing, Head, Trailers};
pub use response::{Body, Connection, Response};
pub use store::{AppendEnd, Command, Completion, Concat, ConcatRejection, Cut, Explicit, Failure, Record};
pub use target::{Target, TargetForm};
pub use time::{Instant, Now, WallTime};
