//! Moves a request's body from its reader to its session: into the sink on the spot, or, where that may block, by a job
//! that the sink is lent to.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use bytes::Bytes;
use tus_proto::{Failure, Now};

use super::{
    body::{End, Ingress},
    reader::BodyReader,
};
use crate::{Executor, HashingSink, Session, Store, loan::Loan};

#[derive(Debug)]
pub(crate) struct Pump<S: Store, B> {
    pub(crate) ingress: Ingress<B>,
    writing: Option<Loan<Written<S>>>,
    /// A HEAD waits, and what was held is handed over although there was no headroom.
    swept: bool,
}

/// What a job gives back.
type Written<S> = (HashingSink<<S as Store>::Sink>, Result<(), Failure>);

impl<S: Store, B: BodyReader> Pump<S, B> {
    pub(crate) fn new(ingress: Ingress<B>) -> Self {
        Self { ingress, writing: None, swept: false }
    }

    /// Moves the body on. Returns whether anything came of it; `None` if a write has panicked, and the sink is lost.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Now,
        session: &mut Session<S>,
        executor: &dyn Executor,
        gone: bool,
    ) -> Option<bool> {
        let mut progress = false;
        if let Some(writing) = &mut self.writing
            && let Poll::Ready(written) = writing.poll(cx.waker())
        {
            let (sink, result) = written?;
            self.writing = None;
            session.give_back(now, sink, result);
            progress = true;
        }
        if !session.is_receiving() && !session.is_lent() {
            self.ingress.pause(now.monotonic);
            return Some(progress);
        }
        progress |= self.ingress.read(cx, now.monotonic, gone);
        Some(session.is_receiving() && self.hand_over(cx, now, session, executor) || progress)
    }

    /// Hands over what was read, or how the body ended. Returns whether there was anything.
    fn hand_over(
        &mut self,
        cx: &Context<'_>,
        now: Now,
        session: &mut Session<S>,
        executor: &dyn Executor,
    ) -> bool {
        let (welcome, drains) = (session.welcome(), session.wants_drain());
        self.swept &= drains;
        let mut headroom = session.headroom();
        let sweeps = drains && headroom == 0 && !self.swept;
        if sweeps {
            // A HEAD is told what had arrived. That is no more than is held.
            headroom = self.ingress.held() as u64;
        }
        if self.ingress.held() > 0 && headroom > 0 {
            if welcome == 0 {
                self.ingress.discard();
                session.overflow(now);
                return true;
            }
            let Poll::Ready(room) = session.poll_room(now, &|| cx.waker().clone()) else { return false };
            // Without room the sink has failed, and that has ended the body.
            if room > 0 {
                self.swept |= sweeps;
                let most = usize::try_from(welcome.min(headroom)).unwrap_or(usize::MAX).min(room);
                self.write(now, session, executor, most);
            }
            return true;
        }
        match self.ingress.end() {
            Some(End::Complete(trailers)) => session.end_body(now, trailers),
            Some(End::Cut(cut)) => session.cut_body(now, cut),
            None => {
                session.drained(now);
                return drains;
            }
        }
        true
    }

    /// Writes at most so many bytes.
    fn write(&mut self, now: Now, session: &mut Session<S>, executor: &dyn Executor, most: usize) {
        let mut pieces: VecDeque<Bytes> = self.ingress.split(most);
        if !session.blocks(pieces.iter().map(Bytes::len).sum()) {
            return pieces.iter_mut().for_each(|piece| session.write(now, piece));
        }
        let Some(mut sink) = session.lend() else { return };
        let work = move || {
            let written = pieces.iter_mut().try_for_each(|piece| sink.write(piece));
            // Frees the memory before the request reads on.
            drop(pieces);
            (sink, written)
        };
        self.writing = Some(Loan::new(executor, work));
    }
}
