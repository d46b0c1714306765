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
    /// The lock on `key`, waiting for it at most `wait`. The holder is asked to yield at once, if the caller may
    /// preempt it. Completes as `Granted`, `TimedOut` or `Unavailable`.
    Acquire {
        /// The upload.
        key: UploadId,
        /// The offset at which the caller wants to write; `None` if it does not write (DELETE).
        offset: Option<u64>,
        /// How long to wait.
        wait: Duration,
        /// How long a grant lives without renewal.
        ttl: Duration,
        /// Whether a holder is asked to yield. If not, a lock that is held is `TimedOut` at once, and its holder learns
        /// nothing: see [`without_preemption`](LockCall::without_preemption).
        preempt: bool,
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

impl LockCall {
    /// The call as a request makes it whose peer has closed its side with the body incomplete; others than `Acquire`
    /// stay as they are.
    ///
    /// A client that comes back on a new connection may be served before its old one: nobody is left there to send the
    /// rest, so the old request must not displace a writer. It gets a lock that is free, and what it brought is kept.
    #[must_use]
    pub fn without_preemption(mut self) -> Self {
        if let Self::Acquire { preempt, .. } = &mut self {
            *preempt = mutation!("dead-newcomer-preempts", false, true);
        }
        self
    }
}

/// What became of a [`LockCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockReply {
    /// The caller holds the lock.
    Granted {
        /// The grant's number.
        fence: Fence,
        /// The last holder never released: it may still be writing.
        rotate: bool,
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
