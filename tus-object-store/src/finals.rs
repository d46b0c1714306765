//! Finals name the objects of their parts; no byte is copied. A part's record names the finals that do: it keeps its bytes,
//! and its tombstone, for as long as one of them is there.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::join_all;
use tus_driver::{Changed, EventKind};
use tus_proto::{Completion, ConcatRejection, Failure, Record, UploadId, WallTime};

use crate::{
    document::{Document, Extent, Parts, Place, State, Tail},
    keys,
    records::{Step, Trouble},
    requests::lock,
    shared::Shared,
};

/// How many pending finals may name one part.
const MAX_WAITING: usize = 4;

impl Shared {
    pub(crate) async fn concat(
        self: &Arc<Self>,
        record: Record,
        parts: Vec<UploadId>,
        max: Option<u64>,
        delete: bool,
    ) -> Result<Changed, Failure> {
        let found = self.find_parts(&parts, record.created).await?;
        let found = match found.and_then(|found| check_length(&parts, &found, max).map(|()| found)) {
            Ok(found) => found,
            Err(rejection) => return Ok(Completion::Rejected(rejection).into()),
        };
        let pending = !found.iter().all(Document::is_complete);
        // Marked before the final is made: else a part could go, with its bytes, in between.
        let found = match self.mark_parts(&record, &parts, pending).await? {
            Ok(found) => found,
            Err(rejection) => return Ok(Completion::Rejected(rejection).into()),
        };
        let ids = parts.iter().map(|id| id.as_str().into()).collect();
        let mut document = Document::new(&record);
        document.parts = Some(Parts { ids, delete, max, pending: true });
        let complete = document.gather(&found);
        let posts = complete && lock(&self.events).kinds.completed;
        if posts {
            let hint = self.put_hint(&record.id).await?;
            document.post(EventKind::Completed, self.stamp(), hint);
        }
        if let Some(expires) = document.expires {
            self.file_expiry(record.id.as_str(), expires).await?;
        }
        if complete {
            document.publication = self.mark_for_publication(&record.id).await?;
        }
        let publishes = document.publication.is_some();
        let made = document.record(&record.id);
        if !self.create(&record.id, document).await? {
            return Ok(Completion::Exists.into());
        }
        if publishes {
            self.publish_later(&record.id);
        }
        if complete && delete {
            self.consume(&parts).await;
        }
        let events = if posts { vec![record.id] } else { Vec::new() };
        self.wake(&events);
        Ok(Changed::new(Completion::Concatenated(made), events))
    }

    async fn find_parts(
        &self,
        parts: &[UploadId],
        now: WallTime,
    ) -> Result<Result<Vec<Document>, ConcatRejection>, Failure> {
        let mut found = Vec::new();
        for read in join_all(parts.iter().map(|id| self.read(id))).await {
            let document = match read {
                Ok(document) => document,
                Err(Trouble::Missing) => return Ok(Err(ConcatRejection::Missing)),
                Err(Trouble::Failed(failure)) => return Err(failure),
            };
            let expired = document.expires.is_some_and(|expires| expires <= now.as_micros());
            if !document.is_live() || expired {
                return Ok(Err(ConcatRejection::Missing));
            }
            if !document.is_partial() {
                return Ok(Err(ConcatRejection::NotPartial));
            }
            found.push(document);
        }
        Ok(Ok(found))
    }

    /// Writes the final into its parts' records, and returns these as they are then, one for each place.
    async fn mark_parts(
        &self,
        record: &Record,
        parts: &[UploadId],
        pending: bool,
    ) -> Result<Result<Vec<Document>, ConcatRejection>, Failure> {
        let distinct: BTreeSet<&UploadId> = parts.iter().collect();
        let name = record.id.as_str();
        let mark = |document: &mut Document| {
            if !document.is_live() {
                return Step::Leave(Err(ConcatRejection::Missing));
            }
            if pending && !document.is_complete() && document.finals.len() >= MAX_WAITING {
                return Step::Leave(Err(ConcatRejection::TooManyWaiting));
            }
            if document.finals.iter().any(|of| of == name) {
                return Step::Leave(Ok(()));
            }
            document.finals.push(name.into());
            Step::Write(Ok(()))
        };
        let marked = join_all(distinct.iter().map(|id| self.update(id, mark))).await;
        let mut found = Vec::new();
        for done in marked {
            match done {
                Ok(done) => match done.value {
                    Ok(()) => found.push(done.document),
                    Err(rejection) => return Ok(Err(rejection)),
                },
                Err(Trouble::Missing) => return Ok(Err(ConcatRejection::Missing)),
                Err(Trouble::Failed(failure)) => return Err(failure),
            }
        }
        let of =
            |id: &UploadId| distinct.iter().position(|other| *other == id).and_then(|index| found.get(index));
        Ok(Ok(parts.iter().filter_map(of).cloned().collect()))
    }

    /// A part is complete: completes the finals that waited for it alone. Returns those.
    pub(crate) async fn complete_finals(self: &Arc<Self>, part: &Document) -> Vec<UploadId> {
        let mut events = Vec::new();
        for id in part.finals.iter().filter_map(|of| UploadId::new(of)) {
            // What fails here is done when the final is looked at next.
            if let Ok((_, true)) = self.complete_final(&id, None).await {
                events.push(id);
            }
        }
        events
    }

    /// Completes a pending final if all its parts are complete. Returns its record, and whether that made an event.
    pub(crate) async fn complete_final(
        self: &Arc<Self>,
        id: &UploadId,
        known: Option<Document>,
    ) -> Result<(Document, bool), Trouble> {
        let mut document = match known {
            Some(document) => document,
            None => self.read(id).await?,
        };
        let Some(parts) = document.parts.clone().filter(|parts| parts.pending && document.is_live()) else {
            return Ok((document, false));
        };
        let ids: Vec<UploadId> = parts.ids.iter().filter_map(|id| UploadId::new(id)).collect();
        let mut found = Vec::new();
        for read in join_all(ids.iter().map(|id| self.read(id))).await {
            match read {
                Ok(part) => found.push(part),
                Err(Trouble::Missing) => return Ok((document, false)),
                Err(trouble) => return Err(trouble),
            }
        }
        if !document.clone().gather(&found) {
            document.length = found.iter().try_fold(0u64, |sum, part| sum.checked_add(part.length?));
            return Ok((document, false));
        }
        let posts = lock(&self.events).kinds.completed;
        let hint = match posts {
            true => Some(self.put_hint(id).await.map_err(Trouble::Failed)?),
            false => None,
        };
        let mark = self.mark_for_publication(id).await.map_err(Trouble::Failed)?;
        let done = self
            .update(id, |document| {
                if !document.is_live() || !document.is_pending() || !document.gather(&found) {
                    return Step::Leave(false);
                }
                document.publication.clone_from(&mark);
                if let Some(hint) = &hint {
                    document.post(EventKind::Completed, self.stamp(), hint.clone());
                }
                Step::Write(true)
            })
            .await?;
        if done.value && parts.delete {
            self.consume(&ids).await;
        }
        if done.value {
            self.publish_later(id);
        }
        let event = done.value && hint.is_some();
        if event {
            self.wake(std::slice::from_ref(id));
        }
        Ok((done.document, event))
    }

    /// Removes parts whose final is complete. Their bytes are the final's.
    async fn consume(self: &Arc<Self>, parts: &[UploadId]) {
        let until = self.requests.executor.now().wall.after(self.options.remembered).as_micros();
        for id in parts {
            let bury = |document: &mut Document| match document.is_live() && document.is_complete() {
                true => {
                    document.fence += 1;
                    document.bury(State::Deleted { until });
                    Step::Write(())
                }
                false => Step::Leave(()),
            };
            if let Err(Trouble::Failed(failure)) = self.update(id, bury).await {
                tracing::warn!(upload = id.as_str(), ?failure, "a part could not be deleted; it expires");
            }
        }
    }

    /// A part is gone. Pending finals go along with one that was not complete; the others keep its bytes. Returns the
    /// finals of whose end an event tells.
    pub(crate) async fn delete_pending_finals(self: &Arc<Self>, part: &Document) -> Vec<UploadId> {
        let mut events = Vec::new();
        if part.is_complete() {
            return events;
        }
        for id in part.finals.iter().filter_map(|of| UploadId::new(of)) {
            let requested = matches!(part.state, State::Deleted { .. });
            let posts = requested && lock(&self.events).kinds.terminated;
            let hint = match posts {
                true => self.put_hint(&id).await.ok(),
                false => None,
            };
            let bury = |document: &mut Document| {
                if !document.is_live() || !document.is_pending() {
                    return Step::Leave(false);
                }
                document.fence += 1;
                document.bury(part.state);
                if let Some(hint) = &hint {
                    document.post(EventKind::Terminated, self.stamp(), hint.clone());
                }
                Step::Write(true)
            };
            let done = self.update(&id, bury).await;
            if done.is_ok_and(|done| done.value) && hint.is_some() {
                events.push(id);
            }
        }
        events
    }

    /// Whether a live final needs a tombstone's bytes. One that is not there is not made any more: its id is taken here.
    pub(crate) async fn is_shared(self: &Arc<Self>, document: &Document) -> Result<bool, Failure> {
        let now = self.requests.executor.now().wall;
        for id in document.finals.iter().filter_map(|of| UploadId::new(of)) {
            match self.read(&id).await {
                Ok(of) if of.is_live() => return Ok(true),
                Ok(_) => {}
                Err(Trouble::Missing) => {
                    let metadata = String::new();
                    let (created, offset, length) = (now, 0, None);
                    let record = Record {
                        id,
                        created,
                        offset,
                        length,
                        metadata,
                        expires: None,
                        concat: None,
                        explicit: None,
                    };
                    let mut grave = Document::new(&record);
                    grave.bury(State::Deleted { until: now.after(self.options.remembered).as_micros() });
                    self.file_expiry(record.id.as_str(), now.as_micros()).await?;
                    if !self.create(&record.id, grave).await? {
                        return Ok(true);
                    }
                }
                Err(Trouble::Failed(failure)) => return Err(failure),
            }
        }
        Ok(false)
    }

    /// A final is gone: its parts' records need not name it any more, and those that are gone themselves are looked at.
    pub(crate) async fn unmark_parts(&self, id: &UploadId, document: &Document) -> Result<(), Failure> {
        let Some(parts) = &document.parts else { return Ok(()) };
        let now = self.requests.executor.now().wall.as_micros();
        let distinct: BTreeSet<&String> = parts.ids.iter().collect();
        for part in distinct.into_iter().filter_map(|part| UploadId::new(part)) {
            let found = match self.read(&part).await {
                Ok(found) => found,
                Err(Trouble::Missing) => continue,
                Err(Trouble::Failed(failure)) => return Err(failure),
            };
            if !found.is_live() {
                self.file_expiry(part.as_str(), now).await?;
            }
            let unmark = |document: &mut Document| {
                let before = document.finals.len();
                document.finals.retain(|of| of != id.as_str());
                if document.finals.len() == before { Step::Leave(()) } else { Step::Write(()) }
            };
            match self.update(&part, unmark).await {
                Ok(_) | Err(Trouble::Missing) => {}
                Err(Trouble::Failed(failure)) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Whether a pending final keeps an upload from expiring: it waits for it, or it waits for a part that is alive.
    pub(crate) async fn is_awaited(&self, document: &Document) -> Result<bool, Failure> {
        let now = self.requests.executor.now().wall.as_micros();
        let (others, complete) = match &document.parts {
            Some(parts) if parts.pending => (&parts.ids, false),
            None if document.is_complete() => (&document.finals, true),
            _ => return Ok(false),
        };
        for id in others.iter().filter_map(|id| UploadId::new(id)) {
            match self.read(&id).await {
                Ok(of) if complete && of.is_live() && of.is_pending() => return Ok(true),
                Ok(part) if !complete && part.is_live() && !part.is_complete() => {
                    if part.expires.is_some_and(|expires| expires > now) {
                        return Ok(true);
                    }
                }
                Ok(_) | Err(Trouble::Missing) => {}
                Err(Trouble::Failed(failure)) => return Err(failure),
            }
        }
        Ok(false)
    }
}

impl Document {
    /// Names the bytes of all parts, if all are complete.
    fn gather(&mut self, parts: &[Document]) -> bool {
        let Some(own) = self.parts.as_mut().filter(|own| own.ids.len() == parts.len()) else { return false };
        if !parts.iter().all(Document::is_complete) {
            return false;
        }
        own.pending = false;
        self.extents.clear();
        for part in parts {
            for extent in &part.extents {
                let Place::Object(name) = &extent.place else { return false };
                let place = Place::Object(keys::owned(&part.id, name));
                self.extents.push(Extent { len: extent.len, place });
            }
            match &part.tail {
                None => {}
                Some(Tail::Object { key, len }) => {
                    let place = Place::Object(keys::owned(&part.id, key));
                    self.extents.push(Extent { len: *len, place });
                }
                Some(tail) => {
                    self.extents.push(Extent { len: tail.len(), place: Place::Record(part.id.clone()) });
                }
            }
        }
        self.offset = self.extents.iter().map(|extent| extent.len).sum();
        (self.length, self.expires) = (Some(self.offset), None);
        true
    }
}

fn check_length(parts: &[UploadId], found: &[Document], max: Option<u64>) -> Result<(), ConcatRejection> {
    let lengths = || found.iter().map(|part| part.length);
    if max.is_some() && lengths().any(|length| length.is_none()) {
        return Err(ConcatRejection::UnknownLength);
    }
    // What is not known yet can only make it longer.
    let known = lengths().try_fold(0u64, |sum, length| sum.checked_add(length.unwrap_or(0)));
    let fits = known.is_some_and(|known| max.is_none_or(|max| known <= max)) && found.len() == parts.len();
    if fits { Ok(()) } else { Err(ConcatRejection::TooLarge) }
}
