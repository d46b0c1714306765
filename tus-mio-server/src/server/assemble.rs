//! What a server is made of, whatever its store: threads, loops, and what they share.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use mio::{Poll, Waker};
use tus_driver::{
    Clock, Executor, Inbox, Locks, Requests, Store, Ticket,
    hooks::{HookRunner, HookSet},
    outbox::Pauses,
};
use tus_proto::{Failure, WallTime};

use super::{
    Control, Handle, Server,
    endpoints::admin_endpoints,
    error::ServeError,
    limits::{cores, limits},
    settings::Settings,
};
use crate::{
    admin::{AdminServer, Administration, DELETER_LOOP, Desk, Endpoint},
    listen::{Inherited, Listener},
    page::Page,
    publish::{Publish, Publisher},
    runtime::{
        self, Admission, EventLoop, Heads, HookCalls, Limits, Loops, Mailbox, Message, Metrics, Shared,
        Spawner, Threads, UploadRate, Workers,
    },
    tls::{Acceptor, TlsError},
};

/// How often a server that waits for its store's end looks whether it is asked to end at once.
const LOOK: Duration = Duration::from_millis(100);

/// What is there before the store is.
pub(super) struct Parts {
    pub(super) settings: Settings,
    spawner: Option<Spawner>,
    tls: Option<Acceptor>,
    listeners: Vec<Listener>,
    /// Where administration is to be had.
    pub(super) endpoints: Vec<Endpoint>,
    hooks: Option<Arc<dyn HookRunner>>,
    /// The hook runner, where it is one that publishes.
    pub(super) publisher: Option<Arc<Publisher>>,
    limits: Limits,
    max_unflushed_files: usize,
}

impl Parts {
    /// Checks the settings, and listens.
    pub(super) fn prepare(
        mut settings: Settings,
        inherited: Inherited,
        spawner: Option<Spawner>,
    ) -> Result<Self, ServeError> {
        settings.check().map_err(ServeError::Settings)?;
        let publishes = settings.publish.as_ref().map_or(Ok(()), Publish::check);
        publishes.map_err(|(path, error)| ServeError::Publish(path, error))?;
        let tls = settings.tls.as_ref().map(Acceptor::load).transpose().map_err(ServeError::Tls)?;
        let mut listeners = inherited.into_listeners();
        for address in &settings.listen {
            let failed = |error| ServeError::Listen(address.clone(), error);
            listeners.push(Listener::bind(address, &settings.listen).map_err(failed)?);
        }
        let endpoints = admin_endpoints(&settings)?;
        let hooks = HookSet::new(std::mem::take(&mut settings.hooks));
        let hooks = hooks.map(|hooks| Arc::new(hooks) as Arc<dyn HookRunner>);
        let hooks = settings.hook_runner.take().or(hooks);
        let publisher =
            settings.publish.as_ref().map(|publish| Arc::new(Publisher::new(publish, hooks.clone())));
        let hooks = publisher.clone().map(|publisher| publisher as Arc<dyn HookRunner>).or(hooks);
        settings.protocol.set_hooks(hooks.as_ref().map(|hooks| hooks.subscriptions()).unwrap_or_default());
        let (limits, max_unflushed_files) = limits(&settings);
        Ok(Self {
            settings,
            spawner,
            tls,
            listeners,
            endpoints,
            hooks,
            publisher,
            limits,
            max_unflushed_files,
        })
    }

    /// Opens the store in the data directory.
    pub(super) fn open_redb(&self) -> Result<tus_redb::Store, ServeError> {
        let settings = &self.settings;
        let events = self.hooks.as_ref().map(|hooks| hooks.events()).unwrap_or_default();
        let options = tus_redb::Options {
            max_unflushed_files: self.max_unflushed_files,
            durability: settings.durability,
            cache_bytes: settings.record_cache,
            log_bytes: settings.log_size,
            reserve_bytes: settings.disk_reserve,
            max_waiting: settings.max_waiting_finals,
            consolidate: settings.consolidate,
            events,
            inline_bytes: if events.completed || settings.protocol.hooks().finish {
                0
            } else {
                settings.small_uploads
            },
            finished_expiry: settings.host.finished_expiry,
            digests: settings.store_digest,
            space: settings.host.space,
            file_mode: settings.host.file_mode,
            dir_mode: settings.host.dir_mode,
            check: false,
        };
        tus_redb::Store::open(&settings.data_dir, &options).map_err(ServeError::Store)
    }

    /// Makes the server around the store that `open` opens; `administer` says how operators ask it. `time` is how far the
    /// lives of its uploads have come.
    pub(super) fn assemble<S: Store>(
        self,
        time: Option<WallTime>,
        open: impl FnOnce(Arc<dyn Executor>, Arc<Metrics>) -> Result<S, ServeError>,
        administer: impl FnOnce(Arc<Shared<S>>, Arc<Requests<S>>) -> Arc<dyn Administration>,
    ) -> Result<Server, ServeError> {
        let Self { settings, spawner, tls, listeners, endpoints, hooks, limits, .. } = self;
        // That in the data directory is found by its name.
        let admin_addresses = endpoints.iter().map(|endpoint| endpoint.listener.address().clone());
        let admin_addresses = admin_addresses.take(settings.admin_listen.len()).collect();
        let addresses = listeners.iter().map(|listener| listener.address().clone()).collect();
        let (polls, mailboxes) = loops_of(&settings)?;
        let clock = Clock::start(time);
        let events = hooks.as_ref().map(|hooks| hooks.events()).unwrap_or_default();
        // `pre-finish` is not called for a final that the last byte of a part completes: so the page sends no parts.
        let asks_before_finish = hooks.as_ref().is_some_and(|hooks| hooks.subscriptions().finish);
        let hooks = hooks.map(|hooks| hooked(hooks, clock, &settings));
        let worker_count = settings.workers.clamp(1, 64);
        let workers = Arc::new(Workers::new(worker_count, cores()));
        let threads = Arc::new(Threads::new(workers.clone(), mailboxes.clone(), clock, spawner));
        let metrics = Arc::new(Metrics::new().counting_log_drops(settings.log_lines_dropped));
        let store = open(threads.clone(), metrics.clone())?;
        if let Some(deliverer) = hooks.as_ref().and_then(|hooks| hooks.deliverer.clone()) {
            store.keep_events(events, Box::new(move || deliverer.wake()));
        }
        // Deletions by an operator are requests without an event loop.
        let deletions = Arc::new(tus_driver::Mailboxes::new(runtime::owner(DELETER_LOOP, 0, 0)));
        let inbox: Arc<dyn Inbox> = Arc::new(Loops(mailboxes.clone(), deletions.clone()));
        let locks = Locks::new(store.first_fence(), settings.locks.map(|service| (service, inbox.clone())));
        let locks = Arc::new(locks);
        let deletions = Requests::sharing(deletions, locks.clone(), inbox.clone(), threads.clone());
        let shared = Arc::new(Shared {
            clock,
            hooks,
            attributions: Arc::default(),
            page: settings.demo.then(|| {
                let protocol = &settings.protocol;
                Page::new(protocol.base_path(), protocol.downloads(), !asks_before_finish)
            }),
            metrics_path: settings.metrics_path,
            status_is_public: settings.admin_listen.is_empty(),
            notices: runtime::Notices::default(),
            access_log: settings.access_log,
            metrics,
            protocol: Arc::new(settings.protocol),
            http: Arc::new(settings.http),
            locks,
            store,
            mailboxes,
            inbox,
            workers,
            threads,
            buffers: runtime::buffers_of_each(settings.buffer_memory, polls.len()),
            upload_rate: UploadRate::new(
                settings.host.max_uploads_per_hour,
                settings.uncounted_addresses,
                settings.address_prefixes,
            ),
            admission: Admission::new(limits),
            heads: Heads::new(settings.head_memory),
            tls,
            shutdown_timeout: settings.shutdown_timeout,
            shutdowns: AtomicU8::new(0),
        });
        if let Some(hooks) = &shared.hooks {
            let shared = Arc::downgrade(&shared);
            hooks.show_files(Box::new(move |id| {
                shared.upgrade().and_then(|shared| shared.store.files(id).ok()).unwrap_or_default()
            }));
        }
        let mut loops: Vec<_> = polls
            .into_iter()
            .enumerate()
            .map(|(index, poll)| EventLoop::new(index, shared.clone(), poll))
            .collect();
        if let Some(first) = loops.first_mut() {
            for listener in listeners {
                first.listen(listener).map_err(ServeError::System)?;
            }
        }
        let administration = administer(shared.clone(), Arc::new(deletions));
        let desk = Desk { administration, status: shared.clone() };
        let admin = AdminServer::new(endpoints, desk, clock).map_err(ServeError::System)?;
        let handle = Handle { control: shared.clone() };
        let serve = Box::new(move || run(&shared, loops, worker_count, admin));
        Ok(Server { addresses, admin_addresses, handle, serve })
    }
}

type Mailboxes<S> = Arc<[Mailbox<S>]>;

/// The polls of the event loops, and their mailboxes.
fn loops_of<S: Store>(settings: &Settings) -> Result<(Vec<Poll>, Mailboxes<S>), ServeError> {
    let mut polls = Vec::new();
    let mut mailboxes = Vec::new();
    let loops = if settings.tls.is_some() { cores() } else { cores().div_ceil(2) };
    for _ in 0..settings.threads.unwrap_or(loops.min(4)).clamp(1, 64) {
        let poll = Poll::new().map_err(ServeError::System)?;
        let waker = Waker::new(poll.registry(), runtime::WAKER).map_err(ServeError::System)?;
        polls.push(poll);
        mailboxes.push(Mailbox::new(waker));
    }
    Ok((polls, mailboxes.into()))
}

/// Runs all threads of a server until it has drained.
fn run<S: Store>(
    shared: &Arc<Shared<S>>,
    mut rest: Vec<EventLoop<S>>,
    worker_count: usize,
    admin: AdminServer,
) -> Result<(), ServeError> {
    let first = rest.remove(0);
    let closed = AtomicBool::new(false);
    let admin_stopper = admin.stopper();
    thread::scope(|scope| {
        let mut serving = Vec::new();
        let mut helping = Vec::new();
        let mut telling = None;
        let mut administering = None;
        let closed = &closed;
        let started = (|| {
            for index in 0..worker_count {
                let work = || shared.workers.run(&shared.mailboxes);
                helping.push(named("worker", index).spawn_scoped(scope, work)?);
            }
            if let Some(deliverer) = shared.deliverer() {
                telling = Some(named("deliverer", 0).spawn_scoped(scope, || deliverer.run(shared))?);
            }
            let commit = || {
                shared.threads.commit(|| {
                    shared.notices.flush(std::time::Instant::now());
                    closed.load(Ordering::Acquire)
                })
            };
            let committer = named("committer", 0).spawn_scoped(scope, commit)?;
            administering = Some(named("admin", 0).spawn_scoped(scope, || admin.run())?);
            for (index, event_loop) in rest.into_iter().enumerate() {
                serving.push(named("loop", index + 1).spawn_scoped(scope, || event_loop.run())?);
            }
            Ok::<_, io::Error>(committer)
        })();
        let mut result = started.as_ref().map(|_| ()).map_err(|error| io::Error::from(error.kind()));
        if result.is_ok() {
            result = first.run();
        }
        if result.is_err() {
            shared.shutdowns.store(2, Ordering::Release);
            shared.shutdown();
        }
        for thread in serving {
            result =
                result.and(thread.join().unwrap_or_else(|_| Err(io::Error::other("an event loop failed"))));
        }
        admin_stopper.stop();
        if let Some(thread) = administering {
            result = result.and(
                thread.join().unwrap_or_else(|_| Err(io::Error::other("the administrator's thread failed"))),
            );
        }
        if telling.is_some_and(|thread| thread.join().is_err()) {
            result = result.and(Err(io::Error::other("the deliverer failed")));
        }
        if let Some(hooks) = &shared.hooks {
            hooks.close();
        }
        close_store(shared);
        // The workers may have a last step for the committing thread.
        shared.workers.close();
        for thread in helping {
            if thread.join().is_err() {
                result = result.and(Err(io::Error::other("a worker failed")));
            }
        }
        closed.store(true, Ordering::Release);
        shared.threads.notify();
        result.map_err(ServeError::System)
    })
}

/// Closes the store, and waits until what it acknowledged is durable, or a second shutdown asks for an end at once.
fn close_store<S: Store>(shared: &Shared<S>) {
    let (tell, told) = mpsc::channel();
    shared.store.close(Ticket::new(move |flushed: Result<(), Failure>| {
        // Nobody listens once the server ends at once.
        let _ = tell.send(flushed);
    }));
    let flushed = loop {
        match told.recv_timeout(LOOK) {
            Err(mpsc::RecvTimeoutError::Timeout) if shared.shutdowns.load(Ordering::Acquire) < 2 => {}
            Ok(flushed) => break flushed,
            // The store gave its ticket up.
            Err(_) => break Err(Failure::Unavailable),
        }
    };
    if flushed.is_err() {
        tracing::error!("what was committed last could not be made durable");
    }
}

fn hooked(hooks: Arc<dyn HookRunner>, clock: Clock, settings: &Settings) -> HookCalls {
    let pauses = Pauses::new(settings.hook_pause, settings.hook_longest_pause);
    // A request waits for one hook at a time.
    let limit = settings.max_connections.max(1);
    HookCalls::new(hooks, clock, (settings.hook_threads.clamp(1, 1024), limit), settings.hook_timeout, pauses)
}

fn named(role: &str, index: usize) -> thread::Builder {
    // What a worker or the committer does is shallow; a small stack keeps a small host small.
    thread::Builder::new().name(format!("{role}-{index}")).stack_size(512 << 10)
}

impl<S: Store> Control for Shared<S> {
    fn shutdown(&self) {
        let more = |n: u8| Some(n.saturating_add(1));
        let before = self.shutdowns.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        // A drain begins where connections come from; an end is everywhere at once.
        let drains = before == Ok(0);
        let told = self.mailboxes.iter().enumerate();
        for (_, mailbox) in told.filter(|(index, _)| !drains || *index == runtime::ACCEPTING) {
            mailbox.post(Message::Shutdown);
        }
        if let Some(deliverer) = self.deliverer() {
            let time = if drains { self.shutdown_timeout } else { Duration::ZERO };
            deliverer.stop(self.clock.now().monotonic.after(time));
        }
    }

    fn reload_tls(&self) -> Result<(), TlsError> {
        self.tls.as_ref().map_or(Ok(()), Acceptor::reload)
    }
}
