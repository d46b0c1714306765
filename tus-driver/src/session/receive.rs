//! The body of a request: bytes, how it ended, and where its sink is.

use std::task::{Poll, Waker};

use bytes::Buf;
use tus_proto::{AppendEnd, Completion, Cut, Failure, Input, Now, Trailers};

use super::{Session, body::Body, hashing_sink::HashingSink};
use crate::Store;

impl<S: Store> Session<S> {
    /// Whether body bytes are wanted now: an Append is open, its sink is here, and the body has not ended. A runtime reads
    /// no body otherwise.
    pub fn is_receiving(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_receiving)
    }

    /// Whether an Append is open whose body has not ended, wherever its sink is.
    pub fn has_open_body(&self) -> bool {
        self.body.as_ref().is_some_and(Body::goes_on)
    }

    /// Whether the sink is lent.
    pub fn is_lent(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_lent)
    }

    /// How many bytes are welcome; one more ends the body as too long. A runtime that reads ahead hands over that one as
    /// well.
    pub fn welcome(&self) -> u64 {
        self.body.as_ref().map_or(0, Body::welcome)
    }

    /// How many bytes may be staged before the commit under way should be waited for. A runtime that reads no more at 0
    /// bounds what a crash costs.
    pub fn headroom(&self) -> u64 {
        self.exchange.headroom()
    }

    /// How many bytes the store takes now. `Pending` if none: the waker is woken when it may.
    pub fn poll_room(&mut self, now: Now, waker: &dyn Fn() -> Waker) -> Poll<usize> {
        let Some(body) = &mut self.body else { return Poll::Ready(0) };
        let room = body.poll_room(waker);
        if room.is_ready() {
            self.rest(now);
        }
        room
    }

    /// Whether writing so many bytes may block: lend the sink to a worker then.
    pub fn blocks(&self, len: usize) -> bool {
        self.body.as_ref().and_then(Body::sink).is_some_and(|sink| sink.blocks(len))
    }

    /// Writes decoded bytes, no more than there is room for. Bytes beyond [`welcome`](Self::welcome) are not taken, and end the
    /// body.
    pub fn write(&mut self, now: Now, data: &mut dyn Buf) {
        let Some(body) = &mut self.body else { return };
        let before = body.staged;
        body.write(data);
        self.progress(now, before);
    }

    /// Lends the sink, so that another thread can write. `None` if no bytes are wanted.
    pub fn lend(&mut self) -> Option<HashingSink<S::Sink>> {
        self.body.as_mut().and_then(Body::lend)
    }

    /// Takes the sink back. `result` is that of the last write.
    pub fn give_back(&mut self, now: Now, sink: HashingSink<S::Sink>, result: Result<(), Failure>) {
        let Some(body) = &mut self.body else { return };
        let before = body.staged;
        body.give_back(sink, result);
        self.progress(now, before);
    }

    /// The body is complete.
    pub fn end_body(&mut self, now: Now, trailers: Trailers) {
        self.end(now, AppendEnd::Complete(trailers));
    }

    /// The body is cut short.
    pub fn cut_body(&mut self, now: Now, cut: Cut) {
        self.end(now, AppendEnd::Cut(cut));
    }

    /// The body has more bytes than are welcome. For a runtime that has not handed them over.
    pub fn overflow(&mut self, now: Now) {
        self.end(now, AppendEnd::Overflow);
    }

    /// Whether a HEAD waits for this request: what lies in the connection's receive buffer should be handed over, and then
    /// [`drained`](Self::drained) called. A runtime that can't look there calls it at once.
    pub fn wants_drain(&self) -> bool {
        self.drain
    }

    /// What had arrived is handed over.
    pub fn drained(&mut self, now: Now) {
        if std::mem::take(&mut self.drain) {
            self.exchange.handle(now, Input::Checkpoint);
        }
    }

    pub(super) fn end(&mut self, now: Now, end: AppendEnd) {
        if let Some(body) = &mut self.body {
            body.end(end);
            self.rest(now);
        }
    }

    fn progress(&mut self, now: Now, before: u64) {
        if let Some(body) = &self.body
            && body.staged > before
        {
            self.exchange.handle(now, Input::Staged(body.op, body.staged));
        }
        self.rest(now);
    }

    /// Completes the Append once the body has ended and its sink is here.
    pub(super) fn rest(&mut self, now: Now) {
        let Some(body) = self.body.take_if(|body| body.is_over()) else { return };
        let op = body.op;
        let (completion, memory) = body.complete();
        self.first = memory;
        if let Completion::Appended { end: AppendEnd::Failed(failure), .. } = completion {
            self.failed = Some(failure);
        }
        self.exchange.handle(now, Input::Store(op, completion));
        self.drained(now);
    }
}
