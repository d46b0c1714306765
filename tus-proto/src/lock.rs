//! The contract with the lock service: one writer an upload. The calls carry key, time to live and wait, so
//! that a service of several machines can stand behind them; [`LockTable`](crate::LockTable) is the one of a
//! single process.
//!
//! The service knows by itself which exchange calls (its *owner*). What it tells an owner unasked reaches the
//! exchange as [`Input::Yield`](crate::Input::Yield), [`Input::Checkpoint`](crate::Input::Checkpoint) and
//! [`Cancel::LockLost`](crate::Cancel::LockLost).

use core::time::Duration;

use crate::UploadId;

/// The number of a grant. It rises with every grant for an upload, across restarts too, so that a store can
/// tell a writer that lost its lock from the one that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// What an exchange asks of the lock service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockCall {
    /// The lock on `key`, waiting for it at most `wait`. The holder is asked to yield at once. Completes as
    /// `Granted`, `TimedOut` or `Unavailable`.
    Acquire {
        /// The upload.
        key: UploadId,
        /// The offset at which the caller wants to write; none where it does not write (DELETE).
        offset: Option<u64>,
        /// How long to wait.
        wait: Duration,
        /// How long a grant lives without renewal.
        ttl: Duration,
    },
    /// The grant shall live another `ttl` from now. Completes as `Renewed`, `Lost` or `Unavailable`.
    Renew {
        /// The upload.
        key: UploadId,
        /// How long.
        ttl: Duration,
    },
    /// The caller neither holds nor waits any more; harmless if it did neither. Completes as `Released`.
    Release {
        /// The upload.
        key: UploadId,
    },
    /// The caller (a HEAD) wants to know the true offset: the writer, if there is one, is asked to commit
    /// what has arrived. Completes as `Checkpointed` when it has, at once where nobody writes or nobody can
    /// be asked.
    Checkpoint {
        /// The upload.
        key: UploadId,
    },
    /// The writer's answer to [`Input::Checkpoint`](crate::Input::Checkpoint). Has no completion.
    Checkpointed {
        /// The upload.
        key: UploadId,
    },
}

/// What became of a [`LockCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockReply {
    /// The caller holds the lock.
    Granted {
        /// The grant's number.
        fence: Fence,
        /// The last holder never released: it may still be writing.
        fresh: bool,
    },
    /// The holder did not let go in time.
    TimedOut,
    /// The grant lives on.
    Renewed,
    /// The grant is gone.
    Lost,
    /// The lock is free of the caller.
    Released,
    /// Whoever was writing has committed what had arrived.
    Checkpointed,
    /// The lock service can't be reached.
    Unavailable,
}
