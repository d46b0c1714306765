//! Bytes on their way from a request to the bucket: a buffer that becomes a part, or an object, when it is full. Each piece
//! is written once, under a name or a part number of its own, and counts only when the bucket has acknowledged it and all
//! before it.
//!
//! `send` is the way to the bucket, `prepare` what a commit can name, `buffer` the memory in between, `sink` the driver's
//! view.

mod buffer;
mod prepare;
mod send;
mod sink;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    task::Waker,
};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, OnceCell};
use tus_proto::{Failure, Instant, UploadId};

pub(crate) use self::prepare::{Prepared, Rest};
pub use self::sink::{BucketSink, Staged};
use crate::{
    document::{Extent, Place},
    requests::lock,
    shared::Shared,
};

/// The largest piece of memory that a buffer grows by.
pub(super) const CHUNK: usize = crate::budget::MOST;

/// What a sink has staged, and what a commit needs to know of it.
pub(crate) struct Staging {
    pub shared: Arc<Shared>,
    pub id: UploadId,
    pub fence: u64,
    /// The extents before the first byte of the buffer, as they were committed.
    pub before: Vec<Extent>,
    /// Names what it writes.
    pub name: String,
    pub state: Mutex<State>,
    /// A piece has come to its end.
    pub settled: Notify,
    /// Multipart uploads that were made objects of to be read back.
    pub completed: Mutex<BTreeSet<String>>,
}

pub(crate) struct State {
    /// Where in the upload the buffer begins.
    pub base: u64,
    /// Where the staged bytes end.
    pub end: u64,
    pub full: Vec<Bytes>,
    pub chunk: BytesMut,
    pub buffered: usize,
    pub pieces: Vec<Piece>,
    pub multipart: Option<Arc<Multipart>>,
    /// How many parts the multipart upload has, with those on their way.
    pub parts: usize,
    pub in_flight: usize,
    pub failure: Option<Failure>,
    pub waiting: Vec<Waker>,
    /// No more bytes come.
    pub closed: bool,
    pub names: u32,
    /// The last tail object of bytes that are still in the buffer: its name, from where, and how many.
    pub stash: Option<(String, u64, u64)>,
    pub stashed_at: Instant,
}

/// A multipart upload. It is begun with its first part.
pub(crate) struct Multipart {
    pub key: String,
    pub upload: OnceCell<String>,
}

#[derive(Clone)]
pub(crate) struct Piece {
    pub end: u64,
    pub len: u64,
    pub place: PiecePlace,
    /// What completes a part; empty for an object.
    pub done: Option<String>,
}

#[derive(Clone)]
pub(crate) enum PiecePlace {
    Object(String),
    Part(Arc<Multipart>, usize),
}

impl Staging {
    /// `base` is where the extents `before` end, `taken` the committed bytes past them, which are written again and which the
    /// budget counts already.
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: UploadId,
        fence: u64,
        (before, base, taken): (Vec<Extent>, u64, Bytes),
    ) -> Arc<Self> {
        let name = format!("{fence:x}-{:08x}", shared.requests.random() & 0xffff_ffff);
        let open = before.last().and_then(|extent| match &extent.place {
            Place::Parts { key, upload, parts, open: true } => {
                let upload = OnceCell::new_with(Some(upload.clone()));
                Some((Arc::new(Multipart { key: key.clone(), upload }), parts.len()))
            }
            _ => None,
        });
        let (multipart, parts) = open.map_or((None, 0), |(multipart, parts)| (Some(multipart), parts));
        let state = State {
            base,
            end: base + taken.len() as u64,
            buffered: taken.len(),
            full: if taken.is_empty() { Vec::new() } else { vec![taken] },
            chunk: BytesMut::new(),
            pieces: Vec::new(),
            multipart,
            parts,
            in_flight: 0,
            failure: None,
            waiting: Vec::new(),
            closed: false,
            names: 0,
            stash: None,
            stashed_at: shared.requests.now(),
        };
        Arc::new(Self {
            shared,
            id,
            fence,
            before,
            name,
            state: Mutex::new(state),
            settled: Notify::new(),
            completed: Mutex::default(),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Forgets what was staged: no commit can name it any more.
    pub(crate) fn forget(&self) {
        let mut state = lock(&self.state);
        (state.end, state.failure) = (0, Some(Failure::Fenced));
        let forgotten = state.buffered;
        state.take_buffer();
        drop(state);
        self.shared.budget.give(forgotten, false);
    }

    pub(crate) fn end(&self) -> u64 {
        lock(&self.state).end
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let buffered = lock(&self.state).buffered;
        self.shared.budget.give(buffered, false);
    }
}
