//! Finished uploads as objects with keys of their own, for readers that know nothing of records: `PREFIX/ID/NAME`. An id
//! is given once, so no object is ever written over another's, and to publish twice does no harm.
//!
//! A mark `p/SHARD/ID/NONCE` is written before the change that completes the upload, and the record names it. So after a
//! crash any server's sweep finds what is still to be published; a mark that no record names is dropped.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tus_proto::{Failure, UploadId};

use crate::{
    bucket::{Condition, Fault, Key, Payload},
    document::{Document, Place},
    keys,
    records::{Step, Trouble, failure},
    shared::Shared,
};

/// How many marks are read at once.
const PAGE: usize = 1000;

/// The longest name, in bytes.
const LONGEST: usize = 200;

/// The name of an upload without one.
const UNNAMED: &str = "upload";

impl Shared {
    /// Says that an upload is about to be complete, and is to be published then. `None` if nothing is published.
    pub(crate) async fn mark_for_publication(&self, id: &UploadId) -> Result<Option<String>, Failure> {
        if self.options.publish_prefix.is_none() {
            return Ok(None);
        }
        let name = format!("{:016x}", self.requests.random());
        let key = keys::publication(id.as_str(), &name);
        let text = Bytes::from_static(b"-");
        let put = self.requests.clear(|bucket| bucket.put(key.clone(), text.clone().into(), Condition::None));
        put.await.map(|_| Some(name)).map_err(|fault| failure(&fault))
    }

    /// Publishes an upload that this server has completed. What does not work out is done by a sweep.
    pub(crate) fn publish_later(self: &Arc<Self>, id: &UploadId) {
        if self.options.publish_prefix.is_none() {
            return;
        }
        let (shared, id) = (self.clone(), id.clone());
        self.spawn(async move {
            if let Err(failure) = shared.publish(&id).await {
                tracing::warn!(
                    upload = id.as_str(),
                    ?failure,
                    "an upload could not be published; a sweep does it"
                );
            }
        });
    }

    /// Publishes what other servers have left, and drops marks that no record names.
    pub(crate) async fn publish_rest(self: &Arc<Self>) -> Result<(), Failure> {
        if self.options.publish_prefix.is_none() {
            return Ok(());
        }
        for shard in 0..keys::INDEX_SHARDS {
            let mut after: Option<Key> = None;
            loop {
                let folder = keys::publications(shard);
                let listed =
                    self.requests.clear(|bucket| bucket.list(folder.clone(), after.clone(), PAGE)).await;
                let listed = listed.map_err(|fault| failure(&fault))?;
                for key in &listed {
                    let Some((id, name)) = keys::parse_hint(key) else { continue };
                    let Some(id) = UploadId::new(id) else { continue };
                    let wanted = match self.read(&id).await {
                        Ok(document) => document.is_live() && document.publication.as_deref() == Some(name),
                        Err(Trouble::Missing) => false,
                        Err(Trouble::Failed(failure)) => return Err(failure),
                    };
                    if wanted {
                        self.publish(&id).await?;
                    } else if self.is_stale(&id, 0, key) {
                        // The change that it was for was never made.
                        self.delete_later(key.clone());
                    }
                }
                if listed.len() < PAGE || self.is_closing() {
                    break;
                }
                after = listed.last().cloned();
            }
        }
        Ok(())
    }

    async fn publish(self: &Arc<Self>, id: &UploadId) -> Result<(), Failure> {
        let Some(prefix) = &self.options.publish_prefix else { return Ok(()) };
        let Ok(_place) = self.publishing.acquire().await else { return Ok(()) };
        let document = match self.read(id).await {
            Ok(document) => document,
            Err(Trouble::Missing) => return Ok(()),
            Err(Trouble::Failed(failure)) => return Err(failure),
        };
        let Some(mark) = document.publication.clone() else { return Ok(()) };
        if !document.is_live() || !document.is_complete() {
            return Ok(());
        }
        let key: Key = format!("{prefix}/{id}/{}", file_name(&document.metadata)).into();
        if !self.copy_object(&document, &key).await? {
            self.copy_bytes(&document, &key).await?;
        }
        let unmark = |document: &mut Document| match document.publication.as_ref() == Some(&mark) {
            true => {
                document.publication = None;
                Step::Write(())
            }
            false => Step::Leave(()),
        };
        match self.update(id, unmark).await {
            Ok(_) | Err(Trouble::Missing) => {}
            Err(Trouble::Failed(failure)) => return Err(failure),
        }
        self.delete_later(keys::publication(id.as_str(), &mark));
        Ok(())
    }

    /// Has the store copy an upload that is one object, and nothing but it. Returns whether it has.
    async fn copy_object(&self, document: &Document, to: &Key) -> Result<bool, Failure> {
        let ([only], None) = (document.extents.as_slice(), &document.tail) else { return Ok(false) };
        let Place::Object(name) = &only.place else { return Ok(false) };
        let from = keys::data(&document.id, name);
        let size = self.requests.clear(|bucket| bucket.size(from.clone())).await;
        if size.map_err(|fault| failure(&fault))? != only.len {
            return Ok(false);
        }
        match self.requests.clear(|bucket| bucket.copy(from.clone(), to.clone())).await {
            Ok(()) => Ok(true),
            // S3 copies no more than 5 GiB at once.
            Err(Fault::Denied(_)) => Ok(false),
            Err(fault) => Err(failure(&fault)),
        }
    }

    /// Copies an upload's bytes, a part at a time.
    async fn copy_bytes(&self, document: &Document, to: &Key) -> Result<(), Failure> {
        let size = self.options.part_size as u64;
        let smallest = document.offset.div_ceil(9_000);
        let size = size.max(smallest);
        if document.offset <= size {
            let payload = self.read_part(document, 0, document.offset).await?;
            let put = self.requests.clear(|bucket| bucket.put(to.clone(), payload.clone(), Condition::None));
            return put.await.map(drop).map_err(|fault| failure(&fault));
        }
        let upload = self.requests.clear(|bucket| bucket.create_multipart(to.clone())).await;
        let upload = upload.map_err(|fault| failure(&fault))?;
        let mut parts = Vec::new();
        let mut at = 0;
        while at < document.offset {
            let end = (at + size).min(document.offset);
            let payload = self.read_part(document, at, end).await?;
            let number = parts.len();
            let put = self
                .requests
                .clear(|bucket| bucket.put_part(to.clone(), upload.clone(), number, payload.clone()));
            parts.push(put.await.map_err(|fault| failure(&fault))?);
            at = end;
        }
        let complete = self
            .requests
            .clear(|bucket| bucket.complete_multipart(to.clone(), upload.clone(), parts.clone()));
        match complete.await {
            // It was completed by the attempt whose answer was lost.
            Ok(()) | Err(Fault::Missing) => Ok(()),
            Err(fault) => Err(failure(&fault)),
        }
    }

    async fn read_part(&self, document: &Document, from: u64, to: u64) -> Result<Payload, Failure> {
        let mut pieces = Vec::new();
        let mut at = from;
        while at < to {
            let place = (document.extents.as_slice(), document.tail.as_ref());
            let bytes = self.read_bytes(&document.id, place, at, to - at).await?;
            if bytes.is_empty() {
                return Err(Failure::Io);
            }
            at += bytes.len() as u64;
            pieces.push(bytes);
        }
        Ok(pieces.into())
    }
}

/// The upload's name as a part of a key: letters, digits and a few signs, which need no escape anywhere.
fn file_name(metadata: &str) -> String {
    let value = metadata.split(',').find_map(|pair| pair.trim().strip_prefix("filename "));
    let bytes = value.and_then(|value| STANDARD.decode(value.trim()).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let harmless = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = text.chars().map(harmless).take(LONGEST).collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() { UNNAMED.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless() {
        let name = |text: &str| file_name(&format!("filetype eA==,filename {}", STANDARD.encode(text)));
        assert_eq!(name("report 7.pdf"), "report_7.pdf");
        assert_eq!(name("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(name(".."), UNNAMED);
        assert_eq!(file_name(""), UNNAMED);
        assert_eq!(name(&"a".repeat(500)).len(), LONGEST);
    }
}
