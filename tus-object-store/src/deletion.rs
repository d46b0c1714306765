//! Deletion: the record becomes a tombstone first; then the bytes go, then the entry in the index, and a day later the
//! tombstone. It stays so long that no write from before can bring the upload back.

use std::sync::Arc;

use tus_driver::{Changed, EventKind, LookupError};
use tus_proto::{Completion, Fence, UploadId};

use crate::{
    document::{Document, State},
    records::Step,
    requests::lock,
    shared::Shared,
};

impl Shared {
    pub(crate) async fn delete(self: &Arc<Self>, id: &UploadId, fence: Fence) -> Changed {
        match self.try_delete(id, fence).await {
            Ok(changed) => changed,
            Err(error) => Completion::from(error).into(),
        }
    }

    async fn try_delete(self: &Arc<Self>, id: &UploadId, fence: Fence) -> Result<Changed, LookupError> {
        let now = self.requests.executor.now().wall;
        let until = now.after(self.options.remembered).as_micros();
        let seen = lock(&self.active).get(id).map_or(0, |active| active.fence);
        // Before the tombstone: after a crash in between a sweep must find the bytes.
        self.file_expiry(id.as_str(), now.as_micros()).await?;
        let posts = lock(&self.events).kinds.terminated;
        let hint = match posts {
            true => self.put_hint(id).await?,
            false => String::new(),
        };
        let done = self
            .update(id, |document| {
                if !document.is_live() {
                    return Step::Leave(Err(LookupError::Missing));
                }
                if fence.0 < document.fence.max(seen) {
                    return Step::Leave(Err(LookupError::Conflict { offset: document.offset }));
                }
                document.fence = fence.0;
                document.bury(State::Deleted { until });
                if posts {
                    document.post(EventKind::Terminated, self.stamp(), hint.clone());
                }
                Step::Write(Ok(()))
            })
            .await?;
        done.value?;
        self.with_held(id, fence, |held| held.released = true);
        let mut events = if posts { vec![id.clone()] } else { Vec::new() };
        events.extend(self.delete_pending_finals(&done.document).await);
        self.wake(&events);
        self.clear_later(id.clone(), done.document);
        Ok(Changed::new(Completion::Deleted, events))
    }

    /// Removes the bytes of a tombstone. What does not work out now is done by a sweep.
    pub(crate) fn clear_later(self: &Arc<Self>, id: UploadId, document: Document) {
        let shared = self.clone();
        self.spawn(async move {
            if let Err(failure) = shared.remove_bytes(&id, &document).await {
                tracing::warn!(upload = id.as_str(), ?failure, "bytes of a deleted upload stay for a sweep");
            }
        });
    }
}

impl Document {
    /// Makes a tombstone of it. It still names the bytes, so that they can be removed, and shared until then.
    pub(crate) fn bury(&mut self, state: State) {
        self.state = state;
        (self.lease, self.wanted) = (None, None);
    }
}
