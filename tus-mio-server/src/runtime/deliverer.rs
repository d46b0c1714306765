//! The thread that tells hooks what has happened: it reads the outbox as [`Schedule`] says, hands the calls to a
//! pool of threads, and what they have taken note of to the committer.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tus_driver::{
    Answer, Changed, EventKind, OutboxEvent, Ticket,
    hooks::{Hook, HookEvent, HookRunner},
    outbox::{Action, Pauses, Schedule, Told, last_number},
};
use tus_proto::{Completion, Instant, UploadId};

use super::{Shared, hook_pool::HookPool, mailbox::lock};

/// What the thread is told.
#[derive(Debug)]
enum News {
    /// There may be new events.
    Committed,
    /// A hook was told an upload's event.
    Told(UploadId, Hook, Told),
    /// The event is out of the outbox, or could not be removed.
    Acknowledged(UploadId, bool),
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

    /// Starts the threads on which hooks are told.
    ///
    /// # Errors
    /// The system's, if it gives no threads.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.pool.start(self.threads, "told-hook")
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
    pub(crate) fn run(self: &Arc<Self>, shared: &Shared) {
        let now = || shared.clock.now().monotonic;
        // Where the outbox can't be read, nothing was read of it: a pass would find nothing, and all is new.
        let last = last_number(|after, limit| shared.store.engine().outbox(after, limit)).unwrap_or(0);
        let mut schedule = Schedule::new(now(), last, self.threads, self.pauses);
        let mut end: Option<Instant> = None;
        loop {
            while let Some(action) = schedule.poll(now()) {
                self.act(shared, &mut schedule, action);
            }
            if end.is_some_and(|end| schedule.is_idle() || end <= now()) {
                return;
            }
            let until = schedule.deadline().into_iter().chain(end).min();
            for news in self.wait(until.map(|until| until.since(now()))) {
                match news {
                    News::Committed => schedule.on_news(),
                    News::Told(id, hook, told) => {
                        if told == Told::Failed {
                            shared.metrics.hook_failed(hook);
                        }
                        schedule.on_told(now(), &id, told);
                    }
                    News::Acknowledged(id, done) => schedule.on_acknowledged(now(), &id, done),
                    News::Stop => {
                        schedule.stop();
                        let at_once = shared.shutdowns.load(Ordering::Acquire) > 1;
                        let time = if at_once { Duration::ZERO } else { shared.shutdown_timeout };
                        end = Some(now().after(time));
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

    fn act(self: &Arc<Self>, shared: &Shared, schedule: &mut Schedule, action: Action) {
        match action {
            Action::Read { after, limit } => {
                let read = shared.store.engine().outbox(after, limit);
                schedule.on_read(shared.clock.now().monotonic, after, read);
            }
            Action::Tell(entry) => {
                let id = entry.record.id.clone();
                if let Some(told) = self.tell(shared, entry) {
                    schedule.on_told(shared.clock.now().monotonic, &id, told);
                }
            }
            Action::Acknowledge(id, number) => self.acknowledge(shared, id, number),
        }
    }

    /// Removes an event that a hook has taken note of.
    fn acknowledge(self: &Arc<Self>, shared: &Shared, id: UploadId, number: u64) {
        let (this, of) = (self.clone(), id.clone());
        let removed = move |changed: Changed| {
            this.post(News::Acknowledged(of, !matches!(changed.completion, Completion::Failed(_))));
        };
        let change = tus_driver::Change::Acknowledge { id, number };
        let later = || Ticket::new(removed.clone());
        if let Answer::Now(changed) = tus_driver::Store::change(&shared.store, change, later) {
            removed(changed);
        }
    }

    /// Hands a call to the pool; or says at once what became of it.
    fn tell(self: &Arc<Self>, shared: &Shared, entry: OutboxEvent) -> Option<Told> {
        let id = entry.record.id.clone();
        // Whoever consumes an upload wants one file: it comes, unless there is no space for it.
        if entry.kind == EventKind::Completed && !shared.store.engine().is_full() {
            match shared.store.engine().awaits_materialize(&id) {
                Ok(true) => return Some(Told::NotYet),
                Ok(false) => {}
                Err(_) => return Some(Told::Failed),
            }
        }
        // The store says what is wrong; it may be otherwise later.
        let files = match HookEvent::has_files(entry.kind) {
            true => shared.store.engine().paths(&id),
            false => Ok(Vec::new()),
        };
        let Ok(files) = files else { return Some(Told::Failed) };
        let event = HookEvent::new(entry, files);
        let hook = event.hook();
        shared.metrics.hook_called(hook);
        let (this, hooks) = (self.clone(), self.hooks.clone());
        let ticket = Ticket::new(move |done| {
            let told = if done { Told::Done } else { Told::Failed };
            this.post(News::Told(id, hook, told));
        });
        if !hooks.blocks() {
            hooks.deliver(event, ticket);
            return None;
        }
        // As many run at once as there are threads: it never waits, and there is always room.
        (!self.pool.submit(None, move || hooks.deliver(event, ticket))).then_some(Told::NotYet)
    }
}
