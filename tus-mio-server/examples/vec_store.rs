//! A store over a `Vec`: it keeps its promises until the process ends. It has no outbox, so no hook is told of events, and
//! it makes no finals, so concatenation is switched off.
//!
//! `cargo run -p tus-mio-server --example vec_store`

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use tus_mio_server::{
    Blocking,
    tus_driver::{
        Answer, AppendGrant, Change, Changed, Commit, DueEvents, EventKinds, EventQuery, Executor, Loaded,
        LookupError, Opened, Sink, Source, Store, Ticket,
        bytes::{Buf, BufMut},
    },
    tus_proto::{Algorithm, Completion, Config, Digest, Failure, Fence, Hasher, Record, UploadId},
};

/// All uploads, each with the bytes that are committed and the highest fencing number that was seen.
#[derive(Debug, Default)]
struct VecStore(Mutex<Vec<Upload>>);

#[derive(Debug)]
struct Upload {
    record: Record,
    bytes: Vec<u8>,
    fence: Fence,
}

impl VecStore {
    fn uploads(&self) -> MutexGuard<'_, Vec<Upload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, change: Change<VecSink>) -> Result<Completion, LookupError> {
        let mut uploads = self.uploads();
        Ok(match change {
            Change::Create { record, .. } if uploads.iter().any(|upload| upload.record.id == record.id) => {
                Completion::Exists
            }
            // It reserves no memory, so no first bytes come with a record.
            Change::Create { record, .. } => {
                uploads.push(Upload { record, bytes: Vec::new(), fence: Fence(0) });
                Completion::Created
            }
            Change::Commit(commit) => {
                let upload = for_writer(&mut uploads, &commit.id, commit.fence)?;
                upload.commit(commit)?
            }
            // Staged bytes are their sink's alone, and go with it.
            Change::Discard { .. } => Completion::Discarded,
            Change::Delete { id, fence } => {
                for_writer(&mut uploads, &id, fence)?;
                uploads.retain(|upload| upload.record.id != id);
                Completion::Deleted
            }
            Change::Concat { .. } => Completion::Failed(Failure::Unavailable),
            Change::Acknowledge { .. } | Change::Postpone { .. } => Completion::Missing,
        })
    }
}

/// An upload for a writer, unless a later one has been here.
fn for_writer<'a>(
    uploads: &'a mut [Upload],
    id: &UploadId,
    fence: Fence,
) -> Result<&'a mut Upload, LookupError> {
    let upload = uploads.iter_mut().find(|upload| upload.record.id == *id).ok_or(LookupError::Missing)?;
    if fence < upload.fence {
        return Err(LookupError::Conflict { offset: upload.record.offset });
    }
    upload.fence = fence;
    Ok(upload)
}

impl Upload {
    /// Compares and sets the offset, and takes the bytes over.
    fn commit(&mut self, commit: Commit<VecSink>) -> Result<Completion, LookupError> {
        let Commit { from, to, length, expires, staged, .. } = commit;
        let length = self.record.length.or(length);
        if from != self.record.offset || length.is_some_and(|length| to > length) {
            return Err(LookupError::Conflict { offset: self.record.offset });
        }
        if to > from {
            let staged = staged.ok_or(LookupError::Failed(Failure::Io))?;
            self.bytes.extend(staged.range(from, to).map_err(LookupError::Failed)?);
        }
        (self.record.offset, self.record.length, self.record.expires) = (to, length, expires);
        Ok(Completion::Committed { offset: to })
    }
}

impl Store for VecStore {
    type Sink = VecSink;
    /// A clone of the sink: it has the same bytes.
    type Staged = VecSink;
    type Source = VecSource;

    fn first_fence(&self) -> Fence {
        Fence(1)
    }

    fn load(&self, id: &UploadId, _: impl FnOnce() -> Ticket<Loaded>) -> Answer<Loaded> {
        let uploads = self.uploads();
        let found = uploads.iter().find(|upload| upload.record.id == *id);
        Answer::Now(found.map(|upload| upload.record.clone()).ok_or(LookupError::Missing))
    }

    fn append(
        &self,
        grant: AppendGrant,
        _: impl FnOnce() -> Ticket<Opened<VecSink>>,
    ) -> Answer<Opened<VecSink>> {
        let mut uploads = self.uploads();
        // `rotate` asks for nothing more: no sink writes where another does.
        Answer::Now(for_writer(&mut uploads, &grant.id, grant.fence).and_then(|upload| {
            match upload.record.offset == grant.at {
                true => Ok(VecSink { at: grant.at, bytes: Arc::default() }),
                false => Err(LookupError::Conflict { offset: upload.record.offset }),
            }
        }))
    }

    fn change(&self, change: Change<VecSink>, _: impl FnOnce() -> Ticket<Changed>) -> Answer<Changed> {
        Answer::Now(self.apply(change).unwrap_or_else(LookupError::into).into())
    }

    fn digest(
        &self,
        staged: &VecSink,
        (from, to): (u64, u64),
        algorithm: Algorithm,
        _: impl FnOnce() -> Ticket<Result<Digest, Failure>>,
    ) -> Answer<Result<Digest, Failure>> {
        Answer::Now(staged.range(from, to).map(|bytes| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&bytes);
            hasher.finish()
        }))
    }

    fn open(
        &self,
        id: &UploadId,
        _: impl FnOnce() -> Ticket<Opened<VecSource>>,
    ) -> Answer<Opened<VecSource>> {
        let uploads = self.uploads();
        let found = uploads.iter().find(|upload| upload.record.id == *id);
        let source =
            |upload: &Upload| VecSource { record: upload.record.clone(), bytes: upload.bytes.clone() };
        Answer::Now(found.map(source).ok_or(LookupError::Missing))
    }

    fn due_events(
        &self,
        _: EventQuery,
        _: impl FnOnce() -> Ticket<Result<DueEvents, Failure>>,
    ) -> Answer<Result<DueEvents, Failure>> {
        Answer::Now(Ok(DueEvents::default()))
    }

    fn keep_events(&self, _: EventKinds, _: Box<dyn Fn() + Send + Sync>) {}

    fn flush(&self, ticket: Ticket<Result<(), Failure>>) {
        ticket.answer(Ok(()));
    }

    fn close(&self, ticket: Ticket<Result<(), Failure>>) {
        ticket.answer(Ok(()));
    }
}

/// Bytes from the offset `at` on that no commit has taken over.
#[derive(Clone, Debug)]
struct VecSink {
    at: u64,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl VecSink {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn range(&self, from: u64, to: u64) -> Result<Vec<u8>, Failure> {
        let index = |offset: u64| usize::try_from(offset.checked_sub(self.at)?).ok();
        let range = index(from).zip(index(to)).map(|(from, to)| from..to);
        range.and_then(|range| self.bytes().get(range).map(<[u8]>::to_vec)).ok_or(Failure::Io)
    }
}

impl Sink for VecSink {
    type Staged = Self;

    fn write(&mut self, data: &mut dyn Buf) -> Result<(), Failure> {
        self.bytes().put(data);
        Ok(())
    }

    fn blocks(&self, _: usize) -> bool {
        false
    }

    fn len(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn staged(&self) -> Self {
        self.clone()
    }
}

/// A copy of what was committed.
#[derive(Debug)]
struct VecSource {
    record: Record,
    bytes: Vec<u8>,
}

impl Source for VecSource {
    fn record(&self) -> &Record {
        &self.record
    }

    fn poll_read(&mut self, at: u64, buf: &mut [u8], _: &dyn Fn() -> Waker) -> Poll<Result<usize, Failure>> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let mut rest = self.bytes.get(at..).unwrap_or_default();
        Poll::Ready(rest.read(buf).map_err(|_| Failure::Io))
    }

    fn blocks(&self) -> bool {
        false
    }
}

/// Uploads these pieces, and returns what a download brings.
fn round_trip(pieces: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let config = Config::builder().concatenation(false).downloads(true).build()?;
    let uploads = Blocking::new(|_: Arc<dyn Executor>| VecStore::default(), config);
    let create: [(&str, &[u8]); 3] =
        [("Tus-Resumable", b"1.0.0"), ("Upload-Defer-Length", b"1"), ("Content-Length", b"0")];
    let created = uploads.handle_request("POST", "/files", &create, io::empty());
    let location = created.header("Location").ok_or(created.body())?;

    let length = pieces.iter().map(|piece| piece.len()).sum::<usize>().to_string();
    let mut offset = "0".to_owned();
    for piece in pieces {
        let fields: [(&str, &[u8]); 4] = [
            ("Tus-Resumable", b"1.0.0"),
            ("Upload-Offset", offset.as_bytes()),
            ("Upload-Length", length.as_bytes()),
            ("Content-Type", b"application/offset+octet-stream"),
        ];
        let response = uploads.handle_request("PATCH", location, &fields, piece.as_bytes());
        offset = response.header("Upload-Offset").ok_or(response.body())?.to_owned();
    }
    let mut text = String::new();
    let (_, mut body) = uploads.handle_request("GET", location, &[], io::empty()).into_parts();
    body.read_to_string(&mut text)?;
    Ok(text)
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", round_trip(&["hello ", "world"])?);
    Ok(())
}

#[test]
fn what_was_uploaded_comes_back() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(round_trip(&["hello ", "", "world"])?, "hello world");
    Ok(())
}
