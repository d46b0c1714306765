//! A lock service of several machines, as far as a server can tell: replies come late and from another thread, a
//! grant goes to somebody elsewhere, the service can't be reached.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{HashMap, VecDeque},
    io::{ErrorKind, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tests::{Answer, Request, client::Client, embed::handle, server::Running};
use tus_mio_server::{Blocking, Caller, LockService};
use tus_proto::{Config, Fence, LockCall, LockEvent, LockReply, OpId, UploadId};
use tus_redb::{Options, Store};

/// How long each call is under way.
const DELAY: Duration = Duration::from_millis(3);

/// A service in a thread of its own.
#[derive(Debug)]
struct Remote {
    orders: Sender<Order>,
    unreachable: AtomicBool,
    renewals: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Order {
    Start(Fence),
    Call(Caller, OpId, LockCall),
    /// Gives the lock to another machine for a moment, and tells when that is done.
    TakeAway(UploadId, Sender<()>),
}

impl LockService for Remote {
    fn start(&self, first: Fence) {
        self.orders.send(Order::Start(first)).unwrap();
    }

    fn call(&self, caller: &Caller, op: OpId, call: LockCall) {
        if !self.unreachable.load(Ordering::SeqCst) {
            self.orders.send(Order::Call(caller.clone(), op, call)).unwrap();
        } else if !matches!(call, LockCall::Checkpointed { .. }) {
            caller.tell(LockEvent::Reply(op, LockReply::Unavailable));
        }
    }
}

impl Remote {
    fn start_up() -> Arc<Self> {
        let (orders, received) = channel();
        let renewals = Arc::<AtomicUsize>::default();
        let machine =
            Machine { locks: HashMap::new(), next: Fence::default(), renewals: Arc::clone(&renewals) };
        thread::spawn(|| machine.run(received));
        Arc::new(Self { orders, unreachable: AtomicBool::new(false), renewals })
    }

    fn take_away(&self, location: &str) {
        let (done, taken) = channel();
        let id = UploadId::new(location.rsplit('/').next().unwrap()).unwrap();
        self.orders.send(Order::TakeAway(id, done)).unwrap();
        taken.recv_timeout(Duration::from_secs(20)).unwrap();
    }

    fn be_reachable(&self, reachable: bool) {
        self.unreachable.store(!reachable, Ordering::SeqCst);
    }

    fn wait_for_renewals(&self, count: usize) {
        let begun = Instant::now();
        while self.renewals.load(Ordering::SeqCst) < count {
            assert!(begun.elapsed() < Duration::from_secs(20), "it is not renewed");
            thread::sleep(DELAY);
        }
    }
}

/// What that thread knows.
struct Machine {
    locks: HashMap<UploadId, Lock>,
    next: Fence,
    renewals: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Lock {
    holder: Option<Caller>,
    waiting: VecDeque<(Caller, OpId)>,
    /// Who lost it, and may not know yet.
    lost: Vec<Caller>,
}

impl Machine {
    fn run(mut self, orders: Receiver<Order>) {
        for order in orders {
            thread::sleep(DELAY);
            match order {
                Order::Start(first) => self.next = first,
                Order::Call(caller, op, call) => {
                    if let Some(reply) = self.call(&caller, op, call) {
                        caller.tell(LockEvent::Reply(op, reply));
                    }
                }
                Order::TakeAway(key, done) => {
                    let lock = self.locks.entry(key).or_default();
                    let holder = lock.holder.take().expect("there should be a holder");
                    holder.tell(LockEvent::Lost);
                    lock.lost.push(holder);
                    self.next.0 += 1;
                    done.send(()).unwrap();
                }
            }
        }
    }

    fn call(&mut self, caller: &Caller, op: OpId, call: LockCall) -> Option<LockReply> {
        match call {
            LockCall::Acquire { key, offset, .. } => {
                let lock = self.locks.entry(key.clone()).or_default();
                if let Some(holder) = &lock.holder {
                    holder.tell(LockEvent::Yield(offset));
                }
                lock.waiting.push_back((caller.clone(), op));
                self.grant(&key);
                None
            }
            LockCall::Renew { key, .. } => {
                self.renewals.fetch_add(1, Ordering::SeqCst);
                let held = self.locks.get(&key).is_some_and(|lock| lock.holder.as_ref() == Some(caller));
                Some(if held { LockReply::Renewed } else { LockReply::Lost })
            }
            LockCall::Release { key } => {
                let lock = self.locks.entry(key.clone()).or_default();
                lock.holder.take_if(|holder| holder == caller);
                lock.lost.retain(|lost| lost != caller);
                lock.waiting.retain(|(waiting, _)| waiting != caller);
                self.grant(&key);
                Some(LockReply::Released)
            }
            LockCall::Checkpoint { .. } => Some(LockReply::Checkpointed),
            LockCall::Checkpointed { .. } => None,
        }
    }

    fn grant(&mut self, key: &UploadId) {
        let lock = self.locks.entry(key.clone()).or_default();
        if lock.holder.is_none()
            && let Some((caller, op)) = lock.waiting.pop_front()
        {
            let (fence, rotate) = (self.next, !lock.lost.is_empty());
            self.next.0 += 1;
            caller.tell(LockEvent::Reply(op, LockReply::Granted { fence, rotate }));
            lock.holder = Some(caller);
        }
    }
}

fn config() -> Config {
    let hour = Duration::from_secs(3600);
    Config::builder().lock_ttl(Duration::from_secs(1)).checkpoint_interval(hour).build().unwrap()
}

fn serve(locks: &Arc<Remote>) -> Running {
    let locks: Arc<dyn LockService> = locks.clone();
    Running::start(|settings| (settings.protocol, settings.locks) = (config(), Some(locks)))
}

fn at(location: &str, request: Request) -> Request {
    Request { target: location.into(), ..request }
}

fn begin(server: &Running, request: &Request) -> Client {
    let mut client = Client::connect(server.address());
    client.request(request);
    client
}

/// A request that has the lock, and waits for its body.
fn continued(server: &Running, request: &Request) -> Client {
    let mut client = begin(server, &request.clone().with("Expect", "100-continue"));
    client.wait_for_continue().unwrap();
    client
}

fn send(server: &Running, request: &Request) -> Answer {
    begin(server, request).answer(request.method == "HEAD").unwrap()
}

fn create(server: &Running) -> String {
    let answer = send(server, &Request::post().with("Upload-Length", 9));
    answer.value("Location").unwrap().to_owned()
}

#[track_caller]
fn is(answer: &Answer, status: u16, code: &str) {
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!((answer.status, body.split(':').next()), (status, Some(code)));
}

#[track_caller]
fn tells(server: &Running, location: &str, offset: &str) {
    let answer = send(server, &at(location, Request::head()));
    assert_eq!((answer.status, answer.value("Upload-Offset")), (200, Some(offset)));
}

#[test]
fn a_writer_goes_on_through_renewals() {
    let locks = Remote::start_up();
    let server = serve(&locks);
    let location = create(&server);
    let mut writer = begin(&server, &at(&location, Request::patch(0).announcing(9, "hello")));
    // A third of a second lies between two.
    locks.wait_for_renewals(4);
    writer.write(b"you!");
    assert_eq!(writer.answer(false).unwrap().status, 204);
    tells(&server, &location, "9");
}

#[test]
fn a_newcomer_gets_the_lock_when_the_writer_has_yielded() {
    let server = serve(&Remote::start_up());
    let location = create(&server);
    let mut writer = continued(&server, &at(&location, Request::patch(0).announcing(9, "")));
    assert_eq!(send(&server, &at(&location, Request::delete())).status, 204);
    is(&writer.answer(false).unwrap(), 400, "ERR_UPLOAD_INTERRUPTED");
}

#[test]
fn a_lost_grant_ends_the_body_and_nothing_is_committed_after_it() {
    let locks = Remote::start_up();
    let server = serve(&locks);
    let location = create(&server);
    assert_eq!(send(&server, &at(&location, Request::patch(0).sized("hello"))).status, 204);
    let mut writer = continued(&server, &at(&location, Request::patch(5).announcing(4, "")));
    writer.write(b"XXX");
    locks.take_away(&location);
    is(&writer.answer(false).unwrap(), 400, "ERR_UPLOAD_INTERRUPTED");
    writer.expect_close().unwrap();
    tells(&server, &location, "5");
    assert_eq!(send(&server, &at(&location, Request::patch(5).sized("you!"))).status, 204);
    server.handle().shutdown();
    let dir = server.join().unwrap();
    let store = Store::open(&dir.path().join("data"), &Options::default()).unwrap();
    assert_eq!(stored(&store, &location), "helloyou!");
}

fn stored(store: &Store, location: &str) -> String {
    let id = UploadId::new(location.rsplit('/').next().unwrap()).unwrap();
    let mut text = String::new();
    store.read(&id).unwrap().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn without_the_service_nobody_writes_and_everybody_reads() {
    let locks = Remote::start_up();
    let server = serve(&locks);
    let location = create(&server);
    assert_eq!(send(&server, &at(&location, Request::patch(0).sized("hello"))).status, 204);
    locks.be_reachable(false);
    for request in [Request::patch(5).sized("you!"), Request::delete()] {
        is(&send(&server, &at(&location, request)), 500, "ERR_INTERNAL_SERVER_ERROR");
    }
    tells(&server, &location, "5");
    locks.be_reachable(true);
    assert_eq!(send(&server, &at(&location, Request::patch(5).sized("you!"))).status, 204);
}

#[test]
fn numbers_go_on_where_the_store_has_seen_the_last() {
    let server = serve(&Remote::start_up());
    let location = create(&server);
    for (offset, text) in [(0, "he"), (2, "ll"), (4, "o")] {
        assert_eq!(send(&server, &at(&location, Request::patch(offset).sized(text))).status, 204);
    }
    server.handle().shutdown();
    let dir = server.join().unwrap();
    // A service that remembers nothing is told from where on to count.
    let locks: Arc<dyn LockService> = Remote::start_up();
    let server = Running::start_in(dir, |settings| settings.locks = Some(locks));
    assert_eq!(send(&server, &at(&location, Request::patch(5).sized("you!"))).status, 204);
}

/// A body that loses its request the lock once its first bytes were taken, and then waits for what comes of it.
struct Loses<'a> {
    bytes: &'static [u8],
    locks: &'a Remote,
    location: &'a str,
}

impl Read for Loses<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.bytes.is_empty() {
            self.locks.take_away(self.location);
            return Err(ErrorKind::Interrupted.into());
        }
        self.bytes.read(buffer)
    }
}

#[test]
fn the_blocking_entry_takes_a_service_as_well() {
    let dir = TempDir::new().unwrap();
    let locks = Remote::start_up();
    let store = Store::open(dir.path(), &Options::default()).unwrap();
    let uploads = Blocking::with_locks(store, config(), locks.clone());
    let created = handle(&uploads, &Request::post().with("Upload-Length", 9), std::io::empty());
    let location = created.header("Location").unwrap();
    let patch = |from, length, body: &mut dyn Read| {
        handle(&uploads, &at(location, Request::patch(from).announcing(length, "")), body)
    };
    assert_eq!(patch(0, 5, &mut &b"hello"[..]).status(), 204);
    let lost = patch(5, 4, &mut Loses { bytes: b"XXX", locks: &locks, location });
    assert!(lost.body().starts_with("ERR_UPLOAD_INTERRUPTED"), "{}", lost.body());
    locks.be_reachable(false);
    assert_eq!(patch(5, 4, &mut &b"you!"[..]).status(), 500);
    let head = handle(&uploads, &at(location, Request::head()), std::io::empty());
    assert_eq!((head.status(), head.header("Upload-Offset")), (200, Some("5")));
    locks.be_reachable(true);
    assert_eq!(patch(5, 4, &mut &b"you!"[..]).status(), 204);
    assert_eq!(stored(uploads.store().engine(), location), "helloyou!");
}
