//! Events wait in the record that they are about, written with the change that made them true. A hint of its own for each
//! event, written before it, says where one may wait: a hint without an event is dropped, an event without a hint can't be.
//!
//! The server that made an event delivers it. If it does not, any other server does, once it has seen the event
//! unchanged for a while: so it is delivered at least once, and by one in most cases.

use std::sync::Arc;

use tus_driver::{DueEvents, EventKind, EventQuery, LookupError, OutboxEvent};
use tus_proto::{Completion, Failure, UploadId, WallTime};

use crate::{
    bucket::{Condition, Key},
    document::{Document, Event},
    keys,
    records::{Step, Trouble, failure},
    requests::lock,
    shared::Shared,
};

/// How many hints are read at once.
const PAGE: usize = 1000;

/// How many hints of other openings are remembered.
const SEEN: usize = 16_384;

impl Shared {
    /// Says that an event of an upload may wait soon. Returns the hint's name.
    pub(crate) async fn put_hint(&self, id: &UploadId) -> Result<String, Failure> {
        let name = format!("{:016x}", self.requests.random());
        let key = keys::hint(id.as_str(), &name);
        let text = bytes::Bytes::from_static(b"-");
        let put = self.requests.clear(|bucket| bucket.put(key.clone(), text.clone().into(), Condition::None));
        put.await.map(|_| name).map_err(|fault| failure(&fault))
    }

    /// Says that events wait.
    pub(crate) fn wake(&self, events: &[UploadId]) {
        let wake = lock(&self.events).wake.clone().filter(|_| !events.is_empty());
        // It may call the store.
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Which opening posts an event, and when.
    pub(crate) fn stamp(&self) -> (u64, WallTime) {
        (self.owner, self.requests.executor.now().wall)
    }

    /// Whether this opening is to deliver an event: it is its own, or no other opening delivers it.
    fn is_mine(&self, id: &UploadId, event: &Event) -> bool {
        let state = format!("{}-{}", event.attempts, event.due);
        event.by == self.owner || self.is_stale(id, event.number, &state)
    }

    pub(crate) async fn due_events(self: &Arc<Self>, query: EventQuery) -> Result<DueEvents, Failure> {
        let mut due = DueEvents::default();
        if let Some(id) = &query.upload {
            match self.read(id).await {
                Ok(document) => self.first_event(&query, id, &document, &mut due),
                Err(Trouble::Missing) => {}
                Err(Trouble::Failed(failure)) => return Err(failure),
            }
            return Ok(due);
        }
        for shard in 0..keys::INDEX_SHARDS {
            let mut after: Option<Key> = None;
            let mut last = None;
            loop {
                let prefix = keys::hints(shard);
                let listed =
                    self.requests.clear(|bucket| bucket.list(prefix.clone(), after.clone(), PAGE)).await;
                let listed = listed.map_err(|fault| failure(&fault))?;
                for key in &listed {
                    let Some((id, _)) = keys::parse_hint(key) else { continue };
                    let Some(id) = UploadId::new(id).filter(|id| last.as_ref() != Some(id)) else { continue };
                    last = Some(id.clone());
                    self.follow_hint(&query, key, &id, &mut due).await?;
                    if due.events.len() >= query.limit {
                        return Ok(DueEvents { next: None, ..due });
                    }
                }
                if listed.len() < PAGE {
                    break;
                }
                after = listed.last().cloned();
            }
        }
        Ok(due)
    }

    async fn follow_hint(
        self: &Arc<Self>,
        query: &EventQuery,
        key: &Key,
        id: &UploadId,
        due: &mut DueEvents,
    ) -> Result<(), Failure> {
        let document = match self.read(id).await {
            Ok(document) => Some(document),
            Err(Trouble::Missing) => None,
            Err(Trouble::Failed(failure)) => return Err(failure),
        };
        match document.filter(|document| !document.events.is_empty()) {
            Some(document) => self.first_event(query, id, &document, due),
            // The event may be about to be written.
            None if self.is_stale(id, u64::MAX, key) => self.delete_later(key.clone()),
            None => {}
        }
        Ok(())
    }

    fn first_event(&self, query: &EventQuery, id: &UploadId, document: &Document, due: &mut DueEvents) {
        let Some(event) = document.events.first() else { return };
        let at = match self.is_mine(id, event) {
            true => WallTime::from_micros(event.due),
            false => query.now.after(self.options.event_patience),
        };
        if at > query.now {
            due.next = Some(due.next.map_or(at, |next| next.min(at)));
            return;
        }
        due.events.push(to_outbox(id, document, event));
    }

    /// Whether this has been seen unchanged for so long that no other server will deliver it.
    pub(crate) fn is_stale(&self, id: &UploadId, number: u64, state: &str) -> bool {
        let now = self.requests.now();
        let mut events = lock(&self.events);
        if events.seen.len() >= SEEN {
            events.seen.clear();
        }
        let since = *events.seen.entry((id.clone(), number, state.into())).or_insert(now);
        now.since(since) >= self.options.event_patience
    }

    pub(crate) async fn acknowledge(
        self: &Arc<Self>,
        id: &UploadId,
        number: u64,
    ) -> Result<Completion, LookupError> {
        let done = self
            .update(id, |document| match document.events.iter().position(|event| event.number == number) {
                Some(index) => Step::Write(Some(document.events.remove(index))),
                None => Step::Leave(None),
            })
            .await?;
        lock(&self.events).seen.retain(|(seen, at, _), _| seen != id || *at != number);
        let Some(Event { hint, .. }) = done.value else { return Err(LookupError::Missing) };
        self.delete_later(keys::hint(id.as_str(), &hint));
        Ok(Completion::Deleted)
    }

    pub(crate) async fn postpone(
        &self,
        id: &UploadId,
        number: u64,
        until: WallTime,
    ) -> Result<Completion, LookupError> {
        let done = self
            .update(id, |document| match document.events.iter_mut().find(|event| event.number == number) {
                Some(event) => {
                    event.attempts += 1;
                    (event.due, event.by) = (until.as_micros(), self.owner);
                    Step::Write(Some(document.offset))
                }
                None => Step::Leave(None),
            })
            .await?;
        let offset = done.value.ok_or(LookupError::Missing)?;
        Ok(Completion::Committed { offset })
    }
}

fn to_outbox(id: &UploadId, document: &Document, event: &Event) -> OutboxEvent {
    let kind = if event.completed { EventKind::Completed } else { EventKind::Terminated };
    OutboxEvent { number: event.number, kind, record: document.record(id), attempts: event.attempts }
}
