//! Moves a request's body from its reader to its session: into the sink on the spot, or, where that may block, by a
//! blocking thread that the sink is lent to.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;
use tus_driver::{Class, Executor as _, HashingSink, Session, Store};
use tus_proto::{Failure, Now};

use crate::{
    executor::Pool,
    ingress::{End, Ingress},
};

pub(crate) struct Pump<S: Store> {
    pub(crate) ingress: Ingress,
    writing: Option<oneshot::Receiver<Written<S>>>,
}

/// What a blocking thread gives back.
type Written<S> = (HashingSink<<S as Store>::Sink>, Result<(), Failure>);

impl<S: Store> Pump<S> {
    pub(crate) fn new(ingress: Ingress) -> Self {
        Self { ingress, writing: None }
    }

    /// Moves the body on. Returns whether anything came of it; `None` if a write has panicked, and the sink is lost.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Now,
        session: &mut Session<S>,
        pool: &Arc<Pool>,
        gone: bool,
    ) -> Option<bool> {
        let mut progress = false;
        if let Some(writing) = &mut self.writing
            && let Poll::Ready(written) = Pin::new(writing).poll(cx)
        {
            let (sink, result) = written.ok()?;
            self.writing = None;
            session.give_back(now, sink, result);
            progress = true;
        }
        if !session.is_receiving() && !session.is_lent() {
            self.ingress.pause(now.monotonic);
            return Some(progress);
        }
        progress |= self.ingress.read(cx, now.monotonic, gone);
        Some(session.is_receiving() && self.hand_over(cx, now, session, pool) || progress)
    }

    /// Hands over what was read, or how the body ended.
    fn hand_over(&mut self, cx: &Context<'_>, now: Now, session: &mut Session<S>, pool: &Arc<Pool>) -> bool {
        let (headroom, welcome) = (session.headroom(), session.welcome());
        if self.ingress.held() > 0 && headroom > 0 {
            if welcome == 0 {
                self.ingress.discard();
                session.overflow(now);
                return true;
            }
            let Poll::Ready(room) = session.poll_room(now, &|| cx.waker().clone()) else { return false };
            // Without room the sink has failed, and that has ended the body.
            if room > 0 {
                let most = usize::try_from(welcome.min(headroom)).unwrap_or(usize::MAX).min(room);
                self.write(now, session, pool, most);
            }
            return true;
        }
        match self.ingress.end() {
            Some(End::Complete(trailers)) => session.end_body(now, trailers),
            Some(End::Cut(cut)) => session.cut_body(now, cut),
            None => {
                let drains = session.wants_drain();
                session.drained(now);
                return drains;
            }
        }
        true
    }

    /// Writes at most so many bytes.
    fn write(&mut self, now: Now, session: &mut Session<S>, pool: &Arc<Pool>, most: usize) {
        let mut pieces: VecDeque<Bytes> = self.ingress.split(most);
        if !session.blocks(pieces.iter().map(Bytes::len).sum()) {
            return pieces.iter_mut().for_each(|piece| session.write(now, piece));
        }
        let Some(mut sink) = session.lend() else { return };
        let (done, writing) = oneshot::channel();
        let job = move || {
            let written = pieces.iter_mut().try_for_each(|piece| sink.write(piece));
            drop(pieces);
            // If nobody waits, the runtime is ending.
            let _ = done.send((sink, written));
        };
        pool.run(Class::Blocking, Box::new(job));
        self.writing = Some(writing);
    }
}
