//! Connects a tus [`Exchange`](tus_proto::Exchange) to a store, a lock service and hooks. A [`Session`] is one request as
//! a sans-I/O state machine, and the ports are traits. A runtime moves bytes between its sockets and a session; a
//! [`Store`] keeps what it is given; neither knows tus.
//!
//! This crate creates no threads, sockets or timers. A store gets them from the runtime, as an [`Executor`].

#[macro_use(mutation)]
pub extern crate tus_proto;

mod answer;
mod body_timer;
mod clock;
mod counters;
mod egress;
mod entropy;
mod executor;
mod first_bytes;
pub mod hooks;
mod ingress;
mod job_pool;
mod limits;
mod loan;
mod locks;
mod mailbox;
mod memory;
#[cfg(feature = "metrics")]
pub mod metrics;
mod open;
pub mod outbox;
mod queue;
mod requests;
mod service;
mod session;
mod store;

pub use answer::{Answer, Ticket};
pub use body_timer::BodyTimer;
pub use bytes;
pub use clock::Clock;
pub use counters::Counters;
pub use egress::{Egress, UploadReader};
pub use entropy::Entropy;
pub use executor::{Class, Executor, Job, Task};
pub use first_bytes::FirstBytes;
pub use ingress::{BodyLength, BodyPiece, BodyReader, BoxError, cut_by};
pub use job_pool::{JobPool, Shift};
pub use limits::Limits;
pub use locks::{Caller, Inbox, LockService, Locks};
pub use mailbox::{ask, park, thread_waker};
pub use memory::MemoryStore;
pub use open::{OpenStore, StoreRuntime};
pub use queue::JobQueue;
pub use requests::{Mailbox, Mailboxes, RequestHandle, Requests};
pub use service::{RequestDriver, RequestTask, Service, ServiceSettings, Step, TaskTurn};
pub use session::{Arrival, Effect, EventWitness, HashingSink, Inlet, Session};
pub use store::{
    AppendGrant, Change, Changed, Commit, DueEvents, EventKind, EventKinds, EventQuery, FileRange, Loaded,
    LookupError, Opened, OutboxEvent, Sink, Source, Store, read_some,
};
