//! Digests as jobs, of staged bytes for a checksum and of a complete upload: each job hashes one piece, so that other jobs have
//! their turn.

use std::sync::Arc;

use tus_driver::{Class, LookupError, Ticket};
use tus_proto::{Digest, Failure, Hasher};

use crate::{files::sink::Syncer, port::Shared, store::source::Source};

/// How many bytes are read back in one go, for a checksum or a digest to keep: other jobs have their turn after that.
pub(super) const DIGEST: u64 = 16 << 20;

impl Shared {
    pub(super) fn digest_on(
        self: Arc<Self>,
        syncer: Syncer,
        (from, to): (u64, u64),
        mut hasher: Box<Hasher>,
        ticket: Ticket<Result<Digest, Failure>>,
    ) {
        let until = to.min(from.saturating_add(DIGEST));
        match syncer.read_back(from, until, &mut |bytes| hasher.update(bytes)) {
            Ok(()) if until < to => {
                let executor = self.executor.clone();
                let next = move || self.digest_on(syncer, (until, to), hasher, ticket);
                executor.run(Class::Compute, Box::new(next));
            }
            Ok(()) => ticket.answer(Ok(hasher.finish())),
            Err(failure) => ticket.answer(Err(failure)),
        }
    }

    /// Hashes a source from one offset to another, a piece a job. `losses` is what [`Store::losses`](crate::Store::losses) said
    /// before the first piece.
    pub(super) fn hash_on(
        self: Arc<Self>,
        mut source: Source,
        (from, to): (u64, u64),
        (mut hasher, losses): (Box<Hasher>, u64),
        ticket: Ticket<Result<Digest, LookupError>>,
    ) {
        const PIECE: usize = 256 << 10;
        let until = to.min(from.saturating_add(DIGEST));
        let mut buffer = vec![0; PIECE];
        let mut at = from;
        while at < until {
            let wanted = usize::try_from(until - at).unwrap_or(PIECE).min(PIECE);
            let extent = buffer.get_mut(..wanted).unwrap_or_default();
            match source.read_at(at, extent) {
                Ok(0) => return ticket.answer(Err(LookupError::Failed(Failure::Io))),
                Ok(count) => {
                    hasher.update(extent.get(..count).unwrap_or_default());
                    at += count as u64;
                }
                Err(failure) => return ticket.answer(Err(LookupError::Failed(failure))),
            }
        }
        if until == to {
            // Bytes that a failed sync has lost may read as something else until the records are rolled back. The client would
            // be rejected for such a digest.
            let sound = self.engine.losses() == Some(losses);
            return ticket.answer(if sound {
                Ok(hasher.finish())
            } else {
                Err(LookupError::Failed(Failure::Io))
            });
        }
        let executor = self.executor.clone();
        let next = move || self.hash_on(source, (until, to), (hasher, losses), ticket);
        executor.run(Class::Compute, Box::new(next));
    }
}
