//! What moves bytes between sockets and the store, and calls the exchange: event loops, workers, the
//! committer. It knows HTTP only through [`http1::Conn`](crate::http1::Conn) and tus only through
//! [`Exchange`](tus_proto::Exchange).
//!
//! Event loops never touch a disk but to read records. What may block goes to the workers, every change of a
//! record to the committer; both answer by a message and a wake.

mod accept;
mod access;
mod admission;
mod buffers;
mod connection;
mod deliverer;
mod egress;
mod event_loop;
mod eviction;
mod executor;
mod heads;
mod hook_calls;
mod hook_pool;
mod ingress;
mod inlet;
mod locks;
mod mailbox;
mod metrics;
mod notices;
mod observer;
mod presence;
mod rate;
mod request;
mod routes;
mod socket;
mod timers;
mod turn;
mod workers;

use std::{
    sync::{Arc, atomic::AtomicU8},
    time::Duration,
};

use tus_driver::{Clock, Inbox, Locks, Store, hooks::Attributions};
use tus_proto::Config;

use crate::{http1, page::Page, tls::Acceptor};

pub(crate) use admission::{Admission, Limits};
pub(crate) use buffers::of_each as buffers_of_each;
pub(crate) use deliverer::Deliverer;
pub(crate) use event_loop::{ACCEPTING, EventLoop, WAKER};
pub(crate) use executor::{Spawner, Threads};
pub(crate) use heads::Heads;
pub(crate) use hook_calls::HookCalls;
pub(crate) use locks::{Loops, owner};
pub(crate) use mailbox::{Mailbox, Message};
pub(crate) use metrics::Metrics;
pub(crate) use notices::Notices;
pub(crate) use observer::StoreObserver;
pub(crate) use rate::UploadRate;
pub(crate) use socket::{Accepted, Socket};
pub(crate) use workers::Workers;

/// Names a connection of one event loop. A slot is used again, a generation is not: what is late for one
/// connection can't reach the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId {
    pub slot: u32,
    pub generation: u32,
}

/// What all threads of a server share.
pub(crate) struct Shared<S: Store> {
    pub clock: Clock,
    pub protocol: Arc<Config>,
    pub http: Arc<http1::Settings>,
    pub page: Option<Page>,
    /// Where the metrics are; `None` if they are not to be seen.
    pub metrics_path: Option<String>,
    /// Whether metrics and health are told to whoever can upload.
    pub status_is_public: bool,
    pub metrics: Arc<Metrics>,
    pub notices: Notices,
    /// Each request is logged at info.
    pub access_log: bool,
    pub store: S,
    pub locks: Arc<Locks>,
    pub mailboxes: Arc<[Mailbox<S>]>,
    /// Where requests of all threads are told what the locks bring about.
    pub inbox: Arc<dyn Inbox>,
    /// None where nobody has hooks.
    pub hooks: Option<HookCalls>,
    /// Of which request an event is, for hooks that are shown it.
    pub attributions: Arc<Attributions>,
    pub workers: Arc<Workers<S>>,
    pub threads: Arc<Threads<S>>,
    /// How many buffers each loop may have.
    pub buffers: usize,
    pub admission: Admission,
    pub upload_rate: UploadRate,
    pub heads: Heads,
    /// What TCP connections speak; none for plain HTTP.
    pub tls: Option<Acceptor>,
    pub shutdown_timeout: Duration,
    /// How many times a shutdown was asked for: 1 drains, 2 ends at once.
    pub shutdowns: AtomicU8,
}

impl<S: Store> std::fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("store", &self.store)
            .field("locks", &self.locks)
            .finish_non_exhaustive()
    }
}

impl<S: Store> Shared<S> {
    /// Who tells hooks of events; `None` if no such hook is subscribed.
    pub(crate) fn deliverer(&self) -> Option<&Arc<Deliverer>> {
        self.hooks.as_ref().and_then(|hooks| hooks.deliverer.as_ref())
    }
}

#[cfg(test)]
impl Shared<tus_redb::RedbStore> {
    /// Those of a server without threads, whose store is on this disk.
    #[allow(clippy::unwrap_used)]
    fn on(disk: &tus_redb::sim::SimDisk) -> Self {
        let engine = tus_redb::Store::open_on(Arc::new(disk.clone()), &tus_redb::Options::default()).unwrap();
        let (clock, workers) = (Clock::start(None), Arc::new(Workers::new(4, 2)));
        let threads = Arc::new(Threads::new(workers.clone(), Arc::default(), clock, None));
        let observer = Box::new(tus_redb::NoObserver);
        let store = tus_redb::RedbStore::start(engine, threads.clone(), observer, Duration::from_secs(60));
        Self {
            clock,
            protocol: Arc::default(),
            http: Arc::default(),
            page: None,
            metrics_path: None,
            status_is_public: true,
            metrics: Arc::new(Metrics::new()),
            notices: Notices::default(),
            access_log: false,
            locks: Arc::new(Locks::new(store.first_fence(), None)),
            store,
            mailboxes: Arc::default(),
            inbox: Arc::new(tus_driver::Mailboxes::<tus_redb::RedbStore>::new(tus_proto::Owner(0))),
            hooks: None,
            attributions: Arc::default(),
            workers,
            threads,
            buffers: 1,
            admission: Admission::new(Limits { all: 1, each: 0, uncounted: Vec::new(), prefixes: (32, 64) }),
            upload_rate: UploadRate::new(0, Vec::new(), (32, 64)),
            heads: Heads::new(1),
            tls: None,
            shutdown_timeout: Duration::ZERO,
            shutdowns: AtomicU8::new(0),
        }
    }

    /// Creates an upload, as the committing thread would.
    #[allow(clippy::unwrap_used)]
    fn create(&self, id: &str) -> tus_proto::Completion {
        let record = tus_proto::Record {
            id: tus_proto::UploadId::new(id).unwrap(),
            created: tus_proto::WallTime::default(),
            expires: None,
            concat: None,
            offset: 0,
            length: None,
            metadata: String::new(),
            explicit: None,
        };
        let (tell, told) = std::sync::mpsc::channel();
        let ticket =
            || tus_driver::Ticket::new(move |changed: tus_driver::Changed| tell.send(changed).unwrap());
        let change = tus_driver::Change::Create { record, first: None };
        self.store.change(change, ticket);
        self.threads.commit(|| true);
        told.recv().unwrap().completion
    }
}
