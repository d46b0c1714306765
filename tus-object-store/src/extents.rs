//! Committed bytes: made objects of, read, and removed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tus_proto::{Failure, UploadId};

use crate::{
    bucket::Fault,
    document::{Document, Extent, Place, Tail},
    keys,
    records::{Step, Trouble, failure},
    requests::PATIENCE,
    shared::Shared,
};

/// A store may take long to make an object of thousands of parts.
const COMPLETION: Duration = Duration::from_secs(110);

impl Shared {
    /// Makes objects of multipart uploads. One that is over already was completed by an earlier try, whose answer nobody has
    /// heard: then the object is there.
    pub(crate) async fn complete(&self, id: &str, extents: &mut [Extent]) -> Result<(), Failure> {
        for extent in extents {
            let Place::Parts { key: name, upload, parts, .. } = &extent.place else { continue };
            let key = keys::data(id, name);
            let until = self.requests.now().after(PATIENCE + COMPLETION);
            let complete = |bucket: &dyn crate::Bucket| {
                bucket.complete_multipart(key.clone(), upload.clone(), parts.clone())
            };
            match self.requests.clear_by(until, COMPLETION, complete).await {
                Ok(()) => {}
                Err(Fault::Missing) => {
                    // An object with fewer bytes was made by a writer that came after this one.
                    let size = self.requests.clear(|bucket| bucket.size(key.clone())).await;
                    let size = size.map_err(|fault| failure(&fault))?;
                    if size < extent.len {
                        return Err(Failure::Fenced);
                    }
                }
                Err(fault) => {
                    tracing::warn!(upload = id, error = %fault, "a multipart upload could not be completed");
                    return Err(failure(&fault));
                }
            }
            extent.place = Place::Object(name.clone());
        }
        Ok(())
    }

    /// Makes objects of an upload's multipart uploads before it is complete, so that its bytes can be read. What is
    /// written next goes elsewhere.
    pub(crate) async fn make_readable(&self, id: &UploadId, document: Document) -> Result<Document, Failure> {
        let mut extents = document.extents.clone();
        self.complete(id.as_str(), &mut extents).await?;
        let done = self
            .update(id, |now| {
                if now.extents != document.extents {
                    return Step::Leave(());
                }
                now.extents.clone_from(&extents);
                Step::Write(())
            })
            .await?;
        Ok(done.document)
    }

    /// Reads bytes of an upload from an offset on: as many as lie together, at most `max`; none past the last.
    pub(crate) async fn read_bytes(
        &self,
        id: &str,
        (extents, tail): (&[Extent], Option<&Tail>),
        at: u64,
        max: u64,
    ) -> Result<Bytes, Failure> {
        let mut start = 0;
        for extent in extents {
            let end = start + extent.len;
            if at < end {
                let range = at - start..(at - start + max).min(extent.len);
                return match &extent.place {
                    Place::Object(name) => self.read_object(id, name, range).await,
                    Place::Record(part) => self.read_tail(part, range).await,
                    // Parts can't be read before they are an object.
                    Place::Parts { .. } => Err(Failure::Io),
                };
            }
            start = end;
        }
        let Some(tail) = tail.filter(|tail| at < start + tail.len()) else { return Ok(Bytes::new()) };
        let range = at - start..(at - start + max).min(tail.len());
        match tail {
            Tail::Object { key, .. } => self.read_object(id, key, range).await,
            Tail::Inline(_) => slice(&tail.bytes()?, range),
        }
    }

    pub(crate) async fn read_object(
        &self,
        id: &str,
        name: &str,
        range: std::ops::Range<u64>,
    ) -> Result<Bytes, Failure> {
        let key = keys::data(id, name);
        let read = self.requests.clear(|bucket| bucket.get_range(key.clone(), range.clone())).await;
        match read {
            Ok(bytes) if bytes.len() as u64 == range.end - range.start => Ok(bytes),
            Ok(_) | Err(Fault::Missing) => {
                tracing::error!(upload = id, object = &*key, "committed bytes are missing");
                Err(Failure::Io)
            }
            Err(fault) => Err(failure(&fault)),
        }
    }

    /// Reads from the tail in another upload's record.
    async fn read_tail(&self, part: &str, range: std::ops::Range<u64>) -> Result<Bytes, Failure> {
        let id = UploadId::new(part).ok_or(Failure::Io)?;
        let document = self.read(&id).await.map_err(|trouble| match trouble {
            Trouble::Missing => Failure::Io,
            Trouble::Failed(failure) => failure,
        })?;
        slice(&document.tail.as_ref().ok_or(Failure::Io)?.bytes()?, range)
    }

    /// Removes an upload's bytes, once its record is a tombstone: what it names, and what writers that came to no commit
    /// have left.
    pub(crate) async fn remove_bytes(
        self: &Arc<Self>,
        id: &UploadId,
        document: &Document,
    ) -> Result<Removed, Failure> {
        if self.is_read(id) {
            return Ok(Removed::Later);
        }
        self.unmark_parts(id, document).await?;
        if self.is_shared(document).await? {
            return Ok(Removed::Shared);
        }
        for extent in &document.extents {
            if let Place::Parts { key, upload, .. } = &extent.place {
                let key = keys::data(id.as_str(), key);
                let abort = self.requests.clear(|bucket| bucket.abort_multipart(key.clone(), upload.clone()));
                abort.await.map_err(|fault| failure(&fault))?;
            }
            // What was adopted lies in no folder of the upload's. A final only names what its parts own.
            if let Place::Parts { key: name, .. } | Place::Object(name) = &extent.place
                && keys::is_foreign(name)
                && document.parts.is_none()
            {
                let key = keys::data(id.as_str(), name);
                let delete = self.requests.clear(|bucket| bucket.delete(key.clone()));
                delete.await.map_err(|fault| failure(&fault))?;
            }
        }
        loop {
            let folder = keys::folder(id.as_str());
            let listed = self.requests.clear(|bucket| bucket.list(folder.clone(), None, 1000)).await;
            let listed = listed.map_err(|fault| failure(&fault))?;
            for key in &listed {
                let delete = self.requests.clear(|bucket| bucket.delete(key.clone()));
                delete.await.map_err(|fault| failure(&fault))?;
            }
            if listed.len() < 1000 {
                return Ok(Removed::Yes);
            }
        }
    }
}

/// What became of a deleted upload's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    Yes,
    /// A download here is reading them.
    Later,
    /// A final has them, and sees to it that they are looked at when it goes.
    Shared,
}

fn slice(bytes: &Bytes, range: std::ops::Range<u64>) -> Result<Bytes, Failure> {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let (start, end) = (index(range.start), index(range.end));
    if start <= end && end <= bytes.len() { Ok(bytes.slice(start..end)) } else { Err(Failure::Io) }
}
