//! Uploads that another program has left in the same bucket: adopted where they are. A record is made that names the
//! other's object, or the parts of its multipart upload, so no byte moves; what lies past the last part is copied, as it
//! is not the upload's own yet. Nothing of the other's is changed or removed by that. Once adopted, the bytes are the
//! upload's: they go when it is deleted.

use bytes::Bytes;
use tus_driver::EventKind;
use tus_proto::{Failure, Record, WallTime};

use crate::{
    bucket::{Fault, Key, Part},
    document::{Document, Extent, Place, Tail},
    keys,
    records::{Trouble, failure},
    shared::Shared,
    store::BucketStore,
};

/// How many keys one listing asks for.
const PAGE: usize = 1000;

/// Where another program has an upload. Keys count from the bucket's root, and begin with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Foreign {
    /// The object that the upload becomes.
    pub object: String,
    /// The multipart upload that becomes the object.
    pub multipart: String,
    /// The object with the bytes past the last part, if it is there.
    pub tail: String,
}

/// The bytes that another program has of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignBytes {
    offset: u64,
    extents: Vec<Extent>,
    tail: Option<(String, u64)>,
    given_up: u64,
}

impl ForeignBytes {
    /// How many bytes there are without a gap.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many there are past a gap, which are no use.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Whether they are one object already, which is complete.
    pub fn is_object(&self) -> bool {
        matches!(self.extents.as_slice(), [Extent { place: Place::Object(_), .. }])
    }
}

/// What became of an upload that was to be adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Adopted {
    /// It has a record.
    Yes,
    /// There is a record of this id, or was until lately.
    Exists,
}

impl BucketStore {
    /// Shows the keys below a folder, which begins with `/` and counts from the bucket's root; so do they.
    ///
    /// # Errors
    /// The store's.
    pub async fn foreign_keys(&self, folder: &str, mut take: impl FnMut(&str)) -> Result<(), Failure> {
        let (requests, folder) = (&self.shared.requests, Key::from(folder));
        let mut after: Option<Key> = None;
        loop {
            let listed = requests.clear(|bucket| bucket.list(folder.clone(), after.clone(), PAGE)).await;
            let listed = listed.map_err(|fault| failure(&fault))?;
            listed.iter().for_each(|key| take(key));
            if listed.len() < PAGE {
                return Ok(());
            }
            after = listed.last().cloned();
        }
    }

    /// Reads another program's object as a whole, if it has at most `max` bytes; and when it was written. `None` if it is not
    /// there, or is longer.
    ///
    /// # Errors
    /// The store's.
    pub async fn read_foreign(
        &self,
        key: &str,
        max: u64,
    ) -> Result<Option<(Bytes, Option<WallTime>)>, Failure> {
        let (shared, key) = (&self.shared, Key::from(key));
        if shared.foreign_size(&key).await?.is_none_or(|size| size > max) {
            return Ok(None);
        }
        let modified = shared.requests.clear(|bucket| bucket.modified(key.clone())).await;
        let object = shared.requests.clear(|bucket| bucket.get(key.clone())).await;
        match object {
            Ok(object) => Ok(Some((object.bytes, modified.ok().flatten()))),
            Err(Fault::Missing) => Ok(None),
            Err(fault) => Err(failure(&fault)),
        }
    }

    /// Looks at what another program has of an upload. `None` if there is neither its object nor its multipart upload.
    ///
    /// # Errors
    /// The store's; [`Failure::Io`] if the store lists no parts.
    pub async fn survey(&self, foreign: &Foreign) -> Result<Option<ForeignBytes>, Failure> {
        let shared = &self.shared;
        let object = Key::from(foreign.object.as_str());
        // A multipart upload may be left in addition to its object.
        if let Some(len) = shared.foreign_size(&object).await? {
            let place = Place::Object(foreign.object.clone());
            let extents = if len > 0 { vec![Extent { len, place }] } else { Vec::new() };
            return Ok(Some(ForeignBytes { offset: len, extents, tail: None, given_up: 0 }));
        }
        let Some(parts) = shared.foreign_parts(&object, &foreign.multipart).await? else { return Ok(None) };
        let all: u64 = parts.iter().map(|part| part.size).sum();
        let whole = prefix(&parts, self.shared.options.min_part as u64);
        let (used, is_all) = (parts.get(..whole).unwrap_or_default(), whole == parts.len());
        let len: u64 = used.iter().map(|part| part.size).sum();
        let tail = shared.foreign_size(&Key::from(foreign.tail.as_str())).await?.unwrap_or(0);
        let extents = match len {
            0 => Vec::new(),
            _ => vec![Extent {
                len,
                place: Place::Parts {
                    key: foreign.object.clone(),
                    upload: foreign.multipart.clone(),
                    parts: used.iter().map(|part| part.tag.clone()).collect(),
                    // The next writer begins a multipart upload of its own.
                    open: false,
                },
            }],
        };
        let given_up = all - len + if is_all { 0 } else { tail };
        let tail = (is_all && tail > 0).then(|| (foreign.tail.clone(), tail));
        let offset = len + tail.as_ref().map_or(0, |(_, len)| *len);
        Ok(Some(ForeignBytes { offset, extents, tail, given_up }))
    }

    /// Makes the record of an upload whose bytes another program has. If that completes it, its multipart upload is
    /// completed too. `announce` keeps an event for hooks if it is complete.
    ///
    /// # Errors
    /// The store's; [`Failure::Io`] if the record has another offset than the bytes.
    pub async fn adopt(
        &self,
        record: &Record,
        bytes: &ForeignBytes,
        announce: bool,
    ) -> Result<Adopted, Failure> {
        let shared = &self.shared;
        if record.offset != bytes.offset || record.length.is_some_and(|length| length < bytes.offset) {
            return Err(Failure::Io);
        }
        let id = record.id.as_str();
        match shared.read(&record.id).await {
            Ok(_) => return Ok(Adopted::Exists),
            Err(Trouble::Missing) => {}
            Err(Trouble::Failed(failure)) => return Err(failure),
        }
        let mut document = Document::new(record);
        document.extents.clone_from(&bytes.extents);
        if record.is_complete() {
            shared.complete(id, &mut document.extents).await?;
        }
        if let Some((key, len)) = &bytes.tail {
            document.tail = Some(shared.copy_tail(id, key, *len).await?);
        }
        if let Some(expires) = document.expires {
            // Before the record: a record without an entry would never expire.
            shared.file_expiry(id, expires).await?;
        }
        if announce && record.is_complete() && !record.is_partial() {
            let hint = shared.put_hint(&record.id).await?;
            document.post(EventKind::Completed, shared.stamp(), hint);
        }
        let tail = document.tail_key();
        if shared.create(&record.id, document).await? {
            return Ok(Adopted::Yes);
        }
        if let Some(tail) = tail {
            shared.delete_later(tail);
        }
        Ok(Adopted::Exists)
    }
}

/// How many of the parts can become an object: those numbered without a gap, and none past one that is too short to be
/// followed.
fn prefix(parts: &[Part], min_part: u64) -> usize {
    let mut whole = 0;
    for (number, part) in parts.iter().enumerate() {
        if part.number != number {
            break;
        }
        whole += 1;
        if part.size < min_part {
            break;
        }
    }
    whole
}

impl Shared {
    /// `None` if it is not there.
    async fn foreign_size(&self, key: &Key) -> Result<Option<u64>, Failure> {
        match self.requests.clear(|bucket| bucket.size(key.clone())).await {
            Ok(size) => Ok(Some(size)),
            Err(Fault::Missing) => Ok(None),
            Err(fault) => Err(self.foreign_failure(key, &fault)),
        }
    }

    /// All parts of a multipart upload, in order. `None` if it is over.
    async fn foreign_parts(&self, key: &Key, upload: &str) -> Result<Option<Vec<Part>>, Failure> {
        let mut parts: Vec<Part> = Vec::new();
        loop {
            let after = parts.last().map(|part| part.number);
            let list = |bucket: &dyn crate::Bucket| bucket.list_parts(key.clone(), upload.to_owned(), after);
            match self.requests.clear(list).await {
                Ok(page) => {
                    let more = page.more && !page.parts.is_empty();
                    parts.extend(page.parts);
                    if !more {
                        return Ok(Some(parts));
                    }
                }
                Err(Fault::Missing) => return Ok(None),
                Err(fault) => return Err(self.foreign_failure(key, &fault)),
            }
        }
    }

    fn foreign_failure(&self, key: &Key, fault: &Fault) -> Failure {
        tracing::warn!(object = &**key, error = %fault, "another program's object can't be looked at");
        failure(fault)
    }

    /// Copies a tail to where this store can replace it.
    async fn copy_tail(&self, id: &str, from: &str, len: u64) -> Result<Tail, Failure> {
        let from = Key::from(from);
        if len <= self.options.inline as u64 {
            let read = self.requests.clear(|bucket| bucket.get_range(from.clone(), 0..len)).await;
            let bytes = read.map_err(|fault| failure(&fault))?;
            return if bytes.len() as u64 == len { Ok(Tail::inline(&bytes)) } else { Err(Failure::Io) };
        }
        let key = format!("tail-{:016x}", self.requests.random());
        let to = keys::data(id, &key);
        let copied = self.requests.clear(|bucket| bucket.copy(from.clone(), to.clone())).await;
        copied.map_err(|fault| failure(&fault))?;
        Ok(Tail::Object { key, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_as_far_as_they_can_become_an_object() {
        let parts = |sizes: &[(usize, u64)]| -> Vec<Part> {
            sizes.iter().map(|(number, size)| Part::new(*number, *size, String::new())).collect()
        };
        assert_eq!(prefix(&parts(&[]), 5), 0);
        assert_eq!(prefix(&parts(&[(0, 5), (1, 7), (2, 1)]), 5), 3);
        assert_eq!(prefix(&parts(&[(0, 5), (2, 7), (3, 1)]), 5), 1, "the second is missing");
        assert_eq!(prefix(&parts(&[(1, 5)]), 5), 0, "the first is missing");
        assert_eq!(prefix(&parts(&[(0, 5), (1, 4), (2, 5)]), 5), 2, "the second is too short to be followed");
    }
}
