//! Administration of a bucket, for the commands: through the bucket itself, whatever servers work on it meanwhile.

use std::{
    fmt,
    io::{self, Read},
    sync::{Arc, OnceLock, mpsc},
};

use bytes::Bytes;
use tus_driver::{Clock, Executor, JobQueue};
use tus_object_store::{Bucket, BucketFinding, BucketStore, BucketUpload, Options, WithRuntime};
use tus_proto::{Failure, Now, Record};
use tus_redb::UploadState;

use super::{
    AdminError, Administration, CheckPage, Content, Deleted, Extent, FindingDocument, Stats, Upload,
    UploadDetails, UploadPage, UploadQuery, documents, offline::named,
};

/// How many bytes of an upload are read at once.
const PIECE: u64 = 4 << 20;

/// A bucket.
#[derive(Clone)]
pub struct InBucket {
    store: BucketStore,
    executor: Arc<WithRuntime>,
    clock: Clock,
    /// All records, once a list has asked for them: the pages of one list are of one state.
    records: Arc<OnceLock<Vec<Record>>>,
}

impl fmt::Debug for InBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InBucket").field("store", &self.store).finish_non_exhaustive()
    }
}

impl InBucket {
    /// Administration of this bucket.
    ///
    /// # Errors
    /// The bucket can't be reached, or the system has no threads to give.
    pub fn open(bucket: Arc<dyn Bucket>) -> Result<Self, AdminError> {
        let clock = Clock::start(None);
        let queue = JobQueue::new(move || clock.now(), |out: &mut [u8]| getrandom::fill(out).is_ok());
        let executor = WithRuntime::new(Arc::new(queue), 2);
        let executor = Arc::new(executor.map_err(|error| AdminError::Failed(error.to_string()))?);
        let mut options = Options::default();
        // Servers try the bucket, and sweep.
        options.probe = false;
        options.sweep_interval = std::time::Duration::ZERO;
        let opened = BucketStore::open_blocking(bucket, executor.clone(), options);
        let store = opened.map_err(|error| AdminError::Failed(error.to_string()))?;
        Ok(Self { store, executor, clock, records: Arc::default() })
    }

    /// Checks the bucket, and mends what has one right answer.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn repair(&self) -> Result<CheckPage, AdminError> {
        self.checked(true)
    }

    /// Does something with the store in one of its tasks, and waits for that.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn with_store<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(BucketStore) -> F,
    ) -> Result<T, AdminError>
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        self.wait(work(self.store.clone()))
    }

    /// The time.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Waits for a task.
    fn wait<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, AdminError> {
        let (sender, receiver) = mpsc::channel();
        let task = Box::pin(async move {
            let _ = sender.send(task.await);
        });
        let ended = || AdminError::Failed("the tasks of the object store have ended".into());
        self.executor.spawn(task).map_err(|_| ended())?;
        let result = receiver.recv().map_err(|_| ended())?;
        result.map_err(|failure| {
            AdminError::Failed(format!(
                "the object store could not be read: {}",
                tus_redb::StoreError(failure)
            ))
        })
    }

    fn found(&self, id: &str) -> Result<BucketUpload, AdminError> {
        let (store, name) = (self.store.clone(), named(id)?);
        let found = self.wait(async move { store.describe(&name).await })?;
        found.ok_or_else(|| AdminError::unknown(id))
    }

    fn each(&self, mut take: impl FnMut(BucketUpload) + Send + 'static) -> Result<(), AdminError> {
        let store = self.store.clone();
        self.wait(async move { store.each_upload(&mut take).await })
    }

    fn records(&self) -> Result<&[Record], AdminError> {
        if self.records.get().is_none() {
            let (sender, receiver) = mpsc::channel();
            self.each(move |upload| {
                let _ = sender.send(upload.record().clone());
            })?;
            let _ = self.records.set(receiver.into_iter().collect());
        }
        Ok(self.records.get().map_or(&[], Vec::as_slice))
    }

    fn checked(&self, repair: bool) -> Result<CheckPage, AdminError> {
        let store = self.store.clone();
        let check = self.wait(async move { store.check(repair).await })?;
        Ok(CheckPage {
            uploads: check.uploads,
            bytes: check.bytes,
            findings: check.findings.into_iter().map(document).collect(),
            next: None,
        })
    }
}

fn document(finding: BucketFinding) -> FindingDocument {
    FindingDocument {
        kind: finding.kind.to_owned(),
        id: finding.id.map(|id| id.to_string()),
        path: finding.key,
        text: finding.text,
        remedy: finding.remedy,
    }
}

impl Administration for InBucket {
    fn uploads(&self, query: &UploadQuery) -> Result<UploadPage, AdminError> {
        let now = self.clock.now();
        let page = query.for_store(now)?.select(self.records()?.iter().cloned());
        Ok(UploadPage {
            uploads: page.records.iter().map(|record| Upload::of(record, now)).collect(),
            next: page.next.map(|next| next.to_string()),
        })
    }

    fn upload(&self, id: &str) -> Result<UploadDetails, AdminError> {
        let found = self.found(id)?;
        let extents = found.extents().into_iter();
        Ok(UploadDetails {
            upload: Upload::of(found.record(), self.clock.now()),
            metadata: documents::entries(&found.record().metadata),
            data: extents.map(|extent| Extent { path: extent.key, length: extent.length }).collect(),
            sha256: None,
        })
    }

    fn content(&self, id: &str) -> Result<Content, AdminError> {
        let upload = self.found(id)?;
        if !upload.is_readable() {
            return Err(AdminError::Failed(format!(
                "{id} is not finished, and its bytes are in a multipart upload, which can't be read before it is complete"
            )));
        }
        let length = upload.record().offset;
        Ok(Content {
            length,
            bytes: Box::new(Reading { of: self.clone(), upload, at: 0, here: Bytes::new() }),
        })
    }

    fn delete(&self, id: &str) -> Result<Deleted, AdminError> {
        let (store, name) = (self.store.clone(), named(id)?);
        match self.wait(async move { store.remove(&name).await })? {
            Some(bytes) => Ok(Deleted { deleted: id.to_owned(), bytes }),
            None => Err(AdminError::unknown(id)),
        }
    }

    fn stats(&self) -> Result<Stats, AdminError> {
        let now = self.clock.now().wall;
        let (sender, receiver) = mpsc::channel();
        self.each(move |upload| {
            let record = upload.record();
            let state = UploadState::of(record, now);
            let missing = record.length.map_or(0, |length| length.saturating_sub(record.offset));
            let _ = sender.send((state, record.offset, missing, upload.events() as u64));
        })?;
        let mut stats = Stats::default();
        for (state, bytes, missing, events) in receiver {
            stats.uploads += 1;
            stats.bytes = stats.bytes.saturating_add(bytes);
            stats.events += events;
            match state {
                UploadState::Finished => stats.finished += 1,
                UploadState::Expired => stats.expired += 1,
                _ => {
                    stats.unfinished += 1;
                    stats.missing = stats.missing.saturating_add(missing);
                }
            }
        }
        Ok(stats)
    }

    fn check(&self, _: Option<&str>) -> Result<CheckPage, AdminError> {
        self.checked(false)
    }
}

/// The bytes of an upload.
struct Reading {
    of: InBucket,
    upload: BucketUpload,
    at: u64,
    here: Bytes,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.here.is_empty() {
            let (store, upload, at) = (self.of.store.clone(), self.upload.clone(), self.at);
            let read = self.of.wait(async move { store.read_at(&upload, at, PIECE).await });
            self.here = read.map_err(|error| io::Error::other(error.to_string()))?;
            self.at += self.here.len() as u64;
        }
        let count = self.here.len().min(buffer.len());
        let taken = self.here.split_to(count);
        buffer.get_mut(..count).unwrap_or_default().copy_from_slice(&taken);
        Ok(count)
    }
}
