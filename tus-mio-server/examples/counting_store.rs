//! A store around any other: it counts the bytes that come, whatever becomes of them. What it does not change it forwards,
//! also the methods that have a default: the other store may have a better one.
//!
//! `cargo run -p tus-mio-server --example counting_store`

use std::{
    io,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
};

use tus_mio_server::{
    Blocking,
    tus_driver::{
        Answer, AppendGrant, Change, Changed, DueEvents, EventKinds, EventQuery, Executor, FirstBytes,
        Loaded, LookupError, MemoryStore, Opened, Sink, Store, Ticket, bytes::Buf,
    },
    tus_proto::{Algorithm, Config, Digest, Failure, Fence, UploadId},
};

/// The store around another.
#[derive(Debug)]
struct Counting<S> {
    inner: S,
    bytes: Arc<AtomicU64>,
}

impl<S: Store> Store for Counting<S> {
    type Sink = CountingSink<S::Sink>;
    type Staged = S::Staged;
    type Source = S::Source;

    fn append(
        &self,
        grant: AppendGrant,
        later: impl FnOnce() -> Ticket<Opened<Self::Sink>>,
    ) -> Answer<Opened<Self::Sink>> {
        let bytes = self.bytes.clone();
        let counted = move |opened: Opened<S::Sink>| opened.map(|inner| CountingSink { inner, bytes });
        self.inner.append(grant, || later().map(counted.clone())).map(counted.clone())
    }

    fn reserve(&self, bytes: u64) -> Option<FirstBytes> {
        self.inner.reserve(bytes)
    }

    fn first_fence(&self) -> Fence {
        self.inner.first_fence()
    }

    fn load(&self, id: &UploadId, later: impl FnOnce() -> Ticket<Loaded>) -> Answer<Loaded> {
        self.inner.load(id, later)
    }

    fn change(&self, change: Change<S::Staged>, later: impl FnOnce() -> Ticket<Changed>) -> Answer<Changed> {
        if let Change::Create { first: Some(first), .. } = &change {
            // A small body comes with its record, and passes by the sink.
            self.bytes.fetch_add(first.len(), Ordering::Relaxed);
        }
        self.inner.change(change, later)
    }

    fn digest(
        &self,
        staged: &S::Staged,
        range: (u64, u64),
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, Failure>>,
    ) -> Answer<Result<Digest, Failure>> {
        self.inner.digest(staged, range, algorithm, later)
    }

    fn hash(
        &self,
        id: &UploadId,
        to: u64,
        algorithm: Algorithm,
        later: impl FnOnce() -> Ticket<Result<Digest, LookupError>>,
    ) -> Answer<Result<Digest, LookupError>> {
        self.inner.hash(id, to, algorithm, later)
    }

    fn open(
        &self,
        id: &UploadId,
        later: impl FnOnce() -> Ticket<Opened<S::Source>>,
    ) -> Answer<Opened<S::Source>> {
        self.inner.open(id, later)
    }

    fn due_events(
        &self,
        query: EventQuery,
        later: impl FnOnce() -> Ticket<Result<DueEvents, Failure>>,
    ) -> Answer<Result<DueEvents, Failure>> {
        self.inner.due_events(query, later)
    }

    fn keep_events(&self, events: EventKinds, wake: Box<dyn Fn() + Send + Sync>) {
        self.inner.keep_events(events, wake);
    }

    fn pending_events(&self) -> Option<u64> {
        self.inner.pending_events()
    }

    fn files(&self, id: &UploadId) -> Result<Vec<(PathBuf, u64)>, Failure> {
        self.inner.files(id)
    }

    fn flush(&self, ticket: Ticket<Result<(), Failure>>) {
        self.inner.flush(ticket);
    }

    fn housekeep(&self, ticket: Ticket<Result<(), Failure>>) {
        self.inner.housekeep(ticket);
    }

    fn close(&self, ticket: Ticket<Result<(), Failure>>) {
        self.inner.close(ticket);
    }

    fn free_space(&self) -> Option<u64> {
        self.inner.free_space()
    }

    fn health(&self) -> Result<(), Failure> {
        self.inner.health()
    }
}

/// A sink of the other store, counted.
#[derive(Debug)]
struct CountingSink<S> {
    inner: S,
    bytes: Arc<AtomicU64>,
}

impl<S: Sink> CountingSink<S> {
    fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl<S: Sink> Sink for CountingSink<S> {
    type Staged = S::Staged;

    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        let before = data.remaining();
        let written = self.inner.write(data);
        self.count((before - data.remaining()) as u64);
        written
    }

    fn spliced(&mut self, bytes: u64) {
        self.inner.spliced(bytes);
        self.count(bytes);
    }

    fn poll_room(&mut self, waker: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        self.inner.poll_room(waker)
    }

    fn blocks(&self, len: usize) -> bool {
        self.inner.blocks(len)
    }

    fn splice_target(&mut self) -> Result<Option<(BorrowedFd<'_>, u64)>, Failure> {
        self.inner.splice_target()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn staged(&self) -> S::Staged {
        self.inner.staged()
    }
}

/// Uploads this in two requests, the second of which sends its beginning again, and returns how many bytes came.
fn upload(text: &str) -> io::Result<u64> {
    let bytes = Arc::new(AtomicU64::new(0));
    let counting = Counting { inner: MemoryStore::default(), bytes: bytes.clone() };
    let uploads = Blocking::new(|_: Arc<dyn Executor>| counting, Config::default());

    let length = text.len().to_string();
    let fields: [(&str, &[u8]); 3] =
        [("Tus-Resumable", b"1.0.0"), ("Upload-Length", length.as_bytes()), ("Content-Length", b"0")];
    let created = uploads.handle_request("POST", "/files", &fields, io::empty());
    let location = created.header("Location").ok_or(io::ErrorKind::NotFound)?;

    let half = text.len() / 2;
    for (from, status) in [(0, 204), (0, 409), (half, 204)] {
        let piece = if from == 0 { &text[..half] } else { &text[half..] };
        let (offset, length) = (from.to_string(), piece.len().to_string());
        let fields: [(&str, &[u8]); 4] = [
            ("Tus-Resumable", b"1.0.0"),
            ("Upload-Offset", offset.as_bytes()),
            ("Content-Type", b"application/offset+octet-stream"),
            ("Content-Length", length.as_bytes()),
        ];
        let response = uploads.handle_request("PATCH", location, &fields, piece.as_bytes());
        assert_eq!(response.status(), status, "{}", response.body());
    }
    Ok(bytes.load(Ordering::Relaxed))
}

#[allow(clippy::print_stdout)]
fn main() -> io::Result<()> {
    println!("{} bytes came", upload("hello world")?);
    Ok(())
}

#[test]
fn what_comes_is_counted_once() {
    assert_eq!(upload("hello world").ok(), Some(11));
}
