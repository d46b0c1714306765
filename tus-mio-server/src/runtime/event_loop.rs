//! One event loop: it waits for sockets, messages and time, and moves on whichever connection they concern.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Registry, Token,
    event::Event,
    net::{TcpListener, TcpStream},
};
use tus_proto::{Abort, Code, Input, Instant, LockEvent, Now, Owner, Response};

use super::{
    ConnectionId, Shared,
    body::cut,
    connection::{Connection, ReadEnd},
    entropy::Entropy,
    locks,
    mailbox::Message,
    timers::Timers,
};
use crate::http1::{Conn, Eof, Event as HttpEvent, Reason};

/// The waker's token. Listeners follow, then come the connections: generation and slot.
pub(crate) const WAKER: Token = Token(0);
const FIRST_LISTENER: usize = 1;
const GENERATION_SHIFT: u32 = 32;

/// How many steps one connection may take before others have their turn.
const STEPS: usize = 64;

/// How long a connection may take to end once the shutdown's time is over and its body was cut.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The state of one event loop; it lives on the thread that runs it.
#[derive(Debug)]
pub(crate) struct EventLoop {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    poll: Poll,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) accept_to: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    timers: Timers,
    /// The time at which this turn of the loop began.
    pub(super) now: Now,
    pub(super) entropy: Entropy,
    pub(super) serial: u32,
    pub(super) scratch: Vec<u8>,
    pub(super) buffers: Vec<Vec<u8>>,
    pub(super) lock_events: VecDeque<(Owner, LockEvent)>,
    pub(super) locks_due: Option<Instant>,
    /// Connections that have used up their steps and want more.
    again: Vec<ConnectionId>,
    /// When a draining server cuts bodies off, and when it closes what is left.
    draining: Option<(Instant, Instant)>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl EventLoop {
    /// A loop over `poll`, whose waker is registered already.
    pub(crate) fn new(index: usize, shared: Arc<Shared>, poll: Poll) -> Self {
        let now = shared.clock.now();
        Self {
            index,
            shared,
            poll,
            listeners: Vec::new(),
            accept_to: 0,
            slots: Vec::new(),
            free: Vec::new(),
            timers: Timers::default(),
            now,
            entropy: Entropy::new(),
            serial: 0,
            scratch: vec![0; 256 << 10],
            buffers: Vec::new(),
            lock_events: VecDeque::new(),
            locks_due: None,
            again: Vec::new(),
            draining: None,
        }
    }

    /// Accepts connections on this listener, for all loops.
    ///
    /// # Errors
    /// The system's, if it can't watch the listener.
    pub(crate) fn listen(&mut self, mut listener: TcpListener) -> io::Result<()> {
        let token = Token(FIRST_LISTENER + self.listeners.len());
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        self.listeners.push(listener);
        Ok(())
    }

    /// Runs until the server has drained.
    ///
    /// # Errors
    /// The system's, if it can't wait for events any more.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut letters = Vec::new();
        loop {
            self.wait(&mut events)?;
            self.now = self.shared.clock.now();
            for event in &events {
                self.on_event(event);
            }
            self.shared.mailboxes[self.index].take(&mut letters);
            for letter in letters.drain(..) {
                self.on_message(letter);
            }
            for id in std::mem::take(&mut self.again) {
                self.with_connection(id, |_, _| {});
            }
            self.on_time();
            self.deliver_lock_events();
            if self.is_done() {
                return Ok(());
            }
        }
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now = self.shared.clock.now().monotonic;
        let drain = self.draining.map(|(cut, close)| if cut > now { cut } else { close });
        let due = self.timers.next().into_iter().chain(self.locks_due).chain(drain).min();
        // A microsecond too early would turn the loop once for nothing.
        let timeout = due.map(|due| due.since(now) + Duration::from_micros(1));
        let timeout = if self.again.is_empty() { timeout } else { Some(Duration::ZERO) };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            other => other,
        }
    }

    fn is_done(&self) -> bool {
        let empty = self.free.len() == self.slots.len();
        (self.draining.is_some() && empty) || self.shared.shutdowns.load(Ordering::Acquire) > 1
    }

    fn on_event(&mut self, event: &Event) {
        let Token(token) = event.token();
        let generation = (token >> GENERATION_SHIFT) as u32;
        if event.token() == WAKER {
            return;
        }
        if generation == 0 {
            return self.accept(token - FIRST_LISTENER);
        }
        let id = ConnectionId { slot: (token & 0xffff_ffff) as u32, generation };
        let (readable, writable) = (event.is_readable() || event.is_read_closed(), event.is_writable());
        let broken = event.is_error() || event.is_write_closed();
        self.with_connection(id, |_, connection| {
            connection.readable |= readable || broken;
            connection.readable_again |= readable || broken;
            connection.writable |= writable;
            connection.broken |= broken;
        });
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Accepted(socket) => self.admit(socket),
            Message::AcceptAgain => (0..self.listeners.len()).for_each(|index| self.accept(index)),
            Message::Lock(owner, event) => self.lock_events.push_back((owner, event)),
            Message::Stored(owner, op, completion) => {
                self.with_owner(owner, |this, connection| this.complete(connection, op, completion));
            }
            Message::Body(id, done) => {
                self.with_connection(id, |this, connection| this.on_body_done(connection, done));
            }
            Message::Shutdown => self.drain(),
        }
        self.deliver_lock_events();
    }

    fn deliver_lock_events(&mut self) {
        while let Some((owner, event)) = self.lock_events.pop_front() {
            self.with_owner(owner, |this, connection| this.on_lock_event(connection, event));
        }
    }

    fn on_time(&mut self) {
        let now = self.now;
        while let Some((at, id)) = self.timers.pop_due(now.monotonic) {
            self.with_connection(id, |this, connection| {
                if connection.scheduled == Some(at) {
                    connection.scheduled = None;
                    this.expire(connection);
                }
            });
        }
        if self.locks_due.is_some_and(|due| due <= now.monotonic) {
            let shared = self.shared.clone();
            self.locks_due =
                shared.locks.timeout(now.monotonic, self.index, &shared.mailboxes, &mut self.lock_events);
        }
        if let Some((cut, close)) = self.draining {
            if cut <= now.monotonic {
                self.draining = Some((close, close));
                self.for_each(|this, connection| this.cut_short(connection));
            }
            if close <= now.monotonic {
                self.for_each(|_, connection| connection.give_up());
            }
        }
    }

    fn expire(&mut self, connection: &mut Connection) {
        let now = self.now;
        match connection.http.expired(now.monotonic) {
            Some(Reason::Head) => {
                connection.http.respond(now.monotonic, &Response::refusal(Code::HeadTimeout, now.wall));
            }
            Some(Reason::Body) => cut(connection, Abort::TooSlow),
            Some(reason @ (Reason::Idle | Reason::Response | Reason::Linger)) => {
                tracing::trace!(?reason, "a connection's time is over");
            }
            None => {}
        }
        if let Some(request) = &mut connection.request
            && request.exchange.deadline().is_some_and(|(at, _)| at <= now.monotonic)
        {
            request.exchange.handle(now, Input::Timeout);
        }
    }

    /// The server shall end: no new connections, no further requests, and an end to long bodies.
    fn drain(&mut self) {
        for mut listener in self.listeners.drain(..) {
            // It is closed the moment after; a failure changes nothing.
            let _ = self.poll.registry().deregister(&mut listener);
        }
        if self.draining.is_none() {
            let cut = self.now.monotonic.after(self.shared.shutdown_timeout);
            self.draining = Some((cut, cut.after(LAST_WORDS)));
        }
        self.for_each(|this, connection| connection.http.shutdown(this.now.monotonic));
    }

    fn cut_short(&mut self, connection: &mut Connection) {
        let now = self.now;
        match &mut connection.request {
            Some(request) => request.exchange.handle(now, Input::Abort(Abort::Shutdown)),
            None => connection.http.shutdown(now.monotonic),
        }
    }

    /// Takes a new connection up.
    pub(super) fn admit(&mut self, mut socket: TcpStream) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        // Generation 0 is the listeners'.
        entry.generation = entry.generation.checked_add(1).unwrap_or(1);
        let id = ConnectionId { slot, generation: entry.generation };
        if let Err(error) = register(self.poll.registry(), &mut socket, id) {
            tracing::warn!(%error, "a connection can't be watched");
            self.free.push(slot);
            self.shared.connections.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let mut http = Conn::new(self.shared.http.clone(), self.now.monotonic);
        if self.draining.is_some() {
            http.shutdown(self.now.monotonic);
        }
        entry.connection = Some(Box::new(Connection::new(id, socket, http)));
        self.with_connection(id, |_, _| {});
    }

    fn for_each(&mut self, mut act: impl FnMut(&mut Self, &mut Connection)) {
        for slot in 0..self.slots.len() {
            let generation = self.slots[slot].generation;
            self.with_connection(ConnectionId { slot: slot as u32, generation }, &mut act);
        }
    }

    fn with_owner(&mut self, owner: Owner, act: impl FnOnce(&mut Self, &mut Connection)) {
        let slot = locks::slot_of(owner);
        let Some(generation) = self.slots.get(slot as usize).map(|slot| slot.generation) else { return };
        self.with_connection(ConnectionId { slot, generation }, |this, connection| {
            if connection.request.as_ref().is_some_and(|request| request.owner == owner) {
                act(this, connection);
            }
        });
    }

    /// Does something to a connection, if it still is, then moves it on as far as it goes.
    fn with_connection(&mut self, id: ConnectionId, act: impl FnOnce(&mut Self, &mut Connection)) {
        let Some(slot) = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)
        else {
            return;
        };
        let Some(mut connection) = slot.connection.take() else { return };
        act(self, &mut connection);
        self.turn(&mut connection);
        if connection.is_over() {
            return self.end(*connection);
        }
        let deadline = connection.deadline();
        self.timers.schedule(id, deadline, &mut connection.scheduled);
        self.slots[id.slot as usize].connection = Some(connection);
    }

    fn turn(&mut self, connection: &mut Connection) {
        for _ in 0..STEPS {
            let ran = self.run_exchange(connection);
            let pumped = self.pump_body(connection);
            let read = connection.request.is_none() && self.read(connection);
            let written = connection.write(self.now);
            let lost = connection.broken && self.on_broken(connection);
            if !(ran || pumped || read || written || lost) {
                return;
            }
        }
        self.again.push(connection.id);
    }

    /// The system says that the connection is broken. An open body finds out by reading, for what arrived
    /// before is still there. Tells whether it did anything.
    fn on_broken(&mut self, connection: &mut Connection) -> bool {
        if connection.gone || connection.body().is_some() {
            return false;
        }
        connection.give_up();
        if let Some(request) = &mut connection.request {
            request.exchange.handle(self.now, Input::Abort(Abort::PeerGone));
        }
        true
    }

    /// Between requests: takes the next head, or forgets what is left of the last body. Tells whether it did
    /// anything.
    fn read(&mut self, connection: &mut Connection) -> bool {
        if !connection.unread.is_empty() {
            let unread = std::mem::take(&mut connection.unread);
            let rest = self.parse(connection, &unread);
            let progress = rest < unread.len() || connection.request.is_some();
            connection.unread.extend_from_slice(&unread[unread.len() - rest..]);
            return progress;
        }
        if connection.ended {
            let before = connection.http.is_closed();
            return connection.http.eof(self.now.monotonic) == Eof::Closed && !before;
        }
        if !connection.readable || !connection.http.wants_read() {
            return false;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        match connection.read(&mut scratch) {
            ReadEnd::Bytes(count) => {
                let rest = self.parse(connection, &scratch[..count]);
                connection.unread.extend_from_slice(&scratch[count - rest..count]);
            }
            ReadEnd::Nothing => {}
            ReadEnd::Eof => {
                connection.ended = true;
                connection.http.eof(self.now.monotonic);
            }
            ReadEnd::Broken => connection.give_up(),
        }
        self.scratch = scratch;
        true
    }

    /// Gives input to the connection's HTTP, and tells how much of it is left.
    fn parse(&mut self, connection: &mut Connection, input: &[u8]) -> usize {
        let mut rest = input;
        loop {
            match connection.http.next(self.now.monotonic, &mut rest) {
                Some(HttpEvent::Head) => {
                    self.begin_request(connection);
                    if connection.request.is_some() {
                        return rest.len();
                    }
                }
                Some(HttpEvent::Refused(code)) => {
                    let refusal = Response::refusal(code, self.now.wall);
                    connection.http.respond(self.now.monotonic, &refusal);
                }
                Some(HttpEvent::Body(_) | HttpEvent::End(_)) => {}
                None => return rest.len(),
            }
        }
    }

    fn end(&mut self, connection: Connection) {
        self.free.push(connection.id.slot);
        // Workers may still hold the socket for a moment: what they find there is for nobody.
        drop(connection);
        self.shared.connections.fetch_sub(1, Ordering::SeqCst);
        if self.shared.full.swap(false, Ordering::SeqCst) {
            self.shared.mailboxes[0].post(Message::AcceptAgain);
        }
    }

    fn accept(&mut self, index: usize) {
        let Some(listener) = self.listeners.get(index) else { return };
        let mut accepted = Vec::new();
        loop {
            if self.shared.connections.load(Ordering::Acquire) >= self.shared.max_connections {
                self.shared.full.store(true, Ordering::SeqCst);
                // One may have ended in this very moment, and not have seen that we wait for it.
                if self.shared.connections.load(Ordering::SeqCst) >= self.shared.max_connections {
                    break;
                }
            }
            match listener.accept() {
                Ok((socket, _)) => {
                    self.shared.connections.fetch_add(1, Ordering::AcqRel);
                    accepted.push(socket);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The peer went away before we came: the next one may be there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    self.shared.full.store(true, Ordering::Release);
                    break;
                }
            }
        }
        for socket in accepted {
            // Answers are small and whole: there is nothing to wait for before one is sent.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps Nagle's algorithm");
            }
            let to = self.accept_to;
            self.accept_to = (to + 1) % self.shared.mailboxes.len();
            if to == self.index {
                self.admit(socket);
            } else {
                self.shared.mailboxes[to].post(Message::Accepted(socket));
            }
        }
    }
}

fn register(registry: &Registry, socket: &mut TcpStream, id: ConnectionId) -> io::Result<()> {
    let token = Token((id.generation as usize) << GENERATION_SHIFT | id.slot as usize);
    registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)
}
