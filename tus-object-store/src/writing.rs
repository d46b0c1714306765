//! Creation, Append, Commit and Discard.

use std::sync::Arc;

use bytes::Bytes;
use tus_driver::{AppendGrant, Changed, Commit, EventKind, FirstBytes, LookupError, Opened};
use tus_proto::{Completion, Failure, Fence, Record, UploadId};

use crate::{
    document::{Document, Extent, Place, State, Tail},
    records::{Step, Trouble},
    requests::{PATIENCE, Pauses, lock},
    shared::{Active, Shared},
    staging::{BucketSink, Prepared, Rest, Staged, Staging},
};

/// A part of the budget, for a body whose upload is not made yet.
struct Reserved {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shared.budget.give(self.bytes, false);
    }
}

impl Shared {
    /// Memory for a body that is to lie in its record, if it may.
    pub(crate) fn reserve_first(self: &Arc<Self>, bytes: u64) -> Option<FirstBytes> {
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= self.options.inline)?;
        let reserved = || Reserved { shared: self.clone(), bytes };
        self.budget.reserve(bytes).then(|| FirstBytes::new(bytes).with_reservation(reserved()))
    }

    pub(crate) async fn create_upload(
        self: &Arc<Self>,
        mut record: Record,
        first: Option<FirstBytes>,
    ) -> Result<Changed, Failure> {
        record.offset = first.as_ref().map_or(0, FirstBytes::len);
        let mut document = Document::new(&record);
        document.tail = first.filter(|first| !first.is_empty()).map(|first| Tail::inline(first.as_slice()));
        let completed = record.is_complete() && !record.is_partial() && lock(&self.events).kinds.completed;
        if completed {
            let hint = self.put_hint(&record.id).await?;
            document.post(EventKind::Completed, self.stamp(), hint);
        }
        if record.is_complete() && !record.is_partial() {
            document.publication = self.mark_for_publication(&record.id).await?;
        }
        if let Some(expires) = document.expires {
            // Before the record: a record without an entry would never expire.
            self.file_expiry(record.id.as_str(), expires).await?;
        }
        let publishes = document.publication.is_some();
        let created = self.create(&record.id, document).await?;
        if created && publishes {
            self.publish_later(&record.id);
        }
        let events = if created && completed { vec![record.id] } else { Vec::new() };
        self.wake(&events);
        Ok(Changed::new(if created { Completion::Created } else { Completion::Exists }, events))
    }

    pub(crate) async fn append(self: &Arc<Self>, grant: AppendGrant) -> Opened<BucketSink> {
        let AppendGrant { id, fence, at, rotate, .. } = grant;
        // Under a lease no other server changes what matters here, and the record as the grant left it is known.
        let dirty = self.with_held(&id, fence, |held| held.dirty);
        let document = match dirty.and_then(|_| lock(&self.cache).peek(&id)) {
            Some(document) => document,
            None => self.read(&id).await?,
        };
        let seen = lock(&self.active).get(&id).map_or(0, |active| active.fence);
        let conflict = LookupError::Conflict { offset: document.offset };
        if !document.is_live() {
            return Err(LookupError::Missing);
        }
        let fenced = mutation!("lease-fence-ignored", fence.0 < document.fence.max(seen), false);
        if fenced || at != document.offset || document.is_final() {
            return Err(conflict);
        }
        let go_on = mutation!("part-number-reused", dirty == Some(false), true)
            && mutation!("multipart-not-sealed", !rotate, true);
        let before = self.before(&document, go_on).await?;
        let staging = Staging::new(self.clone(), id.clone(), fence.0, before);
        let active = Active { fence: fence.0, staging: Arc::downgrade(&staging) };
        let mut actives = lock(&self.active);
        if actives.len() >= 1024 && actives.len().is_power_of_two() {
            actives.retain(|_, active| active.staging.strong_count() > 0);
        }
        actives.insert(id, active);
        Ok(BucketSink::new(staging, at))
    }

    /// The extents that a writer goes on from, where they end, and the committed bytes past them, which it writes again; the
    /// budget counts these.
    async fn before(
        &self,
        document: &Document,
        go_on: bool,
    ) -> Result<(Vec<Extent>, u64, Bytes), LookupError> {
        let mut sealed = document.clone();
        if !go_on {
            sealed.seal();
        }
        let mut extents = sealed.extents;
        let taken = match &document.tail {
            None => Bytes::new(),
            Some(_) if mutation!("tail-not-taken-up", false, true) => Bytes::new(),
            Some(tail @ Tail::Inline(_)) => {
                let bytes = tail.bytes()?;
                self.budget.take(bytes.len());
                bytes
            }
            Some(Tail::Object { key, len }) if *len < self.options.shortest_part() => {
                let count = usize::try_from(*len).unwrap_or(usize::MAX);
                self.take_memory(count).await?;
                let read = self.read_object(&document.id, key, 0..*len).await;
                read.inspect_err(|_| self.budget.give(count, false))?
            }
            Some(Tail::Object { key, len }) => {
                extents.push(Extent { len: *len, place: Place::Object(key.clone()) });
                Bytes::new()
            }
        };
        let base = document.offset.saturating_sub(taken.len() as u64);
        Ok((extents, base, taken))
    }

    /// Waits until so much memory is free, and takes it.
    async fn take_memory(&self, bytes: usize) -> Result<(), Failure> {
        let mut pauses = Pauses::new(self.requests.now().after(PATIENCE));
        while !self.budget.try_take(bytes) {
            self.relieve();
            if !pauses.pause(&self.requests).await {
                return Err(Failure::Unavailable);
            }
        }
        Ok(())
    }

    pub(crate) async fn commit(self: &Arc<Self>, commit: Commit<Staged>, closed: bool) -> Changed {
        match self.try_commit(&commit, closed).await {
            Ok(changed) => changed,
            Err(error) => Completion::from(error).into(),
        }
    }

    async fn try_commit(
        self: &Arc<Self>,
        commit: &Commit<Staged>,
        closed: bool,
    ) -> Result<Changed, LookupError> {
        let moves = commit.to > commit.from;
        let staging = commit.staged.as_ref().map(|staged| &staged.0);
        if moves {
            let staging = staging.filter(|staging| staging.end() >= commit.to);
            let staging = staging.ok_or(LookupError::Failed(Failure::Io))?;
            let last = lock(&self.active).get(&commit.id).and_then(|active| active.staging.upgrade());
            if last.is_some_and(|last| !Arc::ptr_eq(&last, staging)) {
                let offset = self.read(&commit.id).await?.offset;
                return Err(LookupError::Conflict { offset });
            }
        }
        let rest = self.rest(commit, closed);
        let lowest = Changed::from(Completion::Committed { offset: commit.from });
        if moves && rest == Rest::Later && commit.length.is_none() && self.was_committed_lately(commit) {
            return Ok(lowest);
        }
        let prepared = match staging.filter(|_| moves) {
            Some(staging) => Some((staging, staging.prepare(commit.to, rest).await?)),
            None => None,
        };
        let offset = prepared.as_ref().map_or(commit.from, |(_, prepared)| prepared.offset.max(commit.from));
        if commit.finish && offset != commit.to {
            return Err(LookupError::Failed(Failure::Unavailable));
        }
        if moves && offset == commit.from && commit.length.is_none() {
            return if closed { Err(LookupError::Failed(Failure::Unavailable)) } else { Ok(lowest) };
        }
        // Where not even the bytes that it has taken up were stored again, those lie where they did.
        let prepared = prepared.filter(|(_, prepared)| prepared.offset > commit.from);
        self.write_commit(commit, closed, offset, prepared).await
    }

    fn rest(&self, commit: &Commit<Staged>, closed: bool) -> Rest {
        if commit.finish {
            return Rest::Finish;
        }
        // Without leases it is not known whether a HEAD waits.
        let asked = self.with_held(&commit.id, commit.fence, |held| held.asked).unwrap_or(true);
        match (closed, asked) {
            (true, _) => Rest::End,
            (false, true) => Rest::Now,
            (false, false) => Rest::Later,
        }
    }

    fn was_committed_lately(&self, commit: &Commit<Staged>) -> bool {
        let now = self.requests.now();
        let interval = self.options.checkpoint_interval;
        self.with_held(&commit.id, commit.fence, |held| now.since(held.committed) < interval).unwrap_or(false)
    }

    async fn write_commit(
        self: &Arc<Self>,
        commit: &Commit<Staged>,
        closed: bool,
        offset: u64,
        prepared: Option<(&Arc<Staging>, Prepared)>,
    ) -> Result<Changed, LookupError> {
        let (id, held) = (&commit.id, self.with_held(&commit.id, commit.fence, |_| ()).is_some());
        let all = prepared.as_ref().is_none_or(|(staging, prepared)| staging.is_all(prepared));
        let release = held && closed && all && (commit.to > commit.from || commit.finish);
        let bytes = prepared.map(|(staging, prepared)| (staging.compose(&prepared.pieces), prepared.tail));
        let completed = match commit.finish {
            true => Some(self.complete_all(commit, bytes.as_ref()).await?),
            false => None,
        };
        let kept = commit.finish && lock(&self.events).kinds.completed;
        let hint = match kept {
            true => self.put_hint(id).await?,
            false => String::new(),
        };
        let mark = match commit.finish {
            true => self.mark_for_publication(id).await?,
            false => None,
        };
        #[cfg(mutations)]
        if mutation!("tail-deleted-first", false, true) {
            self.delete_tail(id).await?;
        }
        let mut old_tail = None;
        let done = self
            .update(id, |document| {
                old_tail = document.tail_key();
                if let Err(error) = check(commit, document) {
                    return Step::Leave(Err(error));
                }
                let was_complete = document.is_complete();
                document.fence = document.fence.max(commit.fence.0);
                document.offset = offset;
                document.length = document.length.or(commit.length);
                if let Some(said) = &mut document.explicit {
                    said.complete |= commit.finish;
                }
                document.expires = commit.expires.map(|expires| expires.as_micros());
                if let Some((extents, tail)) = &bytes {
                    (document.extents, document.tail) = (extents.clone(), tail.clone());
                }
                if let Some(completed) = &completed {
                    document.extents.clone_from(completed);
                }
                let owner = self.owner;
                let own = document
                    .lease
                    .as_mut()
                    .filter(|lease| lease.owner == owner && lease.fence == commit.fence.0);
                if let Some(lease) = own {
                    lease.beat += 1;
                    if release {
                        (document.lease, document.wanted) = (None, None);
                    }
                }
                if !document.is_partial() && !was_complete && mark.is_some() {
                    document.publication.clone_from(&mark);
                }
                let post = kept && !document.is_partial() && !was_complete;
                if post {
                    document.post(EventKind::Completed, self.stamp(), hint.clone());
                }
                Step::Write(Ok(post))
            })
            .await?;
        let posted = done.value?;
        self.after_commit(commit, release, all && closed, &done.document, done.sent);
        if let Some(old) = old_tail.filter(|old| !done.document.names(old)) {
            self.delete_later(old);
        }
        if done.document.publication.is_some() {
            self.publish_later(id);
        }
        let mut events = if posted { vec![id.clone()] } else { Vec::new() };
        if commit.finish && !done.document.finals.is_empty() {
            events.extend(self.complete_finals(&done.document).await);
        }
        self.wake(&events);
        if closed && offset < commit.to {
            // The bucket did not take all: what it took is kept, and the request fails.
            return Err(LookupError::Failed(Failure::Unavailable));
        }
        Ok(Changed::new(Completion::Committed { offset }, events))
    }

    fn after_commit(
        &self,
        commit: &Commit<Staged>,
        release: bool,
        clean: bool,
        document: &Document,
        sent: Option<tus_proto::Instant>,
    ) {
        let now = self.requests.now();
        self.with_held(&commit.id, commit.fence, |held| {
            held.committed = now;
            held.written = sent.unwrap_or(held.written);
            held.reload = None;
            held.dirty &= !clean;
            held.released |= release && document.lease.is_none();
        });
    }

    /// Makes objects of all that the finished upload consists of.
    async fn complete_all(
        &self,
        commit: &Commit<Staged>,
        bytes: Option<&(Vec<Extent>, Option<Tail>)>,
    ) -> Result<Vec<Extent>, LookupError> {
        let mut extents = match bytes {
            Some((extents, _)) => extents.clone(),
            None => self.read(&commit.id).await?.extents,
        };
        self.complete(commit.id.as_str(), &mut extents).await?;
        Ok(extents)
    }

    /// A bug that is put in on purpose: the tail's object goes before the record that names the bytes anew.
    #[cfg(mutations)]
    async fn delete_tail(&self, id: &UploadId) -> Result<(), LookupError> {
        if let Some(tail) = self.read(id).await?.tail_key() {
            let deleted = self.requests.clear(|bucket| bucket.delete(tail.clone())).await;
            deleted.map_err(|fault| LookupError::Failed(crate::records::failure(&fault)))?;
        }
        Ok(())
    }

    pub(crate) fn delete_later(self: &Arc<Self>, key: crate::Key) {
        let shared = self.clone();
        self.spawn(async move {
            if let Err(fault) = shared.requests.clear(|bucket| bucket.delete(key.clone())).await {
                tracing::warn!(object = &*key, error = %fault, "an object that is of no use any more stays");
            }
        });
    }

    /// Forgets what was staged. Parts that were sent stay where no record names them; the next writer goes elsewhere.
    pub(crate) async fn discard(&self, id: &UploadId, fence: Fence) -> Result<Completion, LookupError> {
        let held = self.with_held(id, fence, |_| ()).is_some();
        if !held {
            let document = self.read(id).await?;
            let seen = lock(&self.active).get(id).map_or(0, |active| active.fence);
            if !document.is_live() {
                return Err(LookupError::Missing);
            }
            if fence.0 < document.fence.max(seen) {
                return Err(LookupError::Conflict { offset: document.offset });
            }
        }
        let staging = lock(&self.active).remove(id).and_then(|active| active.staging.upgrade());
        if let Some(staging) = staging {
            staging.forget();
        }
        Ok(Completion::Discarded)
    }
}

/// Whether a commit may be made on this record.
fn check(commit: &Commit<Staged>, document: &Document) -> Result<(), LookupError> {
    if mutation!("tombstone-ignored", document.state != State::Live, false) {
        return Err(LookupError::Missing);
    }
    let known = document.length;
    let length = known.or(commit.length);
    let changes_length = known.is_some() && commit.length.is_some_and(|length| known != Some(length));
    let fits =
        length.is_none_or(|length| commit.to <= length) && (!commit.finish || length == Some(commit.to));
    let expected = mutation!("commit-offset-not-compared", commit.from == document.offset, true)
        && commit.from <= commit.to
        && !document.is_final()
        && !document.is_complete();
    let fenced = mutation!("lease-fence-ignored", commit.fence.0 < document.fence, false);
    if fenced || !expected || changes_length || !fits {
        return Err(LookupError::Conflict { offset: document.offset });
    }
    Ok(())
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing => Self::Io,
            Trouble::Failed(failure) => failure,
        }
    }
}
