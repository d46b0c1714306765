//! Bytes on their way from a request to the bucket: a buffer that becomes a part, or an object, when it is full. Each piece
//! is written once, under a name or a part number of its own, and counts only when the bucket has acknowledged it and all
//! before it.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::{Notify, OnceCell};
use tus_driver::Sink;
use tus_proto::{Failure, Instant, UploadId};

use crate::{
    Condition, Fault, Payload,
    document::{Extent, Place, Tail},
    keys,
    records::failure,
    requests::{PATIENCE, lock},
    shared::Shared,
};

/// The largest piece of memory that a buffer grows by.
const CHUNK: usize = 256 << 10;

/// How many pieces of one upload may be on their way.
const IN_FLIGHT: usize = 4;

/// How many parts a multipart upload may have.
const MAX_PARTS: usize = 10_000;

/// After how many parts their size doubles, so that [`MAX_PARTS`] reach the largest object.
const GROWTH: usize = 1_000;

/// The largest part that grows.
const LARGEST_PART: usize = 512 << 20;

/// What a sink has staged, and what a commit needs to know of it.
pub(crate) struct Staging {
    pub shared: Arc<Shared>,
    pub id: UploadId,
    pub fence: u64,
    /// The extents before the first byte of the buffer, as they were committed.
    pub before: Vec<Extent>,
    /// Names what it writes.
    pub name: String,
    state: Mutex<State>,
    /// A piece has come to its end.
    settled: Notify,
    /// Multipart uploads that were made objects of to be read back.
    completed: Mutex<BTreeSet<String>>,
}

struct State {
    /// Where in the upload the buffer begins.
    base: u64,
    /// Where the staged bytes end.
    end: u64,
    full: Vec<Bytes>,
    chunk: BytesMut,
    buffered: usize,
    pieces: Vec<Piece>,
    multipart: Option<Arc<Multipart>>,
    /// How many parts the multipart upload has, with those on their way.
    parts: usize,
    in_flight: usize,
    failure: Option<Failure>,
    waiting: Vec<Waker>,
    /// No more bytes come.
    closed: bool,
    names: u32,
    /// The last tail object of bytes that are still in the buffer: its name, from where, and how many.
    stash: Option<(String, u64, u64)>,
    stashed_at: Instant,
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

/// What a commit is to do with bytes that fill no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The upload ends with them.
    Finish,
    /// The body ends with them.
    End,
    /// The body goes on; somebody wants to know the offset, or they have waited for long.
    Now,
    /// The body goes on.
    Later,
}

impl Staging {
    /// `base` is where the extents `before` end, `taken` the committed bytes past them, which are written again.
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
        shared.budget.take(taken.len());
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

    fn write(self: &Arc<Self>, data: &mut dyn Buf) -> Result<(), Failure> {
        while data.has_remaining() {
            let mut state = lock(&self.state);
            if let Some(failure) = state.failure {
                return Err(failure);
            }
            let size = self.part_size(state.parts);
            let count = data.remaining().min(size - state.buffered.min(size)).min(CHUNK);
            state.append(data, count);
            self.shared.budget.take(count);
            if state.buffered >= size {
                self.send_part(&mut state);
            }
        }
        Ok(())
    }

    fn part_size(&self, parts: usize) -> usize {
        let options = &self.shared.options;
        let doublings = if options.uniform_parts { 0 } else { (parts / GROWTH).min(16) };
        options.part_size.saturating_mul(1 << doublings).min(LARGEST_PART.max(options.part_size))
    }

    /// Sends the buffer as the next part.
    fn send_part(self: &Arc<Self>, state: &mut State) {
        if state.parts >= MAX_PARTS {
            state.multipart = None;
        }
        let multipart = match &state.multipart {
            Some(multipart) => multipart.clone(),
            None => {
                let key = state.next_name(&self.name);
                let multipart = Arc::new(Multipart { key, upload: OnceCell::new() });
                (state.multipart, state.parts) = (Some(multipart.clone()), 0);
                multipart
            }
        };
        let number = state.parts;
        state.parts += 1;
        self.send(state, PiecePlace::Part(multipart, number));
    }

    /// Sends the buffer as an object. No parts follow in a multipart upload before it.
    fn send_object(self: &Arc<Self>, state: &mut State) {
        let name = state.next_name(&self.name);
        (state.multipart, state.parts) = (None, 0);
        self.send(state, PiecePlace::Object(name));
    }

    fn send(self: &Arc<Self>, state: &mut State, place: PiecePlace) {
        let len = state.buffered;
        let payload = state.take_buffer();
        state.base += len as u64;
        state.in_flight += 1;
        state.stash = None;
        let index = state.pieces.len();
        state.pieces.push(Piece { end: state.base, len: len as u64, place: place.clone(), done: None });
        self.shared.budget.send(len);
        self.shared.with_held(&self.id, tus_proto::Fence(self.fence), |held| held.dirty = true);
        let staging = self.clone();
        self.shared.spawn(async move {
            let result = staging.put(place, payload).await;
            staging.settle(index, len, result);
        });
    }

    async fn put(&self, place: PiecePlace, payload: Payload) -> Result<String, Fault> {
        let shared = &self.shared;
        let Ok(_place) = shared.places.acquire().await else { return Err(Fault::Unclear("closed".into())) };
        let more = Duration::from_secs(payload.len() as u64 >> 20);
        let until = shared.requests.now().after(PATIENCE + more);
        match place {
            PiecePlace::Object(name) => {
                let key = keys::data(self.id.as_str(), &name);
                let put =
                    |bucket: &dyn crate::Bucket| bucket.put(key.clone(), payload.clone(), Condition::None);
                shared.requests.clear_by(until, more, put).await.map(|_| String::new())
            }
            PiecePlace::Part(multipart, number) => {
                let key = keys::data(self.id.as_str(), &multipart.key);
                let create = || shared.requests.clear(|bucket| bucket.create_multipart(key.clone()));
                let upload = multipart.upload.get_or_try_init(create).await?;
                let put = |bucket: &dyn crate::Bucket| {
                    bucket.put_part(key.clone(), upload.clone(), number, payload.clone())
                };
                shared.requests.clear_by(until, more, put).await
            }
        }
    }

    fn settle(&self, index: usize, len: usize, result: Result<String, Fault>) {
        let mut state = lock(&self.state);
        state.in_flight -= 1;
        match result {
            Ok(done) => {
                if let Some(piece) = state.pieces.get_mut(index) {
                    piece.done = Some(done);
                }
            }
            Err(fault) => {
                tracing::warn!(upload = self.id.as_str(), error = %fault, "bytes could not be stored");
                state.failure.get_or_insert(failure(&fault));
            }
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.shared.budget.give(len, true);
        self.settled.notify_waiters();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Makes room for others: what is buffered goes as it is. Returns how many bytes that were.
    pub(crate) fn relieve(self: &Arc<Self>) -> usize {
        let mut state = lock(&self.state);
        let len = state.buffered;
        if len > 0 && state.in_flight < IN_FLIGHT {
            match len >= self.shared.options.min_part && !self.shared.options.uniform_parts {
                true => self.send_part(&mut state),
                false => self.send_object(&mut state),
            }
            return len;
        }
        0
    }

    pub(crate) fn buffered(&self) -> usize {
        lock(&self.state).buffered
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

    /// Brings staged bytes, as far as `rest` says, to where a record can name them, and returns what is there: the pieces
    /// without a gap, the tail past them, and the offset at which it ends, which is at most `to`.
    pub(crate) async fn prepare(self: &Arc<Self>, to: u64, rest: Rest) -> Result<Prepared, Failure> {
        if let Rest::Finish | Rest::End = rest {
            let mut state = lock(&self.state);
            if state.end == to {
                self.send_rest(&mut state, rest);
            }
        }
        if rest != Rest::Later {
            self.settle_to(to).await;
        }
        let (mut prepared, base, bytes) = {
            let state = lock(&self.state);
            let done = state.pieces.iter().take_while(|piece| piece.done.is_some() && piece.end <= to);
            let pieces: Vec<Piece> = done.cloned().collect();
            let whole = pieces.len() == state.pieces.len();
            let begin = state.pieces.first().map_or(state.base, |piece| piece.end - piece.len);
            let offset = pieces.last().map_or(begin, |piece| piece.end);
            let bytes = if whole { state.copy_to(to) } else { Payload::default() };
            (Prepared { pieces, tail: None, offset }, state.base, bytes)
        };
        let len = bytes.len();
        if len == 0 {
            return Ok(prepared);
        }
        let now = self.shared.requests.now();
        if len <= self.shared.options.inline {
            prepared.tail = Some(Tail::inline(&bytes.to_bytes()));
        } else {
            let due = {
                let state = lock(&self.state);
                now.since(state.stashed_at) >= self.shared.options.stash_interval
            };
            if rest == Rest::Later && !due {
                return Ok(prepared);
            }
            let key = self.stash(base, bytes).await?;
            prepared.tail = Some(Tail::Object { key, len: len as u64 });
        }
        prepared.offset = base + len as u64;
        Ok(prepared)
    }

    /// What the last bytes of a body become: a part where that may be, else a tail, which is made later.
    fn send_rest(self: &Arc<Self>, state: &mut State, rest: Rest) {
        let options = &self.shared.options;
        let len = state.buffered;
        if len == 0 {
            return;
        }
        let finish = rest == Rest::Finish;
        let open = state.multipart.is_some();
        if finish && open || len >= options.min_part && !options.uniform_parts && !finish {
            self.send_part(state);
        } else if finish && len > options.inline {
            self.send_object(state);
        }
    }

    /// Waits until all pieces up to an offset have come to their end.
    async fn settle_to(&self, to: u64) {
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            {
                let state = lock(&self.state);
                let waits = |piece: &Piece| piece.done.is_none() && piece.end <= to;
                if state.failure.is_some() || !state.pieces.iter().any(waits) {
                    return;
                }
            }
            settled.await;
        }
    }

    /// Writes bytes that stay in the buffer as an object of their own.
    async fn stash(&self, base: u64, bytes: Payload) -> Result<String, Failure> {
        let len = bytes.len() as u64;
        let name = {
            let mut state = lock(&self.state);
            match &state.stash {
                Some((name, from, stashed)) if *from == base && *stashed == len => return Ok(name.clone()),
                _ => state.next_name(&self.name),
            }
        };
        let place = PiecePlace::Object(name.clone());
        self.put(place, bytes).await.map_err(|fault| failure(&fault))?;
        let mut state = lock(&self.state);
        state.stashed_at = self.shared.requests.now();
        if state.base == base {
            state.stash = Some((name.clone(), base, len));
        }
        Ok(name)
    }

    /// Makes objects of all parts that were sent, so that they can be read, and returns the extents that they are now, where
    /// these end, and the bytes past them. What comes later goes elsewhere.
    pub(crate) async fn read_back(&self, to: u64) -> Result<(Vec<Extent>, u64, Payload), Failure> {
        self.settle_to(to).await;
        let (pieces, base, rest) = {
            let mut state = lock(&self.state);
            if let Some(failure) = state.failure {
                return Err(failure);
            }
            (state.multipart, state.parts) = (None, 0);
            (state.pieces.clone(), state.base, state.copy_to(state.end))
        };
        let mut extents = self.compose(&pieces);
        self.shared.complete(self.id.as_str(), &mut extents).await?;
        let completed = extents.iter().filter_map(|extent| match &extent.place {
            Place::Object(key) => Some(key.clone()),
            _ => None,
        });
        lock(&self.completed).extend(completed);
        Ok((extents, base, rest))
    }

    /// The committed extents with these pieces past them.
    pub(crate) fn compose(&self, pieces: &[Piece]) -> Vec<Extent> {
        let mut extents = self.before.clone();
        for piece in pieces {
            let done = piece.done.clone().unwrap_or_default();
            match (&piece.place, extents.last_mut()) {
                (
                    PiecePlace::Part(multipart, _),
                    Some(Extent { len, place: Place::Parts { key, parts, .. } }),
                ) if *key == multipart.key => {
                    *len += piece.len;
                    parts.push(done);
                }
                (PiecePlace::Part(multipart, _), _) => {
                    let upload = multipart.upload.get().cloned().unwrap_or_default();
                    let (key, parts) = (multipart.key.clone(), vec![done]);
                    extents.push(Extent {
                        len: piece.len,
                        place: Place::Parts { key, upload, parts, open: true },
                    });
                }
                (PiecePlace::Object(name), _) => {
                    extents.push(Extent { len: piece.len, place: Place::Object(name.clone()) });
                }
            }
        }
        let completed = lock(&self.completed);
        for extent in &mut extents {
            if let Place::Parts { key, .. } = &extent.place
                && completed.contains(key)
            {
                extent.place = Place::Object(key.clone());
            }
        }
        extents
    }

    /// Whether a record that names these pieces names all that was sent.
    pub(crate) fn is_all(&self, prepared: &Prepared) -> bool {
        let state = lock(&self.state);
        state.closed && state.end == prepared.offset && state.pieces.len() == prepared.pieces.len()
    }
}

/// What a commit can name.
pub(crate) struct Prepared {
    pub pieces: Vec<Piece>,
    pub tail: Option<Tail>,
    pub offset: u64,
}

impl State {
    fn append(&mut self, data: &mut dyn Buf, mut count: usize) {
        (self.buffered, self.end) = (self.buffered + count, self.end + count as u64);
        while count > 0 {
            if self.chunk.capacity() == self.chunk.len() {
                let full = std::mem::take(&mut self.chunk).freeze();
                if !full.is_empty() {
                    self.full.push(full);
                }
                // A short body gets a short buffer.
                self.chunk.reserve(count.max(self.buffered.min(CHUNK)));
            }
            let fits = count.min(self.chunk.capacity() - self.chunk.len());
            self.chunk.put(&mut (&mut *data).take(fits));
            count -= fits;
        }
    }

    fn take_buffer(&mut self) -> Payload {
        let mut bytes = std::mem::take(&mut self.full);
        let last = std::mem::take(&mut self.chunk).freeze();
        if !last.is_empty() {
            bytes.push(last);
        }
        self.buffered = 0;
        bytes.into()
    }

    /// The buffered bytes up to an offset.
    fn copy_to(&self, to: u64) -> Payload {
        let mut left = usize::try_from(to.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        for full in &self.full {
            let count = left.min(full.len());
            left -= count;
            if count > 0 {
                bytes.push(full.slice(..count));
            }
        }
        let count = left.min(self.chunk.len());
        if count > 0 {
            bytes.push(Bytes::copy_from_slice(&self.chunk[..count]));
        }
        bytes.into()
    }

    fn next_name(&mut self, name: &str) -> String {
        self.names += 1;
        format!("{name}-{}", self.names)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let buffered = lock(&self.state).buffered;
        self.shared.budget.give(buffered, false);
    }
}

/// Names what a [`BucketSink`] has staged.
#[derive(Clone)]
pub struct Staged(pub(crate) Arc<Staging>);

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("upload", &self.0.id).finish_non_exhaustive()
    }
}

/// Takes the bytes of a body, as fast as the bucket takes them and as there is memory.
#[derive(Debug)]
pub struct BucketSink {
    staged: Staged,
    /// The upload's offset at which its bytes begin.
    at: u64,
}

impl BucketSink {
    pub(crate) fn new(staging: Arc<Staging>, at: u64) -> Self {
        Self { staged: Staged(staging), at }
    }
}

impl Sink for BucketSink {
    type Staged = Staged;

    fn poll_room(&mut self, waker: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        let staging = &self.staged.0;
        {
            let mut state = lock(&staging.state);
            if let Some(failure) = state.failure {
                return Poll::Ready(Err(failure));
            }
            if state.in_flight >= IN_FLIGHT {
                state.waiting.push(waker());
                return Poll::Pending;
            }
        }
        let free = staging.shared.budget.free(waker);
        if free > 0 {
            return Poll::Ready(Ok(free.min(CHUNK)));
        }
        staging.shared.relieve();
        Poll::Pending
    }

    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        self.staged.0.write(data)
    }

    fn blocks(&self, _: usize) -> bool {
        false
    }

    fn len(&self) -> u64 {
        lock(&self.staged.0.state).end.saturating_sub(self.at)
    }

    fn staged(&self) -> Staged {
        self.staged.clone()
    }
}

impl Drop for BucketSink {
    fn drop(&mut self) {
        lock(&self.staged.0.state).closed = true;
    }
}
