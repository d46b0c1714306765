//! What an exchange asks of its store, as the store's calls; and what the store answers, as the exchange's inputs.

use tus_proto::{AppendEnd, Command, Completion, Digest, Failure, Input, Now, OpId};

use super::{
    Session,
    body::Body,
    effect::{Arrival, Inlet},
};
use crate::{
    Answer, AppendGrant, Change, Changed, Commit, EventKind, FirstBytes, Loaded, LookupError, Opened, Sink,
    Source, Store, Ticket,
};

impl<S: Store> Session<S> {
    pub(super) fn carry_out<I: Inlet<S>>(
        &mut self,
        now: Now,
        store: &S,
        inlet: &dyn Fn() -> I,
        op: OpId,
        command: Command,
    ) {
        if let Some(id) = command.upload() {
            self.upload = Some(id.clone());
        }
        match command {
            Command::Load { id } => {
                let later = || ticket(inlet, move |loaded| Arrival::Loaded(op, loaded));
                if let Answer::Now(loaded) = store.load(&id, later) {
                    self.on_loaded(now, op, loaded);
                }
            }
            Command::Open { id } => {
                let later = || ticket(inlet, move |opened| Arrival::Source(op, opened));
                if let Answer::Now(opened) = store.open(&id, later) {
                    self.on_source(now, op, opened);
                }
            }
            Command::Append { id, fence, at, max, rotate, digest } => {
                self.body = Some(Body::opening(op, max, digest));
                if max == 0 {
                    return;
                }
                let asked = mutation!("rotation-not-asked", rotate, false);
                let grant = AppendGrant { id, fence, at, max, rotate: asked };
                let later = || ticket(inlet, move |opened| Arrival::Sink(op, opened));
                if let Answer::Now(opened) = store.append(grant, later) {
                    self.on_sink(now, op, opened);
                }
            }
            Command::Reserve { bytes } => {
                self.first = store.reserve(bytes);
                let reserved = self.first.is_some();
                self.complete(now, op, if reserved { Completion::Reserved } else { Completion::Declined });
            }
            Command::Buffer { max, digest } => match self.first.take() {
                Some(memory) => self.body = Some(Body::buffering(op, max, digest, memory)),
                None => self.complete(now, op, Completion::Failed(Failure::Unavailable)),
            },
            Command::StopAppend => self.end(now, AppendEnd::Stopped),
            Command::Digest { from, to, algorithm, .. } => {
                if let Some(first) = &self.first {
                    let digest = first.digest((from, to), algorithm).map_err(LookupError::from);
                    return self.on_digest(now, op, digest);
                }
                let Some(staged) = &self.staged else {
                    // Nothing was staged, so there is nothing to read.
                    return self.complete(now, op, Completion::Failed(Failure::Io));
                };
                let found = |digest: Result<Digest, Failure>| digest.map_err(LookupError::from);
                let later = || ticket(inlet, move |digest| Arrival::Digested(op, found(digest)));
                if let Answer::Now(digest) = store.digest(staged, (from, to), algorithm, later) {
                    self.on_digest(now, op, found(digest));
                }
            }
            Command::Hash { id, to, algorithm } => {
                let later = || ticket(inlet, move |digest| Arrival::Digested(op, digest));
                if let Answer::Now(digest) = store.hash(&id, to, algorithm, later) {
                    self.on_digest(now, op, digest);
                }
            }
            Command::Create { record, first: kept } => {
                let mut first = self.first.take().filter(|_| kept > 0);
                if let Some(first) = &mut first {
                    first.truncate(kept);
                }
                if first.as_ref().map_or(0, FirstBytes::len) != kept {
                    // It was never told of so many.
                    return self.complete(now, op, Completion::Failed(Failure::Io));
                }
                self.change(now, store, inlet, op, Change::Create { record, first });
            }
            Command::Concat { record, parts, max, delete_parts } => {
                self.change(now, store, inlet, op, Change::Concat { record, parts, max, delete_parts });
            }
            Command::Commit { id, fence, from, to, length, expires, finish } => {
                let staged = self.staged.clone();
                let commit = Commit { id, fence, from, to, length, expires, finish, staged };
                self.change(now, store, inlet, op, Change::Commit(commit));
            }
            Command::Discard { id, fence } => {
                self.change(now, store, inlet, op, Change::Discard { id, fence });
            }
            Command::Delete { id, fence } => {
                self.change(now, store, inlet, op, Change::Delete { id, fence });
            }
        }
    }

    fn change<I: Inlet<S>>(
        &mut self,
        now: Now,
        store: &S,
        inlet: &dyn Fn() -> I,
        op: OpId,
        change: Change<S::Staged>,
    ) {
        if let (Some(witness), Some(request)) = (&self.witness, self.exchange.request()) {
            for kind in may_make(&change) {
                witness.expect(change.id(), *kind, request);
            }
        }
        let later = || ticket(inlet, move |changed| Arrival::Changed(op, changed));
        if let Answer::Now(changed) = store.change(change, later) {
            self.on_changed(now, op, changed);
        }
    }

    pub(super) fn on_loaded(&mut self, now: Now, op: OpId, loaded: Loaded) {
        self.complete(now, op, loaded.map_or_else(LookupError::into, Completion::Loaded));
    }

    pub(super) fn on_digest(&mut self, now: Now, op: OpId, digest: Result<Digest, LookupError>) {
        self.complete(now, op, digest.map_or_else(LookupError::into, Completion::Digested));
    }

    pub(super) fn on_changed(&mut self, now: Now, op: OpId, changed: Changed) {
        self.events.extend(changed.events);
        self.complete(now, op, changed.completion);
    }

    pub(super) fn on_sink(&mut self, now: Now, op: OpId, opened: Opened<S::Sink>) {
        // A sink that comes for an Append which is over is dropped.
        let Some(body) = self.body.as_mut().filter(|body| body.op == op) else { return };
        match opened {
            Ok(sink) => {
                self.staged = Some(sink.staged());
                body.opened(sink);
                self.rest(now);
            }
            Err(error) => {
                self.body = None;
                self.complete(now, op, error.into());
                self.drained(now);
            }
        }
    }

    pub(super) fn on_source(&mut self, now: Now, op: OpId, opened: Opened<S::Source>) {
        let completion = match opened {
            Ok(source) => Completion::Opened(self.source.insert(Box::new(source)).record().clone()),
            Err(error) => error.into(),
        };
        self.complete(now, op, completion);
    }

    pub(super) fn complete(&mut self, now: Now, op: OpId, completion: Completion) {
        if let Completion::Failed(failure) = completion {
            self.failed = Some(failure);
        }
        self.exchange.handle(now, Input::Store(op, completion));
    }
}

/// The events of its own upload that a change may make.
fn may_make<T>(change: &Change<T>) -> &'static [EventKind] {
    match change {
        Change::Create { record, first }
            if record.length != Some(first.as_ref().map_or(0, FirstBytes::len)) =>
        {
            &[EventKind::Created]
        }
        Change::Commit(commit) if !commit.finish => &[],
        Change::Create { .. } | Change::Concat { .. } => &[EventKind::Created, EventKind::Completed],
        Change::Commit(_) => &[EventKind::Completed],
        Change::Delete { .. } => &[EventKind::Terminated],
        Change::Discard { .. } | Change::Acknowledge { .. } | Change::Postpone { .. } => &[],
    }
}

/// A ticket whose answer arrives as what `arrival` makes of it.
fn ticket<S: Store, I: Inlet<S>, T: 'static>(
    inlet: &dyn Fn() -> I,
    arrival: impl FnOnce(T) -> Arrival<S> + Send + 'static,
) -> Ticket<T> {
    let inlet = inlet();
    Ticket::new(move |answer| inlet.post(arrival(answer)))
}
