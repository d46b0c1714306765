//! A [`Bucket`] on the crate `object_store`.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::{
    Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
    multipart::{MultipartStore, PartId},
    path::Path,
};

use tus_proto::WallTime;

use crate::bucket::{Bucket, Condition, Fault, Key, Object, PartPage, Payload, Reply, Version};

/// A bucket of the crate `object_store`, or what lies below a prefix in it. The client must not retry by itself: its
/// retries blur which answers were lost.
pub struct CloudBucket<S> {
    store: Arc<S>,
    prefix: Path,
    parts: Option<Arc<dyn ListParts>>,
}

/// Lists the parts of multipart uploads, which the crate `object_store` does not.
pub(crate) trait ListParts: Send + Sync {
    /// As [`Bucket::list_parts`].
    fn list_parts(&self, path: Path, upload: String, after: Option<usize>) -> Reply<PartPage>;
}

impl<S: ObjectStore + MultipartStore> CloudBucket<S> {
    /// What lies below `prefix`, a path of folders; all of the bucket if it is empty.
    pub fn new(store: S, prefix: &str) -> Self {
        Self { store: Arc::new(store), prefix: Path::from(prefix), parts: None }
    }

    /// With a way to list parts.
    #[cfg(feature = "cloud")]
    pub(crate) fn with_parts(mut self, parts: Arc<dyn ListParts>) -> Self {
        self.parts = Some(parts);
        self
    }

    fn path(&self, key: &str) -> Path {
        if let Some(rooted) = key.strip_prefix('/') {
            // Another program's key, as it is. One that no client can name names nothing.
            return Path::parse(rooted).unwrap_or_else(|_| Path::from(rooted));
        }
        // Keys are made of letters, digits, `_`, `-` and `/` alone: nothing is encoded, and nothing can fail.
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }
}

impl<S> fmt::Debug for CloudBucket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudBucket").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn to_fault(error: Error) -> Fault {
    match error {
        Error::NotFound { .. } => Fault::Missing,
        // A 409 comes as `AlreadyExists`: two conditional writes met.
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => {
            Fault::Condition
        }
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::InvalidPath { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::UnknownConfigurationKey { .. } => Fault::Denied(error.to_string()),
        other => Fault::Unclear(other.to_string()),
    }
}

/// A multipart upload that is over is told in several ways.
fn to_multipart_fault(error: Error) -> Fault {
    match to_fault(error) {
        Fault::Unclear(why)
            if why.contains("NoSuchUpload")
                || why.contains("UploadNotFound")
                || why.contains("upload found") =>
        {
            Fault::Missing
        }
        fault => fault,
    }
}

fn to_payload(payload: &Payload) -> PutPayload {
    payload.pieces().iter().cloned().collect()
}

impl<S: ObjectStore + MultipartStore> Bucket for CloudBucket<S> {
    fn get(&self, key: Key) -> Reply<Object> {
        let (store, path) = (self.store.clone(), self.path(&key));
        Box::pin(async move {
            let result = store.get_opts(&path, GetOptions::default()).await.map_err(to_fault)?;
            let version = Version::new(result.meta.e_tag.clone(), result.meta.version.clone());
            let bytes = result.bytes().await.map_err(to_fault)?;
            Ok(Object { bytes, version })
        })
    }

    fn get_range(&self, key: Key, range: Range<u64>) -> Reply<Bytes> {
        let (store, path) = (self.store.clone(), self.path(&key));
        Box::pin(async move { store.get_range(&path, range).await.map_err(to_fault) })
    }

    fn size(&self, key: Key) -> Reply<u64> {
        let (store, path) = (self.store.clone(), self.path(&key));
        Box::pin(async move { store.head(&path).await.map(|meta| meta.size).map_err(to_fault) })
    }

    fn put(&self, key: Key, payload: Payload, condition: Condition) -> Reply<Version> {
        let (store, path, payload) = (self.store.clone(), self.path(&key), to_payload(&payload));
        let mode = match condition {
            Condition::None => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Is(Version { e_tag, version }) => PutMode::Update(UpdateVersion { e_tag, version }),
        };
        Box::pin(async move {
            let options = PutOptions { mode, ..PutOptions::default() };
            let result = store.put_opts(&path, payload, options).await.map_err(to_fault)?;
            Ok(Version::new(result.e_tag, result.version))
        })
    }

    fn copy(&self, from: Key, to: Key) -> Reply<()> {
        let (store, from, to) = (self.store.clone(), self.path(&from), self.path(&to));
        Box::pin(async move { store.copy(&from, &to).await.map_err(to_fault) })
    }

    fn delete(&self, key: Key) -> Reply<()> {
        let (store, path) = (self.store.clone(), self.path(&key));
        Box::pin(async move {
            match store.delete(&path).await.map_err(to_fault) {
                Ok(()) | Err(Fault::Missing) => Ok(()),
                Err(fault) => Err(fault),
            }
        })
    }

    fn list(&self, prefix: Key, after: Option<Key>, limit: usize) -> Reply<Vec<Key>> {
        let (store, root, rooted) = (self.store.clone(), self.prefix.clone(), prefix.starts_with('/'));
        let (prefix, after) = (self.path(&prefix), after.map(|after| self.path(&after)));
        Box::pin(async move {
            let listed = match &after {
                Some(after) => store.list_with_offset(Some(&prefix), after),
                None => store.list(Some(&prefix)),
            };
            let metas: Vec<_> = listed.take(limit).try_collect().await.map_err(to_fault)?;
            let skip = if rooted { 0 } else { root.parts().count() };
            let key = |path: &Path| {
                let parts: Vec<_> = path.parts().skip(skip).map(|part| part.as_ref().to_owned()).collect();
                let parts = parts.join("/");
                if rooted { Key::from(format!("/{parts}")) } else { Key::from(parts) }
            };
            Ok(metas.iter().map(|meta| key(&meta.location)).collect())
        })
    }

    fn create_multipart(&self, key: Key) -> Reply<String> {
        let (store, path) = (self.store.clone(), self.path(&key));
        Box::pin(async move { store.create_multipart(&path).await.map_err(to_fault) })
    }

    fn put_part(&self, key: Key, upload: String, number: usize, payload: Payload) -> Reply<String> {
        let (store, path, payload) = (self.store.clone(), self.path(&key), to_payload(&payload));
        Box::pin(async move {
            let part = store.put_part(&path, &upload, number, payload).await.map_err(to_multipart_fault)?;
            Ok(part.content_id)
        })
    }

    fn complete_multipart(&self, key: Key, upload: String, parts: Vec<String>) -> Reply<()> {
        let (store, path) = (self.store.clone(), self.path(&key));
        Box::pin(async move {
            let parts = parts.into_iter().map(|content_id| PartId { content_id }).collect();
            store.complete_multipart(&path, &upload, parts).await.map(drop).map_err(to_multipart_fault)
        })
    }

    fn abort_multipart(&self, key: Key, upload: String) -> Reply<()> {
        let (store, path) = (self.store.clone(), self.path(&key));
        Box::pin(async move {
            match store.abort_multipart(&path, &upload).await.map_err(to_multipart_fault) {
                Ok(()) | Err(Fault::Missing) => Ok(()),
                Err(fault) => Err(fault),
            }
        })
    }

    fn list_parts(&self, key: Key, upload: String, after: Option<usize>) -> Reply<PartPage> {
        match &self.parts {
            Some(parts) => parts.list_parts(self.path(&key), upload, after),
            None => Box::pin(async { Err(Fault::Denied("parts can be listed on S3 alone".into())) }),
        }
    }

    fn modified(&self, key: Key) -> Reply<Option<WallTime>> {
        let (store, path) = (self.store.clone(), self.path(&key));
        Box::pin(async move {
            let meta = store.head(&path).await.map_err(to_fault)?;
            let micros = u64::try_from(meta.last_modified.timestamp_micros()).ok();
            Ok(micros.map(WallTime::from_micros))
        })
    }
}
