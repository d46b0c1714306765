//! A runtime in one thread, without sockets: exchanges, a lock table and a store on a virtual clock. Whatever an
//! exchange asks is done at once; time passes only when a test says so, or when nothing else is left to do.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
    sync::Arc,
    time::Duration,
};

use tus_proto::{
    Abort, AppendEnd, Body as Content, Config, Exchange, Framing, Hasher, Head, HookReply, Input, Instant,
    LockEvent, LockTable, Now, OpId, Output, Owner, Response, UploadId, WallTime,
};
use tus_redb::{
    Options, Sink, Source, Store, Syncer,
    sim::{Crash, SimDisk},
};

mod wire;
mod work;

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
    /// None only while it is opened again.
    store: Option<Store>,
    locks: LockTable,
    now: Now,
    running: BTreeMap<Owner, Running>,
    names: HashMap<&'static str, Owner>,
    last_owner: u64,
}

/// A request under way, and its body as a connection would have it.
#[derive(Debug)]
struct Running {
    exchange: Exchange,
    append: Option<Append>,
    syncer: Option<Syncer>,
    /// The upload that the response sends bytes of.
    source: Option<Source>,
    /// What has arrived and is not staged yet.
    arrived: Vec<u8>,
    /// How many bytes of the body are still to come; none where only its end tells.
    missing: Option<u64>,
    ending: Option<End>,
    response: Option<Response>,
    done: bool,
    /// Whoever runs this request hangs: nothing is done for it, and what it is to be told waits.
    stuck: bool,
    inbox: Vec<LockEvent>,
}

#[derive(Debug)]
struct Append {
    op: OpId,
    sink: Option<Sink>,
    hasher: Option<Hasher>,
    max: u64,
    staged: u64,
    stopped: bool,
}

impl Drive {
    /// A driver with an empty store, on a disk in memory.
    pub fn new(config: Config) -> Self {
        let disk = SimDisk::new();
        let store = open(&disk);
        Self {
            config: Arc::new(config),
            locks: LockTable::new(store.first_fence()),
            disk,
            store: Some(store),
            now: Now {
                monotonic: Instant::from_micros(0),
                wall: WallTime::from_micros(1_700_000_000_000_000),
                date: WallTime::from_micros(1_700_000_000_000_000),
            },
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
        self.store = None;
        let store = open(&self.disk);
        self.locks = LockTable::new(store.first_fence());
        self.store = Some(store);
    }

    /// Takes a request up. Its body is as far as it is sent at once.
    pub fn start(&mut self, request: &Request) -> Owner {
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
            exchange: Exchange::new(self.config.clone(), &head, entropy, self.now),
            append: None,
            syncer: None,
            source: None,
            arrived,
            missing,
            ending: ended.then_some(End::Complete),
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
            for event in waiting {
                self.on_lock_event(owner, event);
            }
        }
        self.settle();
    }

    /// The server shuts down: every request must end, but for those that are stuck.
    pub fn shut_down(&mut self) {
        for owner in self.owners() {
            self.end_append(owner, AppendEnd::Stopped);
            self.tell(owner, Input::Abort(Abort::Shutdown));
        }
        self.settle();
    }

    /// The bytes of the finished upload at this location.
    pub fn stored(&self, location: &str) -> Vec<u8> {
        let id = location.rsplit('/').next().and_then(UploadId::new).unwrap();
        let mut bytes = Vec::new();
        self.open_store().read(&id).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
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

    /// The response to a request, if it is there or comes with time; none where the request ended without.
    pub fn response(&mut self, owner: Owner) -> Option<Response> {
        self.finished(owner)?.response
    }

    /// The same as a client has it: with its body, which is read only now.
    pub fn answer(&mut self, owner: Owner) -> Option<Answer> {
        let Running { response, source, .. } = self.finished(owner)?;
        let response = response?;
        let body = match response.content() {
            Content::Text(text) => text.as_bytes().to_vec(),
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
        let exchanges = moving.filter_map(|running| running.exchange.deadline());
        exchanges.map(|(at, _)| at).chain(self.locks.deadline()).min()
    }

    /// Lets what is due at this time be due.
    fn expire(&mut self, at: Instant) {
        self.set_clock(self.now.monotonic.max(at));
        self.locks.timeout(self.now.monotonic);
        for owner in self.owners() {
            self.tell(owner, Input::Timeout);
        }
        self.settle();
    }

    fn set_clock(&mut self, at: Instant) {
        let passed = at.since(self.now.monotonic);
        self.now =
            Now { monotonic: at, wall: self.now.wall.after(passed), date: self.now.date.after(passed) };
    }

    fn tell(&mut self, owner: Owner, input: Input) {
        if let Some(running) = self.running.get_mut(&owner) {
            running.exchange.handle(self.now, input);
        }
    }

    /// Does all there is to do now.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while let Some((owner, event)) = self.locks.poll() {
                self.on_lock_event(owner, event);
                quiet = false;
            }
            for owner in self.owners() {
                while let Some(output) =
                    self.running.get_mut(&owner).and_then(|running| running.exchange.poll())
                {
                    self.carry_out(owner, output);
                    quiet = false;
                }
                quiet &= !self.pump(owner);
            }
            if quiet {
                return;
            }
        }
    }

    fn on_lock_event(&mut self, owner: Owner, event: LockEvent) {
        if let Some(running) = self.running.get_mut(&owner).filter(|running| running.stuck) {
            return running.inbox.push(event);
        }
        let input = match event {
            LockEvent::Reply(op, reply) => Input::Lock(op, reply),
            LockEvent::Yield(offset) => Input::Yield(offset),
            LockEvent::Lost => {
                self.end_append(owner, AppendEnd::Stopped);
                Input::Abort(Abort::LockLost)
            }
            LockEvent::Checkpoint => {
                // What has arrived is taken in first.
                self.pump(owner);
                Input::Checkpoint
            }
        };
        self.tell(owner, input);
    }

    fn carry_out(&mut self, owner: Owner, output: Output) {
        let now = self.now;
        match output {
            Output::Lock(op, call) => self.locks.call(now.monotonic, owner, op, call),
            Output::Store(op, command) => self.store(owner, op, command),
            Output::Hook(op, _) => self.tell(owner, Input::Hook(op, HookReply::Proceed)),
            Output::Continue | Output::Notify(_) => {}
            Output::Respond(response) => {
                if let Some(running) = self.running.get_mut(&owner) {
                    assert!(running.response.replace(response).is_none(), "two responses");
                }
            }
            Output::Done => {
                if let Some(running) = self.running.get_mut(&owner) {
                    running.done = true;
                }
            }
        }
    }

    fn open_store(&self) -> &Store {
        self.store.as_ref().expect("the store is open between the calls")
    }
}

fn open(disk: &SimDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), &Options::default()).unwrap()
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
