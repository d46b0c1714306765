//! The way of bytes to the bucket: as parts of multipart uploads, or as objects of their own.

use std::{sync::Arc, task::Waker, time::Duration};

use bytes::Buf;
use tokio::sync::OnceCell;
use tus_proto::Failure;

use super::{CHUNK, Multipart, Piece, PiecePlace, Staging, State};
use crate::{
    bucket::{Condition, Fault, Payload},
    keys,
    records::failure,
    requests::{PATIENCE, lock},
};

/// How many pieces of one upload may be on their way.
pub(super) const IN_FLIGHT: usize = 4;

/// How many parts a multipart upload may have.
const MAX_PARTS: usize = 10_000;

/// After how many parts their size doubles, so that [`MAX_PARTS`] reach the largest object.
const GROWTH: usize = 1_000;

/// The largest part that grows.
const LARGEST_PART: usize = 512 << 20;

impl Staging {
    pub(super) fn write(self: &Arc<Self>, data: &mut dyn Buf) -> Result<(), Failure> {
        while data.has_remaining() {
            let mut state = lock(&self.state);
            if let Some(failure) = state.failure {
                return Err(failure);
            }
            let size = self.part_size(state.parts);
            let count = data.remaining().min(size - state.buffered.min(size)).min(CHUNK);
            state.append(data, count);
            self.shared.budget.take(count);
            if state.buffered >= size {
                self.send_part(&mut state);
            }
        }
        Ok(())
    }

    fn part_size(&self, parts: usize) -> usize {
        let options = &self.shared.options;
        let doublings = if options.uniform_parts { 0 } else { (parts / GROWTH).min(16) };
        options.part_size.saturating_mul(1 << doublings).min(LARGEST_PART.max(options.part_size))
    }

    /// Sends the buffer as the next part.
    pub(super) fn send_part(self: &Arc<Self>, state: &mut State) {
        if state.parts >= MAX_PARTS {
            state.multipart = None;
        }
        let multipart = match &state.multipart {
            Some(multipart) => multipart.clone(),
            None => {
                let key = state.next_name(&self.name);
                let multipart = Arc::new(Multipart { key, upload: OnceCell::new() });
                (state.multipart, state.parts) = (Some(multipart.clone()), 0);
                multipart
            }
        };
        let number = state.parts;
        state.parts += 1;
        self.send(state, PiecePlace::Part(multipart, number));
    }

    /// Sends the buffer as an object. No parts follow in a multipart upload before it.
    pub(super) fn send_object(self: &Arc<Self>, state: &mut State) {
        let name = state.next_name(&self.name);
        (state.multipart, state.parts) = (None, 0);
        self.send(state, PiecePlace::Object(name));
    }

    fn send(self: &Arc<Self>, state: &mut State, place: PiecePlace) {
        let len = state.buffered;
        let payload = state.take_buffer();
        state.base += len as u64;
        state.in_flight += 1;
        state.stash = None;
        let index = state.pieces.len();
        state.pieces.push(Piece { end: state.base, len: len as u64, place: place.clone(), done: None });
        self.shared.budget.send(len);
        self.shared.with_held(&self.id, tus_proto::Fence(self.fence), |held| held.dirty = true);
        let staging = self.clone();
        self.shared.spawn(async move {
            let result = staging.put(place, payload).await;
            staging.settle(index, len, result);
        });
    }

    pub(super) async fn put(&self, place: PiecePlace, payload: Payload) -> Result<String, Fault> {
        let shared = &self.shared;
        let Ok(_place) = shared.places.acquire().await else { return Err(Fault::Unclear("closed".into())) };
        let more = Duration::from_secs(payload.len() as u64 >> 20);
        let until = shared.requests.now().after(PATIENCE + more);
        match place {
            PiecePlace::Object(name) => {
                let key = keys::data(self.id.as_str(), &name);
                let put =
                    |bucket: &dyn crate::Bucket| bucket.put(key.clone(), payload.clone(), Condition::None);
                shared.requests.clear_by(until, more, put).await.map(|_| String::new())
            }
            PiecePlace::Part(multipart, number) => {
                let key = keys::data(self.id.as_str(), &multipart.key);
                let create = || shared.requests.clear(|bucket| bucket.create_multipart(key.clone()));
                let upload = multipart.upload.get_or_try_init(create).await?;
                let put = |bucket: &dyn crate::Bucket| {
                    bucket.put_part(key.clone(), upload.clone(), number, payload.clone())
                };
                shared.requests.clear_by(until, more, put).await
            }
        }
    }

    fn settle(&self, index: usize, len: usize, result: Result<String, Fault>) {
        let mut state = lock(&self.state);
        state.in_flight -= 1;
        match result {
            Ok(done) => {
                if let Some(piece) = state.pieces.get_mut(index) {
                    piece.done = Some(done);
                }
            }
            Err(fault) => {
                tracing::warn!(upload = self.id.as_str(), error = %fault, "bytes could not be stored");
                state.failure.get_or_insert(failure(&fault));
            }
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.shared.budget.give(len, true);
        self.settled.notify_waiters();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Makes room for others: what is buffered goes as it is. Returns how many bytes that were.
    pub(crate) fn relieve(self: &Arc<Self>) -> usize {
        let mut state = lock(&self.state);
        let len = state.buffered;
        if len > 0 && state.in_flight < IN_FLIGHT {
            match len >= self.shared.options.min_part && !self.shared.options.uniform_parts {
                true => self.send_part(&mut state),
                false => self.send_object(&mut state),
            }
            return len;
        }
        0
    }

    pub(crate) fn buffered(&self) -> usize {
        lock(&self.state).buffered
    }
}
