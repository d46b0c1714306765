//! The thread that delivers events to hooks: it does what the driver's [`Schedule`] says, hands the calls to a pool of
//! threads, and tells the store what became of them.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tus_driver::{
    Answer, Changed, DueEvents, EventKind, OutboxEvent, Store, Ticket,
    hooks::{Hook, HookEvent, HookRunner},
    outbox::{Action, Pauses, Schedule, Settlement},
};
use tus_proto::{Failure, Instant, UploadId};

use super::{Shared, hook_pool::HookPool};
use crate::sync::lock;

/// How often is looked whether a completion still waits, where nothing tells.
const HELD: Duration = Duration::from_millis(100);

/// What the thread is told.
#[derive(Debug)]
enum News {
    /// There may be new events.
    Committed,
    /// The outbox was read.
    Read(Result<DueEvents, Failure>),
    /// A hook was called with an upload's event, and has returned well or not.
    Delivered(UploadId, Hook, bool),
    /// The store knows what became of an upload's event, or could not note it.
    Settled(UploadId, Result<(), Failure>),
    /// The server drains, or ends at once.
    Stop,
}

/// The letter box of the thread, and what it needs.
#[derive(Debug)]
pub(crate) struct Deliverer {
    hooks: Arc<dyn HookRunner>,
    pool: HookPool,
    threads: usize,
    pauses: Pauses,
    news: Mutex<Vec<News>>,
    arrived: Condvar,
}

impl Deliverer {
    pub(crate) fn new(hooks: Arc<dyn HookRunner>, pool: HookPool, threads: usize, pauses: Pauses) -> Self {
        Self { hooks, pool, threads, pauses, news: Mutex::default(), arrived: Condvar::new() }
    }

    /// Lets those threads go.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    /// There may be new events in the outbox.
    pub(crate) fn wake(&self) {
        self.post(News::Committed);
    }

    /// Ends [`run`](Self::run) once no hook is running, or after the shutdown's time; the second time at once.
    pub(crate) fn stop(&self) {
        self.post(News::Stop);
    }

    fn post(&self, news: News) {
        lock(&self.news).push(news);
        self.arrived.notify_one();
    }

    /// The thread's body.
    pub(crate) fn run<S: Store>(self: &Arc<Self>, shared: &Shared<S>) {
        let now = || shared.clock.now();
        let mut schedule = Schedule::new(self.threads, self.pauses);
        let mut end: Option<Instant> = None;
        // Completions whose request is not answered yet: a hook may still choose the answer.
        let mut held: Vec<OutboxEvent> = Vec::new();
        loop {
            while let Some(action) = schedule.poll(now()) {
                self.act(shared, &mut held, action);
            }
            for event in std::mem::take(&mut held) {
                self.deliver_or_hold(shared, &mut held, event);
            }
            if end.is_some_and(|end| schedule.is_idle() || end <= now().monotonic) {
                return;
            }
            let look = (!held.is_empty()).then(|| now().monotonic.after(HELD));
            let until = schedule.deadline(now()).into_iter().chain(end).chain(look).min();
            for news in self.wait(until.map(|until| until.since(now().monotonic))) {
                match news {
                    News::Committed => schedule.on_news(),
                    News::Read(due) => schedule.on_read(now(), due),
                    News::Delivered(id, hook, delivered) => {
                        if !delivered {
                            shared.metrics.hook_failed(hook);
                        }
                        schedule.on_delivered(now(), &id, delivered);
                    }
                    News::Settled(id, settled) => schedule.on_settled(now(), &id, settled),
                    News::Stop => {
                        schedule.stop();
                        let at_once = shared.shutdowns.load(Ordering::Acquire) > 1;
                        let time = if at_once { Duration::ZERO } else { shared.shutdown_timeout };
                        end = Some(now().monotonic.after(time));
                    }
                }
            }
        }
    }

    /// Waits for news, at most so long.
    fn wait(&self, time: Option<Duration>) -> Vec<News> {
        let mut news = lock(&self.news);
        if news.is_empty() {
            news = match time {
                // A microsecond too early would be too early.
                Some(time) => {
                    let time = time + Duration::from_micros(1);
                    self.arrived.wait_timeout(news, time).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.arrived.wait(news).unwrap_or_else(PoisonError::into_inner),
            };
        }
        std::mem::take(&mut *news)
    }

    fn act<S: Store>(self: &Arc<Self>, shared: &Shared<S>, held: &mut Vec<OutboxEvent>, action: Action) {
        match action {
            Action::Read(query) => {
                let later = || {
                    let this = self.clone();
                    Ticket::new(move |due| this.post(News::Read(due)))
                };
                if let Answer::Now(due) = shared.store.due_events(query, later) {
                    self.post(News::Read(due));
                }
            }
            Action::Deliver(event) => self.deliver_or_hold(shared, held, event),
            Action::Settle(settlement) => self.settle(shared, settlement),
        }
    }

    /// Tells the store what became of an event.
    fn settle<S: Store>(self: &Arc<Self>, shared: &Shared<S>, settlement: Settlement) {
        let (this, id) = (self.clone(), settlement.id.clone());
        let told = move |changed: Changed| {
            this.post(News::Settled(id, changed.outcome()));
        };
        let later = || Ticket::new(told.clone());
        if let Answer::Now(changed) = shared.store.change(settlement.change(), later) {
            told(changed);
        }
    }

    /// Delivers an event, unless it must wait for the end of the request that made it.
    fn deliver_or_hold<S: Store>(
        self: &Arc<Self>,
        shared: &Shared<S>,
        held: &mut Vec<OutboxEvent>,
        event: OutboxEvent,
    ) {
        let waits = event.kind == EventKind::Completed && shared.attributions.is_finishing(&event.record.id);
        match waits {
            true => held.push(event),
            false => self.deliver(shared, event),
        }
    }

    /// Hands a call to the pool.
    fn deliver<S: Store>(self: &Arc<Self>, shared: &Shared<S>, event: OutboxEvent) {
        let (id, hook) = (event.record.id.clone(), Hook::of_event(event.kind));
        // The store says what is wrong; it may be otherwise later.
        let files = match HookEvent::has_files(event.kind) {
            true => shared.store.files(&id),
            false => Ok(Vec::new()),
        };
        let Ok(files) = files else { return self.post(News::Delivered(id, hook, false)) };
        let request = shared.attributions.get(&id, event.kind);
        shared.metrics.hook_called(hook);
        let event = HookEvent::new(event, files).with_request(request);
        let (this, hooks) = (self.clone(), self.hooks.clone());
        let of = id.clone();
        let ticket = Ticket::new(move |done| this.post(News::Delivered(of, hook, done)));
        if !hooks.blocks() {
            return hooks.deliver(event, ticket);
        }
        // As many run at once as there are threads: there is always room.
        if !self.pool.submit(None, move || hooks.deliver(event, ticket)) {
            self.post(News::Delivered(id, hook, false));
        }
    }
}
