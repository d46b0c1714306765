//! Expiry by an index that is written when an upload is created, and by sweeps that look at what is due. A record that has
//! moved on is filed anew; so commits need not write to the index.

use std::sync::Arc;

use tus_driver::LookupError;
use tus_proto::{Failure, UploadId};

use crate::{
    bucket::{Condition, Key},
    document::{Document, State},
    extents::Removed,
    keys,
    records::{Step, Trouble, failure},
    requests::lock,
    shared::Shared,
};

/// How many entries a sweep looks at at once.
const PAGE: usize = 1000;

const MINUTE: u64 = 60_000_000;

impl Shared {
    /// Files an upload to be looked at when a time has passed. The minute after is meant: until then a write that the entry
    /// is for has been made, or never will be.
    pub(crate) async fn file_expiry(&self, id: &str, micros: u64) -> Result<(), Failure> {
        let key = keys::expiry(id, micros / MINUTE + 1);
        let put = self
            .requests
            .clear(|bucket| bucket.put(key.clone(), bytes::Bytes::from_static(b"-").into(), Condition::None));
        put.await.map(drop).map_err(|fault| failure(&fault))
    }

    /// Sweeps from now on, at each interval.
    pub(crate) fn keep_sweeping(self: Arc<Self>) {
        let interval = self.options.sweep_interval;
        if interval.is_zero() || self.is_closing() {
            return;
        }
        // Servers that were started together do not sweep together.
        let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(2);
        let pause = std::time::Duration::from_micros(micros / 2 + self.requests.random() % micros);
        let at = self.requests.now().after(pause);
        let executor = self.requests.executor.clone();
        let weak = Arc::downgrade(&self);
        executor.at(
            at,
            Box::new(move || {
                let Some(shared) = weak.upgrade() else { return };
                let next = shared.clone();
                shared.spawn(async move {
                    if !next.is_closing() {
                        let _ = next.sweep().await;
                    }
                    next.keep_sweeping();
                });
            }),
        );
    }

    /// Looks at all that is due.
    pub(crate) async fn sweep(self: &Arc<Self>) -> Result<(), Failure> {
        self.publish_rest().await?;
        for shard in 0..keys::INDEX_SHARDS {
            let mut after: Option<Key> = None;
            loop {
                let minute = self.requests.executor.now().wall.as_micros() / MINUTE;
                let prefix = keys::expiries(shard);
                let listed =
                    self.requests.clear(|bucket| bucket.list(prefix.clone(), after.clone(), PAGE)).await;
                let listed = listed.map_err(|fault| failure(&fault))?;
                for key in &listed {
                    match keys::parse_expiry(key) {
                        Some((due, id)) if due <= minute => self.look_at(key, id, due).await?,
                        Some(_) => break,
                        None => {}
                    }
                }
                let goes_on = listed
                    .last()
                    .and_then(|key| keys::parse_expiry(key))
                    .is_some_and(|(due, _)| due <= minute);
                if !goes_on || listed.len() < PAGE || self.is_closing() {
                    break;
                }
                after = listed.last().cloned();
            }
        }
        Ok(())
    }

    /// Does what is due for one upload, files what is left to do, and then removes the entry: in this order, so that a crash
    /// leaves an entry too many and never one too few.
    async fn look_at(self: &Arc<Self>, key: &Key, id: &str, due: u64) -> Result<(), Failure> {
        let next = match UploadId::new(id) {
            Some(id) => self.expire(&id).await?,
            None => None,
        };
        if let Some(next) = next {
            if next / MINUTE + 1 == due {
                return Ok(());
            }
            self.file_expiry(id, next).await?;
        }
        self.requests.clear(|bucket| bucket.delete(key.clone())).await.map_err(|fault| failure(&fault))
    }

    /// Expires an upload if its time is over, and removes what is left of one that is gone. Returns when it is to be looked
    /// at again.
    async fn expire(self: &Arc<Self>, id: &UploadId) -> Result<Option<u64>, Failure> {
        let now = self.requests.executor.now().wall;
        let soon = now.after(std::time::Duration::from_secs(60)).as_micros();
        let document = match self.read(id).await {
            Ok(document) => document,
            Err(Trouble::Missing) => return Ok(None),
            Err(Trouble::Failed(failure)) => return Err(failure),
        };
        match document.state {
            State::Live => {
                let Some(expires) = document.expires else { return Ok(None) };
                if expires > now.as_micros() {
                    return Ok(Some(expires));
                }
                if self.is_written(id, &document) || self.is_awaited(&document).await? {
                    return Ok(Some(soon));
                }
                let until = now.after(self.options.remembered).as_micros();
                self.bury_expired(id, now.as_micros(), until).await?;
                Ok(Some(soon))
            }
            State::Deleted { until } | State::Expired { until } => {
                lock(&self.cache).remove(id);
                match self.remove_bytes(id, &document).await? {
                    Removed::Yes => {}
                    Removed::Later => return Ok(Some(soon)),
                    Removed::Shared => return Ok(None),
                }
                if until > now.as_micros() || !document.events.is_empty() {
                    return Ok(Some(until.max(soon)));
                }
                // Nothing changes a tombstone but deliveries, and there is nothing to deliver: no condition is needed.
                let key = keys::record(id.as_str());
                let delete = self.requests.clear(|bucket| bucket.delete(key.clone()));
                delete.await.map_err(|fault| failure(&fault))?;
                Ok(None)
            }
        }
    }

    /// Whether a request is writing to an upload, here or at another server.
    fn is_written(&self, id: &UploadId, document: &Document) -> bool {
        let here = lock(&self.active).get(id).is_some_and(|active| active.staging.strong_count() > 0);
        let leased = document.lease.as_ref();
        here || leased.is_some_and(|lease| lease.owner == self.owner || !self.has_run_out(id, lease))
    }

    async fn bury_expired(self: &Arc<Self>, id: &UploadId, now: u64, until: u64) -> Result<(), Failure> {
        let buried = self
            .update(id, |document| {
                let expired = document.is_live() && document.expires.is_some_and(|expires| expires <= now);
                if !expired || self.is_written(id, document) {
                    return Step::Leave(false);
                }
                // A writer that has stopped for so long has no say any more.
                document.fence += 1;
                document.bury(State::Expired { until });
                Step::Write(true)
            })
            .await;
        match buried {
            Ok(done) => {
                if done.value {
                    self.delete_pending_finals(&done.document).await;
                }
                Ok(())
            }
            Err(Trouble::Missing) => Ok(()),
            Err(Trouble::Failed(failure)) => Err(failure),
        }
    }

    /// A record for readers: what expired lately is gone, what was deleted is missing.
    pub(crate) fn for_reader(&self, document: Document) -> Result<Document, LookupError> {
        match document.state {
            State::Live => Ok(document),
            State::Deleted { .. } => Err(LookupError::Missing),
            State::Expired { until } => {
                let now = self.requests.executor.now().wall.as_micros();
                Err(if until > now { LookupError::Gone } else { LookupError::Missing })
            }
        }
    }
}
