//! One connection: which request it is in, what of it has been read, and how it is answered. When it ends, and
//! by which clock, is in `lifecycle`.

use std::sync::Arc;

use smallvec::SmallVec;
use tus_proto::{Connection, ErrorCode, Framing, Head, Instant, Interim, Response, Trailers};

use super::Settings;
use super::body::{Body, Piece};
use super::deadline::{Reason, Timer};
use super::head::{Parts, Request, Version};
use super::response::{self, Persistence};
use super::section::{Fault, Limits, Section, Until};

/// How many empty lines may precede a request line: old clients send one after a body (RFC 9112 section 2.2).
const LEADING_EMPTY_LINES: u8 = 2;

/// How many bytes may wait to be sent, that an interim answer joins them.
const INTERIM_BACKLOG: usize = 4 << 10;

/// The server side of one HTTP/1.1 connection. See the [module](super) for the loop that drives it.
#[derive(Debug)]
pub struct Conn {
    pub(super) settings: Arc<Settings>,
    pub(super) phase: Phase,
    /// The head, or the line of the body, that is being collected.
    pub(super) section: Section,
    empty_lines: u8,
    pub(super) current: Current,
    pub(super) output: Vec<u8>,
    /// How much of `output` is sent.
    pub(super) sent: usize,
    /// How many bytes of an upload follow the output: the driver sends them.
    pub(super) beside: u64,
    pub(super) timer: Timer,
    /// The peer has ended its side.
    pub(super) ended: bool,
    /// The server is shutting down: no further request.
    pub(super) last: bool,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for a head, or is within one.
    Head,
    /// A head was told or rejected; its answer is not known yet.
    Request,
    /// The answer is in the output, but for an upload that it carries.
    Answered(Then),
    /// The answer is sent, and the write side is to be shut; what still comes is forgotten, at most so much.
    Farewell { left: u64 },
    /// The same, and the write side is shut.
    Linger { left: u64 },
    /// Over.
    Closed,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The rest of the body, if any, is forgotten, at most so much; then the next request may come.
    Next { drain: u64 },
    /// The connection ends.
    Linger,
}

/// The request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    request: Request,
    /// The method on the wire is HEAD: the answer has no body, whatever an override says.
    to_head: bool,
    pub(super) body: Body,
    /// A byte of the body has come.
    body_begun: bool,
    continued: bool,
    /// The driver reads the body as it comes; else it is the driver who holds it up.
    pub(super) reading: bool,
    /// Where the next request would begin can't be known any more, or is not wanted to be.
    pub(super) broken: bool,
}

/// What [`Conn::next`] has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A request's head is complete and well-formed: look at it with [`Conn::with_head`] now.
    Head,
    /// Decoded bytes of the body; never empty.
    Body(&'i [u8]),
    /// The body is complete. Exactly once for a request, also where it has no body.
    End(Trailers),
    /// The head, or the framing of the body, is broken: the client's fault (or, for 501 and 505, beyond us).
    /// The connection waits for the answer with this code, and ends with it.
    Rejected(ErrorCode),
}

/// What the end of the input means for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eof {
    /// Nothing is owed to the peer: the connection is closed.
    Closed,
    /// The body will never be complete. An answer may still be read: the connection waits for it, then closes.
    HalfClosed,
    /// The request is complete, or rejected: its answer goes on as if nothing had happened. Once it is sent, and
    /// `next` has nothing more, ask [`Conn::eof`] again.
    Complete,
}

impl Current {
    fn new(request: Request, to_head: bool) -> Self {
        Self {
            request,
            to_head,
            body: Body::new(request.framing),
            body_begun: false,
            continued: false,
            reading: true,
            broken: false,
        }
    }

    /// In place of a request whose head is not known.
    pub(super) fn unknown(to_head: bool) -> Self {
        let request = Request {
            version: Version::Http11,
            framing: Framing::Length(0),
            persistent: false,
            expects_continue: false,
        };
        Self { body: Body::Done, broken: true, ..Self::new(request, to_head) }
    }

    /// The client holds the body back until it is told to go on.
    pub(super) fn awaits_continue(&self) -> bool {
        self.request.expects_continue && !self.continued && !self.body_begun && self.body.rest() != Some(0)
    }
}

impl Conn {
    /// A connection that was just accepted.
    pub fn new(settings: Arc<Settings>, now: Instant) -> Self {
        let timer = Timer::start(Reason::Idle, now, settings.idle_timeout);
        Self {
            settings,
            phase: Phase::Head,
            section: Section::default(),
            empty_lines: 0,
            current: Current::unknown(false),
            output: Vec::new(),
            sent: 0,
            beside: 0,
            timer,
            ended: false,
            last: false,
        }
    }

    /// Takes bytes from the front of `input`, and tells what it found there: at most one event. `None` when it needs
    /// more, or when what follows in `input` must wait until this request is answered and [`Conn::sent`]. Call it
    /// with an empty input as well: an [`Event::End`] may need no further byte.
    pub fn next<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Option<Event<'i>> {
        match self.phase {
            Phase::Head => self.next_of_head(now, input),
            Phase::Request if self.current.broken => {
                *input = &[];
                None
            }
            Phase::Request => self.next_of_body(now, input),
            Phase::Answered(Then::Next { drain }) => {
                self.drain(now, input, drain);
                if matches!(self.phase, Phase::Answered(_)) { None } else { self.next(now, input) }
            }
            Phase::Answered(Then::Linger) | Phase::Closed => {
                *input = &[];
                None
            }
            Phase::Farewell { ref mut left } | Phase::Linger { ref mut left } => {
                let rest = left.checked_sub(input.len() as u64);
                *input = &[];
                match rest {
                    Some(rest) => *left = rest,
                    None => self.close(),
                }
                None
            }
        }
    }

    fn next_of_head<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Option<Event<'i>> {
        let limits = Limits { bytes: self.settings.head_bytes, lines: self.settings.fields + 1 };
        let (begun, came) = (self.section.has_begun(), !input.is_empty());
        let verdict = loop {
            match self.section.collect(input, Until::EmptyLine, limits) {
                Ok(false) => {
                    if self.section.has_begun() && (!begun || came) {
                        self.head_progressed(now);
                    }
                    return None;
                }
                Ok(true) if self.section.lines() > 0 => {
                    break Parts::split(self.section.bytes(), self.section.lines())
                        .and_then(|parts| parts.request());
                }
                Ok(true) if self.empty_lines < LEADING_EMPTY_LINES => {
                    self.empty_lines += 1;
                    self.section.clear();
                }
                Ok(true) | Err(Fault::Malformed) => break Err(ErrorCode::BadRequest),
                Err(Fault::TooLong) if self.section.lines() == 0 => break Err(ErrorCode::UriTooLong),
                Err(Fault::TooLong | Fault::TooManyLines) => break Err(ErrorCode::HeadTooLarge),
            }
        };
        self.empty_lines = 0;
        match verdict {
            Ok(request) => {
                self.phase = Phase::Request;
                self.current = Current::new(request, self.is_to_head());
                self.start_body_timer(now);
                Some(Event::Head)
            }
            Err(code) => {
                self.refuse_head();
                Some(Event::Rejected(code))
            }
        }
    }

    /// The head that is being collected, however incomplete, is only to be answered.
    pub(super) fn refuse_head(&mut self) {
        self.phase = Phase::Request;
        self.current = Current::unknown(self.is_to_head());
        // What was read of the head stays until the answer is there: it may depend on it.
        self.timer = Timer::Off;
    }

    /// Gives up a head that has begun, if one is being collected, and tells whether there was one. It waits for its
    /// answer then, as after [`Event::Rejected`].
    pub fn give_up_head(&mut self) -> bool {
        let begun = self.phase == Phase::Head && self.section.has_begun();
        if begun {
            self.refuse_head();
        }
        begun
    }

    /// The head was looked at: where it was a large one, its memory is given back before the request is done.
    pub fn release_head(&mut self) {
        if self.phase == Phase::Request && !self.current.body_begun {
            self.section.clear();
        }
    }

    /// How many bytes are held for a head that is not complete.
    pub fn head_memory(&self) -> usize {
        if self.phase == Phase::Head { self.section.capacity() } else { 0 }
    }

    /// The first field of this name in a rejected head, as far as that was read and can be told apart. `None` once
    /// [`Conn::respond`] was called.
    pub fn refused_field(&self, name: &str) -> Option<&[u8]> {
        if self.phase != Phase::Request || !self.current.broken {
            return None;
        }
        let bytes = self.section.bytes();
        // Complete lines only, and the first of them is the request's.
        let whole = bytes.windows(2).rposition(|end| end == b"\r\n")?;
        let mut lines = bytes.get(..whole)?.split(|byte| *byte == b'\n').skip(1);
        lines.find_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (field, value) = line.split_at(colon);
            let value = value.get(1..)?.trim_ascii();
            field.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        })
    }

    /// The rest of this request is not read any more; it is only to be answered.
    pub(super) fn refuse_rest(&mut self) {
        self.current.broken = true;
        self.timer = Timer::Off;
        self.section.clear();
    }

    fn is_to_head(&self) -> bool {
        self.section.bytes().starts_with(b"HEAD ")
    }

    fn next_of_body<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Option<Event<'i>> {
        if self.current.body.is_done() {
            return None;
        }
        match self.decode(now, input) {
            Ok(piece) => piece.map(|piece| match piece {
                Piece::Data(data) => Event::Body(data),
                Piece::End(trailers) => Event::End(trailers),
            }),
            Err(code) => {
                self.refuse_rest();
                Some(Event::Rejected(code))
            }
        }
    }

    fn decode<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Result<Option<Piece<'i>>, ErrorCode> {
        if !self.current.body_begun {
            // The head has been looked at: its buffer now serves the body's lines.
            self.section.clear();
        }
        let before = input.len();
        let piece = self.current.body.next(input, &mut self.section, &self.settings);
        let taken = before - input.len();
        self.current.body_begun |= taken > 0;
        self.body_progressed(now, taken as u64);
        if matches!(piece, Ok(None)) {
            self.await_body();
        }
        piece.map_err(|_| ErrorCode::BadRequest)
    }

    /// The next byte of the body may be long in coming. Where it has a length it has no lines, and the buffer of the
    /// head is given back: thousands may be waited for.
    fn await_body(&mut self) {
        if let Body::Length(_) = self.current.body {
            self.section = Section::default();
        }
    }

    /// Forgets the rest of a body after its answer; then the next request may come.
    fn drain(&mut self, now: Instant, input: &mut &[u8], mut left: u64) {
        while !self.current.body.is_done() {
            let before = input.len();
            let piece = self.decode(now, input);
            let taken = (before - input.len()) as u64;
            let Some(rest) = left.checked_sub(taken).filter(|_| piece.is_ok()) else {
                self.phase = Phase::Answered(Then::Linger);
                break;
            };
            left = rest;
            self.phase = Phase::Answered(Then::Next { drain: left });
            if matches!(piece, Ok(None)) {
                break;
            }
        }
        self.settle(now);
    }

    /// Shows the head of the request that was just told. `None` once [`Conn::next`] was called again, and where
    /// there is no such request. `secure` says whether the connection is TLS.
    pub fn with_head<R>(&self, secure: bool, look: impl FnOnce(&Head<'_>) -> R) -> Option<R> {
        let looked_at = self.current.broken || self.current.body_begun;
        if self.phase != Phase::Request || self.section.lines() == 0 || looked_at {
            return None;
        }
        let parts = Parts::split(self.section.bytes(), self.section.lines()).ok()?;
        let fields: SmallVec<[(&str, &[u8]); 24]> = parts.fields;
        Some(look(&Head {
            method: parts.method,
            target: parts.target,
            fields: &fields,
            framing: self.current.request.framing,
            secure,
            direct: self.current.request.version != Version::Http10,
        }))
    }

    /// How many bytes of the request's body are still to come on the wire. `None` if only its end will tell: it is
    /// chunked.
    pub fn body_rest(&self) -> Option<u64> {
        if self.phase == Phase::Request && !self.current.broken { self.current.body.rest() } else { Some(0) }
    }

    /// How many of the next bytes on the wire are body data and nothing else, so that they may be moved beside
    /// this connection: what `next` was not given yet, the driver's own buffer first. 0 where `next` must read.
    pub fn raw_credit(&self) -> u64 {
        if self.phase == Phase::Request && !self.current.broken { self.current.body.credit() } else { 0 }
    }

    /// `count` bytes, at most the credit, were moved beside this connection.
    pub fn moved(&mut self, now: Instant, count: u64) {
        if count > 0 && self.raw_credit() > 0 {
            if !self.current.body_begun {
                self.section.clear();
            }
            self.current.body_begun = true;
            self.current.body.moved(count);
            self.body_progressed(now, count);
            self.await_body();
        }
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.phase == Phase::Request && !self.current.broken && self.current.awaits_continue()
    }

    /// Tells a client that waits for it to send the body. Does nothing for any other (RFC 9110 section 10.1.1).
    pub fn send_continue(&mut self, now: Instant) {
        if self.expects_continue() {
            self.current.continued = true;
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.start_body_timer(now);
        }
    }

    /// Sends an answer before the final one. Does nothing for a client of HTTP/1.0, which could not read it (RFC 9110 section
    /// 15.2), and for one that does not read what it was sent before: no request needs it.
    pub fn send_interim(&mut self, interim: &Interim) {
        let http11 = self.current.request.version == Version::Http11;
        if self.phase == Phase::Request && http11 && self.output().len() <= INTERIM_BACKLOG {
            response::write_interim(&mut self.output, interim);
        }
    }

    /// Answers the request. The connection lives on if the answer, the client, the rest of the body and the server
    /// let it. Does nothing where no request waits for an answer.
    pub fn respond(&mut self, now: Instant, answer: &Response) {
        if self.phase != Phase::Request {
            return;
        }
        if self.current.body.rest() == Some(0) {
            // Nobody needs to be told of its end any more.
            self.current.body = Body::Done;
        }
        let current = self.current;
        let drain = self.settings.drain_bytes;
        let then = if answer.connection == Connection::Close || !self.may_follow(drain) {
            Then::Linger
        } else {
            Then::Next { drain }
        };
        let persistence = match (then, current.request.version) {
            (Then::Linger, _) => Persistence::Close,
            (Then::Next { .. }, Version::Http10) => Persistence::KeepAlive,
            (Then::Next { .. }, Version::Http11) => Persistence::Default,
        };
        self.beside = response::write(&mut self.output, answer, current.to_head, persistence);
        self.phase = Phase::Answered(then);
        self.timer = Timer::start(Reason::Response, now, self.settings.response_timeout);
        if self.beside > 0 {
            // A long while may pass until the next head.
            self.section = Section::default();
        } else if !current.body_begun {
            self.section.clear();
        }
    }

    /// Whether another request may follow this one, at the cost of reading at most `drain` bytes more.
    fn may_follow(&self, drain: u64) -> bool {
        let Current { request, body, broken, .. } = self.current;
        // A client that did not get its 100 may send the body or not: the next byte could be either.
        let readable = !self.ended && !self.current.awaits_continue();
        let rest_is_small = body.rest().is_none_or(|rest| rest <= drain);
        request.persistent && !broken && !self.last && (body.is_done() || (readable && rest_is_small))
    }
}
