//! What a commit can name of the staged bytes: the pieces that the bucket has acknowledged, without a gap, and a tail.

use std::sync::Arc;

use super::{Piece, PiecePlace, Staging, State};
use crate::{
    bucket::Payload,
    document::{Extent, Place, Tail},
    records::failure,
    requests::lock,
};
use tus_proto::Failure;

/// What a commit is to do with bytes that fill no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The upload ends with them.
    Finish,
    /// The body ends with them.
    End,
    /// The body goes on; a HEAD asks for the offset, or the bytes have waited for long.
    Now,
    /// The body goes on.
    Later,
}

/// What a commit can name.
pub(crate) struct Prepared {
    pub pieces: Vec<Piece>,
    pub tail: Option<Tail>,
    pub offset: u64,
}

impl Staging {
    /// Brings staged bytes, as far as `rest` says, to where a record can name them, and returns what is there: the pieces
    /// without a gap, the tail past them, and the offset at which it ends, which is at most `to`.
    pub(crate) async fn prepare(self: &Arc<Self>, to: u64, rest: Rest) -> Result<Prepared, Failure> {
        if let Rest::Finish | Rest::End = rest {
            let mut state = lock(&self.state);
            if state.end == to {
                self.send_rest(&mut state, rest);
            }
        }
        if rest != Rest::Later {
            self.settle_to(to).await;
        }
        let (mut prepared, base, bytes) = {
            let state = lock(&self.state);
            let is_stored = |piece: &&Piece| {
                mutation!("commit-before-part", piece.done.is_some(), true) && piece.end <= to
            };
            let pieces: Vec<Piece> = mutation!(
                "sum-for-prefix",
                state.pieces.iter().take_while(is_stored).cloned().collect(),
                state.pieces.iter().filter(is_stored).cloned().collect(),
            );
            let whole = pieces.len() == state.pieces.len();
            let begin = state.pieces.first().map_or(state.base, |piece| piece.end - piece.len);
            let offset = pieces.last().map_or(begin, |piece| piece.end);
            let bytes = if whole { state.copy_to(to) } else { Payload::default() };
            (Prepared { pieces, tail: None, offset }, state.base, bytes)
        };
        let len = bytes.len();
        if len == 0 {
            return Ok(prepared);
        }
        let now = self.shared.requests.now();
        if len <= self.shared.options.inline {
            prepared.tail = Some(Tail::inline(&bytes.to_bytes()));
        } else {
            let due = {
                let state = lock(&self.state);
                now.since(state.stashed_at) >= self.shared.options.stash_interval
            };
            if rest == Rest::Later && !due {
                return Ok(prepared);
            }
            let key = self.stash(base, bytes).await?;
            prepared.tail = Some(Tail::Object { key, len: len as u64 });
        }
        prepared.offset = base + len as u64;
        Ok(prepared)
    }

    /// What the last bytes of a body become: a part where that may be, else a tail, which is made later.
    fn send_rest(self: &Arc<Self>, state: &mut State, rest: Rest) {
        let options = &self.shared.options;
        let len = state.buffered;
        if len == 0 {
            return;
        }
        let finish = rest == Rest::Finish;
        let open = state.multipart.is_some();
        if finish && open || len >= options.min_part && !options.uniform_parts && !finish {
            self.send_part(state);
        } else if finish && len > options.inline {
            self.send_object(state);
        }
    }

    /// Waits until all pieces up to an offset have come to their end.
    async fn settle_to(&self, to: u64) {
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            {
                let state = lock(&self.state);
                let waits = |piece: &Piece| piece.done.is_none() && piece.end <= to;
                if state.failure.is_some() || !state.pieces.iter().any(waits) {
                    return;
                }
            }
            settled.await;
        }
    }

    /// Writes bytes that stay in the buffer as an object of their own.
    async fn stash(&self, base: u64, bytes: Payload) -> Result<String, Failure> {
        let len = bytes.len() as u64;
        let name = {
            let mut state = lock(&self.state);
            match &state.stash {
                Some((name, from, stashed)) if *from == base && *stashed == len => return Ok(name.clone()),
                _ => state.next_name(&self.name),
            }
        };
        let place = PiecePlace::Object(name.clone());
        self.put(place, bytes).await.map_err(|fault| failure(&fault))?;
        let mut state = lock(&self.state);
        state.stashed_at = self.shared.requests.now();
        if state.base == base {
            state.stash = Some((name.clone(), base, len));
        }
        Ok(name)
    }

    /// Makes objects of all parts that were sent, so that they can be read, and returns the extents that they are now, where
    /// these end, and the bytes past them. What comes later goes elsewhere.
    pub(crate) async fn read_back(&self, to: u64) -> Result<(Vec<Extent>, u64, Payload), Failure> {
        self.settle_to(to).await;
        let (pieces, base, rest) = {
            let mut state = lock(&self.state);
            if let Some(failure) = state.failure {
                return Err(failure);
            }
            (state.multipart, state.parts) = (None, 0);
            (state.pieces.clone(), state.base, state.copy_to(state.end))
        };
        let mut extents = self.compose(&pieces);
        self.shared.complete(self.id.as_str(), &mut extents).await?;
        let completed = extents.iter().filter_map(|extent| match &extent.place {
            Place::Object(key) => Some(key.clone()),
            _ => None,
        });
        lock(&self.completed).extend(completed);
        Ok((extents, base, rest))
    }

    /// The committed extents with these pieces past them.
    pub(crate) fn compose(&self, pieces: &[Piece]) -> Vec<Extent> {
        let mut extents = self.before.clone();
        for piece in pieces {
            let done = piece.done.clone().unwrap_or_default();
            match (&piece.place, extents.last_mut()) {
                (
                    PiecePlace::Part(multipart, _),
                    Some(Extent { len, place: Place::Parts { key, parts, .. } }),
                ) if *key == multipart.key => {
                    *len += piece.len;
                    parts.push(done);
                }
                (PiecePlace::Part(multipart, _), _) => {
                    let upload = multipart.upload.get().cloned().unwrap_or_default();
                    let (key, parts) = (multipart.key.clone(), vec![done]);
                    extents.push(Extent {
                        len: piece.len,
                        place: Place::Parts { key, upload, parts, open: true },
                    });
                }
                (PiecePlace::Object(name), _) => {
                    extents.push(Extent { len: piece.len, place: Place::Object(name.clone()) });
                }
            }
        }
        let completed = lock(&self.completed);
        for extent in &mut extents {
            if let Place::Parts { key, .. } = &extent.place
                && completed.contains(key)
            {
                extent.place = Place::Object(key.clone());
            }
        }
        extents
    }

    /// Whether a record that names these pieces names all that was sent.
    pub(crate) fn is_all(&self, prepared: &Prepared) -> bool {
        let state = lock(&self.state);
        state.closed && state.end == prepared.offset && state.pieces.len() == prepared.pieces.len()
    }
}
