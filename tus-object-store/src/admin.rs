//! What an operator asks a bucket: which uploads there are, what each consists of, and whether the objects that records name
//! are there. Every answer costs a look at each record; none takes a lease.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tus_proto::{Failure, Record, UploadId};

use crate::{
    bucket::{Fault, Key},
    document::{Document, Place, State, Tail},
    keys,
    records::{Step, Trouble, failure},
    shared::Shared,
    store::BucketStore,
};

/// How many keys one listing asks for.
const PAGE: usize = 1000;

/// How many records are read at once.
const AT_ONCE: usize = 16;

/// An upload as its record tells it.
#[derive(Clone, Debug)]
pub struct BucketUpload {
    record: Record,
    document: Document,
}

/// Committed bytes that lie one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketExtent {
    /// The object's key below the store's prefix; `None` if the bytes are in a record.
    pub key: Option<String>,
    /// How many bytes.
    pub length: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketFinding {
    /// `damaged-record`, `missing-object`, `short-object`, `wrong-expiry`, `wrong-tombstone`, `wrong-length` or `stray`.
    pub kind: &'static str,
    /// The upload that it is about.
    pub id: Option<UploadId>,
    /// The object that it is about.
    pub key: Option<String>,
    /// A sentence.
    pub text: String,
    /// What was done about it; `None` if nothing was.
    pub remedy: Option<String>,
}

/// What a check has looked at, and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketCheck {
    /// How many uploads there are.
    pub uploads: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// What is wrong, or was.
    pub findings: Vec<BucketFinding>,
}

impl BucketUpload {
    fn new(id: &UploadId, document: Document) -> Self {
        Self { record: document.record(id), document }
    }

    /// The record as the protocol knows it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// How many events no hook has taken note of yet.
    pub fn events(&self) -> usize {
        self.document.events.len()
    }

    /// Where its bytes are, in order.
    pub fn extents(&self) -> Vec<BucketExtent> {
        let id = &self.document.id;
        let key = |name: &str| Some(keys::data(id, name).to_string());
        let extents = self.document.extents.iter().map(|extent| BucketExtent {
            key: match &extent.place {
                Place::Object(name) | Place::Parts { key: name, .. } => key(name),
                Place::Record(_) => None,
            },
            length: extent.len,
        });
        let tail = self.document.tail.iter().map(|tail| BucketExtent {
            key: match tail {
                Tail::Object { key: name, .. } => key(name),
                Tail::Inline(_) => None,
            },
            length: tail.len(),
        });
        extents.chain(tail).collect()
    }

    /// Whether its bytes can be read: not those in a multipart upload that is not complete.
    pub fn is_readable(&self) -> bool {
        !self.document.extents.iter().any(|extent| matches!(extent.place, Place::Parts { .. }))
    }
}

impl BucketStore {
    /// Shows every upload that there is, expired ones included until they are removed. Those whose records can't be
    /// understood are left out: [`check`](Self::check) names them.
    ///
    /// # Errors
    /// The store's.
    pub async fn each_upload(&self, mut take: impl FnMut(BucketUpload)) -> Result<(), Failure> {
        self.shared
            .each_record(|id, document| {
                if let Ok(document) = document
                    && document.is_live()
                {
                    take(BucketUpload::new(&id, document));
                }
            })
            .await
    }

    /// An upload. `None` if there is none.
    ///
    /// # Errors
    /// The store's; or the record can't be understood.
    pub async fn describe(&self, id: &UploadId) -> Result<Option<BucketUpload>, Failure> {
        match self.shared.read(id).await {
            Ok(document) if document.is_live() => Ok(Some(BucketUpload::new(id, document))),
            Ok(_) | Err(Trouble::Missing) => Ok(None),
            Err(Trouble::Failed(failure)) => Err(failure),
        }
    }

    /// Reads bytes of an upload from an offset on: as many as lie together, at most `max`; none past the last.
    ///
    /// # Errors
    /// The store's; [`Failure::Io`] if the bytes are in a multipart upload that is not complete.
    pub async fn read_at(&self, upload: &BucketUpload, at: u64, max: u64) -> Result<Bytes, Failure> {
        let document = &upload.document;
        let place = (document.extents.as_slice(), document.tail.as_ref());
        self.shared.read_bytes(&document.id, place, at, max).await
    }

    /// Deletes an upload, and its bytes. A request that is writing to it loses its lease. Returns how many bytes it had; `None` if
    /// there is no such upload.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, id: &UploadId) -> Result<Option<u64>, Failure> {
        let shared = &self.shared;
        let now = shared.requests.executor.now().wall;
        let until = now.after(shared.options.remembered).as_micros();
        // Before the tombstone: a crash in between must leave a sweep something to go by.
        shared.file_expiry(id.as_str(), now.as_micros()).await?;
        let bury = |document: &mut Document| {
            if !document.is_live() {
                return Step::Leave(None);
            }
            document.fence += 1;
            document.bury(State::Deleted { until });
            Step::Write(Some(document.offset))
        };
        let done = match shared.update(id, bury).await {
            Ok(done) => done,
            Err(Trouble::Missing) => return Ok(None),
            Err(Trouble::Failed(failure)) => return Err(failure),
        };
        if done.value.is_some() {
            shared.delete_pending_finals(&done.document).await;
            // What is left of it is a sweep's.
            if let Err(failure) = shared.remove_bytes(id, &done.document).await {
                tracing::warn!(upload = id.as_str(), ?failure, "bytes of a deleted upload stay for a sweep");
            }
        }
        Ok(done.value)
    }

    /// Looks at every record, and whether the objects that it names are there. With `repair`, mends what has one right
    /// answer: entries of the expiry index are written anew. No byte is destroyed.
    ///
    /// Servers may run meanwhile. Objects that no record names are findings only where their upload has no record at
    /// all: a writer that came to no commit leaves others, and they go with their upload.
    ///
    /// # Errors
    /// The store's.
    pub async fn check(&self, repair: bool) -> Result<BucketCheck, Failure> {
        let shared = &self.shared;
        let objects = shared.data_objects().await?;
        let mut check = BucketCheck::default();
        let mut documents = Vec::new();
        let mut known = BTreeSet::new();
        shared
            .each_record(|id, document| {
                known.insert(id.as_str().to_owned());
                match document {
                    Ok(document) => documents.push((id, document)),
                    Err(why) => check.findings.push(BucketFinding {
                        kind: "damaged-record",
                        key: Some(keys::record(id.as_str()).to_string()),
                        text: format!("the record of {id} can't be understood: {why}"),
                        id: Some(id),
                        remedy: None,
                    }),
                }
            })
            .await?;
        // Read after the records: an entry is written before its record, and a new one before the old one goes.
        let filed = shared.filed().await?;
        for (id, document) in &documents {
            check
                .findings
                .extend(shared.check_index(id, document, filed.contains(id.as_str()), repair).await?);
            if document.is_live() {
                check.uploads += 1;
                check.bytes = check.bytes.saturating_add(document.offset);
                check.findings.extend(shared.check_bytes(id, document).await?);
            }
        }
        for key in objects.iter().filter(|key| owner(key).is_none_or(|id| !known.contains(id))) {
            check.findings.push(BucketFinding {
                kind: "stray",
                id: None,
                key: Some(key.to_string()),
                text: format!(
                    "{key} belongs to no upload: an upload that was removed, or never created, has left it"
                ),
                remedy: None,
            });
        }
        Ok(check)
    }
}

/// The upload whose folder an object is in.
fn owner(key: &str) -> Option<&str> {
    key.split('/').nth(2)
}

impl Shared {
    /// Shows all keys below a folder.
    async fn each_key(&self, folder: &'static str, mut take: impl FnMut(&Key)) -> Result<(), Failure> {
        let folder: Key = folder.into();
        let mut after: Option<Key> = None;
        loop {
            let listed = self.requests.clear(|bucket| bucket.list(folder.clone(), after.clone(), PAGE)).await;
            let listed = listed.map_err(|fault| failure(&fault))?;
            listed.iter().for_each(&mut take);
            if listed.len() < PAGE {
                return Ok(());
            }
            after = listed.last().cloned();
        }
    }

    /// Shows every record, or why it can't be understood.
    async fn each_record(
        &self,
        mut take: impl FnMut(UploadId, Result<Document, String>),
    ) -> Result<(), Failure> {
        let mut ids = Vec::new();
        self.each_key("u", |key| ids.extend(key.rsplit('/').next().and_then(UploadId::new))).await?;
        ids.sort_unstable();
        let reads = ids.into_iter().map(|id| async move {
            let key = keys::record(id.as_str());
            let object = self.requests.clear(|bucket| bucket.get(key.clone())).await;
            (id, object)
        });
        let mut reads = stream::iter(reads).buffered(AT_ONCE);
        while let Some((id, object)) = reads.next().await {
            match object {
                Ok(object) => take(id, Document::decode(&object.bytes)),
                // It was removed since it was listed.
                Err(Fault::Missing) => {}
                Err(fault) => return Err(failure(&fault)),
            }
        }
        Ok(())
    }

    /// The uploads that the expiry index has.
    async fn filed(&self) -> Result<BTreeSet<String>, Failure> {
        let mut filed = BTreeSet::new();
        self.each_key("x", |key| filed.extend(keys::parse_expiry(key).map(|(_, id)| id.to_owned()))).await?;
        Ok(filed)
    }

    /// All objects that have bytes.
    async fn data_objects(&self) -> Result<BTreeSet<Key>, Failure> {
        let mut objects = BTreeSet::new();
        self.each_key("d", |key| {
            objects.insert(key.clone());
        })
        .await?;
        Ok(objects)
    }

    async fn check_index(
        &self,
        id: &UploadId,
        document: &Document,
        is_filed: bool,
        repair: bool,
    ) -> Result<Option<BucketFinding>, Failure> {
        let (kind, due, what) = match document.state {
            State::Live => match document.expires {
                Some(expires) => ("wrong-expiry", expires, "would never expire"),
                None => return Ok(None),
            },
            // One whose bytes a final has is looked at when that goes.
            State::Deleted { .. } | State::Expired { .. } if !document.finals.is_empty() => return Ok(None),
            State::Deleted { until } | State::Expired { until } => {
                ("wrong-tombstone", until, "is gone, and its record would stay for ever")
            }
        };
        if is_filed || self.has_changed(id, document).await? {
            return Ok(None);
        }
        if repair {
            self.file_expiry(id.as_str(), due).await?;
        }
        Ok(Some(BucketFinding {
            kind,
            id: Some(id.clone()),
            key: None,
            text: format!("{id} {what}: the expiry index lacks it"),
            remedy: repair.then(|| "it was filed anew".to_owned()),
        }))
    }

    async fn check_bytes(&self, id: &UploadId, document: &Document) -> Result<Vec<BucketFinding>, Failure> {
        let mut wanted: BTreeMap<Key, u64> = BTreeMap::new();
        let mut sum = 0u64;
        for extent in &document.extents {
            sum = sum.saturating_add(extent.len);
            if let Place::Object(name) = &extent.place {
                let key = keys::data(&document.id, name);
                let length = wanted.entry(key).or_default();
                *length = (*length).max(extent.len);
            }
        }
        if let Some(tail) = &document.tail {
            sum = sum.saturating_add(tail.len());
            if let (Tail::Object { len, .. }, Some(key)) = (tail, document.tail_key()) {
                wanted.insert(key, *len);
            }
        }
        let mut findings = Vec::new();
        let mut find = |kind, key: Option<&Key>, text| {
            let (id, key) = (Some(id.clone()), key.map(ToString::to_string));
            findings.push(BucketFinding { kind, id, key, text, remedy: None });
        };
        if sum != document.offset {
            let text = format!("{id} is at offset {}, and its record names {sum} bytes", document.offset);
            find("wrong-length", None, text);
        }
        for (key, length) in wanted {
            match self.requests.clear(|bucket| bucket.size(key.clone())).await {
                Ok(size) if size >= length => {}
                Ok(size) => {
                    let text = format!("{key} has {size} bytes, and {id} has {length} there");
                    find("short-object", Some(&key), text);
                }
                Err(Fault::Missing) if self.has_changed(id, document).await? => return Ok(Vec::new()),
                Err(Fault::Missing) => {
                    let text = format!("{key} is not there, and {id} has {length} bytes in it");
                    find("missing-object", Some(&key), text);
                }
                Err(fault) => return Err(failure(&fault)),
            }
        }
        Ok(findings)
    }

    /// Whether a record is another by now.
    async fn has_changed(&self, id: &UploadId, document: &Document) -> Result<bool, Failure> {
        match self.read(id).await {
            Ok(now) => Ok(now.counter != document.counter),
            Err(Trouble::Missing) => Ok(true),
            Err(Trouble::Failed(failure)) => Err(failure),
        }
    }
}
