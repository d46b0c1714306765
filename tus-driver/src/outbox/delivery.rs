//! The delivery of events, for a thread or a task of its own: carries out what the [`Schedule`] says.

use std::{fmt, path::PathBuf, sync::Arc, task::Waker, time::Duration};

use tus_proto::{Failure, Instant, Now, UploadId};

use super::schedule::{Action, Pauses, Schedule, Settlement};
use crate::{
    Answer, Changed, Counters, DueEvents, EventKind, OutboxEvent, Store, Ticket,
    hooks::{Attributions, Hook, HookCalls, HookEvent},
    mailbox::WakeQueue,
};

/// How often to look whether a completion still waits for its request: nothing tells.
const HELD: Duration = Duration::from_millis(100);

/// Finds the files of an upload. It may block.
pub type FilesOf = dyn Fn(&UploadId) -> Result<Vec<(PathBuf, u64)>, Failure> + Send + Sync;

/// What the delivery is told.
#[derive(Debug)]
enum News {
    /// There may be new events.
    Committed,
    /// The outbox was read.
    Read(Result<DueEvents, Failure>),
    /// The delivery of an upload's event has ended, well or not.
    Delivered(UploadId, Hook, bool),
    /// The store was told what became of an upload's event, or failed.
    Settled(UploadId, Result<(), Failure>),
    /// No more is delivered; what is under way has until then.
    Stop(Instant),
}

/// Speaks to a [`Delivery`], from any thread. A clone speaks to the same.
#[derive(Clone, Debug, Default)]
pub struct DeliveryHandle(WakeQueue<News>);

impl DeliveryHandle {
    /// There may be new events in the outbox.
    pub fn wake(&self) {
        self.0.push(News::Committed);
    }

    /// Begins no further delivery. Those under way have until `end`.
    pub fn stop(&self, end: Instant) {
        self.0.push(News::Stop(end));
    }
}

/// Delivers events until it is stopped.
pub struct Delivery {
    hooks: HookCalls,
    attributions: Arc<Attributions>,
    counters: Counters,
    files: Arc<FilesOf>,
    schedule: Schedule,
    news: WakeQueue<News>,
    /// Completions whose request is not answered yet: a hook may still choose the answer.
    held: Vec<OutboxEvent>,
    end: Option<Instant>,
}

/// What a delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is over.
    Done,
    /// It waits for its waker or, if there is one, for this time.
    Waits(Option<Instant>),
}

impl Delivery {
    /// At most `limit` deliveries run at once. `files` finds the files of a complete upload.
    pub fn new(
        handle: &DeliveryHandle,
        (hooks, attributions): (HookCalls, Arc<Attributions>),
        counters: Counters,
        files: Arc<FilesOf>,
        (limit, pauses): (usize, Pauses),
    ) -> Self {
        Self {
            hooks,
            attributions,
            counters,
            files,
            schedule: Schedule::new(limit, pauses),
            news: handle.0.clone(),
            held: Vec::new(),
            end: None,
        }
    }

    /// Does all there is to do now. The waker is woken when there is more.
    pub fn turn<S: Store>(&mut self, now: Now, store: &S, waker: &Waker) -> Turn {
        loop {
            while let Some(news) = self.news.pop(waker) {
                self.take(now, news);
            }
            let Some(action) = self.schedule.poll(now) else { break };
            match action {
                Action::Read(query) => {
                    let news = self.news.clone();
                    let read = move |due| news.push(News::Read(due));
                    if let Answer::Now(due) = store.due_events(query, || Ticket::new(read.clone())) {
                        read(due);
                    }
                }
                Action::Deliver(event) => self.deliver_or_hold(event),
                Action::Settle(settlement) => self.settle(store, settlement),
            }
        }
        for event in std::mem::take(&mut self.held) {
            self.deliver_or_hold(event);
        }
        if self.end.is_some_and(|end| self.schedule.is_idle() || end <= now.monotonic) {
            return Turn::Done;
        }
        let look = (!self.held.is_empty()).then(|| now.monotonic.after(HELD));
        Turn::Waits(self.schedule.deadline(now).into_iter().chain(self.end).chain(look).min())
    }

    fn take(&mut self, now: Now, news: News) {
        match news {
            News::Committed => self.schedule.on_news(),
            News::Read(due) => self.schedule.on_read(now, due),
            News::Delivered(id, hook, delivered) => {
                if !delivered {
                    self.counters.hook_failed(hook);
                }
                self.schedule.on_delivered(now, &id, delivered);
            }
            News::Settled(id, settled) => self.schedule.on_settled(now, &id, settled),
            News::Stop(end) => {
                self.schedule.stop();
                self.end = Some(self.end.map_or(end, |before| before.min(end)));
            }
        }
    }

    /// Tells the store what became of an event.
    fn settle<S: Store>(&self, store: &S, settlement: Settlement) {
        let (news, id) = (self.news.clone(), settlement.id.clone());
        let told = move |changed: Changed| news.push(News::Settled(id, changed.outcome()));
        if let Answer::Now(changed) = store.change(settlement.change(), || Ticket::new(told.clone())) {
            told(changed);
        }
    }

    /// Delivers an event, unless it must wait for the end of the request that made it.
    fn deliver_or_hold(&mut self, event: OutboxEvent) {
        let waits = event.kind == EventKind::Completed && self.attributions.is_finishing(&event.record.id);
        match waits {
            true => self.held.push(event),
            false => self.deliver(event),
        }
    }

    fn deliver(&self, event: OutboxEvent) {
        let (id, hook) = (event.record.id.clone(), Hook::of_event(event.kind));
        let request = self.attributions.get(&id, event.kind);
        self.counters.hook_called(hook);
        let (news, of) = (self.news.clone(), id.clone());
        let ticket = Ticket::new(move |done| news.push(News::Delivered(of, hook, done)));
        let (files, has_files) = (self.files.clone(), HookEvent::has_files(event.kind));
        let with_files = move || {
            // The store says what is wrong; it may be otherwise later.
            let files = if has_files { files(&event.record.id).ok()? } else { Vec::new() };
            Some(HookEvent::new(event, files).with_request(request))
        };
        if !self.hooks.deliver(has_files, with_files, ticket) {
            self.news.push(News::Delivered(id, hook, false));
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("schedule", &self.schedule)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}
