//! The clients: each has a file to upload, by every means of the protocol, alone or racing others for the same
//! upload. They are cut off, come back, ask with HEAD and go on; some lie at times. An honest one always
//! finishes in the end, and believes only what it was told.

use std::time::Duration;

use tus_proto::Instant;

use super::{
    env::{Env, LinkId},
    network::Read,
    oracle::Wanted,
    plan::Role,
};
use crate::{client::take_answer, message::Request, rules};

mod ask;
mod fetch;
mod hear;
mod ietf;

/// How long a client waits for an answer before it tries again on a new connection.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a client waits for `100 Continue` before it sends the body all the same.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// What clients of the same file know together.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Where the upload is.
    pub(super) url: Option<String>,
    /// Where the parts are that it is to be made of, as soon as all are known.
    pub(super) parts: Vec<String>,
    /// It was created with its length deferred.
    deferred: bool,
    /// Somebody has removed it on purpose: nobody uploads it again.
    pub(super) removed: bool,
    /// All of it was stored once, and told to somebody.
    pub(super) finished: bool,
    /// Somebody is fetching it.
    pub(super) fetched: bool,
    /// What tells the upload from others, as a GET told it.
    tag: Option<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Client {
    index: usize,
    role: Role,
    pub(super) link: Option<LinkId>,
    /// What is to be sent, and how much of it was.
    sending: Vec<u8>,
    sent: usize,
    /// Where the body begins, which waits for `100 Continue`, and until when.
    hold: Option<(usize, Instant)>,
    /// What happens when all of that is sent.
    cut: Option<Cut>,
    /// What is sent ends in the middle of the body, whatever the body holds.
    cuts_body: bool,
    received: Vec<u8>,
    asked: Option<Asked>,
    /// The offset as it was told last; `None` if it must be asked for.
    offset: Option<u64>,
    /// How many finals it still makes when one is complete.
    more_finals: u32,
    /// The server does not know yet how long the upload is to be.
    undeclared: bool,
    /// The largest body it sends: it learns what the server takes.
    most: u64,
    wake: Instant,
    give_up: Instant,
    pub(super) done: bool,
}

/// How a request is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Reset,
    HalfClose,
    /// It closes, and comes back at once on another connection.
    Close,
    Stall,
}

/// A request under way.
#[derive(Debug)]
struct Asked {
    request: Request,
    url: Option<String>,
    kind: Kind,
    /// It was sent as a whole, or will be.
    whole: bool,
}

impl Asked {
    /// It is in the IETF's protocol.
    fn is_ietf(&self) -> bool {
        !self.request.has("Tus-Resumable")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// With this many bytes of body.
    Create(u64),
    Look,
    Write {
        from: u64,
        to: u64,
    },
    Terminate,
    Fetch(Wanted),
    /// Makes a final of parts.
    Concat,
    /// Any answer will do but a success.
    Lie,
    /// Any answer will do.
    Guess,
}

impl Client {
    pub(super) fn new(index: usize, role: Role, more_finals: u32) -> Self {
        Self {
            index,
            role,
            link: None,
            sending: Vec::new(),
            sent: 0,
            hold: None,
            cut: None,
            cuts_body: false,
            received: Vec::new(),
            asked: None,
            offset: None,
            more_finals,
            undeclared: false,
            most: u64::MAX,
            wake: Instant::from_micros(0),
            give_up: Instant::from_micros(0),
            done: false,
        }
    }

    /// When something must be done by the clock.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let hold = self.hold.filter(|(at, _)| self.sent >= *at).map(|(_, until)| until);
        match self.asked {
            Some(_) => Some(hold.map_or(self.give_up, |until| until.min(self.give_up))),
            None if self.done => None,
            None => Some(self.wake),
        }
    }

    /// Whether there is something to do now.
    pub(super) fn is_ready(&self, env: &Env) -> bool {
        let due = self.deadline().is_some_and(|at| at <= env.now.monotonic);
        let Some(link) = self.link.and_then(|link| env.links.get(&link)) else { return due };
        let unsent = self.asked.is_some() && (self.sendable() > 0 && link.up.room() > 0 || self.cuts_now());
        due || link.down.news || (unsent && !link.broken)
    }

    fn sendable(&self) -> usize {
        self.hold.map_or(self.sending.len(), |(at, _)| at) - self.sent
    }

    fn cuts_now(&self) -> bool {
        self.cut.is_some_and(|cut| cut != Cut::Stall) && self.sent == self.sending.len()
    }

    /// Does one thing.
    pub(super) fn act(&mut self, env: &mut Env, shelf: &mut Shelf, up: bool) {
        let now = env.now.monotonic;
        if let Some(link) = self.link.and_then(|link| env.links.get_mut(&link)) {
            if link.down.news {
                return self.receive(env, shelf);
            }
            if let Some((_, until)) = self.hold
                && until <= now
            {
                self.hold = None;
            }
            let most = self.sendable().min(link.up.room());
            if self.asked.is_some() && most > 0 && !link.broken {
                let count = env.choice.part(most as u64) as usize;
                link.up.send(&self.sending[self.sent..self.sent + count]);
                self.sent += count;
                return;
            }
            if self.asked.is_some() && self.cuts_now() {
                return self.cut_off(env);
            }
        }
        if self.asked.is_some() {
            if self.give_up <= now {
                env.note(|| format!("client {} gives up waiting", self.index));
                self.forget(env);
            }
        } else if !self.done && self.wake <= now {
            if up {
                self.ask(env, shelf);
            } else {
                self.wake = env.later(Duration::from_millis(200));
            }
        }
    }

    fn cut_off(&mut self, env: &mut Env) {
        let Some(link) = self.link.and_then(|link| env.links.get_mut(&link)) else { return };
        match self.cut.take() {
            Some(Cut::Reset) => {
                let lose = env.choice.one_in(3);
                link.break_off(lose);
                self.forget(env);
            }
            Some(Cut::HalfClose) => {
                link.up.finish();
                link.cut_short = self.cuts_body;
            }
            Some(Cut::Close) => {
                link.up.finish();
                (link.cut_short, link.forgotten) = (self.cuts_body, true);
                self.link = None;
                self.received.clear();
                (self.asked, self.offset) = (None, None);
                self.wake = env.now.monotonic;
            }
            Some(Cut::Stall) | None => {}
        }
    }

    fn receive(&mut self, env: &mut Env, shelf: &mut Shelf) {
        let Some(link) = self.link.and_then(|link| env.links.get_mut(&link)) else { return };
        match link.read_down(usize::MAX) {
            Read::Bytes(bytes) => {
                self.received.extend(bytes);
                self.parse(env, shelf);
            }
            Read::Nothing => link.down.news = false,
            Read::End | Read::Broken => {
                link.down.news = false;
                self.check_broken(env);
                self.forget(env);
            }
        }
    }

    fn parse(&mut self, env: &mut Env, shelf: &mut Shelf) {
        while let Some(asked) = &self.asked {
            let taken = take_answer(&mut self.received, asked.request.is_head());
            let Some(answer) = taken.unwrap_or_else(|error| panic!("{:?}: {error}", asked.request)) else {
                return;
            };
            if answer.status == 100 {
                self.hold = None;
                continue;
            }
            if answer.status == 104 {
                self.hear_interim(shelf, &answer);
                continue;
            }
            rules::check(&asked.request, &answer)
                .unwrap_or_else(|error| panic!("{:?}: {error}", asked.request));
            let closes = answer.value("Connection").is_some_and(|value| value == "close");
            let unsent = self.sent < self.sending.len() || self.cut.is_some();
            let Some(asked) = self.asked.take() else { return };
            self.hear(env, shelf, &asked, &answer);
            if closes || unsent || env.choice.one_in(4) {
                self.hang_up(env);
            }
            return;
        }
    }

    /// There will be no answer.
    fn forget(&mut self, env: &mut Env) {
        self.asked = None;
        self.offset = None;
        self.pause(env);
        self.hang_up(env);
    }

    /// Closes its connection.
    pub(super) fn hang_up(&mut self, env: &mut Env) {
        self.received.clear();
        self.sending.clear();
        (self.sent, self.hold, self.cut) = (0, None, None);
        if let Some(id) = self.link.take()
            && let Some(link) = env.links.get_mut(&id)
        {
            link.forgotten = true;
            if link.up.is_finished() || link.down.arrived() > 0 || env.choice.one_in(3) {
                link.break_off(false);
            } else {
                link.up.finish();
            }
        }
    }

    /// Waits until the server has tidied up what was removed, where it is to come to rest.
    fn rest(&mut self, env: &mut Env) {
        let faults = &env.plan.faults;
        if (faults.ends_at_rest() || faults.crammed > 0) && !env.over {
            let wait = Duration::from_micros(env.choice.below(5_000_000));
            self.wake = env.later(wait);
        }
    }

    /// Waits a while before the next try.
    fn pause(&mut self, env: &mut Env) {
        let wait = Duration::from_micros(env.choice.magnitude(1_000_000));
        self.wake = env.later(wait);
    }
}
