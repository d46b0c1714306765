//! When a connection is read from, written to and closed, and by which clock.

use std::time::Duration;

use tus_proto::Instant;

use super::Reason;
use super::conn::{Conn, Eof, Phase, Then};
use super::deadline::Timer;
use super::section::{Section, recycle};

impl Conn {
    /// Whether the socket should be read for more input. Beyond it the driver has its own reasons not to.
    pub fn wants_read(&self) -> bool {
        match self.phase {
            Phase::Head | Phase::Farewell { .. } | Phase::Linger { .. } => true,
            Phase::Request => !self.ended && !self.current.broken && !self.current.body.is_done(),
            Phase::Answered(Then::Next { .. }) => !self.ended && !self.current.body.is_done(),
            Phase::Answered(Then::Linger) | Phase::Closed => false,
        }
    }

    /// Whether there is output.
    pub fn wants_write(&self) -> bool {
        !self.output().is_empty()
    }

    /// What is to be written next.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// `count` bytes of the output were written.
    pub fn sent(&mut self, now: Instant, count: usize) {
        self.sent += count;
        if !self.wants_write() {
            self.sent = 0;
            if self.beside > 0 {
                // A long while may pass until the next answer.
                self.output = Vec::new();
            } else {
                recycle(&mut self.output);
            }
            self.settle(now);
        }
    }

    /// How many bytes of the upload that the answer carries are to be written past this connection now, after all
    /// output.
    pub fn send_credit(&self) -> u64 {
        if mutation!("upload-before-head", self.wants_write(), false) { 0 } else { self.beside }
    }

    /// `count` of those bytes, at most the credit, were written.
    pub fn sent_beside(&mut self, now: Instant, count: u64) {
        debug_assert!(count <= self.send_credit(), "more was sent than the credit allows");
        if count == 0 || self.beside == 0 {
            return;
        }
        self.beside = self.beside.saturating_sub(count);
        self.timer.extend(now, count, self.settings.download_min_rate, self.settings.response_timeout);
        if self.beside == 0 {
            self.timer.thaw(now);
            self.settle(now);
        }
    }

    /// The driver sends those bytes as fast as the peer takes them from now on, or is held up by a reason of its
    /// own: the peer is not to blame for that time. Each answer begins with sending.
    pub fn set_sending(&mut self, now: Instant, sending: bool) {
        if self.beside == 0 {
            return;
        }
        if sending {
            self.timer.thaw(now);
        } else {
            mutation!("blamed-peer", self.timer.freeze(now, Reason::Response), self.timer.thaw(now));
        }
    }

    /// Whether the write side should be shut down now: the answer is sent, and the connection ends with it. A
    /// plain close would lose the answer to a reset, if input is unread (RFC 9112 section 9.6).
    pub fn wants_shutdown_write(&self) -> bool {
        matches!(self.phase, Phase::Farewell { .. })
    }

    /// The write side was shut down.
    pub fn write_shut(&mut self) {
        if let Phase::Farewell { left } = self.phase {
            self.phase = Phase::Linger { left };
        }
    }

    /// Whether the connection is over: nothing is owed to the peer, and the socket can go.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether it is between requests, and nobody would miss it but a client whose next request is on its way.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Head && !self.section.has_begun()
    }

    /// The input has ended. To be called when `next` has taken all it can of what came before.
    pub fn eof(&mut self, now: Instant) -> Eof {
        self.ended = true;
        match self.phase {
            Phase::Request if self.current.broken || self.current.body.is_done() => Eof::Complete,
            Phase::Request => {
                self.timer = Timer::Off;
                Eof::HalfClosed
            }
            Phase::Answered(_) => {
                if !self.current.body.is_done() {
                    self.phase = Phase::Answered(Then::Linger);
                }
                self.settle(now);
                if self.is_closed() { Eof::Closed } else { Eof::Complete }
            }
            Phase::Head | Phase::Farewell { .. } | Phase::Linger { .. } | Phase::Closed => {
                self.close();
                Eof::Closed
            }
        }
    }

    /// The server is shutting down: an idle connection closes, any other after its answer.
    pub fn shutdown(&mut self, now: Instant) {
        self.shutdown_within(now, Duration::ZERO);
    }

    /// The same, but where a request is likely to be on its way an idle connection waits for it, so long at most.
    pub fn shutdown_within(&mut self, now: Instant, patience: Duration) {
        self.last = true;
        if self.is_idle() {
            if patience.is_zero() {
                self.close();
            } else {
                self.timer.hasten(now, patience);
            }
        } else if let Phase::Answered(_) = self.phase {
            self.phase = Phase::Answered(Then::Linger);
            self.settle(now);
        }
    }

    /// The connection is gone, or given up: there is nothing more to say.
    pub fn reset(&mut self) {
        self.close();
    }

    /// The driver reads the body from now on, or stops reading it for a reason of its own: the client is not to
    /// blame for that time. Each request begins with reading.
    pub fn set_reading(&mut self, now: Instant, reading: bool) {
        self.current.reading = reading;
        self.hold_body_timer(now);
    }

    /// When [`Conn::expired`] should be called, and what for.
    pub fn deadline(&self) -> Option<(Instant, Reason)> {
        self.timer.deadline()
    }

    /// What has expired by now, if anything has. [`Reason::Head`]: answer 408, as if the head were rejected.
    /// [`Reason::Body`]: give the request up as too slow, and answer. Any other: the connection is closed.
    pub fn expired(&mut self, now: Instant) -> Option<Reason> {
        let (_, reason) = self.deadline().filter(|(at, _)| *at <= now)?;
        match reason {
            Reason::Head => self.refuse_head(),
            Reason::Body => self.refuse_rest(),
            Reason::Idle | Reason::Response | Reason::Linger => self.close(),
        }
        Some(reason)
    }

    /// Bytes of a head came, and more must: the head as a whole has its time, and each wait for a byte has the
    /// body's.
    pub(super) fn head_progressed(&mut self, now: Instant) {
        let end = self.timer.head_end().unwrap_or_else(|| now.after(self.settings.head_timeout));
        let wait = self.settings.body_timeout;
        let at = if wait.is_zero() { end } else { end.min(now.after(wait)) };
        self.timer = Timer::Head { at, end };
    }

    /// When the head that is being collected must be complete, however busily it drips.
    pub fn head_end(&self) -> Option<Instant> {
        self.timer.head_end()
    }

    /// The body's timer begins: with the head, and with `100 Continue`.
    pub(super) fn start_body_timer(&mut self, now: Instant) {
        let time = self.settings.body_timeout;
        let none = time.is_zero() || self.current.body.rest() == Some(0);
        self.timer = if none { Timer::Off } else { Timer::start(Reason::Body, now, time) };
        self.hold_body_timer(now);
    }

    /// `count` bytes of the body came. Behind the answer its own timer runs on.
    pub(super) fn body_progressed(&mut self, now: Instant, count: u64) {
        if self.phase != Phase::Request {
            return;
        }
        if self.current.body.rest() == Some(0) {
            self.timer = Timer::Off;
        } else if count > 0 {
            self.timer.extend(now, count, self.settings.body_rate, self.settings.body_timeout);
            self.hold_body_timer(now);
        }
    }

    /// The body's timer runs only while it is the client who is waited for.
    fn hold_body_timer(&mut self, now: Instant) {
        if self.current.reading && !self.current.awaits_continue() {
            self.timer.thaw(now);
        } else {
            self.timer.freeze(now, Reason::Body);
        }
    }

    /// Goes on after an answer, once it is sent and the rest of the body is forgotten.
    pub(super) fn settle(&mut self, now: Instant) {
        let Phase::Answered(then) = self.phase else { return };
        if self.wants_write() || self.beside > 0 {
            return;
        }
        match then {
            Then::Next { .. } if !self.current.body.is_done() => {}
            Then::Next { .. } => {
                self.section.clear();
                self.phase = Phase::Head;
                self.timer = Timer::start(Reason::Idle, now, self.settings.idle_timeout);
            }
            // Nothing can come any more, so nothing can be unread.
            Then::Linger if self.ended => self.close(),
            Then::Linger => {
                self.phase = Phase::Farewell { left: self.settings.linger_bytes };
                self.timer = Timer::start(Reason::Linger, now, self.settings.linger_timeout);
                // Nothing is said or understood any more: thousands may linger, and each with as little as can be.
                self.section = Section::default();
                self.output = Vec::new();
            }
        }
    }

    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.timer = Timer::Off;
        self.section.clear();
        self.output = Vec::new();
        self.sent = 0;
        self.beside = 0;
    }
}
