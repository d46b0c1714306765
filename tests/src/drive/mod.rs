//! A runtime in one thread, without sockets: sessions, a lock table and a store on a virtual clock. Whatever a
//! session asks is done at once; time passes only when a test says so, or when nothing else is left to do.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io::Read,
    sync::{Arc, Mutex},
    time::Duration,
};

use tus_driver::{Arrival, Class, Effect, Inlet, JobQueue, Session};
use tus_proto::{
    Body as Content, Cancel, Config, Cut, Framing, Head, HookReply, Instant, LockEvent, LockTable, Now,
    Owner, Response, Trailers, UploadId, WallTime,
};
use tus_redb::{
    NoObserver, Options, RedbStore, Source, Store,
    sim::{Crash, SimDisk},
};

mod wire;

use crate::{
    message::{Answer, Body, Last, Request},
    row::End,
};

/// How long a driver lets time pass for an answer. No protocol timer is longer.
const HOUR: Duration = Duration::from_secs(3600);

/// The driver.
#[derive(Debug)]
pub struct Drive {
    config: Arc<Config>,
    disk: SimDisk,
    /// `None` only while it is opened again.
    store: Option<RedbStore>,
    jobs: Arc<JobQueue>,
    locks: LockTable,
    /// What the store and its executor see of the time.
    clock: Arc<Mutex<Now>>,
    now: Now,
    arrivals: Arrivals,
    running: BTreeMap<Owner, Running>,
    names: HashMap<&'static str, Owner>,
    last_owner: u64,
}

/// What has arrived for sessions, in order.
type Arrivals = Arc<Mutex<VecDeque<(Owner, Arrival<RedbStore>)>>>;

/// Posts what is for one session.
struct Post(Arrivals, Owner);

impl Inlet<RedbStore> for Post {
    fn post(&self, arrival: Arrival<RedbStore>) {
        self.0.lock().unwrap().push_back((self.1, arrival));
    }
}

/// A request under way, and its body as a connection would have it.
#[derive(Debug)]
struct Running {
    session: Session<RedbStore>,
    /// What has arrived and is not staged yet.
    arrived: Vec<u8>,
    /// How many bytes of the body are still to come; `None` if only its end tells.
    missing: Option<u64>,
    ending: Option<End>,
    /// The peer has closed its side, and the body is not complete.
    left: bool,
    response: Option<Response>,
    /// The upload that the response sends bytes of.
    source: Option<Source>,
    done: bool,
    /// Whoever runs this request hangs: nothing is done for it, and what it is to be told waits.
    stuck: bool,
    inbox: Vec<Arrival<RedbStore>>,
}

impl Drive {
    /// A driver with an empty store, on a disk in memory.
    pub fn new(config: Config) -> Self {
        let disk = SimDisk::new();
        let now = Now {
            monotonic: Instant::from_micros(0),
            wall: WallTime::from_micros(1_700_000_000_000_000),
            date: WallTime::from_micros(1_700_000_000_000_000),
        };
        let clock = Arc::new(Mutex::new(now));
        let jobs = queue(&clock);
        let store = open(&disk, &jobs);
        Self {
            config: Arc::new(config),
            locks: LockTable::new(store.engine().first_fence()),
            disk,
            store: Some(store),
            jobs,
            clock,
            now,
            arrivals: Arrivals::default(),
            running: BTreeMap::new(),
            names: HashMap::new(),
            last_owner: 0,
        }
    }

    /// The disk under the store.
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// The process, or the machine, ends in the middle of everything, and begins anew on what is left.
    pub fn crash(&mut self, crash: Crash) {
        self.disk.crash(crash);
        self.disk.heal();
        self.running.clear();
        self.arrivals.lock().unwrap().clear();
        self.jobs.clear();
        self.store = None;
        self.jobs = queue(&self.clock);
        let store = open(&self.disk, &self.jobs);
        self.locks = LockTable::new(store.engine().first_fence());
        self.store = Some(store);
    }

    /// Takes a request up. Its body is as far as it is sent at once.
    pub fn start(&mut self, request: &Request) -> Owner {
        self.start_with(request, false)
    }

    /// The same, of a peer that has closed its side with the body incomplete.
    pub fn start_broken(&mut self, request: &Request) -> Owner {
        self.start_with(request, true)
    }

    fn start_with(&mut self, request: &Request, left: bool) -> Owner {
        let fields: Vec<_> =
            request.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let framing = match &request.body {
            Body::None => Framing::Length(0),
            Body::Sized(length, _) => Framing::Length(*length),
            Body::Chunked(..) => Framing::Chunked,
        };
        let head = Head {
            method: &request.method,
            target: &request.target,
            fields: &fields,
            framing,
            secure: false,
            direct: true,
        };
        self.last_owner += 1;
        let owner = Owner(self.last_owner);
        let mut entropy = [0; 10];
        entropy[2..].copy_from_slice(&self.last_owner.to_be_bytes());
        let arrived = request.body.sent();
        let missing = match framing {
            Framing::Length(length) => Some(length - arrived.len() as u64),
            Framing::Chunked => None,
        };
        let ended = missing == Some(0) || matches!(request.body, Body::Chunked(_, Last::Sent));
        let running = Running {
            session: Session::new(self.config.clone(), &head, entropy, self.now),
            source: None,
            arrived,
            missing,
            ending: if left { Some(End::HalfClose) } else { ended.then_some(End::Complete) },
            left,
            response: None,
            done: false,
            stuck: false,
            inbox: Vec::new(),
        };
        self.running.insert(owner, running);
        self.settle();
        owner
    }

    /// More of a body arrives.
    pub fn arrive(&mut self, owner: Owner, bytes: &[u8]) {
        if let Some(running) = self.running.get_mut(&owner) {
            running.arrived.extend_from_slice(bytes);
            if let Some(missing) = &mut running.missing {
                *missing -= bytes.len() as u64;
                if *missing == 0 {
                    running.ending = Some(End::Complete);
                }
            }
        }
        self.settle();
    }

    /// A body ends.
    pub fn ends(&mut self, owner: Owner, end: End) {
        if let Some(running) = self.running.get_mut(&owner) {
            running.ending = Some(end);
        }
        self.settle();
    }

    /// From now on nothing is done for this request, as if the thread that runs it hung.
    pub fn get_stuck(&mut self, owner: Owner) {
        if let Some(running) = self.running.get_mut(&owner) {
            running.stuck = true;
        }
    }

    /// Goes on after [`get_stuck`](Self::get_stuck): first with the write in the middle of which it hung.
    pub fn get_unstuck(&mut self, owner: Owner) {
        if let Some(running) = self.running.get_mut(&owner) {
            running.stuck = false;
            let waiting = std::mem::take(&mut running.inbox);
            self.pump(owner);
            for arrival in waiting {
                self.arrive_at(owner, arrival);
            }
        }
        self.settle();
    }

    /// The server shuts down: every request must end, but for those that are stuck.
    pub fn shut_down(&mut self) {
        for owner in self.owners() {
            if let Some(running) = self.running.get_mut(&owner) {
                running.session.cancel(self.now, Cancel::Shutdown);
            }
        }
        self.settle();
    }

    /// The bytes of the finished upload at this location.
    pub fn stored(&self, location: &str) -> Vec<u8> {
        let id = location.rsplit('/').next().and_then(UploadId::new).unwrap();
        let mut bytes = Vec::new();
        self.open_store().engine().read(&id).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// What the clock shows.
    pub fn now(&self) -> Instant {
        self.now.monotonic
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now.monotonic.after(time);
        while let Some(at) = self.deadline().filter(|at| *at <= until) {
            self.expire(at);
        }
        self.set_clock(until);
    }

    /// The response to a request, if it is there or comes with time; `None` if the request ended without.
    pub fn response(&mut self, owner: Owner) -> Option<Response> {
        self.finished(owner)?.response
    }

    /// The same as a client has it: with its body, which is read only now.
    pub fn answer(&mut self, owner: Owner) -> Option<Answer> {
        let Running { response, source, .. } = self.finished(owner)?;
        let response = response?;
        let body = match response.content() {
            Content::Text(text) => text.as_bytes().to_vec(),
            Content::Omitted { .. } => Vec::new(),
            Content::Upload { from, to } => read(source.expect("nothing was opened"), *from, *to),
        };
        Some(Answer { body, ..Answer::from(&response) })
    }

    /// Waits for the end of a request.
    fn finished(&mut self, owner: Owner) -> Option<Running> {
        let until = self.now.monotonic.after(HOUR);
        loop {
            let running = self.running.get(&owner)?;
            if running.done {
                return self.running.remove(&owner);
            }
            let at = self.deadline().filter(|at| *at <= until);
            self.expire(
                at.unwrap_or_else(|| panic!("nothing is left to do, and no answer came: {running:?}")),
            );
        }
    }

    /// The requests that are not stuck.
    fn owners(&self) -> Vec<Owner> {
        let moving = self.running.iter().filter(|(_, running)| !running.stuck);
        moving.map(|(owner, _)| *owner).collect()
    }

    fn deadline(&self) -> Option<Instant> {
        let moving = self.running.values().filter(|running| !running.stuck);
        let sessions = moving.filter_map(|running| running.session.deadline());
        sessions.map(|(at, _)| at).chain(self.locks.deadline()).min()
    }

    /// Lets what is due at this time be due.
    fn expire(&mut self, at: Instant) {
        self.set_clock(self.now.monotonic.max(at));
        self.locks.timeout(self.now.monotonic);
        for owner in self.owners() {
            if let Some(running) = self.running.get_mut(&owner) {
                running.session.timeout(self.now);
            }
        }
        self.settle();
    }

    fn set_clock(&mut self, at: Instant) {
        let passed = at.since(self.now.monotonic);
        self.now =
            Now { monotonic: at, wall: self.now.wall.after(passed), date: self.now.date.after(passed) };
        *self.clock.lock().unwrap() = self.now;
    }

    /// Does all there is to do now.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while let Some((owner, event)) = self.locks.poll() {
                self.arrive_at(owner, Arrival::Lock(event));
                quiet = false;
            }
            loop {
                let arrival = self.arrivals.lock().unwrap().pop_front();
                let Some((owner, arrival)) = arrival else { break };
                self.arrive_at(owner, arrival);
                quiet = false;
            }
            for owner in self.owners() {
                while self.carry_out(owner) {
                    quiet = false;
                }
                quiet &= !self.pump(owner);
            }
            quiet &= !self.jobs.run_one(Class::Background);
            if quiet {
                return;
            }
        }
    }

    fn arrive_at(&mut self, owner: Owner, arrival: Arrival<RedbStore>) {
        let Some(running) = self.running.get_mut(&owner) else { return };
        if running.stuck {
            return running.inbox.push(arrival);
        }
        let asks = matches!(arrival, Arrival::Lock(LockEvent::Checkpoint));
        running.session.handle(self.now, arrival);
        if asks {
            // What has arrived is taken in first.
            self.pump(owner);
            if let Some(running) = self.running.get_mut(&owner) {
                running.session.drained(self.now);
            }
        }
    }

    /// Carries out one effect of a session. Returns whether there was one.
    fn carry_out(&mut self, owner: Owner) -> bool {
        let (now, arrivals) = (self.now, self.arrivals.clone());
        let (Some(running), Some(store)) = (self.running.get_mut(&owner), &self.store) else { return false };
        let Some(effect) = running.session.poll(now, store, &|| Post(arrivals.clone(), owner)) else {
            return false;
        };
        match effect {
            Effect::Lock(op, call) if running.left => {
                self.locks.call(now.monotonic, owner, op, call.without_preemption());
            }
            Effect::Lock(op, call) => self.locks.call(now.monotonic, owner, op, call),
            Effect::Hook(op, _) => running.session.handle(now, Arrival::Hook(op, HookReply::Proceed)),
            Effect::Continue | Effect::Interim(_) | Effect::Notify(_) | Effect::Failed(_) => {}
            Effect::Respond(response) => {
                running.source = running.session.take_source();
                assert!(running.response.replace(response).is_none(), "two responses");
            }
            Effect::Done => running.done = true,
        }
        true
    }

    /// Stages what has arrived, and ends the body where that is due. Returns whether it did anything.
    fn pump(&mut self, owner: Owner) -> bool {
        let now = self.now;
        let Some(running) = self.running.get_mut(&owner).filter(|running| running.session.is_receiving())
        else {
            return false;
        };
        let arrived = std::mem::take(&mut running.arrived);
        running.session.write(now, &mut &*arrived);
        let ending = running.ending.take();
        let progress = !arrived.is_empty() || ending.is_some();
        match ending {
            None => {}
            Some(End::Complete) => running.session.end_body(now, Trailers::default()),
            Some(End::Close | End::HalfClose) => running.session.cut_body(now, Cut::HalfClosed),
            Some(End::Reset) => running.session.cut_body(now, Cut::PeerGone),
            Some(End::BadFraming) => running.session.cut_body(now, Cut::BadFraming),
            Some(End::Stall) => running.session.cut_body(now, Cut::TooSlow),
        }
        progress
    }

    fn open_store(&self) -> &RedbStore {
        self.store.as_ref().expect("the store is open between the calls")
    }
}

/// Jobs that this thread works off, on the driver's clock.
fn queue(clock: &Arc<Mutex<Now>>) -> Arc<JobQueue> {
    let clock = clock.clone();
    Arc::new(JobQueue::new(move || *clock.lock().unwrap(), |_| false))
}

fn open(disk: &SimDisk, jobs: &Arc<JobQueue>) -> RedbStore {
    let store = Store::open_on(Arc::new(disk.clone()), &Options::default()).unwrap();
    RedbStore::start(store, jobs.clone(), Box::new(NoObserver), HOUR)
}

fn read(mut source: Source, from: u64, to: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
    let mut done = 0;
    while done < bytes.len() {
        let n = source.read_at(from + done as u64, &mut bytes[done..]).unwrap();
        assert!(n > 0, "the upload ends before {to}");
        done += n;
    }
    bytes
}
