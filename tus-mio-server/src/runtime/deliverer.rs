//! The thread that tells hooks what has happened: it reads the outbox as [`Delivery`] says, hands the calls to a
//! pool of threads, and what they have taken note of to the committer.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tus_driver::{Answer, Changed, Ticket};
use tus_proto::{Completion, Failure, Instant, UploadId};
use tus_redb::{Entry, EventKind, RedbStore, Store};

use super::{
    Shared,
    delivery::{Action, Delivery, Pauses, Told},
    hook_pool::HookPool,
    mailbox::lock,
};
use crate::hooks::{Event, Hook, HookSet};

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
    hooks: HookSet,
    pool: HookPool,
    threads: usize,
    pauses: Pauses,
    news: Mutex<Vec<News>>,
    arrived: Condvar,
}

impl Deliverer {
    pub(crate) fn new(hooks: HookSet, pool: HookPool, threads: usize, pauses: Pauses) -> Self {
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
    pub(crate) fn run(self: &Arc<Self>, shared: &Shared<RedbStore>) {
        let now = || shared.clock.now().monotonic;
        // Where the outbox can't be read, nothing was read of it: a pass would find nothing, and all is new.
        let last = last_number(shared.store.engine()).unwrap_or(0);
        let mut delivery = Delivery::new(now(), last, self.threads, self.pauses);
        let mut end: Option<Instant> = None;
        loop {
            while let Some(action) = delivery.poll(now()) {
                self.act(shared, &mut delivery, action);
            }
            if end.is_some_and(|end| delivery.is_idle() || end <= now()) {
                return;
            }
            let until = delivery.deadline().into_iter().chain(end).min();
            for news in self.wait(until.map(|until| until.since(now()))) {
                match news {
                    News::Committed => delivery.on_news(),
                    News::Told(id, hook, told) => {
                        if told == Told::Failed {
                            shared.metrics.hook_failed(hook);
                        }
                        delivery.on_told(now(), &id, told);
                    }
                    News::Acknowledged(id, done) => delivery.on_acknowledged(now(), &id, done),
                    News::Stop => {
                        delivery.stop();
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

    fn act(self: &Arc<Self>, shared: &Shared<RedbStore>, delivery: &mut Delivery, action: Action) {
        match action {
            Action::Read { after, limit } => {
                let read = shared.store.engine().outbox(after, limit);
                delivery.on_read(shared.clock.now().monotonic, after, read);
            }
            Action::Tell(entry) => {
                let id = entry.record.id.clone();
                if let Some(told) = self.tell(shared, entry) {
                    delivery.on_told(shared.clock.now().monotonic, &id, told);
                }
            }
            Action::Acknowledge(id, number) => self.acknowledge(shared, id, number),
        }
    }

    /// Removes an event that a hook has taken note of.
    fn acknowledge(self: &Arc<Self>, shared: &Shared<RedbStore>, id: UploadId, number: u64) {
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
    fn tell(self: &Arc<Self>, shared: &Shared<RedbStore>, entry: Entry) -> Option<Told> {
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
        let Ok(event) = event(shared.store.engine(), entry) else { return Some(Told::Failed) };
        let hook = event.hook();
        shared.metrics.hook_called(hook);
        let this = self.clone();
        let call = move || {
            let told = if this.hooks.tell(event) { Told::Done } else { Told::Failed };
            this.post(News::Told(id, hook, told));
        };
        // As many run at once as there are threads: it never waits, and there is always room.
        (!self.pool.submit(None, call)).then_some(Told::NotYet)
    }
}

/// What a hook is told of an entry.
fn event(store: &Store, Entry { kind, record, .. }: Entry) -> Result<Event, Failure> {
    match kind {
        EventKind::Terminated => Ok(Event::Terminated(record)),
        EventKind::Completed => store.paths(&record.id).map(|files| Event::Completed(record, files)),
    }
}

/// The highest number in an outbox; 0 where it is empty.
fn last_number(store: &Store) -> Result<u64, Failure> {
    // Behind the highest there is none: it is found by halving, not by reading what may be a million entries.
    let (mut low, mut high) = (0, u64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        match store.outbox(middle, 1)?.first() {
            Some(entry) => low = entry.number,
            None => high = middle,
        }
    }
    Ok(low)
}
