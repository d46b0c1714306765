//! What the exchanges of a driver want of the store, and how their bodies get there.

use tus_proto::{
    Abort, AppendEnd, Command, Completion, Fence, Hasher, Input, OpId, Owner, Trailers, UploadId,
};
use tus_redb::{Change, Sink, Store};

use super::{Append, Drive};
use crate::row::End;

impl Drive {
    pub(super) fn store(&mut self, owner: Owner, op: OpId, command: Command) {
        let Some(running) = self.running.get_mut(&owner) else { return };
        let Some(store) = &self.store else { return };
        let completion = match command {
            Command::Load { id } => store.look_up(&id),
            Command::Open { id } => match store.open_source(&id) {
                Ok(source) => {
                    let record = source.record().clone();
                    running.source = Some(source);
                    Completion::Opened(record)
                }
                Err(refusal) => refusal.into(),
            },
            Command::Concat { record, parts, max, delete_parts } => {
                commit(store, Change::Concat { record, parts, max, delete_parts })
            }
            Command::Create { record } => commit(store, Change::Create(record)),
            Command::Append { id, fence, at, max, fresh, digest } => {
                match open(store, id, fence, at, max, fresh) {
                    Ok(sink) => {
                        running.syncer = sink.as_ref().map(Sink::syncer);
                        let hasher = digest.map(Hasher::new);
                        running.append = Some(Append { op, sink, hasher, max, staged: 0, stopped: false });
                        return;
                    }
                    Err(refusal) => refusal,
                }
            }
            Command::Stop => {
                if let Some(append) = &mut running.append {
                    append.stopped = true;
                }
                return;
            }
            Command::Commit { id, fence, from, to, length, expires, finish } => {
                let syncer = running.syncer.clone();
                let synced = syncer.as_ref().map_or(Ok(()), |syncer| syncer.sync(finish.then_some(to)));
                let change = Change::Commit { id, fence, from, to, length, expires, finish, syncer };
                synced.map_or_else(Completion::Failed, |()| commit(store, change))
            }
            Command::Digest { from, to, algorithm, .. } => {
                let mut hasher = Hasher::new(algorithm);
                let read =
                    running.syncer.as_ref().map(|s| s.read_back(from, to, &mut |bytes| hasher.update(bytes)));
                match read {
                    Some(Ok(())) => Completion::Digested(hasher.finish()),
                    Some(Err(failure)) => Completion::Failed(failure),
                    None => panic!("nothing is staged that could be read back"),
                }
            }
            Command::Discard { id, fence } => store.discard(&id, fence),
            Command::Delete { id, fence } => commit(store, Change::Delete { id, fence }),
        };
        self.tell(owner, Input::Store(op, completion));
    }

    /// Stages what has arrived, and ends the Append where that is due. Tells whether it did anything.
    pub(super) fn pump(&mut self, owner: Owner) -> bool {
        let Some(running) = self.running.get_mut(&owner) else { return false };
        let Some(append) = &mut running.append else { return false };
        if append.stopped {
            self.end_append(owner, AppendEnd::Stopped);
            return true;
        }
        let arrived = std::mem::take(&mut running.arrived);
        let room = usize::try_from(append.max - append.staged).unwrap_or(usize::MAX);
        let welcome = &arrived[..arrived.len().min(room)];
        if let Some(hasher) = &mut append.hasher {
            hasher.update(welcome);
        }
        if let Some(sink) = append.sink.as_mut().filter(|_| !welcome.is_empty()) {
            if let Err(error) = sink.write(welcome) {
                append.staged = sink.staged();
                self.end_append(owner, AppendEnd::Failed(error.failure));
                return true;
            }
            append.staged += welcome.len() as u64;
            let (op, staged) = (append.op, append.staged);
            self.tell(owner, Input::Staged(op, staged));
        }
        if arrived.len() > room {
            self.end_append(owner, AppendEnd::Overflow);
            return true;
        }
        self.end_body(owner) || !arrived.is_empty()
    }

    /// Tells how the body ended, if it has.
    fn end_body(&mut self, owner: Owner) -> bool {
        let Some(end) = self.running.get_mut(&owner).and_then(|running| running.ending.take()) else {
            return false;
        };
        let abort = match end {
            End::Complete => {
                self.end_append(owner, AppendEnd::BodyEnd);
                self.tell(owner, Input::BodyEnd(Trailers::default()));
                return true;
            }
            End::Close | End::HalfClose => Abort::HalfClosed,
            End::Reset => Abort::PeerGone,
            End::BadFraming => Abort::BadFraming,
            End::Stall => Abort::TooSlow,
        };
        self.end_append(owner, AppendEnd::Stopped);
        self.tell(owner, Input::Abort(abort));
        true
    }

    /// Completes the open Append, if there is one.
    pub(super) fn end_append(&mut self, owner: Owner, end: AppendEnd) {
        let append = self.running.get_mut(&owner).and_then(|running| running.append.take());
        if let Some(Append { op, staged, hasher, .. }) = append {
            let digest = hasher.map(Hasher::finish);
            self.tell(owner, Input::Store(op, Completion::Appended { total: staged, end, digest }));
        }
    }
}

fn commit(store: &Store, change: Change) -> Completion {
    store.commit(&[change]).remove(0)
}

/// Where the bytes of an Append go; nowhere where none is welcome.
fn open(
    store: &Store,
    id: UploadId,
    fence: Fence,
    at: u64,
    max: u64,
    fresh: bool,
) -> Result<Option<Sink>, Completion> {
    if max == 0 {
        return Ok(None);
    }
    if fresh {
        match commit(store, Change::Fresh { id: id.clone(), fence, at }) {
            Completion::Committed { .. } => {}
            other => return Err(other),
        }
    }
    Ok(store.append(&id, fence, at).map(Some)?)
}
