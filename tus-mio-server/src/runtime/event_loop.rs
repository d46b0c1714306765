//! One event loop: it waits for sockets, messages and time, and moves on whichever connection they concern.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, event::Event};
use tus_driver::{Arrival, Entropy, Store};
use tus_proto::{Cancel, Cut, ErrorCode, Instant, LockEvent, Now, Owner};

use super::{
    ConnectionId, Shared,
    buffers::{BUFFER, Buffers},
    connection::{Connection, cut},
    locks,
    mailbox::Message,
    metrics::Expired,
    socket::Accepted,
    timers::Timers,
};
use crate::{http1::Reason, listen::Listener};

/// The waker's token. Listeners follow, then come the connections: generation and slot.
pub(crate) const WAKER: Token = Token(0);
const FIRST_LISTENER: usize = 1;
pub(super) const GENERATION_SHIFT: u32 = usize::BITS / 2;

/// The largest slot, and the largest generation.
pub(super) const TOKEN_HALF: usize = (1 << GENERATION_SHIFT) - 1;

/// The loop that accepts connections, and the first that learns of a shutdown.
pub(crate) const ACCEPTING: usize = 0;

/// How long a connection may take to end once the shutdown's time is over and its body was cut.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The state of one event loop; it lives on the thread that runs it.
#[derive(Debug)]
pub(crate) struct EventLoop<S: Store> {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared<S>>,
    pub(super) poll: Poll,
    pub(super) listeners: Vec<Listener>,
    pub(super) accept_to: usize,
    pub(super) slots: Vec<Slot<S>>,
    pub(super) free: Vec<u32>,
    timers: Timers,
    /// The time at which this turn of the loop began.
    pub(super) now: Now,
    pub(super) entropy: Entropy,
    pub(super) serial: u32,
    pub(super) scratch: Vec<u8>,
    pub(super) buffers: Buffers,
    pub(super) lock_events: VecDeque<(Owner, LockEvent)>,
    pub(super) locks_due: Option<Instant>,
    /// How often the loop has turned.
    pub(super) round: u64,
    /// Connections that have used up their steps and want more.
    pub(super) again: Vec<ConnectionId>,
    /// A connection that there was no room for.
    pub(super) held: Option<Accepted>,
    /// The system could not accept the last time.
    pub(super) accept_fails: bool,
    /// When to accept again after the system could not.
    accept_at: Option<Instant>,
    drain: Drain,
}

/// How far the end of the server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    /// Requests may go on until then.
    Until(Instant),
    /// Bodies were cut; their answers may go out until then.
    Cut(Instant),
    /// Connections were given up; what they have under way in the store ends by itself.
    Over,
}

#[derive(Debug)]
pub(super) struct Slot<S: Store> {
    pub generation: u32,
    pub connection: Option<Box<Connection<S>>>,
}

impl<S: Store> Default for Slot<S> {
    fn default() -> Self {
        Self { generation: 0, connection: None }
    }
}

impl<S: Store> EventLoop<S> {
    /// A loop over `poll`, whose waker is registered already.
    pub(crate) fn new(index: usize, shared: Arc<Shared<S>>, poll: Poll) -> Self {
        let now = shared.clock.now();
        let buffers = Buffers::new(shared.buffers);
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
            scratch: vec![0; BUFFER],
            buffers,
            lock_events: VecDeque::new(),
            locks_due: None,
            round: 0,
            again: Vec::new(),
            held: None,
            accept_fails: false,
            accept_at: None,
            drain: Drain::No,
        }
    }

    /// Accepts connections on this listener, for all loops.
    ///
    /// # Errors
    /// The system's, if it can't watch the listener.
    pub(crate) fn listen(&mut self, mut listener: Listener) -> io::Result<()> {
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
            self.round += 1;
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
        let drain = match self.drain {
            Drain::Until(at) | Drain::Cut(at) => Some(at),
            Drain::No | Drain::Over => None,
        };
        let due = [self.timers.next(), self.locks_due, self.accept_at, drain].into_iter().flatten().min();
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
        (self.is_draining() && empty) || self.shared.shutdowns.load(Ordering::Acquire) > 1
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
        let id = ConnectionId { slot: (token & TOKEN_HALF) as u32, generation };
        let (readable, writable) = (event.is_readable() || event.is_read_closed(), event.is_writable());
        let broken = event.is_error() || event.is_write_closed();
        self.with_connection(id, |_, connection| {
            connection.readable |= readable || broken;
            connection.readable_again |= readable || broken;
            connection.writable |= writable;
            connection.writable_again |= writable || broken;
            connection.broken |= broken;
        });
    }

    fn on_message(&mut self, message: Message<S>) {
        match message {
            Message::Accepted(accepted) => self.admit(accepted),
            Message::AcceptAgain => self.accept_all(),
            Message::MakeRoom(search) => self.make_room(search),
            Message::RejectHead(id, end) => {
                self.with_connection(id, |this, connection| this.reject_head(connection, end));
            }
            Message::Lock(owner, event) => self.lock_events.push_back((owner, event)),
            Message::Arrived(owner, arrival) => {
                self.with_owner(owner, |this, connection| this.arrive(connection, arrival));
            }
            Message::HookReplied(owner, op, reply) => {
                self.with_owner(owner, |this, connection| this.on_hook_reply(connection, op, reply));
            }
            Message::Body(id, done) => {
                self.with_connection(id, |this, connection| this.on_body_done(connection, done));
            }
            Message::StoreReady(id) => {
                self.with_connection(id, |_, connection| connection.store_ready = true);
            }
            Message::Read(id, read) => self.on_read(id, read),
            Message::Sent(id, sent) => {
                self.with_connection(id, |this, connection| this.on_sent(connection, sent));
            }
            Message::Shutdown => self.drain(),
        }
        self.deliver_lock_events();
    }

    fn deliver_lock_events(&mut self) {
        while let Some((owner, event)) = self.lock_events.pop_front() {
            self.with_owner(owner, |this, connection| this.arrive(connection, Arrival::Lock(event)));
        }
    }

    /// What the lock table tells an exchange: one of this loop's needs no mailbox.
    pub(super) fn tell_owner(&mut self, owner: Owner, event: LockEvent) {
        let index = locks::loop_of(owner);
        if index == self.index {
            self.lock_events.push_back((owner, event));
        } else {
            self.shared.inbox.post(owner, event);
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
                shared.locks.timeout(now.monotonic, |owner, event| self.tell_owner(owner, event));
        }
        if self.accept_at.is_some_and(|at| at <= now.monotonic) {
            self.accept_at = None;
            self.accept_all();
        }
        match self.drain {
            Drain::Until(at) if at <= now.monotonic => {
                self.drain = Drain::Cut(now.monotonic.after(LAST_WORDS));
                self.for_each(|this, connection| this.cut_short(connection));
            }
            Drain::Cut(at) if at <= now.monotonic => {
                self.drain = Drain::Over;
                self.for_each(|_, connection| connection.give_up());
            }
            _ => {}
        }
    }

    /// A connection could not be taken up: that may be otherwise in a moment.
    pub(super) fn accept_later(&mut self, pause: Duration) {
        self.accept_at.get_or_insert(self.now.monotonic.after(pause));
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain != Drain::No
    }

    /// Whether bodies are not waited for any more.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self.drain, Drain::Cut(_) | Drain::Over)
    }

    fn expire(&mut self, connection: &mut Connection<S>) {
        let now = self.now;
        if connection.handshake_until().is_some_and(|until| until <= now.monotonic) {
            self.shared.metrics.expired(Expired::Http(Reason::Head));
            return connection.give_up();
        }
        let expired = connection.http.expired(now.monotonic);
        if let Some(reason) = expired {
            self.shared.metrics.expired(Expired::Http(reason));
        }
        match expired {
            Some(Reason::Head) => {
                self.shared.metrics.request(None);
                self.refuse(connection, ErrorCode::HeadTimeout);
            }
            Some(Reason::Body) => cut(connection, now, Cut::TooSlow),
            Some(reason @ (Reason::Idle | Reason::Response | Reason::Linger)) => {
                tracing::trace!(?reason, "a connection's time is over");
            }
            None => {}
        }
        self.expire_hook(connection);
        if let Some(request) = &mut connection.request
            && let Some((_, reason)) = request.session.deadline().filter(|(at, _)| *at <= now.monotonic)
        {
            self.shared.metrics.expired(Expired::Exchange(reason));
            request.session.timeout(now);
        }
    }

    /// The server shall end: no new connections, no further requests, and an end to long bodies.
    fn drain(&mut self) {
        for mut listener in self.listeners.drain(..) {
            // It is closed the moment after; a failure changes nothing.
            let _ = self.poll.registry().deregister(&mut listener);
        }
        self.accept_last();
        if !self.is_draining() {
            self.drain = Drain::Until(self.now.monotonic.after(self.shared.shutdown_timeout));
            if self.index == ACCEPTING {
                // Behind every connection that it has handed out: none comes to a loop that is gone.
                let others = self.shared.mailboxes.iter().skip(ACCEPTING + 1);
                others.for_each(|mailbox| mailbox.post(Message::Shutdown));
            }
        }
        self.for_each(|this, connection| {
            connection.http.shutdown_within(this.now.monotonic, connection.welcome())
        });
    }

    fn cut_short(&mut self, connection: &mut Connection<S>) {
        let now = self.now;
        match &mut connection.request {
            Some(request) => request.session.cancel(now, Cancel::Shutdown),
            None => connection.http.shutdown(now.monotonic),
        }
        self.leave_hook(connection);
    }

    fn for_each(&mut self, mut act: impl FnMut(&mut Self, &mut Connection<S>)) {
        for slot in 0..self.slots.len() {
            let generation = self.slots[slot].generation;
            self.with_connection(ConnectionId { slot: slot as u32, generation }, &mut act);
        }
    }

    fn with_owner(&mut self, owner: Owner, act: impl FnOnce(&mut Self, &mut Connection<S>)) {
        let slot = locks::slot_of(owner);
        let Some(generation) = self.slots.get(slot as usize).map(|slot| slot.generation) else { return };
        self.with_connection(ConnectionId { slot, generation }, |this, connection| {
            if connection.request.as_ref().is_some_and(|request| request.owner == owner) {
                act(this, connection);
            }
        });
    }

    /// Does something to a connection, if it still is, then moves it on as far as it goes.
    pub(super) fn with_connection(
        &mut self,
        id: ConnectionId,
        act: impl FnOnce(&mut Self, &mut Connection<S>),
    ) {
        let Some(slot) = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)
        else {
            return;
        };
        let Some(mut connection) = slot.connection.take() else { return };
        act(self, &mut connection);
        self.turn(&mut connection);
        self.count_head(&mut connection);
        if connection.is_over() {
            return self.end(*connection);
        }
        let deadline = connection.deadline();
        self.timers.schedule(id, deadline, &mut connection.scheduled);
        self.slots[id.slot as usize].connection = Some(connection);
    }

    fn end(&mut self, mut connection: Connection<S>) {
        if !connection.gone {
            connection.say_goodbye();
        }
        self.free.push(connection.id.slot);
        let peer = connection.peer;
        // Workers may still hold the socket for a moment: what they find there is for nobody.
        drop(connection);
        self.one_less(peer);
    }
}
