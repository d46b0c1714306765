//! An upload that is being sent, as its loop keeps it between turns.

use tus_driver::Store;

use crate::runtime::access::{Access, Outcome};

/// The upload that the answer under way carries.
#[derive(Debug)]
pub(in crate::runtime) struct Download<S: Store> {
    /// None while a worker has it.
    pub(super) source: Option<Box<S::Source>>,
    /// The next byte to be sent.
    pub(super) at: u64,
    /// The first one.
    pub(super) from: u64,
    /// For the log, once it is sent.
    pub(super) access: Option<(Box<Access>, Outcome)>,
    /// The store had no more bytes the last time.
    pub(super) waits: bool,
}

impl<S: Store> Download<S> {
    /// Logs its request when it is sent, or will not be.
    pub(in crate::runtime) fn log_when_sent(&mut self, access: Box<Access>, outcome: Outcome) {
        self.access = Some((access, outcome));
    }

    /// Whether the store must still be waited for: it is asked again once it says that it is ready.
    pub(super) fn awaits(&mut self, ready: &mut bool) -> bool {
        self.waits = self.waits && !std::mem::take(ready);
        self.waits
    }
}
