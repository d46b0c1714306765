//! The open Append of a session: where its sink is, how much is staged, and how the body ended. Ends are decided once,
//! the first wins, and are told when the sink is here.

use bytes::Buf;
use std::task::{Poll, Waker};
use tus_proto::{Algorithm, AppendEnd, Completion, Failure, OpId};

use super::hashing_sink::HashingSink;
use crate::{FirstBytes, Sink};

#[derive(Debug)]
pub(super) struct Body<K> {
    pub op: OpId,
    /// How many bytes are welcome.
    pub max: u64,
    pub staged: u64,
    digest: Option<Algorithm>,
    place: Place<K>,
    end: Option<AppendEnd>,
}

/// Where the sink is.
#[derive(Debug)]
enum Place<K> {
    /// The store is opening it.
    Opening,
    Here(HashingSink<K>),
    /// A worker has it.
    Lent,
    /// No byte is welcome, so there is none.
    Nowhere,
}

impl<K: Sink> Body<K> {
    pub(super) fn opening(op: OpId, max: u64, digest: Option<Algorithm>) -> Self {
        let place = if max == 0 { Place::Nowhere } else { Place::Opening };
        Self { op, max, staged: 0, digest, place, end: None }
    }

    /// A body that goes into memory.
    pub(super) fn buffering(op: OpId, max: u64, digest: Option<Algorithm>, memory: FirstBytes) -> Self {
        let place = Place::Here(HashingSink::in_memory(memory, digest));
        Self { op, max, staged: 0, digest, place, end: None }
    }

    pub(super) fn opened(&mut self, sink: K) {
        self.place = Place::Here(HashingSink::new(sink, self.digest));
    }

    /// Whether bytes may be handed over now.
    pub(super) fn is_receiving(&self) -> bool {
        self.end.is_none() && matches!(self.place, Place::Here(_) | Place::Nowhere)
    }

    /// Whether a worker has the sink.
    pub(super) fn is_lent(&self) -> bool {
        matches!(self.place, Place::Lent)
    }

    /// Whether the body has not ended yet, wherever its sink is.
    pub(super) fn goes_on(&self) -> bool {
        self.end.is_none()
    }

    /// How many bytes more are welcome.
    pub(super) fn welcome(&self) -> u64 {
        self.max - self.staged
    }

    pub(super) fn sink(&self) -> Option<&HashingSink<K>> {
        match &self.place {
            Place::Here(sink) => Some(sink),
            _ => None,
        }
    }

    /// How many bytes the sink takes now. A failure ends the body.
    pub(super) fn poll_room(&mut self, waker: &dyn Fn() -> Waker) -> Poll<usize> {
        let Place::Here(sink) = &mut self.place else { return Poll::Ready(usize::MAX) };
        match sink.poll_room(waker) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(room)) => Poll::Ready(room.max(1)),
            Poll::Ready(Err(failure)) => {
                self.end(AppendEnd::Failed(failure));
                Poll::Ready(0)
            }
        }
    }

    /// Writes what is welcome; one byte more ends the body.
    pub(super) fn write(&mut self, data: &mut dyn Buf) {
        if !self.is_receiving() || !data.has_remaining() {
            return;
        }
        let welcome = usize::try_from(self.welcome()).unwrap_or(usize::MAX);
        let overflows = data.remaining() > welcome;
        if let Place::Here(sink) = &mut self.place {
            let written = sink.write(&mut data.take(welcome));
            self.staged = sink.len();
            if let Err(failure) = written {
                return self.end(AppendEnd::Failed(failure));
            }
        }
        if overflows {
            self.end(AppendEnd::Overflow);
        }
    }

    /// Lends the sink to a worker.
    pub(super) fn lend(&mut self) -> Option<HashingSink<K>> {
        if !matches!(self.place, Place::Here(_)) || self.end.is_some() {
            return None;
        }
        match std::mem::replace(&mut self.place, Place::Lent) {
            Place::Here(sink) => Some(sink),
            other => {
                self.place = other;
                None
            }
        }
    }

    /// Takes the sink back, and what came of the worker's writing.
    pub(super) fn give_back(&mut self, sink: HashingSink<K>, result: Result<(), Failure>) {
        self.staged = self.staged.max(sink.len());
        self.place = Place::Here(sink);
        if let Err(failure) = result {
            // The store's failure comes before what the connection did meanwhile.
            self.end = Some(AppendEnd::Failed(failure));
        }
    }

    /// The body ended, unless it had ended before.
    pub(super) fn end(&mut self, end: AppendEnd) {
        self.end.get_or_insert(end);
    }

    /// Whether it has ended, and its sink is at rest.
    pub(super) fn is_over(&self) -> bool {
        let at_rest = matches!(self.place, Place::Here(_) | Place::Nowhere);
        self.end.is_some() && mutation!("append-ended-while-lent", at_rest, true)
    }

    /// The completion of the Append or Buffer, and the bytes that are in memory.
    pub(super) fn complete(self) -> (Completion, Option<FirstBytes>) {
        let end = self.end.unwrap_or(AppendEnd::Stopped);
        let (digest, memory) = match self.place {
            Place::Here(sink) => sink.finish(),
            // The digest of nothing.
            _ => (self.digest.map(|algorithm| tus_proto::Hasher::new(algorithm).finish()), None),
        };
        (Completion::Appended { total: self.staged, end, digest }, memory)
    }
}
