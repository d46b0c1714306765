//! What a loop keeps of a body between its turns.

/// The network's half of a request's body.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Body {
    /// Others waited for the buffer this body gave back: it takes the next one in this round at the earliest.
    pub(super) not_before: u64,
    /// A HEAD waits: its question goes to the session when this many bytes have been taken from the socket.
    pub(super) drain_until: Option<u64>,
    /// Its session has asked for it: metrics count it.
    pub(in crate::runtime) received: bool,
}
