//! What workers are given to do, and what they bring back.

use std::{fmt, sync::Arc};

use tus_driver::{Class, HashingSink, Store};
use tus_proto::Failure;

use crate::runtime::{ConnectionId, socket::Socket};

/// How many body bytes a job moves before it makes room for others who wait, so that many uploads share the workers.
pub(crate) const QUANTUM: u64 = 1 << 20;

/// A body's bytes on their way into the store.
pub(crate) type BodySink<S> = HashingSink<<S as Store>::Sink>;

/// Where a job's result goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub loop_index: usize,
    pub connection: ConnectionId,
}

/// Something that may block. Thousands may be queued: what is large is boxed.
#[derive(Debug)]
pub(crate) enum Job<S: Store> {
    /// Moves at most `limit` bytes that are nothing but body from the socket to the store.
    Move { to: Address, socket: Arc<Socket>, sink: BodySink<S>, limit: u64 },
    /// Writes decoded body bytes.
    Write { to: Address, sink: BodySink<S>, data: Vec<u8> },
    /// Sends at most `limit` bytes of an upload, from this one on, to the socket.
    Send { to: Address, socket: Arc<Socket>, source: Box<S::Source>, from: u64, limit: u64 },
    /// Reads a stretch of an upload, as much as `data` has room for, at most `limit`, for a loop that encrypts it.
    Read { to: Address, source: Box<S::Source>, from: u64, limit: u64, data: Vec<u8> },
    /// A step of the store's.
    Run(Class, Step),
}

/// A job of the store's.
pub(crate) struct Step(pub(crate) tus_driver::Job);

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Step")
    }
}

/// What became of a [`Job::Move`] or a [`Job::Write`]. The sink knows how much is staged.
#[derive(Debug)]
pub(crate) struct BodyDone<S: Store> {
    pub sink: BodySink<S>,
    /// The buffer of a Write, to be used again.
    pub data: Option<Vec<u8>>,
    /// How many bytes a Move took from the socket.
    pub taken: u64,
    pub end: MoveEnd,
}

/// Why a job stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveEnd {
    /// All is done that it was asked for.
    Done,
    /// The socket has no more for now.
    WouldBlock,
    /// The peer closed its side.
    Eof,
    /// The connection broke.
    Reset,
    /// The store could not take it.
    Failed(Failure),
}
