//! What was read of a body and is not handed over yet, how the body ended, and how long its client may be silent.

use std::{
    collections::VecDeque,
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use tus_proto::{Cut, Framing, Instant, Trailers};

use super::{
    cut::cut_by,
    length::BodyLength,
    reader::{BodyPiece, BodyReader, BoxError},
};
use crate::BodyTimer;

/// How many bytes are read ahead while others are written, and how many pieces: a piece may keep a larger buffer allocated.
const AHEAD: usize = 128 << 10;
const PIECES: usize = 64;

/// How many bytes are still taken of a body whose request was dropped: what had arrived, and no more.
const DREGS: u64 = 1 << 20;

/// How a body ended.
pub(crate) enum End {
    Complete(Trailers),
    Cut(Cut),
}

/// What was read of a body.
pub(crate) struct Ingress<B> {
    /// `None` once it has ended.
    body: Option<B>,
    missing: BodyLength,
    held: VecDeque<Bytes>,
    length: usize,
    trailers: Trailers,
    end: Option<End>,
    timer: BodyTimer,
    /// Whether any of it was asked for: a client that expects `100 Continue` gets it by that.
    begun: bool,
    /// How many bytes may still be taken once the request is dropped.
    dregs: u64,
}

impl<B: BodyReader> Ingress<B> {
    pub(crate) fn new(body: B, framing: Framing, timer: BodyTimer) -> Self {
        let mut this = Self {
            body: Some(body),
            missing: BodyLength::new(framing),
            held: VecDeque::new(),
            length: 0,
            trailers: Trailers::default(),
            end: None,
            timer,
            begun: false,
            dregs: DREGS,
        };
        this.end_if_complete();
        this
    }

    /// Reads as far as there is room. Returns whether anything came. `gone`: the response's future was dropped, so only
    /// bytes that have arrived already are taken.
    pub(crate) fn read(&mut self, cx: &mut Context<'_>, now: Instant, gone: bool) -> bool {
        let mut progress = false;
        self.timer.stop(now);
        while self.length < AHEAD && self.held.len() < PIECES {
            let Some(body) = &mut self.body else { return progress };
            self.begun = true;
            let Poll::Ready(piece) = body.poll_piece(cx) else {
                if gone {
                    self.finish(End::Cut(Cut::PeerGone));
                    return true;
                }
                self.timer.run(now);
                return progress;
            };
            progress = true;
            self.take(now, piece);
            if gone && self.dregs == 0 {
                self.finish(End::Cut(Cut::PeerGone));
            }
        }
        progress
    }

    fn take(&mut self, now: Instant, piece: Option<Result<BodyPiece, BoxError>>) {
        match piece {
            Some(Ok(BodyPiece::Data(data))) => self.take_data(now, data),
            Some(Ok(BodyPiece::Trailers(trailers))) => self.trailers = trailers,
            Some(Err(error)) => self.finish(End::Cut(cut_by(&*error))),
            None => {
                let trailers = std::mem::take(&mut self.trailers);
                self.finish(self.missing.at_end().map_or_else(End::Cut, |()| End::Complete(trailers)));
            }
        }
    }

    fn take_data(&mut self, now: Instant, mut data: Bytes) {
        data.truncate(self.missing.take(data.len()));
        self.dregs = self.dregs.saturating_sub(data.len() as u64);
        self.timer.received(now, data.len() as u64);
        self.length += data.len();
        if !data.is_empty() {
            self.held.push_back(data);
        }
        self.end_if_complete();
    }

    fn end_if_complete(&mut self) {
        if self.missing.is_complete() {
            self.finish(End::Complete(Trailers::default()));
        }
    }

    fn finish(&mut self, end: End) {
        self.body = None;
        self.end.get_or_insert(end);
    }

    /// The client was silent, or slow, for too long.
    pub(crate) fn time_out(&mut self, now: Instant) -> bool {
        let over = self.deadline().is_some_and(|at| at <= now);
        if over {
            self.finish(End::Cut(Cut::TooSlow));
            self.timer.stop(now);
        }
        over
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.body.as_ref().and_then(|_| self.timer.deadline())
    }

    /// Nothing is read now.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.timer.stop(now);
    }

    /// Whether something of the body is still to be read.
    pub(crate) fn misses(&self) -> bool {
        self.body.is_some()
    }

    /// How many bytes are held.
    pub(crate) fn held(&self) -> usize {
        self.length
    }

    /// The first bytes of what is held.
    pub(crate) fn split(&mut self, mut count: usize) -> VecDeque<Bytes> {
        self.length -= count.min(self.length);
        let mut pieces = VecDeque::new();
        while count > 0
            && let Some(mut piece) = self.held.pop_front()
        {
            if piece.len() > count {
                self.held.push_front(piece.split_off(count));
            }
            count -= piece.len();
            pieces.push_back(piece);
        }
        pieces
    }

    /// Drops what is held.
    pub(crate) fn discard(&mut self) {
        self.held.clear();
        self.length = 0;
    }

    /// How the body ended, once it has, and nothing of it is held any more.
    pub(crate) fn end(&mut self) -> Option<End> {
        if self.length > 0 { None } else { self.end.take() }
    }

    /// Drops what is held, and also the body if its client waits for `100 Continue` and was not sent it.
    pub(crate) fn drop_unless_begun(&mut self, expects_continue: bool) {
        self.discard();
        if expects_continue && !self.begun {
            self.body = None;
        }
    }

    /// Reads on and discards what comes, at most `left` bytes. Ready when the body has ended or `left` is used up.
    pub(crate) fn poll_forget(&mut self, cx: &mut Context<'_>, now: Instant, left: &mut u64) -> Poll<()> {
        while self.read(cx, now, false) {
            match left.checked_sub(self.length as u64) {
                Some(less) => *left = less,
                None => self.body = None,
            }
            self.discard();
        }
        if self.body.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl<B> fmt::Debug for Ingress<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingress")
            .field("missing", &self.missing)
            .field("held", &self.length)
            .field("timer", &self.timer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
