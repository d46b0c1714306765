//! The task that delivers events: it carries out what the [`Schedule`] says.

use std::sync::{Arc, Weak};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::timeout_at,
};
use tus_driver::{
    Answer, Changed, DueEvents, Executor as _, OutboxEvent, Store, Ticket,
    hooks::{Hook, HookEvent},
    outbox::{Action, Pauses, Schedule, Settlement},
};
use tus_proto::{Failure, Instant, UploadId};

use crate::{core::Core, hooks::HookCalls};

/// What the task is told.
pub(crate) enum News {
    /// There may be new events.
    Committed,
    /// The outbox was read.
    Read(Result<DueEvents, Failure>),
    /// The delivery of an upload's event has ended, well or not.
    Delivered(UploadId, Hook, bool),
    /// The store was told of it, or failed.
    Settled(UploadId, Result<(), Failure>),
    /// No more is delivered; what is under way has until then.
    Stop(Instant),
}

pub(crate) struct Outbox<S: Store> {
    /// Weak: the task ends when the service is dropped.
    pub(crate) core: Weak<Core<S>>,
    pub(crate) hooks: HookCalls,
    pub(crate) news: UnboundedReceiver<News>,
}

impl<S: Store> Outbox<S> {
    /// The task's body; at most `limit` deliveries run at once.
    pub(crate) async fn run(mut self, limit: usize, pauses: Pauses) {
        let mut schedule = Schedule::new(limit, pauses);
        let mut end: Option<Instant> = None;
        loop {
            let Some(core) = self.core.upgrade() else { return };
            while let Some(action) = schedule.poll(core.pool.now()) {
                self.act(&core, action);
            }
            let now = core.pool.now();
            if end.is_some_and(|end| schedule.is_idle() || end <= now.monotonic) {
                return;
            }
            let until = schedule.deadline(now).into_iter().chain(end).min();
            let until = until.map(|until| core.pool.wake_at(until));
            drop(core);
            let news = match until {
                Some(until) => timeout_at(until, self.news.recv()).await,
                None => Ok(self.news.recv().await),
            };
            let Some(core) = self.core.upgrade() else { return };
            let now = core.pool.now();
            match news {
                // A deadline has passed.
                Err(_) => {}
                Ok(None) => return,
                Ok(Some(News::Committed)) => schedule.on_news(),
                Ok(Some(News::Read(due))) => schedule.on_read(now, due),
                Ok(Some(News::Delivered(id, hook, delivered))) => {
                    if !delivered {
                        core.counters.hook_failed(hook);
                    }
                    schedule.on_delivered(now, &id, delivered);
                }
                Ok(Some(News::Settled(id, settled))) => schedule.on_settled(now, &id, settled),
                Ok(Some(News::Stop(at))) => {
                    schedule.stop();
                    end = Some(at);
                }
            }
        }
    }

    fn act(&self, core: &Arc<Core<S>>, action: Action) {
        let news = core.news.clone();
        match action {
            Action::Read(query) => {
                let read = move |due| post(&news, News::Read(due));
                let later = || Ticket::new(read.clone());
                if let Answer::Now(due) = core.store.due_events(query, later) {
                    read(due);
                }
            }
            Action::Deliver(event) => self.deliver(core, event),
            Action::Settle(settlement) => settle(core, settlement),
        }
    }

    fn deliver(&self, core: &Arc<Core<S>>, event: OutboxEvent) {
        let (id, news) = (event.record.id.clone(), core.news.clone());
        let (of, hook) = (id.clone(), Hook::of_event(event.kind));
        core.counters.hook_called(hook);
        let ticket = Ticket::new(move |done| post(&news, News::Delivered(of, hook, done)));
        let core = Arc::downgrade(core);
        let with_files = move || {
            let files = match HookEvent::has_files(event.kind) {
                // The store says what is wrong; it may be otherwise later.
                true => core.upgrade()?.store.files(&id).ok()?,
                false => Vec::new(),
            };
            Some(HookEvent::new(event, files))
        };
        self.hooks.deliver(with_files, ticket);
    }
}

/// Tells the store what became of an event.
fn settle<S: Store>(core: &Core<S>, settlement: Settlement) {
    let (id, news) = (settlement.id.clone(), core.news.clone());
    let told = move |changed: Changed| {
        post(&news, News::Settled(id, changed.outcome()));
    };
    let later = || Ticket::new(told.clone());
    if let Answer::Now(changed) = core.store.change(settlement.change(), later) {
        told(changed);
    }
}

/// Tells the task something; nobody hears it once the service is gone.
pub(crate) fn post(to: &Option<UnboundedSender<News>>, news: News) {
    if let Some(to) = to {
        let _ = to.send(news);
    }
}
