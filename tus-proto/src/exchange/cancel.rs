//! A request that must end before its time: its runtime shuts down, or its lock is somebody else's. Of the two the lost lock
//! says more: nothing may be written any more then.

use alloc::boxed::Box;

use super::{Exchange, State, answer, body::state::Receiving};
use crate::{Cancel, Command, Completion, Now, Output};

impl Exchange {
    pub(super) fn on_cancel(&mut self, now: Now, cancel: Cancel) {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Receiving(receiving) => self.cancel_body(now, receiving, cancel),
            // The queue for a lock may be long; every other state ends by itself, and soon.
            State::Locking(_, purpose) => self.end(now, Some(purpose.refused(answer::to_cancel(cancel)))),
            State::Consulting(_, pending) => self.abandon(now, &pending, cancel),
            State::Over => self.stale(State::Over),
            other => {
                self.state = other;
                // A lost lock overrides any earlier reason: nothing may be committed any more.
                self.cancelled = match cancel {
                    Cancel::LockLost => Some(cancel),
                    _ => self.cancelled.or(Some(cancel)),
                };
            }
        }
        if cancel == Cancel::LockLost {
            self.take_back_change(now);
        }
    }

    /// The request must end while a body is being received.
    fn cancel_body(&mut self, now: Now, mut receiving: Box<Receiving>, cancel: Cancel) {
        // An outcome that is decided stands. A writer that lost the lock must not commit even a complete body.
        let decided = receiving.cancelled.is_some() || receiving.outcome().is_some();
        // What is not made yet has no lock that could be lost.
        let unlocked = self.lock_key().is_none();
        if if cancel == Cancel::LockLost { unlocked } else { decided } {
            return self.stale(State::Receiving(receiving));
        }
        receiving.cancelled = Some(cancel);
        self.stop(&mut receiving);
        self.advance(now, receiving);
    }

    /// A change that is asked for, and not handed out yet when the lock is lost, is answered as a store would that knows of
    /// the next holder. There is one at most.
    fn take_back_change(&mut self, now: Now) {
        let needs_lock = |output: &Output| {
            matches!(
                output,
                Output::Store(_, Command::Commit { .. } | Command::Discard { .. } | Command::Delete { .. })
            )
        };
        let change = self.outputs.iter().position(needs_lock);
        if let Some(Output::Store(op, _)) = change.and_then(|at| self.outputs.remove(at)) {
            self.on_store(now, op, Completion::Conflict { offset: 0 });
        }
    }
}
