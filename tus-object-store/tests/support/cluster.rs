//! Servers over one bucket, and the requests that they serve: sessions of the driver over the store and the locks as they
//! ship.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    task::{Poll, Wake, Waker},
    time::Duration,
};

use tus_driver::{
    Arrival, Caller, Effect, Executor, Inbox, Inlet, LockService, Session, Source, Store,
    tus_proto::{Body, Cancel, Config, Cut, Framing, Head, LockEvent, Now, Owner, Response, Trailers},
};
use tus_object_store::{BucketStore, LeaseLocks, Options, PeerReply, PeerRequest, Peers};

use super::{
    model::{Faults, Model, SimBucket},
    world::World,
};

pub struct Cluster {
    pub world: Arc<World>,
    pub model: Arc<Mutex<Model>>,
    pub options: Options,
    pub config: Arc<Config>,
    pub servers: BTreeMap<u64, Server>,
    pub requests: BTreeMap<u64, Request>,
    /// The way between servers, if they reach each other.
    pub net: Option<Arc<Net>>,
    post: Arc<Post>,
    inbox: Arc<dyn Inbox>,
    last: u64,
}

/// The servers that can be asked, by their names.
#[derive(Default)]
pub struct Net {
    stores: Mutex<BTreeMap<String, BucketStore>>,
    /// How often one was asked.
    pub asked: Mutex<u64>,
}

struct Reachable {
    url: String,
    net: Arc<Net>,
}

impl std::fmt::Debug for Reachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

impl Peers for Reachable {
    fn own_url(&self) -> &str {
        &self.url
    }

    fn ask(&self, url: &str, request: PeerRequest) -> PeerReply {
        *self.net.asked.lock().unwrap() += 1;
        let store = self.net.stores.lock().unwrap().get(url).cloned();
        Box::pin(async move {
            match store {
                Some(store) => store.answer_peer(request).await,
                None => false,
            }
        })
    }
}

pub struct Server {
    pub store: BucketStore,
    locks: LeaseLocks,
    executor: Arc<dyn Executor>,
}

pub struct Request {
    pub server: u64,
    session: Session<BucketStore>,
    pub body: VecDeque<u8>,
    /// No more of the body comes for now.
    pub slow: bool,
    /// Its body does not end with the bytes that there are.
    pub holds: bool,
    pub cut: Option<Cut>,
    ended: bool,
    pub response: Option<Response>,
    pub done: bool,
}

/// What arrives for requests.
#[derive(Default)]
struct Post {
    mail: Mutex<VecDeque<(u64, Arrival<BucketStore>)>>,
    woken: Mutex<Vec<u64>>,
}

struct Mailbox(Arc<Post>, u64);

impl Inlet<BucketStore> for Mailbox {
    fn post(&self, arrival: Arrival<BucketStore>) {
        self.0.mail.lock().unwrap().push_back((self.1, arrival));
    }
}

struct Locksmith(Arc<Post>);

impl Inbox for Locksmith {
    fn post(&self, owner: Owner, event: LockEvent) {
        self.0.mail.lock().unwrap().push_back((owner.0, Arrival::Lock(event)));
    }
}

struct Bell(Arc<Post>, u64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.woken.lock().unwrap().push(self.1);
    }
}

/// Small sizes, so that everything there is happens to small bodies.
pub fn small() -> Options {
    let mut options = Options::default();
    options.part_size = 100;
    options.min_part = 50;
    options.inline = 16;
    options.memory = 2000;
    options.concurrency = 8;
    options
}

pub struct Ask<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub fields: Vec<(&'a str, String)>,
    pub body: Vec<u8>,
    /// How many bytes the head promises, if not those of the body.
    pub promised: Option<u64>,
    /// Nothing comes after the body's bytes, not even its end.
    pub holds: bool,
    pub cut: Option<Cut>,
}

impl<'a> Ask<'a> {
    pub fn new(method: &'a str, target: &'a str) -> Self {
        Self { method, target, fields: Vec::new(), body: Vec::new(), promised: None, holds: false, cut: None }
    }

    pub fn field(mut self, name: &'a str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    pub fn patch(target: &'a str, offset: u64, body: &[u8]) -> Self {
        let mut ask = Self::new("PATCH", target)
            .field("Upload-Offset", offset)
            .field("Content-Type", "application/offset+octet-stream");
        ask.body = body.into();
        ask
    }
}

impl Cluster {
    pub fn new(seed: u64, options: Options) -> Self {
        let config = Config::builder()
            .downloads(true)
            .lock_ttl(Duration::from_secs(15))
            .lock_wait(Duration::from_secs(5))
            .checkpoint_bytes(64)
            .concatenation_unfinished(true)
            .build()
            .unwrap();
        Self::with_config(seed, options, config)
    }

    pub fn with_config(seed: u64, options: Options, config: Config) -> Self {
        let mut model = Model::default();
        model.min_part = options.min_part;
        let post = Arc::<Post>::default();
        let inbox = Arc::new(Locksmith(post.clone()));
        Self {
            world: World::new(seed),
            model: Arc::new(Mutex::new(model)),
            options,
            config: Arc::new(config),
            servers: BTreeMap::new(),
            requests: BTreeMap::new(),
            net: None,
            post,
            inbox,
            last: 0,
        }
    }

    pub fn faults(&self, faults: Faults) {
        self.model.lock().unwrap().faults = faults;
    }

    /// Starts a server, and returns its number once it serves.
    pub fn start(&mut self, skew: u64) -> u64 {
        self.last += 1;
        let server = self.last;
        let executor = self.world.executor(server, skew);
        let bucket = SimBucket { world: self.world.clone(), model: self.model.clone(), server };
        let opened = Arc::new(Mutex::new(None));
        let (on, mut options, told) = (executor.clone(), self.options.clone(), opened.clone());
        if let Some(net) = &self.net {
            options.peers = Some(Arc::new(Reachable { url: format!("server-{server}"), net: net.clone() }));
        }
        let open = async move {
            let store = BucketStore::open(Arc::new(bucket), on, options).await;
            *told.lock().unwrap() = Some(store);
        };
        assert!(executor.spawn(Box::pin(open)).is_ok());
        let store = self.run_until(|_| opened.lock().unwrap().take()).expect("it opens").unwrap();
        let locks = store.locks();
        if let Some(net) = &self.net {
            net.stores.lock().unwrap().insert(format!("server-{server}"), store.clone());
        }
        self.servers.insert(server, Server { store, locks, executor });
        server
    }

    /// Where a server's tasks run.
    pub fn executor(&self, server: u64) -> Arc<dyn Executor> {
        self.servers[&server].executor.clone()
    }

    pub fn kill(&mut self, server: u64) {
        self.world.kill(server);
        let lost: Vec<u64> =
            self.requests.iter().filter(|(_, of)| of.server == server).map(|(id, _)| *id).collect();
        for id in lost {
            self.requests.remove(&id);
        }
        if let Some(net) = &self.net {
            net.stores.lock().unwrap().remove(&format!("server-{server}"));
        }
        let dead = self.servers.remove(&server);
        drop(dead);
        self.world.kill(server);
    }

    pub fn ask(&mut self, server: u64, ask: Ask<'_>) -> u64 {
        self.last += 1;
        let id = self.last;
        let mut fields: Vec<(&str, &[u8])> = vec![("Tus-Resumable", b"1.0.0")];
        fields.extend(ask.fields.iter().map(|(name, value)| (*name, value.as_bytes())));
        let framing = Framing::Length(ask.promised.unwrap_or(ask.body.len() as u64));
        let head = Head {
            method: ask.method,
            target: ask.target,
            fields: &fields,
            framing,
            secure: false,
            direct: false,
        };
        let entropy = self.world.rng(|rng| [0; 10].map(|_: u8| rng.next() as u8));
        let now = self.servers[&server].executor.now();
        let session = Session::new(self.config.clone(), &head, entropy, now);
        let body = ask.body.into();
        let request = Request {
            server,
            session,
            body,
            slow: false,
            holds: ask.holds,
            cut: ask.cut,
            ended: false,
            response: None,
            done: false,
        };
        self.requests.insert(id, request);
        self.post.woken.lock().unwrap().push(id);
        id
    }

    /// Does one thing. `false` if nothing is to be done before `until`; it is that time then.
    pub fn step(&mut self, until: u64) -> bool {
        if let Some(id) = self.next_turn() {
            self.turn(id);
            return true;
        }
        if self.world.step() {
            return true;
        }
        let deadline = self.requests.iter().filter_map(|(id, request)| {
            let server = self.servers.get(&request.server)?;
            let (at, _) = request.session.deadline()?;
            (!self.world.is_paused(request.server)).then(|| {
                (self.world.now() + at.since(server.executor.now().monotonic).as_micros() as u64, *id)
            })
        });
        let deadline = deadline.min();
        let next = self.world.next();
        match deadline {
            Some((at, id)) if at <= until && next.is_none_or(|next| at <= next) => {
                self.world.advance(at);
                self.turn(id);
                true
            }
            _ => {
                let advanced = self.world.advance(until.min(next.unwrap_or(u64::MAX)));
                advanced || next.is_some_and(|next| next < until)
            }
        }
    }

    pub fn run_until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        let until = self.world.now() + 600_000_000;
        for _ in 0..2_000_000 {
            if let Some(value) = done(self) {
                return Some(value);
            }
            if !self.step(until) && self.world.now() >= until {
                return done(self);
            }
        }
        None
    }

    pub fn run_for(&mut self, time: Duration) {
        let until = self.world.now() + time.as_micros() as u64;
        while self.step(until) || self.world.now() < until {}
    }

    /// A request whose turn it is.
    fn next_turn(&mut self) -> Option<u64> {
        let mut mail = self.post.mail.lock().unwrap();
        let at = mail.iter().position(|(id, _)| {
            self.requests.get(id).is_none_or(|request| !self.world.is_paused(request.server))
        });
        if let Some((id, arrival)) = at.and_then(|at| mail.remove(at)) {
            drop(mail);
            let Some(request) = self.requests.get_mut(&id) else { return Some(id) };
            let now = self.servers[&request.server].executor.now();
            request.session.handle(now, arrival);
            return Some(id);
        }
        drop(mail);
        let mut woken = self.post.woken.lock().unwrap();
        let at = woken
            .iter()
            .position(|id| self.requests.get(id).is_none_or(|request| !self.world.is_paused(request.server)));
        at.map(|at| woken.remove(at))
    }

    fn turn(&mut self, id: u64) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Some(server) = self.servers.get(&request.server) else { return };
        loop {
            let now = server.executor.now();
            if request.session.deadline().is_some_and(|(at, _)| at <= now.monotonic) {
                request.session.timeout(now);
            }
            while let Some(effect) =
                request.session.poll(now, &server.store, &|| Mailbox(self.post.clone(), id))
            {
                match effect {
                    Effect::Lock(op, call) => {
                        server.locks.call(&Caller::new(Owner(id), self.inbox.clone()), op, call);
                    }
                    Effect::Respond(response) => assert!(request.response.replace(response).is_none()),
                    Effect::Done => request.done = true,
                    _ => {}
                }
            }
            if request.session.wants_drain() {
                request.session.drained(now);
                continue;
            }
            if !Self::feed(&self.world, request, &self.post, id, now) {
                return;
            }
        }
    }

    fn feed(world: &World, request: &mut Request, post: &Arc<Post>, id: u64, now: Now) -> bool {
        if !request.session.is_receiving() || request.session.headroom() == 0 || request.slow {
            return false;
        }
        if request.body.is_empty() {
            if request.holds {
                return false;
            }
            if std::mem::replace(&mut request.ended, true) {
                return false;
            }
            match request.cut {
                Some(cut) => request.session.cut_body(now, cut),
                None => request.session.end_body(now, Trailers::default()),
            }
            return true;
        }
        let waker = || Waker::from(Arc::new(Bell(post.clone(), id)));
        let Poll::Ready(room) = request.session.poll_room(now, &waker) else { return false };
        let count = (1 + world.rng(|rng| rng.below(60)) as usize).min(room).min(request.body.len());
        let bytes: Vec<u8> = request.body.drain(..count).collect();
        request.session.write(now, &mut &*bytes);
        // Bodies take their time.
        if world.rng(|rng| rng.once_in(4)) {
            let bell = Bell(post.clone(), id);
            let pause = world.rng(|rng| rng.below(400_000));
            world.after(0, pause, Box::new(move || Arc::new(bell).wake()));
            return false;
        }
        true
    }

    /// A request's body may go on.
    pub fn wake(&mut self, id: u64) {
        self.post.woken.lock().unwrap().push(id);
    }

    /// Runs a request to its end.
    pub fn answer(&mut self, id: u64) -> Response {
        self.run_until(|cluster| cluster.requests[&id].done.then_some(())).expect("the request ends");
        self.requests.get_mut(&id).unwrap().response.take().expect("it was answered")
    }

    pub fn send(&mut self, server: u64, ask: Ask<'_>) -> Response {
        let id = self.ask(server, ask);
        let response = self.answer(id);
        self.requests.remove(&id);
        response
    }

    pub fn cancel(&mut self, id: u64, why: Cancel) {
        let request = self.requests.get_mut(&id).unwrap();
        let now = self.servers[&request.server].executor.now();
        request.session.cancel(now, why);
        self.post.woken.lock().unwrap().push(id);
    }

    /// Creates an upload, and returns its address.
    pub fn create(&mut self, server: u64, length: u64, fields: &[(&'static str, &str)]) -> String {
        let mut ask = Ask::new("POST", "/files").field("Upload-Length", length);
        for (name, value) in fields {
            ask = ask.field(name, value);
        }
        let response = self.send(server, ask);
        assert_eq!(response.status(), 201);
        response.header("Location").unwrap().into()
    }

    pub fn head(&mut self, server: u64, target: &str) -> (u16, Option<u64>) {
        told(&self.send(server, Ask::new("HEAD", target)))
    }

    pub fn get(&mut self, server: u64, target: &str) -> (u16, Vec<u8>) {
        let id = self.ask(server, Ask::new("GET", target));
        let response = self.answer(id);
        let Body::Upload { from, to } = *response.content() else { return (response.status(), Vec::new()) };
        let mut source = self.requests.get_mut(&id).unwrap().session.take_source().unwrap();
        let mut bytes = vec![0; (to - from) as usize];
        let mut done = 0;
        while done < bytes.len() {
            let buf = &mut bytes[done..];
            match source.poll_read(from + done as u64, buf, &|| Waker::noop().clone()) {
                Poll::Ready(Ok(count @ 1..)) => done += count,
                Poll::Ready(other) => {
                    let record = self
                        .keys("u/")
                        .into_iter()
                        .find(|key| target.ends_with(key.rsplit('/').next().unwrap()));
                    let text = record.map(|key| self.model.lock().unwrap().objects[&key].clone());
                    let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
                    panic!("{other:?} at {done}: {text:?}, {:?}", self.keys("d/"))
                }
                Poll::Pending => assert!(self.step(u64::MAX), "the read never ends"),
            }
        }
        self.requests.remove(&id);
        (response.status(), bytes)
    }

    /// How often the bucket was asked, but for the openings of servers.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.model.lock().unwrap().counts)
    }

    /// The keys below a folder.
    pub fn keys(&self, folder: &str) -> Vec<String> {
        let model = self.model.lock().unwrap();
        model.objects.keys().filter(|key| key.starts_with(folder)).cloned().collect()
    }

    pub fn sweep(&mut self, server: u64) {
        let swept = Arc::new(Mutex::new(None));
        let told = swept.clone();
        let ticket = tus_driver::Ticket::new(move |result| *told.lock().unwrap() = Some(result));
        self.servers[&server].store.housekeep(ticket);
        let result = self.run_until(|_| swept.lock().unwrap().take());
        assert_eq!(result, Some(Ok(())));
    }
}

/// The status and the offset of an answer.
pub fn told(response: &Response) -> (u16, Option<u64>) {
    (response.status(), response.header("Upload-Offset").and_then(|offset| offset.parse().ok()))
}
